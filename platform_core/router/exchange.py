"""One request and its response: choose a dyno, pass both bodies through, say what happened."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import h11

from platform_core.models.routing import WebState
from platform_core.router import headers
from platform_core.router.faults import Fault
from platform_core.router.tunnel import tunnel
from platform_core.router.wire import Wire

if TYPE_CHECKING:
    from platform_core.models.routing import AppRoute, Backend
    from platform_core.router.settings import RouterSettings
    from platform_core.router.table import RouteTable

_STATE_FAULTS = {WebState.BLANK: "H81", WebState.NONE: "H14", WebState.CRASHED: "H10"}
_SWITCHING = 101
_CONTINUE = 100


@dataclass(slots=True)
class Outcome:
    """What the log line tells of an exchange. Durations in seconds."""

    status: int = 503
    dyno: str | None = None
    connect: float | None = None
    service: float | None = None
    answered: bool = False
    """Whether a response head has gone out: an error page may not follow it."""


class Exchange:
    """Carries one request to a dyno and the response back."""

    def __init__(
        self, client: Wire, request: h11.Request, table: RouteTable, settings: RouterSettings, identifier: str
    ) -> None:
        """Serve ``request``, whose body is still to be read from ``client``."""
        self._client = client
        self._request = request
        self._table = table
        self._settings = settings
        self._identifier = identifier
        self._body_moved = time.monotonic()
        self._wants_100 = client.http.they_are_waiting_for_100_continue
        self.outcome = Outcome()

    async def run(self, route: AppRoute, *, forwarded: str, port: int, scheme: str) -> None:
        """Carry it through.

        Raises:
            Fault: the client did not get the dyno's (whole) answer.
        """
        if route.maintenance:
            raise Fault("H80")
        started = time.monotonic()
        backend, dyno = await self._connected(route)
        self.outcome.connect = time.monotonic() - started
        self.outcome.dyno = backend.dyno
        began = time.monotonic()
        try:
            with backend.lease():
                await self._forward(dyno, forwarded, port, scheme)
        finally:
            self.outcome.service = time.monotonic() - began
            dyno.close()

    async def _connected(self, route: AppRoute) -> tuple[Backend, Wire]:
        """Connect to a random dyno; one that refuses is passed over for another."""
        refused: set[int] = set()
        for _ in range(self._settings.max_tries):
            route = await self._up(route)
            fresh = [one for one in route.backends if id(one) not in refused]
            if not fresh:
                break
            backend = random.choice(fresh)  # noqa: S311  # load balancing
            self.outcome.dyno = backend.dyno
            try:
                async with asyncio.timeout(self._settings.connect_timeout):
                    sock = await backend.connect()
                    reader, writer = await asyncio.open_connection(sock=sock)
            except TimeoutError:
                raise Fault("H19") from None
            except OSError:
                refused.add(id(backend))
                route = self._table.get(route.app_id) or route
                continue
            return backend, Wire(h11.CLIENT, reader, writer, self._settings.max_head)
        raise Fault("H21")

    async def _up(self, route: AppRoute) -> AppRoute:
        """Wait for a booting app; raise the fault of one that is not coming."""
        try:
            async with asyncio.timeout(self._settings.boot_timeout):
                while route.web is WebState.STARTING:
                    await self._table_changed(route.app_id)
                    current = self._table.get(route.app_id)
                    if current is None:
                        raise Fault("H14")
                    route = current
        except TimeoutError:
            raise Fault("H20") from None
        if route.web in _STATE_FAULTS:
            raise Fault(_STATE_FAULTS[route.web])
        return route

    async def _table_changed(self, app_id: str) -> None:
        """Wait for the app's next route, or for the client to hang up."""
        changed = asyncio.ensure_future(self._table.changed(app_id))
        try:
            with self._client.on_hang_up(changed.cancel):
                await asyncio.wait({changed})
        finally:
            changed.cancel()
        self._blame_client()

    async def _forward(self, dyno: Wire, forwarded: str, port: int, scheme: str) -> None:
        request = self._request
        upgrade = headers.wants_upgrade(list(request.headers))
        head = h11.Request(
            method=request.method,
            target=request.target,
            headers=headers.for_dyno(
                request.headers.raw_items(),
                forwarded=forwarded,
                port=port,
                scheme=scheme,
                started_ms=int(time.time() * 1000),
                identifier=self._identifier,
                upgrade=upgrade,
            ),
        )
        body = self._body_at_hand()
        try:
            await dyno.send(head, *body)
        except OSError:
            raise Fault("H13") from None
        if self._client.http.their_state is not h11.SEND_BODY:
            await self._download(dyno, None)
            return
        upload = asyncio.ensure_future(self._upload(dyno))
        try:
            await self._download(dyno, upload)
        finally:
            upload.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await upload

    def _body_at_hand(self) -> list[h11.Event]:
        """Return what came of the body with the head: most often all of it."""
        try:
            return self._client.at_hand()
        except h11.RemoteProtocolError:
            raise Fault("H27", sock="client") from None

    async def _upload(self, dyno: Wire) -> None:
        """Pass the request's body on as it comes."""
        if self._wants_100:
            await self._client.send(h11.InformationalResponse(status_code=_CONTINUE, headers=[]))
        while True:
            try:
                event = await self._client.event(self._settings.body_timeout)
            except TimeoutError:
                raise Fault("H28", sock="client") from None
            except (h11.RemoteProtocolError, OSError):
                raise Fault("H27", sock="client") from None
            self._body_moved = time.monotonic()
            if isinstance(event, h11.Data):
                await dyno.send(event)
            elif isinstance(event, h11.EndOfMessage):
                await dyno.send(event)
                return
            else:
                return

    async def _download(self, dyno: Wire, upload: asyncio.Future[None] | None) -> None:
        response = await self._response_head(dyno, upload)
        if response.status_code == _SWITCHING:
            await self._switch(dyno, response)
            return
        self.outcome.status = response.status_code
        head = h11.Response(
            status_code=response.status_code,
            reason=response.reason,
            headers=headers.for_client(response.headers.raw_items()),
        )
        events: list[h11.Event] = [head, *self._answer_at_hand(dyno)]
        while True:
            ended = isinstance(events[-1], h11.EndOfMessage)
            if ended:
                events[-1] = h11.EndOfMessage()  # without the trailers
            await self._to_client(*events)
            if ended:
                return
            try:
                events = await dyno.events(self._settings.idle_timeout)
            except TimeoutError:
                raise Fault("H15", sock="backend") from None
            except (h11.RemoteProtocolError, OSError):
                raise Fault("H18", sock="backend") from None

    @staticmethod
    def _answer_at_hand(dyno: Wire) -> list[h11.Event]:
        """Return what came of the response's body with its head; a fault in it comes after the head."""
        with contextlib.suppress(h11.RemoteProtocolError):
            return dyno.at_hand()
        return []

    async def _response_head(
        self, dyno: Wire, upload: asyncio.Future[None] | None
    ) -> h11.Response | h11.InformationalResponse:
        while True:
            event = await self._first_event(dyno, upload)
            if isinstance(event, h11.Response):
                return event
            if isinstance(event, h11.InformationalResponse):
                if event.status_code == _SWITCHING:
                    return event
                if event.status_code != _CONTINUE and self._request.http_version != b"1.0":
                    await self._client.send(
                        h11.InformationalResponse(
                            status_code=event.status_code, headers=list(event.headers.raw_items())
                        )
                    )
                continue
            raise Fault("H13")

    async def _first_event(self, dyno: Wire, upload: asyncio.Future[None] | None) -> object:
        """Wait for the response, or for the client to hang up."""
        try:
            # A dyno that is cut off ends the wait at once, so nothing need watch the client beside it.
            with self._client.on_hang_up(dyno.abort):
                if upload is None:
                    return await self._answer_within(dyno, self._settings.first_byte_timeout)
                return await self._answer_during(dyno, upload)
        except h11.RemoteProtocolError as error:
            self._blame_client()
            closed = dyno.http.trailing_data == (b"", True)
            raise Fault("H13" if closed else "H17") from error
        except OSError:
            self._blame_client()
            raise Fault("H13") from None

    def _blame_client(self) -> None:
        if self._client.hung_up:
            raise Fault("H27", sock="client") from None

    @staticmethod
    async def _answer_within(dyno: Wire, seconds: float) -> object:
        try:
            async with asyncio.timeout(seconds):
                return await dyno.event(seconds)
        except TimeoutError:
            raise Fault("H12") from None

    async def _answer_during(self, dyno: Wire, upload: asyncio.Future[None]) -> object:
        """Wait while the request's body still comes; the clock starts anew with every piece of it."""
        limit = self._settings.first_byte_timeout
        reading = asyncio.ensure_future(dyno.event(limit * 1000))
        try:
            while True:
                waited_for = {reading} if upload.done() else {reading, upload}
                left = self._body_moved + limit - time.monotonic()
                await asyncio.wait(waited_for, timeout=max(left, 0), return_when=asyncio.FIRST_COMPLETED)
                trouble = upload.exception() if upload.done() else None
                if isinstance(trouble, Fault):
                    raise trouble
                if reading.done():
                    return reading.result()
                if time.monotonic() - self._body_moved >= limit:
                    raise Fault("H12")
        finally:
            reading.cancel()

    async def _switch(self, dyno: Wire, response: h11.Response | h11.InformationalResponse) -> None:
        self.outcome.status = _SWITCHING
        await self._to_client(
            h11.InformationalResponse(
                status_code=_SWITCHING, reason=response.reason, headers=list(response.headers.raw_items())
            )
        )
        if not await tunnel(self._client, dyno, self._settings.idle_timeout):
            raise Fault("H15", status=_SWITCHING)

    async def _to_client(self, *events: h11.Event) -> None:
        self.outcome.answered = True
        try:
            await self._client.send(*events)
        except OSError:
            raise Fault("H27", sock="client") from None
