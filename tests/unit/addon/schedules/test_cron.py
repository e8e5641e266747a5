"""Slots against a walk over every minute, at the clock changes of many zones; and the days by hand."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from addon.schedules.cron import Cron
from platform_core.base.errors import InvalidInput

ZONES = [
    *(
        "UTC",
        "America/New_York",
        "Europe/Berlin",
        "Australia/Lord_Howe",
        "Antarctica/Troll",
        "Asia/Kathmandu",
    ),
    *("America/Havana", "Africa/Cairo", "Africa/Casablanca", "Pacific/Chatham", "Asia/Beirut"),
]
"""Changes of 30 minutes, one and two hours, at midnight and at noon UTC, and zones without any."""
DAYS = 2


@cache
def changes(zone: str) -> list[int]:
    """Return the Unix days of 2026 on which the zone's offset changes; without any, one day."""
    info, found = ZoneInfo(zone), []
    for day in range(20_454, 20_454 + 365):
        before, after = (datetime.fromtimestamp(at * 86_400, info).utcoffset() for at in (day, day + 1))
        if before != after:
            found.append(day)
    return found or [20_500]


def values(field: str, low: int, high: int) -> frozenset[int]:
    """Return what a field allows, of all numbers that it could."""
    found: set[int] = set()
    for term in field.split(","):
        body, _, step = term.partition("/")
        first, _, last = body.partition("-")
        begin, end = (low, high) if body == "*" else (int(first), int(last or first))
        found |= set(range(begin, end + 1, int(step or 1)))
    return frozenset(found)


class Walked:
    """A cron expression, read the plain way: which minutes of the wall's clock it names."""

    def __init__(self, cron: str) -> None:
        fields = cron.split()
        spans = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
        self.sets = [values(field, *span) for field, span in zip(fields, spans, strict=True)]
        self.both = fields[2].startswith("*") or fields[4].startswith("*")
        self.real_time = fields[0].startswith("*") or fields[1].startswith("*")

    def fires(self, wall: datetime) -> bool:
        minutes, hours, days, months, weekdays = self.sets
        if wall.minute not in minutes or wall.hour not in hours or wall.month not in months:
            return False
        on = (wall.day in days, wall.isoweekday() % 7 in weekdays)
        return all(on) if self.both else any(on)


def instant(wall: datetime, zone: ZoneInfo) -> int:
    """Return when a wall time is: its first occurrence; for one in a gap, the first minute after that."""
    while True:
        at = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
        if at.astimezone(zone).replace(tzinfo=None) == wall:
            return int(at.timestamp())
        wall += timedelta(minutes=1)


def walked(text: str, zone: str, first: int, last: int) -> list[int]:
    """Return the slots after ``first`` and up to ``last``, found minute by minute."""
    info, cron = ZoneInfo(zone), Walked(text)
    if cron.real_time:
        minutes = range(first - first % 60, last + 1, 60)
        slots = {at for at in minutes if cron.fires(datetime.fromtimestamp(at, info))}
    else:  # it follows the clock on the wall
        begin = datetime.fromtimestamp(first - 10_800, info).replace(tzinfo=None, second=0)
        walls = (begin + timedelta(minutes=minute) for minute in range((last - first) // 60 + 6 * 60))
        slots = {instant(wall, info) for wall in walls if cron.fires(wall)}
    return sorted(at for at in slots if first < at <= last)


def field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    spans = st.tuples(number, number).map(sorted).map("{0[0]}-{0[1]}".format)
    stepped = st.tuples(spans, st.integers(1, 6)).map("{0[0]}/{0[1]}".format)
    several = st.lists(number.map(str), min_size=2, max_size=3).map(",".join)
    stars = st.sampled_from(["*", "*", "*/2", "*/3"] if low == 0 else ["*"])
    return st.one_of(stars, number.map(str), spans, stepped, several)


any_day = st.one_of(st.just("*"), field(1, 28))
expressions = st.tuples(
    field(0, 59),
    st.one_of(field(0, 23), field(0, 4)),
    any_day,
    st.just("*"),
    st.one_of(st.just("*"), field(0, 6)),
).map(" ".join)


@settings(deadline=None, max_examples=60, phases=[phase for phase in Phase if phase is not Phase.explain])
@given(expressions, st.sampled_from(ZONES), st.data())
def test_the_slots_around_a_clock_change_are_those_of_a_walk_over_every_minute(
    cron: str, zone: str, data: st.DataObject
) -> None:
    day = data.draw(st.sampled_from(changes(zone)))
    first = (day - 1) * 86_400 + data.draw(st.integers(0, 86_399))
    last = first + DAYS * 86_400
    slots = Cron(cron, zone)
    expected = walked(cron, zone, first, last)
    assert list(islice(slots.after(first), len(expected))) == expected
    following = slots.following(expected[-1] if expected else first)
    assert following is None or following > last
    # A restart anywhere in between goes on with the slot that comes next.
    middle = data.draw(st.integers(first, last))
    assert next((at for at in expected if at > middle), None) in {slots.following(middle), None}
    most = data.draw(st.integers(1, 50))
    if expected:
        assert slots.newest(expected[0], last, most) == expected[-most:]
        assert slots.count(expected[0], expected[-1]) == len(expected) - 1


def on(cron: str, zone: str, day: str) -> list[str]:
    """Return a local day's slots as the wall shows them."""
    begin = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone))
    end = (begin + timedelta(days=1)).timestamp()
    slots = Cron(cron, zone).since(int(begin.timestamp()))
    found = []
    for at in slots:
        if at >= end:
            return found
        found.append(f"{datetime.fromtimestamp(at, ZoneInfo(zone)):%H:%M%z}")
    return found


