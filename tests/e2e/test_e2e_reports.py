"""Reports on the running service: the command line, a schedule, a kill in the middle, and who may do what."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.live_addon import ROOT, LiveAddon, gzipped
from tests.smtp_server import SmtpProcess, smtp_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

DAY = 86_400
MONDAY = 1_794_787_200  # 2026-11-16
DEFINITION = """
name = "daily"
title = "The shop, day by day"
currency = "EUR"
period = { unit = "day" }

[[analyses]]
analysis = "ranking"
key = "products"
title = "Best sellers"
database = "shop"
inputs = { items = "SELECT product AS item, time, amount AS value FROM orders" }
params = { from = "${from}", to = "${to}", top = 5 }

[[analyses]]
analysis = "rfm"
database = "shop"
tables = { transactions = { table = "orders", columns = { customer_id = "buyer", amount_minor = "amount" } } }

[[deliveries]]
type = "mail"
to = ["ann@example.com"]

[[deliveries]]
type = "table"
database = "marketing"
table = "best_sellers"

[[deliveries]]
type = "file"
prefix = "reports"

[[deliveries]]
type = "webhook"
url = "http://127.0.0.1:8080/hook"
secret = "sw0rdfish-sw0rdfish"
"""


class Shop:
    """A service with orders of two days, a mail server, and the command line."""

    def __init__(self, home: Path, smtp: SmtpProcess) -> None:
        self.home = home
        self.smtp = smtp
        self.addon = LiveAddon(
            home / "home",
            SLUICE_ADDON_SMTP_HOST="127.0.0.1",
            SLUICE_ADDON_SMTP_PORT=str(smtp.port),
            SLUICE_ADDON_SMTP_SECURITY="none",
            SLUICE_ADDON_SMTP_FROM="reports@sluice.example",
        ).start()
        self.addon.make_table("shop", "orders")
        rng = random.Random(3)  # noqa: S311  (a repeatable sample)
        rows = [
            {
                "time": MONDAY + number * 600,
                "buyer": f"c{rng.randrange(40)}",
                "product": rng.choice("abcde"),
                "amount": rng.randrange(500, 5_000),
            }
            for number in range(2 * 144 + 1)
        ]
        with self.addon.http() as client:
            put = client.put("/v3/table/import/shop/orders/msgpack.gz", content=gzipped(rows))
            put.raise_for_status()
        self.file = home / "daily.toml"
        self.file.write_text(DEFINITION)

    def sluice(self, *words: str, code: int = 0) -> str:
        """Run a command; return what it prints."""
        environment = {
            "PATH": os.environ["PATH"],
            "TD_API_SERVER": self.addon.url,
            "TD_API_KEY": self.addon.keys["td_api_key"],
        }
        done = subprocess.run(
            [sys.executable, "-m", "addon.cli", *words],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr

    def get(self, path: str, **params: Any) -> Any:
        with self.addon.http() as client:
            answer = client.get(path, params=params, timeout=90)
            answer.raise_for_status()
            return answer.json()

    def finished(self, job: str) -> dict[str, Any]:
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            shown: dict[str, Any] = self.get(f"/api/reports/daily/jobs/{job}", wait=30)
            if shown["status"] in {"success", "error", "killed"}:
                return shown
        raise AssertionError(f"job {job} is still {shown['status']}")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    home = tmp_path_factory.mktemp("reports")
    with smtp_server(home / "mails") as smtp:
        found = Shop(home, smtp)
        found.sluice("report", "apply", str(found.file))
        yield found
        found.addon.stop()


def test_a_report_is_run_shown_and_opened_by_the_command_line(shop: Shop) -> None:
    slot = str(MONDAY + DAY)
    run = json.loads(shop.sluice("report", "run", "daily", "--slot", slot, "--json"))
    assert (run["status"], run["complete"], run["window"]["from"]) == ("success", True, MONDAY)
    states = {one["name"]: one["status"] for one in run["deliveries"]}
    assert states == {"mail": "delivered", "table": "delivered", "file": "delivered", "webhook": "failed"}
    refused = next(one for one in run["deliveries"] if one["name"] == "webhook")
    assert "127.0.0.1 is not a public address" in refused["error"]
    assert "sw0rdfish" not in json.dumps(run) + shop.sluice("report", "show", "daily", "--json")
    page = shop.home / "page.html"
    assert shop.sluice("report", "open", "daily", str(run["run"]), "--out", str(page)).strip() == str(page)
    assert "Best sellers" in page.read_text()
    listed = shop.sluice("report", "list").splitlines()
    assert listed[1].split("\t")[:4] == ["daily", "The shop, day by day", "day", "products, rfm"]
    exported = shop.home / "home" / "addon" / "exports"
    assert len(list(exported.rglob(f"daily/*-run-{run['run']}/report.json"))) == 1
    with shop.addon.http() as client:
        base = f"/api/reports/daily/runs/{run['run']}"
        assert client.get(f"{base}/charts/products-1.png").content.startswith(b"\x89PNG")
        assert client.get(f"{base}/tables/products.ranking.parquet").content.startswith(b"PAR1")
        assert client.get(f"{base}/tables/products.manifest.json").json()["analysis"] == "ranking"
        policy = client.get(f"{base}/report.html").headers["content-security-policy"]
        assert "default-src 'none'" in policy
        for wrong in ("charts/..%2Freport.html", "charts/x.png", "tables/..%2F..%2Fx", "tables/no.parquet"):
            assert client.get(f"{base}/{wrong}").status_code == 404, wrong


def test_what_is_wrong_is_said_with_the_exit_code_that_scripts_know(shop: Shop) -> None:
    wrong = shop.home / "wrong.toml"
    wrong.write_text(DEFINITION.replace("top = 5", 'top = "five"'))
    told = shop.sluice("report", "apply", str(wrong), code=1)
    assert "analyses[0]: parameter top: 'five' is not allowed; give an integer of at least 1" in told
    wrong.write_text(
        DEFINITION.replace('columns = { customer_id = "buyer"', 'columns = { customer_id = "nobody"')
    )
    assert "has no column 'nobody'" in shop.sluice("report", "apply", str(wrong), code=1)
    wrong.write_text("name = ")
    assert "cannot be read" in shop.sluice("report", "apply", str(wrong), code=2)
    shop.sluice("report", "show", "nothing", code=3)
    shop.sluice("report", "run", "nothing", code=3)


def test_a_schedule_runs_a_report_for_its_slot(shop: Shop) -> None:
    shop.sluice("schedule", "create", "morning", "--report", "daily", "--cron", "0 6 * * *")
    slot = MONDAY + 2 * DAY + 6 * 3_600
    issued = json.loads(shop.sluice("schedule", "run", "morning", "--from", str(slot), "--json"))
    shown = shop.finished(str(issued[0]["job_id"]))
    assert shown["status"] == "success", shown["messages"]
    run = shown["run"]
    assert (run["slot"], run["window"]["from"]) == (slot, MONDAY + DAY)
    assert run["compared_with"] is not None
    shown_job = shop.get(f"/v3/job/show/{issued[0]['job_id']}")
    assert shown_job["type"] == "report"


def test_a_run_survives_its_worker_and_is_one_run(shop: Shop) -> None:
    with shop.addon.http() as client:
        job = client.post("/api/reports/daily/runs", params={"slot": MONDAY + DAY + 5}).json()["job_id"]
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if shop.get(f"/api/reports/daily/jobs/{job}")["run"] is not None:
            break
        time.sleep(0.02)  # until it has begun; nothing tells
    shop.addon.kill()
    shop.addon.start()
    shown = shop.finished(job)
    assert shown["status"] == "success", shown["messages"]
    run = shown["run"]
    runs = [one for one in shop.get("/api/reports/daily/runs")["runs"] if one["job_id"] == job]
    assert [one["run"] for one in runs] == [run["run"]]
    mails = [
        mail
        for mail in shop.smtp.mails()
        if mail.message["x-sluice-delivery"] == f"report-run-{run['run']}-mail"
    ]
    assert len(mails) == 1
    sql = f"select count(*), count(distinct item) from best_sellers where report_run = {run['run']}"  # noqa: S608
    counted = shop.addon.query(sql, "marketing")
    assert counted[0][0] == counted[0][1] > 0
    shop.sluice("report", "deliver", "daily", str(run["run"]))


def test_drawing_leaves_the_services_memory_as_it_was(shop: Shop) -> None:
    assert shop.addon.process is not None
    status = f"/proc/{shop.addon.process.pid}/status"

    def resident() -> int:
        with open(status) as file:  # noqa: PTH123
            return int(next(line for line in file if line.startswith("VmRSS")).split()[1]) << 10

    json.loads(shop.sluice("report", "run", "daily", "--slot", str(MONDAY + DAY), "--json"))
    before = resident()
    for _ in range(2):
        json.loads(shop.sluice("report", "run", "daily", "--slot", str(MONDAY + DAY), "--json"))
    assert resident() - before < 40 << 20


def test_a_deleted_report_takes_its_runs_along(shop: Shop) -> None:
    shop.sluice("report", "delete", "daily")
    assert not list((shop.home / "home" / "addon" / "reports").rglob("report.html"))
    shop.sluice("report", "open", "daily", code=3)
