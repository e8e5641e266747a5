"""The compiled library, loaded once a process, its calls typed."""

from __future__ import annotations

import ctypes
import logging
from functools import cache
from pathlib import Path
from typing import Any

from jobs.native.compiler import Sources

SOURCES = Sources(
    name="analyses",
    folder=Path(__file__).parent,
    module="jobs.native",
    what="the analyses' kernel",
    without="computing funnels and customer summaries by SQL, several times slower",
)
_INT, _LONG, _POINTER = ctypes.c_int32, ctypes.c_int64, ctypes.c_void_p
_CALLS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "sluice_bitmap_add": (_LONG, (_POINTER, _LONG, _LONG, _POINTER, _LONG)),
    "sluice_funnel_partitions": (_INT, ()),
    "sluice_funnel_new": (_POINTER, (_INT, _LONG, _INT, ctypes.c_uint64)),
    "sluice_funnel_add": (_INT, (_POINTER, _LONG, *[_POINTER] * 5)),
    "sluice_funnel_compute": (_INT, (_POINTER,)),
    "sluice_funnel_counts": (None, (_POINTER, _POINTER, _POINTER)),
    "sluice_funnel_seconds": (None, (_POINTER, _POINTER)),
    "sluice_funnel_chains": (None, (_POINTER,) * 6),
    "sluice_funnel_names": (None, (_POINTER,) * 5),
    "sluice_funnel_free": (None, (_POINTER,)),
    "sluice_purchases_partitions": (_INT, ()),
    "sluice_purchases_new": (_POINTER, (_INT, _INT, ctypes.c_uint64)),
    "sluice_purchases_add": (_INT, (_POINTER, _LONG, *[_POINTER] * 4)),
    "sluice_purchases_counts": (None, (_POINTER,) * 3),
    "sluice_purchases_compute": (_INT, (_POINTER,) * 9),
    "sluice_purchases_free": (None, (_POINTER,)),
}

log = logging.getLogger(__name__)


def load(path: Path) -> Any:
    """Load a library. Its calls let go of the interpreter lock.

    Raises:
        OSError, AttributeError: it is missing, for another machine, or of another source.
    """
    found = ctypes.CDLL(str(path))
    for name, (result, arguments) in _CALLS.items():
        call = getattr(found, name)
        call.restype, call.argtypes = result, arguments
    return found


@cache
def library() -> Any | None:
    """Return the compiled library; None, after one line in the log, when it is missing or cannot be used."""
    try:
        return load(SOURCES.library_path())
    except (OSError, AttributeError) as error:
        log.warning("%s cannot be used (%s); python -m %s compiles it", SOURCES.what, error, SOURCES.module)
        return None
