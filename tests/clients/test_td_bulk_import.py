"""Bulk import sessions, driven by td-client-python as it is."""

from __future__ import annotations

import gzip
import io
import time
import uuid
from typing import TYPE_CHECKING, Any

import msgpack
import pytest
import tdclient
from tdclient import errors

from tests.clients.td_addon import Running, start, stop
from tests.faults.live_addon import LiveAddon
from tests.ports import free_base

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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
def table(td: tdclient.Client) -> tuple[str, str]:
    database = f"bulk_{uuid.uuid4().hex[:10]}"
    td.create_database(database)
    td.create_log_table(database, "events")
    return database, "events"


def part(rows: list[dict[str, Any]], *, as_bin: bool = False) -> bytes:
    pack = msgpack.Packer(use_bin_type=True).pack
    if as_bin:  # as Ruby's client sends keys and text
        rows = [{k.encode(): v.encode() if isinstance(v, str) else v for k, v in row.items()} for row in rows]  # type: ignore[misc]
    return gzip.compress(b"".join(map(pack, rows)))


def upload(session: Any, name: str, rows: list[dict[str, Any]], **how: bool) -> None:
    body = part(rows, **how)
    session.upload_part(name, io.BytesIO(body), len(body))


def selected(td: tdclient.Client, database: str, sql: str) -> list[Any]:
    job = td.query(database, sql, type="trino")
    job.wait(wait_interval=0.05)
    assert job.success(), job.debug
    return list(job.result())


def test_a_session_is_invisible_until_it_is_committed_and_then_complete(
    td: tdclient.Client, table: tuple[str, str]
) -> None:
    database, name = table
    session = td.create_bulk_import(f"s-{database}", database, name)
    session.update()
    assert (session.status, session.upload_frozen, session.job_id) == ("uploading", False, None)
    upload(session, "one", [{"time": NOW + n, "n": n, "text": f"t{n}"} for n in range(1000)])
    upload(session, "two", [{"time": NOW, "n": -1}, {"n": 5}, {"time": "soon", "n": 6}, {"time": 1.5}])
    upload(session, "gone", [{"time": NOW, "n": 99}])
    assert session.list_parts() == ["gone", "one", "two"]
    session.delete_part("gone")
    upload(session, "one", [{"time": NOW + n, "n": n, "text": f"t{n}"} for n in range(2000)])
    assert session.list_parts() == ["one", "two"]
    session.freeze()
    assert session.upload_frozen is True

    pauses: list[object] = []
    job = session.perform(wait=True, wait_callback=pauses.append)
    assert not pauses, "the first poll must find the job done"
    shown = td.job(job.id)
    assert (shown.type, shown.query, shown.status()) == (
        "bulk_import_perform",
        f"{database}.{name}",
        "success",
    )
    assert job.id in [listed.id for listed in td.jobs()]
    assert session.status == "ready"
    assert (session.valid_records, session.error_records) == (2001, 3)
    assert (session.valid_parts, session.error_parts) == (2, 0)
    assert [row["_error"] for row in session.error_record_items()] == [
        "time_is_missing",
        "time_is_not_an_integer",
        "time_is_not_an_integer",
    ]
    assert selected(td, database, "SELECT count(*) FROM events") == [[0]]

    session.commit(wait=True, wait_interval=0)
    assert session.status == "committed"
    assert selected(td, database, "SELECT count(*), sum(n), max(text) FROM events") == [
        [2001, 1998999, "t999"]
    ]
    assert td.table(database, name).count == 2001
    session.commit()
    assert selected(td, database, "SELECT count(*) FROM events") == [[2001]]
    session.delete()
    with pytest.raises(errors.NotFoundError):
        session.update()
    assert selected(td, database, "SELECT count(*) FROM events") == [[2001]]


