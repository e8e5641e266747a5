"""Customers who look the same to a model, counted: what the likelihoods sum over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jobs.analyses.lifetime.fit import Floats


@dataclass(frozen=True, slots=True)
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
