"""The figures of an output: few numbers that can be held against those of an earlier run.

A figure's key stays the same from run to run. Figures with a `group` are members of a list, such as channels
or products: one that only one of two runs has is new or gone. Figures without a group are totals and rates.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from jobs.report.wording import label

if TYPE_CHECKING:
    from jobs.report.runs import Row, RunFolder

#: Members of a list that are kept for comparison, the largest first.
MEMBERS = 50


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of a run.

    Attributes:
        key: what it is, the same in every run of an analysis.
        label: the same in words.
        value: the number; `None` where it does not exist, such as a rate of nothing.
        form: how it is written: `count`, `money` (minor units), `percent` (a fraction), `bytes`, `seconds`
            or `ms`.
        group: the list that it is a member of, in the singular: `channel`; empty for a total or a rate.
    """

    key: str
    label: str
    value: float | None
    form: str = "count"
    group: str = ""

    def to_json(self) -> dict[str, Any]:
        """The figure as a JSON object; what is not finite is null."""
        finite = self.value is not None and math.isfinite(self.value)
        return asdict(self) | {"value": self.value if finite else None}


def figures(run: RunFolder, output: str, rows: Sequence[Row]) -> tuple[Figure, ...]:
    """The figures of an output; none for one that nobody compares."""
    maker = _MAKERS.get(output)
    return () if maker is None or not rows else tuple(maker(run, rows))


def _members(group: str, sizes: Iterable[tuple[str, float | None]], form: str = "count") -> list[Figure]:
    """The largest members of a list; of equal ones those first that come first by name."""
    ordered = sorted(sizes, key=lambda pair: (-(pair[1] or 0.0), pair[0]))
    return [Figure(f"{group}:{name}", label(name), size, form, group) for name, size in ordered[:MEMBERS]]


def _sum(rows: Iterable[Row], column: str) -> float:
    return sum(row[column] or 0 for row in rows)


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _by(rows: Iterable[Row], name: str, column: str) -> Counter[str]:
    totals: Counter[str] = Counter()
    for row in rows:
        totals[str(row[name])] += row[column] or 0
    return totals


def _attribution(_run: RunFolder, rows: Sequence[Row]) -> list[Figure]:
    """Totals of one model (all have the same), and each channel's credit under the last model listed."""
    model = rows[-1]["model"]
    mine = [row for row in rows if row["model"] == model]
    return [
        Figure("conversions", "Conversions", round(_sum(mine, "conversions"), 6)),
        Figure("value", "Value", _sum(mine, "value_minor"), "money"),
        *_members("channel", ((row["channel"], row["conversions"]) for row in mine)),
    ]


def _paths(_run: RunFolder, rows: Sequence[Row]) -> list[Figure]:
    return [
        Figure("paths", "Different paths", sum(row.get("n", 1) for row in rows)),
        Figure("entities", "Walked in all", _sum(rows, "entities")),
        Figure("value", "Value", _sum(rows, "value_minor"), "money"),
        *(
            replace(one, label=" → ".join(label(step) for step in one.label.split(" > ")))
            for one in _members("path", ((r["path"], r["entities"]) for r in rows if "n" not in r))
        ),
    ]


def _funnel(_run: RunFolder, rows: Sequence[Row]) -> list[Figure]:
    shown = [row for row in rows if row["breakdown"] == rows[0]["breakdown"]]
    return [
        Figure("started", "Started", shown[0]["entities"]),
        Figure("finished", "Finished", shown[-1]["entities"]),
        Figure("conversion", "Conversion", shown[-1]["conversion_from_start"], "percent"),
        *(
            Figure(f"step:{row['step_name']}", label(row["step_name"]), row["entities"], "count", "step")
            for row in shown
        ),
    ]


def _ranking(_run: RunFolder, rows: Sequence[Row]) -> list[Figure]:
    latest = max(row["period_start"] for row in rows)
    ranked = [row for row in rows if row["period_start"] == latest and row["rank"] is not None]
    many = len({row["segment"] for row in ranked}) > 1
    names = ((f"{row['segment']}: {row['item']}" if many else row["item"], row["metric"]) for row in ranked)
    items = rows[0].get("ranked", len(ranked))
    return [Figure("items", "Ranked items", items), *_members("item", names)]


def _summary(_run: RunFolder, rows: Sequence[Row]) -> list[Figure]:
    again = [row for row in rows if row["frequency"]]
    customers, back = _sum(rows, "n"), _sum(again, "n")
    return [
        Figure("customers", "Customers", customers),
        Figure("repeat", "Bought again", _ratio(back, customers), "percent"),
        Figure("purchase", "Mean repeat purchase", _ratio(_sum(again, "monetary_minor"), back), "money"),
    ]


