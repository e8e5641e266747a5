"""Files over HTTP: ``/api/import/DATABASE/TABLE``, our own route, on raw ASGI.

- ``POST``: rows as NDJSON, CSV or Parquet; the 200 goes out when they are on disk, and counts them.
- ``PUT``: makes database and table where they are missing; the answer names the table's id.
- ``GET …/UPLOAD_ID``: whether an upload of this id is stored. ``PUT`` first: it waits for what is on its way.

The query says how to read the body (``docs/formats/upload.md``). Bad rows become dead letters, and the answer
says how many and which; a body without one good row is refused.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

from addon.api.auth import check_right, identify
from addon.api.located import located, meta_of
from addon.api.raw import MAX_BODY, Scope, answer_error, answer_json, headers_of, read_body
from addon.ingest.files.compressed import unpacked
from addon.ingest.files.options import (
    FileFormat,
    FileOptions,
    FileRows,
    TimeFormat,
    dead_rows_text,
)
from addon.ingest.files.reading import clean_rows, read_file
from addon.ingest.limits import IngestLimits
from addon.models.accounts import Account, Right
from addon.models.ingest import Batch, BodyKind
from addon.models.tables import TableRef, check_name
from platform_core.base.errors import InvalidInput, NotFound, SluiceError, TooLarge

if TYPE_CHECKING:
    from collections.abc import Mapping

    from addon.api.services import Services

PREFIX = "/api/import/"
UPLOAD_ID = b"sluice-upload-id"
_METHODS = frozenset({"GET", "POST", "PUT"})
_MAX_ID = 255
_MAX_NAME = 200
_AT_ONCE = 2
"""Bodies read at once: each may take some hundred megabytes while it is."""
_SMALL, _SMALL_LINES = 8 << 10, 128 << 10
"""Bodies up to this many bytes are read on the event loop: a thread hop costs more. The second is for NDJSON
that can stay as it is, which is found out at a gigabyte a second."""
_LIMITS = IngestLimits()
_TYPES = {
    "text/csv": FileFormat.CSV,
    "application/csv": FileFormat.CSV,
    "text/tab-separated-values": FileFormat.CSV,
    "application/x-ndjson": FileFormat.NDJSON,
    "application/ndjson": FileFormat.NDJSON,
    "application/jsonl": FileFormat.NDJSON,
    "application/vnd.apache.parquet": FileFormat.PARQUET,
}
_TABS = "text/tab-separated-values"
_KNOWN = frozenset(
    {"format", "delimiter", "columns", "all_text", "text", "time_column", "time_format", "first_line", "name"}
)


def takes(scope: Scope) -> bool:
    """Tell whether a request is for the upload route."""
    return scope["path"].startswith(PREFIX) and scope["method"] in _METHODS


class UploadRoutes:
    """The upload route."""

    def __init__(self, services: Services) -> None:
        """Hand batches to the ingestor of ``services``."""
        self._services = services
        self._reading = asyncio.Semaphore(_AT_ONCE)

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Serve one request."""
        try:
            database, table, upload_id = _parts(scope)
            headers = headers_of(scope)
            account = self._account(headers)
            ref = TableRef(account.id, check_name("database", database), check_name("table", table))
            if scope["method"] == "PUT":
                content = await self._make(ref)
            elif scope["method"] == "GET":
                content = await self._stored(ref, upload_id)
            else:
                await self._services.quotas.check(account)
                content = await self._store(ref, scope, headers, receive)
        except SluiceError as error:
            await answer_error(send, error)
            return
        await answer_json(send, 200, content)

    def _account(self, headers: Mapping[bytes, bytes]) -> Account:
        identity = identify(self._services.accounts, headers.get(b"authorization", b"").decode("latin-1"))
        return check_right(identity, Right.WRITE).account

    async def _make(self, ref: TableRef) -> dict[str, Any]:
        catalog = self._services.catalog
        # The flush is for those who ask next whether an upload is stored.
        await self._services.ingestor.flush(ref.account_id)
        table = await asyncio.to_thread(catalog.ensure_table, ref)
        return {"database": ref.database, "table": ref.table, "id": str(table.id)}

    async def _stored(self, ref: TableRef, upload_id: str) -> dict[str, Any]:
        if not upload_id:
            raise NotFound("There is no such upload path.", hint="GET /api/import/DATABASE/TABLE/UPLOAD_ID")
        known = await asyncio.to_thread(
            self._services.uploads.seen, ref.account_id, ref.database, ref.table, upload_id
        )
        return {"upload_id": upload_id, "stored": known is not None}

    async def _store(
        self, ref: TableRef, scope: Scope, headers: Mapping[bytes, bytes], receive: Any
    ) -> dict[str, Any]:
        rooms = self._services
        query = _query(scope)
        options = options_of(query, headers)
        upload_id = _upload_id(headers)
        try:
            body = await read_body(receive, headers)
        except TooLarge as error:
            hint = "Use `sluice import`, which sends a file of any size in pieces."
            raise TooLarge(error.message, hint=hint) from error
        found = clean_rows(body, options, _LIMITS) if len(body) <= _SMALL_LINES else None
        if found is None:
            async with self._reading:
                found = await _read(body, options)
        table = await located(rooms.catalog, ref)
        if table is None:
            table = await asyncio.to_thread(rooms.catalog.ensure_table, ref)
        meta = {"file": query.get("name", "")[:_MAX_NAME], **meta_of(table)}
        if found.bad:
            meta["bad"] = dead_rows_text(found.bad, _LIMITS.dead_letter_bytes, _LIMITS.dead_letters_per_batch)
        batch = Batch(
            BodyKind.NDJSON,
            ref.account_id,
            ref.database,
            ref.table,
            found.lines,
            rooms.clock.now(),
            upload_id,
            meta,
            found.clean,
        )
        ack = await rooms.ingestor.append(batch)
        return {
            "database": ref.database,
            "table": ref.table,
            "upload_id": upload_id or "",
            "duplicate": ack.duplicate,
            "rows": found.rows,
            "rejected": len(found.bad),
            "errors": found.shown(),
        }


