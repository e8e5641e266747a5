"""A fault of ours on a route that the framework does not serve is answered in Treasure Data's form."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import orjson

from addon.api.app import Application

SCOPE = {"type": "http", "method": "PUT", "path": "/v3/table/import/shop/events/msgpack.gz", "headers": []}


def _answers(route: Any) -> list[dict[str, Any]]:
    app = Application(cast("Any", SimpleNamespace()), ingest=False, api=False)
    app._imports = route
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        if sent and message["type"] == "http.response.start":
            raise RuntimeError("the answer has begun")  # as the server does
        sent.append(message)

    async def receive() -> dict[str, Any]:
        raise AssertionError("nothing is read here")

    asyncio.run(app(dict(SCOPE), receive, send))
    return sent


def test_a_fault_before_the_answer_is_a_500_with_an_error_object() -> None:
    async def broken(_scope: Any, _receive: Any, _send: Any) -> None:
        raise ZeroDivisionError("secret detail")

    start, body = _answers(broken)
    told = orjson.loads(body["body"])
    assert start["status"] == told["status_code"] == 500
    assert told["error"] == told["message"] == "Something went wrong inside the service."
    assert b"secret detail" not in body["body"]


def test_a_fault_within_the_answer_ends_it() -> None:
    async def broken(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ZeroDivisionError

    (start,) = _answers(broken)
    assert start["status"] == 200
