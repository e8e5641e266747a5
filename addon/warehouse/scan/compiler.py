"""Compile the kernel with the system's C compiler, into the environment that runs this.

The file's name holds a hash of the source, the flags and the machine, so one that was made from another
source is never loaded: it is as good as missing.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

SOURCE = Path(__file__).with_name("scan.c")
FLAGS = ("-std=c11", "-O3", "-fPIC", "-shared", "-fno-strict-aliasing", "-fstack-protector-strong")
_COMPILERS = ("cc", "gcc", "clang")
_SECONDS = 120
_DIGITS = 16


class CompilerError(Exception):
    """There is no C compiler, or it did not take the source; the message says which."""


def compiler() -> str | None:
    """Return the path of the C compiler, None without one. ``CC`` names another than the usual ones."""
    names = (os.environ["CC"],) if os.environ.get("CC") else _COMPILERS
    return next((path for name in names if (path := shutil.which(name))), None)


def library_path(flags: Iterable[str] = FLAGS) -> Path:
    """Return where the library of this source lies once it is compiled."""
    found = hashlib.sha256("\0".join((*flags, platform.machine(), sys.platform)).encode())
    for path in sorted(SOURCE.parent.glob("*.[ch]")):
        found.update(path.read_bytes())
    return Path(sys.prefix) / "lib" / "sluice" / f"scan-{found.hexdigest()[:_DIGITS]}.so"


def build(target: Path | None = None, flags: Iterable[str] = FLAGS) -> Path:
    """Compile the kernel, unless it is there, and drop those of older sources; return the library's path.

    Raises:
        CompilerError: there is no compiler, or it failed.
    """
    path = target or library_path(flags)
    if path.exists():
        return path
    found = compiler()
    if found is None:
        raise CompilerError("no C compiler on PATH")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        draft = Path(folder) / path.name
        sources = sorted(map(str, SOURCE.parent.glob("*.c")))
        argv = [found, *flags, "-o", str(draft), *sources, "-lm"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=_SECONDS)
        if done.returncode:
            raise CompilerError(f"{found} failed: {(done.stderr or done.stdout)[-500:].strip()}")
        draft.replace(path)
    if target is None:
        for old in path.parent.glob("scan-*.so"):
            if old != path:
                old.unlink(missing_ok=True)
    return path
