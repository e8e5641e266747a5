"""BG/NBD: customers buy at a rate of their own until, after any purchase, they may drop out.

Fader, Hardie, Lee (2005). Rates are gamma(r, alpha), chances to drop out beta(a, b). A customer is x repeat
purchases, the last at tx, watched until T. Everything is computed in logarithms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy

from jobs.analyses.lifetime.fit import Likelihood

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobs.analyses.lifetime.fit import Floats
    from jobs.analyses.lifetime.groups import Groups

NAMES = ("r", "alpha", "a", "b")
#: Where a formula divides by nothing, it is taken a little to both sides instead.
_NEAR = 1e-5


def likelihood(groups: Groups) -> Likelihood:
    """The mean negative log-likelihood of the groups, with its gradient."""
    customers = float(groups.customers)

    def value(logs: Floats) -> float:
        return -float(groups.count @ log_likelihood(np.exp(logs), groups)) / customers

    def slope(logs: Floats) -> Floats:
        parameters = np.exp(logs)
        found: Floats = -(_slopes(parameters, groups) @ groups.count) * parameters / customers
        return found

    span = float(np.log(np.average(np.maximum(groups.T, 1e-9), weights=groups.count)))
    starts = ((0.0, span, 0.0, 1.0), (-1.0, span - 1, -1.0, 1.0), (1.0, span, -2.0, 0.0))
    return Likelihood(NAMES, value, groups.customers, len(groups.count), slope, starts)


def log_likelihood(parameters: Sequence[float] | Floats, groups: Groups) -> Floats:
    """The log-likelihood of one customer of each group."""
    r, alpha, a, b = parameters
    x = groups.x
    alive, gone = _terms(parameters, groups)
    found: Floats = (
        scipy.special.gammaln(r + x)
        - scipy.special.gammaln(r)
        + r * np.log(alpha)
        + scipy.special.betaln(a, b + x)
        - scipy.special.betaln(a, b)
        + np.logaddexp(alive, gone)
    )
    return found


def _terms(parameters: Sequence[float] | Floats, groups: Groups) -> tuple[Floats, Floats]:
    """Logarithms of the two ways to have been silent since tx: still a customer, or gone after it."""
    r, alpha, a, b = parameters
    x = groups.x
    alive = -(r + x) * np.log(alpha + groups.T)
    repeat = x > 0
    gone = np.where(
        repeat,
        np.log(a) - np.log(np.where(repeat, b + x - 1, 1.0)) - (r + x) * np.log(alpha + groups.tx),
        -np.inf,
    )
    return alive, gone


def _slopes(parameters: Floats, groups: Groups) -> Floats:
    """Derivatives of `log_likelihood`, a row for each parameter."""
    r, alpha, a, b = parameters
    x, repeat = groups.x, groups.x > 0
    alive, gone = _terms(parameters, groups)
    lost = np.exp(gone - np.logaddexp(alive, gone))
    kept = 1 - lost
    shared = scipy.special.digamma(a + b) - scipy.special.digamma(a + b + x)
    return np.stack(
        [
            scipy.special.digamma(r + x)
            - scipy.special.digamma(r)
            + np.log(alpha)
            - kept * np.log(alpha + groups.T)
            - lost * np.log(alpha + groups.tx),
            r / alpha - (r + x) * (kept / (alpha + groups.T) + lost / (alpha + groups.tx)),
            shared + lost / a,
            shared
            + scipy.special.digamma(b + x)
            - scipy.special.digamma(b)
            - lost / np.where(repeat, b + x - 1, 1.0),
        ]
    )


def alive(parameters: Sequence[float], groups: Groups) -> Floats:
    """The chance that a customer has not dropped out; 1 for those who never came back."""
    kept, gone = _terms(parameters, groups)
    found: Floats = scipy.special.expit(kept - gone)
    return found


def expected(parameters: Sequence[float], groups: Groups, periods: float) -> Floats:
    """Purchases to be expected of each customer in the next `periods` model periods."""
    r, alpha, a, b = parameters
    x, until = groups.x, groups.T

    def purchases(drop: float, stay: float) -> Floats:
        # Euler's transformation takes the powers of large x out of the hypergeometric function.
        rest = (alpha + until) / (alpha + until + periods)
        series = scipy.special.hyp2f1(drop - 1, drop + stay - 1 - r, drop + stay + x - 1, 1 - rest)
        found: Floats = (drop + stay + x - 1) / (drop - 1) * (1 - rest ** (drop - 1) * series)
        return found

    b = b if np.min(np.abs(a + b + x - 1), initial=1.0) > _NEAR else b * (1 + _NEAR)
    if abs(a - 1) < _NEAR:
        mean = (purchases(1 - 2 * _NEAR, b) + purchases(1 + 2 * _NEAR, b)) / 2
    else:
        mean = purchases(a, b)
    return mean * alive(parameters, groups)
