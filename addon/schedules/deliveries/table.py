"""An output as rows of a table of the account, by the way that every row takes: the write-ahead log."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import orjson

from addon.models.ingest import TABLE_ID, Batch, BodyKind
from addon.models.tables import TableRef, check_name
from addon.schedules.deliveries.outputs import find_output, output_rows
from addon.schedules.deliveries.port import settings_as
from jobs.contracts.parameters import optional, parameter, required, text
from platform_core.base.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from addon.models.accounts import Account
    from addon.models.ingest import Catalog, Ingestor
    from addon.schedules.deliveries.port import Parcel
    from platform_core.base.clock import Clock

_MAX_BODY = 8 << 20
QuotaCheck = Callable[["Account"], Awaitable[None]]
"""Raises a ``SluiceError`` when the account may not store more."""


@dataclass(frozen=True, slots=True)
class TableSettings:
    """What a delivery of the type ``table`` takes."""

    database: str = required(text(), "the database; made when missing")
    table: str = required(text(), "the table; made when missing")
    analysis: str | None = parameter(
        None, optional(text()), "the analysis' key; the report's first when null"
    )
    output: str | None = parameter(
        None, optional(text()), "its output; the one of the analysis' name when null"
    )

    def __post_init__(self) -> None:
        """Check the names."""
        for name in ("database", "table"):
            try:
                check_name(name, getattr(self, name))
            except InvalidInput as error:
                raise InvalidInput(f"parameter {name}: {error}") from error


class TableDelivery:
    """Appends rows with the columns ``report``, ``report_run`` and ``slot`` before the output's own.

    ``time`` is the row's own where it has one, else the run's slot. Every piece has an upload id made of the
    run and the delivery, so a repeat within the seven days of the ledger stores nothing again.
    """

    type: ClassVar[str] = "table"
    secrets: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, ingestor: Ingestor, catalog: Catalog, clock: Clock, check_quota: QuotaCheck) -> None:
        """Append by ``ingestor`` while ``check_quota`` lets the account; tables are made in ``catalog``."""
        self._check_quota = check_quota
        self._ingestor = ingestor
        self._catalog = catalog
        self._clock = clock

    def check(self, settings: Mapping[str, Any]) -> None:
        """Check settings."""
        settings_as(TableSettings, settings)

    def target(self, settings: Mapping[str, Any]) -> str:
        """Return the table's name."""
        asked = settings_as(TableSettings, settings)
        return f"{asked.database}.{asked.table}"

    async def deliver(self, parcel: Parcel, settings: Mapping[str, Any]) -> None:
        """Append the rows, piece by piece; each is on disk before the next."""
        asked = settings_as(TableSettings, settings)
        await self._check_quota(parcel.account)
        file = await asyncio.to_thread(find_output, parcel, asked.analysis, asked.output)
        ref = TableRef(parcel.account.id, asked.database, asked.table)
        located = await asyncio.to_thread(self._catalog.ensure_table, ref)
        for number, body in enumerate(_pieces(parcel, file)):
            batch = Batch(
                BodyKind.NDJSON,
                ref.account_id,
                ref.database,
                ref.table,
                body,
                self._clock.now(),
                f"{parcel.key}-{number}",
                {TABLE_ID: str(located.id)},
            )
            await self._ingestor.append(batch)


def _pieces(parcel: Parcel, file: Path) -> Iterator[bytes]:
    """Cut the rows into bodies, the same ones for each attempt."""
    lines: list[bytes] = []
    size = 0
    for row in output_rows(parcel, file):
        line = orjson.dumps({"time": parcel.run.slot} | row, option=orjson.OPT_SERIALIZE_NUMPY)
        if lines and size + len(line) > _MAX_BODY:
            yield b"\n".join(lines)
            lines, size = [], 0
        lines.append(line)
        size += len(line) + 1
    if lines:
        yield b"\n".join(lines)
