"""The Sankey layout: flow is conserved, nothing overlaps, and the order is stable."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.report.sankey import Key, Layout, layout

STEPS = st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=4).map(lambda steps: [*steps, "END"])
PATHS = st.lists(st.tuples(STEPS, st.integers(1, 10_000)), min_size=1, max_size=25)


def drawn(paths: list[tuple[list[str], int]]) -> Layout:
    return layout([(steps, float(weight)) for steps, weight in paths], width=600, height=360)


@given(PATHS)
@settings(max_examples=100, deadline=None)
def test_what_flows_into_a_step_and_starts_there_flows_out_of_it(paths: list[tuple[list[str], int]]) -> None:
    picture = drawn(paths)
    into: dict[Key, float] = defaultdict(float)
    out: dict[Key, float] = defaultdict(float)
    for link in picture.links:
        out[link.source] += link.value
        into[link.target] += link.value
        assert link.target[0] - link.source[0] == 1
    starts: dict[Key, float] = defaultdict(float)
    for steps, weight in paths:
        starts[picture.layers - len(steps), steps[0]] += weight
    for node in picture.nodes:
        key = (node.layer, node.name)
        assert into[key] + starts[key] == pytest.approx(node.value)
        if node.name != "END":
            assert out[key] == pytest.approx(node.value)
    last = [node for node in picture.nodes if node.layer == picture.layers - 1]
    assert [(node.name, node.value) for node in last] == [("END", sum(weight for _, weight in paths))]


@given(PATHS)
@settings(max_examples=100, deadline=None)
def test_boxes_and_bands_stay_apart_and_inside(paths: list[tuple[list[str], int]]) -> None:
    picture = drawn(paths)
    for layer in range(picture.layers):
        column = sorted((node for node in picture.nodes if node.layer == layer), key=lambda node: node.y0)
        assert all(low.y0 - high.y1 >= 17.99 for high, low in pairwise(column))
        assert column[0].y0 >= 0
        assert column[-1].y1 <= 360.01
    boxes = {(node.layer, node.name): node for node in picture.nodes}
    for key, box in boxes.items():
        leaving = sorted((link.y0, link.y0 + link.thickness) for link in picture.links if link.source == key)
        arriving = sorted((link.y1, link.y1 + link.thickness) for link in picture.links if link.target == key)
        for slices in (leaving, arriving):
            assert all(low[0] >= high[1] - 1e-6 for high, low in pairwise(slices))
            assert all(top >= box.y0 - 1e-6 and bottom <= box.y1 + 1e-6 for top, bottom in slices)


@given(PATHS, st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_the_order_of_the_input_changes_nothing(paths: list[tuple[list[str], int]], rng: object) -> None:
    shuffled = list(paths)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    assert drawn(paths) == drawn(shuffled)


def test_a_path_through_the_same_step_twice_moves_on_to_the_right() -> None:
    picture = drawn([(["a", "b", "a", "END"], 3)])
    assert [(node.layer, node.name) for node in picture.nodes] == [(0, "a"), (1, "b"), (2, "a"), (3, "END")]
    assert [node.x0 for node in picture.nodes] == [0, 196, 392, 588]


def test_nothing_to_draw_is_an_empty_picture() -> None:
    assert layout([([], 5.0), (["a"], 0.0)], width=600, height=300) == Layout((), (), 0)
