"""Finds out by trying what this machine can enforce, and picks the strongest driver."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from platform_core.base.sandbox import bubblewrap
from platform_core.base.sandbox.cgroups import NoCgroups, open_cgroups
from platform_core.base.sandbox.spec import Isolation, SandboxSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

BWRAP = "bwrap"
PROCESS = "process"
_PROBE_UID = 65534
_PROBE_TIMEOUT_S = 10
_NOT_SEPARATE = "processes run under our own uid: run as root to give each app and tenant its own"
_NO_LIMITS = "no memory, process and CPU limits from cgroups"


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found on the machine, before it is put in words."""

    root: bool
    bwrap_error: str | None
    """Why bubblewrap cannot be used; None when it works."""
    cgroups: str
    """``v1``, ``v2`` or ``none``."""
    cgroups_error: str = ""


def detect_isolation(driver: str | None = None) -> Isolation:
    """Return what can be enforced here, with ``driver`` (``bwrap``, ``process``) or the best there is.

    Takes some 20 ms: it runs one empty sandbox.
    """
    root = os.geteuid() == 0
    cgroups = open_cgroups(f"probe-{os.getpid()}") if root else NoCgroups("needs root")
    cgroups.close()
    error = None if driver == PROCESS else _probe_bwrap(root)
    reason = cgroups.reason if isinstance(cgroups, NoCgroups) else ""
    return describe(Findings(root, error, cgroups.version, reason), driver)


def describe(found: Findings, driver: str | None = None) -> Isolation:
    """Put ``found`` in words."""
    chosen = driver or (PROCESS if found.bwrap_error else BWRAP)
    missing: list[str] = []
    if chosen == PROCESS:
        why = f" ({found.bwrap_error})" if found.bwrap_error else ""
        missing.append(f"no view of the file system and no network of its own: bubblewrap is not used{why}")
    if not found.root:
        missing.append(_NOT_SEPARATE)
    if found.cgroups == "none":
        missing.append(f"{_NO_LIMITS} ({found.cgroups_error}); rlimits stand in where they can")
    return Isolation(
        driver=chosen,
        missing=tuple(missing),
        own_files=chosen == BWRAP,
        own_network=chosen == BWRAP,
        own_uid=found.root,
        limits=found.cgroups != "none",
    )


def _probe_bwrap(root: bool) -> str | None:
    """Run ``true`` in a full sandbox; return None or why that failed."""
    program = shutil.which(bubblewrap.PROGRAM)
    if program is None:
        return "bwrap is not installed: install the package bubblewrap"
    spec = SandboxSpec(argv=["/usr/bin/true"], env={}, cwd="/", uid=_PROBE_UID)
    with contextlib.ExitStack() as stack:
        status, passwd, group, words = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(4))
        # fmt: off
        words.write(bubblewrap.options(
            spec, [], etc=None, status_fd=status.fileno(), passwd_fd=passwd.fileno(), group_fd=group.fileno()
        ))
        # fmt: on
        words.seek(0)
        return _run_probe(
            [program, "--args", str(words.fileno()), "--", *spec.argv],
            [one.fileno() for one in (status, passwd, group, words)],
            root=root,
        )


def _run_probe(argv: Sequence[str], descriptors: Sequence[int], *, root: bool) -> str | None:
    identity: dict[str, Any] = {}
    if root:
        identity = {"user": _PROBE_UID, "group": _PROBE_UID, "extra_groups": []}
    try:
        done = subprocess.run(
            argv,
            env={},
            cwd="/",
            pass_fds=descriptors,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PROBE_TIMEOUT_S,
            check=False,
            **identity,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    return None if done.returncode == 0 else done.stderr.decode(errors="replace").strip()
