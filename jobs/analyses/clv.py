"""CLV: whether a customer still is one, what to expect of them, and what that is worth."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobs.analyses import clv_models, customer_summary
from jobs.analyses.analysis import Analysis, Present
from jobs.analyses.identity import IDENTITY_EDGES, StitchParameters
from jobs.analyses.inputs import CUSTOMER_SUMMARY, TRANSACTIONS
from jobs.contracts.errors import InputError, ParameterError
from jobs.contracts.parameters import (
    choice,
    flag,
    integer,
    listing,
    moment,
    number,
    optional,
    parameter,
    zone,
)
from jobs.contracts.tables import OutputTable, bigint, double, varchar
from jobs.engine.text import literal, query

if TYPE_CHECKING:
    from jobs.engine.port import Engine

_WEEK = 7


@dataclass(frozen=True, kw_only=True)
class Parameters(StitchParameters):
    """Parameters of `clv`."""

    model: str = parameter(
        "bg_nbd",
        choice("bg_nbd", "pareto_nbd"),
        "how customers drop out: after a purchase, or at any time",
    )
    end: int | str | None = parameter(
        None,
        optional(moment()),
        "the last day that counts, included; the last day with a transaction when null",
        unit="Unix seconds",
        aliases=("as_of", "E"),
    )
    zone: str = parameter("UTC", zone(), "whose days and weeks they are", aliases=("timezone",))
    unit: str = parameter(
        "day",
        choice("day", "week"),
        "purchases in the same one count once",
        aliases=("period", "period_unit"),
    )
    freq_multiplier: int = parameter(
        _WEEK, integer(1), "a model period is so many units: 7 days, unless set, which is a week"
    )
    horizon: int = parameter(
        52, integer(1, 5_200), "how far to look ahead", unit="model periods", aliases=("H", "periods")
    )
    discount: float = parameter(
        0.0, number(), "what money loses in value in a model period", unit="fraction", aliases=("d",)
    )
    model_parameters: tuple[float, ...] | None = parameter(
        None,
        optional(listing(number(), low=4, high=4)),
        "known parameters instead of a fit: r, alpha, a, b of bg_nbd; r, alpha, s, beta of pareto_nbd",
    )
    value_parameters: tuple[float, ...] | None = parameter(
        None,
        optional(listing(number(), low=3, high=3)),
        "known p, q, v of gamma_gamma instead of a fit, v in minor currency units",
    )
    accept_weak_fit: bool = parameter(
        False, flag(), "predict from a fit that did not converge or is not identified, too"
    )

    def __post_init__(self) -> None:
        """Refuse parameters that no model has."""
        if not 0 <= self.discount < 1:
            raise ParameterError(
                f"parameter discount: {self.discount!r} is not allowed; give a fraction from 0 to below 1"
            )
        for name in ("model_parameters", "value_parameters"):
            given = getattr(self, name)
            if given is not None and min(given) <= 0:
                raise ParameterError(f"parameter {name}: {list(given)} is not allowed; give numbers above 0")
        if self.value_parameters is not None and self.value_parameters[1] <= 1:
            raise ParameterError(
                f"parameter value_parameters: {list(self.value_parameters)} is not allowed; with q <= 1"
                " purchases have no finite mean value: give q > 1"
            )


def _check_inputs(given: frozenset[str]) -> None:
    if len(given & {"transactions", "customer_summary"}) != 1:
        raise InputError(
            "clv reads transactions or customer_summary: give one of the two, as --input transactions=FILE"
        )
    if {"customer_summary", IDENTITY_EDGES.name} <= given:
        raise InputError(
            "clv cannot join customers that are summed up already: give transactions with identity_edges,"
            " or make customer_summary with them"
        )


def compute(engine: Engine, parameters: Parameters, present: Present) -> dict[str, str]:
    """Fit a model of purchases and one of their value, and predict every customer.

    A customer is what `customer_summary` makes of them with the same `end`, `zone`, `unit` and
    `freq_multiplier`, or a row of the input `customer_summary`. A model period is `unit` times
    `freq_multiplier`, a week unless set otherwise.

    `p_alive` is the chance that the customer has not dropped out; bg_nbd knows of nobody who never came back
    that they are gone, so it is 1 for them. `expected_purchases` is the mean number of purchase periods in
    the next `horizon` model periods. `expected_value_minor` is the mean value of a purchase to come
    (Gamma-Gamma, fitted on customers with repeat purchases above 0; of all customers together for those
    without). `clv_minor` sums, over the model periods j = 1..horizon, the purchases expected in j times that
    value divided by (1 + discount)^j.

    `clv_models` says what became of each fit, and stands in the manifest's notes: `ok`; `given`;
    `no_customers`; `no_repeat_customers`; `not_converged`; `not_identified` (a parameter lies at the edge of
    the search, e^-14..e^14, or the standard error of its logarithm is above 3: too few customers, or too
    much alike); `no_finite_mean` (Gamma-Gamma with q <= 1). Where it is neither `ok` nor `given`, what
    depends on the model is NULL, unless `accept_weak_fit` asks for what the parameters found would say.
    `frequency_value_correlation` is Pearson's: Gamma-Gamma takes it for 0. `clv_parameters` gives each
    parameter with its 95 % interval. There are no ties: one row for each customer.
    """
    _make_customers(engine, parameters, present)
    fitted = clv_models.fit(
        clv_models.groups(engine.collect(query("clv", "groups"))),
        clv_models.spending(engine.collect(query("clv", "spending"))),
        parameters,
    )
    engine.register_arrow("clv_predicted", clv_models.predict(fitted, parameters))
    unit = (
        parameters.unit
        if parameters.freq_multiplier == 1
        else f"{parameters.freq_multiplier} {parameters.unit}s"
    )
    engine.view("clv", query("clv", "clv", unit=literal(unit), value=_value(fitted, parameters)))
    engine.register_arrow("clv_models", clv_models.models_table(fitted, parameters))
    engine.register_arrow("clv_parameters", clv_models.parameters_table(fitted, parameters))
    return {"clv": "clv", "clv_models": "clv_models", "clv_parameters": "clv_parameters"}


def _make_customers(engine: Engine, parameters: Parameters, present: Present) -> None:
    if "customer_summary" in present:
        bad = engine.collect(query("clv", "impossible")).to_pylist()[0]
        if bad["n"]:
            raise InputError(
                f"customer_summary: {bad['n']} rows are impossible, for example customer {bad['example']!r};"
                " give 0 <= recency <= T, recency 0 only with frequency 0, and no negative number"
            )
    else:
        summary = customer_summary.Parameters(
            end=parameters.end,
            zone=parameters.zone,
            unit=parameters.unit,
            freq_multiplier=parameters.freq_multiplier,
        )
        customer_summary.compute(engine, summary, present)
    engine.materialize("clv_customers", query("clv", "customers"))


def _value(fitted: clv_models.Fitted, parameters: Parameters) -> str:
    """SQL of Gamma-Gamma's expectation; few numbers, many customers."""
    if not fitted.predicts_value(parameters):
        return "CAST(NULL AS DOUBLE)"
    p, q, v = fitted.value.values
    purchases = f"({literal(p)} * customers.frequency)"
    spent = f"({literal(p * v)} + {purchases} * customers.monetary_minor)"
    return f"{spent} / ({purchases} + {literal(q - 1)})"


