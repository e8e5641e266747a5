"""Turns purchases into visits: what each customer does, when, and what the shop should print for it.

The purchases are real (customer, day, pieces, amount). What CDNOW did not record is drawn from a seeded
random number generator: the time of day, where the visitor came from, which discs he looked at, and visits
that ended without a purchase.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from channels import ACQUISITION, RETURN, Origin, draw

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cdnow import Purchase

_DAY = 86_400
_OPENING, _CLOSING = 8 * 3600, 22 * 3600
_LEAD_IN = 0.10
_SECOND_VIEW = 0.30
_TASTE_SPREAD = 0.7


@dataclass(frozen=True, slots=True)
class Visit:
    """One session of a visitor: a landing, product views and, if there is an order, cart and checkout."""

    customer: str
    started_at: int
    origin: Origin
    views: tuple[str, ...]
    order: Purchase | None = None

    def events(self) -> list[str]:
        """Return the names of the events the shop prints for this visit, in order."""
        bought = ["add_to_cart", "purchase"] if self.order else []
        return ["landing", *["product_view"] * len(self.views), *bought]

    def times(self) -> list[int]:
        """Return the Unix second of each event; the purchase's is the last."""
        return [self.started_at + 45 * step for step in range(len(self.events()))]


class Taste:
    """What sells: a few discs sell most, and which ones changes from month to month."""

    def __init__(self, products: Sequence[str], rng: random.Random) -> None:
        """Know the ``products`` by their slugs."""
        self._products, self._rng = products, rng
        self._months: dict[int, list[float]] = {}

    def pick(self, time: int) -> str:
        """Draw a product as popular as it is in the 30 days around ``time``."""
        month = time // (30 * _DAY)
        if month not in self._months:
            weights = (
                self._rng.lognormvariate(0, _TASTE_SPREAD) / (place + 2)
                for place in range(len(self._products))
            )
            self._months[month] = list(accumulate(weights))
        return self._rng.choices(self._products, cum_weights=self._months[month])[0]


def plan_visits(purchases: Iterable[Purchase], products: Sequence[str], seed: int) -> dict[str, list[Visit]]:
    """Return each customer's visits in order of time. The same arguments give the same visits."""
    rng = random.Random(seed)  # noqa: S311  # a replay must repeat; nothing here is a secret
    taste = Taste(products, rng)
    visits: dict[str, list[Visit]] = defaultdict(list)
    for purchase in sorted(purchases, key=lambda purchase: (purchase.customer, purchase.day)):
        mine = visits[purchase.customer]
        channels = RETURN if mine else ACQUISITION
        if rng.random() < _LEAD_IN:
            mine.append(_browse(purchase, rng, taste))
        mine.append(_buy(purchase, rng, taste, channels))
    for mine in visits.values():
        mine.sort(key=lambda visit: visit.started_at)
    return dict(visits)


def _views(rng: random.Random, taste: Taste, time: int) -> tuple[str, ...]:
    return tuple(taste.pick(time) for _ in range(2 if rng.random() < _SECOND_VIEW else 1))


def _buy(
    purchase: Purchase, rng: random.Random, taste: Taste, channels: tuple[tuple[Origin, int], ...]
) -> Visit:
    started_at = purchase.day + rng.randrange(_OPENING, _CLOSING)
    views = _views(rng, taste, purchase.day)
    return Visit(purchase.customer, started_at, draw(rng, channels), views, purchase)


def _browse(purchase: Purchase, rng: random.Random, taste: Taste) -> Visit:
    started_at = purchase.day - rng.randrange(1, 15) * _DAY + rng.randrange(_OPENING, _CLOSING)
    return Visit(purchase.customer, started_at, draw(rng, ACQUISITION), _views(rng, taste, started_at))


def count_events(visits: Iterable[Visit]) -> Counter[str]:
    """Count the events that these visits make the shop print, by name."""
    return Counter(event for visit in visits for event in visit.events())
