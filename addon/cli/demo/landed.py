"""Compares what landed in the warehouse with what was sent: exactly, or the demo fails."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import astuple
from typing import TYPE_CHECKING

from addon.cli.demo.traffic import Order
from addon.cli.failures import Exit, Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from addon.cli.client import Client
    from addon.cli.demo.traffic import Ledger

DATABASE = "shop"
HOST = "shop.localhost"
LOGS = "logs"
_LINES_SECONDS = 20.0
_POLL_SECONDS = 0.2
_NAMED = 5


def count(client: Client, database: str, sql: str) -> int:
    """Return the one number that a query answers."""
    return int(client.query(database, sql).rows[0][0])


def landed_events(client: Client) -> dict[str, int]:
    """Return the number of rows of each event."""
    rows = client.query(
        DATABASE, "SELECT event, COUNT(*) AS n FROM events GROUP BY event ORDER BY event"
    ).rows
    return {str(event): int(n) for event, n in rows}


def landed_orders(client: Client) -> list[Order]:
    """Return every purchase row."""
    sql = "SELECT order_id, user_id, time, quantity, value_minor FROM events WHERE event = 'purchase'"
    return [
        Order(str(a), str(b), int(c), int(d), int(e)) for a, b, c, d, e in client.query(DATABASE, sql).rows
    ]


def differences(ledger: Ledger, events: dict[str, int], orders: Iterable[Order]) -> list[str]:
    """Return in words how what landed differs from what was sent; empty when it does not."""
    found = []
    for event in sorted(ledger.events.keys() | events.keys()):
        sent, landed = ledger.events.get(event, 0), events.get(event, 0)
        if sent != landed:
            found.append(f"{event}: {sent:,} sent, {landed:,} landed")
    sent_orders = Counter(astuple(order) for order in ledger.orders)
    landed_as = Counter(astuple(order) for order in orders)
    for what, orders_off in (
        ("missing", sent_orders - landed_as),
        ("doubled or altered", landed_as - sent_orders),
    ):
        if orders_off:
            named = ", ".join(str(order) for order in list(orders_off)[:_NAMED])
            found.append(f"{orders_off.total():,} orders {what}, among them {named}")
    return found


def compare(client: Client, ledger: Ledger) -> None:
    """Check that the warehouse holds exactly what was sent.

    Raises:
        Failure: it does not; every difference is named.
    """
    found = differences(ledger, landed_events(client), landed_orders(client))
    if found:
        advice = "Read addon.log and platform.log: a counted loss is announced there and in the app's log."
        raise Failure("What landed is not what was sent", "\n".join(found), advice, Exit.ERROR)


def compare_lines(client: Client, ledger: Ledger, show: Callable[[str], None]) -> int:
    """Check the ordinary log lines too: one of the router for each request, one of the shop for each order.

    They travel behind the events, so a while is allowed; returns how many there are.

    Raises:
        Failure: there are more, or still fewer.
    """
    expected = {
        "router lines": (f"SELECT COUNT(*) FROM router WHERE host = '{HOST}'", ledger.requests),  # noqa: S608
        "order lines": ("SELECT COUNT(*) FROM app WHERE message LIKE '%order placed%'", len(ledger.orders)),
    }
    deadline = time.monotonic() + _LINES_SECONDS
    for what, (sql, sent) in expected.items():
        while (rows := count(client, LOGS, sql)) < sent and time.monotonic() < deadline:
            show(f"{rows:,} of {sent:,} {what}")
            time.sleep(_POLL_SECONDS)
        if rows != sent:
            why = f"{what}: {sent:,} sent, {rows:,} landed"
            raise Failure(
                "The log lines are not what was printed", why, "Look for L10 and L11 in platform.log."
            )
    return sum(sent for _, sent in expected.values())
