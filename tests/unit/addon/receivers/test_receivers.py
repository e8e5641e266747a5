"""Receivers on real sockets: a log without room, quotas that are used up, limits that are reached."""

from __future__ import annotations

import asyncio
import contextlib
import io
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgpack
import pytest

from addon.models.accounts import Right
from addon.models.ingest import Ack, Batch
from addon.models.receivers import ReceiverStats
from addon.provisioning.quotas import QuotaExceeded
from addon.receivers.limits import ReceiverLimits
from addon.receivers.service import Receivers, Rooms, Way
from addon.store.accounts import AccountStore
from addon.store.database import Database
from addon.store.resources import ResourceStore
from platform_core.base.clock import SystemClock
from platform_core.base.errors import InvalidInput, Unavailable
from platform_core.wire.octets import split_octets

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Log:
    """An ingestor that has room or not."""

    batches: list[Batch] = field(default_factory=list)
    room: bool = True
    tries: int = 0
    seen: set[str | None] = field(default_factory=set)
    fault: Exception | None = None

    async def append(self, batch: Batch) -> Ack:
        self.tries += 1
        if self.fault is not None:
            raise self.fault
        if not self.room:
            raise Unavailable("No room.", hint="Retry after 1 second.")
        if batch.upload_id is not None and batch.upload_id in self.seen:
            return Ack(duplicate=True)
        self.seen.add(batch.upload_id)
        self.batches.append(batch)
        return Ack(duplicate=False)

    async def flush(self, account_id: int) -> None:
        """Nothing to do."""

    @property
    def messages(self) -> list[bytes]:
        return [frame for batch in self.batches for frame in split_octets(batch.body).frames]

    @property
    def rows(self) -> list[Any]:
        return [row for batch in self.batches for row in msgpack.Unpacker(_file(batch.body))]


def _file(data: bytes) -> Any:
    return io.BytesIO(data)


@dataclass
class Quota:
    """Quotas that are used up or not."""

    used_up: bool = False

    async def check(self, account: Any) -> None:
        if self.used_up:
            raise QuotaExceeded(f"The plan {account.plan.name} is full.", hint="Take a larger plan.")


@dataclass
class Rig:
    """Receivers on ports of their own."""

    receivers: Receivers
    log: Log
    quota: Quota
    key: str
    read_key: str
    accounts: AccountStore

    async def listen(self, way: Way) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        await self.receivers.start(way, listener, local_account=1 if way is Way.FORWARD_LOCAL else None)
        return int(listener.getsockname()[1])

    def stats(self, way: Way) -> ReceiverStats:
        return self.receivers.stats[way.value]


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[tuple[AccountStore, ResourceStore]]:
    database = Database(f"sqlite:///{tmp_path}/addon.db")
    database.migrate()
    yield AccountStore(database, SystemClock()), ResourceStore(database, SystemClock())
    database.close()


@contextlib.asynccontextmanager
async def rig(stores: tuple[AccountStore, ResourceStore], **limits: Any) -> AsyncIterator[Rig]:
    accounts, resources = stores
    account, key = accounts.ensure_local("local", "nano", "5eed" * 16)
    log, quota = Log(), Quota()
    rooms: Any = Rooms(accounts, resources, log, quota, SystemClock(), lambda number: f"key of {number}")  # type: ignore[arg-type]
    receivers = Receivers(rooms, ReceiverLimits(**{"retry_s": 0.05, **limits}))
    yield Rig(receivers, log, quota, key, accounts.add_key(account.id, Right.READ), accounts)
    await receivers.close()


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event to tell of it
            await asyncio.sleep(0.005)


def line(key: str, text: str) -> bytes:
    return f'<13>1 - box shop 1 - [sluice@32473 token="{key}"] {text}\n'.encode()


Stores = tuple[AccountStore, ResourceStore]


