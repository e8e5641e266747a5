"""A PostgreSQL server that stops, crashes and comes back; processes that migrate at once."""

from __future__ import annotations

import gc
import socket
import struct
import threading
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from addon.models.ingest import Claim, ClaimAnswer
from addon.models.tables import Column, TableRef
from addon.store.accounts import AccountStore
from addon.store.audit import AuditLog
from addon.store.catalog import SqlCatalog
from addon.store.claims import SqlUploadClaims
from addon.store.database import Database
from platform_core.base.clock import FixedClock
from platform_core.base.database import database_url, open_database
from platform_core.base.errors import InvalidInput, Unavailable
from tests.postgres import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Iterator

REF = TableRef(1, "shop", "events")
# The driver leaves a socket open when the server hangs up during the first bytes.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server of this module's own: the others' must not go away under them."""
    made = PostgresServer()
    try:
        made.start()
        yield made
    finally:
        made.remove()


def test_work_goes_on_after_a_crash_of_the_server_and_nothing_is_counted_twice(
    server: PostgresServer,
) -> None:
    database, clock = Database(server.create("restarted")), FixedClock(1_780_000_000.0)
    database.migrate()
    catalog, claims = SqlCatalog(database, clock), SqlUploadClaims(database, clock, "a")
    catalog.ensure_table(REF)
    stop, done, errors = threading.Event(), 0, 0

    def work() -> None:
        """Flush segment after segment, each until it is known to be counted; claim an id for each."""
        nonlocal done, errors
        while not stop.is_set():
            segment = done + 1
            try:
                claims.settle([Claim(1, "shop", "events", f"{segment}", "d", f"{segment:016}")])
                catalog.record_flush(REF, [Column("time", "long", "time")], 3, None, ("w", segment))
            except Unavailable:
                errors += 1
                stop.wait(0.02)
            else:
                done = segment

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for mode in ("immediate", "fast"):
            before = done
            while done < before + 10:
                assert worker.is_alive()
            server.stop(mode)
            server.start()
    finally:
        stop.set()
        worker.join()
    assert errors
    assert catalog.table(REF).rows in {3 * done, 3 * (done + 1)}
    again = [(f"{number}", f"x{number}") for number in range(1, done + 1)]
    answers = claims.claim([Claim(1, "shop", "events", upload, "d", batch) for upload, batch in again])
    assert {answer for answer, _ in answers} == {ClaimAnswer.STORED}
    database.close()


def test_a_server_that_is_away_is_a_503_and_its_return_is_noticed(server: PostgresServer) -> None:
    database, clock = Database(server.create("away")), FixedClock(1_780_000_000.0)
    database.migrate()
    accounts = AccountStore(database, clock)
    _, key = accounts.ensure_local("local", "premium", "ab" * 32)
    server.stop("fast")
    accounts.forget_cached()
    with pytest.raises(Unavailable, match="not reachable"):
        accounts.identify(key)
    with pytest.raises(Unavailable), database.write():
        pass
    server.start()
    assert accounts.identify(key) is not None
    database.close()


def test_processes_that_start_at_once_migrate_one_after_the_other(server: PostgresServer) -> None:
    url, errors = server.create("together"), []

    def start() -> None:
        database = Database(url)
        try:
            database.migrate()
            AccountStore(database, FixedClock(1.0)).ensure_local("local", "premium", "ab" * 32)
            for _ in range(5):
                AuditLog(database, FixedClock(1.0)).record("platform", "provision", "x")
        except Exception as error:  # noqa: BLE001 - shown below
            errors.append(error)
        finally:
            database.close()

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    database = Database(url)
    assert len(AccountStore(database, FixedClock(1.0)).active()) == 1
    assert AuditLog(database, FixedClock(1.0)).verify() is None
    database.close()


def test_a_wrong_password_or_address_says_what_to_check(server: PostgresServer) -> None:
    right = database_url(server.create("guarded"))
    with (
        pytest.raises(InvalidInput, match="refuses us"),
        open_database(right.set(password="wrong").render_as_string(hide_password=False)).connect(),
    ):
        pass
    for url in ("mysql://localhost/x", "nonsense", "postgresql://u@localhost/x?sslmode=maybe"):
        with pytest.raises(InvalidInput):
            open_database(url)
    engine = open_database("postgresql://u@localhost/x")
    assert isinstance(engine, sa.Engine)
    assert engine.url.drivername == "postgresql+pg8000"


def test_a_server_that_hangs_up_on_a_new_connection_is_away() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def hang_up() -> None:
            taken, _ = listener.accept()
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            taken.close()  # with a reset, as from a process that was killed

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(Unavailable, match="not reachable"):
            open_database(f"postgresql://u:p@127.0.0.1:{port}/x").connect()
        thread.join()
