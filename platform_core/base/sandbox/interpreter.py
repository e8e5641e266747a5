"""What a Python program in the sandbox needs of ours: the interpreter, the environment, the packages."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

from platform_core.base.sandbox.spec import Bind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SYSTEM = (Path("/usr"), Path("/bin"), Path("/lib"), Path("/lib64"))


def python_binds(packages: Sequence[str] = ("platform_core", "addon", "jobs")) -> list[Bind]:
    """Return read-only binds under which ``sys.executable`` runs and imports ``packages``.

    Of the checkout only the packages' own folders are shown, never ``.git`` or a home folder beside them.
    Every bind's target equals its source, so that paths written into the environment stay right; in the
    sandbox set ``PYTHONPATH`` to `python_path`.
    """
    wanted = [
        Path(sys.base_prefix),
        Path(sys.base_exec_prefix),
        Path(sys.executable).resolve().parent.parent,
        Path(sys.prefix),
        *(Path(sysconfig.get_path(name)) for name in ("purelib", "platlib", "stdlib", "platstdlib")),
        *_link_folders(Path(sys.executable)),
        *(_root() / name for name in packages if (_root() / name).is_dir()),
    ]
    return [Bind(path, str(path)) for path in _outermost(wanted)]


def python_path() -> str:
    """Return the ``PYTHONPATH`` under which the sandboxed program finds the checkout's packages."""
    return str(_root())


def _root() -> Path:
    return Path(__file__).resolve().parents[3]


def _link_folders(path: Path) -> list[Path]:
    """Return the folders of each link between ``sys.executable`` and the real file: a venv of a venv."""
    folders: list[Path] = []
    while path.is_symlink():
        path = path.parent / path.readlink()
        folders.append(Path(os.path.normpath(path)).parent.parent)
    return folders


def _outermost(paths: Sequence[Path]) -> list[Path]:
    """Drop what lies below another one or below the system's tree, which is always shown."""
    unique = {path for path in paths if path.is_dir() and not _below_any(path, _SYSTEM)}
    return sorted(path for path in unique if not _below_any(path, unique - {path}))


def _below_any(path: Path, folders: Iterable[Path]) -> bool:
    return any(path.is_relative_to(one) for one in folders)
