"""How a batch's upload id becomes its own: by the ledger alone in one process, by claims in a fleet.

In one process the bookkeeping of what is pending keeps twins apart, and the ledger remembers what was
flushed: nothing is written before the log. In a fleet another node may get the same id, so the id is claimed
in the shared database before the log, and settled after it, before the acknowledgement.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from addon.ingest.grouped import Grouped
from addon.models.ingest import Claim, ClaimAnswer
from platform_core.base import failpoints
from platform_core.base.errors import Unavailable
from platform_core.base.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from addon.ingest.record import Record
    from addon.models.ingest import UploadClaims, UploadLedger

_PATIENCE, _PAUSE_S = 5, 0.2
"""How often, and at what distance, an id is asked for again that another node is just writing."""
_GROUP = 512
CLAIM_NOT_RELEASED = "upload_claim_not_released"

log = get_logger(__name__)


class SettledLedger:
    """Stands in for the ledger where every id is settled before its batch becomes rows."""

    def seen(self, _account_id: int, _database: str, _table: str, _upload_id: str) -> str | None:
        """Return None: the claims know."""
        return None

    def record(self, entries: Sequence[tuple[int, str, str, str, str]], now: float) -> None:
        """Do nothing: they are recorded."""


class UploadIds(Protocol):
    """What the service asks about records that have an upload id."""

    async def reserve(self, record: Record) -> str | None:
        """Return None when the record may be written, else the SHA-256 of what is stored under its id."""

    async def confirm(self, record: Record) -> None:
        """Make the id the written record's for good; only then may it be acknowledged.

        Raises:
            Unavailable: the id was lost to another node, or nobody can know now.
        """

    async def give_up(self, record: Record) -> None:
        """Free the id of a record whose write failed."""

    def owned(self, records: Sequence[Record]) -> frozenset[str]:
        """Return the batch ids of the records that may become rows; blocking."""


class LedgerUploadIds:
    """One process: what is not pending here is in the ledger or new."""

    def __init__(self, ledger: UploadLedger) -> None:
        """Look into ``ledger``."""
        self._ledger = ledger

    async def reserve(self, record: Record) -> str | None:
        """Look whether the id was flushed before."""
        claim = _claim(record)
        key = (claim.account_id, claim.database, claim.table, claim.upload_id)
        return await asyncio.to_thread(self._ledger.seen, *key)

    async def confirm(self, record: Record) -> None:
        """Do nothing: the log is all there is to it."""

    async def give_up(self, record: Record) -> None:
        """Do nothing: nothing was written."""

    def owned(self, records: Sequence[Record]) -> frozenset[str]:
        """All of them: the service sorts out copies."""
        return frozenset(record.batch_id for record in records)


class FleetUploadIds:
    """Several nodes: every id passes the shared claims."""

    def __init__(self, claims: UploadClaims) -> None:
        """Claim and settle through ``claims``, many waiting requests at once."""
        self._claims = claims
        self._claim = Grouped(claims.claim)
        self._settle = Grouped(self._settled)

    def _settled(self, claims: Sequence[Claim]) -> Sequence[bool]:
        mine = self._claims.settle(claims)
        return [claim.batch_id in mine for claim in claims]

    async def reserve(self, record: Record) -> str | None:
        """Claim the id, waiting a moment while another node decides about it.

        Raises:
            Unavailable: the other node does not come to an end; or it died, and its claim runs out soon.
        """
        claim = _claim(record)
        for _ in range(_PATIENCE):
            answer, digest = await self._claim(claim)
            if answer is ClaimAnswer.MINE:
                failpoints.hit("claim.post")
                return None
            if answer is ClaimAnswer.STORED:
                return digest
            await asyncio.sleep(_PAUSE_S)
        raise Unavailable("Another node is storing this upload id.", hint="Retry after 2 seconds.")

    async def confirm(self, record: Record) -> None:
        """Settle the id.

        Raises:
            Unavailable: another node took it over, or the database is away.
        """
        failpoints.hit("claim.settle")
        if not await self._settle(_claim(record)):
            raise Unavailable("Another node took over this upload id.", hint="Retry after 1 second.")

    async def give_up(self, record: Record) -> None:
        """Free the id; when that fails, too, the node's next rounds of upkeep do it."""
        try:
            await asyncio.to_thread(self._claims.release, [_claim(record)])
        except Exception as error:  # noqa: BLE001  (best effort; the claim is found as a leftover later)
            log.warning(CLAIM_NOT_RELEASED, error=str(error))

    def owned(self, records: Sequence[Record]) -> frozenset[str]:
        """Settle the ids of records that come out of the log."""
        mine: set[str] = set()
        for layer in _layers(records):
            for start in range(0, len(layer), _GROUP):
                mine |= self._claims.settle(layer[start : start + _GROUP])
        return frozenset(mine)


def _claim(record: Record) -> Claim:
    batch = record.batch
    upload_id = batch.upload_id or ""
    return Claim(batch.account_id, batch.database, batch.table, upload_id, record.digest, record.batch_id)


def _layers(records: Iterable[Record]) -> list[list[Claim]]:
    """Part claims so that no id is twice in one statement; a log may hold several tries for one."""
    layers: list[list[Claim]] = []
    depth: dict[tuple[int, str, str, str], int] = {}
    for claim in map(_claim, records):
        key = (claim.account_id, claim.database, claim.table, claim.upload_id)
        level = depth.get(key, 0)
        depth[key] = level + 1
        if level == len(layers):
            layers.append([])
        layers[level].append(claim)
    return layers
