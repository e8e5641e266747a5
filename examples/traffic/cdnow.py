"""Reads CDNOW_sample.txt: one purchase a line, as described in ``examples/data/README.md``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Purchase:
    """One real purchase. ``day`` is midnight UTC in Unix seconds; ``value_minor`` is in US cents."""

    order_id: str
    customer: str
    day: int
    quantity: int
    value_minor: int


def read_purchases(lines: Iterable[str]) -> list[Purchase]:
    """Return every purchase in file order; order ids follow the line numbers.

    Raises:
        ValueError: a line is not ``customer sample_id YYYYMMDD quantity dollars``; it is named.
    """
    return [_parse(number, line) for number, line in enumerate(lines, 1) if line.strip()]


def _parse(number: int, line: str) -> Purchase:
    try:
        customer, _sample_id, date, pieces, amount = line.split()
        day = datetime.strptime(date, "%Y%m%d").replace(tzinfo=UTC)
        dollars, _, cents = amount.partition(".")
        value_minor = int(dollars) * 100 + int(cents.ljust(2, "0")[:2])
        quantity = int(pieces)
    except ValueError as error:
        raise ValueError(f"line {number} is not a purchase: {error}") from error
    return Purchase(f"cd-{number:05}", f"c{customer}", int(day.timestamp()), quantity, value_minor)
