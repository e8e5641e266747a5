"""The sections on the service: what apps answered and how fast, and what the account used."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from jobs.report import charts
from jobs.report.model import Cell, Chart, Section, grid
from jobs.report.wording import count, date, duration, percent, shorten, size, written

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from jobs.report.model import Grid
    from jobs.report.runs import Row, RunFolder

_ALL = "(all)"
_APPS, _PATHS, _TABLES, _MILLI = 6, 12, 7, 1_000
#: What the codes of the platform mean, as far as a reader of a report needs it.
_CODES = {
    "H10": "app crashed", "H11": "backlog too deep", "H12": "request timeout", "H13": "connection closed",
    "H14": "no web dynos", "H18": "request interrupted", "H27": "client went away", "R10": "boot timeout",
    "R12": "exit timeout", "R14": "memory quota exceeded", "R15": "memory quota vastly exceeded",
    "L10": "drain buffer overflow", "L11": "tail buffer overflow",
}  # fmt: skip


def operations(run: RunFolder, rows: list[Row]) -> Section:
    """Requests, errors and latencies of the apps over time, the paths with most errors, and the codes."""
    totals = [row for row in rows if row["path"] == _ALL]
    requests, errors = _sum(totals, "requests"), _sum(totals, "errors")
    finding = f"{count(requests)} requests, {percent(errors / requests if requests else None)} of them errors"
    by_app = _by(totals, "app")
    apps = sorted(by_app, key=lambda app: (-_sum(by_app[app], "requests"), app))[:_APPS]
    tables = [("Apps", _apps(by_app, apps))]
    paths = [row for row in rows if row["path"] != _ALL]
    if paths:
        tables.append(("Paths with most errors, then with most requests", _paths(paths)))
    codes = run.rows("operations_codes") or []
    if codes:
        tables.append(("Codes of router, dynos and log router", _codes(codes)))
    bucket = duration(totals[0]["bucket_s"]) if totals else ""
    explanation = (
        f"Counted in steps of {bucket} from the apps' own logs. p50 and p95: half, and 95 of 100 requests,"
        " were answered at least this fast."
    )
    charted = tuple(_over_time(by_app, apps, bucket)) if totals else ()
    return Section("Operations", finding, explanation, run, charted, tuple(tables))


def _sum(rows: Iterable[Row], column: str) -> float:
    return sum(row[column] or 0 for row in rows)


def _by(rows: Iterable[Row], key: str) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(str(row[key]), []).append(row)
    return found


def _over_time(by_app: dict[str, list[Row]], apps: Sequence[str], bucket: str) -> Iterable[Chart]:
    for column, axis, form, told in (
        ("error_rate", "errors of the requests", ".1%", "percent"),
        ("service_p95_ms", "p95 of the answers, ms", "~s", "ms"),
    ):
        shown = [(app, row) for app in apps for row in by_app[app] if row[column] is not None]
        if not shown:
            continue
        worst_app, worst = max(shown, key=lambda pair: (pair[1][column], -pair[1]["bucket_start"]))
        when = _time(worst["bucket_start"])
        title = f"The worst {bucket}: {written(worst[column], told)} of {worst_app}, {when}"
        data = [
            {"at": row["bucket_start"] * _MILLI, "series": app, "value": row[column]} for app, row in shown
        ]
        listed = sorted(shown, key=lambda pair: (-pair[1][column], pair[1]["bucket_start"], pair[0]))
        yield Chart(
            title,
            f"Lines over time of {axis}, one for each of {len(apps)} apps. {title}.",
            charts.lines(data, list(apps), axis, form=form),
            grid(
                ("Time, UTC", "App", "Requests", axis.capitalize()),
                [
                    (_time(row["bucket_start"]), app, count(row["requests"]), written(row[column], told))
                    for app, row in listed
                ],
                numeric=(2, 3),
            ),
        )


def _apps(by_app: dict[str, list[Row]], apps: Sequence[str]) -> Grid:
    rows = []
    for app in apps:
        mine = by_app[app]
        requests = _sum(mine, "requests")
        rate = _sum(mine, "errors") / requests if requests else None
        slow = max((row["service_p95_ms"] or 0.0 for row in mine), default=0.0)
        rows.append(
            (
                app,
                count(requests),
                Cell(percent(rate), bar=rate),
                percent(_sum(mine, "client_errors") / requests if requests else None),
                written(slow, "ms"),
                size(_sum(mine, "bytes")),
            )
        )
    headings = ("App", "Requests", "Errors", "Client errors", "Slowest p95", "Sent")
    return grid(headings, rows, numeric=(1, 3, 4, 5))


def _paths(rows: Sequence[Row]) -> Grid:
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row["app"], row["path"]), []).append(row)
    order = sorted(found, key=lambda key: (-_sum(found[key], "errors"), -_sum(found[key], "requests"), key))
    listed = []
    for app, path in order[:_PATHS]:
        mine = found[app, path]
        requests, errors = _sum(mine, "requests"), _sum(mine, "errors")
        rate = errors / requests if requests else None
        slow = max((row["service_p95_ms"] or 0.0 for row in mine), default=0.0)
        listed.append(
            (
                app,
                shorten(path, 48),
                count(requests),
                count(errors),
                Cell(percent(rate), bar=rate),
                written(slow, "ms"),
            )
        )
    return grid(("App", "Path", "Requests", "Errors", "Rate", "Slowest p95"), listed, numeric=(2, 3, 5))


def _codes(rows: Sequence[Row]) -> Grid:
    sums: Counter[tuple[str, str, str]] = Counter()
    for row in rows:
        sums[row["code"], row["app"], row["source"]] += row["events"]
    order = sorted(sums, key=lambda key: (-sums[key], key))
    return grid(
        ("Code", "Meaning", "App", "From", "Count"),
        [
            (code, _CODES.get(code, ""), app, source, count(sums[code, app, source]))
            for code, app, source in order
        ],
        numeric=(4,),
    )


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")


def usage(run: RunFolder, rows: list[Row]) -> Section:
    """Rows taken in by day and table, and what each table took, holds and was asked."""
    sums: dict[str, Counter[str]] = {}
    cells: Counter[tuple[int, str]] = Counter()
    stored: dict[str, float] = {}
    for row in rows:
        name = f"{row['database']}.{row['table']}"
        one = sums.setdefault(name, Counter())
        for column in ("rows_in", "bytes_in", "queries", "bytes_scanned", "cpu_s"):
            one[column] += row[column] or 0
        cells[row["day"], name] += row["rows_in"]
        if row["bytes_stored"] is not None:
            stored[name] = row["bytes_stored"]
    order = sorted(sums, key=lambda name: (-sums[name]["rows_in"], -sums[name]["bytes_scanned"], name))
    days = sorted({row["day"] for row in rows})
    total = sum(one["rows_in"] for one in sums.values())
    busiest = max(sums, key=lambda name: (sums[name]["bytes_scanned"], name))
    finding = (
        f"{count(total)} rows came in on {count(len(days))} days; {size(sum(stored.values()))} are stored"
    )
    table = grid(
        ("Table", "Rows in", "Bytes in", "Stored", "Queries", "Scanned", "Processor time"),
        [
            (
                name,
                count(one["rows_in"]),
                size(one["bytes_in"]),
                size(stored.get(name)),
                count(one["queries"]),
                size(one["bytes_scanned"]),
                duration(one["cpu_s"]),
            )
            for name, one in ((name, sums[name]) for name in order)
        ],
        numeric=range(1, 7),
    )
    chart = _days_in(days, cells, order)
    explanation = (
        "Queries count for each table that they read; their processor time goes to their tables by the bytes"
        f" read. Most was read of {busiest}."
    )
    return Section("Usage", finding, explanation, run, (chart,), (("Usage by table", table),))


def _days_in(days: Sequence[int], cells: Counter[tuple[int, str]], order: Sequence[str]) -> Chart:
    shown = list(order[:_TABLES])
    rest = len(order) > _TABLES
    by_day: Counter[int] = Counter()
    for (day, _), rows_in in cells.items():
        by_day[day] += rows_in
    best = max(days, key=lambda day: (by_day[day], -day))
    title = f"Most rows came in on {date(best)}: {count(by_day[best])}"

    def value(day: int, name: str) -> float:
        return by_day[day] - sum(cells[day, one] for one in shown) if name == "other" else cells[day, name]

    names = [*shown, "other"] if rest else shown
    data = [
        {"label": date(day)[5:], "series": name, "value": value(day, name), "order": place}
        for day in days[-31:]
        for place, name in enumerate(names)
    ]
    return Chart(
        title,
        f"Stacked bars of the rows taken in on each day, by table. {title}.",
        charts.stacks(data, names, "day", "rows in"),
        grid(
            ("Day", "Rows in", *names),
            [
                (date(day), count(by_day[day]), *(count(value(day, name)) for name in names))
                for day in reversed(days)
            ],
            numeric=range(1, len(names) + 2),
        ),
    )
