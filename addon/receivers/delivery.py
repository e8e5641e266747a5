"""From a receiver to the log: what was read is kept until it is stored; nothing is read meanwhile."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from platform_core.base.errors import Unavailable
from platform_core.base.logs import get_logger

if TYPE_CHECKING:
    from addon.models.ingest import Ack, Batch, Ingestor
    from addon.models.receivers import ReceiverStats
    from addon.provisioning.quotas import Quotas
    from addon.receivers.limits import ReceiverLimits
    from platform_core.base.clock import Clock

RECEIVER_HELD = "receiver_waits_for_room"
_FIRST_WAIT_S = 0.05

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a receiver stores with; its connections share it."""

    ingestor: Ingestor
    quotas: Quotas
    clock: Clock
    limits: ReceiverLimits
    stats: ReceiverStats

    async def insist(self, batch: Batch) -> Ack:
        """Store a batch, however often it takes, with growing waits: its sender cannot send it again.

        Raises:
            UserError: it can never be stored.
        """
        wait = _FIRST_WAIT_S
        while True:
            try:
                return await self.ingestor.append(batch)
            except Unavailable as error:
                self.stats.held += 1
                if wait == _FIRST_WAIT_S:
                    log.warning(RECEIVER_HELD, account=batch.account_id, reason=error.message)
                await asyncio.sleep(wait)
                wait = min(wait * 2, self.limits.retry_s)
