"""The Python buildpack: ``requirements.txt`` into a virtual environment inside the slug.

The environment is relocatable: its scripts find ``python`` on PATH, so it works wherever the slug is mounted.
pip is the platform's own, run from outside the environment, and is no part of the slug.
"""

from __future__ import annotations

import importlib.util
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from platform_core.base.errors import Unavailable
from platform_core.base.sandbox.spec import Bind
from platform_core.build.buildpacks.base import BuildFailed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from platform_core.build.buildpacks.base import BuildContext

_SEARCH = (Path("/usr/local/bin"), Path("/usr/bin"))
_EXECUTABLE = re.compile(r"python3\.(\d{1,2})")
_WANTED = re.compile(r"(?:python-)?3(?:\.(\d{1,2})(?:\.(\d{1,3}))?)?")
_ENVIRONMENT = ".heroku/python"
_PROFILE = """export PATH="$HOME/.heroku/python/bin:$PATH"
export PYTHONUNBUFFERED=1 LANG="${LANG:-C.UTF-8}" PYTHONPATH="${PYTHONPATH:-$HOME}"
"""
# Runs inside the sandbox: what it edits may be traps for whoever follows links as root.
_RELOCATE = """
import os, sys
for entry in os.scandir(sys.argv[1]):
    if entry.is_file(follow_symlinks=False):
        with open(entry.path, 'rb') as file:
            head, newline, rest = file.read().partition(b'\\n')
        if head.startswith(b'#!' + os.fsencode(sys.argv[1])):
            with open(entry.path, 'wb') as file:
                file.write(b'#!/usr/bin/env python' + newline + rest)
"""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python that every uid may run."""

    path: Path
    minor: int


def find_interpreters(folders: Sequence[Path] = _SEARCH) -> list[Interpreter]:
    """Return the Python 3 interpreters on this machine, newest first; of two alike the first folder's."""
    found: dict[int, Interpreter] = {}
    for folder in folders:
        for path in folder.glob("python3.*") if folder.is_dir() else ():
            name = _EXECUTABLE.fullmatch(path.name)
            if name is not None and _everyone_may_run(path):
                found.setdefault(int(name[1]), Interpreter(path, int(name[1])))
    return [found[minor] for minor in sorted(found, reverse=True)]


def _everyone_may_run(path: Path) -> bool:
    try:
        real = path.resolve(strict=True)
        return bool(real.stat().st_mode & stat.S_IXOTH) and all(
            parent.stat().st_mode & stat.S_IXOTH for parent in real.parents
        )
    except OSError:
        return False


class PythonBuildpack:
    """Python apps."""

    name = "Python"

    def __init__(self, interpreters: Sequence[Interpreter] | None = None) -> None:
        """Choose among ``interpreters``, by default those found on this machine."""
        self._interpreters = find_interpreters() if interpreters is None else interpreters

    def detect(self, app_dir: Path) -> bool:
        """Tell by ``requirements.txt``."""
        return (app_dir / "requirements.txt").is_file()

    def tools(self) -> Sequence[Bind]:
        """pip, as the platform itself has it.

        Raises:
            Unavailable: the platform's Python has no pip.
        """
        found = importlib.util.find_spec("pip")
        if found is None or found.origin is None:
            raise Unavailable("The platform's Python has no pip.", hint="Run its set-up again.")
        return [Bind(Path(found.origin).parent, "/build/pip")]

    async def compile(self, context: BuildContext) -> Mapping[str, str]:
        """Make the environment, install the requirements, make it relocatable."""
        interpreter = self._choose(context)
        self._write_profile(context.app_dir)
        environment = f"{context.app}/{_ENVIRONMENT}"
        python = f"{environment}/bin/python"
        context.out.step(f"Using Python 3.{interpreter.minor}")
        await _must(context, [str(interpreter.path), "-m", "venv", "--without-pip", environment])
        context.out.step("Installing requirements with pip")
        code = await context.run(
            [
                python, context.tools["pip"], "install", "--no-compile", "--progress-bar=off", "--no-input",
                "--disable-pip-version-check", "--no-warn-script-location", "--root-user-action=ignore",
                f"--cache-dir={context.cache}/pip", "--requirement=requirements.txt",
            ]
        )  # fmt: skip
        if code != 0:
            raise BuildFailed(
                "pip could not install the requirements.",
                hint="See its message above, mend requirements.txt, commit, and push again.",
            )
        await _must(context, [python, "-c", _RELOCATE, f"{environment}/bin"])
        # By hash and unchecked: a slug keeps no times, so pyc files that compare them would all be stale.
        compiled = ["-m", "compileall", "-q", "--invalidation-mode=unchecked-hash", f"{environment}/lib"]
        await context.run([python, *compiled])
        return {}

    def _choose(self, context: BuildContext) -> Interpreter:
        """Read ``.python-version`` and find an interpreter for it."""
        available = ", ".join(f"3.{interpreter.minor}" for interpreter in self._interpreters)
        if not self._interpreters:
            raise BuildFailed(
                "There is no Python on this machine that apps may use.",
                hint="Install one for all users, for example Debian's python3.",
            )
        wanted = read_version(context.app_dir)
        if wanted is None:
            context.out.line(f"No .python-version; available here: {available}")
            return self._interpreters[0]
        found = _WANTED.fullmatch(wanted)
        if found is None:
            raise BuildFailed(
                f'.python-version says "{wanted[:40]}", which is not a version.',
                hint='Write for example "3.11".',
            )
        for interpreter in self._interpreters:
            if found[1] is None or int(found[1]) == interpreter.minor:
                if found[2] is not None:
                    context.out.line(
                        f"The newest 3.{interpreter.minor} of this machine stands in for {wanted}"
                    )
                return interpreter
        raise BuildFailed(
            f"Python {wanted} is not available here.",
            hint=f"Put one of these into .python-version: {available}.",
        )

    @staticmethod
    def _write_profile(app_dir: Path) -> None:
        folder = app_dir / ".profile.d"
        if os.path.lexists(folder) and (folder.is_symlink() or not folder.is_dir()):
            raise BuildFailed(".profile.d is not a folder.", hint="Remove it from the repository.")
        folder.mkdir(exist_ok=True)
        profile = folder / "python.sh"
        profile.unlink(missing_ok=True)
        profile.write_text(_PROFILE)


def read_version(app_dir: Path) -> str | None:
    """Return what ``.python-version`` asks for, None without one."""
    path = app_dir / ".python-version"
    if not path.is_file():
        return None
    with path.open("rb") as file:
        lines = file.read(4096).decode("utf-8", "replace").splitlines()
    return next((line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")), None)


async def _must(context: BuildContext, argv: Sequence[str]) -> None:
    code = await context.run(argv)
    if code != 0:
        raise BuildFailed(
            f"{Path(argv[0]).name} ended with code {code}.", hint="See its message above, then push again."
        )
