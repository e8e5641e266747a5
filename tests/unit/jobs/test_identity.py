"""Identity stitching: the first edge, whole components, and events that meet under one id."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.contracts.errors import InputError, ParameterError


def edge(anonymous: str, user: str, time: int) -> dict[str, Any]:
    return {"anonymous_id": anonymous, "user_id": user, "time": time}


def events_of(ids: str) -> list[dict[str, Any]]:
    return [
        {"user_id": user, "time": 10 * place, "seq": place, "event": "a"} for place, user in enumerate(ids)
    ]


def users(run: Any, ids: str, edges: list[dict[str, Any]], stitch: str | None = None) -> dict[str, int]:
    params = {} if stitch is None else {"stitch": stitch}
    tables = run("sessions", {"events": events_of(ids), "identity_edges": edges}, params).tables
    return {row["user_id"]: row["events"] for row in tables["sessions"].to_pylist()}


def test_the_first_edge_names_the_user_and_ties_go_to_the_smaller_id(run: Any) -> None:
    edges = [edge("x", "v", 5), edge("x", "u", 5), edge("x", "a", 6), edge("y", "z", 9), edge("y", "u", 3)]
    assert users(run, "xyuw", edges) == {"u": 3, "w": 1}


def test_first_does_not_follow_edges_of_the_user(run: Any) -> None:
    assert users(run, "xyz", [edge("x", "y", 1), edge("y", "z", 1)]) == {"y": 1, "z": 2}


def test_none_leaves_every_id_as_it_is(run: Any) -> None:
    assert users(run, "xy", [edge("x", "y", 1)], "none") == {"x": 1, "y": 1}


pairs = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("abcdefgh")), min_size=1, max_size=10)


@settings(max_examples=12, deadline=None)
@given(pairs)
def test_graph_joins_whole_components_under_their_smallest_id(
    run: Any, joined: list[tuple[str, str]]
) -> None:
    smallest = {name: name for name in "abcdefgh"}
    for _ in smallest:
        for left, right in joined:
            smallest[left] = smallest[right] = min(smallest[left], smallest[right])
    wanted: dict[str, int] = {}
    for name in "abcdefgh":
        wanted[smallest[name]] = wanted.get(smallest[name], 0) + 1
    assert users(run, "abcdefgh", [edge(left, right, 0) for left, right in joined], "graph") == wanted


def test_a_long_chain_is_one_component(run: Any) -> None:
    names = [f"n{index:04}" for index in range(300)]
    ordered = names[::2] + names[1::2]
    edges = [edge(left, right, 0) for left, right in pairwise(ordered)]
    events = [{"user_id": name, "time": 0, "seq": 0, "event": "a"} for name in names]
    rows = run("sessions", {"events": events, "identity_edges": edges}, {"stitch": "graph"})
    assert [(row["user_id"], row["events"]) for row in rows.tables["sessions"].to_pylist()] == [
        ("n0000", 300)
    ]
    assert rows.manifest["rows_excluded"]["events"] == {}


def test_events_of_two_ids_with_one_second_and_seq_are_both_kept_in_the_order_of_their_ids(run: Any) -> None:
    events = [
        {"user_id": "x2", "time": 7, "seq": 1, "event": "b"},
        {"user_id": "x1", "time": 7, "seq": 1, "event": "a"},
        {"user_id": "x1", "time": 7, "seq": 0, "event": "c"},
    ]
    edges = [edge("x1", "u", 0), edge("x2", "u", 0)]
    paths = run("paths", {"events": events, "identity_edges": edges}).tables["paths"]
    assert paths.column("path").to_pylist() == ["c > a > b"]
    funnel = run("funnel", {"events": events, "identity_edges": edges}, {"steps": ["a", "b"]}).tables[
        "funnel"
    ]
    assert funnel.column("entities").to_pylist() == [1, 1]


def test_attribution_finds_the_touches_of_a_former_id(run: Any) -> None:
    inputs = {
        "touches": [{"user_id": "x", "time": 5, "seq": 0, "channel": "email"}],
        "conversions": [{"conversion_id": "c", "user_id": "u", "time": 9, "value_minor": 100}],
        "identity_edges": [edge("x", "u", 7)],
    }
    rows = run("attribution", inputs).tables["attribution"].to_pylist()
    assert {row["channel"] for row in rows} == {"email"}


def test_a_ranking_by_users_counts_the_ids_of_one_user_once(run: Any) -> None:
    items = [{"item": item, "user_id": user} for item, user in ("ax", "au", "ay", "bx", "bz")]
    items.append({"item": "b", "user_id": None})
    inputs = {"items": items, "identity_edges": [edge("x", "u", 0), edge("y", "x", 0)]}

    def counts(mode: str) -> dict[str, float]:
        rows = run("ranking", inputs, {"metric": "count_distinct", "stitch": mode}).tables["ranking"]
        return dict(zip(rows["item"].to_pylist(), rows["metric"].to_pylist(), strict=True))

    assert counts("none") == {"a": 3, "b": 2}
    assert counts("first") == {"a": 2, "b": 2}
    assert counts("graph") == {"a": 1, "b": 2}


def test_edges_without_an_id_are_excluded_and_counted(run: Any) -> None:
    edges = [edge("x", "u", 0), {"anonymous_id": None, "user_id": "u", "time": 0}]
    result = run("sessions", {"events": events_of("x"), "identity_edges": edges})
    assert result.manifest["rows_excluded"]["identity_edges"] == {"null_anonymous_id": 1}


def test_an_unknown_mode_and_a_missing_column_are_refused(run: Any) -> None:
    with pytest.raises(ParameterError, match="parameter stitch"):
        users(run, "x", [edge("x", "u", 0)], "guess")
    with pytest.raises(InputError, match="identity_edges: column user_id"):
        run("sessions", {"events": events_of("x"), "identity_edges": [{"anonymous_id": "x", "time": 0}]})
