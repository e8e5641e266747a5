"""The notebooks on a running add-on: their figures against a plain count over the same events.

And the pages that they make, in a real browser that may load nothing.
"""

from __future__ import annotations

import importlib.util
import itertools
import math
import os
import subprocess
import sys
import threading
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.clients.td_addon import Running, start, stop
from tests.ports import free_base

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

pytestmark = [
    pytest.mark.xdist_group("notebooks"),
    pytest.mark.filterwarnings("ignore:returning `tdclient.cursor.Cursor`"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # pytd leaves its sockets to the collector
]
FOLDER = Path(__file__).parents[2] / "notebooks"
DAY = 86_400
STEPS = ["landing", "product_view", "add_to_cart", "purchase"]
Event = dict[str, Any]


@dataclass
class Rendered:
    """A page, and the variables of the notebook that made it."""

    page: str
    values: Mapping[str, Any]

    def records(self, name: str) -> list[dict[str, Any]]:
        """A data frame of the notebook as rows, what is not there as None."""
        rows = self.values[name].to_dict(orient="records")
        return [
            {
                key: None if isinstance(value, float) and math.isnan(value) else value
                for key, value in row.items()
            }
            for row in rows
        ]


def load(name: str) -> Any:
    """Import a file of the notebooks' folder, which is no package."""
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def addon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = start(tmp_path_factory.mktemp("home"), free_base())
    yield running
    stop(running)


@pytest.fixture(scope="module")
def notebook(addon: Running) -> Iterator[Callable[[str], Rendered]]:
    """Runs a notebook once, on an account that was empty before the first."""
    made: dict[str, Rendered] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TREASURE_DATA_API_SERVER", addon.url)
        patch.setenv("TREASURE_DATA_API_KEY", addon.keys["td_api_key"])
        patch.delenv("SLUICE_NOTEBOOK_DATABASE", raising=False)
        patch.syspath_prepend(str(FOLDER))
        render = load("render")

        def run(name: str) -> Rendered:
            if name not in made:
                made[name] = Rendered(*render.render(name))
            return made[name]

        yield run


@pytest.fixture(scope="module")
def events() -> list[Event]:
    found: list[Event] = load("sluice_api").shop_events()
    return found


def by_user(events: list[Event]) -> dict[str, list[Event]]:
    found: dict[str, list[Event]] = defaultdict(list)
    for event in sorted(events, key=lambda event: (event["time"], event["seq"])):
        found[event["user_id"]].append(event)
    return found


def visits_of(events: list[Event]) -> list[list[Event]]:
    """Sessions: a pause of more than 30 minutes begins another."""
    found: list[list[Event]] = []
    for mine in by_user(events).values():
        for before, event in zip([None, *mine], mine, strict=False):
            if before is None or event["time"] - before["time"] > 1800:
                found.append([])
            found[-1].append(event)
    return found


def level(visit: list[Event]) -> int:
    """How many steps come one after the other, others between them allowed."""
    reached = 0
    for event in visit:
        if reached < len(STEPS) and event["event"] == STEPS[reached]:
            reached += 1
    return reached


def month(time: int) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m")


def test_the_quick_start_counts_what_is_there_in_each_of_its_ways(
    notebook: Callable[[str], Rendered], events: list[Event]
) -> None:
    found = notebook("quick_start")
    assert found.records("tables") == [{"database": "shop", "table": "events", "rows": len(events)}]
    latest = sorted(events, key=lambda event: (-event["time"], -event["seq"]))[:5]
    assert [row["event"] for row in found.records("newest")] == [event["event"] for event in latest]
    kinds = Counter(event["event"] for event in events)
    assert found.records("by_pytd") == [
        {"event": kind, "events": count}
        for kind, count in sorted(kinds.items(), key=lambda pair: (-pair[1], pair[0]))
    ]
    assert found.records("by_td_client") == [{"customers": 2357}]
    taken: dict[str, list[int]] = defaultdict(list)
    for event in events:
        if event["event"] == "purchase":
            taken[month(event["time"])].append(event["value_minor"])
    assert [(row["month"], row["orders"], row["value_minor"]) for row in found.records("months")] == [
        (name, len(values), sum(values)) for name, values in sorted(taken.items())
    ]
    levels = Counter(map(level, visits_of(events)))
    assert [row["entities"] for row in found.records("funnel")] == [
        sum(count for reached, count in levels.items() if reached >= step) for step in range(1, 5)
    ]
    assert found.records("from_the_run") == [
        {"step_name": row["step_name"], "entities": row["entities"]} for row in found.records("funnel")[1:]
    ]
    first, again = found.records("hashes")
    assert first["result_hash"] == again["result_hash"]
    assert found.values["run"].manifest["rows_in"] == {"events": len(events)}


class Watch:
    """Serves pages on loopback, and is the proxy of what is not on loopback: what was asked for is kept."""

    def __init__(self, pages: Mapping[str, str]) -> None:
        self.asked: list[str] = []
        watch = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                watch.asked.append(self.path)
                page = pages.get(self.path)
                self.send_response(404 if page is None else 200)
                self.send_header("content-type", "text/html; charset=utf-8")
                self.end_headers()
                self.wfile.write((page or "").encode())

            def do_CONNECT(self) -> None:
                watch.asked.append(self.path)
                self.send_error(403)

            def log_message(self, *_: object) -> None:
                """Stay quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.address = f"127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def opened(pages: Mapping[str, str], path: str, profile: Path) -> tuple[str, list[str]]:
    """Open a page in Chromium; return what it made of it, and every request that was made."""
    watch = Watch(pages)
    try:
        done = subprocess.run(
            [
                *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
                *("--no-first-run", "--disable-extensions", "--disable-background-networking"),
                *("--disable-component-update", "--disable-sync", "--disable-default-apps"),
                *(f"--user-data-dir={profile}", f"--proxy-server=http://{watch.address}"),
                *("--virtual-time-budget=10000", "--dump-dom"),
                f"http://{watch.address}{path}",
            ],
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
    finally:
        watch.close()
    return done.stdout, watch.asked


def is_browsers_own(address: str) -> bool:
    """Whether Chromium itself asks, whatever page is open."""
    return any(host in address for host in (".google.com", ".gstatic.com", ".googleapis.com", "gvt1.com"))


def requests_of_page(asked: list[str]) -> list[str]:
    return [address for address in asked if not is_browsers_own(address)]


def test_a_page_opens_in_a_browser_and_asks_for_nothing_else(
    notebook: Callable[[str], Rendered], tmp_path: Path
) -> None:
    page = notebook("quick_start").page
    shown, asked = opened({"/quick_start.html": page}, "/quick_start.html", tmp_path / "profile")
    assert requests_of_page(asked) == ["/quick_start.html"]
    assert shown.count("<svg") == page.count("<svg") == 2
    assert "<script" not in shown
    assert '<td class="n">9898</td>' in shown
    worse = page.replace("<main>", '<main><img src="http://outside.example/pixel.png">').replace(
        "img-src data:", "img-src *"
    )
    _, asked = opened({"/page.html": worse}, "/page.html", tmp_path / "other")
    assert "http://outside.example/pixel.png" in requests_of_page(asked), "the watch sees what a page loads"


def test_without_an_account_it_says_what_to_set() -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("TREASURE_DATA_")}
    done = subprocess.run(
        [sys.executable, str(FOLDER / "render.py"), "ranking"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode != 0
    assert "TREASURE_DATA_API_SERVER" in done.stderr
    assert "sluice up" in done.stderr


def channel(event: Event) -> str:
    """The demo's origins by hand: what the notebook's CASE must say."""
    if event.get("utm_medium"):
        named = {"email": "newsletter", "cpc": "search ads", "paid_social": "social ads"}
        return named.get(event["utm_medium"]) or {"affiliate": "affiliates"}.get(
            event["utm_medium"], "banners"
        )
    referrer = event.get("referrer", "")
    return "search" if "google." in referrer else "other sites" if referrer else "direct"


def journeys(events: list[Event]) -> list[tuple[Event, list[Event]]]:
    """Each purchase with the landings of the 30 days before it."""
    return [
        (event, [e for e in mine if e["event"] == "landing" and 0 <= event["time"] - e["time"] <= 30 * DAY])
        for mine in by_user(events).values()
        for event in mine
        if event["event"] == "purchase"
    ]


def weights(model: str, order: Event, touches: list[Event]) -> list[float]:
    count = len(touches)
    if model in {"first", "last"}:
        return [float(place == (0 if model == "first" else count - 1)) for place in range(count)]
    if model == "linear":
        return [1 / count] * count
    if model == "position":
        if count <= 2:
            return [1 / count] * count
        return [0.4, *[0.2 / (count - 2)] * (count - 2), 0.4]
    decayed = [2 ** (-(order["time"] - touch["time"]) / (7 * DAY)) for touch in touches]
    return [weight / sum(decayed) for weight in decayed]


@pytest.mark.slow
def test_conversion_paths_and_their_credits_are_those_of_a_plain_count(
    notebook: Callable[[str], Rendered], events: list[Event]
) -> None:
    found = notebook("conversion_path")
    orders = journeys(events)
    paths: Counter[str] = Counter()
    for _, touches in orders:
        steps = [channel(touch) for touch in touches]
        kept = [step for before, step in zip([None, *steps], steps, strict=False) if step != before]
        paths[" > ".join(kept[-10:])] += 1
    wanted = sorted(paths.items(), key=lambda pair: (-pair[1], pair[0]))[:10]
    assert [(row["path"], row["entities"]) for row in found.records("top_paths")] == wanted
    credited = {(row["model"], row["channel"]): row for row in found.records("shares")}
    for model in ("first", "last", "linear", "position", "time_decay"):
        sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        for order, touches in orders:
            for touch, weight in zip(touches, weights(model, order, touches), strict=True):
                sums[channel(touch)][0] += weight
                sums[channel(touch)][1] += weight * order["value_minor"]
        for name, (conversions, value) in sums.items():
            assert credited[model, name]["conversions"] == pytest.approx(conversions, rel=1e-9)
            assert credited[model, name]["value_minor"] == pytest.approx(value, rel=1e-9)
    totals = Counter[str]()
    for (model, _), row in credited.items():
        totals[model] += row["conversions"]
    assert totals["markov"] == pytest.approx(len(orders), rel=1e-9)


@pytest.mark.slow
def test_rankings_and_rates_are_those_of_a_plain_count(
    notebook: Callable[[str], Rendered], events: list[Event]
) -> None:
    found = notebook("ranking")
    sold: dict[str, Counter[str]] = defaultdict(Counter)
    for event in events:
        if event["event"] == "purchase":
            sold[month(event["time"])][event["title"]] += event["quantity"]
    ranks = {
        name: {item: 1 + sum(other > pieces for other in items.values()) for item, pieces in items.items()}
        for name, items in sold.items()
    }
    months = sorted(sold)
    shown = [row for row in found.records("ranked") if row["rank"] is not None]
    for name in months:
        mine = {row["item"]: (row["rank"], row["metric"]) for row in shown if row["month"] == name}
        assert mine == {item: (rank, sold[name][item]) for item, rank in ranks[name].items() if rank <= 5}, (
            name
        )
    for row in shown:
        before = ranks.get(months[months.index(row["month"]) - 1], {}) if row["month"] != months[0] else {}
        was = before.get(row["item"])
        assert row["previous_rank"] == was
        assert row["movement"] == (None if was is None else was - row["rank"])
    early = [event for event in events if event["time"] < 853_286_400]
    views = Counter(event["product"] for event in early if event["event"] == "product_view")
    carts = Counter(event["product"] for event in early if event["event"] == "add_to_cart")
    pages = found.records("pages")
    assert {row["item"]: (row["views"], row["carts"]) for row in pages} == {
        item: (count, carts[item]) for item, count in views.items()
    }
    z = 1.959963984540054
    for row in pages:
        n, p = row["views"], row["carts"] / row["views"]
        low = (p + z * z / (2 * n) - z * math.sqrt((p * (1 - p) + z * z / (4 * n)) / n)) / (1 + z * z / n)
        assert row["at_least"] == pytest.approx(low, rel=1e-8)


@pytest.mark.slow
def test_customers_are_scored_followed_and_predicted_as_published(
    notebook: Callable[[str], Rendered], events: list[Event]
) -> None:
    found = notebook("customer_report")
    bought: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        if event["event"] == "purchase":
            bought[event["user_id"]].append(event)
    last = max(event["time"] for mine in bought.values() for event in mine) // DAY
    recency = {who: last - max(e["time"] for e in mine) // DAY for who, mine in bought.items()}
    days = {who: len({e["time"] // DAY for e in mine}) for who, mine in bought.items()}
    spent = {who: sum(e["value_minor"] for e in mine) for who, mine in bought.items()}

    def fifths(key: Callable[[str], Any]) -> dict[str, int]:
        """NTILE(5): the first groups get what does not divide."""
        ordered = sorted(bought, key=lambda who: (key(who), who))
        size, more = divmod(len(ordered), 5)
        edges = [size * tile + min(tile, more) for tile in range(6)]
        return {who: tile + 1 for tile in range(5) for who in ordered[edges[tile] : edges[tile + 1]]}

    r, f, m = fifths(recency.__getitem__), fifths(days.__getitem__), fifths(spent.__getitem__)
    scores = {row["customer_id"]: row for row in found.records("scores")}
    assert {who: (row["r"], row["f"], row["m"]) for who, row in scores.items()} == {
        who: (6 - r[who], f[who], m[who]) for who in bought
    }
    assert sum(row["total_minor"] for row in found.records("segments")) == sum(spent.values())

    active: dict[str, set[int]] = {
        who: {(d := datetime.fromtimestamp(e["time"], UTC)).year * 12 + d.month for e in mine}
        for who, mine in bought.items()
    }
    cells = Counter((min(months), month - min(months)) for months in active.values() for month in months)
    for row in found.records("cells"):
        year, number = map(int, row["cohort"].split("-"))
        assert row["users"] == cells[year * 12 + number, row["age"]]
    published = {"r": 0.243, "alpha": 4.414, "a": 0.793, "b": 2.426}
    fitted = {
        row["parameter"]: row["value"] for row in found.records("parameters") if row["model"] == "bg_nbd"
    }
    assert fitted == pytest.approx(published, abs=6e-4)
    split = int(datetime(1997, 10, 1, tzinfo=UTC).timestamp()) // DAY
    held = sum(len({e["time"] // DAY for e in mine if e["time"] // DAY >= split}) for mine in bought.values())
    assert sum(row["frequency_holdout"] for row in found.records("both")) == held


@pytest.mark.slow
def test_sessions_and_steps_are_those_of_a_plain_count(
    notebook: Callable[[str], Rendered], events: list[Event]
) -> None:
    found = notebook("clickstream")
    visits = visits_of(events)
    groups = {
        "newsletter": "email", "search ads": "paid_search", "social ads": "paid_social", "direct": "direct",
        "search": "organic_search", "banners": "display", "affiliates": "affiliates",
    }  # fmt: skip

    def group(visit: list[Event]) -> str:
        if "facebook" in visit[0].get("referrer", ""):
            return "organic_social"
        return groups.get(channel(visit[0]), "referral")

    counted: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for visit in visits:
        values = [event["value_minor"] for event in visit if event["event"] == "purchase"]
        mine = counted[group(visit)]
        mine[0], mine[1], mine[2] = mine[0] + 1, mine[1] + bool(values), mine[2] + sum(values)
    assert {
        row["channel"]: [row["visits"], row["purchases"], row["value_minor"]]
        for row in found.records("channels")
    } == counted
    moves: Counter[tuple[str, str]] = Counter()
    at: list[Counter[str]] = [Counter() for _ in range(7)]
    for visit in visits:
        names = [event["event"] for event in visit]
        walk = ["path_start", *names, "path_end"]
        moves.update(itertools.pairwise(walk))
        for step in range(7):
            at[step][walk[step] if step < len(walk) and step <= len(names) else "path_end"] += 1
    assert {(row["source"], row["target"]): row["count"] for row in found.records("moves")} == moves
    for row in found.records("matrix"):
        assert row["share"] == pytest.approx(at[row["step"]][row["event"]] / len(visits), rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["conversion_path", "ranking", "customer_report", "clickstream"])
def test_each_page_opens_in_a_browser_and_asks_for_nothing_else(
    notebook: Callable[[str], Rendered], tmp_path: Path, name: str
) -> None:
    page = notebook(name).page
    shown, asked = opened({f"/{name}.html": page}, f"/{name}.html", tmp_path / "profile")
    assert requests_of_page(asked) == [f"/{name}.html"]
    assert shown.count("<svg") == page.count("<svg") >= 2
    assert "NaN" not in shown


@pytest.mark.slow
def test_marimo_finds_nothing_wrong_with_the_files() -> None:
    files = [str(FOLDER / f"{name}.py") for name in load("render").NOTEBOOKS]
    done = subprocess.run(
        [sys.executable, "-m", "marimo", "check", "--strict", *files],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in (done.stdout + done.stderr).lower()
