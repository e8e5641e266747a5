"""The touches before each conversion, in order: what attribution credits and conversion paths list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobs.analyses.analysis import ReportRange
from jobs.analyses.identity import StitchParameters
from jobs.contracts.errors import InputError
from jobs.contracts.parameters import choice, flag, integer, listing, optional, parameter, text
from jobs.engine.port import Kind
from jobs.engine.text import literal, query, text_list

if TYPE_CHECKING:
    from jobs.engine.port import Engine

#: A conversion that no touch can be credited with.
UNATTRIBUTED = "(unattributed)"
UNATTRIBUTED_IS = "conversions without a touch"


@dataclass(frozen=True, kw_only=True)
class JourneyParameters(StitchParameters, ReportRange):
    """Which touches belong to a conversion."""

    lookback: int = parameter(
        2_592_000,
        integer(0),
        "how long before the conversion a touch may lie, included on both ends",
        unit="seconds",
        aliases=("lookback_s",),
    )
    touch_reuse: str = parameter(
        "all",
        choice("all", "since_previous"),
        "whether a touch may count again for the user's next conversion",
    )
    strict_before: bool = parameter(
        False, flag(), "leave out touches in the conversion's own second, as Treasure Data's workflow does"
    )
    max_touches: int | None = parameter(None, optional(integer(1)), "only the last n touches of a conversion")
    exclude_channels: tuple[str, ...] = parameter(
        (),
        listing(text(), unique=True),
        "channels to leave out of the path",
        aliases=("excluded_channels",),
    )
    direct: str = parameter("direct", text(), "the channel that last_non_direct passes over")


def from_touches(engine: Engine, parameters: JourneyParameters, *, with_users: bool = False) -> None:
    """Journeys of the inputs `conversions` and `touches`; with_users adds those that ended in nothing."""
    number = "0" if with_users else engine.dialect.surrogate("conversion_id")
    journeys = query("attribution", "journeys_from_conversions", number=number, range=parameters.covers())
    if with_users:
        journeys = query(
            "attribution",
            "journeys_with_users",
            number=engine.dialect.surrogate("label"),
            conversions=journeys,
            range=parameters.covers(),
            after="1" if parameters.strict_before else "0",
        )
    engine.materialize("attribution_journeys", journeys)
    reuse = "TRUE"
    if parameters.touch_reuse == "since_previous":
        reuse = "journey.previous_time IS NULL OR touch.time > journey.previous_time"
    eligible = query(
        "attribution",
        "eligible_touches",
        lookback=literal(parameters.lookback),
        not_after="<" if parameters.strict_before else "<=",
        reuse=reuse,
    )
    engine.view("attribution_eligible", eligible)


def from_paths(engine: Engine, *, kept: bool = True) -> None:
    """Journeys of the aggregated input `paths`, those included that never converted: their channels count 0.

    Paths that nobody took are left out, counts below zero refused. What is not kept is read once, and has no
    numbers.
    """
    bad = engine.collect(query("staging", "negative_counts")).to_pylist()[0]["n"]
    if bad:
        raise InputError(f"paths: {bad} rows have a negative count in conversions or nulls")
    journeys = query(
        "attribution",
        "journeys_from_paths",
        number=engine.dialect.surrogate("label") if kept else "0",
        value_type=value_type(engine, "paths"),
    )
    (engine.materialize if kept else engine.view)("attribution_journeys", journeys)
    parts = engine.dialect.split_table("attribution_journeys", "label", ">")
    engine.view("attribution_eligible", query("attribution", "touches_from_paths", parts=parts))


def value_type(engine: Engine, relation: str) -> str:
    """How values add up exactly: integers as integers; only aggregated paths may carry fractions."""
    return "DOUBLE" if engine.columns(relation)["value_minor"].kind is Kind.FLOAT else "BIGINT"


def number_touches(engine: Engine, parameters: JourneyParameters, *, collapse: bool) -> None:
    """Turn `attribution_eligible` into `attribution_touch_rows`: the limits applied, positions counted."""
    relation = "attribution_eligible"
    for name, places in transforms(parameters, collapse=collapse):
        engine.view(f"attribution_{name}", query("attribution", name, relation=relation, **places))
        relation = f"attribution_{name}"
    engine.materialize(
        "attribution_touch_rows",
        query("attribution", "numbered_touches", relation=relation, direct=literal(parameters.direct)),
    )


def transforms(parameters: JourneyParameters, *, collapse: bool) -> list[tuple[str, dict[str, str]]]:
    """What is done to a path, in order: the named query and its places."""
    found: list[tuple[str, dict[str, str]]] = []
    if parameters.max_touches is not None:
        found.append(("last_touches", {"max_touches": str(parameters.max_touches)}))
    if parameters.exclude_channels:
        found.append(("other_channels", {"excluded": text_list(parameters.exclude_channels)}))
    if collapse:
        found.append(("collapsed_touches", {}))
    return found


def list_touches(engine: Engine, parameters: JourneyParameters, *, collapse: bool, last_other: bool) -> None:
    """`number_touches` for aggregated paths on an engine with list functions, without any sort.

    Args:
        engine: its dialect must have `has_asof_join`.
        parameters: the limits.
        collapse: whether a run of one channel becomes one touch.
        last_other: whether anybody asks for `is_last_other`; else it is false everywhere.
    """
    list_paths(engine, parameters, collapse=collapse)
    place = last_other_place(parameters, asked=last_other)
    engine.view("attribution_touch_rows", query("attribution", "listed_touches", last_other=place))


def list_paths(engine: Engine, parameters: JourneyParameters, *, collapse: bool, kept: bool = True) -> None:
    """`attribution_lists`: the limits applied to each path; computed when read where it is not kept."""
    relation = "attribution_split"
    engine.view(relation, query("attribution", "lists"))
    for name, places in transforms(parameters, collapse=collapse):
        engine.view(f"attribution_{name}", query("attribution", f"list_{name}", relation=relation, **places))
        relation = f"attribution_{name}"
    lists = query("staging", "typed", items="*", relation=relation)
    (engine.materialize if kept else engine.view)("attribution_lists", lists)


def last_other_place(parameters: JourneyParameters, *, asked: bool) -> str:
    """SQL: the place in a list that `is_last_other` means; none where nobody asks for it."""
    return query("attribution", "last_other", direct=literal(parameters.direct)) if asked else "0"


def check_inputs(given: frozenset[str]) -> None:
    """Either touches with conversions, or aggregated paths."""
    if given & {"paths"} and given & {"touches", "conversions"}:
        raise InputError("give either paths, or touches and conversions, not both")
    if "paths" not in given and not {"touches", "conversions"} <= given:
        raise InputError(
            "give --input touches=FILE (user_id, time, seq, channel) and --input conversions=FILE"
            " (conversion_id, user_id, time, value_minor), or --input paths=FILE"
            " (path, conversions, value_minor, nulls)"
        )
