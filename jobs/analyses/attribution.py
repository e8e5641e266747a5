"""Attribution: share each conversion among the touches before it, under several models at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jobs.analyses import journeys
from jobs.analyses.analysis import Analysis, Present
from jobs.analyses.attribution_credits import BY_PLACE, TIME_DECAY, build
from jobs.analyses.identity import IDENTITY_EDGES
from jobs.analyses.inputs import CONVERSIONS, PATHS, SPEND, TOUCHES
from jobs.contracts.errors import ParameterError
from jobs.contracts.parameters import Check, choice, flag, integer, listing, number, parameter
from jobs.contracts.tables import OutputTable, bigint, double, varchar

if TYPE_CHECKING:
    from jobs.engine.port import Engine

MODELS = (*BY_PLACE, TIME_DECAY, "markov", "shapley")
PRESETS = {
    "default": (0.4, 0.2, 0.4),
    "treasure_data": (0.35, 0.3, 0.35),
    "u_shaped": (0.5, 0.0, 0.5),
}
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
        BY_PLACE,
        listing(choice(*MODELS), low=1, unique=True),
        "the models to compute",
        aliases=("model",),
    )
    position: tuple[float, ...] = parameter(
        PRESETS["default"],
        _position(),
        "credit of the first touch, of all in the middle, of the last; they add up to 1",
        unit="fractions",
    )
    half_life: int = parameter(
        604_800,
        integer(1),
        "model time_decay: the age at which a touch counts half",
        unit="seconds",
        aliases=("half_life_s", "h"),
    )
    stepped: bool = parameter(
        False, flag(), "model time_decay: halve at each full half-life, as Treasure Data's workflow does"
    )
    order: int = parameter(
        1,
        integer(1, 8),
        "model markov: how many channels make a state",
        aliases=("markov_order", "k"),
    )
    nulls: str = parameter(
        "none",
        choice("none", "users"),
        "model markov, input touches: whether each user without a conversion is a path that ended in nothing",
    )
    intervals: bool = parameter(
        False, flag(), "model markov: fill ci_low and ci_high", aliases=("bootstrap", "ci")
    )
    replicates: int = parameter(
        200, integer(10, 10_000), "how many times the paths are drawn again for the intervals"
    )
    seed: int = parameter(1, integer(0), "what the draws start from; the same seed draws the same")
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
        for name in ("intervals", "nulls"):
            if getattr(self, name) not in {False, "none"} and "markov" not in self.models:
                raise ParameterError(f"parameter {name}: it needs markov among the models")


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
    the ends and m/(n-2) to each between, at n = 2 half of m to each end, at n = 1 all; time_decay 2^(-age /
    half_life) of the sum of these, age = conversion time - touch time, cut to full half-lives when
    `stepped`; shapley 1/u to each of the u distinct channels, which is the Shapley value of the game
    "conversions of the paths whose channels are all in the coalition".

    markov: states are runs of `order` channels (a shorter path is one state), repeats always collapsed.
    A path moves from start through its states to conversion (as often as it converted) or to null. A
    channel's `removal_effect` is the share of the conversion probability that is lost when each state that
    holds it is taken out; credit = conversions x effect / sum of effects, and the same with the mean
    value on leaving for value_minor. The chain is solved exactly, nothing is simulated. Paths that ended in
    nothing come from the column `nulls`, or with `nulls` = users from users without any conversion, whose
    last touch in the range ends their path; without any, an effect is the share of walks that pass
    the channel. A channel only on paths without conversions has effect 0. Nothing converts at all: credits
    and effects are NULL. A value of 0 in all is shared as 0. `intervals`: 2.5 and 97.5 percentiles of the
    credited conversions, from `replicates` drawings of the input's rows (conversions and users, or rows of
    `paths`) with Poisson(1) weights; the number to share stays the counted one.

    A conversion without a touch goes to the channel `(unattributed)` in every model, so for each model the
    conversions and the values add up to those that went in. The aggregated input `paths` may be what the
    analysis of that name gives: its path `(unattributed)` has no touch; a channel of that name is refused.
    It has no times: lookback, touch_reuse, strict_before and the report range do not apply to it, and
    time_decay is refused.
    Every channel, also one that only `spend` or a path without conversions names, has a row in every model,
    with 0 where it earns nothing; a path without conversions and nulls is none.
    `touches` and `conversions_touched` count the touches left after the steps above. `roas` is value_minor /
    spend_minor, NULL without spend. attribution_touches has no rows for markov, whose credits belong to no
    single touch.
    """
    aggregated = "paths" in present
    if aggregated and parameters.with_touches:
        raise ParameterError(
            "parameter with_touches: the input paths has no single touches; give touches and conversions"
        )
    if aggregated and TIME_DECAY in parameters.models:
        raise ParameterError(
            "parameter models: time_decay needs times, which the input paths has not;"
            " give touches and conversions"
        )
    if aggregated and parameters.nulls != "none":
        raise ParameterError("parameter nulls: the input paths counts them itself, in its column nulls")
    return build(engine, parameters, aggregated=aggregated, has_spend="spend" in present)


ANALYSIS = Analysis(
    name="attribution",
    version=4,
    summary="conversions and their value shared among channels, by several models",
    inputs=(TOUCHES, CONVERSIONS, PATHS, SPEND, IDENTITY_EDGES),
    outputs=(
        OutputTable(
            "attribution",
            (
                varchar("model"),
                varchar("channel"),
                double("conversions", "credit; NULL only where markov has none to share", nullable=True),
                double("value_minor", "credit, like conversions", nullable=True, unit="minor currency units"),
                double("share", "of all conversions", nullable=True, unit="fraction"),
                bigint("touches"),
                bigint("conversions_touched"),
                double("removal_effect", "model markov only", nullable=True),
                double("ci_low", "of conversions; model markov with intervals", nullable=True),
                double("ci_high", "of conversions; model markov with intervals", nullable=True),
                bigint(
                    "spend_minor", "of the channel, in all models", nullable=True, unit="minor currency units"
                ),
                double("roas", "value_minor / spend_minor", nullable=True),
            ),
            key=("model", "channel"),
            order="model, ROUND(value_minor, 6) DESC NULLS LAST, channel",
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
