"""The kernel's structures and calls, as ctypes sees them; ``scan.c`` says what each field means."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import TYPE_CHECKING, Any

from addon.warehouse.scan.compiler import SOURCES
from platform_core.base.logs import get_logger

if TYPE_CHECKING:
    from pathlib import Path

SCAN_KERNEL_MISSING, SCAN_KERNEL_BROKEN = "scan_kernel_missing", "scan_kernel_broken"
BUILD_IT = "python -m addon.warehouse.scan"
SLACK = 32
"""Bytes that a text column must have beyond its texts; the kernel copies 16 bytes at a time."""
KINDS = {"long": 0, "double": 1, "boolean": 2, "string": 3, "json": 4}

log = get_logger(__name__)


class KernelColumn(ctypes.Structure):
    """One column's memory; pointers are addresses of memory that the caller keeps alive."""

    _fields_ = (
        ("key", ctypes.c_void_p),
        ("values", ctypes.c_void_p),
        ("validity", ctypes.c_void_p),
        ("offsets", ctypes.c_void_p),
        ("capacity", ctypes.c_int64),
        ("nulls", ctypes.c_int64),
        ("key_length", ctypes.c_int32),
        ("kind", ctypes.c_int32),
    )


class KernelScan(ctypes.Structure):
    """The state of one scan."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("offsets", ctypes.c_void_p),
        ("receipts", ctypes.c_void_p),
        ("columns", ctypes.POINTER(KernelColumn)),
        ("slots", ctypes.c_void_p),
        ("follows", ctypes.c_void_p),
        ("marks", ctypes.c_void_p),
        ("taken_rows", ctypes.c_void_p),
        ("data_length", ctypes.c_int64),
        ("line_count", ctypes.c_int64),
        ("next", ctypes.c_int64),
        ("taken", ctypes.c_int64),
        ("time_low", ctypes.c_int64),
        ("time_high", ctypes.c_int64),
        ("room", ctypes.c_int64),
        ("column_count", ctypes.c_int32),
        ("slot_mask", ctypes.c_int32),
        ("full", ctypes.c_int32),
        ("first_key", ctypes.c_int32),
    )


class KernelFrames(ctypes.Structure):
    """Where the messages of log bodies are written to; see ``frames.c``."""

    _fields_ = (
        ("frame", ctypes.c_void_p),
        ("owner", ctypes.c_void_p),
        ("pri", ctypes.c_void_p),
        ("bounds", ctypes.c_void_p),
        ("odd", ctypes.c_void_p),
        ("good", ctypes.c_int64),
        ("total", ctypes.c_int64),
    )


class KernelError(Exception):
    """The library cannot be used; the message says why."""


class Kernel:
    """The loaded library. Its calls let go of the interpreter lock and share nothing."""

    def __init__(self, path: Path) -> None:
        """Load the library.

        Raises:
            KernelError: it is missing, for another machine, or of other structures.
        """
        try:
            library = ctypes.CDLL(str(path))
            self.prepare: Any = _typed(library.sluice_scan_prepare, ctypes.POINTER(KernelScan))
            self.scan: Any = _typed(library.sluice_scan, ctypes.POINTER(KernelScan), ctypes.c_int64)
            bodies = (ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int64)
            self.count_frames: Any = _typed(library.sluice_frames_count, *bodies)
            self.count_frames.restype = ctypes.c_int64
            self.find_frames: Any = _typed(library.sluice_frames_find, *bodies, ctypes.POINTER(KernelFrames))
            sizes: Any = library.sluice_scan_sizes
            self._double: Any = library.sluice_scan_double
        except (OSError, AttributeError) as error:
            raise KernelError(str(error)) from error
        self._double.argtypes = (ctypes.c_char_p, ctypes.c_int64, ctypes.POINTER(ctypes.c_double))
        of_scan, of_column = ctypes.c_int64(), ctypes.c_int64()
        sizes(ctypes.byref(of_scan), ctypes.byref(of_column))
        if (of_scan.value, of_column.value) != (ctypes.sizeof(KernelScan), ctypes.sizeof(KernelColumn)):
            raise KernelError(f"{path} has other structures than this program")

    def double(self, text: bytes) -> float | None:
        """Return what a double column keeps of a JSON number's text, None when it may not keep it."""
        value = ctypes.c_double()
        return value.value if self._double(text, len(text), ctypes.byref(value)) else None


def _typed(function: Any, *arguments: Any) -> Any:
    function.argtypes, function.restype = arguments, None
    return function


@cache
def kernel() -> Kernel | None:
    """Return the compiled kernel; None, after one line in the log, when it is missing or cannot be used."""
    path = SOURCES.library_path()
    try:
        return Kernel(path)
    except KernelError as error:
        event = SCAN_KERNEL_BROKEN if path.exists() else SCAN_KERNEL_MISSING
        log.warning(event, reason=str(error), do_next=BUILD_IT)
        return None
