"""Sign-on tokens: all three kinds, their window, their single use; sessions cannot be forged."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from addon.models.resources import Provision
from addon.provisioning.credentials import Credentials, ensure_credentials, load_credentials
from addon.provisioning.sso import SESSION_S, SignOn
from addon.store.audit import AuditLog, SsoTokenStore
from addon.store.database import Database
from addon.store.resources import ResourceStore
from platform_core.base.clock import FixedClock
from platform_core.base.errors import Forbidden, InvalidInput, NotFound

if TYPE_CHECKING:
    from pathlib import Path

UUID = "01234567-89ab-cdef-0123-456789abcdef"
SALT = "2f97bfa52ca102f8874716e2eb1d3b4920ad0be4"
NOW = 1_780_000_000


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(NOW)


@pytest.fixture
def sign_on(tmp_path: Path, clock: FixedClock) -> SignOn:
    database = Database(f"sqlite:///{tmp_path}/a.db")
    database.migrate()
    resources = ResourceStore(database, clock)
    resources.provision(
        Provision(UUID, "acme", "nano"), key_secret="a" * 64, drain_user="u", drain_secret="s"
    )
    credentials = Credentials("p", SALT, "r", "l")
    return SignOn(resources, SsoTokenStore(database, clock), AuditLog(database, clock), credentials, clock)


def _sha1(text: str) -> str:
    return hashlib.sha1(text.encode()).hexdigest()  # noqa: S324  (the protocol's)


def _form(stamp: object = NOW, uuid: str = UUID) -> dict[str, str]:
    return {"resource_id": uuid, "timestamp": str(stamp), "resource_token": _sha1(f"{uuid}:{SALT}:{stamp}")}


def test_the_published_check_value_of_the_first_token() -> None:
    assert _sha1(f"123:{SALT}:1267597772") == "bb466eb1d6bc345d11072c3cd25c311f21be130d"


def test_all_three_kinds_of_token_open_a_session(sign_on: SignOn) -> None:
    scoped = hashlib.sha256(f"{UUID}:{SALT}:{NOW}:user:a@b.c".encode()).hexdigest()
    user = {"user_id": "user", "email": "a@b.c"}
    first = {"id": UUID, "timestamp": str(NOW - 1), "token": _sha1(f"{UUID}:{SALT}:{NOW - 1}")}
    for form in (
        _form(),
        first,
        {"resource_id": UUID, "timestamp": str(NOW), "user_scoped_resource_token": scoped, **user},
    ):
        assert sign_on.login(form).uuid == UUID


@pytest.mark.parametrize("stamp", [NOW - 301, NOW + 61, "", "nan", "1e9", "9" * 400, "-1", "١٧٨"])
def test_stamps_outside_the_window_are_refused(sign_on: SignOn, stamp: object) -> None:
    with pytest.raises(Forbidden):
        sign_on.login(_form(stamp))


def test_a_token_is_single_use_and_all_that_come_must_be_right(sign_on: SignOn) -> None:
    with pytest.raises(Forbidden):
        sign_on.login({**_form(), "user_scoped_resource_token": "wrong"})
    sign_on.login(_form())
    with pytest.raises(Forbidden):
        sign_on.login(_form())
    with pytest.raises(Forbidden):
        sign_on.login({"resource_id": UUID, "timestamp": str(NOW)})
    with pytest.raises(NotFound):
        sign_on.login(_form(uuid=UUID.replace("0", "1")))


def test_sessions_end_and_cannot_be_forged(sign_on: SignOn, clock: FixedClock) -> None:
    cookie = sign_on.open_session(sign_on.login(_form()))
    assert sign_on.session(cookie).uuid == UUID
    for forged in ("", ".", cookie[:-1] + "x", "e30=." + cookie.partition(".")[2]):
        with pytest.raises(Forbidden):
            sign_on.session(forged)
    clock.advance(SESSION_S + 1)
    with pytest.raises(Forbidden):
        sign_on.session(cookie)


def test_credentials_are_made_once_for_their_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "credentials.json"
    with pytest.raises(InvalidInput):
        load_credentials(path)
    made = ensure_credentials(path)
    assert ensure_credentials(path) == made == load_credentials(path)
    assert path.stat().st_mode & 0o077 == 0
    assert made.derived("api-key", UUID) != made.derived("drain", UUID)
    assert len(made.derived("drain", UUID)) == 64
