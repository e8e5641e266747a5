"""Sessions, channels, funnels and paths: against plain Python, and at their stated edges."""

from __future__ import annotations

from itertools import pairwise, product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.contracts.errors import ParameterError

event_rows = st.lists(
    st.tuples(st.sampled_from("uv"), st.integers(0, 40), st.sampled_from("abc")), min_size=1, max_size=9
)


def as_events(rows: list[Any]) -> list[dict[str, Any]]:
    return [{"user_id": u, "time": t, "seq": i, "event": e} for i, (u, t, e) in enumerate(rows)]


@settings(max_examples=30, deadline=None)
@given(event_rows, st.integers(0, 10))
def test_sessions_equal_a_plain_computation(run: Any, rows: list[Any], timeout: int) -> None:
    events = as_events(rows)
    wanted: list[list[Any]] = []
    for event in sorted(events, key=lambda row: (row["user_id"], row["time"], row["seq"])):
        last = wanted[-1] if wanted and wanted[-1][0] == event["user_id"] else None
        if last is None or event["time"] - last[3] > timeout:
            index = last[1] + 1 if last else 1
            wanted.append(
                [event["user_id"], index, event["time"], event["time"], 1, event["event"], event["event"]]
            )
        else:
            last[3], last[4], last[6] = event["time"], last[4] + 1, event["event"]
    names = ("user_id", "session_index", "started_at", "ended_at", "events", "entry_event", "exit_event")
    found = run("sessions", {"events": events}, {"timeout": timeout}).tables["sessions"].to_pylist()
    assert [[row[name] for name in names] for row in found] == wanted


def test_a_gap_equal_to_the_timeout_stays_in_the_session(run: Any) -> None:
    events = as_events([("u", 0, "a"), ("u", 1800, "a"), ("u", 3601, "a")])
    rows = run("sessions", {"events": events}).tables["sessions"].to_pylist()
    assert [(row["session_id"], row["duration_s"]) for row in rows] == [("u:0:1", 1800), ("u:3601:2", 0)]


def test_a_session_is_cut_at_midnight_and_at_a_new_campaign_when_asked(run: Any) -> None:
    events = as_events([("u", 86_390, "a"), ("u", 86_400, "a"), ("u", 86_410, "a"), ("u", 86_420, "a")])
    for event, campaign in zip(events, ["x", None, "X ", "y"], strict=True):
        event["utm_campaign"] = campaign
    params = {"split_on_day": True, "split_on_campaign": True}
    rows = run("sessions", {"events": events}, params).tables["sessions"].to_pylist()
    assert [row["events"] for row in rows] == [1, 2, 1]


def test_a_conversion_event_carries_its_value(run: Any) -> None:
    events = as_events([("u", 0, "a"), ("u", 1, "purchase"), ("v", 0, "a")])
    events[0]["value_minor"], events[1]["value_minor"] = 7, 500
    rows = run("sessions", {"events": events}).tables["sessions"].to_pylist()
    assert [(row["converted"], row["value_minor"]) for row in rows] == [(True, 500), (False, 0)]


@pytest.mark.parametrize(
    ("tags", "channel"),
    [
        ({}, "direct"),
        ({"utm_source": " Google ", "utm_medium": "CPC"}, "paid_search"),
        ({"utm_source": "google", "utm_medium": "organic"}, "organic_search"),
        ({"utm_source": "newsletter", "utm_medium": "email", "referrer": "google.com"}, "email"),
        ({"utm_source": "facebook", "utm_medium": "paid-social"}, "paid_social"),
        ({"utm_source": "youtube", "utm_medium": "cpc"}, "paid_video"),
        ({"utm_source": "amazon", "utm_medium": "ppc"}, "paid_shopping"),
        ({"utm_source": "google", "utm_medium": "cpc", "utm_campaign": "Summer Shop"}, "paid_shopping"),
        ({"utm_source": "x", "utm_medium": "cpc", "utm_campaign": "a cross-network b"}, "cross_network"),
        ({"utm_source": "x", "utm_medium": "cpm"}, "display"),
        ({"utm_source": "x", "utm_medium": "retargeting"}, "paid_other"),
        ({"utm_source": "x", "utm_medium": "affiliate"}, "affiliates"),
        ({"utm_source": "x", "utm_medium": "audio"}, "audio"),
        ({"utm_source": "sms"}, "sms"),
        ({"utm_source": "x", "utm_medium": "web_push"}, "push"),
        ({"utm_source": "x", "utm_medium": "what"}, "unassigned"),
        ({"gclid": "abc", "referrer": "news.example"}, "paid_search"),
        ({"fbclid": "abc"}, "paid_social"),
        ({"referrer": "https://www.google.co.uk:443/search?q=a"}, "organic_search"),
        ({"referrer": "m.facebook.com"}, "organic_social"),
        ({"referrer": "http://l.instagram.com/"}, "organic_social"),
        ({"referrer": "https://notgoogle.com"}, "referral"),
        ({"referrer": "https://www.shop.example/cart"}, "direct"),
        ({"channel": "my own", "utm_medium": "email"}, "my own"),
    ],
)
def test_channel_rules(run: Any, tags: dict[str, str], channel: str) -> None:
    events = [{"user_id": "u", "time": 0, "seq": 0, "event": "a", **tags}]
    rows = run("sessions", {"events": events}, {"own_hosts": ["shop.example"]}).tables["sessions"].to_pylist()
    assert rows[0]["channel"] == channel


