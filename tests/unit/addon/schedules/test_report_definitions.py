"""Definitions: what is refused and how, what is never shown; windows by the calendar; doubts about data."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from addon.models.reports import Period, Window
from addon.models.tables import Snapshot, TableRef
from addon.schedules.deliveries.egress import Egress
from addon.schedules.deliveries.files import FileDelivery
from addon.schedules.deliveries.mail import MailDelivery, SmtpServer
from addon.schedules.deliveries.port import MASK
from addon.schedules.deliveries.postgres import PostgresDelivery
from addon.schedules.deliveries.webhook import WebhookDelivery
from addon.schedules.reports.completeness import doubts, tolerance_of
from addon.schedules.reports.definition import read_definition, secrets_of, shown, with_secrets
from addon.schedules.reports.inputs import placed
from addon.schedules.reports.secrets import SecretBox
from addon.schedules.reports.window import window_of
from platform_core.base.clock import FixedClock
from platform_core.base.errors import InvalidInput

DAY = 86_400
EGRESS = Egress()
WAYS: dict[str, Any] = {
    one.type: one
    for one in (
        MailDelivery(EGRESS, SmtpServer("localhost", 25, "none", sender="reports@sluice.example")),
        WebhookDelivery(EGRESS, FixedClock(0)),
        PostgresDelivery(EGRESS),
        FileDelivery(EGRESS, Path("exports")),
    )
}
RANKING = {"analysis": "ranking", "inputs": {"items": "SELECT 1"}}
SECRETS = {
    "webhook": {"url": "https://hooks.example/T0K3N", "secret": "sw0rdfish-sw0rdfish"},
    "postgresql": {"url": "postgresql://me:pa55word@db.example/sales", "table": "t"},
    "file": {"bucket": "my-reports", "access_key": "AKIA", "secret_key": "s3cr3t-s3cr3t"},
    "mail": {
        "to": ["a@b.example"], "host": "smtp.example", "user": "me", "password": "hunter2",
        "from": "me@b.example",
    },
}  # fmt: skip
HIDDEN = ("sw0rdfish", "pa55word", "s3cr3t", "hunter2")


def accept(_: Any) -> None:
    """Find nothing wrong with an analysis."""


def read(body: dict[str, Any], before: Any = ()) -> Any:
    return read_definition("daily", {"analyses": [RANKING], **body}, WAYS, before, accept)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"colour": 1}, "unknown parameter colour; a report takes name, title, currency, period"),
        ({"name": "other"}, "parameter name: the report's name is the one in the path"),
        ({"title": 7}, "parameter title: 7 is not allowed; give up to 200 printable characters"),
        ({"period": "fortnight"}, "parameter period.unit: 'fortnight' is not allowed; give one of hour, day"),
        ({"period": {"unit": "day", "zone": "Mars"}}, "parameter period.zone: 'Mars' is not allowed"),
        ({"period": {"units": "day"}}, "unknown parameter period.units; period takes unit, zone, which"),
        ({"period": 5}, "parameter period: 5 is not allowed; give an object"),
        ({"analyses": []}, "parameter analyses: a list of 0 is not allowed; give a list of 1 to 20"),
        ({"analyses": [{"analysis": 3}]}, r"parameter analyses\[0\]: give an object"),
        ({"analyses": [{**RANKING, "key": "A b"}]}, r"parameter analyses\[0\]\.key: 'A b' is not allowed"),
        ({"analyses": [{**RANKING, "key": "x"}] * 2}, r"parameter analyses\[1\]\.key: 'x' is not allowed"),
        ({"analyses": [{**RANKING, "database": "A"}]}, r"parameter analyses\[0\]\.database"),
        (
            {"deliveries": [{"type": "pigeon"}]},
            r"parameter deliveries\[0\]\.type: 'pigeon' is not allowed; give",
        ),
        ({"deliveries": [{"type": "mail"}]}, r"deliveries\[0\]: parameter to is required"),
        (
            {"deliveries": [{"type": "webhook", "url": MASK}]},
            r"parameter deliveries\[0\]\.url: no secret is kept",
        ),
        ({"keep_runs": 0}, "parameter keep_runs: 0 is not allowed; give an integer from 1 to 1000"),
        ({"keep_runs": True}, "parameter keep_runs"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_allowed(body: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        read(body)


@pytest.mark.parametrize("name", ["", "Daily", "1st", "a/b", "..", "a" * 65])
def test_a_name_that_no_report_may_have_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="report name"):
        read_definition(name, {"analyses": [RANKING]}, WAYS, (), accept)


def test_a_short_definition_is_completed() -> None:
    found = read({"analyses": [RANKING, RANKING, {**RANKING, "key": "own"}], "period": "week"})
    assert [one.key for one in found.analyses] == ["ranking", "ranking_2", "own"]
    assert (found.title, found.keep_runs, found.currency) == ("Daily", 100, "")
    assert found.period == Period("week", "UTC", "previous", None)


def test_secrets_are_shown_to_nobody_and_come_back_where_a_mask_stands() -> None:
    body = {"deliveries": [{"type": kind, **settings} for kind, settings in SECRETS.items()]}
    found = read(body)
    told = shown(found, WAYS)
    assert not [word for word in HIDDEN if word in str(told) or word in repr(found)]
    box = SecretBox("5e" * 32)
    sealed = box.seal(secrets_of(found, WAYS))
    assert not [word for word in HIDDEN if word in sealed]
    assert read_definition("daily", with_secrets(told, box.open(sealed)), WAYS) == found
    again = read(told, found.deliveries)
    assert [one.settings for one in again.deliveries] == [one.settings for one in found.deliveries]
    with pytest.raises(InvalidInput, match="credentials changed"):
        SecretBox("5f" * 32).open(sealed)


def test_a_mask_of_another_delivery_gives_no_secret_away() -> None:
    found = read({"deliveries": [{"type": "webhook", "name": "one", **SECRETS["webhook"]}]})
    stolen = {"type": "webhook", "name": "two", "url": "https://evil.example", "secret": MASK}
    with pytest.raises(InvalidInput, match="no secret is kept"):
        read({"deliveries": [stolen]}, found.deliveries)


def test_places_take_the_runs_time() -> None:
    window = Window(100, 200, "")
    body = {"sql": "x >= ${from} AND x < ${to}", "params": {"from": "${from}", "list": ["${slot}", 1, None]}}
    assert placed(body, window, 300) == {
        "sql": "x >= 100 AND x < 200", "params": {"from": 100, "list": [300, 1, None]},
    }  # fmt: skip
    with pytest.raises(InvalidInput, match=r"\$\{when\} is not known"):
        placed("${when}", window, 300)
    with pytest.raises(InvalidInput, match="needs a period"):
        placed("${from}", Window(None, None, ""), 300)


ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "America/Santiago",
)
SLOTS = st.integers(1_000_000_000, 2_200_000_000)


@settings(deadline=None)
@given(SLOTS, st.sampled_from(ZONES), st.sampled_from(["hour", "day", "week", "month"]))
def test_windows_tile_time_and_the_previous_one_ends_at_or_before_the_slot(
    slot: int, zone: str, unit: str
) -> None:
    current = window_of(Period(unit, zone, "current", None), slot)
    before = window_of(Period(unit, zone, "previous", None), slot)
    assert current.start is not None
    assert current.end is not None
    assert current.start <= slot < current.end
    assert before.end == current.start
    assert window_of(Period(unit, zone, "previous", None), current.end) == current
    begins = datetime.fromtimestamp(current.start, ZoneInfo(zone))
    if unit != "hour":
        day_before = datetime.fromtimestamp(current.start - 1, ZoneInfo(zone))
        assert begins.date() == day_before.date() + timedelta(days=1)
        assert unit != "week" or begins.weekday() == 0
        assert unit != "month" or begins.day == 1
    else:
        assert (current.end - current.start, begins.minute) == (3_600, 0) or zone == "Australia/Lord_Howe"


def test_a_day_is_as_long_as_the_clock_makes_it() -> None:
    def length(day: str) -> int:
        noon = int(datetime.fromisoformat(f"{day}T12:00:00+00:00").timestamp())
        window = window_of(Period("day", "Europe/Berlin", "current", None), noon)
        assert window.start is not None
        assert window.end is not None
        return (window.end - window.start) // 3_600

    assert [length(day) for day in ("2026-03-29", "2026-10-25", "2026-11-25")] == [23, 25, 24]


def snapshot(newest: int | None) -> Snapshot:
    return Snapshot(TableRef(1, "shop", "t"), 1, [], [], 1, 1, None if newest is None else 0, newest)


END = 10 * DAY


@pytest.mark.parametrize(
    ("newest", "read_at", "tolerance", "codes"),
    [
        (END, END + 9, None, []),
        (END - 3_600, END + 9, None, []),
        (END - 3_601, END + 9, None, ["late_data"]),
        (END - 3_601, END + 9, 4_000, []),
        (END - 1, END + 9, 0, ["late_data"]),
        (END + DAY, END + 9, 0, []),
        (END - 7_200, END - 7_000, None, ["period_open"]),
        (END - 20_000, END - 7_000, None, ["period_open", "late_data"]),
        (None, END + 9, None, ["no_data"]),
    ],
)
def test_doubts_come_from_the_clock_and_the_newest_row(
    newest: int | None, read_at: int, tolerance: int | None, codes: list[str]
) -> None:
    period, window = Period("day", "UTC", "previous", tolerance), Window(END - DAY, END, "")
    found = doubts(period, window, read_at, {TableRef(1, "shop", "t"): snapshot(newest)}, ())
    assert [one.code for one in found] == codes
    assert all("shop.t" in one.text for one in found if one.code != "period_open")


def test_a_node_that_is_away_is_a_doubt_in_any_period() -> None:
    period, window = Period(None, "UTC", "previous", None), Window(None, None, "")
    found = doubts(period, window, 5.0, {TableRef(1, "shop", "t"): snapshot(1)}, ["node 7 is away"])
    assert found == [("node_away", "node 7 is away")]
    assert tolerance_of(period, window) == 0
    assert datetime.fromtimestamp(END, UTC).hour == 0