async def _read(body: bytes, options: FileOptions) -> FileRows:
    if len(body) <= _SMALL:
        return _read_now(body, options)
    return await asyncio.to_thread(_read_now, body, options)


def _read_now(body: bytes, options: FileOptions) -> FileRows:
    """Return the rows of a body as it came.

    Raises:
        InvalidInput, TooLarge: it cannot be read, or is over a limit, also as the JSON it becomes.
    """
    plain = body if options.format is FileFormat.PARQUET else unpacked(body, _LIMITS)
    found = read_file(plain, options, _LIMITS)
    if len(found.lines) > MAX_BODY:
        raise TooLarge(
            f"The rows are {len(found.lines)} bytes as JSON; an upload takes {MAX_BODY}.",
            hint="Use `sluice import`, which sends a file of any size in pieces.",
        )
    return found


def options_of(query: Mapping[str, str], headers: Mapping[bytes, bytes]) -> FileOptions:
    """Read how the body is to be read.

    Raises:
        InvalidInput: a parameter is unknown or has no such value, or nothing says the format.
    """
    unknown = sorted(query.keys() - _KNOWN)
    if unknown:
        raise InvalidInput(
            f"There is no parameter {unknown[0][:40]!r}.", hint=f"There are {', '.join(sorted(_KNOWN))}."
        )
    media = headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
    named = query.get("format") or _TYPES.get(media)
    delimiter = query.get("delimiter", "\t" if media == _TABS else ",")
    delimiter = {"tab": "\t", "\\t": "\t"}.get(delimiter, delimiter)
    if len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n':
        raise InvalidInput("The delimiter is not valid.", hint="Give one ASCII character, or tab.")
    first = query.get("first_line", "1")
    return FileOptions(
        format=_choice(FileFormat, "format", named),
        delimiter=delimiter,
        columns=_names(query.get("columns", "")),
        all_text=_choice_of("all_text", query.get("all_text", "0"), {"0": False, "1": True}),
        text=frozenset(_names(query.get("text", ""))),
        time_column=query.get("time_column") or None,
        time_format=_choice(TimeFormat, "time_format", query.get("time_format", "auto")),
        first_line=int(first) if first.isascii() and first.isdigit() and len(first) < 16 else 1,  # noqa: PLR2004
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.split(",") if part)


def _choice(kind: Any, name: str, value: str | None) -> Any:
    return _choice_of(name, value or "", {str(one.value): one for one in kind})


def _choice_of(name: str, value: str, choices: Mapping[str, Any]) -> Any:
    if value not in choices:
        raise InvalidInput(
            f"The {name} {value[:40]!r} is not known.", hint=f"Give {name}={' or '.join(choices)}."
        )
    return choices[value]


def _upload_id(headers: Mapping[bytes, bytes]) -> str | None:
    given = headers.get(UPLOAD_ID)
    if given is None:
        return None
    text = given.decode("latin-1")
    if not 0 < len(text) <= _MAX_ID or not text.isascii() or not text.isprintable() or "/" in text:
        raise InvalidInput(
            f"An upload id has 1 to {_MAX_ID} printable ASCII characters, none of them a slash."
        )
    return text


def _parts(scope: Scope) -> tuple[str, str, str]:
    """Return database, table and, where there is one, the upload id."""
    path = scope.get("raw_path", scope["path"].encode()).decode("latin-1").partition("?")[0]
    parts = [unquote(part) for part in path.removeprefix(PREFIX).split("/")]
    if len(parts) not in {2, 3} or (len(parts) == 3) != (scope["method"] == "GET"):  # noqa: PLR2004
        raise NotFound("There is no such upload path.", hint="POST /api/import/DATABASE/TABLE")
    return parts[0], parts[1], parts[2] if len(parts) == 3 else ""  # noqa: PLR2004


def _query(scope: Scope) -> dict[str, str]:
    try:
        return dict(
            parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True, max_num_fields=30)
        )
    except ValueError as error:
        raise InvalidInput("The query has over 30 parameters.") from error