def test_calls_in_the_wrong_order_are_refused_with_a_word_on_what_to_do(
    td: tdclient.Client, table: tuple[str, str]
) -> None:
    database, name = table
    with pytest.raises(errors.NotFoundError):
        td.create_bulk_import("s-none", database, "nothing")
    session = td.create_bulk_import(f"s-{database}", database, name)
    with pytest.raises(errors.AlreadyExistsError):
        td.create_bulk_import(f"s-{database}", database, name)
    with pytest.raises(errors.APIError, match=r"^422.*is not frozen.*Freeze it"):
        td.perform_bulk_import(session.name)
    with pytest.raises(errors.APIError, match=r"^422.*commit is not possible"):
        session.commit()
    with pytest.raises(errors.APIError, match=r"^422.*error_records is not possible"):
        list(session.error_record_items())
    session.freeze()
    with pytest.raises(errors.APIError, match=r"^422.*has no parts"):
        td.perform_bulk_import(session.name)
    with pytest.raises(errors.APIError, match=r"^422.*is frozen.*Unfreeze it first"):
        upload(session, "p", [{"time": NOW}])
    session.unfreeze()
    body = part([{"time": NOW}])[:-6]
    with pytest.raises(errors.APIError, match=r"^422.*cut short"):
        session.upload_part("p", io.BytesIO(body), len(body))
    with pytest.raises(errors.NotFoundError):
        session.delete_part("p")
    upload(session, "p", [{"time": NOW}], as_bin=True)
    session.freeze()
    session.perform(wait=True)
    with pytest.raises(errors.APIError, match=r"^422.*ready: upload_part is not possible"):
        upload(session, "q", [{"time": NOW}])
    session.delete()
    assert session.name not in [one.name for one in td.bulk_imports()]


def test_files_of_every_format_that_the_client_converts_come_in(
    td: tdclient.Client, table: tuple[str, str]
) -> None:
    database, name = table
    session = td.create_bulk_import(f"s-{database}", database, name)
    session.upload_file("c", "csv", io.BytesIO(b"time,n,text\n%d,1,a\n%d,,b\n" % (NOW, NOW)))
    session.upload_file("t", "tsv", io.BytesIO(b"time\tn\ttext\n%d\t2\tc\n" % NOW))
    session.upload_file("j", "json", io.BytesIO(b'{"time":%d,"n":3,"text":"d"}\n' % NOW))
    session.freeze()
    session.perform(wait=True)
    assert (session.valid_records, session.error_records) == (4, 0)
    session.commit(wait=True, wait_interval=0)
    assert selected(td, database, "SELECT sum(n), count(*) FROM events") == [[6, 4]]


@pytest.mark.slow
def test_a_session_outlives_kills_of_the_server(tmp_path: Path) -> None:
    addon = LiveAddon(tmp_path / "home").start()
    addon.make_table("shop", "events")
    with tdclient.Client(apikey=addon.keys["td_api_key"], endpoint=addon.url) as td:
        session = td.create_bulk_import("s", "shop", "events")
        upload(session, "one", [{"time": NOW, "n": 1}])
        addon.kill()
        addon.start()
        upload(session, "two", [{"time": NOW, "n": 2}, {"n": 3}])
        session.freeze()
        addon.kill()
        addon.start()
        session.perform(wait=True)
        addon.kill()
        addon.start()
        session.commit(wait=True, wait_interval=0)
        assert (session.valid_records, session.error_records) == (2, 1)
        assert addon.query("SELECT sum(n), count(*) FROM events", "shop") == [[3, 2]]
        addon.kill()
        addon.start()
        assert [row["n"] for row in session.error_record_items()] == [3]
    assert addon.stop() == 0


def test_an_account_sees_its_own_sessions_only_and_leaves_none_behind(addon: Running) -> None:
    resource = str(uuid.uuid4())
    asked = {"uuid": resource, "name": "other", "plan": "nano", "region": "amazon-web-services::us-east-1"}
    with addon.platform() as platform, addon.client() as mine:
        made = platform.post("/heroku/resources", json=asked)
        key = made.json()["config"]["TREASURE_DATA_API_KEY"]
        with addon.client(key) as td:
            td.create_database("shop")
            td.create_log_table("shop", "events")
            session = td.create_bulk_import("theirs", "shop", "events")
            upload(session, "p", [{"time": NOW, "text": "a-marker-of-theirs"}, {}])
            session.freeze()
            session.perform(wait=True)
            with pytest.raises(errors.NotFoundError):
                mine.bulk_import("theirs")
            assert "theirs" not in [one.name for one in mine.bulk_imports()]
        kept = addon.authority.parent / "addon" / "warehouse" / "bulk" / key.partition("/")[0]
        assert any(path.is_file() for path in kept.rglob("*"))
        assert platform.delete(f"/heroku/resources/{resource}").status_code in {200, 202, 204}
        deadline = time.monotonic() + 20
        while any(path.is_file() for path in kept.rglob("*")):
            assert time.monotonic() < deadline
        assert kept.exists() is False
