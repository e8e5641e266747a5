"""A drain with spill loses nothing until its quota is full, and keeps its frames over a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from platform_core.base.clock import SystemClock
from platform_core.logplex.frame import Frame
from platform_core.logplex.router import Logplex
from platform_core.logplex.spill import SpillQueue
from platform_core.models.logs import Drain

if TYPE_CHECKING:
    from pathlib import Path

    from platform_core.logplex.settings import LogplexSettings

Until = Callable[[Callable[[], bool]], Any]


def spilling(url: str) -> Drain:
    return Drain(id="d1", app_id="a", token="d.0001", url=url, spill=True)


def test_frames_leave_in_their_order_whatever_the_order_they_came_in(tmp_path: Path) -> None:
    queue = SpillQueue(tmp_path, 1_000)
    first, second, third = (Frame(queue.next_seq(), b"%d" % n, n + 1) for n in range(3))
    assert queue.store(second)
    assert queue.store(third)
    assert queue.store(first)
    assert queue.store(first)  # again: no change
    assert (queue.messages, queue.bytes, len(queue)) == (6, 3, 3)
    for expected in (first, second):
        head = queue.head()
        assert head == replace(expected, stored=True)
        queue.remove_head()
    again = SpillQueue(tmp_path, 1_000)
    assert again.head() == replace(third, stored=True)
    assert again.next_seq() > third.seq


def test_the_quota_holds_and_half_written_or_strange_files_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "0-1-0-AB.frame.part").write_bytes(b"half")
    (tmp_path / "readme.frame").write_bytes(b"strange")
    queue = SpillQueue(tmp_path, 10)
    assert queue.head() is None
    assert queue.store(Frame(queue.next_seq(), b"x" * 10, 1))
    assert not queue.store(Frame(queue.next_seq(), b"x", 1))
    assert not list(tmp_path.glob("*.part"))
    queue.remove_head()
    assert queue.store(Frame(queue.next_seq(), b"x", 1))


def test_a_frame_that_vanished_is_skipped(tmp_path: Path) -> None:
    queue = SpillQueue(tmp_path, 100)
    for number in range(2):
        queue.store(Frame(queue.next_seq(), b"%d" % number, 1))
    min(tmp_path.glob("*.frame")).unlink()
    head = queue.head()
    assert head is not None
    assert head.body == b"1"
    assert queue.messages == 1


def test_an_outage_loses_nothing_and_keeps_the_order(
    fast: LogplexSettings, receiver_class: Any, until: Until, tmp_path: Path
) -> None:
    async def scenario() -> None:
        receiver = receiver_class(default=503)
        settings = replace(fast, spill_bytes=256 << 10, batch_bytes=4 << 10)
        logs = Logplex(settings, SystemClock(), spill_dir=tmp_path)
        await logs.start()
        logs.set_drains("a", [spilling(await receiver.start())])
        for number in range(5_000):
            logs.write("a", "app", "web.1", [b"line %d" % number])
            if number % 100 == 0:
                await asyncio.sleep(0.001)
        await until(lambda: len(receiver.requests) > 3)
        stats = logs.stats("a").drains["d1"]
        assert stats.dropped == 0
        assert stats.spilled_bytes > 0
        receiver.requests.clear()
        receiver.default = 200
        await until(lambda: logs.stats("a").drains["d1"].delivered == 5_000)
        good = {request.headers["logplex-frame-id"]: request for request in receiver.requests}
        lines = [line for request in good.values() for line in request.messages]
        assert lines == [b"line %d" % number for number in range(5_000)]
        stats = logs.stats("a").drains["d1"]
        assert (stats.received, stats.buffered, stats.spilled_bytes) == (5_000, 0, 0)
        await logs.close()

    asyncio.run(scenario())


def test_a_flood_within_one_turn_of_the_loop_goes_to_disk_and_not_away(
    fast: LogplexSettings, receiver_class: Any, until: Until, tmp_path: Path
) -> None:
    async def scenario() -> None:
        receiver = receiver_class()
        settings = replace(fast, spill_bytes=16 << 10, batch_bytes=4 << 10)
        logs = Logplex(settings, SystemClock(), spill_dir=tmp_path)
        await logs.start()
        logs.set_drains("a", [spilling(await receiver.start())])
        for number in range(2_000):
            logs.write("a", "app", "web.1", [b"line %d" % number])
        stats = logs.stats("a").drains["d1"]
        assert (stats.received, stats.dropped, stats.buffered) == (2_000, 0, 2_000)
        assert stats.spilled_bytes > 100_000
        await until(lambda: logs.stats("a").drains["d1"].delivered == 2_000)
        assert receiver.messages == [b"line %d" % number for number in range(2_000)]
        await logs.close()

    asyncio.run(scenario())


def test_undelivered_lines_survive_a_restart_under_the_same_frame_ids(
    fast: LogplexSettings, receiver_class: Any, until: Until, tmp_path: Path
) -> None:
    async def scenario() -> None:
        receiver = receiver_class(default=503)
        url = await receiver.start()
        logs = Logplex(replace(fast, close_grace=0.05), SystemClock(), spill_dir=tmp_path)
        await logs.start()
        logs.set_drains("a", [spilling(url)])
        logs.write("a", "app", "web.1", [b"before"])
        await receiver.wait(lambda r: len(r.requests) >= 2)
        logs.write("a", "app", "web.1", [b"after"])
        await logs.close()
        ids = {request.headers["logplex-frame-id"] for request in receiver.requests}
        receiver.requests.clear()
        receiver.default = 200

        revived = Logplex(fast, SystemClock(), spill_dir=tmp_path)
        revived.set_drains("a", [spilling(url)])
        assert revived.stats("a").drains["d1"].buffered == 2
        await revived.start()
        await receiver.wait(lambda r: len(r.messages) == 2)
        assert receiver.messages == [b"before", b"after"]
        assert receiver.requests[0].headers["logplex-frame-id"] in ids
        await until(lambda: revived.stats("a").drains["d1"].delivered == 2)
        assert revived.stats("a").drains["d1"].received == 2
        revived.forget("a")
        await revived.close()

    asyncio.run(scenario())
    assert not list(tmp_path.rglob("*.frame"))


def test_beyond_the_quota_the_loss_is_counted_and_announced(
    fast: LogplexSettings, receiver_class: Any, until: Until, tmp_path: Path
) -> None:
    async def scenario() -> None:
        receiver = receiver_class(default=503)
        settings = replace(fast, spill_bytes=16 << 10, batch_bytes=2 << 10, spill_quota=20 << 10)
        logs = Logplex(settings, SystemClock(), spill_dir=tmp_path)
        await logs.start()
        logs.set_drains("a", [spilling(await receiver.start())])
        for _ in range(200):
            logs.write("a", "app", "web.1", [b"x" * 100] * 10)
            await asyncio.sleep(0.001)
        assert logs.stats("a").drains["d1"].dropped > 0
        receiver.requests.clear()
        receiver.default = 200
        await until(lambda: logs.stats("a").drains["d1"].buffered == 0)
        stats = logs.stats("a").drains["d1"]
        assert stats.received == 2_000 == stats.delivered + stats.dropped
        logs.write("a", "app", "web.1", [b"last"])
        await until(lambda: b"last" in receiver.messages)
        announced = sum(
            int(line.split(b" dropped ")[1].split()[0]) for line in receiver.messages if b"Error L10" in line
        )
        assert announced == logs.stats("a").drains["d1"].dropped
        await logs.close()

    asyncio.run(scenario())


def test_an_add_on_drain_spills_by_itself(fast: LogplexSettings, receiver_class: Any, tmp_path: Path) -> None:
    async def scenario() -> None:
        receiver = receiver_class()
        logs = Logplex(fast, SystemClock(), spill_dir=tmp_path)
        url = await receiver.start()
        logs.set_drains("a", [Drain("d1", "a", "d.1", url, addon_id="x"), Drain("d2", "a", "d.2", url)])
        await logs.close()

    asyncio.run(scenario())
    assert [path.name for path in tmp_path.iterdir()] == ["d1"]
