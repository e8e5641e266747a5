"""Calls between nodes: signed, fresh, and about one account."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from addon.api.internal import InternalRoutes
from addon.fleet.peers import FLUSH, FORGET
from addon.fleet.signing import SIGNATURE, TIME, check, sign
from platform_core.base.clock import FixedClock
from platform_core.base.errors import Unauthenticated

SECRET, NOW = "s" * 64, 1_780_000_000.0


def _raw(headers: dict[str, str]) -> dict[bytes, bytes]:
    return {name.encode(): value.encode() for name, value in headers.items()}


def test_only_the_very_request_that_was_signed_is_taken_and_only_for_a_minute() -> None:
    headers = _raw(sign(SECRET, FLUSH, b"{}", NOW))
    check(SECRET, FLUSH, b"{}", headers, NOW + 59)
    wrong = [
        (SECRET, FORGET, b"{}", headers, NOW),
        (SECRET, FLUSH, b"{ }", headers, NOW),
        ("t" * 64, FLUSH, b"{}", headers, NOW),
        (SECRET, FLUSH, b"{}", headers, NOW + 61),
        (SECRET, FLUSH, b"{}", headers, NOW - 61),
        (SECRET, FLUSH, b"{}", {**headers, TIME.encode(): b"nan"}, NOW),
        (SECRET, FLUSH, b"{}", {**headers, SIGNATURE.encode(): b"\xff"}, NOW),
        (SECRET, FLUSH, b"{}", {}, NOW),
    ]
    for given in wrong:
        with pytest.raises(Unauthenticated):
            check(*given)


def _call(path: str, body: bytes, headers: dict[bytes, bytes], method: str = "POST") -> tuple[int, list[int]]:
    asked: list[int] = []
    sent: list[dict[str, Any]] = []

    async def work(account: int) -> None:
        asked.append(account)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    routes = InternalRoutes(SECRET, work, work, FixedClock(NOW))
    scope = {"path": path, "method": method, "headers": list(headers.items())}
    asyncio.run(routes(scope, receive, send))
    return sent[0]["status"], asked


def test_a_signed_call_does_its_work_and_others_are_refused_before_they_are_read() -> None:
    body = orjson.dumps({"account_id": 7})
    assert _call(FLUSH, body, _raw(sign(SECRET, FLUSH, body, NOW))) == (204, [7])
    assert _call(FORGET, body, _raw(sign(SECRET, FORGET, body, NOW))) == (204, [7])
    assert _call(FLUSH, body, {}) == (401, [])
    assert _call("/internal/other", body, {}) == (401, [])
    assert _call("/internal/other", body, _raw(sign(SECRET, "/internal/other", body, NOW))) == (404, [])
    for bad in (b"", b"[]", b"{}", b'{"account_id":"x"}'):
        assert _call(FLUSH, bad, _raw(sign(SECRET, FLUSH, bad, NOW))) == (422, [])
