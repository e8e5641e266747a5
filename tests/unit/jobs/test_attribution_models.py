"""Markov, Shapley and time decay against brute force; their edges; spend; error bars."""

from __future__ import annotations

import math
from collections import defaultdict
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.contracts.errors import InputError, ParameterError

DAY = 86_400
START, CONVERSION, NULL = "(start)", "(conversion)", "(null)"


def path_rows(max_size: int = 8) -> Any:
    return st.lists(
        st.fixed_dictionaries(
            {
                "path": st.lists(st.sampled_from("abcd"), max_size=5).map(" > ".join),
                "conversions": st.integers(0, 3),
                "value_minor": st.integers(0, 50),
                "nulls": st.integers(0, 3),
            }
        ),
        min_size=1,
        max_size=max_size,
    ).map(
        lambda rows: [row if row["conversions"] else row | {"value_minor": 0} for row in rows],
    )


def collapsed(path: str) -> list[str]:
    channels = [part for part in path.split(" > ") if part]
    return [channel for i, channel in enumerate(channels) if i == 0 or channels[i - 1] != channel]


def states_of(channels: list[str], order: int) -> list[tuple[str, ...]]:
    if len(channels) <= order:
        return [tuple(channels)]
    return [tuple(channels[i : i + order]) for i in range(len(channels) - order + 1)]


def transition_weights(rows: list[Any], order: int) -> dict[Any, dict[Any, float]]:
    weights: dict[Any, dict[Any, float]] = defaultdict(lambda: defaultdict(float))
    for row in rows:
        channels = collapsed(row["path"])
        if not channels:
            continue
        states = states_of(channels, order)
        for source, target in pairwise([START, *states]):
            weights[source][target] += row["conversions"] + row["nulls"]
        weights[states[-1]][CONVERSION] += row["conversions"]
        weights[states[-1]][NULL] += row["nulls"]
    return weights


