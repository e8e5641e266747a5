"""Upload ids among several nodes: who owns one is a row of the ledger, changed by one atomic statement.

A row is ``claimed`` while its node writes the batch, ``stored`` once that is durable, ``free`` when the write
failed. It never goes back from ``stored``, and a batch that lost its row never gets it back, because every
claim has a batch id of its own. The argument is in ``docs/decisions/0018-upload-ids-in-a-fleet.md``.

Many claims travel as one JSON parameter: a statement of a thousand parameters costs a pure-Python driver more
than the transaction itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import sqlalchemy as sa

from addon.models.ingest import Claim, ClaimAnswer
from addon.store.schema import UPLOADS
from addon.store.uploads import KEEP_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from addon.store.database import Database
    from platform_core.base.clock import Clock

_ROWS = {
    "postgresql": "jsonb_to_recordset(CAST(:rows AS jsonb))"
    " AS r(account bigint, db text, tab text, upload text, digest text, batch text)",
    "sqlite": "(SELECT value ->> 'account' AS account, value ->> 'db' AS db, value ->> 'tab' AS tab,"
    " value ->> 'upload' AS upload, value ->> 'digest' AS digest, value ->> 'batch' AS batch"
    " FROM json_each(:rows)) AS r",
}
"""The claims as a table, in each dialect."""
_SAME = (
    "uploads.account_id = r.account AND uploads.database_name = r.db"
    " AND uploads.table_name = r.tab AND uploads.upload_id = r.upload"
)
# In the order of the key, so that two transactions never wait for each other in a circle.
_INSERT = (
    "INSERT INTO uploads (account_id, database_name, table_name, upload_id,"
    " body_sha256, batch_id, recorded_at, state, node)"
    " SELECT r.account, r.db, r.tab, r.upload, r.digest, r.batch, :now, '{state}', :node FROM {rows}"
    " WHERE true ORDER BY 1, 2, 3, 4"
    " ON CONFLICT (account_id, database_name, table_name, upload_id) DO UPDATE"
)
_CLAIM = """{insert} SET body_sha256 = excluded.body_sha256, batch_id = excluded.batch_id,
 recorded_at = excluded.recorded_at, state = 'claimed', node = excluded.node
 WHERE uploads.state = 'free' OR uploads.recorded_at < :expired OR (uploads.state = 'claimed' AND
 (uploads.node = excluded.node OR uploads.node NOT IN (SELECT id FROM nodes WHERE lease_until >= :now)))
 RETURNING batch_id"""
_SETTLE = """{insert} SET state = 'stored', recorded_at = excluded.recorded_at
 WHERE uploads.batch_id = excluded.batch_id RETURNING batch_id"""
_LOOK = "SELECT r.batch, uploads.state, uploads.body_sha256 FROM {rows} JOIN uploads ON {same}"
_RELEASE = """UPDATE uploads SET state = 'free', batch_id = NULL FROM {rows}
 WHERE {same} AND uploads.batch_id = r.batch AND uploads.state = 'claimed'"""


class SqlUploadClaims:
    """Implements :class:`addon.models.ingest.UploadClaims` for one node."""

    def __init__(self, database: Database, clock: Clock, node: str) -> None:
        """Claim for ``node``, which the table of nodes knows as alive while it sends heartbeats."""
        self._database = database
        self._clock = clock
        self._node = node
        rows = _ROWS[database.engine.dialect.name]
        self._claim = sa.text(_CLAIM.format(insert=_INSERT.format(rows=rows, state="claimed")))
        self._settle = sa.text(_SETTLE.format(insert=_INSERT.format(rows=rows, state="stored")))
        self._look = sa.text(_LOOK.format(rows=rows, same=_SAME))
        self._release = sa.text(_RELEASE.format(rows=rows, same=_SAME))

    def claim(self, claims: Sequence[Claim]) -> Sequence[tuple[ClaimAnswer, str]]:
        """Take the ids that are free, ours, expired, or claimed by a dead node.

        The caller asks for no id twice at once: a claim of this node that is asked for again is a leftover.
        """
        now = self._clock.now()
        given = self._given(claims, now=now, expired=now - KEEP_S)
        with self._database.write() as connection:
            mine = set(connection.execute(self._claim, given).scalars())
            known = {}
            if len(mine) < len(claims):
                others = [claim for claim in claims if claim.batch_id not in mine]
                found = connection.execute(self._look, {"rows": _packed(others)})
                known = {row.batch: (row.state, row.body_sha256) for row in found}
        return [_answer(claim, mine, known) for claim in claims]

    def settle(self, claims: Sequence[Claim]) -> frozenset[str]:
        """Make the batches that own their ids stored; an id that nobody has (any more) becomes theirs."""
        given = self._given(claims, now=self._clock.now())
        with self._database.write() as connection:
            return frozenset(connection.execute(self._settle, given).scalars())

    def release(self, claims: Sequence[Claim]) -> None:
        """Give up ids whose batches were not stored.

        The row stays, so that the batch cannot own it again should its frame turn up after a disk error.
        """
        with self._database.write() as connection:
            connection.execute(self._release, {"rows": _packed(claims)})

    def release_others(self, kept: Sequence[str], before: float) -> int:
        """Give up this node's claims from before a time (Unix seconds) but for the batches ``kept``."""
        leftover = sa.and_(
            UPLOADS.c.state == "claimed",
            UPLOADS.c.node == self._node,
            UPLOADS.c.recorded_at < before,
            UPLOADS.c.batch_id.not_in(list(kept)),
        )
        with self._database.write() as connection:
            free = sa.update(UPLOADS).where(leftover).values(state="free", batch_id=None)
            return connection.execute(free).rowcount

    def expire(self) -> None:
        """Drop the ids that are older than what is promised."""
        old = UPLOADS.c.recorded_at < self._clock.now() - KEEP_S
        with self._database.write() as connection:
            connection.execute(sa.delete(UPLOADS).where(old))

    def _given(self, claims: Sequence[Claim], **more: Any) -> dict[str, Any]:
        return {"rows": _packed(claims), "node": self._node, **more}


def _packed(claims: Sequence[Claim]) -> str:
    rows = [
        {
            "account": claim.account_id,
            "db": claim.database,
            "tab": claim.table,
            "upload": claim.upload_id,
            "digest": claim.digest,
            "batch": claim.batch_id,
        }
        for claim in claims
    ]
    return orjson.dumps(rows).decode()


def _answer(claim: Claim, mine: set[Any], known: dict[str, tuple[str, str]]) -> tuple[ClaimAnswer, str]:
    if claim.batch_id in mine:
        return ClaimAnswer.MINE, claim.digest
    # A row that went meanwhile (its table was deleted) is asked for again, like one in flight.
    state, digest = known.get(claim.batch_id, ("claimed", claim.digest))
    return (ClaimAnswer.STORED if state == "stored" else ClaimAnswer.BUSY), digest
