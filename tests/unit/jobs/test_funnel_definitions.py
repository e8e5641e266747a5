"""Funnels against an exhaustive search over all chains, for every mode, tie rule, exclusion and breakdown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise, product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.contracts.errors import InputError, ParameterError

Event = dict[str, Any]
Chain = tuple[Event, ...]
#: The third step overlaps the first, by name, and the second by a property.
STEPS: list[Any] = ["a", {"event": ["b", "c"], "where": {"price": {">=": 2}}}, {"where": {"price": [1, 3]}}]


def matches(event: Event, step: int) -> bool:
    if step == 1:
        return bool(event["event"] == "a")
    if step == 2:
        return event["event"] in {"b", "c"} and event["price"] >= 2
    return event["price"] in {1, 3}


def place(event: Event) -> tuple[int, int]:
    return event["time"], event["seq"]


def follows(later: Event, earlier: Event, ties: str) -> bool:
    if ties == "increase":
        return bool(later["time"] > earlier["time"])
    if ties == "step":
        return bool(later["time"] >= earlier["time"])
    return place(later) > place(earlier)


def void(chain: Chain, events: list[Event], exclusion: Any, ties: str) -> bool:
    """Whether an x lies between step i and step min(j, m)."""
    if exclusion is None:
        return False
    first, last = exclusion[0] - 1, min(exclusion[1], len(chain)) - 1
    if last <= first:
        return False
    # A chain that may go back inside a second has no single span: each pair of neighbours is looked at.
    spans = list(pairwise(chain[first : last + 1])) if ties == "step" else [(chain[first], chain[last])]
    inner = chain[first + 1 : last] if ties == "step" else ()
    return any(
        place(low) < place(event) < place(high)
        for event in events
        if event["event"] == "x"
        for low, high in spans
    ) or any(event["event"] == "x" for event in inner)


def chains(events: list[Event], case: dict[str, Any]) -> Iterator[Chain]:
    """Every chain that keeps the rules."""
    ordered = sorted(events, key=place)
    window = case["window"]
    for length in range(1, len(STEPS) + 1):
        if case["mode"] == "strict":
            candidates: Any = (
                tuple(ordered[start : start + length]) for start in range(len(ordered) - length + 1)
            )
        else:
            candidates = product(ordered, repeat=length)
        for chain in candidates:
            if not all(matches(event, step) for step, event in enumerate(chain, 1)):
                continue
            if case["mode"] == "ordered" and not all(
                follows(later, earlier, case["ties"]) for earlier, later in pairwise(chain)
            ):
                continue
            if window is not None and chain[-1]["time"] - chain[0]["time"] > window:
                continue
            if case["breakdown"] == "all" and len({event["breakdown"] for event in chain}) > 1:
                continue
            if not void(
                chain, ordered, case["exclusion"], case["ties"] if case["mode"] == "ordered" else "seq"
            ):
                yield chain


def first_chains(found: list[Chain], *, by_entry: bool) -> dict[int, Chain]:
    """By length the chain that is complete first, from the latest start.

    What lies between is the latest that fits; behind a given entry it is the earliest.
    """
    sign = 1 if by_entry else -1
    best: dict[int, tuple[Any, Chain]] = {}
    for chain in found:
        rank = (place(chain[-1]), tuple(sign * part for event in chain for part in place(event)))
        if len(chain) not in best or rank < best[len(chain)][0]:
            best[len(chain)] = rank, chain
    return {length: chain for length, (_, chain) in best.items()}


def expected(users: list[list[Event]], case: dict[str, Any]) -> dict[tuple[str, int], list[int]]:
    """By value and step the times to convert of those who reach it."""
    counted: dict[tuple[str, int], list[int]] = defaultdict(list)
    for events in users:
        groups: dict[Any, list[Chain]] = defaultdict(list)
        for chain in chains(events, case):
            part = chain[0]["breakdown"] if case["breakdown"] == "all" else "(all)"
            entry = place(chain[0]) if case["count"] == "entry" else None
            groups[part, entry].append(chain)
        for (part, _), found in groups.items():
            best = first_chains(found, by_entry=case["count"] == "entry")
            used = best[max(best)]
            for step, chain in best.items():
                value: Any = {
                    "first": used[0]["breakdown"],
                    "last": used[-1]["breakdown"],
                    "step": used[step - 1]["breakdown"],
                }.get(case["breakdown"], part)
                counted[value, step].append(chain[-1]["time"] - chain[0]["time"])
    return counted


histories = st.lists(
    st.lists(
        st.tuples(
            st.integers(0, 4), st.sampled_from("aabcx"), st.integers(1, 3), st.sampled_from(["p", "q"])
        ),
        max_size=6,
    ),
    min_size=1,
    max_size=25,
)
cases = st.fixed_dictionaries(
    {
        "mode": st.sampled_from(["ordered", "ordered", "strict"]),
        "ties": st.sampled_from(["seq", "step", "increase"]),
        "window": st.sampled_from([None, 0, 1, 3]),
        "exclusion": st.sampled_from([None, (1, 3), (1, 2), (2, 3)]),
        "breakdown": st.sampled_from([None, "first", "last", "step", "all"]),
        "count": st.sampled_from(["entity", "entity", "entry"]),
    }
)


def tabled(users: list[list[Any]]) -> list[list[Event]]:
    """Events with a seq that does not follow the order of the file."""
    return [
        [
            {"user_id": f"u{user}", "time": t, "seq": (place * 5) % 7, "event": e, "price": p, "breakdown": b}
            for place, (t, e, p, b) in enumerate(events)
        ]
        for user, events in enumerate(users)
    ]


def parameters(case: dict[str, Any]) -> dict[str, Any]:
    asked = {key: case[key] for key in ("mode", "ties", "window", "breakdown", "count")}
    if case["exclusion"] is not None:
        asked["exclusions"] = [{"event": "x", "from": case["exclusion"][0], "to": case["exclusion"][1]}]
    return {"steps": STEPS, **asked}


@settings(max_examples=40, deadline=None)
@given(histories, cases)
def test_every_funnel_equals_an_exhaustive_search(
    run: Any, raw: list[list[Any]], case: dict[str, Any]
) -> None:
    users = tabled(raw)
    events = [event for user in users for event in user]
    if not events:
        return
    rows = run("funnel", {"events": events}, parameters(case)).tables["funnel"].to_pylist()
    wanted = expected(users, case)
    found = {(row["breakdown"], row["step"]): row["entities"] for row in rows if row["entities"]}
    assert found == {key: len(times) for key, times in wanted.items()}
    for row in rows:
        times = wanted.get((row["breakdown"], row["step"]))
        assert row["ttc_mean_s"] == (pytest.approx(sum(times) / len(times)) if times else None)


def distinct_steps(events: list[Event], start: int, window: int | None) -> set[int]:
    return {
        step
        for event in events
        for step in (1, 2, 3)
        if matches(event, step)
        and event["time"] >= start
        and (window is None or event["time"] - start <= window)
    }


@settings(max_examples=12, deadline=None)
@given(histories, st.sampled_from([None, 0, 1, 3]), st.booleans())
def test_an_unordered_funnel_counts_the_distinct_steps_of_the_best_interval(
    run: Any, raw: list[list[Any]], window: int | None, by_value: bool
) -> None:
    events = [event for user in tabled(raw) for event in user]
    if not events:
        return
    params = {"steps": STEPS, "mode": "unordered", "window": window, "breakdown": "all" if by_value else None}
    rows = run("funnel", {"events": events}, params).tables["funnel"].to_pylist()
    groups: dict[Any, list[Event]] = defaultdict(list)
    for event in events:
        groups[event["user_id"], event["breakdown"] if by_value else "(all)"].append(event)
    wanted: dict[Any, int] = defaultdict(int)
    for (_, part), group in groups.items():
        starts = [event["time"] for event in group if any(matches(event, step) for step in (1, 2, 3))]
        best = max((len(distinct_steps(group, start, window)) for start in starts), default=0)
        for step in range(1, best + 1):
            wanted[part, step] += 1
    assert {(row["breakdown"], row["step"]): row["entities"] for row in rows if row["entities"]} == wanted


def test_sessions_as_entities_do_not_share_a_chain(run: Any) -> None:
    rows = [("u", 0, "a"), ("u", 10, "b"), ("u", 5_000, "a"), ("u", 9_000, "b"), ("v", 0, "a")]
    events = [{"user_id": u, "time": t, "seq": i, "event": e} for i, (u, t, e) in enumerate(rows)]
    result = run(
        "funnel", {"events": events}, {"steps": ["a", "b"], "entity": "session", "with_entities": True}
    )
    assert result.tables["funnel"].column("entities").to_pylist() == [3, 1]
    assert [(row["entity_id"], row["level"]) for row in result.tables["funnel_entities"].to_pylist()] == [
        ("u:0:1", 2),
        ("u:5000:2", 1),
        ("v:0:1", 1),
    ]


def test_a_missing_breakdown_is_a_value_of_its_own(run: Any) -> None:
    events = [
        {"user_id": user, "time": 0, "seq": 0, "event": "a", "breakdown": value}
        for user, value in (("u", None), ("v", "ios"))
    ]
    rows = run("funnel", {"events": events}, {"steps": ["a", "b"], "breakdown": "first"}).tables["funnel"]
    assert [(row["breakdown"], row["step"], row["entities"]) for row in rows.to_pylist()] == [
        ("(none)", 1, 1),
        ("(none)", 2, 0),
        ("ios", 1, 1),
        ("ios", 2, 0),
    ]


def test_thirty_two_steps_are_taken(run: Any) -> None:
    names = [f"s{index}" for index in range(32)]
    events = [{"user_id": "u", "time": i, "seq": i, "event": name} for i, name in enumerate(names)]
    for mode in ("ordered", "strict", "unordered"):
        rows = run("funnel", {"events": events}, {"steps": names, "mode": mode}).tables["funnel"]
        assert rows.column("entities").to_pylist() == [1] * 32
    rows = run("funnel", {"events": events}, {"steps": names, "exclusions": ["x"]}).tables["funnel"]
    assert rows.column("entities").to_pylist() == [1] * 32


def test_an_exclusion_takes_back_only_what_comes_after_it(run: Any) -> None:
    events = [{"user_id": "u", "time": i, "seq": i, "event": name} for i, name in enumerate("abxc")]

    def entities(exclusion: Any) -> list[int]:
        params = {"steps": ["a", "b", "c"], "exclusions": [exclusion]}
        found: list[int] = run("funnel", {"events": events}, params).tables["funnel"]["entities"].to_pylist()
        return found

    assert entities("x") == [1, 1, 0]
    assert entities({"event": "x", "from": 1, "to": 2}) == [1, 1, 1]
    assert entities({"event": "x", "steps": [2, 3]}) == [1, 1, 0]


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"steps": ["a"] * 33}, "parameter steps"),
        ({"steps": [{"name": "x"}]}, r"parameter steps\[0\]"),
        ({"steps": [{"where": {"price": {"~": 1}}}]}, r"parameter steps\[0\].where.price"),
        ({"steps": [{"where": {"price": {">": [1, "a"]}}}]}, r"parameter steps\[0\].where.price"),
        ({"steps": [{"where": {"p-1": 1}}]}, r"parameter steps\[0\].where"),
        ({"steps": [["a", "a"]]}, r"parameter steps\[0\]"),
        ({"steps": ["a", "b"], "exclusions": [{"event": "x", "from": 2, "to": 2}]}, r"exclusions\[0\]"),
        ({"steps": ["a", "b"], "exclusions": [{"event": "x", "to": 3}]}, r"exclusions\[0\]"),
        ({"steps": ["a"], "mode": "unordered", "exclusions": ["x"]}, "parameter exclusions"),
        ({"steps": ["a"], "mode": "unordered", "count": "entry"}, "parameter count"),
        ({"steps": ["a"], "breakdown": "middle"}, "parameter breakdown"),
    ],
)
def test_impossible_options_name_their_parameter(run: Any, params: dict[str, Any], named: str) -> None:
    with pytest.raises(ParameterError, match=named):
        run("funnel", {"events": []}, params)


def test_a_property_that_the_file_lacks_is_refused(run: Any) -> None:
    events = [{"user_id": "u", "time": 0, "seq": 0, "event": "a"}]
    with pytest.raises(InputError, match="column price"):
        run("funnel", {"events": events}, {"steps": [{"event": "a", "where": {"price": 1}}]})


def test_a_window_beyond_64_bits_is_refused_and_the_longest_one_is_any(run: Any) -> None:
    last = 253_402_300_799
    events = [
        {"user_id": "u", "time": 0, "seq": 1, "event": "a"},
        {"user_id": "u", "time": last, "seq": 2, "event": "b"},
    ]
    for mode in ("ordered", "strict", "unordered"):
        params = {"steps": ["a", "b"], "mode": mode, "window": (1 << 63) - 1}
        found = run("funnel", {"events": events}, params).tables["funnel"]
        assert (found["entities"].to_pylist(), found["ttc_p50_s"].to_pylist()[1]) == ([1, 1], last)
        with pytest.raises(ParameterError, match="parameter window: 9223372036854775808 is not allowed"):
            run("funnel", {"events": events}, params | {"window": 1 << 63})
