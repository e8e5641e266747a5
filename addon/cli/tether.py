"""Starts a program that ends with us: ``tether.py SIGNAL PARENT PROGRAM ARGUMENT…`` becomes that program.

The kernel sends SIGNAL to the program when PARENT, the process that started it, is gone, however it went: a
``kill -9`` leaves no orphan that keeps the ports. The setting survives ``execve``, so nothing stays between
the two. Run as a file with ``-I -S``: it imports the standard library only and is through in milliseconds.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1
"""``prctl(2)``: the signal to get when the parent's thread that started us ends."""


def tethered(argv: Sequence[str], number: signal.Signals = signal.SIGKILL) -> list[str]:
    """Return the command line that runs ``argv`` as a child of this process, tied to its life."""
    return [sys.executable, "-I", "-S", str(Path(__file__)), str(number.value), str(os.getpid()), *argv]


def main() -> None:
    """Tie, then become the program; a parent that is gone already is not survived."""
    number, parent, *argv = sys.argv[1:]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() == int(parent):
        os.execv(argv[0], argv)  # noqa: S606  # our own command line, as given


if __name__ == "__main__":
    main()
