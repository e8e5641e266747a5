"""How tables drift: dates of columns and types, counts of values that did not fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from addon.models.tables import Column, TableRef

if TYPE_CHECKING:
    from addon.store.catalog import SqlCatalog
    from platform_core.base.clock import FixedClock

EVENTS = TableRef(1, "shop", "events")
TIME = Column("time", "long")


def flush(catalog: SqlCatalog, segment: int, *columns: Column, misfits: dict[str, int] | None = None) -> None:
    catalog.record_flush(EVENTS, [TIME, *columns], 1, 1, ("w", segment), misfits or {})


def test_a_column_is_dated_when_it_appears_and_again_when_it_widens(
    catalog: SqlCatalog, clock: FixedClock
) -> None:
    catalog.ensure_table(EVENTS)
    flush(catalog, 1, Column("n", "long"))
    flush(catalog, 2, Column("n", "long"))
    clock.advance(5)
    flush(catalog, 3, Column("n", "double"), Column("s", "string"))
    found = catalog.drift(EVENTS)
    assert [kind for kind, _ in found["n"].types] == ["long", "double"]
    assert [kind for kind, _ in found["s"].types] == ["string"]
    assert found["n"].types[0][1] < found["n"].types[1][1] == found["s"].types[0][1]


def test_an_older_view_of_the_columns_moves_no_date(catalog: SqlCatalog) -> None:
    catalog.ensure_table(EVENTS)
    flush(catalog, 1, Column("n", "double"))
    before = catalog.drift(EVENTS)["n"].types
    catalog.record_flush(EVENTS, [TIME], 1, 1, ("other", 1))
    flush(catalog, 2, Column("n", "double"))
    assert catalog.drift(EVENTS)["n"].types == before


def test_misfits_are_counted_once_a_segment(catalog: SqlCatalog, clock: FixedClock) -> None:
    catalog.ensure_table(EVENTS)
    flush(catalog, 1, Column("n", "long"), misfits={"n": 2})
    flush(catalog, 1, Column("n", "long"), misfits={"n": 2})
    clock.advance(5)
    flush(catalog, 2, Column("n", "long"), misfits={"n": 3, "_overflow": 1})
    found = catalog.drift(EVENTS)
    assert (found["n"].misfits, found["_overflow"].misfits) == (5, 1)
    assert found["n"].first_misfit is not None
    assert found["n"].last_misfit is not None
    assert found["n"].first_misfit < found["n"].last_misfit


def test_a_deleted_table_takes_its_history_along(catalog: SqlCatalog) -> None:
    for delete in (
        lambda: catalog.delete_table(EVENTS),
        lambda: catalog.delete_database(1, "shop"),
        lambda: catalog.forget_account(1),
    ):
        catalog.ensure_table(EVENTS)
        catalog.record_flush(EVENTS, [TIME], 1, 1, None, {"time": 1})
        assert catalog.drift(EVENTS)
        delete()
        assert catalog.drift(EVENTS) == {}
