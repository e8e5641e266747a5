"""The models behind `clv`: from the engine's counted groups to fits, predictions and tables."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pyarrow as pa

from jobs.analyses.lifetime import bg_nbd, gamma_gamma, pareto_nbd
from jobs.analyses.lifetime.fit import Fit, Floats, Status, maximise
from jobs.analyses.lifetime.gamma_gamma import Spending
from jobs.analyses.lifetime.groups import Groups

if TYPE_CHECKING:
    from types import ModuleType

_MODELS: dict[str, ModuleType] = {"bg_nbd": bg_nbd, "pareto_nbd": pareto_nbd}
_Z = 1.959963984540054


class Choices(Protocol):
    """What of the analysis's parameters decides here."""

    @property
    def model(self) -> str:
        """Of purchases."""

    @property
    def horizon(self) -> int:
        """In model periods."""

    @property
    def discount(self) -> float:
        """For each model period."""

    @property
    def model_parameters(self) -> tuple[float, ...] | None:
        """Known ones instead of a fit."""

    @property
    def value_parameters(self) -> tuple[float, ...] | None:
        """Known ones of Gamma-Gamma instead of a fit."""

    @property
    def accept_weak_fit(self) -> bool:
        """Whether to predict from a fit that is not to be trusted."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """Both models, with the customers that they predict.

    Attributes:
        correlation: between the number of purchases and their mean value; NaN where it is not defined.
    """

    purchases: Fit
    value: Fit
    customers: Groups
    correlation: float

    def predicts_purchases(self, choices: Choices) -> bool:
        """Whether the model of purchases may be used."""
        return _may(self.purchases, choices)

    def predicts_value(self, choices: Choices) -> bool:
        """Whether the model of values may be used; without a finite mean there is nothing to accept."""
        return (
            _may(self.value, choices) and self.value.status is not Status.NO_MEAN and self.value.values[1] > 1
        )


def _may(fit: Fit, choices: Choices) -> bool:
    return fit.usable or (choices.accept_weak_fit and bool(fit.values))


def groups(table: pa.Table) -> Groups:
    """The engine's counted groups as arrays."""
    return Groups(*(_floats(table, name) for name in ("frequency", "recency", "T", "customers")))


def spending(table: pa.Table) -> Spending:
    """The engine's repeat customers as arrays."""
    return Spending(_floats(table, "frequency"), _floats(table, "monetary_minor"))


def _floats(table: pa.Table, name: str) -> Floats:
    return np.asarray(table.column(name).to_numpy(), dtype=np.float64)


def fit(customers: Groups, spent: Spending, choices: Choices) -> Fitted:
    """Fit both models, or take the given parameters."""
    return Fitted(
        _purchases(customers, choices), _values(spent, choices), customers, gamma_gamma.correlation(spent)
    )


def _purchases(customers: Groups, choices: Choices) -> Fit:
    model = _MODELS[choices.model]
    names: tuple[str, ...] = model.NAMES
    if not len(customers.count):
        return Fit(Status.NO_CUSTOMERS, names, message="there are no customers")
    if choices.model_parameters is not None:
        with np.errstate(all="ignore"):
            whole = float(customers.count @ model.log_likelihood(choices.model_parameters, customers))
        return Fit(
            Status.GIVEN,
            names,
            choices.model_parameters,
            whole,
            customers=customers.customers,
            groups=len(customers.count),
            message="not fitted",
        )
    if not customers.has_repeats:
        return Fit(
            Status.NO_REPEATS,
            names,
            customers=customers.customers,
            groups=len(customers.count),
            message="no customer bought in more than one period",
        )
    return maximise(model.likelihood(customers))


def _values(spent: Spending, choices: Choices) -> Fit:
    if choices.value_parameters is not None:
        return Fit(
            Status.GIVEN,
            gamma_gamma.NAMES,
            choices.value_parameters,
            customers=len(spent.x),
            message="not fitted",
        )
    return gamma_gamma.fit(spent)


def predict(fitted: Fitted, choices: Choices) -> pa.Table:
    """For each group: p_alive, expected_purchases, and purchases with each period's discount taken off."""
    who = fitted.customers
    columns: dict[str, Floats | None] = dict.fromkeys(("p_alive", "expected_purchases", "discounted"))
    if fitted.predicts_purchases(choices):
        model = _MODELS[choices.model]
        values = fitted.purchases.values
        with np.errstate(all="ignore"):
            columns = {
                "p_alive": model.alive(values, who),
                "expected_purchases": model.expected(values, who, float(choices.horizon)),
                "discounted": _discounted(model, values, who, choices),
            }
    known = {
        "frequency": pa.array(who.x.astype(np.int64)),
        "recency": pa.array(who.tx),
        "T": pa.array(who.T),
    }
    return pa.table(known | {name: _column(values, len(who.x)) for name, values in columns.items()})


def _discounted(model: ModuleType, values: tuple[float, ...], who: Groups, choices: Choices) -> Floats:
    """The sum over the periods of what is expected in each; without a discount they telescope."""
    if not choices.discount:
        whole: Floats = model.expected(values, who, float(choices.horizon))
        return whole
    total, before = np.zeros(len(who.x)), np.zeros(len(who.x))
    for period in range(1, choices.horizon + 1):
        until = model.expected(values, who, float(period))
        total += (until - before) / (1 + choices.discount) ** period
        before = until
    return total


def _column(values: Floats | None, length: int) -> pa.Array:
    """Doubles; NULL where the model has no number."""
    if values is None:
        return pa.nulls(length, pa.float64())
    return pa.array(values, pa.float64(), mask=~np.isfinite(values))


def models_table(fitted: Fitted, choices: Choices) -> pa.Table:
    """What became of each fit."""
    named = {choices.model: fitted.purchases, "gamma_gamma": fitted.value}
    rows = [
        {
            "model": name,
            "status": fit.status.value,
            "message": fit.message,
            "customers": fit.customers,
            "log_likelihood": _finite(fit.log_likelihood),
            "frequency_value_correlation": _finite(fitted.correlation) if name == "gamma_gamma" else None,
        }
        for name, fit in named.items()
    ]
    return pa.Table.from_pylist(
        rows,
        pa.schema(
            [
                ("model", pa.string()),
                ("status", pa.string()),
                ("message", pa.string()),
                ("customers", pa.int64()),
                ("log_likelihood", pa.float64()),
                ("frequency_value_correlation", pa.float64()),
            ]
        ),
    )


def parameters_table(fitted: Fitted, choices: Choices) -> pa.Table:
    """Each parameter with the interval that its standard error gives; none for a fit that is not `ok`."""
    rows = []
    for model, fit in ((choices.model, fitted.purchases), ("gamma_gamma", fitted.value)):
        known = fit if fit.status in {Status.OK, Status.NO_MEAN} else replace(fit, errors=())
        for place, (name, value) in enumerate(zip(fit.names, fit.values, strict=False)):
            spread = math.exp(_Z * known.errors[place]) if known.errors else None
            rows.append(
                {
                    "model": model,
                    "parameter": name,
                    "value": value,
                    "ci_low": None if spread is None else value / spread,
                    "ci_high": None if spread is None else value * spread,
                }
            )
    texts = [("model", pa.string()), ("parameter", pa.string())]
    numbers = [(name, pa.float64()) for name in ("value", "ci_low", "ci_high")]
    return pa.Table.from_pylist(rows, pa.schema([*texts, *numbers]))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
