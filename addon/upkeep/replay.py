"""``sluice replay``: what was put aside goes through the front door again, once its cause is mended.

Quarantined batches and segments are sent as the batches that they were; quarantined rows, which are typed
already, are committed; dead letters that hold a whole row are sent as rows of the table they were meant for.
Each goes in under an id of its own, made from what it is, so that a second replay adds nothing. A file is
deleted when everything in it is in. Dead letters stay, as a record of what happened.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow.compute as pc
import pyarrow.parquet as pq

from addon.ingest.record import Record, decode
from addon.models.ingest import Batch, BodyKind
from addon.models.tables import DEAD_LETTERS, LOGS_DATABASE, TableRef
from addon.upkeep.log_check import records_of
from addon.warehouse.store import Prepared
from platform_core.base.errors import NotFound, SluiceError
from platform_core.base.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from addon.models.ingest import Catalog, Ingestor
    from addon.warehouse.store import DeltaWarehouse

REPLAYED = "quarantine_replayed"
REPLAY_REFUSED = "replay_refused"
_CUT_BYTES = 8 << 10
"""Dead letters keep this many bytes of a body: one that is as long may have been longer."""
_NOT_ROWS = ("quarantined: ", "more_dead_letters_in_this_batch", "body: ")
"""Reasons of letters that stand for more than one row; those rows are in the quarantine."""
_ROWS_PER_BATCH = 5_000

log = get_logger(__name__)


@dataclass(slots=True)
class Replayed:
    """What a replay did."""

    files: int = 0
    batches: int = 0
    rows: int = 0
    """Rows committed as they were, and dead letters that were sent as rows."""
    duplicates: int = 0
    refused: int = 0


@dataclass(slots=True)
class Replay:
    """Sends what was put aside again; one at a time."""

    ingestor: Ingestor
    warehouse: DeltaWarehouse
    catalog: Catalog

    async def quarantine(self, folder: Path, key: int) -> Replayed:
        """Send every file of the quarantine again; ``key`` seeds the log's CRCs."""
        done, finished, accounts = Replayed(), [], set()
        for path in await asyncio.to_thread(_files, folder):
            refused = done.refused
            if path.suffix == ".parquet":
                await asyncio.to_thread(self._commit, path, done)
            for batch in await asyncio.to_thread(_batches, path, key):
                await self._send(batch, path.name, done)
                accounts.add(batch.account_id)
            if done.refused == refused:
                finished.append(path)
        for account_id in accounts:
            await self.ingestor.flush(account_id)
        for path in finished:  # what was accepted is in the tables by now: nothing hangs on these files
            await asyncio.to_thread(path.unlink)
            log.info(REPLAYED, file=path.name)
        done.files = len(finished)
        return done

    async def dead_letters(self, account_ids: Iterable[int]) -> Replayed:
        """Send the accounts' dead letters again as rows of their tables."""
        done = Replayed()
        for account_id in account_ids:
            for batch, rows in await asyncio.to_thread(self._letters, account_id):
                before = done.batches + done.duplicates
                await self._send(batch, f"{account_id}/{LOGS_DATABASE}.{DEAD_LETTERS}", done)
                done.rows += rows if done.batches + done.duplicates > before else 0
        return done

    async def _send(self, batch: Batch, source: str, done: Replayed) -> None:
        try:
            ack = await self.ingestor.append(batch)
        except SluiceError as error:
            done.refused += 1
            log.warning(REPLAY_REFUSED, source=source, reason=str(error))
            return
        done.batches += not ack.duplicate
        done.duplicates += ack.duplicate

    def _commit(self, path: Path, done: Replayed) -> None:
        """Commit a table's quarantined rows under the file's own name as transaction."""
        account, database, name = path.stem.partition("-")[2].split(".", 2)
        ref = TableRef(int(account), database, name)
        table = pq.read_table(path, page_checksum_verification=True)
        try:
            self._require(ref)
            columns = [(field.name, _KINDS[str(field.type)]) for field in table.schema]
            base = self.warehouse.prepare(ref, None, table, columns)
            digest = hashlib.sha256(path.name.encode()).hexdigest()[:24]
            fresh = self.warehouse.commit(Prepared(ref, base.table, base.schema), f"replay-{digest}", 1)
        except (SluiceError, ValueError, KeyError) as error:
            done.refused += 1
            log.warning(REPLAY_REFUSED, source=path.name, reason=str(error))
            return
        newest = pc.max(table["time"]).as_py()
        self.catalog.record_flush(ref, fresh.columns, table.num_rows, newest, (f"replay-{digest}", 1))
        done.rows += fresh.rows
        done.duplicates += not fresh.rows

    def _require(self, ref: TableRef) -> None:
        if not self.catalog.table_exists(ref):
            raise NotFound(f"There is no table {ref.database}.{ref.table}.", hint="Make it; replay again.")

    def _letters(self, account_id: int) -> list[tuple[Batch, int]]:
        snapshot = self.warehouse.snapshot(TableRef(account_id, LOGS_DATABASE, DEAD_LETTERS))
        if snapshot is None:
            return []
        by_table: dict[TableRef, list[str]] = {}
        with self.warehouse.reading() as lease:
            lease.fetch(list(snapshot.files))
            for path in snapshot.files:
                for letter in pq.read_table(path).to_pylist():
                    if _is_row(letter):
                        ref = TableRef(account_id, letter["database"], letter["table"])
                        by_table.setdefault(ref, []).append(letter["body"])
        return [
            (
                _rows(ref, bodies[first : first + _ROWS_PER_BATCH]),
                len(bodies[first : first + _ROWS_PER_BATCH]),
            )
            for ref, bodies in by_table.items()
            for first in range(0, len(bodies), _ROWS_PER_BATCH)
        ]


_KINDS = {"int64": "long", "double": "double", "bool": "boolean", "string": "string"}


def _files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _batches(path: Path, key: int) -> list[Batch]:
    if path.suffix == ".batch":
        return [_again(decode(path.read_bytes()))]
    return [_again(record) for record in records_of(path, key)] if path.suffix == ".wal" else []


def _again(record: Record) -> Batch:
    """Return a batch under a new id: its own counts as stored, since it was acknowledged."""
    return replace(record.batch, upload_id=f"replay-{record.batch_id}")


def _is_row(letter: dict[str, str | None]) -> bool:
    body, reason = letter.get("body") or "", letter.get("reason") or ""
    whole = 0 < len(body.encode()) < _CUT_BYTES
    return bool(whole and letter.get("database") and letter.get("table")) and not reason.startswith(_NOT_ROWS)


def _rows(ref: TableRef, bodies: list[str]) -> Batch:
    body = "".join(f"{text}\n" for text in bodies).encode()
    identity = hashlib.sha256(body).hexdigest()[:32]
    return Batch(BodyKind.NDJSON, ref.account_id, ref.database, ref.table, body, 0.0, f"replay-{identity}")
