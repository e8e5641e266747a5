"""The collectors' requests: who sends, what is stored, and the answer in each form's own words.

Every answer, refusals included, can be read by the page that asked. A bad key is refused at once, where
Treasure Data's postback says 200 and looks later. Tables are made when missing, in databases that are there:
a page's key can be read by everybody, so it must not be able to make databases, nor tables without end.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import msgspec

from addon.api.auth import check_right, identify
from addon.api.collectors.agents import parse_agent
from addon.api.collectors.cors import answer_headers, preflight_headers
from addon.api.collectors.identity import GLOBAL_ID, SITE_ID, global_cookie, id_of, site_cookie
from addon.api.collectors.paths import Form, Target, target_of
from addon.api.collectors.peers import Network, address_of
from addon.api.collectors.records import (
    ServerColumns,
    event_lines,
    postback_line,
    record_line,
    text_from_base64,
)
from addon.api.errors import error_headers, status_of, td_error
from addon.api.located import located, meta_of
from addon.api.raw import Scope, answer, answer_json, headers_of, read_body
from addon.ingest.inflate import inflate
from addon.ingest.limits import IngestLimits
from addon.models.accounts import Right
from addon.models.ingest import Batch, BodyKind
from addon.models.tables import TableRef, check_name
from platform_core.base.errors import InvalidInput, NotFound, SluiceError, TooLarge

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from addon.api.services import Services
    from addon.models.moves import Located

MAX_BODY = 5 << 20
MAX_POSTBACK = 1_048_064
MAX_TABLES = 1_000
"""Tables in a database up to which a collector makes new ones."""
_JSON, _SCRIPT = b"application/json", b"application/javascript; charset=utf-8"
_WITH_GLOBAL_ID = "application/vnd.treasuredata.v1.js+json"
_CALLBACK = re.compile(r"[A-Za-z_$][\w$]{0,99}(?:\.[A-Za-z_$][\w$]{0,99}){0,4}", re.ASCII)
_MAX_PARAMETERS = 30
_LIMITS = IngestLimits(inflated_bytes=MAX_BODY)


@dataclass(slots=True)
class _Call:
    """A request, and the headers that its answer will have."""

    scope: Scope
    receive: Any
    headers: dict[bytes, bytes]
    more: dict[str, str]

    def text(self, name: bytes) -> str:
        """Return a header's value, empty without it."""
        return self.headers.get(name, b"").decode("latin-1")


