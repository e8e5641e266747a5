"""Log sessions: backlog, tail, resume, loss, keep-alive, expiry."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from platform_core.base.clock import FixedClock
from platform_core.base.errors import NotFound
from platform_core.logplex.router import Logplex
from platform_core.logplex.settings import LogplexSettings
from platform_core.models.logs import LogFilter

NOW = 1_767_323_045.678901


def router(settings: LogplexSettings | None = None) -> tuple[Logplex, FixedClock]:
    clock = FixedClock(NOW)
    return Logplex(settings or LogplexSettings(), clock), clock


def test_a_plain_session_shows_the_backlog_and_ends() -> None:
    async def scenario() -> None:
        logs, _ = router()
        logs.write("a", "app", "web.1", [b"one", b"two"])
        logs.write("b", "app", "web.1", [b"other app"])
        logs.write("a", "heroku", "router", [b"at=info"], pri=158, at=NOW + 1)
        session = logs.open_session("a", LogFilter(lines=2))
        events = [event async for event in logs.stream(session)]
        assert [event[1] for event in events if event] == [
            "2026-01-02T03:04:05.678901+00:00 app[web.1]: two",
            "2026-01-02T03:04:06.678901+00:00 heroku[router]: at=info",
        ]

    asyncio.run(scenario())


def test_a_tail_goes_on_where_the_backlog_ends_and_resumes_without_doubles() -> None:
    async def scenario() -> None:
        logs, _ = router()
        logs.write("a", "app", "web.1", [b"1", b"2"])
        session = logs.open_session("a", LogFilter(tail=True))
        stream = logs.stream(session)
        seen = [await anext(stream), await anext(stream)]
        logs.write("a", "app", "web.1", [b"3"])
        seen.append(await anext(stream))
        await stream.aclose()  # type: ignore[attr-defined]
        logs.write("a", "app", "web.1", [b"4", b"5"])
        last = seen[-1]
        assert last is not None
        resumed = logs.stream(session, after=last[0])
        seen += [await anext(resumed), await anext(resumed)]
        logs.write("a", "app", "web.1", [b"6"])
        seen.append(await anext(resumed))
        assert [event[1][-1] for event in seen if event] == list("123456")
        ids = [event[0] for event in seen if event]
        assert ids == sorted(set(ids))
        await logs.close()
        with pytest.raises(StopAsyncIteration):
            await anext(resumed)

    asyncio.run(scenario())


def test_a_tail_shows_only_what_its_filter_lets_through() -> None:
    async def scenario() -> None:
        logs, _ = router()
        stream = logs.stream(logs.open_session("a", LogFilter(tail=True, dyno="web")))
        first = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        logs.write("a", "app", "worker.1", [b"no"])
        logs.write("a", "app", "web.2", [b"yes"])
        event = await first
        assert event is not None
        assert event[1].endswith("app[web.2]: yes")

    asyncio.run(scenario())


def test_a_slow_reader_is_told_exactly_how_much_it_missed() -> None:
    async def scenario() -> None:
        logs, clock = router(replace(LogplexSettings(), tail_messages=5))
        stream = logs.stream(logs.open_session("a", LogFilter(tail=True)))
        first = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        logs.write("a", "app", "web.1", [b"0"])
        events = [await first]
        logs.write("a", "app", "web.1", [b"1", b"2", b"3"])
        clock.advance(1)
        logs.write("a", "app", "web.1", [b"%d" % number for number in range(4, 13)])
        events += [await anext(stream) for _ in range(6)]
        shown = [event[1].partition(": ")[2] for event in events if event]
        assert shown == [
            "0",
            (
                "L11 (Tail buffer overflow) -> This tail session dropped 7 messages since "
                "2026-01-02T03:04:06.678901+00:00"
            ),
            *["8", "9", "10", "11", "12"],
        ]
        ids = [event[0] for event in events if event]
        assert ids == sorted(set(ids))

    asyncio.run(scenario())


def test_silence_yields_a_keep_alive() -> None:
    async def scenario() -> None:
        logs, _ = router(replace(LogplexSettings(), keepalive=0.01))
        stream = logs.stream(logs.open_session("a", LogFilter(tail=True)))
        assert await anext(stream) is None
        logs.write("a", "app", "web.1", [b"x"])
        events = [await anext(stream)]
        assert events[0] is not None

    asyncio.run(scenario())


def test_an_unread_session_expires_and_a_read_one_does_not() -> None:
    async def scenario() -> None:
        logs, clock = router()
        unread = logs.open_session("a", LogFilter())
        read = logs.open_session("a", LogFilter(tail=True))
        logs.write("a", "app", "web.1", [b"x"])
        stream = logs.stream(read)
        await anext(stream)
        clock.advance(361)
        with pytest.raises(NotFound, match="no such log session"):
            logs.stream(unread)
        assert logs.stats("a").sessions == 1
        await stream.aclose()  # type: ignore[attr-defined]
        clock.advance(359)
        logs.stream(read)
        clock.advance(2)
        with pytest.raises(NotFound):
            logs.stream(read)

    asyncio.run(scenario())


def test_a_forgotten_app_has_neither_lines_nor_sessions() -> None:
    async def scenario() -> None:
        logs, _ = router()
        logs.write("a", "app", "web.1", [b"x"])
        session = logs.open_session("a", LogFilter(tail=True))
        stream = logs.stream(session)
        await anext(stream)
        logs.forget("a")
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        with pytest.raises(NotFound):
            logs.stream(session)
        assert logs.stats("a").received == 0

    asyncio.run(scenario())


def test_a_session_survives_a_restart_for_as_long_as_it_would_unread() -> None:
    async def scenario() -> None:
        clock = FixedClock(NOW)
        first = Logplex(LogplexSettings(), clock, session_key="key")
        first.write("a", "app", "web.1", [b"before"])
        tail = first.open_session("a", LogFilter(tail=True, dyno="web", lines=7))
        seen = await anext(first.stream(tail))
        assert seen is not None
        await first.close()

        clock.advance(5)
        second = Logplex(LogplexSettings(), clock, session_key="key")
        with pytest.raises(NotFound):
            second.stream(tail)  # nothing is known of the app: it may be gone
        second.set_drains("a", [])
        stream = second.stream(tail, after=seen[0])
        second.write("a", "app", "worker.1", [b"not asked for"])
        second.write("a", "app", "web.1", [b"after"])
        resumed = await anext(stream)
        assert resumed is not None
        assert resumed[1].endswith("app[web.1]: after")
        assert resumed[0] > seen[0]
        await stream.aclose()  # type: ignore[attr-defined]

        clock.advance(361)
        with pytest.raises(NotFound):
            second.stream(tail)

    asyncio.run(scenario())


def test_a_session_id_of_another_key_opens_nothing() -> None:
    async def scenario() -> None:
        clock = FixedClock(NOW)
        forged = Logplex(LogplexSettings(), clock, session_key="other").open_session("a", LogFilter())
        clock.advance(1)
        logs = Logplex(LogplexSettings(), clock, session_key="key")
        logs.set_drains("a", [])
        payload, _, mac = forged.partition(".")
        for attempt in (forged, payload, f"{payload}.", f"{payload}.{mac[:-1]}", "", "."):
            with pytest.raises(NotFound):
                logs.stream(attempt)

    asyncio.run(scenario())


def test_long_lines_come_in_parts() -> None:
    async def scenario() -> None:
        logs, _ = router()
        logs.write("a", "app", "web.1", [b"x" * 10_001])
        events = [event async for event in logs.stream(logs.open_session("a", LogFilter()))]
        assert [len(event[1].partition("]: ")[2]) for event in events if event] == [10_000, 1]

    asyncio.run(scenario())
