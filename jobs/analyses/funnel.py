"""Funnel: how many entities take the steps, in which order, and how long they need."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs.analyses import sessions
from jobs.analyses.analysis import Analysis, Present
from jobs.analyses.funnel_chains import reached_by_chains
from jobs.analyses.funnel_fast import counted_by_kernel
from jobs.analyses.funnel_parameters import Parameters
from jobs.analyses.identity import IDENTITY_EDGES
from jobs.analyses.inputs import EVENTS
from jobs.contracts.errors import InputError
from jobs.contracts.tables import OutputTable, bigint, double, varchar
from jobs.contracts.tables import integer as integer_column
from jobs.engine.text import literal, query
from jobs.native.library import library

if TYPE_CHECKING:
    from jobs.engine.port import Engine


def compute(engine: Engine, parameters: Parameters, present: Present) -> dict[str, str]:
    """Find how far each entity comes through the steps, and within the window.

    An entity is a user, or a session cut as in `sessions`; only events of the report range [from, to) count.
    A step is an event name, a list of names that count alike, or an object with conditions on properties;
    one event may match several steps.

    Mode ordered: an entity's level is the largest m for which events e1..em exist that match steps 1..m, each
    after the one before, with time(em) - time(e1) <= `window`, both ends included; other events may lie
    between. All starts are tried, not only the first. `ties` says what "after" means: seq: (time, seq) is
    greater, so one event fills one step; step: time is not smaller, events of one second are taken in step
    order and one event may fill two steps that it matches (ClickHouse's windowFunnel); increase: time is
    greater. Mode strict: the longest prefix of the steps on consecutive events of the entity by (time, seq),
    whatever `ties` says. Mode unordered: the most distinct steps in any interval [t, t + window] that starts
    at a step event; row m counts entities with at least m of them.

    `exclusions` name events that void a chain when they lie, by (time, seq), strictly between its steps i and
    min(j, m); without effect for m < i, so steps that came before still count. With ties = step, where a
    chain may go back inside a second, "between" means between two neighbours of the chain. Not for unordered.

    `breakdown` reads the column of that name, NULL as (none): first, last: the value at the first, or the
    last, step of the first complete chain to the entity's level, from its latest start; step: each step under
    its own event's value (between start and end the latest event that fits, for entries the earliest), so a
    value's later step may have more entities than an earlier one; all: chains
    that hold one value, so an entity may count under several.

    `count` = entry counts events of step 1 instead of entities, each with the level of the chains that start
    there. Time to convert to a step, in seconds, is measured on the first chain that reaches it, from its
    latest possible start; percentiles interpolate. `conversion_from_start` and `conversion_from_previous` are
    fractions, 1 at step 1, NULL where nobody was before. `dropped` is the previous step's entities minus this
    one's, 0 at step 1.
    """
    if parameters.breakdown is not None and "breakdown" not in present["events"]:
        raise InputError(
            f"events: column breakdown is missing; parameter breakdown = {parameters.breakdown} reads it"
            " (rename with --map events.breakdown=NAME)"
        )
    _source(engine, parameters)
    plain = parameters.mode == "ordered" and parameters.count == "entity"
    kernel = library() if engine.dialect.has_asof_join else None
    by_kernel = kernel is not None and plain and not parameters.exclusions and not parameters.breakdown
    if by_kernel:
        counted_by_kernel(engine, kernel, parameters)
    else:
        reached_by_chains(engine, parameters)
        engine.view("funnel_counts", query("funnel", "counts"))
    engine.view("funnel_values", query("funnel", "values" if parameters.breakdown else "one_value"))
    names = ", ".join(f"({index}, {literal(name)})" for index, name in enumerate(_names(parameters), 1))
    engine.view("funnel", query("funnel", "funnel", names=names))
    outputs = {"funnel": "funnel"}
    if parameters.with_entities:
        relation = "funnel_kernel" if by_kernel else "funnel_chains"
        engine.view("funnel_entities", query("funnel", "entities", relation=relation))
        outputs["funnel_entities"] = "funnel_entities"
    return outputs


def _source(engine: Engine, parameters: Parameters) -> None:
    """Make `funnel_source`: the events that count, with their entity."""
    if parameters.entity == "user":
        engine.view("funnel_source", query("funnel", "source", range=parameters.covers()))
        return
    cut = sessions.Parameters(from_=parameters.from_, to=parameters.to, timeout=parameters.timeout)
    sessions.number_events(engine, cut)
    engine.materialize("funnel_source", query("funnel", "session_source"))


def _names(parameters: Parameters) -> list[str]:
    if parameters.mode == "unordered":
        return [f"any {count}" for count in range(1, len(parameters.steps) + 1)]
    return [step.name for step in parameters.predicates()]


_TTC = tuple(
    double(f"ttc_{name}_s", "time to convert from step 1", nullable=True, unit="seconds")
    for name in ("p25", "p50", "p75", "p90", "p95", "mean")
)
ANALYSIS = Analysis(
    name="funnel",
    version=2,
    summary="how many users reach each step, and how long they need",
    inputs=(EVENTS, IDENTITY_EDGES),
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
    more_columns=Parameters.columns,
)
