"""Keys are found by hash only, and die at once."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import sqlalchemy as sa

from addon.models.accounts import AccountState, Right
from addon.models.resources import Provision
from addon.store.audit import AuditLog, SsoTokenStore
from addon.store.resources import ResourceStore

if TYPE_CHECKING:
    from addon.store.accounts import AccountStore
    from addon.store.database import Database
    from platform_core.base.clock import FixedClock

UUID = "01234567-89ab-cdef-0123-456789abcdef"


def test_the_local_account_is_made_once_and_its_key_is_never_stored(
    accounts: AccountStore, database: Database
) -> None:
    account, key = accounts.ensure_local("local", "premium", "ab" * 32)
    again, same = accounts.ensure_local("local", "premium", "ab" * 32)
    assert (account.id, key) == (again.id, same)
    assert re.fullmatch(r"\d+/[0-9a-f]{64}", key)
    identity = accounts.identify(key)
    assert identity is not None
    assert identity.right is Right.MASTER
    with database.read() as connection:
        stored = connection.execute(sa.text("select * from api_keys")).all()
    assert "ab" * 32 not in str(stored)


def test_a_revoked_key_is_dead_at_once(accounts: AccountStore) -> None:
    account, _ = accounts.ensure_local("local", "nano", "cd" * 32)
    key = accounts.add_key(account.id, Right.READ)
    assert accounts.identify(key) is not None
    assert accounts.revoke_key(account.id, key)
    assert accounts.identify(key) is None
    assert not accounts.revoke_key(account.id, key)


def test_a_key_of_another_account_cannot_be_revoked(accounts: AccountStore) -> None:
    first, _ = accounts.ensure_local("first", "nano", "ab" * 32)
    second, key = accounts.ensure_local("second", "nano", "ab" * 32)
    assert first.id != second.id
    assert not accounts.revoke_key(first.id, key)


def _provision(store: ResourceStore) -> tuple[int, bool]:
    wanted = Provision(UUID, "acme", "nano", log_drain_token="d.1")
    resource, created = store.provision(wanted, key_secret="ef" * 32, drain_user="u", drain_secret="s")
    return resource.account.id, created


def test_provisioning_a_known_uuid_returns_the_same_resource(database: Database, clock: FixedClock) -> None:
    store = ResourceStore(database, clock)
    account_id, created = _provision(store)
    assert created
    assert _provision(store) == (account_id, False)
    assert store.drain_secret_matches(UUID, "u", "s")
    assert not store.drain_secret_matches(UUID, "u", "t")
    assert not store.drain_secret_matches(UUID, "x", "s")
    assert not store.drain_secret_matches("other", "u", "s")


def test_deprovisioning_leaves_a_tombstone_without_keys(
    database: Database, clock: FixedClock, accounts: AccountStore
) -> None:
    store = ResourceStore(database, clock)
    account_id, _ = _provision(store)
    store.deprovision(UUID)
    accounts.forget_cached()
    assert accounts.identify(f"{account_id}/" + "ef" * 32) is None
    resource = store.get(UUID)
    assert resource is not None
    assert resource.deprovisioned
    assert resource.account.state is AccountState.DEPROVISIONED


def test_a_sign_on_token_works_once(database: Database, clock: FixedClock) -> None:
    store = SsoTokenStore(database, clock)
    assert store.use("token", keep_s=600)
    assert not store.use("token", keep_s=600)
    assert store.use("other", keep_s=600)


def test_a_changed_audit_row_is_noticed(database: Database, clock: FixedClock) -> None:
    log = AuditLog(database, clock)
    for action in ("provision", "plan", "deprovision"):
        log.record("platform", action, UUID, 1)
    assert (log.verify(), log.broken) == (None, None)
    with database.write() as connection:
        connection.execute(sa.text("update audit set subject = 'x' where id = 2"))
    assert (log.verify(), log.broken) == (2, 2)
