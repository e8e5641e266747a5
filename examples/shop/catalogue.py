"""What the shop sells: compact discs. Prices are in minor units (cents)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Product:
    """One disc on the shelf."""

    slug: str
    title: str
    genre: str
    price_minor: int


def _shelf(genre: str, price_minor: int, *titles: str) -> tuple[Product, ...]:
    return tuple(Product(title.lower().replace(" ", "-"), title, genre, price_minor) for title in titles)


PRODUCTS = {
    product.slug: product
    for product in (
        *_shelf("rock", 1499, "Granite Hearts", "Motorway Songs", "Low Ceiling", "Paper Lanterns"),
        *_shelf("jazz", 1699, "Blue Ledger", "Half Past Monk", "Seven Brushes", "Quiet Brass"),
        *_shelf("classical", 1799, "Winter Quartets", "Nine Preludes", "Organ at Dusk"),
        *_shelf("electronic", 1399, "Sine Weather", "Night Bus Loops", "Copper Modem"),
        *_shelf("folk", 1299, "Barley Road", "Ferry Tunes", "The Long Gate"),
        *_shelf("hip-hop", 1399, "Corner Almanac", "Eighth Floor", "Borrowed Drums"),
    )
}
"""Every product by its slug, in shelf order."""
