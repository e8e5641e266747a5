"""Gzip and Zstandard bodies, known by their first bytes, unpacked within the limits of the way in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import zstandard

from addon.ingest.inflate import inflate
from platform_core.base.errors import InvalidInput, TooLarge

if TYPE_CHECKING:
    from addon.ingest.limits import IngestLimits

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_STEP = 1 << 10
"""Bytes given to the decompressor at once; bounds what comes back: 128 KiB may lie in 4 bytes."""


def unpacked(body: bytes, limits: IngestLimits) -> bytes:
    """Return a text body without its compression, if it has one.

    Raises:
        InvalidInput: it is damaged or cut short.
        TooLarge: it unpacks to too much.
    """
    if body.startswith(_GZIP):
        return inflate(body, limits)
    return _zstd(body, limits) if body.startswith(_ZSTD) else body


def _zstd(body: bytes, limits: IngestLimits) -> bytes:
    pieces, size, rest = [], 0, body
    while rest:
        engine = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
        for start in range(0, len(rest), _STEP):
            try:
                piece = engine.decompress(rest[start : start + _STEP])
            except zstandard.ZstdError as error:
                raise InvalidInput("The body is not valid zstd.", hint="Compress it again.") from error
            size += len(piece)
            if size > limits.inflated_bytes:
                raise TooLarge(
                    f"The body unpacks to more than {limits.inflated_bytes} bytes.",
                    hint="Use `sluice import`, which sends a file in pieces.",
                )
            pieces.append(piece)
            if engine.eof:
                rest = engine.unused_data + rest[start + _STEP :]
                break
        else:
            raise InvalidInput("The zstd body is cut short.", hint="Resend the whole body.")
    return b"".join(pieces)
