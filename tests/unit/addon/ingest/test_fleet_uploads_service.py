"""Two ingest services on one ledger and one warehouse, in one process: ids count once between them."""

from __future__ import annotations

import asyncio
import gzip
import itertools
from typing import TYPE_CHECKING, Any

import msgpack
import pytest

from addon.adapters.memory import MemoryCatalog
from addon.ingest.grouped import Grouped
from addon.ingest.service import IngestService
from addon.models.ingest import Batch, BodyKind
from addon.models.tables import TableRef
from addon.store.claims import SqlUploadClaims
from addon.store.database import Database
from addon.store.nodes import NODE_LEASE_S, NodeStore
from addon.store.uploads import SqlUploadLedger
from platform_core.base.clock import FixedClock
from platform_core.base.errors import Conflict, InvalidInput, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.postgres import PostgresServer

REF = TableRef(1, "shop", "events")
_NUMBERS = itertools.count()


class Pair:
    """Nodes a and b; each may be started, left as if it had crashed, and started again."""

    def __init__(self, folder: Path, database: Database, warehouse: Any) -> None:
        self.clock = FixedClock(1_780_000_000.0)
        self.folder, self.database, self.warehouse = folder, database, warehouse
        self.nodes = NodeStore(database, self.clock)
        self.catalog = MemoryCatalog()
        self.catalog.ensure_table(REF)

    def beat(self, name: str) -> None:
        self.nodes.beat(name, "http://127.0.0.1", frozenset({"ingest"}), "f", {})

    async def start(self, name: str, **options: Any) -> IngestService:
        self.beat(name)
        claims = SqlUploadClaims(self.database, self.clock, name)
        service = IngestService(
            self.folder / name,
            self.warehouse,
            self.catalog,
            SqlUploadLedger(self.database),
            clock=self.clock,
            claims=claims,
            **{"linger_s": 0.02, **options},
        )
        await service.start()
        return service

    def rows(self) -> int:
        found = self.warehouse.snapshot(REF)
        return 0 if found is None else int(found.rows)


def _batch(upload: str | None, text: str = "x") -> Batch:
    body = gzip.compress(msgpack.packb({"time": 1, "text": text}), mtime=0)
    return Batch(BodyKind.MSGPACK_GZ, 1, "shop", "events", body, 1.0, upload)


async def _crash(service: IngestService) -> None:
    """Let go of the log without a flush, as a dead process does."""
    for task in (service._task, service._upkeep):
        assert task is not None
        task.cancel()
    await service._wal.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def pair(request: pytest.FixtureRequest, tmp_path: Path, make_rig: Any) -> Iterator[Pair]:
    url = f"sqlite:///{tmp_path}/addon.db"
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        url = server.create(f"pair_{next(_NUMBERS)}")
    database = Database(url)
    database.migrate()
    yield Pair(tmp_path, database, make_rig("both").warehouse)
    database.close()


def test_an_id_counts_once_on_both_nodes_at_once_and_after_the_flush(pair: Pair) -> None:
    async def run() -> None:
        a, b = await pair.start("a"), await pair.start("b")
        acks = await asyncio.gather(*(node.append(_batch(f"u{i}")) for i in range(20) for node in (a, b, a)))
        assert sum(not ack.duplicate for ack in acks) == 20
        await a.flush(1)
        await b.flush(1)
        assert (await b.append(_batch("u0"))).duplicate
        with pytest.raises(Conflict):
            await b.append(_batch("u0", "other"))
        await a.append(_batch(None))
        await a.close()
        await b.close()
        assert pair.rows() == pair.catalog.rows[REF] == 21

    asyncio.run(run())


def test_what_a_dead_node_acknowledged_is_a_duplicate_elsewhere_and_comes_back_with_it(pair: Pair) -> None:
    async def run() -> None:
        a, b = await pair.start("a", linger_s=60.0), await pair.start("b")
        await a.append(_batch("u"))
        await _crash(a)
        pair.clock.advance(NODE_LEASE_S + 1)
        assert (await b.append(_batch("u"))).duplicate
        await b.flush(1)
        assert pair.rows() == 0
        again = await pair.start("a")
        await again.flush(1)
        assert pair.rows() == 1
        await again.close()
        await b.close()

    asyncio.run(run())


def test_a_batch_that_was_taken_over_is_neither_acknowledged_nor_stored(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        a, b = await pair.start("a", linger_s=60.0), await pair.start("b")
        confirm = a._uploads.confirm

        async def late(record: Any) -> None:
            """Be so slow that everybody takes the node for dead, between the log and the settlement."""
            pair.clock.advance(NODE_LEASE_S + 1)
            assert not (await b.append(_batch("u"))).duplicate
            await confirm(record)

        monkeypatch.setattr(a._uploads, "confirm", late)
        with pytest.raises(Unavailable, match="took over"):
            await a.append(_batch("u"))
        monkeypatch.undo()
        assert (await a.append(_batch("u"))).duplicate
        await a.close()
        await b.close()
        assert pair.rows() == pair.catalog.rows[REF] == 1

    asyncio.run(run())


def test_an_id_that_a_living_node_is_writing_is_asked_for_again_later(pair: Pair) -> None:
    async def run() -> None:
        a, b = await pair.start("a"), await pair.start("b")
        go_on, has_claim = asyncio.Event(), asyncio.Event()
        write = a._write

        async def slow(record: Any) -> None:
            has_claim.set()
            await go_on.wait()
            await write(record)

        a._write = slow  # type: ignore[method-assign]
        first = asyncio.create_task(a.append(_batch("u")))
        await has_claim.wait()
        second = asyncio.create_task(b.append(_batch("u")))
        done, _ = await asyncio.wait([second])
        assert isinstance(done.pop().exception(), Unavailable)
        go_on.set()
        assert not (await first).duplicate
        assert (await b.append(_batch("u"))).duplicate
        await a.close()
        await b.close()
        assert pair.rows() == 1

    asyncio.run(run())


def test_what_waits_during_a_call_goes_into_the_next_one_and_a_refused_item_fails_alone() -> None:
    calls: list[list[int]] = []

    def work(items: Sequence[int]) -> Sequence[int]:
        calls.append(list(items))
        if 13 in items:
            raise InvalidInput("13 is refused.")
        return [item * 2 for item in items]

    async def run() -> None:
        grouped = Grouped(work)
        answers = await asyncio.gather(*map(grouped, [1, 2, 13, 3]), return_exceptions=True)
        assert [answer for answer in answers if isinstance(answer, int)] == [2, 4, 6]
        assert isinstance(answers[2], InvalidInput)
        assert calls == [[1, 2, 13, 3], [1], [2], [13], [3]]

    asyncio.run(run())
