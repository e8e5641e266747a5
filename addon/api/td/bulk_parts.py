"""``PUT /v3/bulk_import/upload_part/:name/:part`` on raw ASGI: a part streams to the disk, not to memory."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from addon.api.auth import check_right, identify
from addon.api.raw import ClientGone, Scope, answer_error, answer_json, headers_of
from addon.models.accounts import Right
from addon.provisioning.quotas import QuotaExceeded
from platform_core.base.errors import InvalidInput, NotFound, OutOfSpace, SluiceError, TooLarge

if TYPE_CHECKING:
    from pathlib import Path

    from addon.api.services import Services
    from addon.models.accounts import Account

PREFIX = "/v3/bulk_import/upload_part/"
MAX_PART = 512 << 20
"""Bytes of one part as it comes, compressed."""
_BUFFER = 1 << 20
_FULL = frozenset({28, 122})
"""errno of a full disk and of a full quota."""


class PartUpload:
    """The upload call."""

    def __init__(self, services: Services) -> None:
        """Hand parts to the sessions of ``services``."""
        self._services = services

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Serve one upload; the 200 goes out when the part is on disk and belongs to its session."""
        draft: Path | None = None
        try:
            name, part = _parts(scope)
            headers = headers_of(scope)
            rooms = self._services
            identity = identify(rooms.accounts, headers.get(b"authorization", b"").decode("latin-1"))
            account = check_right(identity, Right.WRITE).account
            session = await asyncio.to_thread(rooms.bulk.may_upload, account.id, name, part)
            await self._check_quota(account)
            draft = await asyncio.to_thread(rooms.bulk.files.draft)
            await _receive_into(draft, receive, headers)
            kept = await asyncio.to_thread(rooms.bulk.keep_part, session, part, draft)
        except SluiceError as error:
            await answer_error(send, error)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            await answer_error(send, OutOfSpace("The disk is full.", hint="Retry after 60 seconds."))
        else:
            content = {"bulk_import": name, "part": part, "records": kept.records, "size": kept.size}
            await answer_json(send, 200, content)
        finally:
            if draft is not None:
                with suppress(OSError):
                    draft.unlink(missing_ok=True)

    async def _check_quota(self, account: Account) -> None:
        await self._services.quotas.check(account)
        waiting = await asyncio.to_thread(self._services.bulk.store.stored_bytes, account.id)
        if waiting >= account.plan.stored_bytes:
            raise QuotaExceeded(
                f"The parts of the account's bulk import sessions take {waiting:,} bytes already.",
                hint="Commit or delete sessions, or take a larger plan.",
            )


def _parts(scope: Scope) -> tuple[str, str]:
    """Take session and part out of the path, decoded one by one: a name may hold %2F, and is refused then."""
    path = scope.get("raw_path", scope["path"].encode()).decode("latin-1").partition("?")[0]
    parts = [unquote(part) for part in path.removeprefix(PREFIX).split("/")]
    if len(parts) != 2:  # noqa: PLR2004
        raise NotFound("There is no such path.", hint="PUT /v3/bulk_import/upload_part/SESSION/PART")
    return parts[0], parts[1]


async def _receive_into(draft: Path, receive: Any, headers: dict[bytes, bytes]) -> None:
    """Write the body to a file as it comes.

    Raises:
        TooLarge: it is over the limit; the rest is not read.
        InvalidInput: nothing came.
        ClientGone: the client went away.
    """
    announced = headers.get(b"content-length", b"0")
    if not announced.isdigit() or int(announced) > MAX_PART:
        raise _too_large()
    size, more = 0, True
    descriptor = await asyncio.to_thread(os.open, draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        while more:
            buffer = bytearray()
            while more and len(buffer) < _BUFFER:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                buffer += message.get("body", b"")
                more = message.get("more_body", False)
            size += len(buffer)
            if size > MAX_PART:
                raise _too_large()
            await asyncio.to_thread(_write_all, descriptor, buffer)
    finally:
        os.close(descriptor)
    if not size:
        raise InvalidInput("The part is empty.", hint="Send msgpack maps, compressed by gzip.")


def _write_all(descriptor: int, data: bytearray) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _too_large() -> TooLarge:
    return TooLarge(f"A part has at most {MAX_PART >> 20} MiB.", hint="Upload it as several parts.")