def test_a_daily_job_in_the_gap_of_spring_fires_once_after_it() -> None:
    assert on("30 2 * * *", "America/New_York", "2026-03-07") == ["02:30-0500"]
    assert on("30 2 * * *", "America/New_York", "2026-03-08") == ["03:00-0400"]
    assert on("30 2 * * *", "America/New_York", "2026-03-09") == ["02:30-0400"]
    assert on("0,15,30,45 2 * * *", "America/New_York", "2026-03-08") == ["03:00-0400"]
    assert on("30 2 * * *", "Europe/Berlin", "2026-03-29") == ["03:00+0200"]


def test_a_daily_job_in_the_hour_that_comes_twice_fires_once() -> None:
    assert on("30 1 * * *", "America/New_York", "2026-11-01") == ["01:30-0400"]
    assert on("30 2 * * *", "Europe/Berlin", "2026-10-25") == ["02:30+0200"]


def test_an_hourly_job_fires_each_real_hour() -> None:
    assert len(on("@hourly", "America/New_York", "2026-03-08")) == 23
    autumn = on("@hourly", "America/New_York", "2026-11-01")
    assert len(autumn) == 25
    assert autumn[1:3] == ["01:00-0400", "01:00-0500"]
    assert len(on("*/10 * * * *", "Australia/Lord_Howe", "2026-10-04")) == 6 * 23 + 3


def test_midnight_that_does_not_exist_is_the_first_minute_of_the_day() -> None:
    assert on("@daily", "America/Havana", "2026-03-08") == ["01:00-0400"]


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("@hourly", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@weekly", "0 0 * * 0"),
        ("@monthly", "0 0 1 * *"),
        ("@YEARLY", "0 0 1 1 *"),
        ("0 9 * * mon-fri", "0 9 * * 1-5"),
        ("0 0 * * 7", "0 0 * * 0"),
    ],
)
def test_names_stand_for_fields(text: str, same: str) -> None:
    slots = [list(islice(Cron(form, "Asia/Tokyo").after(1_780_000_000), 12)) for form in (text, same)]
    assert slots[0] == slots[1]


@pytest.mark.parametrize(
    "text",
    [
        *("", "* * * *", "* * * * * *", "@reboot", "60 * * * *", "* 24 * * *", "0 0 0 * *", "0 0 31 2 *"),
        *("*/0 * * * *", "a b c d e", "0 0 * * 8", "1-0 * * * *", "0" * 300 + " * * * *"),
        ",".join("1" * 200) + " * * * *",
    ],
)
def test_what_is_no_cron_expression_is_refused_with_the_form_it_should_have(text: str) -> None:
    with pytest.raises(InvalidInput, match="Write five fields"):
        Cron(text, "UTC")


_words = st.sampled_from(
    ["*", "*/7", "0", "59", "23", "31", "L", "LW", "2", "1-5", "MON#5", "5L", "sun", "1#1", "29,30"]
)
_texts = st.one_of(st.text(max_size=40), st.lists(_words, min_size=5, max_size=5).map(" ".join))


@settings(deadline=None, max_examples=60)
@given(_texts, st.sampled_from(ZONES), st.integers(0, 4_000_000_000))
def test_any_text_is_refused_or_has_slots_that_are_found_in_time(text: str, zone: str, moment: int) -> None:
    try:
        cron = Cron(text, zone)
    except InvalidInput:
        return
    began = time.process_time()
    slots = list(islice(cron.after(moment), 3))
    assert slots == sorted(set(slots))
    assert all(at > moment and at % 60 == 0 for at in slots)
    assert time.process_time() - began < 10


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "../../etc/passwd", "EST5EDT4", "utc "])
def test_what_is_no_time_zone_is_refused(zone: str) -> None:
    with pytest.raises(InvalidInput, match="IANA"):
        Cron("@daily", zone)


def test_a_cron_that_fires_rarely_is_found_and_one_that_ends_has_an_end() -> None:
    rare = Cron("0 0 29 2 *", "UTC")
    assert datetime.fromtimestamp(rare.following(1_780_000_000) or 0, UTC).year == 2028
    assert rare.following(250_246_627_100) is None
    assert Cron("* * * * *", "UTC").newest(0, 60 * 10_000_000, 2) == [599_999_940, 600_000_000]
