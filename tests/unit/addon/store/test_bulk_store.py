"""Sessions in the database: the same on SQLite and PostgreSQL, one winner among many callers."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import pytest

from addon.models.bulk import JOB_TYPE, BulkPart, BulkState, Performed, StagedFile, WrongState
from addon.models.jobs import JobOutcome, JobRequest, JobState
from addon.models.tables import Column, TableRef
from addon.store.bulk import BulkStore
from platform_core.base.errors import Conflict, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from addon.store.catalog import SqlCatalog
    from addon.store.database import Database
    from addon.store.jobs import JobStore
    from platform_core.base.clock import FixedClock

REF = TableRef(1, "shop", "events")
PART = BulkPart("p", "file-1", 10, 3)


@pytest.fixture
def store(database: Database, catalog: SqlCatalog, clock: FixedClock) -> BulkStore:
    catalog.ensure_table(REF)
    return BulkStore(database, clock)


def request(token: str) -> JobRequest:
    return JobRequest(1, JOB_TYPE, "shop", "shop.events", 4, {"session": token})


def performed(catalog: SqlCatalog) -> Performed:
    file = StagedFile("f.parquet", 100, 3, 5, 9)
    return Performed(catalog.table(REF).id, (file,), "[]", 3, 1, 1, errors_file="e", staged_at=7.0)


def ready(store: BulkStore, catalog: SqlCatalog) -> None:
    session = store.create(REF, "s", most=10)
    store.put_part(session, PART, most=10)
    store.freeze(1, "s")
    job = store.begin_perform(session, request(session.token))
    assert store.finish_perform(session, job.id, performed(catalog))


def at_once(*calls: Callable[[], object]) -> list[object]:
    """Call from several threads in the same moment; return results and refusals."""
    gate = threading.Barrier(len(calls))

    def one(call: Callable[[], object]) -> object:
        gate.wait()
        try:
            return call()
        except (WrongState, Conflict) as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(one, calls))


def test_a_session_goes_from_create_to_commit_and_its_rows_are_counted_once(
    store: BulkStore, catalog: SqlCatalog
) -> None:
    ready(store, catalog)
    session = store.begin_commit(1, "s")
    assert session.performed == performed(catalog)
    assert [one.name for one in store.committing()] == ["s"]
    columns = [Column("time", "long"), Column("x", "long")]
    assert store.finish_commit(session, columns, 3, 9) is True
    assert store.finish_commit(session, columns, 3, 9) is False
    table = catalog.table(REF)
    assert (table.rows, table.last_log_time, catalog.rows_this_month(1)) == (3, 9, 3)
    assert store.get(1, "s").state is BulkState.COMMITTED
    assert store.begin_commit(1, "s").state is BulkState.COMMITTED
    assert store.stored_bytes(1) == 0


def test_of_many_performs_one_is_taken(store: BulkStore, jobs: JobStore) -> None:
    session = store.create(REF, "s", most=10)
    store.freeze(1, "s")
    answers = at_once(*[lambda: store.begin_perform(session, request(session.token))] * 6)
    assert sum(isinstance(answer, WrongState) for answer in answers) == 5
    assert jobs.queued_count(1) == 1


def test_of_many_sessions_of_one_name_one_is_made(store: BulkStore) -> None:
    answers = at_once(*[lambda: store.create(REF, "s", most=10)] * 6)
    assert sum(isinstance(answer, Conflict) for answer in answers) == 5
    assert store.create(TableRef(2, "shop", "events"), "s", most=10).account_id == 2
    with pytest.raises(Conflict, match="1 bulk import sessions already"):
        store.create(REF, "t", most=1)


def test_a_part_and_a_freeze_exclude_each_other(store: BulkStore) -> None:
    for name in map("s{}".format, range(8)):
        session = store.create(REF, name, most=10)
        upload = partial(store.put_part, session, PART, most=10)
        answers = at_once(upload, partial(store.freeze, 1, name))
        refused = any(isinstance(answer, WrongState) for answer in answers)
        assert (store.parts(session.id) == []) == refused
        assert store.get(1, name).frozen


def test_a_session_whose_job_ended_elsewhere_is_open_again(store: BulkStore, jobs: JobStore) -> None:
    session = store.create(REF, "s", most=10)
    store.freeze(1, "s")
    for state in (JobState.ERROR, JobState.KILLED):
        job = store.begin_perform(session, request(session.token))
        assert store.get(1, "s").state is BulkState.PERFORMING
        claimed = jobs.claim("w")
        assert claimed is not None
        assert jobs.finish(claimed, JobOutcome(state))
        assert store.sessions(1)[0].state is BulkState.UPLOADING
        assert store.finish_perform(session, job.id, Performed(1, (), "[]", 0, 0, 0)) is False
    job = store.begin_perform(session, request(session.token))
    jobs.forget_account(1)
    assert store.get(1, "s").state is BulkState.UPLOADING


def test_a_part_replaces_one_of_its_name_and_the_most_parts_hold(store: BulkStore) -> None:
    session = store.create(REF, "s", most=10)
    assert store.put_part(session, PART, most=1) is None
    assert store.put_part(session, BulkPart("p", "file-2", 20, 4), most=1) == "file-1"
    with pytest.raises(Conflict):
        store.put_part(session, BulkPart("q", "file-3", 1, 1), most=1)
    assert store.stored_bytes(1) == 20
    assert store.delete_part(1, "s", "p")[1] == "file-2"
    with pytest.raises(NotFound):
        store.delete_part(1, "s", "p")


def test_old_sessions_expire_but_none_at_work(
    store: BulkStore, catalog: SqlCatalog, clock: FixedClock
) -> None:
    ready(store, catalog)
    store.create(REF, "idle", most=10)
    store.begin_commit(1, "s")
    clock.advance(100)
    store.create(REF, "young", most=10)
    assert [one.name for one in store.expire(clock.now() - 50)] == ["idle"]
    assert {one.name for one in store.sessions(1)} == {"s", "young"}
    store.forget_account(1)
    assert store.sessions(1) == []
