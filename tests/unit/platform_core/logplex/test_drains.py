"""Drains against a receiver that misbehaves: what arrives, is sent again, is lost and owned up to."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from unittest.mock import AsyncMock

import pytest
import trustme

from platform_core.base.clock import SystemClock
from platform_core.base.errors import InvalidInput
from platform_core.logplex.delivery import Sender
from platform_core.logplex.router import Logplex
from platform_core.models.logs import Drain, LogFilter

if TYPE_CHECKING:
    from pathlib import Path

    from platform_core.logplex.drains import DrainStats
    from platform_core.logplex.settings import LogplexSettings

Until = Callable[[Callable[[], bool]], Any]


def drain(url: str, **fields: Any) -> Drain:
    return Drain(id="d1", app_id="a", token="d.0001", url=url, **fields)


def balanced(stats: DrainStats) -> bool:
    return stats.received == stats.delivered + stats.dropped + stats.buffered


async def started(settings: LogplexSettings, *drains: Drain, **more: Any) -> Logplex:
    logs = Logplex(settings, SystemClock(), **more)
    await logs.start()
    logs.set_drains("a", drains)
    return logs


def test_lines_arrive_with_all_headers_in_few_requests(
    fast: LogplexSettings, receiver_class: Any, until: Until
) -> None:
    async def scenario() -> None:
        receiver = receiver_class()
        url = await receiver.start()
        logs = await started(fast, drain(url.replace("http://", "http://us%40er:p%3Aw@")))
        for number in range(100):
            logs.write("a", "app", "web.1", [b"line %d" % number])
        logs.write("b", "app", "web.1", [b"of another app"])
        await receiver.wait(lambda r: len(r.messages) == 100)
        assert receiver.messages == [b"line %d" % number for number in range(100)]
        assert len(receiver.requests) <= 2
        headers = receiver.requests[0].headers
        assert headers["content-type"] == "application/logplex-1"
        assert headers["logplex-drain-token"] == "d.0001"
        assert re.fullmatch("[0-9A-F]{32}", headers["logplex-frame-id"])
        assert headers["authorization"] == "Basic dXNAZXI6cDp3"
        assert headers["user-agent"].startswith("Logplex/")
        await until(lambda: logs.stats("a").drains["d1"].delivered == 100)
        assert balanced(logs.stats("a").drains["d1"])
        await logs.close()

    asyncio.run(scenario())


def test_a_batch_is_closed_at_its_size(fast: LogplexSettings, receiver_class: Any) -> None:
    async def scenario() -> None:
        receiver = receiver_class()
        logs = await started(replace(fast, batch_bytes=1_000), drain(await receiver.start()))
        logs.write("a", "app", "web.1", [b"x" * 200] * 50)
        await receiver.wait(lambda r: len(r.messages) == 50)
        assert all(len(request.body) <= 1_000 for request in receiver.requests)
        assert receiver.connections == 1
        await logs.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("status", [429, 500, 503, 302])
def test_a_failed_frame_is_sent_again_under_the_same_id(
    fast: LogplexSettings, receiver_class: Any, status: int
) -> None:
    async def scenario() -> None:
        receiver = receiver_class(answers=[status, status], location="http://127.0.0.1:1/elsewhere")
        logs = await started(fast, drain(await receiver.start()))
        logs.write("a", "app", "web.1", [b"one"])
        await receiver.wait(lambda r: len(r.requests) == 3)
        assert len({request.headers["logplex-frame-id"] for request in receiver.requests}) == 1
        assert receiver.messages == [b"one"] * 3
        await logs.close()

    asyncio.run(scenario())


def test_three_failures_lose_the_frame_and_the_next_one_says_so(
    fast: LogplexSettings, receiver_class: Any, until: Until
) -> None:
    async def scenario() -> None:
        receiver = receiver_class(answers=[503] * 3)
        logs = await started(fast, drain(await receiver.start()))
        logs.write("a", "app", "web.1", [b"one", b"two"])
        await until(lambda: logs.stats("a").drains["d1"].dropped == 2)
        logs.write("a", "app", "web.1", [b"three"])
        await receiver.wait(lambda r: len(r.requests) == 4)
        notice, line = receiver.requests[-1].messages
        assert line == b"three"
        assert re.fullmatch(
            rb"Error L10 \(output buffer overflow\): drain 'd\.0001' dropped 2 messages since \S+\+00:00\.",
            notice,
        )
        assert b"<172>1 " in receiver.requests[-1].body
        await until(lambda: logs.stats("a").drains["d1"].delivered == 1)
        assert balanced(logs.stats("a").drains["d1"])
        await logs.close()

    asyncio.run(scenario())


def test_a_refusal_is_not_sent_again(fast: LogplexSettings, receiver_class: Any, until: Until) -> None:
    async def scenario() -> None:
        receiver = receiver_class(answers=[404])
        logs = await started(fast, drain(await receiver.start()))
        logs.write("a", "app", "web.1", [b"one"])
        await until(lambda: logs.stats("a").drains["d1"].dropped == 1)
        logs.write("a", "app", "web.1", [b"two"])
        await receiver.wait(lambda r: len(r.requests) == 2)
        assert receiver.requests[1].messages[1:] == [b"two"]
        await logs.close()

    asyncio.run(scenario())


def test_a_loss_that_could_not_be_announced_is_announced_later_in_full(
    fast: LogplexSettings, receiver_class: Any, until: Until
) -> None:
    async def scenario() -> None:
        receiver = receiver_class(answers=[404, 404])
        logs = await started(fast, drain(await receiver.start()))
        for dropped, text in ((1, b"one"), (2, b"two")):
            logs.write("a", "app", "web.1", [text])
            await until(lambda dropped=dropped: logs.stats("a").drains["d1"].dropped == dropped)  # type: ignore[misc]
        logs.write("a", "app", "web.1", [b"three"])
        await receiver.wait(lambda r: len(r.requests) == 3)
        assert b"dropped 2 messages" in receiver.requests[2].messages[0]
        await logs.close()

    asyncio.run(scenario())


def test_a_slow_receiver_loses_the_oldest_and_the_count_is_exact(
    fast: LogplexSettings, receiver_class: Any, until: Until
) -> None:
    async def scenario() -> None:
        receiver = receiver_class()
        url = await receiver.start()
        receiver.open_gate.clear()
        logs = await started(fast, drain(url))
        logs.write("a", "app", "web.1", [b"first"])
        await until(lambda: receiver.connections == 1)
        for number in range(3_000):
            logs.write("a", "app", "web.1", [b"%d" % number])
        receiver.open_gate.set()
        await until(lambda: logs.stats("a").drains["d1"].buffered == 0)
        stats = logs.stats("a").drains["d1"]
        assert balanced(stats)
        assert (stats.received, stats.delivered, stats.dropped) == (3_001, 1_025, 1_976)
        assert b"dropped 1976 messages" in receiver.messages[1]
        assert receiver.messages[2:] == [b"%d" % number for number in range(1_976, 3_000)]
        await logs.close()

    asyncio.run(scenario())


def test_a_receiver_that_never_answers_is_a_timeout(
    fast: LogplexSettings, receiver_class: Any, until: Until
) -> None:
    async def scenario() -> None:
        receiver = receiver_class()
        url = await receiver.start()
        receiver.open_gate.clear()
        logs = await started(replace(fast, request_timeout=0.05, connect_timeout=0.05), drain(url))
        logs.write("a", "app", "web.1", [b"one"])
        await until(lambda: logs.stats("a").drains["d1"].dropped == 1)
        assert logs.stats("a").drains["d1"].failures == 3
        receiver.open_gate.set()
        await logs.close()

    asyncio.run(scenario())


def test_a_drain_outlives_an_error_that_nobody_foresaw(
    fast: LogplexSettings, receiver_class: Any, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        receiver = receiver_class()
        logs = await started(fast, drain(await receiver.start()))
        post = Sender.post
        with monkeypatch.context() as patch:
            patch.setattr(Sender, "post", AsyncMock(side_effect=RuntimeError("a bug")))
            logs.write("a", "app", "web.1", [b"one"])
            await until(lambda: logs.stats("a").drains["d1"].dropped == 1)
        assert Sender.post is post
        logs.write("a", "app", "web.1", [b"two"])
        await receiver.wait(lambda r: b"two" in r.messages)
        assert b"dropped 1 messages" in receiver.messages[0]
        await until(lambda: balanced(logs.stats("a").drains["d1"]))
        await logs.close()

    asyncio.run(scenario())


def test_a_dead_drain_shrinks_its_buffer_and_recovers(
    fast: LogplexSettings, receiver_class: Any, until: Until
) -> None:
    async def scenario() -> None:
        receiver = receiver_class(default=503)
        logs = await started(fast, drain(await receiver.start()))
        sent = 0
        while logs.stats("a").drains["d1"].failures < 10:
            logs.write("a", "app", "web.1", [b"x"])
            sent += 1
            await asyncio.sleep(0.002)
        logs.write("a", "app", "web.1", [b"y"] * 500)
        assert logs.stats("a").drains["d1"].buffered <= 10 + sent
        receiver.default = 200
        await until(lambda: logs.stats("a").drains["d1"].buffered == 0)
        await until(lambda: logs.stats("a").drains["d1"].failures == 0)
        logs.write("a", "app", "web.1", [b"z"] * 500)
        await until(lambda: receiver.messages.count(b"z") == 500)
        assert balanced(logs.stats("a").drains["d1"])
        await logs.close()

    asyncio.run(scenario())


def test_tls_is_verified_and_a_bad_certificate_is_told_once(
    fast: LogplexSettings, receiver_class: Any, until: Until, tmp_path: Path
) -> None:
    async def scenario() -> None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        import ssl  # noqa: PLC0415

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        receiver = receiver_class()
        url = (await receiver.start(tls=context)).replace("//", "//u:secret@")
        trusting = await started(fast, drain(url), ca_file=tmp_path / "ca.pem")
        trusting.write("a", "app", "web.1", [b"hello"])
        await receiver.wait(lambda r: r.messages == [b"hello"])
        await trusting.close()

        strict = await started(fast, drain(url))
        strict.write("a", "app", "web.1", [b"hello"])
        await until(lambda: strict.stats("a").drains["d1"].dropped >= 1)
        shown = [e[1] async for e in strict.stream(strict.open_session("a", LogFilter())) if e]
        notices = [line for line in shown if "L14" in line]
        assert len(notices) == 1
        assert "heroku[logplex]: Error L14 (certificate validation)" in notices[0]
        assert "secret" not in notices[0]
        await strict.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "url",
    [
        "syslog://logs.example.com:514",
        "ftp://x/",
        "logs.example.com",
        "",
        "https://",
        "https:///path",
        "http://a b/",
        "http://h/\r\nX: y",
        "http://h:99999/",
        "http://h\\@evil/",
    ],
)
def test_a_url_we_cannot_send_to_is_refused_and_nothing_changes(fast: LogplexSettings, url: str) -> None:
    async def scenario() -> None:
        logs = await started(fast, drain("http://127.0.0.1:9/"))
        with pytest.raises(InvalidInput, match=r"Give a URL like https://"):
            logs.set_drains("a", [drain(url)])
        assert list(logs.stats("a").drains) == ["d1"]
        logs.forget("a")
        await logs.close()

    asyncio.run(scenario())


def test_a_drain_that_stays_keeps_its_counters_and_one_that_goes_stops(
    fast: LogplexSettings, receiver_class: Any, until: Until
) -> None:
    async def scenario() -> None:
        receiver = receiver_class()
        url = await receiver.start()
        logs = await started(fast, drain(url))
        logs.write("a", "app", "web.1", [b"one"])
        await until(lambda: logs.stats("a").drains["d1"].delivered == 1)
        logs.set_drains("a", [drain(url + "/new"), replace(drain(url), id="d2")])
        logs.write("a", "app", "web.1", [b"two"])
        await until(lambda: logs.stats("a").drains["d1"].delivered == 2)
        await until(lambda: logs.stats("a").drains["d2"].delivered == 1)
        logs.set_drains("a", [])
        logs.write("a", "app", "web.1", [b"three"])
        assert logs.stats("a").drains == {}
        assert sorted(receiver.messages) == [b"one", b"two", b"two"]
        await logs.close()

    asyncio.run(scenario())


def test_an_endless_reply_is_cut_off(fast: LogplexSettings, receiver_class: Any, until: Until) -> None:
    async def scenario() -> None:
        receiver = receiver_class(reply=b"z" * (4 << 20))
        logs = await started(fast, drain(await receiver.start()))
        logs.write("a", "app", "web.1", [b"one"])
        await until(lambda: logs.stats("a").drains["d1"].delivered == 1)
        logs.write("a", "app", "web.1", [b"two"])
        await until(lambda: logs.stats("a").drains["d1"].delivered == 2)
        assert receiver.connections == 2  # the first was given up with its reply unread
        await logs.close()

    asyncio.run(scenario())
