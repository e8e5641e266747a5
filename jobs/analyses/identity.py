"""Identity: the ids under which one person was seen become one, before an analysis reads its tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobs.contracts.parameters import choice, parameter
from jobs.contracts.tables import InputTable, seconds, varchar
from jobs.engine.text import query
from jobs.engine.uniqueness import distinct_keys

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jobs.engine.port import Engine

STITCH = ("none", "first", "graph")
IDENTITY_EDGES = InputTable(
    "identity_edges",
    (
        varchar("anonymous_id", "an id that a visitor had before"),
        varchar("user_id", "whose it turned out to be"),
        seconds("time", "when that was seen"),
    ),
    required=False,
    doc="which ids belong together; applied before anything is counted, as stitch says",
)
#: The columns that carry an identity, wherever they occur.
_USERS = ("user_id", "customer_id")


@dataclass(frozen=True, kw_only=True)
class StitchParameters:
    """The parameter that every analysis of users shares."""

    stitch: str = parameter(
        "first",
        choice(*STITCH),
        "what identity_edges do: nothing; an id becomes the user of its first edge; all ids that edges join,"
        " also over others, become the smallest of them",
    )


def stitch(engine: Engine, mode: str, tables: Sequence[InputTable], under: Mapping[str, str]) -> None:
    """Replace the user ids of staged tables by canonical ones.

    `first`: the canonical id of an anonymous id is the user of its first edge by (time, user_id); ids without
    an edge stay themselves, and users are not looked up again. `graph`: the canonical id is the smallest id,
    by bytes, of the connected component. `none` leaves everything as it is.

    Where rows of two ids of one user share second and seq, their seq is counted anew for the whole table, in
    the order of (seq, former id): no event is lost, and the order of all others stays.

    Args:
        engine: has `identity_edges` and the tables staged.
        mode: one of STITCH.
        tables: the staged tables; those without a user column are left alone.
        under: by table the relation that the staged one reads.
    """
    if mode == "none":
        return
    engine.materialize("identity_map", query("identity", "first") if mode == "first" else _components(engine))
    for table in tables:
        users = [column.name for column in table.columns if column.name in _USERS]
        if table.name != IDENTITY_EDGES.name and users:
            _replace(engine, table, under[table.name], users[0])


def _components(engine: Engine) -> str:
    """The query of the map for `graph`: labels sink to the smallest id until no round changes any."""
    engine.materialize("identity_neighbours", query("identity", "neighbours"))
    labels = "identity_labels_0"
    engine.materialize(labels, query("identity", "first_labels"))
    changed, turn = True, 0
    while changed:
        turn += 1
        earlier, labels = labels, f"identity_labels_{turn}"
        # As a table, not as a query: a query over queries would grow threefold in each round.
        engine.register_arrow(labels, engine.collect(query("identity", "next_labels", labels=earlier)))
        sql = query("identity", "changes", labels=labels, earlier=earlier)
        changed = engine.collect(sql).to_pylist()[0]["n"] > 0
    return query("identity", "graph", labels=labels)


def _replace(engine: Engine, table: InputTable, under: str, user: str) -> None:
    """Put the table with canonical ids in the place of the staged one."""
    names = list(engine.columns(table.name))
    ordered = user in table.unique and "seq" in table.unique
    canonical = f"COALESCE(identity_map.canonical, rows_given.{user})"
    items = [f"{canonical} AS {user}" if name == user else f"rows_given.{name}" for name in names]
    if ordered:
        items.append(f"rows_given.{user} AS former_id")
    stitched = query("identity", "stitched", columns=", ".join(items), relation=under, user=user)
    if not ordered:
        engine.view(table.name, stitched)
        return
    joined = f"{table.name}__stitched"
    engine.view(joined, stitched)
    columns = ", ".join(names)
    rows = engine.collect(query("staging", "count", relation=joined)).to_pylist()[0]["n"]
    if distinct_keys(engine, joined, table.unique, rows) == rows:
        engine.view(table.name, query("staging", "typed", items=columns, relation=joined))
        return
    others = ", ".join(name for name in (*names, "former_id") if name != "seq")
    engine.view(
        table.name,
        query("identity", "resequenced", columns=columns, others=others, relation=joined, user=user),
    )