class CollectorRoutes:
    """All collectors; the dispatcher asks ``target_of`` first."""

    def __init__(self, services: Services, trusted: Sequence[Network] = ()) -> None:
        """Hand batches to the ingestor of ``services``; believe the proxies in ``trusted``."""
        self._services = services
        self._trusted = trusted

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Serve one request; the 200 goes out when its records are on disk."""
        headers = headers_of(scope)
        if scope["method"] == "OPTIONS":
            await answer(send, 204, more=preflight_headers(headers))
            return
        call = _Call(scope, receive, headers, answer_headers(headers))
        try:
            body, kind = await self._serve(call)
        except SluiceError as error:
            status = status_of(error)
            text = str(error) if status != 500 else "Something went wrong inside the service."  # noqa: PLR2004
            await answer_json(send, status, td_error(status, text), {**call.more, **error_headers(error)})
        else:
            await answer(send, 200, body, kind, call.more)

    async def _serve(self, call: _Call) -> tuple[bytes, bytes]:
        """Return the answer to a request and its media type."""
        target = target_of(call.scope)
        if target is None:
            raise NotFound("There is no such collector.", hint="POST /collect/DATABASE/TABLE")
        if target.form is Form.JSONP:
            return await self._jsonp(call, target)
        if target.form is Form.SITE_ID:
            return _site_id(call), _JSON
        if target.form is Form.GLOBAL_ID:
            check_right(identify(self._services.accounts, call.text(b"authorization")), Right.WRITE)
            return msgspec.json.encode({"global_id": _global_id(call)}), _JSON
        count = await (self._events if target.form is Form.EVENTS else self._postback)(call, target)
        return b'{"created":true,"records":%d}' % count, _JSON

    async def _events(self, call: _Call, target: Target) -> int:
        table = await self._admit(call.text(b"authorization"), target)
        body = await _body(call, MAX_BODY)
        global_id = None
        if call.text(b"content-type").partition(";")[0].strip().lower() == _WITH_GLOBAL_ID:
            global_id = _global_id(call)
        lines, count = event_lines(body, self._columns(call, global_id=global_id))
        await self._store(table, lines)
        return count

    async def _jsonp(self, call: _Call, target: Target) -> tuple[bytes, bytes]:
        query = _query(call.scope)
        callback = query.get("callback", "")
        if callback and not _CALLBACK.fullmatch(callback):
            raise InvalidInput(
                "The callback is no name of a function.", hint="Use letters, digits, _, $ and dots."
            )
        table = await self._admit(f"TD1 {query.get('api_key', '')}", target)
        text = text_from_base64(query.get("data", ""))
        await self._store(table, record_line(text, self._columns(call, time=query.get("time"))))
        if not callback:
            return b'{"created":true}', _JSON
        return f'/**/typeof {callback}==="function"&&{callback}({{"created":true}});'.encode(), _SCRIPT

    async def _postback(self, call: _Call, target: Target) -> int:
        key = call.text(b"x-td-write-key")
        if not key and target.version == "v1":
            key = _query(call.scope).get("td_write_key", "")
        table = await self._admit(f"TD1 {key}" if key else call.text(b"authorization"), target)
        body = await _body(call, MAX_POSTBACK)
        await self._store(table, postback_line(body, self._services.clock.now()))
        return 1

    async def _admit(self, credentials: str, target: Target) -> Located:
        """Return the table to write to, made when missing.

        Raises:
            Unauthenticated, Forbidden, QuotaExceeded: the key, its right, the plan.
            InvalidInput: a name is not valid, or there are too many tables.
            NotFound: there is no such database.
        """
        rooms = self._services
        identity = check_right(identify(rooms.accounts, credentials), Right.WRITE)
        await rooms.quotas.check(identity.account)
        ref = TableRef(
            identity.account.id, check_name("database", target.database), check_name("table", target.table)
        )
        found = await located(rooms.catalog, ref)
        return found if found is not None else await asyncio.to_thread(self._make, ref)

    def _make(self, ref: TableRef) -> Located:
        catalog = self._services.catalog
        catalog.require_database(ref.account_id, ref.database)
        if len(catalog.tables(ref.account_id, ref.database)) >= MAX_TABLES:
            raise InvalidInput(
                f"The database {ref.database} has {MAX_TABLES} tables; collectors make no more.",
                hint="Create the table with the account's master key.",
            )
        return catalog.ensure_table(ref)

    async def _store(self, table: Located, lines: bytes) -> None:
        ref, now = table.ref, self._services.clock.now()
        batch = Batch(
            BodyKind.NDJSON, ref.account_id, ref.database, ref.table, lines, now, meta=meta_of(table)
        )
        await self._services.ingestor.append(batch)

    def _columns(
        self, call: _Call, *, global_id: str | None = None, time: str | None = None
    ) -> ServerColumns:
        """Return what the server adds: what the agent says, and with a global id also who it is."""
        agent = parse_agent(call.text(b"user-agent"))
        known = {
            "td_browser": agent.browser,
            "td_browser_version": agent.browser_version,
            "td_os": agent.system,
            "td_os_version": agent.system_version,
        }
        personal = {"td_ip": address_of(call.scope, call.headers, self._trusted)}
        placeholders = {**known, **personal}
        added: dict[bytes, bytes] = {}
        if global_id is not None:
            placeholders[GLOBAL_ID] = global_id
            added = _texts(personal)
        if time is not None and time.isascii() and time.isdigit():
            added[b"time"] = time.lstrip("0").encode() or b"0"
        return ServerColumns(_texts(placeholders, keep_empty=True), _texts(known), added)


def _texts(values: Mapping[str, str], *, keep_empty: bool = False) -> dict[bytes, bytes]:
    """Return JSON texts by name; an unknown value is left out, or null in a placeholder's place."""
    return {
        name.encode(): msgspec.json.encode(value) if value else b"null"
        for name, value in values.items()
        if value or keep_empty
    }


def _global_id(call: _Call) -> str:
    """Return the browser's id; its cookie is made, or lives longer, with the answer."""
    known = id_of(call.text(b"cookie"), GLOBAL_ID)
    call.more["set-cookie"] = global_cookie(known)
    return known


def _site_id(call: _Call) -> bytes:
    known = id_of(call.text(b"cookie"), SITE_ID)
    domain = _query(call.scope).get("cookie_domain", "")
    call.more["set-cookie"] = site_cookie(known, call.text(b"host"), domain)
    return msgspec.json.encode({"td_ssc_id": known})


async def _body(call: _Call, limit: int) -> bytes:
    try:
        body = await read_body(call.receive, call.headers, limit)
    except TooLarge as error:
        raise TooLarge(f"The body is over the limit of {limit} bytes.", hint=error.hint) from error
    encoding = call.text(b"content-encoding").strip().lower()
    if encoding in {"", "identity"}:
        return body
    if encoding != "gzip":
        raise InvalidInput("The Content-Encoding is not supported.", hint="Send the body plain or as gzip.")
    return inflate(body, _LIMITS)


def _query(scope: Scope) -> dict[str, str]:
    try:
        pairs = parse_qsl(scope["query_string"].decode("latin-1"), True, max_num_fields=_MAX_PARAMETERS)
    except ValueError as error:
        raise InvalidInput(f"The query has over {_MAX_PARAMETERS} parameters.") from error
    return dict(pairs)
