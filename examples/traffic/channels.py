"""Where visitors come from: utm tags, or a referrer, or neither."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

if TYPE_CHECKING:
    import random


@dataclass(frozen=True, slots=True)
class Origin:
    """How one landing looks on the wire."""

    utm_source: str = ""
    utm_medium: str = ""
    utm_campaign: str = ""
    referrer: str = ""

    def path(self) -> str:
        """Return the landing page's path with the tags that are set."""
        tags = {
            "utm_source": self.utm_source,
            "utm_medium": self.utm_medium,
            "utm_campaign": self.utm_campaign,
        }
        query = urlencode({name: value for name, value in tags.items() if value})
        return f"/?{query}" if query else "/"


DIRECT = Origin()
ORGANIC = Origin(referrer="https://www.google.com/search")
BLOG = Origin(referrer="https://vinyl-notes.example/reviews/42")
FRIENDS = Origin(referrer="https://www.facebook.com/")
SEARCH_AD = Origin("google", "cpc", "cds-brand")
SOCIAL_AD = Origin("facebook", "paid_social", "new-releases")
BANNER = Origin("musicnet", "display", "spring")
AFFILIATE = Origin("discguide", "affiliate", "partners")
NEWSLETTER = Origin("newsletter", "email", "weekly")

ACQUISITION = (
    (SEARCH_AD, 24),
    (ORGANIC, 20),
    (DIRECT, 14),
    (SOCIAL_AD, 11),
    (BLOG, 9),
    (AFFILIATE, 9),
    (BANNER, 8),
    (FRIENDS, 5),
)
"""Where strangers come from, with weights."""
RETURN = ((NEWSLETTER, 38), (DIRECT, 30), (ORGANIC, 14), (SEARCH_AD, 12), (AFFILIATE, 6))
"""Where customers come back from, with weights."""


def draw(rng: random.Random, weighted: tuple[tuple[Origin, int], ...]) -> Origin:
    """Draw one origin by its weight."""
    origins, weights = zip(*weighted, strict=True)
    return rng.choices(origins, weights)[0]