async def test_while_the_log_has_no_room_nothing_is_dropped_and_little_is_read(stores: Stores) -> None:
    async with rig(stores, ahead_bytes=64 << 10) as running:
        running.log.room = False
        port = await running.listen(Way.SYSLOG)
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        lines = [line(running.key, f"{number} {'x' * 500}") for number in range(40_000)]
        writer.write(b"".join(lines))
        await until(lambda: running.stats(Way.SYSLOG).held > 3)
        # Had it read on, it would have all of the 24 MB by now: the sender has sent none of it twice.
        assert running.stats(Way.SYSLOG).bytes < 2 << 20
        assert running.log.batches == []
        running.log.room = True
        await writer.drain()
        writer.close()
        await until(lambda: running.stats(Way.SYSLOG).stored == len(lines))
        assert [message.split(b" ")[7] for message in running.log.messages] == [
            b"%d" % number for number in range(len(lines))
        ]
        assert len(running.log.batches) < len(lines) / 20
        assert not any(running.key.encode() in batch.body for batch in running.log.batches)


async def test_a_stop_stores_what_was_read(stores: Stores) -> None:
    async with rig(stores) as running:
        port = await running.listen(Way.SYSLOG)
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        running.log.room = False
        writer.write(line(running.key, "one"))
        await until(lambda: running.log.tries > 0)
        writer.write(line(running.key, "two"))
        await writer.drain()
        closing = asyncio.create_task(running.receivers.close())
        await asyncio.sleep(0.02)
        assert not closing.done()
        running.log.room = True
        await closing
        assert running.log.messages[0].endswith(b"one")
        writer.close()


@pytest.mark.parametrize("token", ["", "9/" + "0" * 64, "d.0f6e0f6e-0000-0000-0000-000000000000", "read"])
async def test_who_may_not_write_is_refused_and_those_before_are_stored(stores: Stores, token: str) -> None:
    async with rig(stores) as running:
        port = await running.listen(Way.SYSLOG)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        key = running.read_key if token == "read" else token
        writer.write(line(running.key, "good") + line(key, "bad") + line(running.key, "behind"))
        assert await reader.read() == b""
        assert [message[-4:] for message in running.log.messages] == [b"good"]
        stats = running.stats(Way.SYSLOG)
        assert (stats.received, stats.stored, stats.refused, stats.connections_refused) == (3, 1, 2, 1)
        writer.close()


