"""Runs the traffic driver and reads its ledger."""

from __future__ import annotations

import json
import sys
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from addon.cli.demo.processes import follow
from addon.cli.failures import Failure

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Order:
    """A purchase as it was sent. ``time`` in Unix seconds, ``value_minor`` in cents."""

    order_id: str
    user_id: str
    time: int
    quantity: int
    value_minor: int


@dataclass(frozen=True, slots=True)
class Ledger:
    """What the driver sent."""

    events: dict[str, int]
    requests: int
    visits: int
    seconds: float
    orders: list[Order]

    @property
    def total(self) -> int:
        """How many events the shop must have printed."""
        return sum(self.events.values())


def read_ledger(path: Path) -> Ledger:
    """Read the ledger that the driver wrote."""
    content = json.loads(path.read_text())
    return Ledger(**{**content, "orders": [Order(**order) for order in content["orders"]]})


def drive(driver: Path, router_url: str, host: str, ledger: Path, show: Callable[[str], None]) -> Ledger:
    """Run the driver to its end.

    Raises:
        Failure: the shop did not answer every request with success.
    """
    argv = [sys.executable, str(driver), "--url", router_url, "--host", host, "--ledger", str(ledger)]
    said: deque[str] = deque(maxlen=10)

    def take(line: str) -> None:
        said.append(line)
        show(line.strip().removeprefix("traffic: "))

    if follow(argv, take) != 0:
        raise Failure(
            "The traffic stopped", "\n".join(said), f"Read the shop's log: heroku logs --app {host}"
        )
    return read_ledger(ledger)
