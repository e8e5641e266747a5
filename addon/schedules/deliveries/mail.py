"""Reports by mail: HTML with its pictures as parts of the mail, a text alternative, the page attached."""

from __future__ import annotations

import asyncio
import hashlib
import re
import smtplib
import socket
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any, ClassVar

from addon.schedules.deliveries.egress import Origin
from addon.schedules.deliveries.port import NotDelivered, Refused, settings_as
from jobs.contracts.parameters import choice, flag, integer, listing, optional, parameter, required, text
from platform_core.base.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping

    from addon.schedules.deliveries.egress import Egress
    from addon.schedules.deliveries.port import Parcel

_TIMEOUT_S = 60.0
_MOST_RECIPIENTS = 50
SECURITIES = ("starttls", "tls", "none")
_PORTS = {"starttls": 587, "tls": 465, "none": 25}
_ADDRESS = re.compile(r"^[^\s@<>,;:\"()\[\]\\]{1,64}@[A-Za-z0-9.-]{1,253}$")
_HOST = re.compile(r"^[A-Za-z0-9.:-]{1,253}$")
_PERMANENT = range(500, 600)
_DEFAULT_SUBJECT = "{title}{window}"


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """A mail server: the operator's, or a customer's own."""

    host: str
    port: int
    security: str
    """``starttls``, ``tls`` from the first byte, or ``none``."""
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    sender: str | None = None
    """The address that mails come from."""


@dataclass(frozen=True, slots=True, repr=False)  # it holds secrets
class MailSettings:
    """What a delivery of the type ``mail`` takes."""

    to: tuple[str, ...] = required(listing(text(), low=1, high=_MOST_RECIPIENTS), "the recipients' addresses")
    subject: str | None = parameter(None, optional(text()), "the subject; title and period when null")
    sender: str | None = parameter(
        None, optional(text()), "the address that it comes from; the operator's when null", aliases=("from",)
    )
    attach: bool = parameter(True, flag(), "also attach the whole report as an HTML file")
    host: str | None = parameter(
        None, optional(text()), "a mail server of your own; the operator's when null"
    )
    port: int | None = parameter(
        None, optional(integer(1, 65_535)), "its port; 587, 465 or 25 by security when null"
    )
    security: str = parameter("starttls", choice(*SECURITIES), "how the connection is kept safe")
    user: str | None = parameter(None, optional(text()), "whom to log in as")
    password: str | None = parameter(None, optional(text()), "with which password")

    def __post_init__(self) -> None:
        """Check what the fields cannot check alone."""
        for number, address in enumerate(self.to):
            _check_address(f"to[{number}]", address)
        if self.sender is not None:
            _check_address("from", self.sender)
        if self.host is not None and not _HOST.match(self.host):
            raise InvalidInput(f"parameter host: {self.host[:80]!r} is not allowed; give a host's name.")
        if self.host is None and (self.user or self.password or self.port):
            raise InvalidInput("parameters port, user and password go with a host of your own; give host.")
        if (self.user is None) != (self.password is None):
            raise InvalidInput("parameters user and password go together; give both or none.")
        if self.password is not None and self.security == "none":
            raise InvalidInput(
                "parameter security: 'none' is not allowed with a password; give starttls or tls."
            )


class MailDelivery:
    """Sends mails through the operator's server, or one that a delivery names."""

    type: ClassVar[str] = "mail"
    secrets: ClassVar[frozenset[str]] = frozenset({"password"})

    def __init__(
        self,
        egress: Egress,
        server: SmtpServer | None = None,
        authorities: str | None = None,
        domains: str = "",
    ) -> None:
        """Send by ``server`` where a delivery names none; ``authorities`` is a PEM file for TLS.

        ``domains``, comma-separated, are those that the server's mails may go to; any when empty.
        """
        self._egress = egress
        self._server = server
        self._authorities = authorities
        self._domains = frozenset(text.strip().lower() for text in domains.split(",") if text.strip())

    def check(self, settings: Mapping[str, Any]) -> None:
        """Check settings; without a server of their own there must be one of the operator's."""
        self._server_of(settings_as(MailSettings, settings))

    def target(self, settings: Mapping[str, Any]) -> str:
        """Return the recipients."""
        return ", ".join(settings_as(MailSettings, settings).to)

    async def deliver(self, parcel: Parcel, settings: Mapping[str, Any]) -> None:
        """Send one mail to all recipients; its Message-ID is the same for each attempt."""
        asked = settings_as(MailSettings, settings)
        server = self._server_of(asked)
        address = server.host
        if asked.host is not None:
            address = await self._egress.address(Origin("smtp", server.host.lower(), server.port))
        message = await asyncio.to_thread(compose, parcel, asked, str(server.sender))
        await asyncio.to_thread(self._send, server, address, message)

    def _server_of(self, asked: MailSettings) -> SmtpServer:
        if asked.host is not None:
            sender = asked.sender or (self._server.sender if self._server is not None else None)
            if sender is None:
                raise InvalidInput("parameter from is required: give the address that mails come from.")
            port = asked.port or _PORTS[asked.security]
            return SmtpServer(asked.host, port, asked.security, asked.user, asked.password, sender)
        if self._server is None:
            raise InvalidInput(
                "parameter host is required: this service has no mail server of its own.",
                hint="Give host, port, security, user and password, or ask the operator to set"
                " SLUICE_ADDON_SMTP_HOST.",
            )
        if asked.sender is not None and asked.sender != self._server.sender:
            raise InvalidInput(
                "parameter from: another sender than the service's own is not allowed on its mail server;"
                " leave it out, or give a host of your own."
            )
        for number, address in enumerate(asked.to):
            if self._domains and address.rpartition("@")[2].lower() not in self._domains:
                raise InvalidInput(
                    f"parameter to[{number}]: the service's mail server sends to"
                    f" {', '.join(sorted(self._domains))} only; give such an address, or a host of your own."
                )
        return self._server

    def _send(self, server: SmtpServer, address: str, message: EmailMessage) -> None:
        try:
            with self._connected(server, address) as smtp:
                if server.user is not None and server.password is not None:
                    smtp.login(server.user, server.password)
                refused = smtp.send_message(message)
        except (smtplib.SMTPException, OSError, ssl.SSLError) as error:
            raise _failure(error, server) from error
        if refused:  # some got it: another attempt would send them a second one
            raise Refused(f"The mail server took it for some, but not for {', '.join(sorted(refused))}.")

    def _connected(self, server: SmtpServer, address: str) -> smtplib.SMTP:
        context = ssl.create_default_context(cafile=self._authorities)
        if server.security == "tls":
            return _PinnedTlsSmtp(server, address, context)
        smtp = _PinnedSmtp(server, address)
        if server.security == "starttls":
            try:
                smtp.starttls(context=context)
            except BaseException:
                smtp.close()
                raise
        return smtp


