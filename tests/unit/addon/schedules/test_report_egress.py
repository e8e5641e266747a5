"""Where deliveries may go: public addresses on usual ports, however somebody spells the others."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING, Any

import orjson
import pytest
import trustme

from addon.schedules.deliveries.egress import Egress, Origin, is_public, origin_of
from addon.schedules.deliveries.port import NotDelivered, Refused
from addon.schedules.deliveries.webhook import WebhookDelivery, signature
from platform_core.base.clock import FixedClock
from platform_core.base.errors import Forbidden, InvalidInput
from tests.contracts.delivery_receivers import NOW, SECRET, Hook, hook_server, parcel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PRIVATE = [
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254",
    "100.64.0.1", "224.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1",
    "fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::", "2001:0:7f00:1::80ff:fffe", "fe80::1%eth0", "not an address",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_that_are_not_public_are_known_in_every_form(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "64:ff9b::808:808"])
def test_public_addresses_are(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com", "file:///etc/passwd", "gopher://example.com", "//example.com", "https://",
        "https://user:pw@example.com", "https://example.com@10.0.0.1/", "https://exa mple.com",
        "https://example.com\r\nHost: x", "https://ex\u00e4mple.com", "https://example.com:0", "https://a:99999",
        "https:\\\\example.com", "https://[::1", "",
    ],
)  # fmt: skip
def test_urls_of_other_forms_are_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(InvalidInput, match="parameter url") as caught:
        origin_of(url, ("https", "http"))
    assert url in {"", "https://"} or url not in str(caught.value)


def test_names_are_resolved_once_and_each_of_their_addresses_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"good.example": ["93.184.216.34"], "mixed.example": ["93.184.216.34", "10.0.0.1"]}
    asked = []

    def look_up(host: Any, port: Any, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        if host not in answers:
            raise socket.gaierror("unknown")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in answers[host]]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    egress = Egress()
    assert asyncio.run(egress.address(Origin("https", "good.example", 443))) == "93.184.216.34"
    with pytest.raises(Forbidden, match=r"mixed\.example is not a public address.*SLUICE_ADDON_EGRESS_ALLOW"):
        asyncio.run(egress.address(Origin("https", "mixed.example", 443)))
    with pytest.raises(NotDelivered, match="has no address"):
        asyncio.run(egress.address(Origin("https", "gone.example", 443)))
    assert asked == ["good.example", "mixed.example", "gone.example"]
    with pytest.raises(Forbidden, match=r"Port 6379 is not allowed for http\. Use one of 80, 8080"):
        asyncio.run(egress.address(Origin("http", "good.example", 6379)))
    assert "6379" not in asked


@pytest.mark.parametrize(
    "host", ["localhost", "127.1", "0x7f.0.0.1", "2130706433", "0177.0.0.1", "[::1]", "127.0.0.1.", "0"]
)
def test_the_loopback_is_private_in_every_spelling(host: str) -> None:
    with pytest.raises((Forbidden, NotDelivered)):
        asyncio.run(Egress().address(origin_of(f"http://{host}/", ("http",))))


def test_the_operator_allows_exact_origins() -> None:
    egress = Egress(" http://127.0.0.1:9000 , smtp://10.0.0.5:25")
    assert asyncio.run(egress.address(Origin("http", "127.0.0.1", 9000))) == "127.0.0.1"
    for other in (Origin("http", "127.0.0.1", 80), Origin("https", "127.0.0.1", 8443)):
        with pytest.raises(Forbidden):
            asyncio.run(egress.address(other))
    with pytest.raises(InvalidInput, match="SLUICE_ADDON_EGRESS_ALLOW"):
        Egress("127.0.0.1:9000")


@pytest.fixture
def hook() -> Iterator[Hook]:
    with hook_server() as found:
        yield found


def post(hook: Hook, folder: Path, **settings: Any) -> None:
    delivery = WebhookDelivery(Egress(hook.origin), FixedClock(NOW))
    asked = {"url": f"{hook.origin}/hook?a=1", "secret": SECRET} | settings
    asyncio.run(delivery.deliver(parcel(folder, missing=["late"]), asked))


def test_a_webhook_gets_signed_json_that_says_what_is_missing(hook: Hook, tmp_path: Path) -> None:
    post(hook, tmp_path)
    ((path, headers, body),) = hook.requests
    assert path == "/hook?a=1"
    assert headers["host"] == hook.origin.removeprefix("http://")
    assert headers["idempotency-key"] == "report-run-7-one"
    assert headers["sluice-signature"] == signature(SECRET, NOW, body)
    content = orjson.loads(body)
    assert (content["report"], content["run"], content["complete"]) == ("daily", 7, False)
    assert content["incomplete"] == [{"code": "late_data", "text": "late"}]
    assert content["content"]["title"] == "Daily"


def test_the_signature_is_the_one_that_openssl_makes() -> None:
    # printf '5.{}' | openssl dgst -sha256 -hmac key-of-8
    assert signature("key-of-8", 5, b"{}") == (
        "t=5,v1=1593b74e5ae0b02969cb094585475e8907662b5041ea39f5ecaaa6735cf8a254"
    )


@pytest.mark.parametrize(
    ("status", "kind"),
    [(301, Refused), (307, Refused), (400, Refused), (404, Refused), (410, Refused)]
    + [(status, NotDelivered) for status in (408, 429, 500, 502, 503)],
)
def test_an_answer_says_whether_another_attempt_makes_sense(
    hook: Hook, tmp_path: Path, status: int, kind: type[Exception]
) -> None:
    hook.answers.append((status, {"location": "http://169.254.169.254/", "retry-after": "77"}))
    with pytest.raises(kind, match=str(status)) as caught:
        post(hook, tmp_path)
    assert getattr(caught.value, "after_s", 77.0) == 77.0
    assert len(hook.requests) == 1


def test_over_tls_the_checked_address_must_prove_the_name(tmp_path: Path) -> None:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("hooks.example").configure_cert(server)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    class Found(Egress):
        async def address(self, origin: Origin) -> str:
            assert origin.host.endswith(".example")
            return "127.0.0.1"

    with hook_server() as hook:
        hook.server.socket = server.wrap_socket(hook.server.socket, server_side=True)
        port = hook.server.server_port
        delivery = WebhookDelivery(Found(), FixedClock(NOW), trusting)
        sent = parcel(tmp_path)
        asyncio.run(delivery.deliver(sent, {"url": f"https://hooks.example:{port}/x"}))
        ((_, headers, _),) = hook.requests
        assert headers["host"] == f"hooks.example:{port}"
        with pytest.raises(NotDelivered, match="certificate"):
            asyncio.run(delivery.deliver(sent, {"url": f"https://other.example:{port}/x"}))
        assert len(hook.requests) == 1
