"""Paths: the ways that conversions, or sessions, took, and the transitions between their steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jobs.analyses import grouping, journeys, sessions
from jobs.analyses.analysis import Analysis, Present
from jobs.analyses.histories import histories
from jobs.analyses.identity import IDENTITY_EDGES
from jobs.analyses.inputs import CONVERSIONS, EVENTS, TOUCHES, refuse_names, reserved
from jobs.analyses.paths_kernel import (
    MAX_WORDS,
    Layout,
    count,
    paths_table,
    steps_table,
    transitions_table,
)
from jobs.contracts.errors import EngineError, InputError
from jobs.contracts.parameters import choice, integer, listing, optional, parameter, text
from jobs.contracts.tables import InputTable, OutputTable, bigint, double, varchar
from jobs.contracts.tables import integer as integer_column
from jobs.engine.text import query, text_list

if TYPE_CHECKING:
    from jobs.engine.port import Engine

_SEPARATOR = " > "
#: Where every path begins and ends, in `transitions` and `step_matrix`.
_ENDS, _ENDS_ARE = ("path_start", "path_end"), "the ends of a path"
#: What a > inside a step becomes.
_INNER = "\u203a"
#: One step, or several that count alike.
_TOKENS = optional(listing(text(), low=1, unique=True))


def _grouping(name: str, value: Any) -> tuple[Any, ...]:
    return () if value is None or value in ([], ()) else grouping.check(name, value)


@dataclass(frozen=True, kw_only=True)
class Parameters(journeys.JourneyParameters):
    """Parameters of `paths`. Those of touches apply to conversion paths, those of events to session paths."""

    collapse: str = parameter(
        "consecutive", choice("consecutive", "none", "set"), "which repeats become one step"
    )
    max_length: int = parameter(
        10,
        integer(1, 1_000),
        "steps to keep: the first ones; the last ones before a conversion, or before `end` without `start`",
        aliases=("L",),
    )
    start: tuple[str, ...] | None = parameter(
        None, _TOKENS, "leave out what comes before the first of these steps, and paths without one"
    )
    end: tuple[str, ...] | None = parameter(
        None, _TOKENS, "leave out what comes after the first of these steps behind the start"
    )
    through: tuple[str, ...] | None = parameter(None, _TOKENS, "keep only paths that hold one of these steps")
    grouping: tuple[Any, ...] = parameter(
        (),
        (f"{grouping.ALLOWED}, or an empty list", _grouping),
        "which steps become one, by the first rule that matches",
        aliases=("group",),
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
    if "events" in given and given & {"touches", "conversions"}:
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
    `step_matrix` says for each step 0..max_length where the entities are, after the cut: at path_start in
    step 0, in path_end once their path is over; shares of a step add up to 1.

    In order: `grouping` names the steps, `collapse` joins them, `start` and `end` trim the path (the end is
    sought behind the start), `through` keeps paths that hold a step, `max_length` cuts. An entity without the
    steps asked for is left out everywhere. Conversions and value stay those of the whole entity, the duration
    that of the trimmed path.
    """
    by_events = "events" in present
    if by_events and _by_kernel(engine, parameters, present):
        return {"paths": "paths", "transitions": "transitions", "step_matrix": "step_matrix"}
    weight = "1" if by_events else "conversions"
    tokens = _from_events(engine, parameters) if by_events else _from_touches(engine, parameters)
    _number(engine, parameters, tokens, from_end=not by_events)
    anchors = _anchors(parameters, by_events=by_events)
    places = anchors | {
        "concat": engine.dialect.ordered_concat("tokens.token", _SEPARATOR, "tokens.position")
    }
    if not by_events:
        anchored = parameters.start or parameters.end or parameters.through
        places["empty"] = "" if anchored else query("paths", "conversion_empty_paths")
    name = "session_paths" if by_events else "conversion_paths"
    engine.materialize("path_entities", query("paths", name, **places))
    engine.view("paths_all", query("paths", "paths", entity_weight=weight))
    engine.view("paths", query("paths", "frequent", min_count=str(parameters.min_count)))
    engine.view("path_steps", query("paths", "steps"))
    engine.view("transitions", query("paths", "transitions"))
    engine.view("path_total", query("paths", "total", entity_weight=weight))
    series = engine.dialect.series("1", str(parameters.max_length))
    engine.view("step_matrix", query("paths", "step_matrix", entity_weight=weight, series=series))
    return {"paths": "paths", "transitions": "transitions", "step_matrix": "step_matrix"}


def _anchors(parameters: Parameters, *, by_events: bool) -> dict[str, str]:
    """Which tokens of an entity its duration looks at, and the join that says so."""
    bounds = ["place >= first_place"] if parameters.start else []
    if parameters.end and by_events:  # before a conversion, a path always ends at the conversion
        bounds.append("place <= last_place")
    spans = "INNER JOIN path_spans AS spans ON spans.entity_id = tokens.entity_id" if bounds else ""
    return {"inside": " AND ".join(bounds) or "TRUE", "spans": spans}


def _from_touches(engine: Engine, parameters: Parameters) -> str:
    journeys.from_touches(engine, parameters)
    journeys.number_touches(engine, parameters, collapse=False)
    refuse_names(
        engine, "attribution_touch_rows", "channel", (journeys.UNATTRIBUTED,), journeys.UNATTRIBUTED_IS
    )
    refuse_names(engine, "attribution_touch_rows", "channel", _ENDS, _ENDS_ARE)
    token = grouping.token_sql("channel", parameters.grouping)
    engine.view("path_tokens", query("paths", "conversion_tokens", token=token))
    engine.view("path_empty", query("paths", "conversion_empty"))
    return _trim(engine, parameters, _collapse(engine, parameters))


