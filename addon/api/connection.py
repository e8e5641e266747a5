"""The connection's own limits, which uvicorn leaves open: slow senders, endless heads, ambiguous framing.

Everything that costs a connection or memory before a route is reached is refused here, in plain text, and the
connection is closed: a head that does not come (408), a body that trickles (408), a head that is too large
(431), a target that is too long (414), a request whose end two parsers could see in different places (400).
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio

    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

_MAX_TARGET = 16 << 10
_MAX_HEAD = 64 << 10
_MAX_HEADERS = 128
_MAX_DISCARDED = 64 << 20
"""Bytes of a body that are read and thrown away after its answer; then the connection is closed.

Most clients send a whole body before they look for an answer: closed at once, they would see a broken
connection in place of the 413. The rate that a body must keep holds here too.
"""
_ONCE = frozenset({b"content-length", b"transfer-encoding", b"host"})


class _Refused(Exception):
    """Raised inside a parser's callback, which stops the parser."""


class GuardedProtocol(HttpToolsProtocol):
    """One connection; its timers are the loop's, one at a time."""

    head_s: ClassVar[float] = 20.0
    """From the opening, or from a further request's first byte, to the end of the request's head."""
    body_s: ClassVar[float] = 20.0
    """How often a body's progress is looked at."""
    body_rate: ClassVar[int] = 1 << 10
    """Bytes a second that a body must come in, looked at over :attr:`body_s`; slower ones are cut off."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take what uvicorn gives."""
        super().__init__(*args, **kwargs)
        self._timer: asyncio.TimerHandle | None = None
        self._refusal = HTTPStatus.BAD_REQUEST
        self._in_head = True
        self._head_bytes = 0
        self._body_bytes = 0
        self._discarded = 0

    # The connection
    # -------------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._arm(self.head_s, self._head_is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timer."""
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse; a head is counted as it comes, for the parser hands out no piece before it is whole."""
        was_in_head = self._in_head
        super().data_received(data)
        if self.transport.is_closing():
            return
        if was_in_head and self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > _MAX_HEAD + _MAX_TARGET:
                self._end(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        if self._timer is None and not self._busy():
            self._arm(self.head_s, self._head_is_late)

    def send_400_response(self, msg: str) -> None:
        """Answer a request that the parser, or one of the checks below, refused; then close."""
        self._end(self._refusal, msg if self._refusal is HTTPStatus.BAD_REQUEST else None)

    def _end(self, status: HTTPStatus, text: str | None = None) -> None:
        self._disarm()
        if self._busy() and self.cycle.response_started:
            self.transport.close()  # the answer under way is cut off rather than followed by a second one
            return
        body = (text or f"{status.phrase}.").encode()
        self.transport.write(
            b"HTTP/1.1 %d %b\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n"
            b"connection: close\r\n\r\n%b" % (status, status.phrase.encode(), len(body), body)
        )
        self.transport.close()

    def _busy(self) -> bool:
        """Tell whether a request is being served."""
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request
        return cycle is not None and not cycle.response_complete

    # Time
    # -------------------------------------------------------------------------------------------------------

    def _arm(self, seconds: float, late: Any) -> None:
        self._disarm()
        self._timer = self.loop.call_later(seconds, late)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _head_is_late(self) -> None:
        self._timer = None
        if self._busy():  # a further request's head came before the answer to this one: let that go first
            self._arm(self.head_s, self._head_is_late)
        elif self._head_bytes:
            self._end(HTTPStatus.REQUEST_TIMEOUT)
        else:
            self.transport.close()  # nothing came: there is nobody to tell

    def _body_is_slow(self) -> None:
        """Cut off a body that trickles, unless it is we who do not read."""
        self._timer = None
        if self._body_bytes >= self.body_rate * self.body_s or self.flow.read_paused:
            self._body_bytes = 0
            self._arm(self.body_s, self._body_is_slow)
        else:
            self._end(HTTPStatus.REQUEST_TIMEOUT)

    # The parser's callbacks
    # -------------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Begin a head."""
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = 0
        if self._timer is None:
            self._arm(self.head_s, self._head_is_late)

    def on_headers_complete(self) -> None:
        """Check the head as a whole; from here on the body's time runs."""
        self._in_head = False
        self._body_bytes = self._discarded = 0
        refusal = _refusal(self.url, self.headers)
        if refusal is not None:
            self._refusal = refusal
            raise _Refused
        super().on_headers_complete()
        self._arm(self.body_s, self._body_is_slow)

    def on_body(self, body: bytes) -> None:
        """Count a part of the body."""
        self._body_bytes += len(body)
        if self.cycle.response_complete:
            self._discarded += len(body)
            if self._discarded > _MAX_DISCARDED:
                self.transport.close()
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that the whole request is there; only the answer's time runs now."""
        self._disarm()
        super().on_message_complete()


def _refusal(target: bytes, headers: list[tuple[bytes, bytes]]) -> HTTPStatus | None:
    """Return why a head is refused; None for a good one."""
    if len(target) > _MAX_TARGET:
        return HTTPStatus.REQUEST_URI_TOO_LONG
    size = sum(len(name) + len(value) for name, value in headers)
    if len(headers) > _MAX_HEADERS or size > _MAX_HEAD:
        return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    framing = [(name, value) for name, value in headers if name in _ONCE]
    names = [name for name, _ in framing]
    twice = len(set(names)) != len(names)
    if twice or (b"content-length" in names and b"transfer-encoding" in names):
        return HTTPStatus.BAD_REQUEST
    if any(name == b"transfer-encoding" and value.strip().lower() != b"chunked" for name, value in framing):
        return HTTPStatus.BAD_REQUEST
    return None
