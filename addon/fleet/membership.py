"""A node's place in the fleet: its identity, its heartbeat, and the tidying of what it claimed.

Heartbeats go through the shared database, every two seconds; a node that misses five of them is taken for
dead. Nothing exact hangs on that: a claim that is taken over is lost by its former owner at once, in the same
row.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from addon.store.nodes import BEAT_S
from platform_core.base.errors import InvalidInput
from platform_core.base.ids import fingerprint, new_uuid
from platform_core.base.logs import get_logger

if TYPE_CHECKING:
    from pathlib import Path

    from addon.ingest.service import IngestService
    from addon.store.claims import SqlUploadClaims
    from addon.store.nodes import NodeStore

_TIDY_BEATS = 30
HEARTBEAT_FAILED = "fleet_heartbeat_failed"

log = get_logger(__name__)


def identity(path: Path) -> str:
    """Return the id in the file ``path``, made by whoever comes first."""
    if not path.exists():
        part = path.with_name(f"{path.name}.{new_uuid()}")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(new_uuid())
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(part, path)
        except FileExistsError:
            pass
        finally:
            part.unlink()
    return path.read_text().strip()


@dataclass(frozen=True, slots=True)
class Place:
    """Who a node is; ``belonging`` is what all nodes must have alike: credentials and shared folder."""

    node: str
    url: str
    roles: frozenset[str]
    belonging: str


class Membership:
    """Registers the node and keeps it registered."""

    def __init__(
        self, nodes: NodeStore, place: Place, log_of_mine: IngestService | None, claims: SqlUploadClaims
    ) -> None:
        """Take who we are, and the log whose unflushed batches the heartbeats tell; None without one."""
        self._nodes = nodes
        self._place = place
        self._belonging = fingerprint(place.belonging)
        self._ingest = log_of_mine
        self._claims = claims
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Register, and begin the heartbeats.

        Raises:
            InvalidInput: a living node has other credentials or another shared folder.
            Unavailable: the database is away.
        """
        strangers = await asyncio.to_thread(self._nodes.strangers, self._belonging)
        if strangers:
            raise InvalidInput(
                f"The node {strangers[0]} on this database has other credentials or another shared folder.",
                hint="Copy its addon/credentials.json, and set SLUICE_ADDON_SHARED_FOLDER alike.",
            )
        await asyncio.to_thread(self._beat)
        self._task = asyncio.create_task(self._beats())

    def _beat(self) -> None:
        unflushed = {} if self._ingest is None else self._ingest.unflushed()
        place = self._place
        self._nodes.beat(place.node, place.url, place.roles, self._belonging, unflushed)

    async def _beats(self) -> None:
        beats = 0
        while True:
            await asyncio.sleep(BEAT_S)
            beats += 1
            try:
                await asyncio.to_thread(self._beat)
                if beats % _TIDY_BEATS == 0 and self._ingest is not None:
                    await self._ingest.release_leftovers()
                    await asyncio.to_thread(self._claims.expire)
            except Exception as error:  # noqa: BLE001  (the database may be away for a while)
                log.warning(HEARTBEAT_FAILED, error=str(error))

    async def close(self) -> None:
        """Say good-bye; call it when the log is closed. A node with an empty log is not waited for."""
        if self._task is None:
            return
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        drained = self._ingest is None or not self._ingest.unflushed()
        try:
            await asyncio.to_thread(self._nodes.leave, self._place.node, drained=drained)
        except Exception as error:  # noqa: BLE001  (the others notice that we are gone)
            log.warning(HEARTBEAT_FAILED, error=str(error))
