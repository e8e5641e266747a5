"""What is acknowledged (or about to be) but not yet queryable: upload ids, bytes, and which accounts wait."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from addon.ingest.flusher import UploadKey, upload_key

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from addon.ingest.record import Record


@dataclass(slots=True)
class Upload:
    """An upload id on its way: who owns it, what came with it, and how its append ends."""

    batch_id: str
    digest: str
    stored: asyncio.Future[bool]
    """True when it is durable, False when its append failed and the id is free again."""


@dataclass(slots=True)
class Pending:
    """Bookkeeping of the event loop's thread; ``owner`` may be read from the flush thread."""

    weight: int = 0
    expected: int = 0
    """The weight of admitted records that are not being written yet: they wait for their upload id."""
    _expected: dict[str, int] = field(default_factory=dict)
    accounts: Counter[int] = field(default_factory=Counter)
    uploads: dict[UploadKey, Upload] = field(default_factory=dict)

    def expect(self, record: Record) -> None:
        """Count an admitted record, so that a burst of them cannot pass the limit together."""
        self._expected[record.batch_id] = record.weight
        self.expected += record.weight

    def expect_no_more(self, record: Record) -> None:
        """Forget an admitted record that is written now, or never."""
        self.expected -= self._expected.pop(record.batch_id, 0)

    def add(self, record: Record) -> None:
        """Count a record that is about to be written."""
        self.expect_no_more(record)
        self.weight += record.weight
        self.accounts[record.batch.account_id] += 1

    def remove(self, record: Record) -> None:
        """Count a record out: its append failed, or its rows are committed."""
        self.weight -= record.weight
        self.accounts[record.batch.account_id] -= 1
        if self.accounts[record.batch.account_id] <= 0:
            del self.accounts[record.batch.account_id]

    def flushed(self, records: Sequence[Record]) -> None:
        """Count out a segment's records; their upload ids are in the ledger now."""
        for record in records:
            self.remove(record)
            key = upload_key(record)
            upload = self.uploads.get(key) if key is not None else None
            if key is not None and upload is not None and upload.batch_id == record.batch_id:
                del self.uploads[key]

    def owner(self, key: UploadKey) -> str | None:
        """Return the batch id that stands for an upload id, None when it is not pending."""
        upload = self.uploads.get(key)
        return None if upload is None else upload.batch_id
