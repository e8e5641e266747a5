"""Remembered look-ups: fresh for a second, gone with a change, never out of date after one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from addon.models.accounts import Right
from addon.models.tables import TableRef
from addon.store.accounts import AccountStore
from addon.store.catalog import SqlCatalog
from addon.store.recent import KEEP_S, Recent

if TYPE_CHECKING:
    from addon.store.database import Database
    from platform_core.base.clock import FixedClock


def test_an_answer_is_kept_for_its_time_and_forgotten_on_demand(clock: FixedClock) -> None:
    asked: list[str] = []
    recent: Recent[int] = Recent(clock)

    def look_up() -> int:
        asked.append("again")
        return len(asked)

    assert [recent.get("a", look_up), recent.get("a", look_up), recent.get("b", look_up)] == [1, 1, 2]
    clock.advance(KEEP_S)
    assert recent.get("a", look_up) == 3
    recent.forget()
    assert recent.get("a", look_up) == 4


def test_an_answer_from_before_a_change_is_not_kept(clock: FixedClock) -> None:
    recent: Recent[str] = Recent(clock)

    def slow() -> str:
        recent.forget()  # somebody else's change commits while we read
        return "old"

    assert recent.get("a", slow) == "old"
    assert recent.get("a", lambda: "new") == "new"


def test_a_revoked_key_is_dead_at_once(accounts: AccountStore) -> None:
    account, _ = accounts.ensure_local("one", "nano", "a" * 64)
    key = accounts.add_key(account.id, Right.WRITE)
    assert accounts.identify(key) is not None
    assert accounts.revoke_key(account.id, key)
    assert accounts.identify(key) is None


def test_a_table_is_seen_and_missed_at_once(catalog: SqlCatalog) -> None:
    ref = TableRef(1, "shop", "events")
    assert not catalog.table_exists(ref)
    catalog.ensure_table(ref)
    assert catalog.table_exists(ref)
    catalog.delete_table(ref)
    assert not catalog.table_exists(ref)
    catalog.create_table(ref)
    assert catalog.table_exists(ref)
    catalog.delete_database(1, "shop")
    assert not catalog.table_exists(ref)


def test_a_table_that_another_process_made_is_seen_at_once(
    catalog: SqlCatalog, database: Database, clock: FixedClock
) -> None:
    ref = TableRef(1, "shop", "events")
    assert not catalog.table_exists(ref)
    SqlCatalog(database, clock).ensure_table(ref)
    assert catalog.table_exists(ref)
