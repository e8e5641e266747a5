"""The log drain: ``POST /logplex/{resource}`` takes logplex-1 bodies, on raw ASGI.

Answers are those of Logplex's own inputs: 204 stored (a frame id that was stored before too), 400 for what is
malformed (a sender drops it), 401 for wrong credentials, 404 for an unknown drain, 410 for a deprovisioned
one, 413 over the body limit, 429 over the plan's quota and 503 when pressed (a sender retries both).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from typing import TYPE_CHECKING, Any

from addon.api.raw import Scope, answer, answer_error, headers_of, read_body
from addon.ingest.inflate import inflate
from addon.ingest.limits import IngestLimits
from addon.models.accounts import DrainIdentity
from addon.models.ingest import Batch, BodyKind
from platform_core.base.errors import InvalidInput, NotFound, SluiceError, Unauthenticated
from platform_core.base.ids import same_secret
from platform_core.wire.logplex import (
    HEADER_FRAME_ID,
    HEADER_MSG_COUNT,
    BodyHeaders,
    LogplexError,
    decode_body,
    is_logplex,
    parse_headers,
)

if TYPE_CHECKING:
    from addon.api.services import Services
    from addon.models.resources import Resource

PREFIX = "/logplex/"
_ANNOUNCED = (HEADER_MSG_COUNT, HEADER_FRAME_ID)
_SMALL_BODY = 1 << 20
"""Cutting one of this size takes less than 2 ms; a bigger one must not hold up the others."""
_LIMITS = IngestLimits(inflated_bytes=64 << 20)


class DrainRoute:
    """Accepts frames from log routers; the sender is known by its credentials, never by its text."""

    def __init__(self, services: Services) -> None:
        """Hand batches to the ingestor of ``services``."""
        self._services = services

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Serve one body; the 204 goes out when it is on disk."""
        try:
            headers = headers_of(scope)
            identity = self._sender(scope["path"].removeprefix(PREFIX), headers)
            if identity is None:
                await answer(send, 410, b'{"message":"This resource was deprovisioned."}')
                return
            await self._services.quotas.check(identity.account)
            await self._store(identity, headers, receive)
        except Unauthenticated as error:
            realm = {"www-authenticate": 'Basic realm="Logplex"'}
            await answer(send, 401, str(error).encode(), b"text/plain", realm)
        except InvalidInput as error:
            await answer(send, 400, str(error).encode(), b"text/plain; charset=utf-8")
        except SluiceError as error:
            await answer_error(send, error)
        else:
            await answer(send, 204)

    async def _store(self, identity: DrainIdentity, headers: dict[bytes, bytes], receive: Any) -> None:
        if not is_logplex(headers.get(b"content-type", b"").decode("latin-1")):
            raise InvalidInput("The body is not logplex-1.", hint="Send Content-Type: application/logplex-1.")
        announced = _announced(headers)
        body = await _decoded(await read_body(receive, headers), headers)
        if len(body) <= _SMALL_BODY:
            check_body(body, announced.msg_count)
        else:
            await asyncio.to_thread(check_body, body, announced.msg_count)
        if not body:
            return
        frame_id = (announced.frame_id or "")[:128]
        upload_id = f"{identity.drain_token}/{frame_id}" if frame_id else None
        meta = {"app": identity.app, "drain": identity.drain_token}
        now = self._services.clock.now()
        batch = Batch(BodyKind.LOGPLEX, identity.account.id, "", "", body, now, upload_id, meta)
        await self._services.ingestor.append(batch)

    def _sender(self, uuid: str, headers: dict[bytes, bytes]) -> DrainIdentity | None:
        """Return who sends; None when the resource was deprovisioned.

        Raises:
            NotFound: there never was such a resource.
            Unauthenticated: wrong credentials.
        """
        resource = self._services.resources.get(uuid)
        if resource is None:
            raise NotFound("There is no such log drain.")
        if resource.deprovisioned:
            return None
        if not (self._has_password(resource, headers) or _has_token(resource, headers)):
            raise Unauthenticated("The drain's credentials are missing or wrong.")
        token = headers.get(b"logplex-drain-token", b"").decode("latin-1")[:64]
        return DrainIdentity(
            resource.account, resource.account.name, resource.log_drain_token or token or resource.uuid
        )

    def _has_password(self, resource: Resource, headers: dict[bytes, bytes]) -> bool:
        user, secret = basic_credentials(headers.get(b"authorization", b""))
        return bool(secret) and self._services.resources.drain_secret_matches(resource.uuid, user, secret)


def _has_token(resource: Resource, headers: dict[bytes, bytes]) -> bool:
    given = headers.get(b"logplex-drain-token", b"").decode("latin-1")
    return bool(resource.log_drain_token) and same_secret(given, resource.log_drain_token or "")


def basic_credentials(header: bytes) -> tuple[str, str]:
    """Return user and password of a Basic authorization header; empty texts when it is none."""
    scheme, _, encoded = header.strip().partition(b" ")
    if scheme.lower() != b"basic":
        return "", ""
    try:
        user, _, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return "", ""
    return user, password


async def _decoded(body: bytes, headers: dict[bytes, bytes]) -> bytes:
    encoding = headers.get(b"content-encoding", b"identity").strip().lower()
    if encoding == b"identity" or not body:
        return body
    if encoding != b"gzip":
        raise InvalidInput("The Content-Encoding is not supported.", hint="Send the body plain or as gzip.")
    return await asyncio.to_thread(inflate, body, _LIMITS)


def _announced(headers: dict[bytes, bytes]) -> BodyHeaders:
    """Read what the sender says about its body.

    Raises:
        InvalidInput: the message count is no number.
    """
    named = {name: headers.get(name.lower().encode()) for name in _ANNOUNCED}
    given = {name: value.decode("latin-1") for name, value in named.items() if value is not None}
    try:
        return parse_headers(given)
    except LogplexError as error:
        raise InvalidInput(f"{error}.", hint="Send how many messages the body has.") from error


def check_body(body: bytes, announced: int | None) -> None:
    """Cut a body into its messages, as the flush will, and compare their number with the announced one.

    Raises:
        InvalidInput: a length is wrong, or messages are missing; the message says where, or how many.
    """
    found = decode_body(body)
    if found.lost is not None:
        raise InvalidInput(f"The frame at byte {found.lost.offset} is malformed: {found.lost.reason}.")
    if announced is not None and announced != len(found.frames):
        raise InvalidInput(f"{HEADER_MSG_COUNT} says {announced}, the body has {len(found.frames)} messages.")
