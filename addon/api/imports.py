"""TD import: ``PUT /v3/table/import/:db/:table/msgpack.gz`` and ``import_with_id``, on raw ASGI."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from addon.api.auth import check_right, identify
from addon.api.located import located, meta_of
from addon.api.raw import Scope, answer_error, answer_json, headers_of, read_body
from addon.models.accounts import Right
from addon.models.ingest import Batch, BodyKind
from addon.models.tables import TableRef
from platform_core.base.errors import InvalidInput, NotFound, SluiceError

if TYPE_CHECKING:
    from addon.api.services import Services

PREFIX = "/v3/table/import"
_PLAIN, _WITH_ID = "/v3/table/import/", "/v3/table/import_with_id/"
_KIND = "msgpack.gz"
_MAX_ID = 255


class ImportRoutes:
    """Both import calls."""

    def __init__(self, services: Services) -> None:
        """Hand batches to the ingestor of ``services``."""
        self._services = services

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Serve one import; the 200 goes out when the batch is on disk."""
        started = time.monotonic()
        try:
            database, table, upload_id = _parts(scope)
            headers = headers_of(scope)
            body = await self._store(headers, receive, database, table, upload_id)
        except SluiceError as error:
            await answer_error(send, error)
            return
        content = {
            "unique_id": upload_id or "",
            "database": database,
            "table": table,
            "md5_hex": hashlib.md5(body, usedforsecurity=False).hexdigest(),
            "elapsed_time": time.monotonic() - started,
        }
        await answer_json(send, 200, content)

    async def _store(
        self, headers: dict[bytes, bytes], receive: Any, database: str, table: str, upload_id: str | None
    ) -> bytes:
        rooms = self._services
        identity = identify(rooms.accounts, headers.get(b"authorization", b"").decode("latin-1"))
        check_right(identity, Right.WRITE)
        account = identity.account
        await rooms.quotas.check(account)
        ref = TableRef(account.id, database, table)
        found = await located(rooms.catalog, ref)
        if found is None:
            raise NotFound(
                f"Table '{database[:140]}.{table[:140]}' does not exist.",
                hint="Create the database and the table first.",
            )
        body = await read_body(receive, headers)
        now = rooms.clock.now()
        batch = Batch(BodyKind.MSGPACK_GZ, account.id, database, table, body, now, upload_id, meta_of(found))
        await rooms.ingestor.append(batch)
        return body


def _parts(scope: Scope) -> tuple[str, str, str | None]:
    """Take database, table and upload id out of the path, decoded part by part: a part may hold %2F."""
    path = scope.get("raw_path", scope["path"].encode()).decode("latin-1").partition("?")[0]
    prefix = _WITH_ID if path.startswith(_WITH_ID) else _PLAIN
    parts = [unquote(part) for part in path.removeprefix(prefix).split("/")]
    if len(parts) != (4 if prefix == _WITH_ID else 3):
        raise NotFound("There is no such import path.", hint="PUT /v3/table/import/DATABASE/TABLE/msgpack.gz")
    if parts[-1] != _KIND:
        raise InvalidInput(f"The import format {parts[-1][:40]!r} is not supported.", hint="Send msgpack.gz.")
    upload_id = parts[2] if prefix == _WITH_ID else None
    if upload_id is not None and not 0 < len(upload_id) <= _MAX_ID:
        raise InvalidInput(f"An upload id has 1 to {_MAX_ID} characters.")
    return parts[0], parts[1], upload_id
