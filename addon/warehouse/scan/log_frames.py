"""The messages of logplex-1 bodies with the kernel: where they are, and the parts of their headers."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from addon.warehouse.scan.library import KernelFrames

if TYPE_CHECKING:
    from collections.abc import Sequence

    from addon.warehouse.scan.library import Kernel

Ints = np.ndarray[Any, np.dtype[np.int64]]

BOUNDS = 8
_ODD = 4
_MOST_BYTES = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class LogFrames:
    """Messages with a usual header, in order, and the others. Offsets are into the joined bodies."""

    frame: Ints
    """Index among all messages."""
    owner: Ints
    """Index of the body."""
    pri: Ints
    bounds: np.ndarray[Any, np.dtype[np.int32]]
    """One row each: begin and end of time stamp, source, process and text, the latter without its newline."""
    odd: Ints
    """One row for each message with another header: begin, end, body, index among all."""
    total: int


def find_frames(kernel: Kernel, joined: bytes, sizes: Sequence[int]) -> LogFrames | None:
    """Find the messages of bodies of the given sizes; None when the framing of one of them is broken."""
    edges = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    if edges[-1] != len(joined) or len(joined) > _MOST_BYTES:
        return None
    place = edges.ctypes.data
    total = kernel.count_frames(joined, place, len(sizes))
    if total < 0:
        return None
    frame, owner, pri = (np.empty(total, np.int64) for _ in range(3))
    bounds, odd = np.empty((total, BOUNDS), np.int32), np.empty((total, _ODD), np.int64)
    state = KernelFrames(
        *(array.ctypes.data for array in (frame, owner, pri, bounds, odd)),
    )
    kernel.find_frames(joined, place, len(sizes), ctypes.byref(state))
    good = state.good
    return LogFrames(frame[:good], owner[:good], pri[:good], bounds[:good], odd[: total - good], total)
