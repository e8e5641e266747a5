"""Syslog over TCP: no answers, so what was read is kept until it is stored, and nothing is read meanwhile.

Each round takes what arrived while the last one was stored: one append per sender, so that a fast sender
costs few syncs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from addon.models.ingest import Batch, BodyKind
from addon.provisioning.quotas import QuotaExceeded
from addon.receivers.listener import Refused
from addon.receivers.syslog_token import TokenCutter
from platform_core.base.errors import UserError
from platform_core.wire.octets import join_octets
from platform_core.wire.syslog_stream import SyslogStream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from addon.receivers.delivery import Delivery
    from addon.receivers.inflow import Inflow
    from addon.receivers.senders import Sender, Senders

_HINT = (
    "Send your drain token or write API key with each message, for RFC 5424 as"
    ' [sluice@32473 token="…"] in the structured data.'
)


@dataclass(slots=True)
class _Sorted:
    """Messages by their sender, up to the first that has none."""

    by_token: dict[bytes, tuple[Sender, list[bytes]]] = field(default_factory=dict)
    reason: str = ""
    """Why the rest is refused; empty when there is no rest."""
    refused: int = 0


class SyslogReceiver:
    """Serves the connections of a listener."""

    def __init__(self, senders: Senders, delivery: Delivery) -> None:
        """Take the collaborators; connections share them."""
        self._senders = senders
        self._delivery = delivery
        self._limits = delivery.limits
        self._stats = delivery.stats

    async def __call__(self, flow: Inflow) -> None:
        """Read and store until the sender closes.

        Raises:
            Refused: an unknown sender, lost framing, a used-up quota.
            TimeoutError: nothing comes.
        """
        stream = SyslogStream(max_frame=self._limits.message_bytes)
        cutter = TokenCutter()
        wait = self._limits.first_s
        while data := await flow.take(wait):
            self._stats.bytes += len(data)
            frames = stream.feed(data)
            await self._store(frames, cutter)
            if frames:
                wait = self._limits.idle_s
            if stream.lost is not None:
                self._stats.malformed += 1
                raise Refused(f"the framing is lost: {stream.lost.reason}")
        last = stream.finish() if flow.clean_end else b""
        if last:
            await self._store([last], cutter)
        if stream.pending:
            self._stats.malformed += 1
            raise Refused("the connection ended inside a message")

    async def _store(self, frames: Sequence[bytes], cutter: TokenCutter) -> None:
        """Store messages; what comes after the first refused one is refused too."""
        self._stats.received += len(frames)
        found = self._sort(frames, cutter)
        for sender, messages in found.by_token.values():
            try:
                await self._delivery.quotas.check(sender.account)
                await self._append(sender, messages)
            except QuotaExceeded as error:
                found.refused += len(messages)
                found.reason = f"account {sender.account.id}: {error}"
        if found.reason:
            self._stats.refused += found.refused
            raise Refused(f"{found.refused} messages refused: {found.reason}")

    def _sort(self, frames: Sequence[bytes], cutter: TokenCutter) -> _Sorted:
        found = _Sorted()
        by_token = found.by_token
        last_token = b""
        for index, frame in enumerate(frames):
            token, message = cutter.cut(frame)
            if not token and last_token and message[:1] != b"<":
                token = last_token  # a line break within a message: kept, as a dead letter of its sender
            known = by_token.get(token)
            if known is None:
                sender = self._senders.find(token.decode("latin-1")) if token else None
                if sender is None:
                    found.reason = f"the sender is {'unknown' if token else 'not named'}. {_HINT}"
                    found.refused = len(frames) - index
                    break
                known = by_token[token] = (sender, [])
            known[1].append(message)
            last_token = token
        return found

    async def _append(self, sender: Sender, messages: Sequence[bytes]) -> None:
        meta = {"app": sender.app, "drain": sender.drain}
        body = join_octets(messages)
        batch = Batch(BodyKind.SYSLOG, sender.account.id, "", "", body, self._delivery.clock.now(), meta=meta)
        try:
            await self._delivery.insist(batch)
        except UserError as error:
            raise Refused(f"{len(messages)} messages cannot be stored: {error}") from error
        self._stats.stored += len(messages)
