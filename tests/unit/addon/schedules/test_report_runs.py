"""Reports from rows to mail: the real log, tables, sandboxes and drawing, and a real SMTP server."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from addon.models.jobs import JobRequest, JobState
from addon.models.reports import DeliveryState, RunState
from addon.models.schedules import REPORT
from addon.query.worker import QueryFailed
from platform_core.base.errors import InvalidInput, NotFound
from tests.smtp_server import smtp_server
from tests.unit.addon.schedules.report_rig import DAY, MONDAY, ReportRig, report_rig

if TYPE_CHECKING:
    from pathlib import Path

    from addon.models.jobs import Job

RANKING = {
    "analysis": "ranking",
    "key": "products",
    "title": "Best sellers",
    "database": "shop",
    "inputs": {"items": "SELECT product AS item, time, amount AS value FROM orders"},
    "params": {"from": "${from}", "to": "${to}", "top": 5},
}
RFM = {
    "analysis": "rfm",
    "database": "shop",
    "tables": {
        "transactions": {"table": "orders", "columns": {"customer_id": "buyer", "amount_minor": "amount"}}
    },
    "params": {"as_of": "${to}"},
}
MAIL = {"type": "mail", "to": ["ann@example.com"]}
TABLE = {"type": "table", "database": "marketing", "table": "best_sellers", "analysis": "products"}
BODY: dict[str, Any] = {"title": "Shop", "currency": "EUR", "period": "day", "deliveries": [MAIL, TABLE]}


def orders(day: int, products: str, until: int = DAY - 60) -> list[dict[str, Any]]:
    """Orders of a day from its start to ``until`` seconds; the first product sells best."""
    rng = random.Random(day)  # noqa: S311  (a repeatable sample)
    return [
        {
            "time": MONDAY + day * DAY + until * number // 120,
            "buyer": f"c{rng.randrange(30)}",
            "product": products[min(rng.randrange(len(products)), rng.randrange(len(products)))],
            "amount": rng.randrange(500, 5_000),
        }
        for number in range(121)
    ]


def test_a_report_is_computed_rendered_kept_compared_and_delivered(tmp_path: Path) -> None:
    async def main() -> None:
        with smtp_server(tmp_path / "mails") as smtp:
            async with report_rig(tmp_path / "home", smtp.port) as rig:
                await _first_day(rig)
                await _second_day(rig)
                monday, tuesday = smtp.mails()
        assert monday.message["subject"] == "Shop: Monday, 18 January 2027 (UTC)"
        assert tuesday.message["subject"] == "[not final] Shop: Tuesday, 19 January 2027 (UTC)"
        html = _part(tuesday, "text/html")
        assert "These numbers are not final." in html
        assert "<script" not in html
        assert 'src="cid:products-1"' in html
        assert "New:</b> <bdi>z</bdi>" in html
        assert "Gone:</b> <bdi>b</bdi>" in html
        text = _part(tuesday, "text/plain")
        assert "The newest row of shop.orders is of 2027-01-19 20:00 UTC, 4 h 0 min before" in text
        pictures = [part for part in monday.message.walk() if part.get_content_type() == "image/png"]
        assert len(pictures) == 3
        assert all(part.get_payload(decode=True).startswith(b"\x89PNG\r\n") for part in pictures)

    asyncio.run(main())


def _part(mail: Any, kind: str) -> str:
    found = next(part for part in mail.message.walk() if part.get_content_type() == kind)
    return str(found.get_content())


async def _first_day(rig: ReportRig) -> None:
    """A whole day, with a row of the next one to show that the table goes on."""
    await rig.send([*orders(0, "aabc"), {"time": MONDAY + DAY, "buyer": "c1", "product": "a", "amount": 1}])
    rig.define(**BODY, analyses=[RANKING, RFM])
    job = rig.issue(MONDAY + DAY)
    outcome = await rig.run(job)
    assert outcome.state is JobState.SUCCESS, outcome.stderr
    assert outcome.stderr == ""
    run = rig.rooms.store.run_of_job(rig.account.id, job.id)
    assert run is not None
    assert (run.state, run.window.start, run.window.end) == (RunState.SUCCESS, MONDAY, MONDAY + DAY)
    assert run.facts["incomplete"] == []
    assert [(t["database"], t["table"], t["newest"]) for t in run.facts["tables"]] == [
        ("shop", "orders", MONDAY + DAY)
    ]
    stats = rig.rooms.execution.stats
    assert (stats.runs, stats.incomplete) == ({"on_time": 1}, 0)
    assert stats.attempted == stats.delivered == {"mail": 1, "table": 1}
    made = rig.rooms.outbox.of(run)
    assert [(one.name, one.state, one.attempts) for one in made] == [
        ("mail", DeliveryState.DELIVERED, 1),
        ("table", DeliveryState.DELIVERED, 1),
    ]
    page = rig.rooms.folders.file(run, "report.html").read_text()
    assert "Best sellers" in page
    assert "http://" not in page.replace("http://www.w3.org/", "")
    ranked = pq.read_table(rig.rooms.folders.file(run, "tables", "products.ranking.parquet")).to_pylist()
    assert [row["item"] for row in ranked] == ["a", "b", "c"]
    await _select_from(rig, job)
    stored = await rig.ask(
        "SELECT report, report_run, slot, item, metric FROM marketing.best_sellers ORDER BY 5 DESC"
    )
    assert stored == [["daily", run.id, MONDAY + DAY, row["item"], row["metric"]] for row in ranked]
    assert list((rig.home / "scratch").rglob("*.parquet")) == []


async def _select_from(rig: ReportRig, job: Job) -> None:
    """The outputs are tables, by their whole names and, where one analysis has it, by their own."""
    for name in ("products__ranking", "ranking"):
        found = await rig.ask(f"SELECT item FROM runs.run_{job.id}.{name} ORDER BY rank")  # noqa: S608  (ours)
        assert found == [["a"], ["b"], ["c"]]
    with pytest.raises(NotFound, match="no output 'nothing'") as none:
        await rig.ask(f"SELECT 1 FROM runs.run_{job.id}.nothing")  # noqa: S608  (ours)
    assert "products__ranking" in str(none.value.hint)
    waiting = rig.jobs.issue(JobRequest(rig.account.id, REPORT, "", "daily", max_running=9))
    with pytest.raises(NotFound, match="has not begun"):
        await rig.ask(f"SELECT 1 FROM runs.run_{waiting.id}.ranking")  # noqa: S608  (ours)
    rig.jobs.request_kill(rig.account.id, waiting.id)


async def _second_day(rig: ReportRig) -> None:
    """A day whose rows end four hours early, without ``b`` and with ``z``; the job's worker dies once."""
    await rig.send(orders(1, "aacz", until=20 * 3_600), broken='{"time": ', received=MONDAY + DAY + 100)
    rig.define(**BODY, analyses=[RANKING])
    job = rig.issue(MONDAY + 2 * DAY)
    report = rig.rooms.reports.get(rig.account, "daily")
    lost = rig.rooms.store.begin(job, report.revision, MONDAY + 2 * DAY, _window(rig, job))
    outcome = await rig.run(rig.again(job))
    run = rig.rooms.store.run_of_job(rig.account.id, job.id)
    assert run is not None
    assert (run.id, run.epoch) == (lost.id, 2)
    assert [doubt["code"] for doubt in run.facts["incomplete"]] == ["late_data", "dead_letters"]
    assert "1 row that may belong to shop.orders arrived in the period" in outcome.stderr
    assert "Warning: The newest row of shop.orders" in outcome.stderr
    assert not rig.rooms.store.finish(lost, "x", {}, [])
    first, second = run.facts["compared_with"], run.id
    assert first < second
    changes = {change["label"]: change for change in rig.rooms.folders.facts(run)["sections"][0]["changes"]}
    assert (changes["z"]["status"], changes["b"]["status"]) == ("new", "gone")
    assert changes["a"]["previous"] is not None
    # Executed once more, as after a death between the last delivery and the note of the job's end:
    before = run.folder
    await rig.run(rig.again(rig.again(job)))
    run = rig.rooms.store.run_of_job(rig.account.id, job.id)
    assert run is not None
    assert run.folder == before
    assert [one.attempts for one in rig.rooms.outbox.of(run)] == [1, 1]
    counted = await rig.ask("SELECT report_run, count(*) FROM marketing.best_sellers GROUP BY 1 ORDER BY 1")
    assert counted == [[first, 3], [second, 4]]  # b is there as dropped
    await _refusals(rig)


