"""What comes in, and the ports of the durable path."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from addon.models.moves import Located, TableMove
from addon.models.tables import Column, Snapshot, TableRef

if TYPE_CHECKING:
    from pathlib import Path

    from addon.models.objects import Lease


TABLE_ID = "table_id"
"""A batch's ``meta``: the number of the table that it was accepted for, whatever has its name by now."""


class BodyKind(StrEnum):
    """The form of a batch's raw bytes; the WAL keeps them as they came."""

    LOGPLEX = "logplex"
    """application/logplex-1 frames; ``meta`` holds ``app`` and ``drain``."""
    MSGPACK_GZ = "msgpack.gz"
    """A gzip stream of msgpack maps."""
    NDJSON = "ndjson"
    """JSON objects, one a line."""
    SYSLOG = "syslog"
    """Octet-counted RFC 5424 or RFC 3164 messages without their token; ``meta`` as for LOGPLEX."""
    FORWARD = "forward"
    """msgpack maps of a forward sender, one after the other; their table is made when missing."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One request's worth of rows, before parsing.

    ``database`` and ``table`` are empty for LOGPLEX, whose lines name their own tables. ``upload_id`` makes
    the batch idempotent for 7 days within (account, database, table). ``received_at`` is Unix seconds.
    """

    kind: BodyKind
    account_id: int
    database: str
    table: str
    body: bytes
    received_at: float
    upload_id: str | None = None
    meta: Mapping[str, str] = field(default_factory=dict)
    clean: bool = False
    """NDJSON whose every line was found to be one JSON object within the limits, none of them blank."""


@dataclass(frozen=True, slots=True)
class Ack:
    """The promise that a batch is on disk."""

    duplicate: bool
    """The upload id was seen before: nothing was stored again."""


class Ingestor(Protocol):
    """The way in. ``append`` returns when the batch is fsynced."""

    async def append(self, batch: Batch) -> Ack:
        """Make a batch durable.

        Raises:
            Conflict: the upload id was used with another body.
            Unavailable: back-pressure; ``Retry-After`` seconds are in the error's hint.
            OutOfSpace: the disk is full; nothing was acknowledged.
        """

    async def flush(self, account_id: int) -> Sequence[str]:
        """The flush barrier: return when every batch of the account acked before the call is queryable.

        Returns:
            Warnings, one for each node that is away and may hold batches that are not.
        """


class Catalog(Protocol):
    """Which databases and tables an account has; implemented by the store."""

    def ensure_table(self, ref: TableRef) -> Located:
        """Create the database and the table where they are missing; return the table."""

    def table_exists(self, ref: TableRef) -> bool:
        """Tell whether the table is there (a dropped table's late batches are discarded)."""

    def locate(self, ref: TableRef) -> Located | None:
        """Return the table of this name as it is now, None without one."""

    def locate_ids(self, ids: Collection[int]) -> Mapping[int, Located]:
        """Return those of the tables that are still there, all as of one moment, by number."""

    def moves(self, account_ids: frozenset[int]) -> Sequence[TableMove]:
        """Return which tables of the accounts got another name lately, in the order of time."""

    def record_flush(  # noqa: PLR0917 - the facts of one commit
        self,
        ref: TableRef,
        columns: Sequence[Column],
        rows: int,
        last_time: int | None,
        mark: tuple[str, int] | None = None,
        misfits: Mapping[str, int] = MappingProxyType({}),
        place: str | None = None,
        size: int = 0,
    ) -> None:
        """Note what a flush committed: the columns now in the table, the rows added, their newest time.

        ``mark`` is (writer, segment): a segment is counted once, however often its flush is repeated.
        ``misfits`` are the values that did not fit, by column. ``place`` is where the rows went: they count
        for the table that lies there, whatever its name is by now, or for none. ``size`` is the rows' bytes
        before they are packed into a file.
        """


class UploadLedger(Protocol):
    """The upload ids of the last 7 days."""

    def seen(self, account_id: int, database: str, table: str, upload_id: str) -> str | None:
        """Return the body's SHA-256 that came with this id, or None."""

    def record(self, entries: Sequence[tuple[int, str, str, str, str]], now: float) -> None:
        """Keep (account, database, table, upload id, SHA-256) rows; ignore repeats, drop expired ones."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A batch that wants to stand for its upload id, among all nodes of a fleet."""

    account_id: int
    database: str
    table: str
    upload_id: str
    digest: str
    batch_id: str


class ClaimAnswer(StrEnum):
    """What became of a claim."""

    MINE = "mine"
    """The batch stands for the upload id until another node takes it over from a dead one."""
    STORED = "stored"
    """Another batch is durable under this id."""
    BUSY = "busy"
    """A living node is writing a batch with this id; nobody knows yet how it ends."""


class UploadClaims(Protocol):
    """Upload ids where several nodes take them: each call is one transaction for many waiting requests."""

    def claim(self, claims: Sequence[Claim]) -> Sequence[tuple[ClaimAnswer, str]]:
        """Take the ids that are free; answer in order, each with the SHA-256 that came with the id."""

    def settle(self, claims: Sequence[Claim]) -> frozenset[str]:
        """Make the batches that still own their ids stored for good; return their batch ids.

        Whoever is not among them was taken over, and must neither be acknowledged nor become rows.
        """

    def release(self, claims: Sequence[Claim]) -> None:
        """Give up ids whose batches were not stored."""

    def release_others(self, kept: Sequence[str], before: float) -> int:
        """Give up this node's claims from before a time (Unix seconds) but for the batches ``kept``."""


class Warehouse(Protocol):
    """Delta tables, one folder per (account, database, table)."""

    def snapshot(self, ref: TableRef, version: int | None = None) -> Snapshot | None:
        """Pin the newest (or a named) version; None while nothing was ever committed.

        Raises:
            NotFound: there is no such version, or not any more.
        """

    def version_at(self, ref: TableRef, seconds: float) -> int:
        """Return the version that was the newest at a moment (Unix seconds).

        Raises:
            NotFound: the table had none then, or its history does not reach so far.
        """

    def reading(self) -> Lease:
        """Return an empty lease: what it fetches of a snapshot's files is there until it is closed."""

    def links(self, files: Sequence[Path], seconds: float) -> Sequence[str]:
        """Return addresses by which others can read files of a snapshot for so long; they are secrets.

        ``file://`` where the warehouse is a folder, else ``https://`` with a signature for one file each.
        """

    def drop(self, ref: TableRef, place: str | None = None) -> None:
        """Delete a table's files; nothing of it is left on disk.

        ``place`` is where they lie within the account's folder, for a table that has left the catalog.
        """

    def drop_account(self, account_id: int) -> None:
        """Delete all of an account's files."""
