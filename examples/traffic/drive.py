"""Plays the visits through the router, a bounded number of visitors at a time."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from http1 import Connection

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from plan import Visit

_OK = range(200, 300)


class TrafficError(Exception):
    """The shop did not answer as a shop does."""


class Progress:
    """Counts what was sent; says so on stderr once a second."""

    def __init__(self, total: int) -> None:
        """Expect ``total`` requests."""
        self.total, self.done, self.events = total, 0, Counter[str]()
        self.started = time.monotonic()

    def add(self, event: str) -> None:
        """Count one answered request."""
        self.done += 1
        self.events[event] += 1

    async def report(self) -> None:
        """Print a line a second until cancelled."""
        while True:
            await asyncio.sleep(1)
            self.say()

    def say(self) -> None:
        """Print where we are."""
        rate = self.done / (time.monotonic() - self.started)
        print(f"traffic: {self.done}/{self.total} requests, {rate:.0f}/s", file=sys.stderr, flush=True)


def steps(visit: Visit) -> Iterator[tuple[str, str, bytes]]:
    """Yield the requests of a visit: method, target and body."""
    yield "GET", visit.origin.path(), b""
    for slug in visit.views:
        yield "GET", f"/products/{slug}", b""
    if visit.order is None:
        return
    cart = {"product": visit.views[-1], "quantity": visit.order.quantity}
    yield "POST", "/cart", urlencode(cart).encode()
    order = {"order_id": visit.order.order_id, "value_minor": visit.order.value_minor}
    yield "POST", "/checkout", urlencode(order).encode()


async def play(connection: Connection, visit: Visit, progress: Progress) -> None:
    """Send one visit's requests in order.

    Raises:
        TrafficError: an answer was not a success.
    """
    moments = zip(visit.events(), visit.times(), steps(visit), strict=True)
    for event, moment, (method, target, body) in moments:
        headers = {"Cookie": f"visitor={visit.customer}", "X-Shop-Time": str(moment)}
        if event == "landing" and visit.origin.referrer:
            headers["Referer"] = visit.origin.referrer
        status, text = await connection.request(method, target, headers, body)
        if status not in _OK:
            raise TrafficError(
                f"{method} {target} was answered {status}: {text[:200].decode(errors='replace')}"
            )
        progress.add(event)


async def drive(
    customers: Iterable[list[Visit]], address: str, port: int, host: str, *, visitors: int, progress: Progress
) -> None:
    """Play every customer's visits; ``visitors`` customers at a time, each one's visits in order.

    Raises:
        ExceptionGroup: of TrafficError, HttpError or OSError; nothing is repeated, so counts stay exact.
    """
    queue = iter(list(customers))

    async def visitor() -> None:
        async with Connection(address, port, host) as connection:
            for visits in queue:
                for visit in visits:
                    await play(connection, visit, progress)

    reporter = asyncio.create_task(progress.report())
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(visitors):
                group.create_task(visitor())
    finally:
        reporter.cancel()
        progress.say()
