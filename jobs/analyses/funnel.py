"""Ordered funnel: how many users take the steps one after the other, and how long they need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from jobs.analyses.analysis import Analysis, Present, ReportRange
from jobs.analyses.inputs import EVENTS
from jobs.contracts.errors import ParameterError
from jobs.contracts.parameters import choice, flag, integer, optional, parameter, refuse, required
from jobs.contracts.tables import OutputTable, bigint, double, varchar
from jobs.contracts.tables import integer as integer_column
from jobs.engine.text import literal, query

if TYPE_CHECKING:
    from jobs.engine.port import Engine

MAX_STEPS = 32
_STEPS = f"a list of 1 to {MAX_STEPS} steps, each an event name or a list of names that count alike"

#: Window order by tie rule. Within one event the higher step comes first, so that no event fills two steps;
#: with `step` the lower one does, so that it can.
_ORDERS = {"seq": "time, seq, step DESC", "step": "time, step", "increase": "time, step DESC"}


def _steps(name: str, value: Any) -> tuple[tuple[str, ...], ...]:
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= MAX_STEPS:
        raise refuse(name, value, _STEPS)
    steps = tuple(
        (step,) if isinstance(step, str) else tuple(step) if isinstance(step, list | tuple) else ()
        for step in value
    )
    if not all(step and all(isinstance(event, str) and event for event in step) for step in steps):
        raise refuse(name, value, _STEPS)
    return steps


@dataclass(frozen=True, kw_only=True)
class Parameters(ReportRange):
    """Parameters of `funnel`."""

    PLANNED: ClassVar = ("exclusions", "breakdown", "entity", "count", "stitch")

    steps: tuple[tuple[str, ...], ...] = required((_STEPS, _steps), "the events in their order")
    window: int | None = parameter(
        1_209_600,
        optional(integer(0)),
        "longest time from the first to the last step, included; any when null",
        unit="seconds",
        aliases=("W", "window_s"),
    )
    ties: str = parameter("seq", choice(*_ORDERS), "when an event follows another")
    mode: str = parameter(
        "ordered", choice("ordered", planned=("strict", "unordered")), "how steps are matched"
    )
    with_entities: bool = parameter(False, flag(), "also write funnel_entities: how far each user came")

    def __post_init__(self) -> None:
        """Refuse a step that names an event twice."""
        super().__post_init__()
        for step in self.steps:
            if len(set(step)) != len(step):
                raise ParameterError(f"parameter steps: {list(step)} names an event twice")


def compute(engine: Engine, parameters: Parameters, _present: Present) -> dict[str, str]:
    """Find how far each user comes through the steps, in order, within the window.

    A user's level is the largest m for which events e1..em exist that match steps 1..m, each after the one
    before, with time(em) - time(e1) <= `window`; any other events may lie between. All starts are tried, not
    only the first. `ties` says what "after" means: seq: (time, seq) is greater, so one event fills one step;
    step: time is not smaller, events of one second are taken in step order and one event may fill two steps
    that it matches (ClickHouse's windowFunnel); increase: time is greater.

    Time to convert to a step, in seconds, is measured on the first chain that reaches it, from its latest
    possible start; percentiles interpolate. Only events of the report range [from, to) count.
    `conversion_from_start` and `conversion_from_previous` are fractions, 1 at step 1, NULL where nobody was
    before. `dropped` is the previous step's entities minus this one's, 0 at step 1.
    """
    rows = ", ".join(
        f"({index}, {literal(event)})" for index, step in enumerate(parameters.steps, 1) for event in step
    )
    engine.view("funnel_rows", query("funnel", "step_rows", steps=rows, range=parameters.covers()))
    if engine.dialect.has_asof_join:
        _reach_by_asof_join(engine, parameters)
    else:
        _reach_by_windows(engine, parameters)
    engine.view("funnel_counts", query("funnel", "counts"))
    names = ", ".join(
        f"({index}, {literal(' | '.join(step))})" for index, step in enumerate(parameters.steps, 1)
    )
    engine.view("funnel", query("funnel", "funnel", names=names))
    outputs = {"funnel": "funnel"}
    if parameters.with_entities:
        relation = "funnel_reached"
        if engine.dialect.has_asof_join:
            relation = "funnel_reached INNER JOIN funnel_ids USING (id)"
        engine.view("funnel_entities", query("funnel", "entities", relation=relation))
        outputs["funnel_entities"] = "funnel_entities"
    return outputs


def _reach_by_windows(engine: Engine, parameters: Parameters) -> None:
    """The portable text: one running maximum for each step."""
    window = parameters.window
    levels = query("funnel", "first_level")
    for step in range(2, len(parameters.steps) + 1):
        levels = query(
            "funnel",
            "next_level",
            step=str(step),
            order=_ORDERS[parameters.ties],
            previous=levels,
            in_window="TRUE" if window is None else f"time - earlier_start <= {window}",
        )
    engine.materialize("funnel_reached", query("funnel", "reached", levels=levels))


#: By tie rule: how a later place compares with an earlier one.
_AFTER = {"seq": ">", "step": ">=", "increase": ">"}
#: Places that need more bits than this are held in 128.
_BIGINT_BITS = 62
#: Shorter hashes collide among too few entities to be worth a try.
_HASH_BITS = 32


def _reach_by_asof_join(engine: Engine, parameters: Parameters) -> None:
    """The same levels by joining each step's rows to the nearest chain before them.

    The join is several times faster on one integer than on a name and a time. So entities are numbered, and
    entity and time become the bits of one `moment`, with the tie-breaking seq below them in its `place`. The
    time's bits hold all times and the window together, so no chain of another entity is inside the window.
    """
    by_seq = parameters.ties == "seq"
    bounds = engine.collect(query("funnel", "asof_bounds")).to_pylist()[0]
    span = bounds["last_time"] - bounds["first_time"]
    window = span if parameters.window is None else min(parameters.window, span)
    time_bits, seq_bits = (
        (span + window).bit_length(),
        (bounds["last_seq"] - bounds["first_seq"]).bit_length(),
    )
    if not by_seq:
        seq_bits = 0
    entity, bits = _number_entities(engine, _BIGINT_BITS - time_bits - seq_bits)
    bits += time_bits + seq_bits
    places = {
        "entity": entity,
        "named": "" if entity != "id" else "INNER JOIN funnel_ids USING (entity_id)",
        "number": "BIGINT" if bits <= _BIGINT_BITS else "HUGEINT",
        "first": f"({bounds['first_time']})",
        "shift": str(time_bits),
        "stride": str(1 << time_bits),
        "place": "moment",
        "moment": f"(place >> {seq_bits})" if by_seq else "place",
    }
    if by_seq:
        places["place"] = f"moment * {1 << seq_bits} + (CAST(seq AS HUGEINT) - ({bounds['first_seq']}))"
    _fill(engine, "funnel_placed", "asof_placed", places)
    engine.view("funnel_level_1", query("funnel", "asof_first", **places))
    steps = range(1, len(parameters.steps) + 1)
    for step in steps[1:]:
        asked = {"step": str(step), "below": str(step - 1), "after": _AFTER[parameters.ties]}
        _fill(engine, f"funnel_level_{step}", "asof_next", places | asked | {"window": str(window)})
    levels = " UNION ALL ".join(query("funnel", "asof_level", step=str(step)) for step in steps)
    _fill(engine, "funnel_reached", "asof_reached", places | {"levels": levels})


def _number_entities(engine: Engine, bits: int) -> tuple[str, int]:
    """Make `funnel_ids`. Returns a row's entity number as SQL, and the bits that it takes.

    A hash that no two entities share is as good as a number and needs no join; where there is room for a
    long one, it is tried first.
    """
    if bits >= _HASH_BITS:
        hashed = f"CAST(hash(entity_id) >> {64 - bits} AS BIGINT)"
        engine.materialize("funnel_ids", query("funnel", "asof_ids", number=hashed))
        counts = engine.collect(query("funnel", "asof_collisions")).to_pylist()[0]
        if counts["entities"] == counts["numbers"]:
            return hashed, bits
    engine.materialize("funnel_ids", query("funnel", "asof_ids", number="ROW_NUMBER() OVER ()"))
    counts = engine.collect(query("funnel", "asof_collisions")).to_pylist()[0]
    return "id", int(counts["entities"]).bit_length()


def _fill(engine: Engine, name: str, text: str, places: dict[str, str]) -> None:
    engine.materialize(name, query("funnel", text, **places))


_TTC = tuple(
    double(f"ttc_{name}_s", "time to convert from step 1", nullable=True, unit="seconds")
    for name in ("p25", "p50", "p75", "p90", "p95", "mean")
)
ANALYSIS = Analysis(
    name="funnel",
    version=1,
    summary="how many users reach each step in order, and how long they need",
    inputs=(EVENTS,),
    outputs=(
        OutputTable(
            "funnel",
            (
                varchar("breakdown"),
                integer_column("step", "1, 2, ..."),
                varchar("step_name"),
                bigint("entities"),
                double("conversion_from_start", nullable=True, unit="fraction"),
                double("conversion_from_previous", nullable=True, unit="fraction"),
                bigint("dropped"),
                *_TTC,
            ),
            key=("breakdown", "step"),
            order="breakdown, step",
        ),
        OutputTable(
            "funnel_entities",
            (
                varchar("entity_id"),
                integer_column("level"),
                bigint("started_at", unit="Unix seconds"),
                bigint("reached_at", unit="Unix seconds"),
            ),
            key=("entity_id",),
            order="entity_id",
            doc="with with_entities; entities that did not reach step 1 are absent",
        ),
    ),
    parameters=Parameters,
    compute=compute,
)
