"""The Fluentd forward protocol: rows to the table that their tag names, chunks acknowledged once on disk.

A chunk is stored under its id, so one that comes again after a lost ack is stored once. Chunks that
cannot be stored now are not acknowledged and the connection is closed: their sender keeps them. Rows of those
that do not ask for acks are kept until they are stored, and nothing is read meanwhile.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgpack

from addon.ingest.limits import IngestLimits
from addon.models.accounts import AccountState
from addon.models.ingest import Batch, BodyKind
from addon.models.tables import TableRef
from addon.receivers.forward_auth import Handshake, HandshakeError
from addon.receivers.forward_codec import ForwardError, ForwardStream, Message, read_message
from addon.receivers.listener import Refused
from platform_core.base.errors import NotFound, Unavailable, UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from addon.models.accounts import Account
    from addon.receivers.delivery import Delivery
    from addon.receivers.inflow import Inflow
    from addon.store.accounts import AccountStore

_LIMITS = IngestLimits()
_BODY = 8 << 20
"""Rows go to the log in bodies of about this many bytes; a record of its own is at most a chunk."""
_THREAD_BYTES = 64 << 10
"""Bigger messages are read off the event loop, as are compressed ones."""
_BIG_ONES = 2
"""How many of those at a time: each may take some hundred megabytes when it inflates."""
_OPTION_BYTES = 1 << 10
_WRITE_S = 30.0
_LOOK_AGAIN_S = 1.0


@dataclass(slots=True)
class _Session:
    """A connection whose account is known."""

    flow: Inflow
    account: Account
    looked_at: float


class ForwardReceiver:
    """Serves the connections of a listener; with ``local`` set, without a handshake, for that account."""

    def __init__(
        self,
        accounts: AccountStore,
        key_of: Callable[[int], str],
        delivery: Delivery,
        *,
        local: int | None = None,
    ) -> None:
        """Take the collaborators; ``key_of`` gives an account's forward key."""
        self._accounts = accounts
        self._key_of = key_of
        self._delivery = delivery
        self._limits = delivery.limits
        self._stats = delivery.stats
        self._local = local
        self._big = asyncio.Semaphore(_BIG_ONES)

    async def __call__(self, flow: Inflow) -> None:
        """Serve one connection until its sender closes it.

        Raises:
            Refused: a wrong key, bytes that are not the protocol, a used-up quota, no room for a chunk.
            TimeoutError: nothing comes.
        """
        stream = ForwardStream(self._limits.chunk_bytes)
        early: list[bytes] = []
        if self._local is None:
            handshake = Handshake()
            await flow.write(handshake.helo(), _WRITE_S)
            ping, *early = await self._first(flow, stream) or [b""]
            if not ping:
                return  # Fluentd's heartbeat: it connects and says nothing
            account = await self._welcome(flow, handshake, ping)
        else:
            account = self._account(self._local)
        session = _Session(flow, account, self._delivery.clock.now())
        await self._take(session, early)
        while data := await flow.take(self._limits.idle_s):
            self._stats.bytes += len(data)
            await self._take(session, self._cut(stream, data))
        if stream.pending:
            self._stats.malformed += 1
            raise Refused(f"the connection ended inside a message, after {stream.pending} bytes of it")

    def _account(self, number: int) -> Account:
        """Return an account that may write.

        Raises:
            Refused: there is none with this number.
        """
        try:
            account = self._accounts.get(number)
        except NotFound as error:
            raise Refused(error.message) from error
        if account.state is not AccountState.PROVISIONED:
            raise Refused(f"account {number} is deprovisioned")
        return account

    # Handshake
    # ---------------------------------------------------------------------------------------------------

    async def _first(self, flow: Inflow, stream: ForwardStream) -> list[bytes]:
        """Return the first messages of a sender that has shown no key yet; none when it ends before."""
        stream.max_message = self._limits.greeting_bytes
        messages: list[bytes] = []
        async with asyncio.timeout(self._limits.first_s):
            while not messages and (data := await flow.take(self._limits.first_s)):
                messages = self._cut(stream, data)
        stream.max_message = self._limits.chunk_bytes
        return messages

    async def _welcome(self, flow: Inflow, handshake: Handshake, ping: bytes) -> Account:
        """Answer a PING; return whose key it proves.

        Raises:
            Refused: nobody's; the sender was told.
        """
        try:
            number, pong = handshake.check(ping, self._known_key)
        except HandshakeError as error:
            await flow.write(handshake.refusal(str(error)), _WRITE_S)
            raise Refused(str(error)) from error
        account = self._account(number)
        await flow.write(pong, _WRITE_S)
        return account

    def _known_key(self, number: int) -> str | None:
        try:
            account = self._account(number)
        except Refused:
            return None
        return self._key_of(account.id)

    # Messages
    # ---------------------------------------------------------------------------------------------------

    def _cut(self, stream: ForwardStream, data: bytes) -> list[bytes]:
        try:
            return stream.feed(data)
        except ForwardError as error:
            self._stats.malformed += 1
            raise Refused(str(error)) from error

    async def _take(self, session: _Session, raw: Sequence[bytes]) -> None:
        """Store the messages that came together, big ones in turn with those of other connections."""
        if any(map(_is_big, raw)):
            async with self._big:
                await self._take_now(session, raw)
        else:
            await self._take_now(session, raw)

    async def _take_now(self, session: _Session, raw: Sequence[bytes]) -> None:
        """Read and store messages; those before a malformed one are stored first."""
        messages: list[Message] = []
        fault: ForwardError | None = None
        for data in raw:
            try:
                messages.append(await self._read(data))
            except ForwardError as error:
                self._stats.malformed += 1
                fault = error
                break
        if messages:
            await self._admit(session)
            await self._store(session, messages)
        if fault is not None:
            raise Refused(str(fault)) from fault

    async def _read(self, data: bytes) -> Message:
        if _is_big(data):
            message = await asyncio.to_thread(read_message, data, _LIMITS)
        else:
            message = read_message(data, _LIMITS)
        self._stats.received += len(message.rows)
        return message

    async def _admit(self, session: _Session) -> None:
        now = self._delivery.clock.now()
        if not 0 <= now - session.looked_at < _LOOK_AGAIN_S:
            session.account, session.looked_at = self._account(session.account.id), now
        try:
            await self._delivery.quotas.check(session.account)
        except UserError as error:
            raise Refused(f"account {session.account.id}: {error}") from error

    async def _store(self, session: _Session, messages: Sequence[Message]) -> None:
        """Store everything side by side: one sync serves all. Then acknowledge, in order."""
        loose: defaultdict[tuple[str, str], list[bytes]] = defaultdict(list)
        chunks: list[Message] = []
        for message in messages:
            if message.chunk is None:
                loose[message.database, message.table] += message.rows
            else:
                chunks.append(message)
        done = await asyncio.gather(
            *(self._store_loose(session.account, *name, rows) for name, rows in loose.items()),
            *(self._store_chunk(session.account, chunk) for chunk in chunks),
            return_exceptions=True,
        )
        acks = done[len(loose) :]
        good = [chunk for chunk, failed in zip(chunks, acks, strict=True) if failed is None]
        if good:
            await session.flow.write(
                b"".join(msgpack.packb({"ack": chunk.chunk}) for chunk in good), _WRITE_S
            )
        for failed in done:
            if isinstance(failed, Unavailable | UserError):
                raise Refused(f"not stored: {failed}") from failed
            if isinstance(failed, BaseException):
                raise failed

    async def _store_loose(self, account: Account, database: str, table: str, rows: Sequence[bytes]) -> None:
        for body in _bodies(rows):
            await self._delivery.insist(self._batch(account, database, table, b"".join(body), None))
            self._stats.stored += len(body)

    async def _store_chunk(self, account: Account, message: Message) -> None:
        for part, body in enumerate(_bodies(message.rows)):
            upload_id = f"forward/{message.chunk}/{part}"
            ack = await self._delivery.ingestor.append(
                self._batch(account, message.database, message.table, b"".join(body), upload_id)
            )
            if ack.duplicate:
                self._stats.duplicates += len(body)
            else:
                self._stats.stored += len(body)

    def _batch(
        self, account: Account, database: str, table: str, body: bytes, upload_id: str | None
    ) -> Batch:
        ref = TableRef(account.id, database, table)
        now = self._delivery.clock.now()
        return Batch(BodyKind.FORWARD, ref.account_id, ref.database, ref.table, body, now, upload_id)


def _is_big(data: bytes) -> bool:
    return len(data) > _THREAD_BYTES or b"compressed" in data[-_OPTION_BYTES:]


def _bodies(rows: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Cut rows into runs of about ``_BODY`` bytes; the same rows are always cut alike."""
    body: list[bytes] = []
    size = 0
    for row in rows:
        body.append(row)
        size += len(row)
        if size >= _BODY:
            yield body
            body, size = [], 0
    if body:
        yield body
