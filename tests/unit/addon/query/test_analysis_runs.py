"""A run in the real sandbox, repeated from its manifest after everything that can befall its table."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from addon.models.jobs import Job, JobOutcome, JobRequest, JobState
from addon.query.analysis import AnalysisExecution
from addon.query.analysis_inputs import resolved_inputs
from addon.query.analysis_request import check_request
from addon.query.later_inputs import kept_request
from addon.query.results import rows
from addon.query.run_pins import RunPins
from addon.query.saved_runs import ANALYSIS
from jobs.registry import find
from platform_core.base.errors import InvalidInput, NotFound
from tests.unit.addon.query.table_rig import Rig, table_rig

if TYPE_CHECKING:
    from pathlib import Path

ITEMS = {"items": {"table": "events", "columns": {"item": "a", "value": "n"}}}
DAY_S = 86_400


def _pins(rig: Rig) -> RunPins:
    return RunPins(rig.warehouse.versions, rig.queue, 30 * DAY_S)


async def _run(rig: Rig, body: dict[str, Any]) -> tuple[Job, JobOutcome]:
    """Run `ranking` as the job queue would."""
    assert rig.sandbox is not None
    execution = AnalysisExecution(
        rig.service,
        rig.sandbox,
        rig.home / "scratch",
        rig.home / "results",
        _pins(rig),
        rig.queue,
    )
    if "from_manifest" not in body:
        body = resolved_inputs(find("ranking"), body, rig.catalog, rig.account.id, "shop")
    return await _execute(rig, execution, check_request("ranking", body))


async def _execute(rig: Rig, execution: AnalysisExecution, params: dict[str, Any]) -> tuple[Job, JobOutcome]:
    rig.queue.issue(JobRequest(rig.account.id, ANALYSIS, "shop", "analysis ranking", 9, params))
    job = rig.queue.claim("w")
    assert job is not None
    outcome = await execution.run(rig.account, job, asyncio.Event())
    assert rig.queue.finish(job, outcome)
    return rig.queue.get(rig.account.id, job.id), outcome


def test_a_run_is_the_same_after_imports_merges_and_deletes_until_its_version_is_gone(tmp_path: Path) -> None:
    async def play() -> None:
        async with table_rig(tmp_path) as rig:
            for n in range(12):
                rig.put(f'{{"a":"item {n % 3}","n":{n},"time":{1_700_000_000 + n}}}')
            job, outcome = await _run(rig, {"tables": ITEMS, "params": {"top": 2}, "pin": True})
            manifest = json.loads(outcome.cmdout)
            assert outcome.result_path is not None
            kept = list(rows(tmp_path / "results" / outcome.result_path))
            names = [name for name, _ in outcome.result_schema]
            ranked = [(row[names.index("item")], row[names.index("metric")]) for row in kept]
            assert ranked == [("item 2", 26.0), ("item 1", 22.0)]
            assert outcome.num_records == 2
            assert await rig.ask(f"SELECT count(*) FROM runs.run_{job.id}.ranking") == [[2]]  # noqa: S608

            for n in range(30):
                rig.put(f'{{"a":"item 9","n":{n},"time":5}}')
            while rig.warehouse.compact(rig.ref()):
                pass
            assert await rig.job("DELETE FROM events WHERE a = 'item 2'") == [[4]]
            again, repeated = await _run(rig, {"from_manifest": manifest})
            assert json.loads(repeated.cmdout)["result_hash"] == manifest["result_hash"]
            assert json.loads(repeated.cmdout)["repeats"]["same"] is True
            assert again.progress is None

            rig.clock.advance(29 * DAY_S)
            _pins(rig).expire()
            assert [pin.name for pin in rig.warehouse.versions.pins(rig.ref())] == [f"analysis-{job.id}"]
            rig.clock.advance(DAY_S)
            _pins(rig).expire()
            assert rig.warehouse.versions.pins(rig.ref()) == []
            rig.clock.advance(60 * DAY_S)
            rig.warehouse.sweep()
            rig.warehouse.sweep()
            with pytest.raises(NotFound, match=r"version \d+ of shop.events"):
                await _run(rig, {"from_manifest": manifest})
            assert await rig.ask(f"SELECT count(*) FROM runs.run_{job.id}.ranking") == [[2]]  # noqa: S608

    asyncio.run(play())


@pytest.mark.slow
def test_an_empty_table_and_wrong_types_end_in_words_not_numbers(tmp_path: Path) -> None:
    async def play() -> None:
        async with table_rig(tmp_path) as rig:
            rig.put('{"a":"x","n":"many","time":5}')
            with pytest.raises(
                Exception, match=r"items: column value is VARCHAR; value must be NUMBER"
            ) as told:
                await _run(rig, {"tables": ITEMS})
            assert getattr(told.value, "kind", None) == "refused"
            nothing = "SELECT a AS item, 1 AS value FROM events WHERE time > 5"
            _, outcome = await _run(rig, {"inputs": {"items": nothing}})
            assert (outcome.state, outcome.num_records) == (JobState.SUCCESS, 0)
            assert json.loads(outcome.cmdout)["rows_in"] == {"items": 0}

    asyncio.run(play())


def test_tables_of_a_later_run_are_looked_up_when_it_begins(tmp_path: Path) -> None:
    async def play() -> None:
        async with table_rig(tmp_path) as rig:
            assert rig.sandbox is not None
            places = rig.home / "scratch", rig.home / "results"
            execution = AnalysisExecution(rig.service, rig.sandbox, *places, _pins(rig), rig.queue)
            rig.put('{"n":1,"time":1700000000}')
            kept = kept_request("ranking", {"tables": ITEMS, "params": {"top": 2}, "snapshots": {}})
            with pytest.raises(InvalidInput, match="no column 'a'"):
                await _execute(rig, execution, kept)
            rig.put('{"a":"item","n":5,"time":1700000001}')
            _, outcome = await _execute(rig, execution, kept)
            entry = json.loads(outcome.cmdout)["inputs"]["items"]
            assert '"a" AS "item"' in entry["sql"]
            assert entry["tables"][0]["table"] == "events"

    asyncio.run(play())
