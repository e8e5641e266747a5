"""Log sessions and their streams: server-sent events for the CLI, plain text for everybody else."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from platform_core.api import serializers
from platform_core.api.auth import AccountDep
from platform_core.api.context import PlatformDep
from platform_core.api.lookups import app_named
from platform_core.models.logs import LogFilter

router = APIRouter()
public = APIRouter()
_MAX_LINES = 1500
_RETRY_ONCE = 10
_RETRY_TAIL = 5000
_RETRY_RESTART = 30_000
"""Milliseconds until the client comes back: soon for a finished backlog, since the CLI cannot exit before its
timer fires; for a tail longer than a start of the platform takes, and when the platform stops longer than its
stop and its start together, since the CLI gives up at the first refused connection."""


class NewLogSession(BaseModel):
    """What ``heroku logs`` sends."""

    lines: Annotated[int | None, Field(ge=0)] = None
    tail: bool | None = None
    source: str | None = None
    dyno: str | None = None


@router.post("/apps/{app}/log-sessions", status_code=201)
async def open_session(
    app: str, caller: AccountDep, platform: PlatformDep, body: NewLogSession | None = None
) -> dict[str, str]:
    """Open a log session; the URL in the answer is the authorization to read it."""
    found = await app_named(platform, caller, app)
    asked = body or NewLogSession()
    wanted = LogFilter(
        lines=100 if asked.lines is None else min(asked.lines, _MAX_LINES),
        tail=bool(asked.tail),
        source=asked.source or None,
        dyno=asked.dyno or None,
    )
    session_id = platform.logs.open_session(found.id, wanted)
    tail = "?tail=true" if wanted.tail else ""
    url = f"{platform.urls.api}/streams/{session_id}{tail}"
    return serializers.log_session(session_id, url, platform.clock.now())


@public.get("/streams/{session_id}")
async def stream(
    session_id: str, request: Request, platform: PlatformDep, tail: bool = False
) -> StreamingResponse:
    """Stream a log session. ``Last-Event-ID`` resumes behind an event."""
    last = request.headers.get("last-event-id", "")
    after = int(last) if last.isascii() and last.isdigit() else None
    lines = _until(platform.closing, platform.logs.stream(session_id, after=after))
    if "text/event-stream" in request.headers.get("accept", ""):
        retry = _RETRY_TAIL if tail else _RETRY_ONCE
        return StreamingResponse(
            _events(lines, retry, platform.closing),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store"},
        )
    return StreamingResponse(_text(lines), media_type="text/plain")


_Line = tuple[int, str] | None
_END = (-1, "")


async def _until(closing: asyncio.Event, lines: AsyncIterator[_Line]) -> AsyncIterator[_Line]:
    """Yield lines until the program stops: a clean end, after which the CLI comes back and resumes."""
    closed = asyncio.ensure_future(closing.wait())
    try:
        while True:
            following = asyncio.ensure_future(_next(lines))
            await asyncio.wait({following, closed}, return_when=asyncio.FIRST_COMPLETED)
            if not following.done():
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
                return
            line = following.result()
            if line is _END:
                return
            yield line
    finally:
        closed.cancel()


async def _next(lines: AsyncIterator[_Line]) -> _Line:
    # Not ``anext(lines, _END)``: CPython 3.11 lets the StopAsyncIteration out of it inside a task.
    try:
        return await anext(lines)
    except StopAsyncIteration:
        return _END


async def _events(lines: AsyncIterator[_Line], retry: int, closing: asyncio.Event) -> AsyncIterator[str]:
    yield f"retry: {retry}\n\n"
    async for line in lines:
        yield ": keepalive\n\n" if line is None else f"id: {line[0]}\ndata: {line[1]}\n\n"
    if closing.is_set() and retry == _RETRY_TAIL:
        yield f"retry: {_RETRY_RESTART}\n\n"


async def _text(lines: AsyncIterator[_Line]) -> AsyncIterator[str]:
    async for line in lines:
        if line is not None:
            yield f"{line[1]}\n"
