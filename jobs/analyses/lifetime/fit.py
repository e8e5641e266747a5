"""Maximum likelihood on the logarithms of positive parameters, and whether the answer can be trusted."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import scipy  # its parts load when they are used: most runs need none

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Floats = npt.NDArray[np.float64]

#: Logarithms of parameters are sought between -BOUND and BOUND.
BOUND = 14.0
#: Where the mean log-likelihood is steeper than this in a parameter's logarithm, the fit is not done.
_STEEP = 1e-5
#: A standard error of a logarithm beyond this: the parameter may as well be twenty times larger or smaller.
_VAGUE = 3.0
_STEP = 1e-4
_NOWHERE = 1e12
_FLAT = 1e-6
#: A smaller share of a parameter in a flat direction is rounding.
_ROUNDING = 1e-12


class Status(StrEnum):
    """What became of a fit."""

    OK = "ok"
    GIVEN = "given"
    NO_CUSTOMERS = "no_customers"
    NO_REPEATS = "no_repeat_customers"
    NOT_CONVERGED = "not_converged"
    NOT_IDENTIFIED = "not_identified"
    NO_MEAN = "no_finite_mean"


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted model.

    Attributes:
        names: of the parameters, in the order of the literature.
        values: the parameters; empty when there was nothing to fit.
        log_likelihood: of all customers, in natural logarithms; NaN where nothing was fitted.
        errors: standard errors of the parameters' logarithms; empty where they are not known.
        customers: how many the likelihood sums over.
        groups: how many differ.
        iterations: of the optimiser.
        message: what the status means for these data.
    """

    status: Status
    names: tuple[str, ...]
    values: tuple[float, ...] = ()
    log_likelihood: float = float("nan")
    errors: tuple[float, ...] = ()
    customers: int = 0
    groups: int = 0
    iterations: int = 0
    message: str = ""

    @property
    def usable(self) -> bool:
        """Whether predictions may be made from it."""
        return self.status in {Status.OK, Status.GIVEN}


@dataclass(frozen=True, slots=True)
class Likelihood:
    """A mean negative log-likelihood of the parameters' logarithms.

    Attributes:
        value: maps the logarithms to the mean over the customers.
        slope: its gradient; found by differences when None.
    """

    names: tuple[str, ...]
    value: Callable[[Floats], float]
    customers: int
    groups: int
    slope: Callable[[Floats], Floats] | None = None
    starts: Sequence[Sequence[float]] = field(default=())

    def gradient(self, logs: Floats) -> Floats:
        """The gradient, by central differences where no formula is known."""
        with np.errstate(all="ignore"):
            if self.slope is not None:
                return self.slope(logs)
            steps = np.eye(len(logs)) * _STEP
            return np.array([(self.at(logs + step) - self.at(logs - step)) / (2 * _STEP) for step in steps])

    def at(self, logs: Floats) -> float:
        """The value; far out, where the functions overflow, one that no optimum has."""
        with np.errstate(all="ignore"):
            found = self.value(logs)
        return found if np.isfinite(found) else _NOWHERE


def maximise(likelihood: Likelihood) -> Fit:
    """Fit by L-BFGS-B, from all logarithms 0 and from the likelihood's own starts until one converges.

    The gradient, the bounds and the information matrix are looked at afterwards: an optimiser that stops is
    not one that has arrived.
    """
    best: tuple[float, Floats, int] | None = None
    for start in ([0.0] * len(likelihood.names), *likelihood.starts):
        found = scipy.optimize.minimize(
            likelihood.at,
            np.array(start, dtype=np.float64),
            jac=likelihood.gradient,
            method="L-BFGS-B",
            bounds=[(-BOUND, BOUND)] * len(likelihood.names),
            options={"ftol": 1e-14, "gtol": 1e-9, "maxiter": 1_000},
        )
        if found.fun < _NOWHERE and (best is None or found.fun < best[0]):
            best = (float(found.fun), np.asarray(found.x, dtype=np.float64), int(found.nit))
        if best is not None and _arrived(likelihood, best[1]):
            break
    if best is None:
        return Fit(
            Status.NOT_CONVERGED,
            likelihood.names,
            customers=likelihood.customers,
            groups=likelihood.groups,
            message="the likelihood is not finite for these data",
        )
    lowest, logs, iterations = best
    curvature = _curvature(likelihood, logs)
    logs = _polished(likelihood, logs, curvature)
    errors = _standard_errors(curvature, likelihood.customers)
    return _judged(likelihood, min(lowest, likelihood.at(logs)), logs, errors, iterations)


def _polished(likelihood: Likelihood, logs: Floats, curvature: Floats) -> Floats:
    """A few of Newton's steps, so that the order of a sum does not show in the digits that are reported."""
    if not np.all(np.isfinite(curvature)) or np.linalg.eigvalsh(curvature)[0] <= _FLAT:
        return logs
    for _ in range(3):
        step = np.linalg.solve(curvature, likelihood.gradient(logs))
        if np.max(np.abs(step)) > _STEP or np.max(np.abs(logs - step)) > BOUND:
            return logs
        logs = logs - step
    return logs


def _arrived(likelihood: Likelihood, logs: Floats) -> bool:
    return bool(np.all(np.abs(likelihood.gradient(logs)) < _STEEP))


def _judged(likelihood: Likelihood, lowest: float, logs: Floats, errors: Floats, iterations: int) -> Fit:
    vague = [
        name
        for name, log, error in zip(likelihood.names, logs, errors, strict=True)
        if abs(log) > BOUND - 0.5 or not error < _VAGUE
    ]
    if vague:
        status = Status.NOT_IDENTIFIED
        message = f"the data do not say how large {', '.join(vague)} is: too few customers, or too much alike"
    elif not _arrived(likelihood, logs):
        status, message = Status.NOT_CONVERGED, "the optimiser stopped before it arrived"
    else:
        status, message = Status.OK, "converged"
    return Fit(
        status,
        likelihood.names,
        tuple(float(value) for value in np.exp(logs)),
        -lowest * likelihood.customers,
        tuple(float(error) for error in errors),
        likelihood.customers,
        likelihood.groups,
        iterations,
        message,
    )


def _curvature(likelihood: Likelihood, logs: Floats) -> Floats:
    """The matrix of second derivatives of the mean, by central differences of the gradient."""
    wide = 10 * _STEP
    steps = np.eye(len(logs)) * wide
    rows = [
        (likelihood.gradient(logs + step) - likelihood.gradient(logs - step)) / (2 * wide) for step in steps
    ]
    found: Floats = (np.array(rows) + np.array(rows).T) / 2
    return found


def _standard_errors(curvature: Floats, customers: int) -> Floats:
    """From the curvature at the optimum; infinite in a direction that is flat, or curved the wrong way."""
    information = customers * curvature
    if not np.all(np.isfinite(information)):
        return np.full(len(curvature), np.inf)
    sizes, directions = np.linalg.eigh(information)
    with np.errstate(divide="ignore"):
        spread = np.where(sizes > 0, 1 / np.maximum(sizes, 1e-300), np.inf)
    weights = directions**2
    found: Floats = np.sqrt(np.where(weights > _ROUNDING, weights, 0.0) @ np.minimum(spread, 1e300))
    return found
