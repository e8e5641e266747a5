"""The notebooks on a running add-on: their figures against a plain count over the same events.

And the pages that they make, in a real browser that may load nothing.
"""

from __future__ import annotations

import importlib.util
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
