"""Mails to a real server: TLS, STARTTLS, login, refusals; and what a mail client gets to see."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from addon.schedules.deliveries.egress import Egress
from addon.schedules.deliveries.mail import MailDelivery, SmtpServer
from addon.schedules.deliveries.port import NotDelivered, Refused
from platform_core.base.errors import Forbidden, InvalidInput
from tests.contracts.delivery_receivers import PNG, parcel
from tests.smtp_server import smtp_server

if TYPE_CHECKING:
    from pathlib import Path

    from tests.smtp_server import Received

TO = {"to": ["ann@example.com"]}


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, str]:
    """Certificate, key, and the authority that a client must trust."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    files = [str(folder / name) for name in ("cert.pem", "key.pem", "ca.pem")]
    for part in issued.cert_chain_pems:
        part.write_to_path(files[0], append=True)
    issued.private_key_pem.write_to_path(files[1])
    authority.cert_pem.write_to_path(files[2])
    return files[0], files[1], files[2]


def send(folder: Path, smtp: SmtpServer, authorities: str | None = None, **settings: Any) -> None:
    delivery = MailDelivery(Egress(), smtp, authorities)
    asyncio.run(delivery.deliver(parcel(folder / "run"), TO | settings))


def server(port: int, security: str = "none", **more: Any) -> SmtpServer:
    return SmtpServer("localhost", port, security, sender="reports@sluice.example", **more)


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_mail_goes_over_tls_with_a_login(security: str, tls: tuple[str, str, str], tmp_path: Path) -> None:
    options = (f"--{security}", *tls[:2], "--login", "sluice", "s3cret-word")
    with smtp_server(tmp_path / "mails", *options) as smtp:
        send(tmp_path, server(smtp.port, security, user="sluice", password="s3cret-word"), tls[2])
        (mail,) = smtp.mails()
    assert (mail.secure, mail.login) == (True, "sluice")
    assert (mail.sender, mail.recipients) == ("reports@sluice.example", ["ann@example.com"])


def test_a_server_without_a_valid_certificate_or_with_another_password_gets_nothing(
    tls: tuple[str, str, str], tmp_path: Path
) -> None:
    options = ("--starttls", *tls[:2], "--login", "sluice", "s3cret-word")
    with smtp_server(tmp_path / "mails", *options) as smtp:
        known = {"user": "sluice", "password": "s3cret-word"}
        with pytest.raises(Refused, match="certificate of the mail server localhost"):
            send(tmp_path, server(smtp.port, "starttls", **known))
        with pytest.raises(Refused, match="does not take the user and password") as caught:
            send(tmp_path, server(smtp.port, "starttls", user="sluice", password="an0ther-word"), tls[2])
        assert "an0ther-word" not in str(caught.value)
        assert smtp.mails() == []


def test_a_server_that_offers_no_tls_is_not_spoken_to_in_clear(tmp_path: Path) -> None:
    with smtp_server(tmp_path / "mails") as smtp:
        with pytest.raises(Refused, match="offers no STARTTLS"):
            send(tmp_path, server(smtp.port, "starttls", user="a", password="b"))
        assert smtp.mails() == []


def test_a_busy_server_may_be_tried_again_and_a_full_no_may_not(tmp_path: Path) -> None:
    with smtp_server(tmp_path / "mails", "--fail", "451", "1") as smtp:
        with pytest.raises(NotDelivered, match="451"):
            send(tmp_path, server(smtp.port))
        send(tmp_path, server(smtp.port))
        assert len(smtp.mails()) == 1
    with (
        smtp_server(tmp_path / "other", "--fail", "554", "1") as smtp,
        pytest.raises(Refused, match="554"),
    ):
        send(tmp_path, server(smtp.port))


def _mail(tmp_path: Path, missing: list[str], **settings: Any) -> Received:
    with smtp_server(tmp_path / "mails") as smtp:
        delivery = MailDelivery(Egress(), server(smtp.port))
        sent = parcel(tmp_path / "run", missing=missing)
        asyncio.run(delivery.deliver(sent, TO | settings))
        (mail,) = smtp.mails()
        return mail


def test_a_mail_holds_text_html_with_its_pictures_and_the_whole_page(tmp_path: Path) -> None:
    message = _mail(tmp_path, []).message
    kinds = [part.get_content_type() for part in message.walk()]
    assert kinds == [
        "multipart/mixed",
        "multipart/alternative",
        "text/plain",
        "multipart/related",
        "text/html",
        "image/png",
        "text/html",
    ]
    picture = next(part for part in message.walk() if part.get_content_type() == "image/png")
    assert (picture["content-id"], picture.get_content_disposition()) == ("<products-1>", "inline")
    assert picture.get_payload(decode=True) == PNG
    assert message["subject"] == "Daily: Thursday, 14 January 2027 (UTC)"
    attached = [part for part in message.walk() if part.get_content_disposition() == "attachment"]
    assert [part.get_filename() for part in attached] == ["daily.html"]


def test_a_report_on_incomplete_data_says_so_in_the_subject(tmp_path: Path) -> None:
    message = _mail(tmp_path, ["The newest row is old."], subject="For you", attach=False).message
    assert message["subject"] == "[not final] For you"
    assert not [part for part in message.walk() if part.get_content_disposition() == "attachment"]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"to": []}, "parameter to: .* give a list of 1 to 50"),
        ({"to": ["a@b\nBcc: c@d"]}, r"parameter to\[0\]"),
        ({**TO, "port": 70_000}, "parameter port: 70000 is not allowed; give an integer from 1 to 65535"),
        ({**TO, "port": 25}, "go with a host of your own"),
        ({**TO, "host": "h", "security": "none", "user": "u", "password": "p"}, "parameter security: 'none'"),
        ({**TO, "host": "h", "user": "u"}, "user and password go together"),
        ({**TO, "from": "boss@bank.example"}, "another sender than the service's own is not allowed"),
        ({**TO, "host": "a b"}, "parameter host"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        MailDelivery(Egress(), server(25)).check(settings)


def test_the_operators_server_sends_to_the_operators_domains_only() -> None:
    delivery = MailDelivery(Egress(), server(25), domains="example.com, Example.org")
    delivery.check({"to": ["ann@EXAMPLE.com", "bob@example.org"]})
    with pytest.raises(InvalidInput, match=r"parameter to\[1\]: .* sends to example\.com, example\.org only"):
        delivery.check({"to": ["ann@example.com", "eve@sub.example.com"]})
    own = {"host": "smtp.evil.example", "security": "tls", "from": "me@evil.example"}
    delivery.check({"to": ["eve@evil.example"], **own})


def test_without_a_server_of_the_operators_a_delivery_needs_its_own(tmp_path: Path) -> None:
    delivery = MailDelivery(Egress())
    with pytest.raises(InvalidInput, match=r"no mail server of its own.*SLUICE_ADDON_SMTP_HOST"):
        delivery.check(TO)
    own = TO | {"host": "127.0.0.1", "port": 2525, "security": "none", "from": "me@example.com"}
    delivery.check(own)
    with pytest.raises(Forbidden, match=r"127\.0\.0\.1 is not a public address"):
        asyncio.run(delivery.deliver(parcel(tmp_path / "run"), own))


def test_a_subject_of_several_lines_stays_one_header(tmp_path: Path) -> None:
    message = _mail(tmp_path, [], subject="one\r\nBcc: other@example.com").message
    assert message["subject"] == "one Bcc: other@example.com"
    assert message["bcc"] is None
