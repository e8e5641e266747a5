"""A real SMTP server as a process of its own: aiosmtpd, which keeps each mail as a file, with its envelope.

``smtp_server.py FOLDER [--tls CERT KEY] [--starttls CERT KEY] [--login USER PASSWORD] [--fail CODE N]``
"""

from __future__ import annotations

import argparse
import asyncio
import json
import ssl
import subprocess
import sys
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiosmtpd.smtp import SMTP, AuthResult

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Received:
    """A mail as the server took it."""

    sender: str
    recipients: list[str]
    login: str | None
    secure: bool
    message: EmailMessage


@dataclass(frozen=True)
class SmtpProcess:
    """A running server."""

    port: int
    folder: Path

    def mails(self) -> list[Received]:
        """Return what arrived, in the order of arrival."""
        found = []
        for file in sorted(self.folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns):
            facts = json.loads(file.read_text())
            message = BytesParser(policy=policy.default).parsebytes(file.with_suffix(".eml").read_bytes())
            assert isinstance(message, EmailMessage)
            found.append(Received(**facts, message=message))
        return found


@contextmanager
def smtp_server(folder: Path, *options: str) -> Iterator[SmtpProcess]:
    """Run a server on a free port of the loopback."""
    folder.mkdir(parents=True, exist_ok=True)
    argv = [sys.executable, __file__, str(folder), *options]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            yield SmtpProcess(port, folder)
        finally:
            process.terminate()


class _Keeper:
    """Keeps each mail; the first ``failures`` of them get ``code`` instead."""

    def __init__(self, folder: Path, code: int, failures: int) -> None:
        self._folder = folder
        self._code = code
        self._failures = failures

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802  (aiosmtpd's name)
        if self._failures > 0:
            self._failures -= 1
            return f"{self._code} not now"
        path = self._folder / uuid.uuid4().hex
        path.with_suffix(".eml").write_bytes(envelope.original_content)
        login = session.auth_data.login.decode() if session.auth_data is not None else None
        facts = {
            "sender": envelope.mail_from,
            "recipients": envelope.rcpt_tos,
            "login": login,
            "secure": server.transport.get_extra_info("sslcontext") is not None,
        }
        part = path.with_suffix(".part")
        part.write_text(json.dumps(facts))
        part.replace(path.with_suffix(".json"))
        return "250 kept"


async def _serve(options: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    keeper = _Keeper(options.folder, *map(int, options.fail))

    def check(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        given = [data.login.decode(), data.password.decode()]
        return AuthResult(success=given == options.login, handled=False, auth_data=data)

    def make() -> SMTP:
        return SMTP(
            keeper,
            hostname="localhost",
            authenticator=check if options.login else None,
            auth_required=bool(options.login),
            auth_require_tls=bool(options.starttls),
            tls_context=_context(options.starttls),
            require_starttls=bool(options.starttls),
        )

    server = await loop.create_server(make, "127.0.0.1", 0, ssl=_context(options.tls))
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201  (whoever started us reads it)
    await server.serve_forever()


def _context(files: list[str] | None) -> ssl.SSLContext | None:
    if not files:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    return context


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tls", nargs=2)
    parser.add_argument("--starttls", nargs=2)
    parser.add_argument("--login", nargs=2)
    parser.add_argument("--fail", nargs=2, default=["451", "0"])
    asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    _main()