class _PinnedSmtp(smtplib.SMTP):
    """Connects to an address that was checked, and knows the server by its name for TLS."""

    def __init__(self, server: SmtpServer, address: str) -> None:
        self._address = address
        super().__init__(server.host, server.port, timeout=_TIMEOUT_S)

    def _get_socket(self, _host: str, port: int, timeout: float) -> socket.socket:
        return socket.create_connection((self._address, port), timeout)


class _PinnedTlsSmtp(smtplib.SMTP_SSL):
    """The same with TLS from the first byte."""

    def __init__(self, server: SmtpServer, address: str, context: ssl.SSLContext) -> None:
        self._address = address
        super().__init__(server.host, server.port, timeout=_TIMEOUT_S, context=context)

    def _get_socket(self, host: str, port: int, timeout: float) -> ssl.SSLSocket:
        raw = socket.create_connection((self._address, port), timeout)
        return self.context.wrap_socket(raw, server_hostname=host)


def _failure(error: Exception, server: SmtpServer) -> Refused | NotDelivered:
    """Tell a refusal, which stays one, from what may pass; a server's words may repeat no secret of ours."""
    where = f"{server.host}:{server.port}"
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return Refused(f"The mail server {where} does not take the user and password.")
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        codes = [code for code, _ in error.recipients.values()]
        text = f"The mail server {where} refuses the recipients {', '.join(sorted(error.recipients))}."
        return Refused(text) if all(code in _PERMANENT for code in codes) else NotDelivered(text)
    if isinstance(error, smtplib.SMTPResponseException):
        said = error.smtp_error
        words = said.decode(errors="replace") if isinstance(said, bytes) else said
        text = f"The mail server {where} says {error.smtp_code}: {words[:200]}"
        return Refused(text) if error.smtp_code in _PERMANENT else NotDelivered(text)
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return Refused(f"The mail server {where} offers no STARTTLS, or no login: {error}.")
    if isinstance(error, ssl.SSLCertVerificationError):
        return Refused(f"The certificate of the mail server {where} is not valid: {error.verify_message}.")
    return NotDelivered(f"The mail server {where} was not reached: {error}.")


def compose(parcel: Parcel, asked: MailSettings, sender: str) -> EmailMessage:
    """Return the mail."""
    message = EmailMessage()
    window = parcel.run.window.words
    subject = asked.subject or _DEFAULT_SUBJECT.format(
        title=parcel.title, window=f": {window}" if window else ""
    )
    mark = "" if parcel.final else "[not final] "
    message["Subject"] = " ".join((mark + subject).split())
    message["From"] = Address(display_name="Sluice reports", addr_spec=sender)
    message["To"] = ", ".join(asked.to)
    message["Date"] = format_datetime(datetime.fromtimestamp(parcel.run.ended_at or 0, UTC))
    domain = sender.rpartition("@")[2]
    message["Message-ID"] = f"<{hashlib.sha256(parcel.key.encode()).hexdigest()[:32]}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message["X-Sluice-Delivery"] = parcel.key
    message.set_content((parcel.folder / "mail.txt").read_text(encoding="utf-8"))
    message.add_alternative((parcel.folder / "mail.html").read_text(encoding="utf-8"), subtype="html")
    _add_pictures(message, parcel)
    if asked.attach:
        page = (parcel.folder / "report.html").read_bytes()
        message.add_attachment(page, "text", "html", filename=f"{parcel.run.report}.html")
    return message


def _add_pictures(message: EmailMessage, parcel: Parcel) -> None:
    """Put the pictures beside the HTML part, under the names that it calls them by."""
    body: Any = message.get_payload()
    html = body[1]
    for section in parcel.facts["sections"]:
        for chart in section["charts"]:
            name = chart["name"]
            picture = (parcel.folder / f"chart-{name}.png").read_bytes()
            html.add_related(
                picture, "image", "png", cid=f"<{name}>", filename=f"{name}.png", disposition="inline"
            )


def _check_address(name: str, address: str) -> None:
    if not _ADDRESS.match(address):
        raise InvalidInput(
            f"parameter {name}: {address[:80]!r} is not allowed; give an address like ann@example.com."
        )
