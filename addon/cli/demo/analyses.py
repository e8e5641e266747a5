"""The analyses of the demo, run by the add-on on what landed: paths, products, customers.

Channels follow the shop's own tags; the amounts, days and customers are the real ones.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from addon.cli.analyses import run as run_analysis
from addon.cli.demo.landed import DATABASE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from addon.cli.client import Client

TOUCHES = """
SELECT user_id, time, seq,
  CASE
    WHEN utm_medium = 'email' THEN 'email'
    WHEN utm_medium = 'affiliate' THEN 'affiliates'
    WHEN utm_medium = 'display' THEN 'display'
    WHEN utm_medium = 'paid_social' THEN 'paid_social'
    WHEN utm_medium = 'cpc' THEN 'paid_search'
    WHEN referrer LIKE '%google.%' THEN 'organic_search'
    WHEN referrer LIKE '%facebook.%' THEN 'organic_social'
    WHEN referrer IS NOT NULL THEN 'referral'
    ELSE 'direct'
  END AS channel
FROM events WHERE event = 'landing'
"""
CONVERSIONS = (
    "SELECT order_id AS conversion_id, user_id, time, value_minor FROM events WHERE event = 'purchase'"
)
ITEMS = "SELECT title AS item, time, quantity AS value FROM events WHERE event = 'purchase'"
TRANSACTIONS = (
    "SELECT user_id AS customer_id, time, value_minor AS amount_minor FROM events WHERE event = 'purchase'"
)

STEPS = (
    "SELECT user_id || ' ' || CAST(time - time % 86400 AS VARCHAR) AS user_id, time, seq, event FROM events"
)
"""A customer's day is one visit: it is visits that end with or without a purchase."""
PURCHASES = "SELECT user_id, time, seq, event FROM events WHERE event = 'purchase'"
_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class Planned:
    """One analysis to run: its name in `jobs`, its input tables as SQL, its parameters."""

    name: str
    inputs: Mapping[str, str]
    params: Mapping[str, Any] = field(default_factory=dict)


PATHS = Planned("paths", {"touches": TOUCHES, "conversions": CONVERSIONS})
ATTRIBUTION = Planned("attribution", {"touches": TOUCHES, "conversions": CONVERSIONS})
FUNNEL = Planned(
    "funnel",
    {"events": STEPS},
    {"steps": ["landing", "product_view", "add_to_cart", "purchase"], "window": 86_400},
)
RANKING = Planned("ranking", {"items": ITEMS}, {"period": "month", "top": 5})
SUMMARY = Planned("customer_summary", {"transactions": TRANSACTIONS})
RFM = Planned("rfm", {"transactions": TRANSACTIONS})
RETENTION = Planned("retention", {"events": PURCHASES}, {"period": "month"})
ALL = (PATHS, ATTRIBUTION, FUNNEL, RANKING, SUMMARY, RFM, RETENTION)


def run_analyses(client: Client, runs: Path, show: Callable[[str], None]) -> list[Path]:
    """Run them, two at a time; return the run folders, each with Parquet files and a manifest."""

    def run(planned: Planned) -> Path:
        show(planned.name)
        result = run_analysis(client, DATABASE, planned.name, planned.inputs, planned.params)
        return result.write(runs / planned.name)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(run, ALL))
