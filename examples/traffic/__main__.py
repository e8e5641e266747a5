"""The traffic driver: replays real purchases as visits to the shop, and writes down what it sent.

    python examples/traffic --url http://127.0.0.1:7082 --host shop.localhost --ledger ledger.json

The ledger holds the number of events of each kind and every order, so that what arrives somewhere downstream
can be compared with what was sent, exactly.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

from cdnow import read_purchases
from drive import Progress, TrafficError, drive
from http1 import Connection, HttpError
from plan import Visit, count_events, plan_visits

DATA = Path(__file__).resolve().parents[1] / "data" / "CDNOW_sample.txt"


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="traffic", description="Replay CDNOW purchases as visits to the shop."
    )
    parser.add_argument("--url", required=True, help="the router, for example http://127.0.0.1:7082")
    parser.add_argument("--host", required=True, help="the shop's host name, for example shop.localhost")
    parser.add_argument("--ledger", required=True, type=Path, help="the JSON file to write")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--seed", type=int, default=1997)
    parser.add_argument("--visitors", type=int, default=8, help="how many visitors at a time")
    parser.add_argument("--customers", type=int, help="play only this many customers")
    return parser.parse_args()


async def run(options: argparse.Namespace) -> dict[str, object]:
    """Ask the shop for its products, play the visits, return the ledger."""
    url = urlsplit(options.url)
    address, port = url.hostname or "127.0.0.1", url.port or 80
    async with Connection(address, port, options.host) as connection:
        status, body = await connection.request("GET", "/catalogue.json", {})
    if status != 200:  # noqa: PLR2004  # OK
        raise TrafficError(f"GET /catalogue.json was answered {status}; is {options.host} up?")
    with options.data.open() as lines:
        visits = plan_visits(read_purchases(lines), json.loads(body), options.seed)
    customers = list(visits.values())[: options.customers]
    played = [visit for mine in customers for visit in mine]
    progress = Progress(sum(count_events(played).values()))
    await drive(customers, address, port, options.host, visitors=options.visitors, progress=progress)
    return ledger(played, progress)


def ledger(played: list[Visit], progress: Progress) -> dict[str, object]:
    """Return what was sent: event counts, requests (with the one for the catalogue), orders."""
    orders = [
        {
            "order_id": visit.order.order_id,
            "user_id": visit.customer,
            "time": visit.times()[-1],
            "quantity": visit.order.quantity,
            "value_minor": visit.order.value_minor,
        }
        for visit in played
        if visit.order
    ]
    return {
        "events": dict(sorted(progress.events.items())),
        "requests": progress.done + 1,
        "visits": len(played),
        "seconds": round(time.monotonic() - progress.started, 3),
        "orders": orders,
    }


def first_cause(error: BaseException) -> BaseException:
    """Return the first error inside nested groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def main() -> int:
    """Run; return 0, or 1 when the shop failed, with the reason on stderr."""
    options = arguments()
    result = None
    try:
        result = asyncio.run(run(options))
    except* (TrafficError, HttpError, OSError, ValueError) as group:
        print(f"traffic: {first_cause(group)}", file=sys.stderr)
        print("Look at the shop's log, then start afresh with an empty table.", file=sys.stderr)
    if result is None:
        return 1
    options.ledger.write_text(json.dumps(result, indent=1))
    print(json.dumps({name: value for name, value in result.items() if name != "orders"}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
