"""Numbers as a reader sees them."""

from __future__ import annotations

import pytest

from jobs.report import wording


@pytest.mark.parametrize(("minor", "text"), [(123456, "1,234.56"), (0, "0.00"), (-250, "-2.50"), (None, "-")])
def test_money_comes_from_minor_units(minor: int | None, text: str) -> None:
    assert wording.money(minor) == text


@pytest.mark.parametrize(
    ("fraction", "text"),
    [(0.4249, "42 %"), (0.042, "4.2 %"), (0.0996, "10 %"), (0, "0 %"), (1, "100 %"), (None, "-")],
)
def test_percents_have_a_decimal_only_where_it_counts(fraction: float | None, text: str) -> None:
    assert wording.percent(fraction) == text


def test_periods_durations_and_labels() -> None:
    assert wording.period(852076800, "month") == "Jan 1997"
    assert wording.period(852076800, "week") == "1997-01-01"
    assert [wording.duration(s) for s in (5, 90, 3600, 86400 * 2.5)] == ["5 s", "1.5 min", "1 h", "2.5 days"]
    assert wording.label("last_non_direct") == "last non direct"
    assert wording.label("OK Computer") == "OK Computer"
    assert wording.shorten("abcdef", 4) == "abc…"
