"""Rendering in a process apart: ``python -m jobs report --bundle`` in a sandbox without network.

The drawing library embeds a JavaScript engine, which takes time and some hundred megabytes, and what it draws
comes from a customer's rows: neither belongs into the service's own process.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from typing import TYPE_CHECKING, Any

from addon.query.analysis import check_plain
from addon.query.worker import QueryFailed, worker_uid
from platform_core.base.sandbox.interpreter import python_binds, python_path
from platform_core.base.sandbox.ownership import own
from platform_core.base.sandbox.spec import Bind, Sandbox, SandboxSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from addon.models.accounts import Account

_INSIDE = "/sluice-report"
_MEMORY = 2 << 30
_MAX_PIDS = 512
_TIMEOUT_S = 300.0
_MAX_TEXT = 16 << 10


class Renderer:
    """Renders finished analyses."""

    def __init__(self, sandbox: Sandbox) -> None:
        """Render in ``sandbox``."""
        self._sandbox = sandbox

    async def run(
        self,
        account: Account,
        place: Path,
        runs: Sequence[tuple[Path, str]],
        frame: Mapping[str, Any],
        kill: asyncio.Event,
    ) -> Path:
        """Render (folder, title) pairs within ``frame``; return the folder with the files.

        ``place`` is a folder that holds the runs' folders; the result goes below it.

        Raises:
            QueryFailed: it failed, was killed, or took too long.
        """
        root = _INSIDE if self._sandbox.isolation.own_files else str(place)
        out = place / "rendered"
        shutil.rmtree(out, ignore_errors=True)
        for folder in (out, place / "tmp"):
            folder.mkdir(exist_ok=True)
        listed = [{"folder": f"{root}/{folder.relative_to(place)}", "title": title} for folder, title in runs]
        description = {"frame": dict(frame), "runs": listed}
        (place / "report.json").write_text(json.dumps(description), encoding="utf-8")
        own(place, worker_uid(account.id))
        await self._render(account, place, root, kill)
        check_plain(out)
        return out

    async def _render(self, account: Account, place: Path, root: str, kill: asyncio.Event) -> None:
        with (place / "stderr").open("w+b") as errors:
            process = await self._sandbox.spawn(
                _spec(account, place, root), stdout=errors.fileno(), stderr=errors.fileno()
            )
            ended = asyncio.create_task(process.wait())
            killed = asyncio.create_task(kill.wait())
            try:
                await asyncio.wait({ended, killed}, timeout=_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
            finally:
                killed.cancel()
                if not ended.done():
                    process.kill()
            stopped = not ended.done()
            status = await ended
            if stopped:
                raise QueryFailed("killed" if kill.is_set() else "timeout", "The rendering was stopped.")
            if status.out_of_memory:
                raise QueryFailed(
                    "memory",
                    f"Drawing the report took more than {_MEMORY >> 30} GiB.",
                    hint="Limit what its analyses give, for example with top of ranking, min_count of paths.",
                )
            if status.code != 0:
                errors.seek(0)
                text = errors.read(_MAX_TEXT).decode(errors="replace").strip()
                raise QueryFailed("query", text or f"The drawing ended with code {status.code}.")


def _spec(account: Account, place: Path, root: str) -> SandboxSpec:
    temporary = f"{root}/tmp"  # noqa: S108  (below the run's own folder)
    return SandboxSpec(
        argv=[
            *(sys.executable, "-s", "-m", "jobs", "report"),
            f"--bundle={root}/report.json",
            f"--out={root}/rendered",
        ],
        env={
            "PYTHONPATH": python_path(),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONNOUSERSITE": "1",
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "HOME": temporary,
            "TMPDIR": temporary,
            "TZ": "UTC",
            "LC_ALL": "C.UTF-8",
        },
        cwd=root,
        uid=worker_uid(account.id),
        binds=[*python_binds(["jobs"]), Bind(place, root, writable=True)],
        hostname="report",
        memory_bytes=_MEMORY,
        max_pids=_MAX_PIDS,
    )
