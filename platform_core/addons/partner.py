"""The Partner API v3 client: what the platform asks of a vendor, over HTTP.

Delivery is at least once: a call that times out or meets a passing failure is repeated with the same resource
uuid, which the vendor must take as the same request.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx

from platform_core.addons.errors import VendorRefused, VendorUnavailable
from platform_core.base.errors import InvalidInput
from platform_core.base.logs import get_logger
from platform_core.logplex.delivery import check_url

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from platform_core.models.addons import Service

_log = get_logger(__name__)
_RETRY = "vendor_call_retried"

MEDIA_TYPE = "application/vnd.heroku-addons+json; version=3"
_TIMEOUT = httpx.Timeout(30.0, connect=5.0)
_RETRY_DELAYS = (0.5, 2.0)
"""Seconds before the second and third try."""
_TRANSIENT = frozenset({429, 500, 502, 504})
"""What the log router can send to."""


@dataclass(frozen=True, slots=True)
class Provisioned:
    """A vendor's answer to a provision or plan change request."""

    provider_id: str | None
    config: Mapping[str, str] | None
    message: str | None
    log_drain_url: str | None
    pending: bool
    """202: the vendor goes on by itself and reports through the Platform API for Partners."""


class PartnerClient:
    """Calls vendors. One instance for all of them; `close` it."""

    def __init__(
        self,
        verify: ssl.SSLContext | bool = True,
        *,
        retry_delays: tuple[float, ...] = _RETRY_DELAYS,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Trust ``verify`` for TLS."""
        self._delays = retry_delays
        self._http = httpx.AsyncClient(
            verify=verify, timeout=_TIMEOUT, transport=transport, follow_redirects=False, trust_env=False
        )

    async def provision(self, service: Service, request: Mapping[str, Any]) -> Provisioned:
        """Ask for a resource; ``request`` is the body of the v3 call.

        Raises:
            VendorRefused: the vendor said no, or its answer breaks its own manifest.
            VendorUnavailable: no usable answer after the retries; the resource may exist there.
        """
        response = await self._call(service, "POST", service.base_url, request)
        body = _answer(service, response)
        if response.status_code not in {200, 201, 202}:
            raise _failure(service, response, body)
        provider_id = body.get("id")
        if not isinstance(provider_id, str | int) or provider_id == "":
            raise VendorRefused(f"{service.human_name} answered without an id for the resource.")
        return Provisioned(
            provider_id=str(provider_id),
            config=check_config(service, body.get("config")),
            message=_message(body),
            log_drain_url=_drain_url(service, body),
            pending=response.status_code == 202,  # noqa: PLR2004  Accepted
        )

    async def change_plan(self, service: Service, addon_id: str, plan: str) -> Provisioned:
        """Ask for another plan.

        Raises:
            VendorRefused: the vendor said no.
            VendorUnavailable: no usable answer after the retries.
        """
        response = await self._call(service, "PUT", f"{service.base_url}/{addon_id}", {"plan": plan})
        body = _answer(service, response)
        if not response.is_success:
            raise _failure(service, response, body)
        config = check_config(service, body["config"]) if body.get("config") is not None else None
        return Provisioned(None, config, _message(body), None, pending=False)

    async def deprovision(self, service: Service, addon_id: str) -> None:
        """Give a resource back; one that the vendor no longer has (404, 410) counts as given back.

        Raises:
            VendorRefused: the vendor said no.
            VendorUnavailable: no usable answer after the retries.
        """
        response = await self._call(service, "DELETE", f"{service.base_url}/{addon_id}", None)
        if not response.is_success and response.status_code not in {404, 410}:
            raise _failure(service, response, _answer(service, response))

    async def _call(
        self, service: Service, method: str, url: str, body: Mapping[str, Any] | None
    ) -> httpx.Response:
        reason = ""
        for delay in (*self._delays, None):
            try:
                response = await self._http.request(
                    method,
                    url,
                    json=body,
                    auth=(service.id, service.password),
                    headers={"Accept": MEDIA_TYPE},
                )
                if response.status_code not in _TRANSIENT:
                    return response
                reason = f"HTTP status {response.status_code}"
            except httpx.TransportError as error:
                reason = f"{type(error).__name__}: {error}"
            if delay is not None:
                _log.warning(_RETRY, service=service.id, method=method, reason=reason)
                await asyncio.sleep(delay)
        raise VendorUnavailable(
            f"{service.human_name} cannot be reached ({reason}).",
            hint="Nothing was changed; try again later.",
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()


def _answer(service: Service, response: httpx.Response) -> dict[str, Any]:
    if not response.content:
        return {}
    try:
        body = response.json()
    except ValueError:
        body = None
    if isinstance(body, dict):
        return body
    if response.is_success:
        raise VendorRefused(f"{service.human_name} answered with something that is not a JSON object.")
    return {}


def _message(body: Mapping[str, Any]) -> str | None:
    message = body.get("message")
    return message if isinstance(message, str) and message else None


def _failure(service: Service, response: httpx.Response, body: Mapping[str, Any]) -> Exception:
    message = _message(body)
    if response.status_code == 503:  # noqa: PLR2004  Service Unavailable: the vendor's own words are shown
        return VendorUnavailable(message or f"{service.human_name} is not available now; try again later.")
    if message and response.status_code in {402, 409, 410, 422}:
        return VendorRefused(message)
    return VendorRefused(
        f"{service.human_name} failed to carry this out (HTTP status {response.status_code}).",
        hint="Ask the add-on's support." if response.status_code != 401 else  # noqa: PLR2004  Unauthorized
        "Its manifest here has a password that it does not accept.",
    )  # fmt: skip


def check_config(service: Service, config: Any) -> dict[str, str]:
    """Check config vars that a vendor gives: declared in its manifest, strings, ``*_URL`` values real URLs.

    Raises:
        VendorRefused: the message names the var.
    """
    if config is None:
        return {}
    if not isinstance(config, dict):
        raise VendorRefused(f"{service.human_name} answered with config vars that are not an object.")
    for name, value in config.items():
        if name not in service.config_vars:
            raise VendorRefused(f"{service.human_name} gives {name}, which its manifest does not declare.")
        if not isinstance(value, str) or "\0" in value:
            raise VendorRefused(f"{service.human_name} gives {name} a value that is not a string.")
        parts = urlsplit(value)
        if name.endswith("_URL") and not (parts.scheme and parts.netloc):
            raise VendorRefused(f"{service.human_name} gives {name} a value that is not a URL.")
    return config


def _drain_url(service: Service, body: Mapping[str, Any]) -> str | None:
    url = body.get("log_drain_url")
    if url is None or "syslog_drain" not in service.requires:
        return None
    try:
        check_url(str(url))
    except InvalidInput as error:
        raise VendorRefused(
            f"{service.human_name} gives a log_drain_url that is not one: {error.message}"
        ) from error
    return str(url)
