"""What must go in time: data of deprovisioned accounts, results and jobs after 90 days, leftovers of a crash.

One round at the start and one every hour; each also checks the audit log. Each step may be repeated, and a
failing one is tried again in the next round, so that an interrupted deletion is finished whatever happens.
"""

from __future__ import annotations

import asyncio
import math
import shutil
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from platform_core.base.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from addon.provisioning.provider import Provider
    from addon.store.audit import AuditLog
    from addon.store.jobs import JobStore
    from platform_core.base.clock import Clock

KEEP_RESULTS_S = 90 * 86_400
"""How long a job, its result and an analysis' outputs are kept after its end; as Treasure Data does."""
_ROUND_S = 3_600.0
_LEASE_ROUND_S = 60.0
_LONGEST_JOB_S = 7 * 3_600.0
_log = get_logger(__name__)


class Upkeep:
    """Runs the rounds; ``folders`` hold results and outputs, one sub-folder per account id."""

    def __init__(  # noqa: PLR0917  (what one round touches)
        self,
        provider: Provider,
        jobs: JobStore,
        audit: AuditLog,
        folders: tuple[Path, ...],
        clock: Clock,
        more: tuple[Callable[[], None], ...] = (),
        lease: Callable[[], bool] | None = None,
    ) -> None:
        """Take what knows the accounts, the jobs, what was done, where files are, and ``more`` to expire.

        In a fleet, ``lease`` tells whether it is this process that does the rounds; it is asked every minute.
        """
        self._lease = lease
        self._more = more
        self._audit = audit
        self._provider = provider
        self._jobs = jobs
        self._folders = folders
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Remove what a crash left half-written, then begin the rounds; no job may be running yet."""
        if self._lease is None:
            await asyncio.to_thread(self._remove_half_written, math.inf)
        self._task = asyncio.create_task(self._rounds())

    async def close(self) -> None:
        """Stop; what is not done waits for the next start."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _rounds(self) -> None:
        following = 0.0
        while True:
            try:
                ours = self._lease is None or await asyncio.to_thread(self._lease)
                if ours and time.monotonic() >= following:
                    following = time.monotonic() + _ROUND_S
                    await self.round()
            except Exception:  # noqa: BLE001  (the next round tries again)
                _log.exception("upkeep_failed")
            await asyncio.sleep(_ROUND_S if self._lease is None else _LEASE_ROUND_S)

    async def round(self) -> None:
        """Finish interrupted purges, remove what has expired, look whether the audit log was changed."""
        await self._provider.finish_purges()
        if self._lease is not None:  # others run jobs: only what is older than any of them is a leftover
            await asyncio.to_thread(self._remove_half_written, self._clock.now() - _LONGEST_JOB_S)
        for expire in self._more:  # first: some of them read the jobs that are about to go
            await asyncio.to_thread(expire)
        await asyncio.to_thread(self._expire)
        broken = await asyncio.to_thread(self._audit.verify)
        if broken is not None:
            _log.error("audit_log_changed", first_row=broken)

    def _expire(self) -> None:
        before = self._clock.now() - KEEP_RESULTS_S
        gone = self._jobs.expire(before)
        files = 0
        for entry in self._entries():
            if entry.stat().st_mtime < before:
                _remove(entry)
                files += 1
        if gone or files:
            _log.info("results_expired", jobs=gone, files=files)

    def _entries(self) -> Iterator[Path]:
        for folder in self._folders:
            for account in folder.iterdir():
                if account.is_dir():
                    yield from account.iterdir()

    def _remove_half_written(self, before: float) -> None:
        for entry in self._entries():
            if entry.stat().st_mtime >= before:
                continue
            if entry.is_dir():
                if not (entry / "out" / "manifest.json").exists():
                    _remove(entry)
            elif entry.suffix == ".part":
                _remove(entry)


def _remove(entry: Path) -> None:
    if entry.is_dir():
        shutil.rmtree(entry, ignore_errors=True)
    else:
        entry.unlink(missing_ok=True)