def test_the_source_list_can_be_replaced(run: Any) -> None:
    events = [{"user_id": "u", "time": 0, "seq": 0, "event": "a", "referrer": "find.example"}]
    sources = [{"host": "find.example", "kind": "search"}]
    rows = run("sessions", {"events": events, "channel_sources": sources}).tables["sessions"].to_pylist()
    assert rows[0]["channel"] == "organic_search"


STEPS = [["a"], ["b"], ["a", "c"]]


def level(events: list[dict[str, Any]], window: int | None, ties: str) -> int:
    """Exhaustive search over all chains."""

    def follows(later: dict[str, Any], earlier: dict[str, Any]) -> bool:
        if ties == "increase":
            return bool(later["time"] > earlier["time"])
        if ties == "step":
            return bool(later["time"] >= earlier["time"])
        return (later["time"], later["seq"]) > (earlier["time"], earlier["seq"])

    best = 0
    for length in range(1, len(STEPS) + 1):
        for chain in product(events, repeat=length):
            fits = all(event["event"] in step for event, step in zip(chain, STEPS, strict=False))
            ordered = all(follows(b, a) for a, b in pairwise(chain))
            if fits and ordered and (window is None or chain[-1]["time"] - chain[0]["time"] <= window):
                best = length
                break
    return best


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("uv"), st.integers(0, 6), st.sampled_from("abc")), min_size=1, max_size=8
    ),
    st.sampled_from([None, 0, 2, 4]),
    st.sampled_from(["seq", "step", "increase"]),
)
def test_funnel_levels_equal_an_exhaustive_search(
    run: Any, rows: list[Any], window: int | None, ties: str
) -> None:
    events = as_events(rows)
    params = {"steps": STEPS, "window": window, "ties": ties, "with_entities": True}
    result = run("funnel", {"events": events}, params)
    wanted = {}
    for user in {row[0] for row in rows}:
        found = level([event for event in events if event["user_id"] == user], window, ties)
        if found:
            wanted[user] = found
    entities = result.tables["funnel_entities"].to_pylist()
    assert {row["entity_id"]: row["level"] for row in entities} == wanted
    for row in entities:
        assert window is None or 0 <= row["reached_at"] - row["started_at"] <= window
    counts = [sum(reached >= step for reached in wanted.values()) for step in (1, 2, 3)]
    assert result.tables["funnel"].column("entities").to_pylist() == counts


def test_time_to_convert_starts_at_the_latest_start(run: Any) -> None:
    events = as_events([("u", 0, "a"), ("u", 7, "a"), ("u", 10, "b"), ("u", 11, "b")])
    rows = run("funnel", {"events": events}, {"steps": ["a", "b", "never"]}).tables["funnel"].to_pylist()
    assert [(row["entities"], row["ttc_p50_s"], row["dropped"]) for row in rows] == [
        (1, 0.0, 0),
        (1, 3.0, 0),
        (0, None, 1),
    ]


@pytest.mark.parametrize("params", [{}, {"steps": []}, {"steps": [[]]}, {"steps": ["a"], "mode": "fancy"}])
def test_impossible_funnels_are_refused(run: Any, params: dict[str, Any]) -> None:
    with pytest.raises(ParameterError, match=r"parameter (steps|mode)"):
        run("funnel", {"events": []}, params)


def test_conversion_paths_feed_attribution_the_same_credits(run: Any) -> None:
    touches = [
        {"user_id": user, "time": 1000 + place, "seq": place, "channel": channel}
        for user, path in (("u", "abba"), ("v", "b"), ("x", "ab"))
        for place, channel in enumerate(path)
    ]
    conversions = [
        {"conversion_id": f"c{user}", "user_id": user, "time": 2000, "value_minor": 10} for user in "uvxy"
    ]
    inputs = {"touches": touches, "conversions": conversions}
    paths = run("paths", inputs, {"collapse": "none"}).tables["paths"].to_pylist()
    assert [(row["path"], row["length"], row["conversions"]) for row in paths] == [
        ("(unattributed)", 0, 1),
        ("a > b", 2, 1),
        ("a > b > b > a", 4, 1),
        ("b", 1, 1),
    ]
    models = {"models": ["first", "last", "last_non_direct", "linear", "position", "markov", "shapley"]}
    single = run("attribution", inputs, models).tables["attribution"].to_pylist()
    again = run("attribution", {"paths": paths}, models).tables["attribution"].to_pylist()
    assert [(row["model"], row["channel"]) for row in again] == [
        (row["model"], row["channel"]) for row in single
    ]
    for column in ("conversions", "value_minor", "touches", "conversions_touched", "removal_effect"):
        wanted = [row[column] or 0.0 for row in single]
        assert [row[column] or 0.0 for row in again] == pytest.approx(wanted, rel=1e-9), column


def test_session_paths_collapse_cut_and_count_transitions(run: Any) -> None:
    events = as_events([("u", 0, "a"), ("u", 1, "a"), ("u", 2, "b"), ("u", 3, "purchase"), ("v", 0, "a>z")])
    result = run("paths", {"events": events}, {"max_length": 2})
    assert [
        (row["path"], row["entities"], row["conversions"]) for row in result.tables["paths"].to_pylist()
    ] == [
        ("a > b", 1, 1),
        ("a\u203az", 1, 0),
    ]
    pairs = {(row["source"], row["target"]): row["p_out"] for row in result.tables["transitions"].to_pylist()}
    assert pairs["path_start", "a"] == 0.5
    assert pairs["b", "purchase"] == pairs["purchase", "path_end"] == 1.0
