"""The layout of a Sankey diagram of paths: layered, stable, and every link between neighbouring layers.

Paths are aligned at their end, so that the last column before the outcome holds every path's last step and no
link jumps over a column. The same step keeps the same place in the order of every column, so crossings are
few, which makes two reports comparable.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

Key = tuple[int, str]


@dataclass(frozen=True, slots=True)
class Node:
    """A step in a column: its weight (entities) and its box in pixels."""

    layer: int
    name: str
    value: float
    x0: float
    x1: float
    y0: float
    y1: float


@dataclass(frozen=True, slots=True)
class Link:
    """A flow between two neighbouring columns: its weight, the top edge at both ends, and its thickness."""

    source: Key
    target: Key
    value: float
    x0: float
    x1: float
    y0: float
    y1: float
    thickness: float

    def ribbon(self) -> str:
        """The outline as an SVG path: two level-ended curves."""
        middle, low0, low1 = (self.x0 + self.x1) / 2, self.y0 + self.thickness, self.y1 + self.thickness
        points = (self.x0, self.y0, middle, self.y0, middle, self.y1, self.x1, self.y1)
        back = (self.x1, low1, middle, low1, middle, low0, self.x0, low0)
        return "M{:.2f},{:.2f}C{:.2f},{:.2f},{:.2f},{:.2f},{:.2f},{:.2f}".format(*points) + (
            "L{:.2f},{:.2f}C{:.2f},{:.2f},{:.2f},{:.2f},{:.2f},{:.2f}Z".format(*back)
        )


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything goes."""

    nodes: tuple[Node, ...]
    links: tuple[Link, ...]
    layers: int


def layout(
    paths: Sequence[tuple[Sequence[str], float]],
    *,
    width: float,
    height: float,
    node_width: float = 12,
    gap: float = 18,
) -> Layout:
    """Place the steps and flows of weighted paths, aligned at their ends.

    Args:
        paths: steps and weight of each path; paths without steps or weight are left out.
        width: pixels from the left edge of the first column to the right edge of the last one.
        height: pixels for the fullest column, gaps included.
        node_width: pixels of a box's breadth.
        gap: pixels between two boxes of a column.
    """
    kept = [(tuple(steps), weight) for steps, weight in paths if steps and weight > 0]
    layers = max((len(steps) for steps, _ in kept), default=0)
    values: dict[Key, float] = defaultdict(float)
    flows: dict[tuple[Key, Key], float] = defaultdict(float)
    for steps, weight in kept:
        keys = list(enumerate(steps, start=layers - len(steps)))
        for key in keys:
            values[key] += weight
        for source, target in pairwise(keys):
            flows[source, target] += weight
    order = _order(values)
    scale = _scale(values, layers, height, gap)
    step = (width - node_width) / max(layers - 1, 1)
    nodes = _stack(values, order, scale, step, (height, gap, node_width))
    return Layout(tuple(nodes.values()), _links(flows, nodes, order, scale), layers)


def _order(values: dict[Key, float]) -> dict[str, tuple[float, str]]:
    """Rank steps by their weight over all columns, then by name: the place of a step in any column."""
    totals: dict[str, float] = defaultdict(float)
    for (_, name), value in values.items():
        totals[name] += value
    return {name: (-total, name) for name, total in totals.items()}


def _scale(values: dict[Key, float], layers: int, height: float, gap: float) -> float:
    """Pixels for one unit of weight, such that the fullest column fits."""
    scales = []
    for layer in range(layers):
        column = [value for (at, _), value in values.items() if at == layer]
        scales.append(max(height - gap * (len(column) - 1), height / 10) / sum(column))
    return min(scales, default=0.0)


def _stack(
    values: dict[Key, float],
    order: dict[str, tuple[float, str]],
    scale: float,
    step: float,
    measures: tuple[float, float, float],
) -> dict[Key, Node]:
    height, gap, breadth = measures
    nodes: dict[Key, Node] = {}
    for layer in sorted({at for at, _ in values}):
        names = sorted((name for at, name in values if at == layer), key=lambda name: order[name])
        full = sum(values[layer, name] * scale for name in names) + gap * (len(names) - 1)
        y = max((height - full) / 2, 0.0)
        for name in names:
            tall = values[layer, name] * scale
            left = layer * step
            nodes[layer, name] = Node(layer, name, values[layer, name], left, left + breadth, y, y + tall)
            y += tall + gap
    return nodes


def _links(
    flows: dict[tuple[Key, Key], float],
    nodes: dict[Key, Node],
    order: dict[str, tuple[float, str]],
    scale: float,
) -> tuple[Link, ...]:
    """Give each flow its slice of both boxes, in the order of the boxes at the other end."""
    ends = sorted(flows, key=lambda pair: (pair[0][0], order[pair[0][1]], order[pair[1][1]]))
    starts = sorted(flows, key=lambda pair: (pair[0][0], order[pair[1][1]], order[pair[0][1]]))
    leaving, arriving = _slices(flows, ends, 0, nodes, scale), _slices(flows, starts, 1, nodes, scale)
    return tuple(
        Link(
            *pair,
            flows[pair],
            nodes[pair[0]].x1,
            nodes[pair[1]].x0,
            leaving[pair],
            arriving[pair],
            flows[pair] * scale,
        )
        for pair in ends
    )


def _slices(
    flows: dict[tuple[Key, Key], float],
    ordered: list[tuple[Key, Key]],
    end: int,
    nodes: dict[Key, Node],
    scale: float,
) -> dict[tuple[Key, Key], float]:
    used: dict[Key, float] = defaultdict(float)
    tops = {}
    for pair in ordered:
        key = pair[end]
        tops[pair] = nodes[key].y0 + used[key]
        used[key] += flows[pair] * scale
    return tops
