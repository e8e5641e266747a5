"""Named points where a test can make the program die, fail or stall.

``SLUICE_FAILPOINT=name:action[@n]`` (several separated by commas) arms a point: ``abort`` kills the process
as ``kill -9`` would, ``error`` raises an I/O error, ``enospc`` a full disk, ``delay`` stalls for a second.
With ``@n`` only the n-th pass acts. When nothing is armed, ``hit`` is one look at an empty dict.
"""

from __future__ import annotations

import errno
import os
import signal
import time

_ERRORS = {"error": errno.EIO, "enospc": errno.ENOSPC}
_ACTIONS = frozenset({"abort", "delay", *_ERRORS})


class _Point:
    """One armed point."""

    def __init__(self, action: str, only: int | None) -> None:
        self.action = action
        self.only = only
        self.passes = 0


def parse(text: str) -> dict[str, _Point]:
    """Read the variable's text.

    Raises:
        ValueError: an entry is not ``name:action[@n]`` with a known action.
    """
    points: dict[str, _Point] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, colon, rest = entry.partition(":")
        action, at, nth = rest.partition("@")
        if not colon or action not in _ACTIONS or (at and not nth.isdigit()):
            raise ValueError(f"SLUICE_FAILPOINT entry {entry!r} is not name:action[@n]")
        points[name] = _Point(action, int(nth) if at else None)
    return points


_points = parse(os.environ.get("SLUICE_FAILPOINT", ""))


def arm(text: str) -> None:
    """Replace the armed points (tests in one process; the empty text disarms all)."""
    _points.clear()
    _points.update(parse(text))


def armed(name: str) -> bool:
    """Tell whether ``name`` is armed, for code that must behave differently to give it a window."""
    return bool(_points) and name in _points


def hit(name: str) -> None:
    """Pass the point ``name``.

    Raises:
        OSError: the point is armed with ``error`` or ``enospc``.
    """
    if not _points:
        return
    point = _points.get(name)
    if point is None:
        return
    point.passes += 1
    if point.only is not None and point.passes != point.only:
        return
    if point.action == "abort":
        os.kill(os.getpid(), signal.SIGKILL)
    if point.action == "delay":
        time.sleep(1.0)
        return
    code = _ERRORS[point.action]
    raise OSError(code, os.strerror(code), f"failpoint {name}")