def _rfm(_run: RunFolder, rows: Sequence[Row]) -> list[Figure]:
    return [
        Figure("customers", "Customers", _sum(rows, "n")),
        Figure("money", "Money, net", _sum(rows, "monetary_minor"), "money"),
        *_members("segment", _by(rows, "segment", "n").items()),
    ]


def _retention(_run: RunFolder, rows: Sequence[Row]) -> list[Figure]:
    shown = [row for row in rows if row["breakdown"] == rows[0]["breakdown"] and row["mature"]]
    found = []
    for age in sorted({row["age"] for row in shown} - {0})[:3]:
        cells = [row for row in shown if row["age"] == age]
        rate = _ratio(_sum(cells, "users"), _sum(cells, "cohort_size"))
        found.append(Figure(f"age:{age}", f"Back at age {age}", rate, "percent"))
    sizes = {row["cohort_start"]: row["cohort_size"] for row in rows}
    return [Figure("users", "Users in cohorts", sum(sizes.values())), *found]


def _churn(_run: RunFolder, rows: Sequence[Row]) -> list[Figure]:
    last = next((row for row in reversed(rows) if row["mature"]), rows[-1])
    return [
        Figure("active", "Active", last["active"]),
        Figure("new", "New", last["new"]),
        Figure("resurrected", "Came back", last["resurrected"]),
        Figure("churned", "Left", last["churned"]),
        Figure("churn_rate", "Churn rate", last["churn_rate"], "percent"),
    ]


def _clv(_run: RunFolder, rows: Sequence[Row]) -> list[Figure]:
    known = any(row["clv_minor"] is not None for row in rows)
    alive = any(row["p_alive"] is not None for row in rows)
    return [
        Figure("customers", "Customers", _sum(rows, "n")),
        Figure("alive", "Expected to be active", round(_sum(rows, "p_alive")) if alive else None),
        Figure("clv", "Value to come", _sum(rows, "clv_minor") if known else None, "money"),
    ]


def _profile(_run: RunFolder, rows: Sequence[Row]) -> list[Figure]:
    bought = [row for row in rows if row["segment"] is not None]
    return [
        Figure("customers", "Customers", _sum(rows, "n")),
        Figure("buyers", "Who ever bought", _sum(rows, "buyers")),
        Figure("net", "Money, net", _sum(rows, "net_minor"), "money"),
        *_members("segment", _by(bought, "segment", "n").items()),
    ]


def _usage(_run: RunFolder, rows: Sequence[Row]) -> list[Figure]:
    last = max(row["day"] for row in rows)
    tables: Counter[str] = Counter()
    for row in rows:
        tables[f"{row['database']}.{row['table']}"] += row["rows_in"]
    return [
        Figure("rows_in", "Rows taken in", _sum(rows, "rows_in")),
        Figure("bytes_in", "Bytes taken in", _sum(rows, "bytes_in"), "bytes"),
        Figure(
            "bytes_stored", "Stored", _sum((r for r in rows if r["day"] == last), "bytes_stored"), "bytes"
        ),
        Figure("queries", "Reads by queries", _sum(rows, "queries")),
        Figure("cpu_s", "Processor time", _sum(rows, "cpu_s"), "seconds"),
        *_members("table", tables.items()),
    ]


def _operations(run: RunFolder, rows: Sequence[Row]) -> list[Figure]:
    totals = [row for row in rows if row["path"] == "(all)"]
    requests, errors = _sum(totals, "requests"), _sum(totals, "errors")
    slow = [row["service_p95_ms"] for row in totals if row["service_p95_ms"] is not None]
    codes = run.rows("operations_codes") or []
    return [
        Figure("requests", "Requests", requests),
        Figure("errors", "Errors", errors),
        Figure("error_rate", "Error rate", _ratio(errors, requests), "percent"),
        Figure("p95", "Slowest p95", max(slow, default=None), "ms"),
        *_members("code", _by(codes, "code", "events").items()),
    ]


def _sessions(_run: RunFolder, rows: Sequence[Row]) -> list[Figure]:
    count = _sum(rows, "n")
    return [
        Figure("sessions", "Sessions", count),
        Figure("users", "Users", _sum(rows, "users")),
        Figure("converted", "Converted", _ratio(_sum(rows, "converted"), count), "percent"),
        Figure("value", "Value", _sum(rows, "value_minor"), "money"),
        *_members("channel", _by(rows, "channel", "n").items()),
    ]


_MAKERS: dict[str, Callable[[RunFolder, Sequence[Row]], list[Figure]]] = {
    "attribution": _attribution,
    "paths": _paths,
    "funnel": _funnel,
    "ranking": _ranking,
    "customer_summary": _summary,
    "rfm": _rfm,
    "retention": _retention,
    "churn": _churn,
    "clv": _clv,
    "profile": _profile,
    "usage": _usage,
    "operations": _operations,
    "sessions": _sessions,
}