def mean_values(rows: list[Any], order: int) -> dict[Any, float]:
    sums: dict[Any, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for row in rows:
        if channels := collapsed(row["path"]):
            last = states_of(channels, order)[-1]
            sums[last][0] += row["value_minor"]
            sums[last][1] += row["conversions"]
    return {state: value / count if count else 0.0 for state, (value, count) in sums.items()}


def reached(weights: Any, rewards: dict[Any, float], removed: str | None) -> float:
    """A dense solve of the chance, or value, of a conversion without the states that hold a channel."""
    states = [state for state in weights if sum(weights[state].values()) > 0]
    states = [state for state in states if state == START or removed not in state]
    if START not in states:
        return 0.0
    place = {state: number for number, state in enumerate(states)}
    system, right = np.eye(len(states)), np.zeros(len(states))
    for state, number in place.items():
        out = sum(weights[state].values())
        for target, weight in weights[state].items():
            if target == CONVERSION:
                right[number] += weight / out * rewards.get(state, 1.0)
            elif target in place:
                system[number, place[target]] -= weight / out
    return float(np.linalg.solve(system, right)[place[START]])


def brute_force(rows: list[Any], order: int) -> dict[str, tuple[float | None, float | None, float | None]]:
    rows = [row for row in rows if row["conversions"] + row["nulls"] > 0]
    channels = sorted({channel for row in rows for channel in collapsed(row["path"])})
    weights, values = transition_weights(rows, order), mean_values(rows, order)
    touched = [row for row in rows if collapsed(row["path"])]
    total = sum(row["conversions"] for row in touched)
    value = sum(row["value_minor"] for row in touched)
    if not total:
        return dict.fromkeys(channels, (None, None, None))
    found = []
    for rewards, amount in (({}, total), (values, value)):
        whole = reached(weights, rewards, None)
        effects = [1 - reached(weights, rewards, channel) / whole if whole else 0.0 for channel in channels]
        found.append((effects, [amount * e / sum(effects) if amount else 0.0 for e in effects]))
    return {channel: (found[0][1][i], found[1][1][i], found[0][0][i]) for i, channel in enumerate(channels)}


def by_channel(run: Any, inputs: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
    table = run("attribution", inputs, params).tables["attribution"]
    return {row["channel"]: row for row in table.to_pylist()}


@settings(max_examples=30, deadline=None)
@given(path_rows(), st.integers(1, 3))
def test_markov_equals_a_dense_solve_without_each_channel(run: Any, rows: list[Any], order: int) -> None:
    found = by_channel(run, {"paths": rows}, {"models": ["markov"], "order": order})
    left = found.pop("(unattributed)", None)
    wanted = brute_force(rows, order)
    assert found.keys() == wanted.keys()
    for channel, numbers in wanted.items():
        row = found[channel]
        for number, name in zip(numbers, ("conversions", "value_minor", "removal_effect"), strict=True):
            if number is None:
                assert row[name] is None
            else:
                assert row[name] == pytest.approx(number, rel=1e-9, abs=1e-9)
    counted = sum(row["conversions"] for row in rows)
    if any(row["conversions"] for row in rows if collapsed(row["path"])):
        shared = (
            sum(row["conversions"] for row in found.values()) + (left or {"conversions": 0})["conversions"]
        )
        assert math.isclose(shared, counted, rel_tol=1e-9)


@settings(max_examples=20, deadline=None)
@given(path_rows())
def test_shapley_equals_the_enumeration_of_all_coalitions(run: Any, rows: list[Any]) -> None:
    found = by_channel(run, {"paths": rows}, {"models": ["shapley"]})
    found.pop("(unattributed)", None)
    players = sorted(found)

    def worth(coalition: tuple[str, ...], name: str) -> float:
        return sum(
            row[name]
            for row in rows
            if collapsed(row["path"]) and set(collapsed(row["path"])) <= set(coalition)
        )

    for player in players:
        others = [channel for channel in players if channel != player]
        for name in ("conversions", "value_minor"):
            expected = sum(
                math.factorial(size)
                * math.factorial(len(others) - size)
                / math.factorial(len(players))
                * (worth((*coalition, player), name) - worth(coalition, name))
                for size in range(len(others) + 1)
                for coalition in combinations(others, size)
            )
            assert found[player][name] == pytest.approx(expected, rel=1e-9, abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 40), st.sampled_from("ab")), min_size=1, max_size=6),
    st.integers(1, 7),
    st.booleans(),
)
def test_time_decay_equals_its_formula(run: Any, ages: list[Any], half_life: int, stepped: bool) -> None:
    touches = [
        {"user_id": "u", "time": 1000 - age, "seq": i, "channel": c} for i, (age, c) in enumerate(ages)
    ]
    conversions = [{"conversion_id": "x", "user_id": "u", "time": 1000, "value_minor": 700}]
    params = {"models": ["time_decay"], "half_life": half_life, "stepped": stepped, "with_touches": True}
    result = run("attribution", {"touches": touches, "conversions": conversions}, params)
    weights = [2.0 ** -(age // half_life if stepped else age / half_life) for age, _ in ages]
    for row in result.tables["attribution"].to_pylist():
        mine = sum(
            weight for weight, (_, channel) in zip(weights, ages, strict=True) if channel == row["channel"]
        )
        assert row["conversions"] == pytest.approx(mine / sum(weights), rel=1e-9)
        assert row["value_minor"] == pytest.approx(700 * mine / sum(weights), rel=1e-9)
    shares = [row["credit"] for row in result.tables["attribution_touches"].to_pylist()]
    in_order = [weight for _, weight in sorted(zip(ages, weights, strict=True), key=lambda pair: -pair[0][0])]
    assert sorted(shares) == pytest.approx(sorted(weight / sum(in_order) for weight in in_order))


def test_very_old_touches_still_share_their_conversion(run: Any) -> None:
    touches = [{"user_id": "u", "time": t, "seq": t, "channel": c} for t, c in ((1, "a"), (2, "b"), (3, "b"))]
    conversions = [{"conversion_id": "x", "user_id": "u", "time": 2_000_000, "value_minor": 7}]
    found = by_channel(
        run,
        {"touches": touches, "conversions": conversions},
        {"models": ["time_decay"], "half_life": 1},
    )
    assert found["a"]["conversions"] == pytest.approx(1 / 7)
    assert found["b"]["value_minor"] == pytest.approx(6.0)


def test_an_even_longer_pause_between_touches_gives_the_older_one_nothing(run: Any) -> None:
    touches = [{"user_id": "u", "time": t, "seq": t, "channel": c} for t, c in ((0, "a"), (2_000_000, "b"))]
    conversions = [{"conversion_id": "x", "user_id": "u", "time": 2_000_000, "value_minor": 7}]
    found = by_channel(
        run, {"touches": touches, "conversions": conversions}, {"models": ["time_decay"], "half_life": 1}
    )
    assert (found["a"]["conversions"], found["b"]["conversions"]) == (pytest.approx(0, abs=1e-300), 1.0)


def test_single_touches_carry_the_credits_of_every_model_but_markov(run: Any) -> None:
    touches = [
        {"user_id": "u", "time": 1_000_000 + i, "seq": i, "channel": channel}
        for i, channel in enumerate("abacd")
    ]
    conversions = [{"conversion_id": "x", "user_id": "u", "time": 1_000_010, "value_minor": 10}]
    models = ["first", "linear", "time_decay", "shapley", "markov"]
    result = run(
        "attribution",
        {"touches": touches, "conversions": conversions},
        {"models": models, "with_touches": True},
    )
    sums: dict[tuple[str, str], float] = defaultdict(float)
    for row in result.tables["attribution_touches"].to_pylist():
        sums[row["model"], row["channel"]] += row["credit"]
    assert {model for model, _ in sums} == set(models) - {"markov"}
    for row in result.tables["attribution"].to_pylist():
        if row["model"] != "markov":
            assert sums[row["model"], row["channel"]] == pytest.approx(row["conversions"])


def test_a_channel_only_on_lost_paths_has_no_effect_and_no_conversion_no_credit(run: Any) -> None:
    rows = [
        {"path": "a > b", "conversions": 1, "value_minor": 9, "nulls": 1},
        {"path": "z", "conversions": 0, "nulls": 4},
    ]
    found = by_channel(run, {"paths": rows}, {"models": ["markov", "first"]})
    assert (found["z"]["conversions"], found["z"]["touches"]) == (0.0, 0)
    lost = by_channel(run, {"paths": [{"path": "a", "conversions": 0, "nulls": 3}]}, {"models": ["markov"]})
    assert [(row["conversions"], row["removal_effect"], row["share"]) for row in lost.values()] == [
        (None, None, None)
    ]


def test_users_without_a_conversion_may_count_as_lost_paths(run: Any) -> None:
    touches = [
        {"user_id": user, "time": 1_000_000 + i, "seq": i, "channel": channel}
        for i, (user, channel) in enumerate([("u", "a"), ("u", "b"), ("v", "a"), ("w", "b"), ("w", "b")])
    ]
    conversions = [{"conversion_id": "x", "user_id": "u", "time": 1_000_010, "value_minor": 10}]
    inputs = {"touches": touches, "conversions": conversions}
    aggregated = [
        {"path": "a > b", "conversions": 1, "value_minor": 10},
        {"path": "a", "conversions": 0, "nulls": 1},
        {"path": "b > b", "conversions": 0, "nulls": 1},
    ]
    for params in ({}, {"order": 2}):
        single = by_channel(run, inputs, {"models": ["markov"], "nulls": "users", **params})
        together = by_channel(run, {"paths": aggregated}, {"models": ["markov"], **params})
        for channel in "ab":
            for name in ("conversions", "value_minor", "removal_effect", "touches"):
                assert single[channel][name] == pytest.approx(together[channel][name]), (channel, name)
    for params in ({"strict_before": True}, {"lookback": 0}):
        kept = by_channel(run, inputs, {"models": ["markov"], "nulls": "users", **params})
        assert kept["(unattributed)" if params.get("lookback") == 0 else "a"]["conversions"] > 0
    named = run("attribution", inputs, {"models": ["markov", "last"], "nulls": "users", "with_touches": True})
    assert set(named.tables["attribution_touches"].column("conversion_id").to_pylist()) == {"x"}


def test_spend_gives_a_return_and_shows_what_brought_nothing(run: Any) -> None:
    spend = [
        {"channel": "a", "spend_minor": 300},
        {"channel": " a ", "spend_minor": 100},
        {"channel": "tv", "spend_minor": 50},
        {"channel": "b", "spend_minor": 0},
    ]
    rows = [
        {"path": "a > b", "conversions": 2, "value_minor": 1000},
        {"path": "", "conversions": 1, "value_minor": 5},
    ]
    found = by_channel(run, {"paths": rows, "spend": spend}, {"models": ["linear"]})
    numbers = {
        name: (row["value_minor"], row["spend_minor"], row["roas"], row["touches"])
        for name, row in found.items()
    }
    assert numbers == {
        "a": (500.0, 400, 1.25, 2),
        "b": (500.0, 0, None, 2),
        "tv": (0.0, 50, 0.0, 0),
        "(unattributed)": (5.0, None, None, 0),
    }


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"channel": "a", "spend_minor": -1}, "spend: 1 rows have a negative spend_minor"),
        ({"channel": " ", "spend_minor": 1}, "spend: 1 rows have an empty channel"),
    ],
)
def test_impossible_spend_is_refused(run: Any, row: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run("attribution", {"paths": [{"path": "a", "conversions": 1}], "spend": [row]})


def test_intervals_hold_the_credit_and_repeat_with_their_seed(run: Any) -> None:
    rows = [
        {"path": path, "conversions": 1 + i % 2, "value_minor": 5, "nulls": i % 3}
        for i, path in enumerate(["a > b", "b > c > a", "c", "a > c", "b"] * 12)
    ]
    params = {"models": ["markov"], "intervals": True, "replicates": 60}
    found = by_channel(run, {"paths": rows}, params)
    for row in found.values():
        assert 0 < row["ci_low"] < row["conversions"] < row["ci_high"] < 90
    for channel, row in by_channel(run, {"paths": rows[::-1]}, params).items():
        assert row == pytest.approx(found[channel]), "the order of the rows does not matter"
    other = by_channel(run, {"paths": rows}, params | {"seed": 2})
    assert other["a"]["ci_low"] != found["a"]["ci_low"]


def test_intervals_cover_what_resampling_in_plain_python_gives(run: Any) -> None:
    """The engine's draws have the spread of numpy's Poisson draws of the same rows."""
    base = [("a > b", 1, 1), ("b", 1, 2), ("c > a", 1, 0), ("c", 0, 2), ("b > c", 1, 1)]
    rows = [{"path": p, "conversions": c, "value_minor": 1, "nulls": n} for p, c, n in base * 30]
    found = by_channel(run, {"paths": rows}, {"models": ["markov"], "intervals": True, "replicates": 400})
    rng = np.random.default_rng(7)
    total = sum(row["conversions"] for row in rows)
    samples = defaultdict(list)
    for _ in range(400):
        drawn = [
            row | {"conversions": row["conversions"] * times, "nulls": row["nulls"] * times}
            for row, times in zip(rows, rng.poisson(1, len(rows)), strict=True)
        ]
        found_now = brute_force(drawn, 1)
        whole = sum(float(c[0] or 0) for c in found_now.values())
        for channel, numbers in found_now.items():
            samples[channel].append(float(numbers[0] or 0) / whole * total)
    for channel, row in found.items():
        low, high = np.percentile(samples[channel], [2.5, 97.5])
        width = high - low
        assert row["ci_low"] == pytest.approx(low, abs=0.25 * width)
        assert row["ci_high"] == pytest.approx(high, abs=0.25 * width)


def test_too_many_states_are_refused_with_the_parameter_to_change(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.analyses.markov_moves.MOST_STATES", 3)
    with pytest.raises(
        ParameterError, match="parameter order: 2 makes 4 states of these paths; give a smaller"
    ):
        run(
            "attribution",
            {"paths": [{"path": "a>b>c>d>e", "conversions": 1}]},
            {"models": ["markov"], "order": 2},
        )


def test_more_channels_than_the_dense_solver_takes_give_the_same_effects(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        {"path": "a > b > c > a", "conversions": 2, "value_minor": 9, "nulls": 3},
        {"path": "c > b", "conversions": 1, "nulls": 1},
    ]
    dense = by_channel(run, {"paths": rows}, {"models": ["markov"]})
    monkeypatch.setattr("jobs.analyses.markov._DENSE", 0)
    for channel, row in by_channel(run, {"paths": rows}, {"models": ["markov"]}).items():
        assert row["conversions"] == pytest.approx(dense[channel]["conversions"], rel=1e-12)
        assert row["value_minor"] == pytest.approx(dense[channel]["value_minor"], rel=1e-12)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.lists(st.sampled_from(["a", " b", "direct", "c  d", ""]), max_size=6), min_size=1, max_size=6
    ),
    st.sampled_from([None, 2]),
    st.sampled_from([[], ["a"]]),
    st.sampled_from(["keep", "collapse"]),
)
def test_lists_and_sorted_rows_give_the_same_credits(
    run: Any, paths: list[Any], most: int | None, excluded: list[str], repeats: str
) -> None:
    """The aggregated input of DuckDB has a text of its own; single touches have not."""
    touches = [
        {"user_id": f"u{n}", "time": 1000 + i, "seq": i, "channel": channel}
        for n, path in enumerate(paths)
        for i, channel in enumerate(path)
    ]
    conversions = [
        {"conversion_id": f"c{n}", "user_id": f"u{n}", "time": 2000, "value_minor": n}
        for n in range(len(paths))
    ]
    rows = [{"path": " > ".join(path), "conversions": 1, "value_minor": n} for n, path in enumerate(paths)]
    params = {
        "models": ["first", "last", "last_non_direct", "linear", "position", "shapley", "markov"],
        "max_touches": most,
        "exclude_channels": excluded,
        "repeats": repeats,
    }
    one = run("attribution", {"touches": touches, "conversions": conversions}, params).tables["attribution"]
    other = run("attribution", {"paths": rows}, params).tables["attribution"]
    for left, right in zip(one.to_pylist(), other.to_pylist(), strict=True):
        assert left.keys() == right.keys()
        for name, value in left.items():
            number = isinstance(value, float)
            assert right[name] == (pytest.approx(value, rel=1e-9, abs=1e-9) if number else value), name


