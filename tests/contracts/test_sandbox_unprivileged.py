"""Runs the sandbox's suites once more as an ordinary user; collected where this run is root."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

NOBODY = 65_534
SUITES = sorted(path for path in Path(__file__).parent.glob("test_sandbox*.py") if path != Path(__file__))
__test__ = os.geteuid() == 0
AS_NOBODY = """
import os, sys, tempfile
from pathlib import Path
from platform_core.base.sandbox import kernel
from platform_core.base.sandbox.interpreter import python_binds

# The interpreter and the checkout may lie below folders that only root can enter. In a mount namespace of
# our own each such folder is covered by an empty one that everybody can, and what is needed is put back.
root = Path(sys.argv[1])
needed = [bind.source for bind in python_binds()] + [root / name for name in ("tests", "pyproject.toml")]
kernel.unshare(kernel.CLONE_NEWNS)
kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
handles = {path: os.open(path, os.O_PATH) for path in needed}
closed = {
    next(parent for parent in reversed(path.parents) if not parent.stat().st_mode & 0o001): None
    for path in needed
    if any(not parent.stat().st_mode & 0o001 for parent in path.parents)
}
for folder in closed:
    kernel.mount("none", str(folder), "tmpfs", 0, "mode=0755")
for path, handle in handles.items():
    if any(path.is_relative_to(folder) for folder in closed):
        if os.path.isdir(f"/proc/self/fd/{handle}"):
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        kernel.mount(f"/proc/self/fd/{handle}", str(path), None, kernel.MS_BIND | kernel.MS_REC)
os.setgroups([])
os.setresgid(*[int(sys.argv[2])] * 3)
os.setresuid(*[int(sys.argv[2])] * 3)
os.environ["HOME"] = "/nonexistent"
os.execv(sys.executable, [sys.executable, "-m", "pytest", *sys.argv[3:]])
"""


def test_the_suites_pass_without_root() -> None:
    root = Path(__file__).parents[2]
    options = ["-q", "-p", "no:randomly", "--rootdir", str(root), *map(str, SUITES)]
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, str(root), str(NOBODY), *options],
        cwd=root,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) > 40
    assert "skipped" not in done.stdout
