"""One HTTP request of a drain and what its outcome means."""

from __future__ import annotations

import asyncio
import re
import ssl
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import httpx

from platform_core.base.errors import InvalidInput
from platform_core.wire.logplex import encode_headers

if TYPE_CHECKING:
    from pathlib import Path

    from platform_core.logplex.frame import Frame
    from platform_core.logplex.settings import LogplexSettings
    from platform_core.models.logs import Drain

_USER_AGENT = "Logplex/v72"
_SCHEMES = frozenset({"http", "https"})
_UNSAFE = re.compile(r"[\x00-\x20\x7f-\x9f\\]")
_TOO_MANY_REQUESTS = 429
_MAX_PORT = 65_535


class Outcome(Enum):
    """What became of a frame."""

    DELIVERED = "delivered"
    REFUSED = "refused"
    """The receiver does not want it; sending it again would not help."""
    FAILED = "failed"
    """It may work later."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """An outcome and its reason in words."""

    outcome: Outcome
    reason: str
    bad_certificate: bool = False


def check_url(url: str) -> httpx.URL:
    """Return a drain's URL if it is one we can send to.

    Raises:
        InvalidInput: another scheme than http and https, no host, or characters that do not belong in a URL.
    """
    hint = "Give a URL like https://user:password@logs.example.com/drain."
    if _UNSAFE.search(url):
        raise InvalidInput("The drain URL holds a space or a control character.", hint=hint)
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise InvalidInput(f"The drain URL is not valid: {error}.", hint=hint) from None
    if parsed.scheme not in _SCHEMES:
        raise InvalidInput(f"Drains to {parsed.scheme or 'no scheme'} are not supported.", hint=hint)
    if parsed.port is not None and not 0 < parsed.port <= _MAX_PORT:
        raise InvalidInput("The drain URL's port is not between 1 and 65535.", hint=hint)
    if not parsed.host:
        raise InvalidInput("The drain URL has no host.", hint=hint)
    return parsed


def trust(ca_file: Path | None) -> ssl.SSLContext:
    """Return the TLS settings of all drains: the system's authorities, and those in ``ca_file``."""
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context


class Sender:
    """Posts the frames of one drain over a kept connection. No redirects, no proxies, a capped reply."""

    def __init__(self, drain: Drain, settings: LogplexSettings, context: ssl.SSLContext) -> None:
        """Check the URL and prepare the connection; nothing is sent yet."""
        url = check_url(drain.url)
        self._settings = settings
        self._token = drain.token
        self._auth = httpx.BasicAuth(url.username, url.password) if url.userinfo else None
        self._url = url.copy_with(username=None, password=None, fragment=None)
        self._client = httpx.AsyncClient(
            verify=context,
            trust_env=False,
            follow_redirects=False,
            headers={"User-Agent": _USER_AGENT},
            timeout=httpx.Timeout(settings.request_timeout, connect=settings.connect_timeout),
            limits=httpx.Limits(max_connections=1, keepalive_expiry=settings.idle_timeout),
        )

    @property
    def url(self) -> str:
        """Where it sends to, without the credentials."""
        return str(self._url)

    async def post(self, frame: Frame) -> Verdict:
        """Send one frame and judge the answer. Never raises for what the receiver does."""
        headers = encode_headers(frame.msg_count, frame.id, self._token)
        auth = self._auth if self._auth is not None else httpx.USE_CLIENT_DEFAULT
        try:
            async with (
                asyncio.timeout(self._settings.connect_timeout + self._settings.request_timeout),
                self._client.stream(
                    "POST", self._url, content=frame.body, headers=headers, auth=auth
                ) as response,
            ):
                await self._read_some(response)
                return judge(response.status_code)
        except TimeoutError:
            return Verdict(Outcome.FAILED, "timeout")
        except (httpx.HTTPError, OSError) as error:
            bad = _certificate_error(error)
            return Verdict(Outcome.FAILED, bad or type(error).__name__, bad_certificate=bad is not None)

    async def _read_some(self, response: httpx.Response) -> None:
        """Read the reply, so that the connection can be kept; give up on a long one."""
        size = 0
        async for chunk in response.aiter_raw():
            size += len(chunk)
            if size > self._settings.max_reply_bytes:
                return

    async def close(self) -> None:
        """Close the connection."""
        await self._client.aclose()


def judge(status: int) -> Verdict:
    """Decide what an answer means for the frame."""
    reason = f"status {status}"
    if httpx.codes.is_success(status):
        return Verdict(Outcome.DELIVERED, reason)
    if httpx.codes.is_client_error(status) and status != _TOO_MANY_REQUESTS:
        return Verdict(Outcome.REFUSED, reason)
    return Verdict(Outcome.FAILED, reason)


def _certificate_error(error: BaseException) -> str | None:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return str(cause.verify_message or cause.reason)
        cause = cause.__cause__ or cause.__context__
    return None
