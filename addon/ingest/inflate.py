"""Gunzip with two caps, absolute and ratio, so that a bomb costs no more than the cap."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isal import isal_zlib

from platform_core.base.errors import InvalidInput, TooLarge

if TYPE_CHECKING:
    from addon.ingest.limits import IngestLimits

_STEP = 1 << 20
_GZIP = 31
"""zlib's window bits for a gzip member with its header and CRC."""


def inflate(body: bytes, limits: IngestLimits) -> bytes:
    """Return the decompressed bytes of one or more gzip members.

    Raises:
        InvalidInput: not gzip, damaged, or cut short.
        TooLarge: over the absolute cap, or suspiciously dense.
    """
    if not body:
        raise InvalidInput("The body is empty.", hint="Send a gzip stream of msgpack maps.")
    pieces: list[bytes] = []
    total = 0
    rest = body
    while rest:
        engine = isal_zlib.decompressobj(wbits=_GZIP)
        pending = rest
        while not engine.eof:
            try:
                piece = engine.decompress(pending, _STEP)
            except isal_zlib.error as error:  # type: ignore[misc]  # the stub takes the class for an instance
                raise InvalidInput(
                    "The body is not valid gzip.", hint="Compress it again and resend."
                ) from error
            pending = engine.unconsumed_tail
            if not piece and not pending and not engine.eof:
                raise InvalidInput("The gzip body is cut short.", hint="Resend the whole body.")
            total += len(piece)
            _check(total, len(body), limits)
            pieces.append(piece)
        rest = engine.unused_data
    return b"".join(pieces)


def _check(total: int, compressed: int, limits: IngestLimits) -> None:
    if total > limits.inflated_bytes:
        raise TooLarge(
            f"The body decompresses to more than {limits.inflated_bytes} bytes.",
            hint="Split it into smaller imports.",
        )
    if total > limits.ratio_floor and total > compressed * limits.inflate_ratio:
        raise TooLarge(
            f"The body decompresses to more than {limits.inflate_ratio} times its size.",
            hint="Split it into smaller imports, or send it less repetitive.",
        )
