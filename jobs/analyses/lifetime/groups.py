"""Customers who look the same to a model, counted: what the likelihoods sum over."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from jobs.analyses.lifetime.fit import Floats


@dataclass(frozen=True, slots=True)
class Pairs:
    """The distinct pairs of two columns, of which there are far fewer than groups.

    Attributes:
        x: purchases.
        time: in model periods.
        place: for each group its pair.
    """

    x: Floats
    time: Floats
    place: npt.NDArray[np.intp]


@dataclass(frozen=True)
class Groups:
    """One entry for each distinct (x, tx, T); all arrays have the same length.

    Attributes:
        x: repeat purchase periods.
        tx: time from the first purchase to the last, in model periods.
        T: time from the first purchase to the end of the observation.
        count: how many customers look like this.
    """

    x: Floats
    tx: Floats
    T: Floats
    count: Floats

    @property
    def customers(self) -> int:
        """How many customers there are."""
        return int(self.count.sum())

    @property
    def has_repeats(self) -> bool:
        """Whether any of them came back."""
        return bool(np.any(self.x > 0))

    @cached_property
    def last(self) -> Pairs:
        """The distinct (x, tx)."""
        return _pairs(self.x, self.tx)

    @cached_property
    def end(self) -> Pairs:
        """The distinct (x, T)."""
        return _pairs(self.x, self.T)


def _pairs(x: Floats, time: Floats) -> Pairs:
    found, place = np.unique(x + 1j * time, return_inverse=True)
    return Pairs(found.real, found.imag, place)
