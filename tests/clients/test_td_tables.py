"""Table management by td-client-python as it is, and the calls beside it that only Ruby's client makes."""

from __future__ import annotations

import gzip
import io
import uuid
from typing import TYPE_CHECKING, Any

import msgpack
import pytest
from tdclient import errors

from tests.clients.td_addon import Running, start, stop
from tests.ports import free_base

if TYPE_CHECKING:
    from collections.abc import Iterator

    import tdclient

NOW = 1_764_000_000


@pytest.fixture(scope="module")
def addon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = start(tmp_path_factory.mktemp("home"), free_base())
    yield running
    stop(running)


@pytest.fixture
def td(addon: Running) -> Iterator[tdclient.Client]:
    with addon.client() as client:
        yield client


@pytest.fixture
def database(td: tdclient.Client) -> str:
    name = f"tables_{uuid.uuid4().hex[:10]}"
    td.create_database(name)
    return name


def fill(td: tdclient.Client, database: str, table: str, *numbers: int) -> None:
    body = gzip.compress(b"".join(msgpack.packb({"time": NOW, "n": n}) for n in numbers))
    td.api.import_data(database, table, "msgpack.gz", io.BytesIO(body), len(body))


def numbers(td: tdclient.Client, database: str, table: str) -> list[Any]:
    job = td.query(database, f"SELECT n FROM {table} ORDER BY n", type="trino")  # noqa: S608 - test
    job.wait(wait_interval=0.05)
    assert job.success(), job.debug
    return [n for (n,) in job.result()]


def test_swapped_tables_exchange_their_rows_and_settings(td: tdclient.Client, database: str) -> None:
    for table, rows in (("one", (1, 2)), ("two", (3,))):
        td.create_log_table(database, table)
        fill(td, database, table, *rows)
    td.update_expire(database, "one", 3_000)
    fill(td, database, "one", 4)  # accepted under the old name, perhaps not stored yet
    td.swap_table(database, "one", "two")
    assert (numbers(td, database, "one"), numbers(td, database, "two")) == ([3], [1, 2, 4])
    fill(td, database, "one", 5)
    assert numbers(td, database, "one") == [3, 5]
    tables = {table.name: table for table in td.tables(database)}
    assert (tables["one"].count, tables["two"].count) == (2, 3)
    assert (tables["one"].expire_days, tables["two"].expire_days) == (None, 3_000)
    with pytest.raises(errors.NotFoundError):
        td.swap_table(database, "one", "nothing")


def test_a_table_moves_to_another_database_and_its_name_is_free(td: tdclient.Client, database: str) -> None:
    td.create_log_table(database, "events")
    fill(td, database, "events", 1)
    td.create_database(f"{database}_b")
    td.change_database(database, "events", f"{database}_b")
    assert numbers(td, f"{database}_b", "events") == [1]
    with pytest.raises(errors.NotFoundError):
        td.table(database, "events")
    td.create_log_table(database, "events")
    fill(td, database, "events", 2)
    assert numbers(td, database, "events") == [2]
    with pytest.raises(errors.AlreadyExistsError):
        td.change_database(database, "events", f"{database}_b")
    td.delete_table(database, "events")
    assert numbers(td, f"{database}_b", "events") == [1], "the files of the other table stay"
    td.delete_database(f"{database}_b")


def test_a_table_is_renamed_and_may_replace_another(
    addon: Running, td: tdclient.Client, database: str
) -> None:
    for table, rows in (("new", (1, 2)), ("old", (9,))):
        td.create_log_table(database, table)
        fill(td, database, table, *rows)
    with addon.http() as http:
        assert http.post(f"/v3/table/rename/{database}/new/old").status_code == 409
        answer = http.post(f"/v3/table/rename/{database}/new/old", data={"overwrite": "true"})
        assert (answer.status_code, answer.json()["table"]) == (200, "old")
        assert http.post(f"/v3/table/rename/{database}/new/old").status_code == 404
        assert http.post(f"/v3/table/rename/{database}/old/No-Name").status_code == 422
    assert numbers(td, database, "old") == [1, 2]
    assert [table.name for table in td.tables(database)] == ["old"]


def test_settings_and_schema_are_changed_and_shown(
    addon: Running, td: tdclient.Client, database: str
) -> None:
    td.create_log_table(database, "events")
    td.update_expire(database, "events", 7)
    td.update_schema(database, "events", [["a", "string", "a"]])
    with addon.http() as http:
        append = f"/v3/table/append-schema/{database}/events"
        assert http.post(append, data={"schema": '[["b","long"]]'}).status_code == 200
        changed = {"include_v": "false", "detect_schema": "false", "expire_days": "9"}
        assert http.post(f"/v3/table/update/{database}/events", data=changed).status_code == 200
        shown = http.get(f"/v3/table/show/{database}/events").json()
    assert (shown["expire_days"], shown["include_v"]) == (9, False)
    assert td.table(database, "events").schema == [["a", "string", "a"], ["b", "long"]]
