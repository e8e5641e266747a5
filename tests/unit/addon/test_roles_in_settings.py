"""Which roles may be apart: only on a database and a folder that they share."""

from __future__ import annotations

from pathlib import Path

import pytest

from addon.settings import ROLES, Settings
from platform_core.base.errors import InvalidInput

POSTGRES = "postgresql://u:p@localhost/x"


def test_one_process_has_all_roles_without_any_setting() -> None:
    assert Settings(Path("/h")).roles() == ROLES
    assert Settings(Path("/h"), database_url=POSTGRES).roles() == ROLES


@pytest.mark.parametrize("role", ["ingest", "api", "worker", "api,worker", "ingest,api"])
def test_roles_apart_need_a_server_and_a_shared_folder(role: str) -> None:
    for url in (None, "sqlite:////h/x.db"):
        with pytest.raises(InvalidInput, match="SQLite"):
            Settings(Path("/h"), role=role, database_url=url, shared_folder=Path("/s")).roles()
    with pytest.raises(InvalidInput, match="folder that they share"):
        Settings(Path("/h"), role=role, database_url=POSTGRES).roles()
    given = Settings(Path("/h"), role=role, database_url=POSTGRES, shared_folder=Path("/s"))
    assert given.roles() == frozenset(role.split(","))
    assert given.store().url == "file:///s/warehouse"


def test_an_unknown_role_is_refused() -> None:
    with pytest.raises(InvalidInput):
        Settings(Path("/h"), role="ingest,cook").roles()
