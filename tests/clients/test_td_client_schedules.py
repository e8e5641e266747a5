"""The real td-client on schedules: made, listed, changed, run, fired by the clock, looked back at."""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import tdclient.errors
from typer.testing import CliRunner

from addon.cli.__main__ import app
from addon.cli.failures import Exit, Failure
from tests.clients.td_addon import Running, start, stop
from tests.ports import free_base

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOON = int(datetime(2026, 3, 2, 12, tzinfo=UTC).timestamp())
SLOT_SQL = "SELECT TD_SCHEDULED_TIME() AS slot, COUNT(1) AS events FROM events"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("schedules")


@pytest.fixture(scope="module")
def addon(home: Path) -> Iterator[Running]:
    running = start(home, free_base())
    with running.client() as client:
        client.create_database("shop")
        client.create_log_table("shop", "events")
    yield running
    stop(running)


@pytest.fixture
def client(addon: Running) -> Iterator[tdclient.Client]:
    with addon.client() as made:
        yield made


def listed(addon: Running) -> dict[str, Any]:
    """Return every schedule as the server has it, by name."""
    with addon.http() as http:
        return {one["name"]: one for one in http.get("/v3/schedule/list").json()["schedules"]}


def definition(**more: Any) -> dict[str, Any]:
    return {"type": "presto", "database": "shop", "query": SLOT_SQL, "cron": "@daily", **more}


def rewind(home: Path, name: str, slots_back: int) -> None:
    """Make it as if the add-on had been away for some minutes: the schedule waits for an old slot."""
    with closing(sqlite3.connect(home / "addon" / "addon.db", timeout=30)) as database, database:
        back = slots_back * 60
        database.execute(
            "UPDATE schedules SET next_slot = next_slot - ?, due_at = due_at - ? WHERE name = ?",
            (back, back, name),
        )


def wait_for_history(client: tdclient.Client, name: str, jobs: int) -> list[Any]:
    deadline = time.monotonic() + 60
    while True:
        found = client.history(name)
        if len(found) >= jobs and all(job.finished() for job in found):
            return list(found)
        assert time.monotonic() < deadline, [job.status() for job in found]
        time.sleep(0.1)


def test_a_schedule_is_made_listed_changed_and_deleted(client: tdclient.Client) -> None:
    first = client.create_schedule("daily", definition(timezone="Asia/Tokyo", delay=600, priority=1))
    assert first is not None
    assert (first.timestamp() - 600) % 86_400 == 15 * 3600  # midnight in Tokyo, and the delay
    (daily,) = (schedule for schedule in client.schedules() if schedule.name == "daily")
    assert (daily.cron, daily.timezone, daily.delay, daily.type) == ("@daily", "Asia/Tokyo", 600, "presto")
    assert (daily.database, daily.query, daily.priority) == ("shop", SLOT_SQL, "HIGH")
    assert daily.next_time is not None
    assert daily.next_time.timestamp() == first.timestamp() - 600
    client.update_schedule("daily", {"cron": "@hourly", "timezone": "UTC"})
    (daily,) = (schedule for schedule in client.schedules() if schedule.name == "daily")
    assert daily.next_time is not None
    assert 0 < daily.next_time.timestamp() - time.time() <= 3600
    assert (daily.cron, daily.query) == ("@hourly", SLOT_SQL)
    assert client.delete_schedule("daily") == ("@hourly", SLOT_SQL)
    assert "daily" not in {schedule.name for schedule in client.schedules()}


def test_a_run_on_demand_is_for_the_slots_from_a_time_on(client: tdclient.Client) -> None:
    client.create_schedule("backfill", definition(cron="0 * * * *"))
    jobs = client.run_schedule("backfill", NOON - 1, 3)
    slots = [NOON, NOON + 3600, NOON + 7200]
    assert [job.scheduled_at.timestamp() for job in jobs] == slots
    done = wait_for_history(client, "backfill", 3)
    assert [job.scheduled_at.timestamp() for job in done] == slots[::-1]
    rows = [next(iter(client.job(job.id).result())) for job in jobs]
    assert rows == [[slot, 0] for slot in slots]
    assert [job.id for job in client.history("backfill", 1, 1)] == [jobs[1].id]
    client.delete_schedule("backfill")


def test_a_saved_query_never_runs_by_itself_and_has_no_start(client: tdclient.Client) -> None:
    assert client.create_schedule("saved", definition(cron="")).year == 1970  # the client's "no start"
    (job,) = client.run_schedule("saved", NOON)
    wait_for_history(client, "saved", 1)
    assert next(iter(client.job(job.id).result())) == [NOON, 0]
    assert client.delete_schedule("saved")[0] is None


def test_slots_that_the_add_on_was_away_for_run_once_each_up_to_the_catch_up(
    addon: Running, client: tdclient.Client, home: Path
) -> None:
    client.create_schedule("minutely", definition(cron="* * * * *", catch_up=3))
    rewind(home, "minutely", 10)
    done = wait_for_history(client, "minutely", 3)
    client.update_schedule("minutely", {"enabled": "false"})
    slots = sorted(int(job.scheduled_at.timestamp()) for job in done)
    assert slots == list(range(slots[0], slots[0] + 60 * len(slots), 60))
    assert len(slots) <= 4  # a minute may have passed meanwhile
    assert listed(addon)["minutely"]["missed"] >= 7
    rows = {next(iter(client.job(job.id).result()))[0] for job in done}
    assert rows == set(slots)


