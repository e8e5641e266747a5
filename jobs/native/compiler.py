"""Compile a folder's C sources with the system's C compiler, into the environment that runs this.

A library's name holds a hash of the sources, the flags and the machine, so one that was made from other
sources is never loaded: it is as good as missing.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

FLAGS = ("-std=c11", "-O3", "-fPIC", "-shared", "-fno-strict-aliasing", "-fstack-protector-strong")
LIBRARIES = ("-lm", "-pthread")
NOT_COMPILED = 3
"""Exit status: nothing was compiled; the slower way is taken."""
_COMPILERS = ("cc", "gcc", "clang")
_SECONDS = 120
_DIGITS = 16


class CompilerError(Exception):
    """There is no C compiler, or it did not take the source; the message says which."""


def compiler() -> str | None:
    """Return the path of the C compiler, None without one. ``CC`` names another than the usual ones."""
    names = (os.environ["CC"],) if os.environ.get("CC") else _COMPILERS
    return next((path for name in names if (path := shutil.which(name))), None)


@dataclass(frozen=True, slots=True)
class Sources:
    """The C sources of one library, all of a folder's.

    Attributes:
        name: what the library's file begins with.
        folder: where they are.
        module: what `python -m` compiles them with.
        what: the library in a sentence.
        without: what is so without it.
    """

    name: str
    folder: Path
    module: str
    what: str
    without: str

    def library_path(self, flags: Iterable[str] = FLAGS) -> Path:
        """Return where the library of these sources lies once it is compiled."""
        found = hashlib.sha256("\0".join((*flags, platform.machine(), sys.platform)).encode())
        for path in sorted(self.folder.glob("*.[ch]")):
            found.update(path.read_bytes())
        return Path(sys.prefix) / "lib" / "sluice" / f"{self.name}-{found.hexdigest()[:_DIGITS]}.so"

    def build(self, target: Path | None = None, flags: Iterable[str] = FLAGS) -> Path:
        """Compile the library, unless it is there, and drop those of older sources; return its path.

        Raises:
            CompilerError: there is no compiler, or it failed.
        """
        path = target or self.library_path(flags)
        if path.exists():
            return path
        found = compiler()
        if found is None:
            raise CompilerError("no C compiler on PATH")
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            draft = Path(folder) / path.name
            sources = sorted(map(str, self.folder.glob("*.c")))
            argv = [found, *flags, "-o", str(draft), *sources, *LIBRARIES]
            done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=_SECONDS)
            if done.returncode:
                raise CompilerError(f"{found} failed: {(done.stderr or done.stdout)[-500:].strip()}")
            draft.replace(path)
        if target is None:
            for old in path.parent.glob(f"{self.name}-*.so"):
                if old != path:
                    old.unlink(missing_ok=True)
        return path

    def command(self) -> int:
        """Compile as a program does, print the path, or what to do; return the exit status."""
        try:
            path = self.build()
        except CompilerError as error:
            print(  # noqa: T201 - a program
                f"setup: {self.what} was not compiled ({error}). Sluice works without it, {self.without}. To"
                f" have it: apt-get install gcc libc6-dev, then python -m {self.module}",
                file=sys.stderr,
            )
            return NOT_COMPILED
        print(path)  # noqa: T201 - a program
        return 0