def _window(rig: ReportRig, job: Any) -> Any:
    from addon.schedules.reports.window import window_of  # noqa: PLC0415

    period = rig.rooms.reports.get(rig.account, "daily").definition.period
    return window_of(period, job.request.scheduled_time)


async def _refusals(rig: ReportRig) -> None:
    """What fails is kept as failed, with its reason, and sends nothing."""
    with pytest.raises(NotFound, match="no report 'gone'"):
        await rig.run(rig.issue(MONDAY, "gone"))
    wrong = {**RANKING, "inputs": {"items": "SELECT nothing AS item, time FROM orders"}}
    rig.define("wrong", analyses=[wrong], period="day", deliveries=[MAIL])
    job = rig.issue(MONDAY + DAY, "wrong")
    with pytest.raises((QueryFailed, InvalidInput), match="nothing"):
        await rig.run(job)
    run = rig.rooms.store.run_of_job(rig.account.id, job.id)
    assert run is not None
    assert run.state is RunState.ERROR
    assert "nothing" in run.error
    assert rig.rooms.outbox.of(run) == []
    rig.rooms.reports.delete(rig.account, "daily")
    assert rig.rooms.store.run_of_job(rig.account.id, 1) is None
    assert not (rig.home / "shared" / "reports" / "1" / "daily").exists()
