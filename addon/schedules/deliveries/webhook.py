"""Reports to a webhook: one signed POST of JSON, to a checked address, without redirects.

``Sluice-Signature: t=<Unix seconds>,v1=<hex>``: the hex is HMAC-SHA256, under the delivery's secret, of the
seconds, a full stop and the body. ``Idempotency-Key`` is the same for each attempt of one delivery.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import httpx
import orjson

from addon.schedules.deliveries.egress import origin_of
from addon.schedules.deliveries.port import NotDelivered, Refused, settings_as
from jobs.contracts.parameters import optional, parameter, required, text
from platform_core.base.errors import InvalidInput

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from addon.schedules.deliveries.egress import Egress
    from addon.schedules.deliveries.port import Parcel
    from platform_core.base.clock import Clock

_SCHEMES = ("https", "http")
_TIMEOUT_S = 30.0
_MOST_REPLY = 64 << 10
_LEAST_SECRET, _MOST_URL = 8, 2_000
_LATER = frozenset({408, 409, 423, 425, 429, 500, 502, 503, 504, 507, 509, 529})
_LONGEST_PAUSE_S = 86_400.0
_USER_AGENT = "Sluice-Reports/1"


@dataclass(frozen=True, slots=True, repr=False)  # it holds secrets
class WebhookSettings:
    """What a delivery of the type ``webhook`` takes."""

    url: str = required(text(), "where the report is posted to: https://, or http://")
    secret: str | None = parameter(None, optional(text()), "signs the body; unsigned when null")

    def __post_init__(self) -> None:
        """Check what the fields cannot check alone."""
        origin_of(self.url, _SCHEMES)
        if len(self.url) > _MOST_URL:
            raise InvalidInput(f"parameter url: give at most {_MOST_URL:,} characters.")
        if self.secret is not None and len(self.secret) < _LEAST_SECRET:
            raise InvalidInput(f"parameter secret: give at least {_LEAST_SECRET} characters.")


class WebhookDelivery:
    """Posts what ``report.json`` holds, and the run's facts."""

    type: ClassVar[str] = "webhook"
    secrets: ClassVar[frozenset[str]] = frozenset({"secret"})

    def __init__(self, egress: Egress, clock: Clock, tls: ssl.SSLContext | None = None) -> None:
        """Connect where ``egress`` allows, with ``tls`` where the system's authorities are not the ones."""
        self._egress = egress
        self._clock = clock
        self._tls = tls

    def check(self, settings: Mapping[str, Any]) -> None:
        """Check settings."""
        settings_as(WebhookSettings, settings)

    def target(self, settings: Mapping[str, Any]) -> str:
        """Return the origin only: paths of webhooks are often secrets."""
        return str(origin_of(settings_as(WebhookSettings, settings).url, _SCHEMES))

    async def deliver(self, parcel: Parcel, settings: Mapping[str, Any]) -> None:
        """Post once."""
        asked = settings_as(WebhookSettings, settings)
        origin = origin_of(asked.url, _SCHEMES)
        address = await self._egress.address(origin)
        body = orjson.dumps(content(parcel))
        url = httpx.URL(asked.url)
        headers = {
            "host": url.netloc.decode("ascii"),
            "content-type": "application/json",
            "user-agent": _USER_AGENT,
            "idempotency-key": parcel.key,
            **self._signature(asked.secret, body),
        }
        verify = self._tls if self._tls is not None else True
        try:
            async with (
                httpx.AsyncClient(verify=verify, trust_env=False, timeout=_TIMEOUT_S) as client,
                client.stream(
                    "POST",
                    url.copy_with(host=address),
                    content=body,
                    headers=headers,
                    extensions={"sni_hostname": origin.host},
                ) as answer,
            ):
                await _judge(answer, str(origin))
        except (httpx.HTTPError, OSError) as error:
            why = str(error) or type(error).__name__
            raise NotDelivered(f"{origin} was not reached: {why}.") from error

    def _signature(self, secret: str | None, body: bytes) -> dict[str, str]:
        if secret is None:
            return {}
        return {"sluice-signature": signature(secret, int(self._clock.now()), body)}


def signature(secret: str, at: int, body: bytes) -> str:
    """Return the header's value for a body sent at a Unix second."""
    signed = hmac.new(secret.encode(), b"%d." % at + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={signed}"


def content(parcel: Parcel) -> dict[str, Any]:
    """Return what is posted."""
    run = parcel.run
    return {
        "event": "report.run",
        "key": parcel.key,
        "report": run.report,
        "title": parcel.title,
        "run": run.id,
        "slot": run.slot,
        "window": {"from": run.window.start, "to": run.window.end, "text": run.window.words},
        "complete": parcel.final,
        "incomplete": run.facts.get("incomplete", []),
        "link": parcel.link,
        "tables": run.facts.get("tables", []),
        "result_hashes": run.facts.get("result_hashes", {}),
        "content": parcel.facts,
    }


async def _judge(answer: httpx.Response, origin: str) -> None:
    """Read a little of the answer, so that the receiver is done, and say what it means."""
    read = 0
    async for chunk in answer.aiter_raw():
        read += len(chunk)
        if read > _MOST_REPLY:
            break
    if answer.is_success:
        return
    text = f"{origin} answered {answer.status_code}."
    if answer.status_code in _LATER:
        raise NotDelivered(text, after_s=_retry_after(answer))
    if answer.is_redirect:
        text = f"{origin} answered {answer.status_code}: redirects are not followed; give the final URL."
    raise Refused(text)


def _retry_after(answer: httpx.Response) -> float:
    value = answer.headers.get("retry-after", "")
    seconds = float(value) if value.isascii() and value.isdigit() and len(value) < 9 else 0.0  # noqa: PLR2004
    return min(seconds if math.isfinite(seconds) else 0.0, _LONGEST_PAUSE_S)
