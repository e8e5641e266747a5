"""The stated limits of the way in. Bytes and rows; each has its own clear error."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class IngestLimits:
    """What a request may carry, and what may wait for the flush."""

    body_bytes: int = 32 << 20
    """A request's body as it came; Treasure Data's senders cut at 32 MB."""
    inflated_bytes: int = 128 << 20
    """A gzip body after decompression."""
    inflate_ratio: int = 200
    """Decompressed to compressed, looked at from ``ratio_floor`` on; real logs stay below 60."""
    ratio_floor: int = 4 << 20
    record_bytes: int = 1 << 20
    """One row; a longer one becomes a dead letter."""
    dead_letter_bytes: int = 8 << 10
    """What a dead letter keeps of the bytes it is about."""
    dead_letters_per_batch: int = 1_000
    """Dead letters written one by one; the rest of a batch is counted in one more."""
    unflushed_bytes: int = 256 << 20
    """Decompressed bytes that may wait in the log; beyond it appends are told to come back."""
