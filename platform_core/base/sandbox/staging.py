"""Shows bind sources to a process that could not reach them by their own path.

A source may lie under a folder that the dropped uid cannot traverse: a clone below a mode-700 temporary
folder, a Python below root's home. So the privileged spawner keeps a mount namespace of its own with a
small, world-traversable tmpfs and bind-mounts each source there, by an open descriptor (no second look-up
that could be raced). Bubblewrap is given the staged path; the path inside the sandbox stays the spec's.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from platform_core.base.sandbox import kernel

_FOLDER = Path("/run/sluice-stage")

Key = tuple[str, int, int]


@dataclass(slots=True)
class _Staged:
    path: str
    uses: int


class Staging:
    """Reference-counted bind mounts in a private mount namespace; nothing of it is seen outside."""

    def __init__(self) -> None:
        """Enter a mount namespace of our own; needs root.

        Raises:
            OSError: the kernel refuses.
        """
        kernel.unshare(kernel.CLONE_NEWNS)
        # Slave, not private: mounts that the host makes later (an app's overlay) still arrive here,
        # ours never go back.
        kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_SLAVE)
        folder = _staging_folder()
        kernel.mount("sluice-stage", str(folder), "tmpfs", 0, "mode=0755,size=32m")
        self.folder = folder
        """The tmpfs; the spawner may keep other things that everybody may read in it."""
        self._staged: dict[Key, _Staged] = {}
        self._serial = 0

    def acquire(self, source: str) -> tuple[Key, str]:
        """Return a key for ``release`` and the staged path of ``source``.

        Raises:
            OSError: the source does not exist or cannot be mounted.
        """
        descriptor = os.open(source, os.O_PATH | os.O_CLOEXEC)
        try:
            info = os.fstat(descriptor)
            key = (source, info.st_dev, info.st_ino)  # the same path may be a new folder by now
            staged = self._staged.get(key)
            if staged is None:
                staged = self._staged[key] = _Staged(self._mount(descriptor, stat.S_ISDIR(info.st_mode)), 0)
            staged.uses += 1
            return key, staged.path
        finally:
            os.close(descriptor)

    def release(self, key: Key) -> None:
        """Give one use back; the last one unmounts."""
        staged = self._staged[key]
        staged.uses -= 1
        if staged.uses:
            return
        del self._staged[key]
        with contextlib.suppress(OSError):
            kernel.unmount(staged.path)
            _remove(staged.path)

    def _mount(self, descriptor: int, is_folder: bool) -> str:
        self._serial += 1
        path = str(self.folder / str(self._serial))
        if is_folder:
            os.mkdir(path, 0o755)  # noqa: PTH102  # hot path
        else:
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
        try:
            kernel.mount(f"/proc/self/fd/{descriptor}", path, None, kernel.MS_BIND | kernel.MS_REC)
        except OSError:
            _remove(path)
            raise
        return path


def _remove(path: str) -> None:
    try:
        os.rmdir(path)  # noqa: PTH106  # hot path
    except NotADirectoryError:
        os.unlink(path)  # noqa: PTH108  # hot path


def _staging_folder() -> Path:
    """Return an empty folder that everybody can traverse; every spawner covers it in its own namespace."""
    try:
        _FOLDER.mkdir(mode=0o755, exist_ok=True)
    except OSError:
        return Path(tempfile.mkdtemp(prefix="sluice-stage-"))
    return _FOLDER
