"""What is looked at before the ack: a body broken as a whole is refused while its sender can mend it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from addon.ingest.decode_msgpack import boundaries
from addon.ingest.inflate import inflate
from addon.ingest.json_lines import check
from addon.models.ingest import Batch, BodyKind
from platform_core.base.errors import InvalidInput, TooLarge

if TYPE_CHECKING:
    from addon.ingest.limits import IngestLimits


@dataclass(frozen=True, slots=True)
class Admission:
    """An accepted body: its size after decompression, and whether every line was found good."""

    weight: int
    clean: bool = False


def check_size(batch: Batch, limits: IngestLimits) -> None:
    """Refuse empty and oversized bodies.

    Raises:
        TooLarge: over the body limit.
        InvalidInput: nothing in it.
    """
    if len(batch.body) > limits.body_bytes:
        raise TooLarge(
            f"The body has {len(batch.body)} bytes; the limit is {limits.body_bytes}.",
            hint="Split it into smaller requests.",
        )
    if not batch.body:
        raise InvalidInput("The body is empty.", hint="Send at least one row.")


def admit(batch: Batch, limits: IngestLimits) -> Admission:
    """Look at a body as its kind demands; CPU work, call it off the event loop for large bodies.

    Raises:
        InvalidInput: broken as a whole; the message says where.
        TooLarge: over a limit after decompression.
    """
    if batch.kind is BodyKind.MSGPACK_GZ:
        data = inflate(batch.body, limits)
        if len(boundaries(data)) == 1:
            raise InvalidInput("The body holds no rows.", hint="Send at least one row.")
        return Admission(len(data))
    if batch.kind is BodyKind.NDJSON and batch.clean:
        return Admission(len(batch.body), clean=True)
    if batch.kind is BodyKind.NDJSON:
        good, bad = check(batch.body, limits.record_bytes)
        if bad and not len(good):
            raise InvalidInput(
                f"Line {bad[0].number} is no JSON object ({bad[0].reason}), nor is any other.",
                hint="Send one JSON object a line.",
            )
        lines = batch.body.count(b"\n") + (not batch.body.endswith(b"\n"))
        return Admission(len(batch.body), clean=not bad and len(good) == lines)  # so no line is blank
    if batch.kind in {BodyKind.SYSLOG, BodyKind.FORWARD}:
        return Admission(len(batch.body))  # the receiver cut them itself, message by message
    if not batch.body[:1].isdigit():
        raise InvalidInput(
            "The body does not start with a frame's length.",
            hint="Send application/logplex-1: octet-counted syslog frames.",
        )
    return Admission(len(batch.body))