def test_a_name_is_taken_once_and_the_clash_is_named(addon: Running, client: tdclient.Client) -> None:
    client.create_schedule("taken", definition())
    with pytest.raises(tdclient.errors.AlreadyExistsError, match="taken"):
        client.create_schedule("taken", definition())
    with addon.http() as http:
        clash = http.post("/v3/schedule/create/taken", data=definition())
    assert clash.status_code == 409
    assert clash.json()["details"] == {"conflicts_with": str(listed(addon)["taken"]["id"])}


def test_bad_definitions_are_refused_with_their_reasons(client: tdclient.Client) -> None:
    for wrong, why in (
        ({"cron": "* * * *"}, "cron expression"),
        ({"cron": "0 0 30 2 *"}, "day-of-month"),
        ({"cron": "* * * * * *"}, "five fields"),
        ({"timezone": "Mars/Olympus"}, "time zone"),
        ({"type": "pig"}, "pig"),
        ({"query": " "}, "empty"),
        ({"delay": -1}, "delay"),
        ({"catch_up": 0}, "catch_up"),
    ):
        with pytest.raises(tdclient.errors.APIError, match=why):
            client.create_schedule("bad", definition(**wrong))
    with pytest.raises(tdclient.errors.NotFoundError, match="nowhere"):
        client.create_schedule("bad", definition(database="nowhere"))
    with pytest.raises(tdclient.errors.NotFoundError, match="bad"):
        client.run_schedule("bad", NOON)


def sluice(addon: Running, *words: str) -> str:
    """Run a command of `sluice schedule` in this process; return what it prints."""
    env = {"TD_API_SERVER": addon.url, "TD_API_KEY": addon.keys["td_api_key"]}
    done = CliRunner().invoke(app, ["schedule", *words], env=env)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_sluice_command_makes_runs_shows_and_changes_schedules(
    addon: Running, client: tdclient.Client
) -> None:
    name, sql = "every morning/1", "SELECT TD_SCHEDULED_TIME() AS slot"
    given = ("--cron", "0 9 * * *", "--timezone", "Asia/Tokyo", "-d", "shop", "--query", sql)
    (made,) = json.loads(sluice(addon, "create", name, *given, "--catch-up", "2", "--json"))
    assert (made["type"], made["catch_up"], made["enabled"]) == ("presto", 2, True)
    (shown,) = json.loads(sluice(addon, "show", name, "--json"))
    assert len(shown["next_times"]) == 10
    assert {time[11:] for time in (shown["last_time"], *shown["next_times"])} == {"00:00:00Z"}
    (job,) = json.loads(sluice(addon, "run", name, "--json"))
    assert job["scheduled_at"] == shown["last_time"]
    wait_for_history(client, name, 1)
    (run,) = json.loads(sluice(addon, "history", name, "--json"))
    assert (run["job_id"], run["status"], run["asked"]) == (job["job_id"], "success", True)
    sluice(addon, "update", name, "--disable", "--name", "mornings")
    listed_now = sluice(addon, "list", "--csv")
    assert "mornings,0 9 * * *,Asia/Tokyo,presto,shop,false,," in listed_now
    with pytest.raises(Failure, match="catch_up must be 1 to 1000"):
        sluice(addon, "update", "mornings", "--catch-up", "0")
    sluice(addon, "delete", "mornings")
    with pytest.raises(Failure, match="does not exist") as caught:
        sluice(addon, "show", "mornings")
    assert caught.value.code is Exit.NOT_FOUND


def test_an_account_sees_its_own_schedules_only_and_takes_them_along_when_it_goes(
    addon: Running, client: tdclient.Client, home: Path
) -> None:
    resource = str(uuid.uuid4())
    asked = {"uuid": resource, "name": "other", "plan": "nano", "region": "amazon-web-services::us-east-1"}
    with addon.platform() as platform:
        key = platform.post("/heroku/resources", json=asked).json()["config"]["TREASURE_DATA_API_KEY"]
        with addon.client(key) as theirs:
            theirs.create_database("shop")
            assert theirs.schedules() == []
            theirs.create_schedule("theirs", definition(cron="* * * * *"))
            with pytest.raises(tdclient.errors.NotFoundError):
                client.history("theirs")
        with closing(sqlite3.connect(home / "addon" / "addon.db", timeout=30)) as database:
            mine = "SELECT count(*) FROM schedules WHERE account_id = ?"
            account = int(key.partition("/")[0])
            assert database.execute(mine, (account,)).fetchone() == (1,)
            assert platform.delete(f"/heroku/resources/{resource}").is_success
            deadline = time.monotonic() + 30
            while database.execute(mine, (account,)).fetchone() != (0,):
                assert time.monotonic() < deadline
                time.sleep(0.05)


@pytest.mark.slow
def test_a_slot_fires_when_the_minute_begins(addon: Running, client: tdclient.Client) -> None:
    first = client.create_schedule("real", definition(cron="* * * * *"))
    assert first is not None
    (job,) = _first_run(client, "real", first.timestamp() + 60)
    assert job.scheduled_at == first
    assert listed(addon)["real"]["next_time"] > first.strftime("%Y-%m-%dT%H:%M:%SZ")
    with addon.http() as http:
        late = [
            line for line in http.get("/metrics").text.splitlines() if line.startswith("sluice_schedule_late")
        ]
    assert float(late[0].split()[1]) < 5
    client.delete_schedule("real")


def _first_run(client: tdclient.Client, name: str, until: float) -> list[Any]:
    while not (found := client.history(name)):
        assert time.time() < until
        time.sleep(0.5)
    return list(found)
