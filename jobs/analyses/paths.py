"""Paths: the ways that conversions, or sessions, took, and the transitions between their steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from jobs.analyses import journeys, sessions
from jobs.analyses.analysis import Analysis, Present
from jobs.analyses.inputs import CONVERSIONS, EVENTS, TOUCHES
from jobs.contracts.errors import InputError
from jobs.contracts.parameters import choice, integer, listing, parameter, text
from jobs.contracts.tables import InputTable, OutputTable, bigint, double, varchar
from jobs.contracts.tables import integer as integer_column
from jobs.engine.text import query, text_list

if TYPE_CHECKING:
    from jobs.engine.port import Engine

_SEPARATOR = " > "


@dataclass(frozen=True, kw_only=True)
class Parameters(journeys.JourneyParameters):
    """Parameters of `paths`. Those of touches apply to conversion paths, those of events to session paths."""

    PLANNED: ClassVar[tuple[str, ...]] = ("start", "end", "through", "grouping", "stitch")

    collapse: str = parameter(
        "consecutive", choice("consecutive", "none", "set"), "which repeats become one step"
    )
    max_length: int = parameter(
        10,
        integer(1, 1_000),
        "steps to keep: the first ones of a session, the last ones before a conversion",
        aliases=("L",),
    )
    min_count: int = parameter(1, integer(1), "leave out paths that fewer entities took")
    entity: str = parameter("session", choice("session", "user"), "whose events make a path")
    timeout: int = parameter(
        1_800, integer(0), "a longer pause than this starts a new session", unit="seconds"
    )
    conversion_events: tuple[str, ...] = parameter(
        ("purchase",), listing(text(), unique=True), "events that make a path of events converted"
    )


def _check_inputs(given: frozenset[str]) -> None:
    if "events" in given and len(given) > 1:
        raise InputError("give either events, or touches and conversions, not both")
    if "events" not in given and not {"touches", "conversions"} <= given:
        raise InputError(
            "give --input events=FILE (user_id, time, seq, event), or"
            " --input touches=FILE (user_id, time, seq, channel)"
            " and --input conversions=FILE (conversion_id, user_id, time, value_minor)"
        )


def compute(engine: Engine, parameters: Parameters, present: Present) -> dict[str, str]:
    """List the distinct paths with how many took them, and the transitions between their steps.

    From `touches` and `conversions`: an entity is a conversion, its path the channels of its touches, chosen
    as in `attribution` (lookback, touch_reuse, strict_before, max_touches, exclude_channels) and ordered by
    (time, seq). A conversion without a touch has the path `(unattributed)` of length 0. The last
    `max_length` steps are kept. The duration runs from the first touch to the conversion.

    From `events`: an entity is a session (cut as in `sessions`) or a user, its path the events of the report
    range ordered by (time, seq). The first `max_length` steps are kept. `conversions` counts entities with a
    conversion event, `value_minor` sums those events. The duration runs from the first event to the last.

    `collapse` = consecutive makes one step of a run, `set` keeps a step's first occurrence only. Steps are
    joined by ` > `; a > inside a step becomes U+203A. `share` is the fraction of all entities, those below
    `min_count` included. Ties in the order are broken by the path's bytes. `transitions` counts step pairs
    before the cut at `max_length`, with `path_start` and `path_end` at the ends; there seconds are NULL.
    """
    if "events" in present:
        template, weight, kept = _from_events(engine, parameters, present), "1", "session_paths"
    else:
        template, weight, kept = _from_touches(engine, parameters), "conversions", "conversion_paths"
    engine.materialize("path_numbered", query("paths", "numbered", relation=template))
    concat = engine.dialect.ordered_concat("tokens.token", _SEPARATOR, "tokens.position")
    engine.view("path_entities", query("paths", kept, concat=concat, max_length=str(parameters.max_length)))
    engine.view("paths_all", query("paths", "paths", entity_weight=weight))
    engine.view("paths", query("paths", "frequent", min_count=str(parameters.min_count)))
    engine.view("path_steps", query("paths", "steps"))
    engine.view("transitions", query("paths", "transitions"))
    return {"paths": "paths", "transitions": "transitions"}


def _from_touches(engine: Engine, parameters: Parameters) -> str:
    journeys.from_touches(engine, parameters)
    journeys.number_touches(engine, parameters, collapse=False)
    engine.view("path_tokens", query("paths", "conversion_tokens"))
    engine.view("path_empty", query("paths", "conversion_empty"))
    return _collapse(engine, parameters)


def _from_events(engine: Engine, parameters: Parameters, present: Present) -> str:
    cut = sessions.Parameters(from_=parameters.from_, to=parameters.to, timeout=parameters.timeout)
    sessions.compute(engine, cut, present)
    entity = "user_id"
    if parameters.entity == "session":
        entity = "user_id || ':' || CAST(session_index AS STRING)"
    engine.view(
        "path_tokens",
        query(
            "paths",
            "session_tokens",
            entity=entity,
            conversion_events=text_list(parameters.conversion_events),
        ),
    )
    return _collapse(engine, parameters)


def _collapse(engine: Engine, parameters: Parameters) -> str:
    if parameters.collapse == "none":
        return "path_tokens"
    name = "collapsed" if parameters.collapse == "consecutive" else "distinct_tokens"
    engine.view("path_collapsed", query("paths", name, relation="path_tokens"))
    return "path_collapsed"


_EVENTS = InputTable(EVENTS.name, EVENTS.columns, EVENTS.unique, required=False)
ANALYSIS = Analysis(
    name="paths",
    version=1,
    summary="the distinct paths of conversions or sessions, and the transitions between their steps",
    inputs=(TOUCHES, CONVERSIONS, _EVENTS),
    outputs=(
        OutputTable(
            "paths",
            (
                varchar("path", "steps joined by ' > '"),
                integer_column("length"),
                bigint("entities"),
                bigint("conversions"),
                bigint("value_minor", unit="minor currency units"),
                double("share", "of all entities", nullable=True, unit="fraction"),
                double("p50_duration_s", nullable=True, unit="seconds"),
            ),
            key=("path",),
            order="entities DESC, path",
        ),
        OutputTable(
            "transitions",
            (
                varchar("source"),
                varchar("target"),
                bigint("count"),
                bigint("entities"),
                double("p_out", "of the source's transitions", nullable=True, unit="fraction"),
                double("p_in", "of the target's transitions", nullable=True, unit="fraction"),
                double("median_s", nullable=True, unit="seconds"),
                double("p95_s", nullable=True, unit="seconds"),
            ),
            key=("source", "target"),
            order="count DESC, source, target",
        ),
    ),
    parameters=Parameters,
    compute=compute,
    check_inputs=_check_inputs,
)
