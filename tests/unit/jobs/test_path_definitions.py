"""Paths, transitions and the step matrix against plain Python, with anchors, cuts and grouping."""

from __future__ import annotations

from collections import Counter
from itertools import groupby, pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.contracts.errors import ParameterError

histories = st.lists(
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from("abcd")), min_size=1, max_size=8),
    min_size=1,
    max_size=12,
)
anchor = st.sampled_from([None, ["a"], ["b", "c"]])
cases = st.fixed_dictionaries(
    {
        "collapse": st.sampled_from(["consecutive", "none", "set"]),
        "start": anchor,
        "end": anchor,
        "through": anchor,
        "max_length": st.sampled_from([1, 2, 3, 10]),
    }
)
Step = tuple[int, str]


def trimmed(steps: list[Step], case: dict[str, Any]) -> list[Step] | None:
    """The path before the cut; None for one that is left out."""
    if case["collapse"] == "consecutive":
        steps = [next(run) for _, run in groupby(steps, key=lambda step: step[1])]
    if case["collapse"] == "set":
        steps = [step for place, step in enumerate(steps) if step[1] not in {s for _, s in steps[:place]}]
    found = [place for place, step in enumerate(steps) if case["start"] and step[1] in case["start"]]
    if case["start"]:
        if not found:
            return None
        steps = steps[found[0] :]
    if case["end"]:
        behind = 1 if case["start"] else 0
        ends = [place for place in range(behind, len(steps)) if steps[place][1] in case["end"]]
        if not ends:
            return None
        steps = steps[: ends[0] + 1]
    if case["through"] and not {step[1] for step in steps} & set(case["through"]):
        return None
    return steps


def cut(steps: list[Step], case: dict[str, Any]) -> list[str]:
    last = case["end"] and not case["start"]
    names = [name for _, name in steps]
    return names[-case["max_length"] :] if last else names[: case["max_length"]]


@settings(max_examples=20, deadline=None)
@given(histories, cases)
def test_paths_equal_a_plain_computation(run: Any, raw: list[list[Any]], case: dict[str, Any]) -> None:
    events = [
        {"user_id": f"u{user}", "time": t, "seq": place, "event": name}
        for user, steps in enumerate(raw)
        for place, (t, name) in enumerate(steps)
    ]
    result = run("paths", {"events": events}, {**case, "entity": "user"}).tables
    # The order is (time, seq), and sorting by time keeps seq's order.
    whole = [trimmed(sorted(steps, key=lambda step: step[0]), case) for steps in raw]
    kept = [steps for steps in whole if steps is not None]
    wanted = Counter(" > ".join(cut(steps, case)) for steps in kept)
    assert {row["path"]: row["entities"] for row in result["paths"].to_pylist()} == wanted
    moves = Counter(
        pair for steps in kept for pair in pairwise(["path_start", *(name for _, name in steps), "path_end"])
    )
    found = {(row["source"], row["target"]): row["count"] for row in result["transitions"].to_pylist()}
    assert found == moves
    matrix: Counter[Any] = Counter()
    for steps in kept:
        names = ["path_start", *cut(steps, case)]
        for step in range(case["max_length"] + 1):
            matrix[step, names[step] if step < len(names) else "path_end"] += 1
    shares = {(row["step"], row["event"]): row["share"] for row in result["step_matrix"].to_pylist()}
    assert shares == pytest.approx({key: count / len(kept) for key, count in matrix.items()})


def paths_of(run: Any, names: list[str], **params: Any) -> list[str]:
    events = [
        {"user_id": "u", "time": place, "seq": place, "event": name} for place, name in enumerate(names)
    ]
    found: list[str] = run("paths", {"events": events}, params).tables["paths"].column("path").to_pylist()
    return found


def test_the_duration_is_that_of_the_trimmed_path_and_the_value_that_of_the_entity(run: Any) -> None:
    rows = [(0, "a", None), (10, "b", None), (30, "c", None), (60, "purchase", 700)]
    events = [
        {"user_id": "u", "time": t, "seq": t, "event": name, "value_minor": value} for t, name, value in rows
    ]
    found = run("paths", {"events": events}, {"start": "b", "end": "c"}).tables["paths"].to_pylist()
    assert [(row["path"], row["p50_duration_s"], row["value_minor"]) for row in found] == [
        ("b > c", 20.0, 700)
    ]


@pytest.mark.parametrize(
    ("rules", "path"),
    [
        ("/product/{id}", "/product/{id} > cart > HTTPS://shop.example/product/9/reviews"),
        (["/product/**", "ca.*"], "/product/** > cart > /product/**"),
        ("(product)/[0-9]+", "product > cart > product"),
        ([{"regex": "(?i)product", "name": "a \\ page"}], "a \\ page > cart > a \\ page"),
        (
            [r"^\w+(r)t$", "none"],
            "/product/7?x=1#y > /product/8/ > r > HTTPS://shop.example/product/9/reviews",
        ),
        ("https://shop.example/product/:id", "https://shop.example/product/:id > cart > rest"),
    ],
)
def test_grouping_makes_one_step_of_many_names(run: Any, rules: Any, path: str) -> None:
    names = ["/product/7?x=1#y", "/product/8/", "cart", "HTTPS://shop.example/product/9/reviews"]
    if str(rules).startswith("https"):
        names = ["https://shop.example/product/7?x=1#y", "cart", "rest"]
    assert paths_of(run, names, grouping=rules) == [path]


@pytest.mark.parametrize("rule", ["(", "(?=a)", r"(a)\1", "(?P<x>a)", "a*+", {"regex": "a"}, 7, [""]])
def test_expressions_that_only_one_engine_knows_are_refused(run: Any, rule: Any) -> None:
    with pytest.raises(ParameterError, match="parameter grouping"):
        paths_of(run, ["a"], grouping=rule)
