"""The parameters of a funnel: its steps, what must not happen between them, and what is counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from jobs.analyses import predicates
from jobs.analyses.analysis import ReportRange
from jobs.analyses.identity import StitchParameters
from jobs.analyses.inputs import EVENTS
from jobs.analyses.predicates import Predicate
from jobs.contracts.errors import ParameterError
from jobs.contracts.parameters import choice, flag, integer, optional, parameter, refuse, required
from jobs.contracts.tables import Column

MAX_STEPS = 32
_STEPS = f"a list of 1 to {MAX_STEPS} steps, each {predicates.ALLOWED}"
_FROM, _TO = ("from", "from_step", "i"), ("to", "to_step", "j")
_RANGE = frozenset({*_FROM, *_TO, "steps"})
_EXCLUSIONS = (
    "a list of exclusions, each as a step is written; an object may also say"
    ' {"from": first step, "to": last step} between which it counts'
)
TIES = ("seq", "step", "increase")


@dataclass(frozen=True, slots=True)
class Exclusion:
    """An event that voids a chain when it lies between its steps first and min(last, the chain's end)."""

    event: Predicate
    first: int
    last: int

    def crosses(self, step: int) -> bool:
        """Whether it may not lie on the way from this step to the next."""
        return self.first <= step < self.last

    def inside(self, step: int) -> bool:
        """Whether an event that fills this step, and goes on, lies between the ends."""
        return self.first < step < self.last


def _steps(name: str, value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= MAX_STEPS:
        raise refuse(name, value, _STEPS)
    for index, step in enumerate(value):
        predicates.read(f"{name}[{index}]", step)
    return tuple(_kept(step) for step in value)


def _exclusions(name: str, value: Any) -> tuple[Any, ...]:
    if isinstance(value, str | Mapping):
        value = [value]
    if not isinstance(value, list | tuple):
        raise refuse(name, value, _EXCLUSIONS)
    for index, entry in enumerate(value):
        predicates.read(f"{name}[{index}]", entry, _RANGE)
        if isinstance(entry, Mapping):
            _span(f"{name}[{index}]", entry, MAX_STEPS)
    return tuple(_kept(entry) for entry in value)


def _kept(step: Any) -> Any:
    """The JSON form as a manifest keeps it: names as a tuple, objects as they are."""
    if isinstance(step, str):
        return (step,)
    return dict(step) if isinstance(step, Mapping) else tuple(step)


def _span(name: str, entry: Mapping[str, Any], steps: int) -> tuple[int, int]:
    """The steps i..j of an exclusion, 1..k where it says nothing."""
    pair = entry.get("steps")
    if pair is not None and not (isinstance(pair, list | tuple) and len(pair) == len(("i", "j"))):
        raise refuse(f"{name}.steps", pair, "a pair [first step, last step]")
    first = next((entry[key] for key in _FROM if key in entry), pair[0] if pair else 1)
    last = next((entry[key] for key in _TO if key in entry), pair[1] if pair else steps)
    whole = all(isinstance(end, int) and not isinstance(end, bool) for end in (first, last))
    if not whole or not 1 <= first < last <= steps:
        raise refuse(name, dict(entry), f"steps from < to within 1..{steps}")
    return first, last


@dataclass(frozen=True, kw_only=True)
class Parameters(StitchParameters, ReportRange):
    """Parameters of `funnel`."""

    PLANNED: ClassVar[tuple[str, ...]] = ()

    steps: tuple[Any, ...] = required((_STEPS, _steps), "the events in their order")
    window: int | None = parameter(
        1_209_600,
        optional(integer(0)),
        "longest time from the first to the last step, included; any when null",
        unit="seconds",
        aliases=("W", "window_s"),
    )
    ties: str = parameter("seq", choice(*TIES), "when an event follows another, in mode ordered")
    mode: str = parameter("ordered", choice("ordered", "strict", "unordered"), "how steps are matched")
    exclusions: tuple[Any, ...] = parameter(
        (), (_EXCLUSIONS, _exclusions), "events that void a chain when they lie between its steps"
    )
    breakdown: str | None = parameter(
        None,
        optional(choice("first", "last", "step", "all")),
        "whose value of the column breakdown an entity counts under: that of the first step, of the last"
        " reached, of each step its own, or chains that hold one value",
        aliases=("breakdown_rule",),
    )
    entity: str = parameter("user", choice("user", "session"), "whose events make a chain")
    count: str = parameter(
        "entity", choice("entity", "entry"), "what is counted: entities, or every event of step 1"
    )
    timeout: int = parameter(
        1_800, integer(0), "a longer pause than this starts a new session", unit="seconds"
    )
    with_entities: bool = parameter(False, flag(), "also write funnel_entities: how far each entity came")

    def __post_init__(self) -> None:
        """Refuse exclusions outside the steps, and what an unordered funnel has no meaning for."""
        super().__post_init__()
        self.excluded()
        if self.mode == "unordered" and self.exclusions:
            raise ParameterError(
                "parameter exclusions: not allowed with mode unordered, where nothing lies between two steps;"
                " give mode ordered or strict"
            )
        if self.mode == "unordered" and self.count == "entry":
            raise ParameterError(
                "parameter count: 'entry' is not allowed with mode unordered, where no step is the first;"
                " give entity"
            )

    def predicates(self) -> tuple[Predicate, ...]:
        """The steps."""
        return tuple(predicates.read(f"steps[{index}]", step) for index, step in enumerate(self.steps))

    def excluded(self) -> tuple[Exclusion, ...]:
        """The exclusions with their ranges of steps. A funnel of one step has nothing between."""
        found = []
        for index, entry in enumerate(self.exclusions):
            name = f"exclusions[{index}]"
            event = predicates.read(name, entry, _RANGE)
            span = (1, len(self.steps))
            if isinstance(entry, Mapping) and len(self.steps) > 1:
                span = _span(name, entry, len(self.steps))
            found.append(Exclusion(event, *span))
        return tuple(found)

    def columns(self) -> dict[str, tuple[Column, ...]]:
        """The properties that steps and exclusions read beyond the contract's columns."""
        asked = (*self.predicates(), *(exclusion.event for exclusion in self.excluded()))
        return {EVENTS.name: predicates.properties("steps", asked, EVENTS)}