async def test_the_secret_of_a_refused_sender_is_not_in_the_log(
    stores: Stores, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    async with rig(stores) as running:
        port = await running.listen(Way.SYSLOG)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(line("7/" + "abcd" * 16, "x"))
        assert await reader.read() == b""
        writer.close()
    captured = capsys.readouterr()
    assert "abcdabcd" not in captured.out + captured.err + caplog.text


async def test_a_used_up_plan_refuses_and_says_so(stores: Stores) -> None:
    async with rig(stores) as running:
        running.quota.used_up = True
        for way in (Way.SYSLOG, Way.FORWARD_LOCAL):
            port = await running.listen(way)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            data = line(running.key, "x") if way is Way.SYSLOG else msgpack.packb(["a.b", 1, {"a": 1}])
            writer.write(data)
            assert await reader.read() == b""
            writer.close()
            assert running.stats(way).connections_refused == 1
        assert running.log.batches == []
        assert running.stats(Way.SYSLOG).refused == 1


@pytest.mark.parametrize(
    "data", [b"<13>" + b"x" * 3000, b"9999 <13>x", b"\xff\xfe\n", b"GET / HTTP/1.1\r\n\r\n"]
)
async def test_what_is_no_syslog_or_too_long_closes_the_connection(stores: Stores, data: bytes) -> None:
    async with rig(stores, message_bytes=2000) as running:
        port = await running.listen(Way.SYSLOG)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(line(running.key, "good"))
        await until(lambda: running.log.batches)
        writer.write(data)
        writer.write_eof()
        await reader.read()
        writer.close()
        assert running.log.messages[0].endswith(b"good")


async def test_silent_connections_are_closed(stores: Stores) -> None:
    async with rig(stores, first_s=0.05) as running:
        for way in (Way.SYSLOG, Way.FORWARD):
            reader, writer = await asyncio.open_connection("127.0.0.1", await running.listen(way))
            async with asyncio.timeout(5):
                await reader.read()
            writer.close()


async def test_the_number_of_connections_is_limited(stores: Stores) -> None:
    async with rig(stores, connections_per_peer=2) as running:
        port = await running.listen(Way.SYSLOG)
        open_ones = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        await until(lambda: running.stats(Way.SYSLOG).connections == 2)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        assert running.stats(Way.SYSLOG).connections_refused == 1
        for _, other in [*open_ones, (reader, writer)]:
            other.close()


# Forward


async def forward(running: Rig) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", await running.listen(Way.FORWARD_LOCAL))


def chunk(name: str, *numbers: int) -> bytes:
    packed: bytes = msgpack.packb(["td.shop.clicks", [[n, {"n": n}] for n in numbers], {"chunk": name}])
    return packed


async def test_a_chunk_is_acknowledged_after_it_is_stored_and_stored_once(stores: Stores) -> None:
    async with rig(stores) as running:
        reader, writer = await forward(running)
        for _ in range(2):
            writer.write(chunk("c1", 1, 2))
            assert msgpack.unpackb(await reader.read(100)) == {"ack": "c1"}
        assert running.log.rows == [{"time": 1, "n": 1}, {"time": 2, "n": 2}]
        stats = running.stats(Way.FORWARD_LOCAL)
        assert (stats.received, stats.stored, stats.duplicates) == (4, 2, 2)
        writer.close()


@pytest.mark.parametrize("fault", [Unavailable("No room."), InvalidInput("Never.")])
async def test_a_chunk_that_cannot_be_stored_is_not_acknowledged(stores: Stores, fault: Exception) -> None:
    async with rig(stores) as running:
        running.log.fault = fault
        reader, writer = await forward(running)
        writer.write(chunk("c1", 1))
        assert await reader.read() == b""
        assert running.stats(Way.FORWARD_LOCAL).stored == 0
        writer.close()


async def test_events_without_a_chunk_wait_for_room(stores: Stores) -> None:
    async with rig(stores) as running:
        running.log.room = False
        _, writer = await forward(running)
        events = [msgpack.packb(["td.shop.clicks", n, {"n": n}]) for n in range(1000)]
        writer.write(b"".join(events))
        await until(lambda: running.log.tries > 2)
        running.log.room = True
        await until(lambda: running.stats(Way.FORWARD_LOCAL).stored == 1000)
        assert [row["n"] for row in running.log.rows] == list(range(1000))
        assert len(running.log.batches) < 50
        writer.close()


async def test_what_stands_before_a_malformed_message_is_stored_and_acknowledged(stores: Stores) -> None:
    async with rig(stores) as running:
        reader, writer = await forward(running)
        writer.write(chunk("c1", 1) + msgpack.packb(["nodot", 1, {}]) + chunk("c2", 2))
        assert msgpack.unpackb(await reader.read()) == {"ack": "c1"}
        assert running.log.rows == [{"time": 1, "n": 1}]
        assert running.stats(Way.FORWARD_LOCAL).malformed == 1
        writer.close()


async def test_without_a_key_nothing_is_taken(stores: Stores) -> None:
    async with rig(stores) as running:
        port = await running.listen(Way.FORWARD)
        for data in (chunk("c1", 1), msgpack.packb(["PING", "1", "s", "0" * 128, "", ""]), b"x" * 40_000):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(data)
            answers = msgpack.Unpacker(_file(await reader.read()))
            kinds = [answer[0] for answer in answers]
            assert kinds in (["HELO", "PONG"], ["HELO"])
            writer.close()
        assert running.log.batches == []
        assert running.stats(Way.FORWARD).connections_refused == 3


async def test_a_heartbeat_that_connects_and_says_nothing_is_no_fault(stores: Stores) -> None:
    async with rig(stores) as running:
        for way in (Way.FORWARD, Way.SYSLOG):
            reader, writer = await asyncio.open_connection("127.0.0.1", await running.listen(way))
            writer.write_eof()
            await reader.read()
            writer.close()
            assert running.stats(way).connections == 1
            assert running.stats(way).connections_refused == 0
