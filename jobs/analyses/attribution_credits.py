"""The credits of every attribution model as relations on an engine, brought together in one table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs.analyses import journeys, markov_moves
from jobs.analyses.inputs import refuse_names
from jobs.contracts.errors import InputError
from jobs.engine.text import literal, query

if TYPE_CHECKING:
    from jobs.analyses.attribution import Parameters
    from jobs.engine.port import Engine

#: Models that need to know no more of a touch than its place in the path.
BY_PLACE = ("first", "last", "last_non_direct", "linear", "position")
TIME_DECAY = "time_decay"


def build(engine: Engine, parameters: Parameters, *, aggregated: bool, has_spend: bool) -> dict[str, str]:
    """Make `attribution`, and `attribution_touches` when asked for. Returns the outputs' relations."""
    has_lists = aggregated and engine.dialect.has_asof_join
    if has_lists and "markov" not in parameters.models:
        _place(engine, parameters)
    else:
        _touches(engine, parameters, aggregated=aggregated, has_lists=has_lists)
    models = ", ".join(f"({literal(model)})" for model in parameters.models)
    engine.view("attribution_models", query("attribution", "models", models=models))
    value_type = journeys.value_type(engine, "attribution_journeys")
    engine.materialize("attribution_cells", query("attribution", "cells", value_type=value_type))
    engine.materialize("attribution_totals", query("attribution", "totals", value_type=value_type))
    engine.materialize("attribution_visits", query("attribution", "visits", value_type=value_type))
    _spend(engine, given=has_spend)
    engine.view("attribution_channels", query("attribution", "channels"))
    names = (journeys.UNATTRIBUTED,)
    refuse_names(engine, "attribution_channels", "channel", names, journeys.UNATTRIBUTED_IS)
    _credits(engine, parameters, aggregated=aggregated, has_lists=has_lists)
    engine.view("attribution", query("attribution", "attribution"))
    if not parameters.with_touches:
        return {"attribution": "attribution"}
    _single_touches(engine, parameters)
    return {"attribution": "attribution", "attribution_touches": "attribution_touches"}


def _place(engine: Engine, parameters: Parameters) -> None:
    """The touches of aggregated paths as few sums, from one pass over the paths: none of them is kept."""
    journeys.from_paths(engine, kept=False)
    value_type = journeys.value_type(engine, "paths")
    journeys.list_paths(engine, parameters, collapse=parameters.repeats == "collapse", kept=False)
    asked = "last_non_direct" in parameters.models
    placed = query(
        "attribution",
        "placed",
        value_type=value_type,
        last_other=journeys.last_other_place(parameters, asked=asked),
        distinct="list_unique(channels)" if "shapley" in parameters.models else "1",
    )
    engine.materialize("attribution_placed", placed)
    for name in ("touches", "path_channels", "journeys"):
        relation = "attribution_touch_rows" if name == "touches" else f"attribution_{name}"
        engine.view(relation, query("attribution", f"placed_{name}"))


def _touches(engine: Engine, parameters: Parameters, *, aggregated: bool, has_lists: bool) -> None:
    """The paths' touches in order, and the distinct channels of each path."""
    if aggregated:
        journeys.from_paths(engine)
    else:
        journeys.from_touches(engine, parameters, with_users=parameters.nulls == "users")
    collapse, shapley = parameters.repeats == "collapse", "shapley" in parameters.models
    if has_lists:
        asked = "last_non_direct" in parameters.models
        journeys.list_touches(engine, parameters, collapse=collapse, last_other=asked)
        distinct = "list_unique(channels)" if shapley else "1"
        engine.view(
            "attribution_path_channels", query("attribution", "listed_path_channels", distinct=distinct)
        )
        return
    journeys.number_touches(engine, parameters, collapse=collapse)
    distinct = "COUNT(*) OVER (PARTITION BY path_id)" if shapley else "1"
    engine.view("attribution_path_channels", query("attribution", "path_channels", distinct=distinct))


def _spend(engine: Engine, *, given: bool) -> None:
    if not given:
        engine.view("attribution_spend", query("attribution", "no_spend"))
        return
    bad = engine.collect(query("attribution", "bad_spend")).to_pylist()[0]
    if bad["negative"]:
        raise InputError(f"spend: {bad['negative']} rows have a negative spend_minor; give what was paid")
    if bad["nameless"]:
        raise InputError(f"spend: {bad['nameless']} rows have an empty channel; name it, or leave them out")
    engine.view("attribution_spend", query("attribution", "spend"))


def _credits(engine: Engine, parameters: Parameters, *, aggregated: bool, has_lists: bool) -> None:
    """The union of all models' credits."""
    parts = []
    if set(parameters.models) & set(BY_PLACE):
        parts.append(query("attribution", "cell_credits", credit=_credit(parameters)))
    if TIME_DECAY in parameters.models:
        _decayed(engine, parameters)
        parts.append(query("attribution", "decay_credits"))
    if "shapley" in parameters.models:
        parts.append(query("attribution", "shapley_credits"))
    if "markov" in parameters.models:
        replicates = parameters.replicates if parameters.intervals else 0
        options = markov_moves.Options(parameters.order, replicates, parameters.seed)
        markov_moves.credit(
            engine, options, has_lists=has_lists, has_paths=aggregated, into="attribution_markov"
        )
        parts.append(query("attribution", "markov_credits"))
    engine.view("attribution_credits", "\nUNION ALL\n".join(parts))


def _credit(parameters: Parameters, more: str = "") -> str:
    first, middle, last = map(literal, parameters.position)
    return query("attribution", "credit", first=first, middle=middle, last=last, more=more)


def _decayed(engine: Engine, parameters: Parameters) -> None:
    half_life = literal(float(parameters.half_life))
    age, least = f"lag_s / {half_life}", f"least_lag_s / {half_life}"
    if parameters.stepped:
        age, least = f"FLOOR({age})", f"FLOOR({least})"
    engine.view("attribution_decayed", query("attribution", "decayed", age=age, least=least))


def _single_touches(engine: Engine, parameters: Parameters) -> None:
    """Every touch with its credit; what only two of the models need is joined only for them."""
    has_decay = TIME_DECAY in parameters.models
    more = "\nWHEN 'time_decay' THEN decay_credit WHEN 'shapley' THEN shapley_credit"
    sql = query(
        "attribution",
        "attribution_touches",
        credit=_credit(parameters, more),
        label="SUBSTR(journey.label, 2)" if parameters.nulls == "users" else "journey.label",
        decay_credit="decayed.decay_credit" if has_decay else "CAST(NULL AS DOUBLE)",
        decay_join=query("attribution", "decay_join") if has_decay else "",
    )
    engine.view("attribution_touches", sql)
