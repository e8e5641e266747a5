"""Attribution against a plain Python computation, and its stated edges."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.contracts.errors import InputError, ParameterError

DAY = 86_400
MODELS = ["first", "last", "last_non_direct", "linear", "position"]
WEIGHTS = (0.35, 0.3, 0.35)


def credits_of(path: list[str], model: str) -> list[float]:
    n = len(path)
    chosen = {"first": 0, "last": n - 1}.get(model)
    if model == "last_non_direct":
        chosen = max((i for i, channel in enumerate(path) if channel != "direct"), default=n - 1)
    if chosen is not None:
        return [1.0 if i == chosen else 0.0 for i in range(n)]
    if model == "linear":
        return [1 / n] * n
    first, middle, last = WEIGHTS
    if n == 1:
        return [1.0]
    if n == 2:
        return [first + middle / 2, last + middle / 2]
    return [first, *[middle / (n - 2)] * (n - 2), last]


def path_of(
    conversion: dict[str, Any], conversions: list[Any], touches: list[Any], params: dict[str, Any]
) -> list[str]:
    def order(row: dict[str, Any]) -> tuple[int, str]:
        return row["time"], row["conversion_id"]

    before = [
        other["time"]
        for other in conversions
        if other["user_id"] == conversion["user_id"] and order(other) < order(conversion)
    ]
    found = []
    for touch in sorted(touches, key=lambda row: (row["time"], row["seq"])):
        age = conversion["time"] - touch["time"]
        if touch["user_id"] != conversion["user_id"] or not (touch["channel"] or "").strip():
            continue
        if not 0 <= age <= params["lookback"] or (params["strict_before"] and age == 0):
            continue
        if params["touch_reuse"] == "since_previous" and before and touch["time"] <= max(before):
            continue
        found.append(touch["channel"].strip())
    if params["max_touches"]:
        found = found[-params["max_touches"] :]
    found = [channel for channel in found if channel not in params["exclude_channels"]]
    if params["repeats"] == "collapse":
        found = [channel for i, channel in enumerate(found) if i == 0 or found[i - 1] != channel]
    return found


def expected(
    conversions: list[Any], touches: list[Any], params: dict[str, Any]
) -> dict[tuple[str, str], tuple[float, float]]:
    sums: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0, 0.0])
    for conversion in conversions:
        path = path_of(conversion, conversions, touches, params)
        for model in MODELS:
            shares = (
                list(zip(path, credits_of(path, model), strict=True)) if path else [("(unattributed)", 1.0)]
            )
            for channel, credit in shares:
                sums[model, channel][0] += credit
                sums[model, channel][1] += credit * (conversion["value_minor"] or 0)
    return {key: (value[0], value[1]) for key, value in sums.items()}


times = st.integers(0, 12).map(lambda n: 1_000_000 + n * 10)
users = st.sampled_from(["u", "v"])
touch_rows = st.lists(
    st.fixed_dictionaries(
        {"user_id": users, "time": times, "channel": st.sampled_from(["a", " b ", "direct", "c", "", None])}
    ),
    max_size=14,
)
conversion_rows = st.lists(
    st.fixed_dictionaries(
        {"user_id": users, "time": times, "value_minor": st.one_of(st.none(), st.integers(0, 500))}
    ),
    min_size=1,
    max_size=5,
)
option_sets = st.fixed_dictionaries(
    {
        "lookback": st.sampled_from([0, 10, 50, 30 * DAY]),
        "touch_reuse": st.sampled_from(["all", "since_previous"]),
        "strict_before": st.booleans(),
        "max_touches": st.sampled_from([None, 1, 2, 3]),
        "exclude_channels": st.sampled_from([[], ["a"], ["b", "direct"]]),
        "repeats": st.sampled_from(["keep", "collapse"]),
    }
)


@settings(max_examples=40, deadline=None)
@given(touch_rows, conversion_rows, option_sets)
def test_credits_equal_a_plain_computation_and_add_up(
    run: Any, touches: list[Any], conversions: list[Any], params: dict[str, Any]
) -> None:
    touches = [row | {"seq": index} for index, row in enumerate(touches)]
    conversions = [row | {"conversion_id": f"c{index}"} for index, row in enumerate(conversions)]
    result = run(
        "attribution", {"touches": touches, "conversions": conversions}, {**params, "position": list(WEIGHTS)}
    )
    rows = result.tables["attribution"].to_pylist()
    wanted = expected(conversions, touches, params)
    for row in rows:
        conversions_sum, value_sum = wanted.pop((row["model"], row["channel"]), (0.0, 0.0))
        assert row["conversions"] == pytest.approx(conversions_sum, rel=1e-9, abs=1e-12)
        assert row["value_minor"] == pytest.approx(value_sum, rel=1e-9, abs=1e-9)
    assert not wanted
    for model in MODELS:
        of_model = [row for row in rows if row["model"] == model]
        assert math.isclose(sum(row["conversions"] for row in of_model), len(conversions), rel_tol=1e-9)
        assert math.isclose(sum(row["share"] for row in of_model), 1, rel_tol=1e-9)


def test_the_lookback_holds_both_ends(run: Any) -> None:
    touches = [
        {"user_id": "u", "time": 1_000_000 + offset, "seq": i, "channel": f"c{offset}"}
        for i, offset in enumerate([0, 1, 100, 101])
    ]
    conversions = [{"conversion_id": "x", "user_id": "u", "time": 1_000_100, "value_minor": 10}]
    result = run(
        "attribution",
        {"touches": touches, "conversions": conversions},
        {"lookback": 100, "models": ["linear"]},
    )
    assert sorted(row["channel"] for row in result.tables["attribution"].to_pylist()) == ["c0", "c1", "c100"]


def test_aggregated_paths_are_weighted_by_their_conversions(run: Any) -> None:
    paths = [
        {"path": "a > b", "conversions": 3, "value_minor": 30},
        {"path": " a>  b ", "conversions": 1, "value_minor": 2},
        {"path": " > ", "conversions": 2, "value_minor": 5},
        {"path": "z", "conversions": 0, "value_minor": 0, "nulls": 9},
    ]
    rows = run("attribution", {"paths": paths}, {"models": ["first"]}).tables["attribution"].to_pylist()
    assert [(row["channel"], row["conversions"], row["value_minor"], row["touches"]) for row in rows] == [
        ("a", 4.0, 32.0, 4),
        ("(unattributed)", 2.0, 5.0, 0),
        ("b", 0.0, 0.0, 4),
        ("z", 0.0, 0.0, 0),
    ]


def test_a_channel_that_only_lost_has_a_row_whatever_models_are_asked_for(run: Any) -> None:
    paths = [
        {"path": "a", "conversions": 2, "value_minor": 30, "nulls": 0},
        {"path": "lost", "conversions": 0, "value_minor": 0, "nulls": 3},
        {"path": "idle", "conversions": 0, "value_minor": 0, "nulls": 0},
    ]
    for models in (["linear"], ["shapley", "markov"]):
        rows = run("attribution", {"paths": paths}, {"models": models}).tables["attribution"].to_pylist()
        found = {(row["model"], row["channel"]): row["conversions"] for row in rows}
        assert found == {
            (model, channel): credit for model in models for channel, credit in (("a", 2.0), ("lost", 0.0))
        }


def test_single_touch_credits_add_up_to_the_summary(run: Any) -> None:
    touches = [{"user_id": "u", "time": 1_000_000 + i, "seq": i, "channel": "ab"[i % 2]} for i in range(5)]
    conversions = [{"conversion_id": "x", "user_id": "u", "time": 1_000_010, "value_minor": 10}]
    result = run("attribution", {"touches": touches, "conversions": conversions}, {"with_touches": True})
    sums: dict[tuple[str, str], float] = defaultdict(float)
    for row in result.tables["attribution_touches"].to_pylist():
        sums[row["model"], row["channel"]] += row["credit"]
    for row in result.tables["attribution"].to_pylist():
        assert sums[row["model"], row["channel"]] == pytest.approx(row["conversions"])


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"models": ["markow"]}, "'markow' is not allowed; give one of first, last"),
        ({"models": ["time_decay"]}, "time_decay needs times, which the input paths has not"),
        ({"models": ["markov"], "nulls": "users"}, "paths counts them itself, in its column nulls"),
        ({"models": ["first"], "intervals": True}, "intervals: it needs markov among the models"),
        ({"order": 0}, "parameter order: 0 is not allowed; give an integer from 1 to 8"),
        ({"half_life": 0}, "parameter half_life: 0 is not allowed; give an integer of at least 1"),
        ({"models": []}, "parameter models"),
        ({"position": [0.5, 0.2, 0.4]}, "add up to 1"),
        ({"lookback": -1}, "parameter lookback: -1 is not allowed; give an integer of at least 0"),
        ({"lookback": 1.5}, "parameter lookback"),
        ({"window": 5}, "unknown parameter window"),
        ({"from": 20, "to": 10}, "20..10 is empty"),
        ({"with_touches": True}, "paths has no single touches"),
    ],
)
def test_impossible_parameters_are_refused_by_name(run: Any, params: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        run("attribution", {"paths": [{"path": "a", "conversions": 1}]}, params)


def test_negative_counts_are_refused(run: Any) -> None:
    with pytest.raises(InputError, match="1 rows have a negative count"):
        run("attribution", {"paths": [{"path": "a", "conversions": -1}]})


def test_mixed_and_missing_inputs_are_refused(run: Any) -> None:
    with pytest.raises(InputError, match="not both"):
        run("attribution", {"paths": [{"path": "a", "conversions": 1}], "touches": []})
    with pytest.raises(InputError, match="--input conversions=FILE"):
        run("attribution", {"touches": []})