def _by_kernel(engine: Engine, parameters: Parameters, present: Present) -> bool:
    """Count the paths of events over integers, where the engine and the parameters allow it."""
    trimmed = parameters.start or parameters.end or parameters.through
    if not engine.dialect.has_asof_join or trimmed or parameters.collapse == "set":
        return False
    found = histories(
        engine,
        covers=parameters.covers(),
        step=f"REPLACE({grouping.token_sql('event', parameters.grouping)}, '>', '{_INNER}')",
        conversion_events=parameters.conversion_events,
        with_values="value_minor" in present["events"],
    )
    if found is None:
        return False
    for name in sorted(set(_ENDS) & set(found.tokens.to_pylist())):
        raise reserved("event", name, _ENDS_ARE)
    layout = Layout(len(found.tokens), parameters.max_length)
    if layout.words > MAX_WORDS:
        return False
    timeout = parameters.timeout if parameters.entity == "session" else None
    try:
        counts = count(found, layout, timeout=timeout, collapse=parameters.collapse == "consecutive")
        tables = {
            "path": paths_table(counts, found.tokens),
            "transition": transitions_table(counts, found.tokens),
            "step": steps_table(counts, found.tokens),
        }
    except OverflowError as error:
        raise EngineError(f"output paths: {error}") from error
    for name, table in tables.items():
        engine.register_arrow(f"{name}_counts", table)
    engine.view("paths_all", query("paths", "counted_paths"))
    engine.view("paths", query("paths", "frequent", min_count=str(parameters.min_count)))
    engine.view("transitions", query("paths", "counted_transitions"))
    engine.view("step_matrix", query("paths", "counted_steps"))
    return True


def _from_events(engine: Engine, parameters: Parameters) -> str:
    refuse_names(engine, "events", "event", _ENDS, _ENDS_ARE)
    cut = sessions.Parameters(from_=parameters.from_, to=parameters.to, timeout=parameters.timeout)
    sessions.number_events(engine, cut)
    entity = "user_id"
    if parameters.entity == "session":
        entity = "user_id || ':' || CAST(session_index AS STRING)"
    engine.view(
        "path_tokens",
        query(
            "paths",
            "session_tokens",
            entity=entity,
            token=grouping.token_sql("event", parameters.grouping),
            conversion_events=text_list(parameters.conversion_events),
        ),
    )
    return _trim(engine, parameters, _collapse(engine, parameters))


def _collapse(engine: Engine, parameters: Parameters) -> str:
    if parameters.collapse == "none":
        return "path_tokens"
    name = "collapsed" if parameters.collapse == "consecutive" else "distinct_tokens"
    engine.view("path_collapsed", query("paths", name, relation="path_tokens"))
    return "path_collapsed"


def _trim(engine: Engine, parameters: Parameters, relation: str) -> str:
    """The tokens between the anchors, of paths that have them."""
    after = "start_place" if parameters.start else "0"
    for name, tokens, places in (
        ("started", parameters.start, {}),
        ("ended", parameters.end, {"after": after}),
        ("through", parameters.through, {}),
    ):
        if tokens:
            sought = text_list(tuple(token.replace(">", _INNER) for token in tokens))
            engine.view(f"path_{name}", query("paths", name, relation=relation, tokens=sought, **places))
            relation = f"path_{name}"
    return relation


def _number(engine: Engine, parameters: Parameters, relation: str, *, from_end: bool) -> None:
    """Make `path_numbered`, all tokens of the trimmed paths, and `path_kept`, those that the cut leaves."""
    bounds = ("start_place, " if parameters.start else "") + ("end_place, " if parameters.end else "")
    engine.materialize("path_numbered", query("paths", "numbered", relation=relation, bounds=bounds))
    length = str(parameters.max_length)
    last = (from_end or parameters.end is not None) and parameters.start is None
    skipped = f"GREATEST(position + position_from_end - 1 - {length}, 0)" if last else "0"
    limit = f"{'position_from_end' if last else 'position'} <= {length}"
    engine.view("path_kept", query("paths", "kept", skipped=skipped, limit=limit))
    spans = query(
        "paths",
        "spans",
        first="MIN(start_place)" if parameters.start else "CAST(0 AS BIGINT)",
        last="MIN(end_place)" if parameters.end else "CAST(9223372036854775807 AS BIGINT)",
    )
    engine.view("path_spans", spans)


_EVENTS = InputTable(EVENTS.name, EVENTS.columns, EVENTS.unique, required=False)
ANALYSIS = Analysis(
    name="paths",
    version=2,
    summary="the distinct paths of conversions or sessions, and the transitions between their steps",
    inputs=(TOUCHES, CONVERSIONS, _EVENTS, IDENTITY_EDGES),
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
        OutputTable(
            "step_matrix",
            (
                integer_column("step", "0 is path_start"),
                varchar("event"),
                double("share", "of all entities", nullable=True, unit="fraction"),
            ),
            key=("step", "event"),
            order="step, share DESC, event",
        ),
    ),
    parameters=Parameters,
    compute=compute,
    check_inputs=_check_inputs,
)
