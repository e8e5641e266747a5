"""What readers see while writers write and files are merged; and two that write at once."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from typing import TYPE_CHECKING

import duckdb
import httpx
import pyarrow as pa
import pytest

from addon.ingest.service import IngestService
from addon.models.tables import TableRef
from addon.warehouse.store import DeltaWarehouse, Lines
from addon.warehouse.view import view_sql
from platform_core.base.errors import Unavailable
from tests.faults import durable_home
from tests.faults.crash_cycles import REF, ROWS, batch, build
from tests.faults.live_addon import LiveAddon, gzipped

if TYPE_CHECKING:
    from pathlib import Path


def counted(warehouse: DeltaWarehouse) -> tuple[int, int, int]:
    """Count the rows twice in one statement, and the batches in it that are not whole."""
    snapshot = warehouse.snapshot(REF)
    if snapshot is None or not snapshot.files:
        return 0, 0, 0
    view = view_sql(snapshot, [str(path) for path in snapshot.files])
    sql = (
        f"with t as ({view}) select (select count(*) from t), (select count(*) from t), "  # noqa: S608 - our view
        f"(select count(*) from (select batch from t group by batch having count(*) <> {ROWS}))"
    )
    with duckdb.connect(config={"threads": 1}) as connection:
        row = connection.execute(sql).fetchone()
    assert row is not None
    return int(row[0]), int(row[1]), int(row[2])


def test_no_part_of_a_batch_is_seen_and_counts_never_go_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    durable_home.make(tmp_path / "home")
    seen: list[int] = []

    async def write(service: IngestService, writer: int) -> None:
        for number in range(40):
            await service.append(batch(f"w{writer}-{number}"))
            if number % 4 == 0:
                await service.flush(REF.account_id)

    async def live() -> None:
        monkeypatch.setattr("addon.warehouse.delta.CHECKPOINT_EVERY", 7)
        async with durable_home.opened(tmp_path / "home") as parts:
            done = asyncio.Event()

            async def look() -> None:
                while not done.is_set():
                    first, second, halved = await asyncio.to_thread(counted, parts.warehouse)
                    assert first == second
                    assert halved == 0
                    assert first % ROWS == 0
                    seen.append(first)
                    await asyncio.to_thread(parts.warehouse.compact, REF)

            looking = asyncio.create_task(look())
            await asyncio.gather(*(write(parts.service, writer) for writer in range(2)))
            await parts.service.flush(REF.account_id)
            done.set()
            await looking
            assert (await asyncio.to_thread(counted, parts.warehouse))[0] == 80 * ROWS

    asyncio.run(live())
    assert seen == sorted(seen)
    assert len(set(seen)) > 3, "the reader saw nothing on its way"


def lines(writer: str, number: int) -> Lines:
    texts = [
        f'{{"id":"{writer}-{number}-{n}","batch":"{writer}-{number}","time":{n}}}\n' for n in range(ROWS)
    ]
    return Lines(pa.array(texts), pa.array([0] * ROWS, pa.int64()))


def test_two_committers_on_one_table_commit_each_segment_once(tmp_path: Path) -> None:
    """Two of them are two nodes; the third and fourth are one node that was started twice."""
    ref = TableRef(REF.account_id, REF.database, REF.table)
    failures: list[BaseException] = []

    def commit(writer: str, offset: int) -> None:
        warehouse = DeltaWarehouse(tmp_path / "warehouse")
        try:
            for number in range(1, 16):
                while True:
                    try:
                        prepared = warehouse.prepare(ref, lines(writer, number))
                        warehouse.commit(prepared, writer, number)
                        break
                    except Unavailable:
                        time.sleep(0.01 * offset)  # as the flush does: again, later
        except BaseException as error:  # noqa: BLE001 - the test fails with it
            failures.append(error)
        finally:
            warehouse.close()

    writers = ["one", "two", "twin", "twin"]
    threads = [threading.Thread(target=commit, args=(name, place)) for place, name in enumerate(writers, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    ids = durable_home.ids(DeltaWarehouse(tmp_path / "warehouse"))
    assert len(ids) == len(set(ids)) == 3 * 15 * ROWS


def test_a_second_service_on_a_log_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        first, second = build(tmp_path), build(tmp_path)
        await first.start()
        with pytest.raises(Unavailable, match="Another process"):
            await second.start()
        await first.append(batch("a-1"))
        await first.close()

    asyncio.run(main())


def test_a_terminated_server_drains_under_load_and_ends_in_ten_seconds(tmp_path: Path) -> None:
    addon = LiveAddon(tmp_path / "home").start()
    addon.make_table("shop", "events")
    acked: list[str] = []
    stop = threading.Event()

    def send(writer: int) -> None:
        with addon.http() as client:
            number = 0
            while not stop.is_set():
                name = f"w{writer}-{number}"
                rows = [{"id": f"{name}/{n}", "time": 1_700_000_000} for n in range(ROWS)]
                path = f"/v3/table/import_with_id/shop/events/{name}/msgpack.gz"
                try:
                    if client.put(path, content=gzipped(rows)).status_code == 200:
                        acked.append(name)
                        number += 1
                except httpx.HTTPError:
                    stop.wait(0.01)

    threads = [threading.Thread(target=send, args=(writer,)) for writer in range(3)]
    for thread in threads:
        thread.start()
    while len(acked) < 30:
        stop.wait(0.01)
    assert addon.process is not None
    began = time.monotonic()
    addon.process.send_signal(signal.SIGTERM)
    status = addon.process.wait(30)
    took = time.monotonic() - began
    stop.set()
    for thread in threads:
        thread.join()
    addon.kill()
    assert status == 0
    assert took < 10
    assert not list((addon.home / "addon" / "wal").glob("*.wal")), "acknowledged and not flushed"
    addon.start()
    try:
        rows = addon.query("select count(*), count(distinct id) from events", "shop")
        in_doubt = 3 * ROWS  # the last batch of each writer may have lost its answer
        assert len(acked) * ROWS <= rows[0][0] <= len(acked) * ROWS + in_doubt
        assert rows[0][0] == rows[0][1]
    finally:
        addon.stop()
