"""One client connection: request after request, each answered and logged."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import h11

from platform_core.models.logs import PRI_ROUTER
from platform_core.router import headers
from platform_core.router.exchange import Exchange
from platform_core.router.faults import Fault, Refused
from platform_core.router.wire import Wire
from platform_core.wire.router_line import RouterLine

if TYPE_CHECKING:
    from platform_core.models.logs import LogWriter
    from platform_core.router.settings import RouterSettings
    from platform_core.router.table import RouteTable


@dataclass(frozen=True, slots=True)
class Listener:
    """Where connections come in."""

    port: int
    scheme: str = "http"


class ClientConnection:
    """Serves one client until it or we hang up."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        table: RouteTable,
        log: LogWriter,
        settings: RouterSettings,
        *,
        listener: Listener,
    ) -> None:
        """Take over an accepted connection."""
        self._wire = Wire(h11.SERVER, reader, writer, settings.max_head)
        self._table = table
        self._log = log
        self._settings = settings
        self._listener = listener
        self._address: str = writer.get_extra_info("peername")[0]
        self.closing = False
        """Set to end after the current exchange."""
        self.busy = False

    async def serve(self) -> None:
        """Answer requests until the connection ends."""
        try:
            while await self._next() and not self.closing:
                self._wire.http.start_next_cycle()
        except (OSError, h11.LocalProtocolError):
            pass
        finally:
            self._wire.close()

    async def _next(self) -> bool:
        """Serve one request; True when another may follow on this connection."""
        try:
            request = await self._request()
        except Refused as refusal:
            await self._answer(refusal)
            return False
        if request is None:
            return False
        self.busy = True
        try:
            await self._serve(request)
        except Refused as refusal:
            await self._answer(refusal)
        finally:
            self.busy = False
        http = self._wire.http
        return http.our_state is h11.DONE and http.their_state is h11.DONE

    async def _request(self) -> h11.Request | None:
        """Read a request's head; None when the client has gone or is silent.

        Raises:
            Refused: it is malformed, too long or too slow.
        """
        settings = self._settings
        try:
            if not self._wire.http.trailing_data[0]:
                # Idle between requests is no offence; a head that has begun must be finished in time.
                first = await self._first_bytes()
                if not first:
                    return None
                self._wire.http.receive_data(first)
            event = await _within(settings.head_timeout, self._wire)
        except TimeoutError:
            raise Refused(408, "The request took too long to arrive.") from None
        except h11.RemoteProtocolError as error:
            raise Refused(error.error_status_hint, f"The request is not valid HTTP: {error}.") from error
        if not isinstance(event, h11.Request):
            return None
        headers.check(
            list(event.headers),
            event.target,
            event.method,
            max_line=settings.max_line,
            max_head=settings.max_head,
        )
        return event

    async def _first_bytes(self) -> bytes:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.keep_alive_timeout):
                return await self._wire.reader.read(1 << 16)
        return b""

    async def _serve(self, request: h11.Request) -> None:
        host = (headers.value_of(request.headers, b"host") or b"").decode("latin-1")
        route = await self._table.find(host)
        if route is None:
            raise Refused(404, "There is no app with this name here.")
        identifier = headers.request_id(request.headers)
        forwarded = headers.forwarded_for(request.headers, self._address)
        sent_before = self._wire.sent
        exchange = Exchange(self._wire, request, self._table, self._settings, identifier)
        fault: Fault | None = None
        try:
            expect = headers.value_of(request.headers, b"expect")
            if expect is not None and expect.lower() != b"100-continue":
                raise Fault("H26", status=417)  # noqa: TRY301  # logged like every other fault
            await exchange.run(
                route, forwarded=forwarded, port=self._listener.port, scheme=self._listener.scheme
            )
        except Fault as caught:
            fault = caught
        if fault is not None:
            await self._end_badly(fault, exchange)
        line = RouterLine(
            method=request.method.decode("latin-1"),
            path=request.target.decode("latin-1"),
            host=host,
            request_id=identifier,
            fwd=forwarded.replace(", ", ","),
            status=exchange.outcome.status,
            protocol=self._listener.scheme,
            dyno=exchange.outcome.dyno,
            connect_ms=_millis(exchange.outcome.connect),
            service_ms=_millis(exchange.outcome.service),
            size=self._wire.sent - sent_before,
            code=None if fault is None else fault.code,
            sock=None if fault is None else fault.sock,
        )
        self._log.write(route.app_id, "heroku", "router", [line.encode()], pri=PRI_ROUTER, at=time.time())

    async def _end_badly(self, fault: Fault, exchange: Exchange) -> None:
        """Send the error page, or break off where a part of the response has gone out already."""
        if not exchange.outcome.answered:
            exchange.outcome.status = fault.status
        if exchange.outcome.answered or fault.sock == "client":
            self.closing = True
            self._wire.abort()
            return
        with contextlib.suppress(OSError):
            await self._answer(fault)

    async def _answer(self, problem: Fault | Refused) -> None:
        """Answer with a page of our own; the request's body may be unread, so the connection ends."""
        http = self._wire.http
        if http.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            return
        body = problem.page()
        head = [
            (b"Content-Type", b"text/html; charset=utf-8"),
            (b"Content-Length", str(len(body)).encode()),
            (b"Cache-Control", b"no-cache, no-store"),
            (b"Connection", b"close"),
        ]
        await self._wire.send(
            h11.Response(status_code=problem.status, headers=head), h11.Data(data=body), h11.EndOfMessage()
        )


def _millis(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)


async def _within(seconds: float, wire: Wire) -> object:
    """Read one event in ``seconds`` altogether, so that dripping bytes do not keep a connection."""
    async with asyncio.timeout(seconds):
        return await wire.event(seconds)
