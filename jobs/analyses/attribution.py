"""Attribution: share each conversion among the touches before it, under several models at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jobs.analyses import journeys
from jobs.analyses.analysis import Analysis, Present
from jobs.analyses.inputs import CONVERSIONS, PATHS, TOUCHES
from jobs.contracts.errors import ParameterError
from jobs.contracts.parameters import Check, choice, flag, listing, number, parameter
from jobs.contracts.tables import OutputTable, bigint, double, varchar
from jobs.engine.text import literal, query

if TYPE_CHECKING:
    from jobs.engine.port import Engine

MODELS = ("first", "last", "last_non_direct", "linear", "position")
#: Defined, but not computed by this version.
PLANNED_MODELS = ("time_decay", "markov", "shapley")
PRESETS = {"default": (0.4, 0.2, 0.4), "treasure_data": (0.35, 0.3, 0.35)}
_TOLERANCE = 1e-9


def _position() -> tuple[str, Check]:
    """Three weights, or the name of a preset."""
    weights, check_weights = listing(number(), low=3, high=3)

    def check(name: str, value: Any) -> tuple[float, ...]:
        if isinstance(value, str):
            return PRESETS[choice(*PRESETS)[1](name, value)]
        checked: tuple[float, ...] = check_weights(name, value)
        return checked

    return f"{weights}, or a preset: {', '.join(PRESETS)}", check


@dataclass(frozen=True, kw_only=True)
class Parameters(journeys.JourneyParameters):
    """Parameters of `attribution`."""

    models: tuple[str, ...] = parameter(
        MODELS,
        listing(choice(*MODELS, planned=PLANNED_MODELS), low=1, unique=True),
        "the models to compute",
        aliases=("model",),
    )
    position: tuple[float, ...] = parameter(
        PRESETS["default"],
        _position(),
        "credit of the first touch, of all in the middle, of the last; they add up to 1",
        unit="fractions",
    )
    repeats: str = parameter(
        "keep", choice("keep", "collapse"), "whether a run of one channel counts as one touch"
    )
    with_touches: bool = parameter(False, flag(), "also write attribution_touches: the credit of every touch")

    def __post_init__(self) -> None:
        """Refuse position weights that would create or lose credit."""
        super().__post_init__()
        if min(self.position) < 0 or abs(sum(self.position) - 1) > _TOLERANCE:
            raise ParameterError(
                f"parameter position: {list(self.position)} is not allowed;"
                " give three weights of at least 0 that add up to 1"
            )


def compute(engine: Engine, parameters: Parameters, present: Present) -> dict[str, str]:
    """Share every conversion, and its value, among its touches.

    A touch belongs to a conversion of the same user when conversion time - `lookback` <= touch time <=
    conversion time; both ends are included, or the upper one left out with `strict_before`. Touches are
    ordered by (time, seq), conversions of a user by (time, conversion_id). With `touch_reuse` =
    since_previous only touches later than the user's previous conversion count, so of two conversions in one
    second the second has none. Conversions are those in the report range [from, to); touches may lie before
    it. Empty channels are no touches.

    Then, in this order: the last `max_touches` are kept, `exclude_channels` leave, runs of one channel
    become one touch (repeats = collapse). What is left is a path of n touches with the credits: first and
    last 1 to that touch; last_non_direct 1 to the last touch whose channel is not `direct`, or to the last
    one when all are; linear 1/n to each, so a channel seen twice gets 2/n; position (f, m, l): f and l to
    the ends and m/(n-2) to each between, at n = 2 half of m to each end, at n = 1 all.

    A conversion without a touch goes to the channel `(unattributed)` in every model, so for each model the
    conversions and the values add up to those that went in. The aggregated input `paths` has no times:
    lookback, touch_reuse, strict_before and the report range do not apply to it. Every channel has a row in
    every model, with 0 where it earns nothing. `touches` and `conversions_touched` count the touches left
    after the steps above.
    """
    if "paths" in present:
        if parameters.with_touches:
            raise ParameterError(
                "parameter with_touches: the input paths has no single touches; give touches and conversions"
            )
        journeys.from_paths(engine)
    else:
        journeys.from_touches(engine, parameters)
    journeys.number_touches(engine, parameters, collapse=parameters.repeats == "collapse")
    first, middle, last = map(literal, parameters.position)
    credit = query("attribution", "credit", first=first, middle=middle, last=last)
    engine.view(
        "attribution_models",
        query("attribution", "models", models=", ".join(f"({literal(m)})" for m in parameters.models)),
    )
    value_type = journeys.value_type(engine, "attribution_journeys")
    engine.materialize("attribution_cells", query("attribution", "cells", value_type=value_type))
    engine.materialize("attribution_totals", query("attribution", "totals", value_type=value_type))
    engine.view("attribution_reach", query("attribution", "reach"))
    engine.view("attribution", query("attribution", "attribution", credit=credit))
    outputs = {"attribution": "attribution"}
    if parameters.with_touches:
        engine.view("attribution_touches", query("attribution", "attribution_touches", credit=credit))
        outputs["attribution_touches"] = "attribution_touches"
    return outputs


ANALYSIS = Analysis(
    name="attribution",
    version=1,
    summary="conversions and their value shared among channels, by several models",
    inputs=(TOUCHES, CONVERSIONS, PATHS),
    outputs=(
        OutputTable(
            "attribution",
            (
                varchar("model"),
                varchar("channel"),
                double("conversions", "credit"),
                double("value_minor", "credit", unit="minor currency units"),
                double("share", "of all conversions", nullable=True, unit="fraction"),
                bigint("touches"),
                bigint("conversions_touched"),
                double("removal_effect", "model markov only", nullable=True),
                double("ci_low", "model markov only", nullable=True),
                double("ci_high", "model markov only", nullable=True),
                bigint("spend_minor", nullable=True, unit="minor currency units"),
                double("roas", nullable=True),
            ),
            key=("model", "channel"),
            order="model, ROUND(value_minor, 6) DESC, channel",
        ),
        OutputTable(
            "attribution_touches",
            (
                varchar("conversion_id"),
                bigint("position", "1 is the first touch"),
                varchar("channel"),
                bigint("touch_time", unit="Unix seconds"),
                varchar("model"),
                double("credit", unit="fraction"),
            ),
            key=("conversion_id", "position", "model"),
            order="conversion_id, position, model",
            doc="with with_touches",
        ),
    ),
    parameters=Parameters,
    compute=compute,
    check_inputs=journeys.check_inputs,
)
