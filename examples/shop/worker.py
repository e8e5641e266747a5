"""The worker process: writes the product feed that price comparison sites fetch, checks it, removes old ones.

It logs plain lines, logfmt with measurements, and one JSON line a round, as apps in the wild do.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from catalogue import PRODUCTS
from events import logfmt, write_line

if TYPE_CHECKING:
    from types import FrameType

KEEP = 3
SECONDS = float(os.environ.get("FEED_SECONDS", "5"))


def write_feed(folder: Path, number: int) -> Path:
    """Write feed ``number`` whole or not at all; return its file."""
    rows = [
        {
            "id": disc.slug,
            "title": disc.title,
            "category": disc.genre,
            "price": disc.price_minor / 100,
        }
        for disc in PRODUCTS.values()
    ]
    feed, part = folder / f"feed-{number:06}.json", folder / "feed.part"
    part.write_text(json.dumps(rows))
    part.replace(feed)
    return feed


def check_feed(feed: Path) -> list[str]:
    """Return what is wrong with a feed: doubled ids, prices that are not positive."""
    rows = json.loads(feed.read_text())
    doubled = len(rows) - len({row["id"] for row in rows})
    wrong = [f"{row['id']}: price {row['price']}" for row in rows if row["price"] <= 0]
    return wrong + ([f"{doubled} doubled ids"] if doubled else [])


def remove_old(folder: Path, keep: int = KEEP) -> int:
    """Remove all but the newest ``keep`` feeds; return how many went."""
    old = sorted(folder.glob("feed-*.json"))[:-keep]
    for feed in old:
        feed.unlink()
    return len(old)


def one_round(folder: Path, number: int) -> None:
    """Write, check and clean once, and log it."""
    started = time.perf_counter()
    feed = write_feed(folder, number)
    for problem in check_feed(feed):
        write_line(f"feed {feed.name}: {problem}")
    removed = remove_old(folder)
    took_ms = (time.perf_counter() - started) * 1000
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    measures = {"measure#feed.write": f"{took_ms:.1f}ms", "sample#memory_rss": f"{memory_mb:.1f}MB"}
    write_line(logfmt(source="feed", **{"count#feed.products": len(PRODUCTS)}, **measures))
    write_line(json.dumps({"level": "info", "msg": "feed written", "feed": feed.name, "removed": removed}))


def main() -> None:
    """Work until SIGTERM."""
    stop = threading.Event()

    def on_term(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, on_term)
    write_line("worker started")
    with tempfile.TemporaryDirectory(prefix="feeds-") as folder:
        number = 0
        while not stop.wait(SECONDS if number else 0):
            number += 1
            one_round(Path(folder), number)
    write_line("worker stopped")


if __name__ == "__main__":
    main()