def test_empty_inputs_and_conversions_without_any_touch(run: Any) -> None:
    models = ["first", "linear", "time_decay", "markov", "shapley"]
    params = {"models": models, "intervals": True, "nulls": "users", "with_touches": True}
    empty = run("attribution", {"touches": [], "conversions": []}, params)
    assert [table.num_rows for table in empty.tables.values()] == [0, 0]
    conversions = [{"conversion_id": "x", "user_id": "u", "time": 1000, "value_minor": 7}]
    alone = run("attribution", {"touches": [], "conversions": conversions}, params).tables["attribution"]
    assert [
        (row["model"], row["channel"], row["conversions"], row["share"]) for row in alone.to_pylist()
    ] == [(model, "(unattributed)", 1.0, 1.0) for model in sorted(models)]
    paths = {"models": ["markov"], "intervals": True, "order": 2}
    assert run("attribution", {"paths": []}, paths).tables["attribution"].num_rows == 0


def test_a_journey_of_very_many_touches_is_one_path(run: Any) -> None:
    touches = [{"user_id": "u", "time": 1000 + i, "seq": i, "channel": "abc"[i % 3]} for i in range(30_000)]
    conversions = [{"conversion_id": "x", "user_id": "u", "time": 40_000, "value_minor": 9}]
    params = {"models": ["markov", "time_decay", "shapley"]}
    inputs = {"touches": touches, "conversions": conversions}
    rows = run("attribution", inputs, params).tables["attribution"].to_pylist()
    assert len(rows) == 9
    for row in rows:
        assert (row["touches"], row["conversions_touched"]) == (10_000, 1)
        assert row["conversions"] == pytest.approx(1 / 3, rel=1e-3)