ANALYSIS = Analysis(
    name="clv",
    version=1,
    summary="the chance that each customer still is one, their purchases to come, and their worth",
    inputs=(dataclasses.replace(TRANSACTIONS, required=False), CUSTOMER_SUMMARY, IDENTITY_EDGES),
    outputs=(
        OutputTable(
            "clv",
            (
                varchar("customer_id"),
                bigint("frequency", "purchase periods but the first"),
                double("recency", unit="model periods"),
                double("T", unit="model periods"),
                double("monetary_minor", unit="minor currency units"),
                double("p_alive", nullable=True, unit="fraction"),
                double("expected_purchases", "within the horizon", nullable=True),
                double("expected_value_minor", "of one purchase", nullable=True, unit="minor currency units"),
                double("clv_minor", "within the horizon", nullable=True, unit="minor currency units"),
                varchar("unit", "a model period"),
            ),
            key=("customer_id",),
            order="customer_id",
        ),
        OutputTable(
            "clv_models",
            (
                varchar("model"),
                varchar("status"),
                varchar("message"),
                bigint("customers", "that it was fitted on"),
                double("log_likelihood", nullable=True),
                double("frequency_value_correlation", "of gamma_gamma only", nullable=True),
            ),
            key=("model",),
            order="model",
            noted=True,
        ),
        OutputTable(
            "clv_parameters",
            (
                varchar("model"),
                varchar("parameter"),
                double("value"),
                double("ci_low", "2.5 %", nullable=True),
                double("ci_high", "97.5 %", nullable=True),
            ),
            key=("model", "parameter"),
            order="model, parameter",
            noted=True,
        ),
    ),
    parameters=Parameters,
    compute=compute,
    check_inputs=_check_inputs,
)
