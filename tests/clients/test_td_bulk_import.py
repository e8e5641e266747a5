"""Bulk import sessions, driven by td-client-python as it is."""

from __future__ import annotations

import gzip
import io
import time
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

    began = time.monotonic()
    job = session.perform(wait=True)
    assert time.monotonic() - began < 4, "the first poll must find the job done"
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
