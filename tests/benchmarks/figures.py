"""Measured figures and the bars they are held to, shared by every benchmark beside this file."""

from __future__ import annotations

import math
import operator
import re
import statistics
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_BAR: Final = re.compile(r"^(>=|<=|>|<) (\d+(?:\.\d+)?) (.+)$")
_COMPARE: Final[dict[str, Callable[[float, float], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_RELATIVE: Final = "x peer"


@dataclass(frozen=True, slots=True)
class Figure:
    """One promised figure: what was measured, against whom, and whether the promise holds.

    ``ratio`` is ``value / peer_value``. ``bar`` is text such as ``>= 6 x peer`` (the ratio is compared)
    or ``<= 2 s`` (the value is compared; the unit must be the figure's own).
    """

    name: str
    value: float
    unit: str
    peer: str | None
    peer_value: float | None
    ratio: float | None
    bar: str
    holds: bool

    @classmethod
    def measured(
        cls,
        name: str,
        value: float,
        unit: str,
        *,
        bar: str,
        peer: str | None = None,
        peer_value: float | None = None,
    ) -> Figure:
        """Make a figure; the ratio and the verdict follow from the numbers, so no number is written twice.

        Args:
            name: Dotted name, unique in the run: ``ingest.rows``.
            value: What was measured, in ``unit``.
            unit: The unit of ``value`` and of ``peer_value``: ``rows/s``, ``s``, ``MiB``.
            bar: The promise: a comparison, a number, and ``x peer`` or the unit.
            peer: Who was measured beside us in the same run, with its version.
            peer_value: The peer's measurement; ``None`` when it could not run. A bar relative to a missing
                peer does not hold, since nothing shows that it does.

        Raises:
            ValueError: The bar cannot be read, its unit is not the figure's, or a measurement is not a number
                above zero (a benchmark that measured nothing must not pass for a fast one).
        """
        for measurement in (value, peer_value):
            if measurement is not None and not (math.isfinite(measurement) and measurement > 0):
                raise ValueError(f"{name} measured {measurement} {unit}, which is no measurement")
        ratio = value / peer_value if peer_value else None
        return cls(name, value, unit, peer, peer_value, ratio, bar, _holds(bar, value, unit, ratio))

    def as_json(self) -> dict[str, Any]:
        """The object that ``build/bench.json`` holds for this figure."""
        return asdict(self)


def _holds(bar: str, value: float, unit: str, ratio: float | None) -> bool:
    match = _BAR.match(bar)
    if match is None:
        raise ValueError(f"cannot read the bar {bar!r}; write it as '>= 6 x peer' or '<= 2 {unit}'")
    sign, number, measure = match.groups()
    if measure == _RELATIVE:
        return ratio is not None and _COMPARE[sign](ratio, float(number))
    if measure != unit:
        raise ValueError(f"the bar {bar!r} is in {measure!r}, but the figure is in {unit!r}")
    return _COMPARE[sign](value, float(number))


def timed(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> Callable[[], float]:
    """Wrap ``work`` so that a call returns the seconds it took.

    Args:
        work: What to measure; its result is thrown away.
        clock: ``time.perf_counter`` for wall time, ``time.process_time`` for this process's CPU time.
    """

    def run() -> float:
        start = clock()
        work()
        return clock() - start

    return run


def interleaved(variants: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Measure variants in turn and return the median of each.

    On a shared machine the load changes by the second. Taking turns, with another variant first in each
    round, spreads that evenly, so the ratio of two medians is worth more than either of them.

    Args:
        variants: Name to a callable that does the work once and returns its own measurement (see ``timed``).
        rounds: How many measurements of each to take; at least one.
    """
    if rounds < 1:
        raise ValueError("rounds must be at least 1")
    samples: dict[str, list[float]] = {name: [] for name in variants}
    names = list(variants)
    for turn in range(rounds):
        shift = turn % len(names) if names else 0
        for name in names[shift:] + names[:shift]:
            samples[name].append(variants[name]())
    return {name: statistics.median(values) for name, values in samples.items()}
