"""The ports of one installation: ten in a row from a base."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass

from addon.cli.failures import Exit, Failure

DEFAULT_BASE = 7080
_HIGHEST_BASE = 65_526
_NOT_ALLOWED = {errno.EACCES, errno.EPERM}
_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Ports:
    """Port base N, and what listens on N to N+9."""

    base: int

    @property
    def platform(self) -> int:
        """Platform API and log streams, HTTP."""
        return self.base

    @property
    def git(self) -> int:
        """Git and Platform API, TLS."""
        return self.base + 1

    @property
    def router(self) -> int:
        """The apps, HTTP."""
        return self.base + 2

    @property
    def rendezvous(self) -> int:
        """Kept for attached one-off dynos, TLS."""
        return self.base + 3

    @property
    def addon(self) -> int:
        """The add-on, HTTP."""
        return self.base + 4

    @property
    def addon_tls(self) -> int:
        """The add-on, TLS: drains and Partner API."""
        return self.base + 5

    @property
    def syslog(self) -> int:
        """Syslog over TCP."""
        return self.base + 6

    @property
    def syslog_tls(self) -> int:
        """Syslog over TLS."""
        return self.base + 7

    @property
    def forward(self) -> int:
        """Fluentd's forward protocol, with a shared key."""
        return self.base + 8

    @property
    def forward_local(self) -> int:
        """The forward protocol without a key, for the local development account."""
        return self.base + 9

    def named(self) -> dict[str, int]:
        """Return every port by what it is for."""
        return {
            "Platform API": self.platform,
            "git (TLS)": self.git,
            "router": self.router,
            "rendezvous (TLS)": self.rendezvous,
            "add-on": self.addon,
            "add-on (TLS)": self.addon_tls,
            "syslog": self.syslog,
            "syslog (TLS)": self.syslog_tls,
            "forward": self.forward,
            "forward (local)": self.forward_local,
        }

    def taken(self) -> dict[str, int]:
        """Return those ports that something listens on already."""
        return {name: port for name, port in self.named().items() if not is_free(port)}

    def require_valid(self) -> None:
        """Check that there are such ports, and that this process may listen on them.

        Raises:
            Failure: there are not, or it may not.
        """
        if not 1 <= self.base <= _HIGHEST_BASE:
            why = f"a base must leave room for ten ports: 1 to {_HIGHEST_BASE}"
            raise Failure(
                f"Port base {self.base} is out of range", why, "Give another --port-base.", Exit.USAGE
            )
        for name, port in self.named().items():
            if _probe(port) in _NOT_ALLOWED:
                raise Failure(
                    f"Port {port} is not for this user",
                    f"the {name} would listen on it, and ports this low are kept for root",
                    f"Give a higher --port-base, for example {DEFAULT_BASE}.",
                    Exit.USAGE,
                )

    def require_free(self) -> None:
        """Check that all ten can be listened on.

        Raises:
            Failure: one cannot; it is named.
        """
        self.require_valid()
        for name, port in self.taken().items():
            raise Failure(
                f"Port {port} is in use",
                f"the {name} listens on it, and another program has it already",
                f"Stop that program (ss -ltnp 'sport = :{port}' shows it), or: sluice up --port-base "
                f"{suggest_base(self.base)}",
            )


def is_free(port: int) -> bool:
    """Tell whether this process could listen on a loopback port now."""
    return _probe(port) is None


def _probe(port: int) -> int | None:
    """Return the error number of trying to listen; None when it works."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_LOOPBACK, port))
            probe.listen(1)
        except OSError as error:
            return error.errno
    return None


def suggest_base(above: int) -> int:
    """Return the next base, in steps of ten, whose ten ports are free now."""
    for base in range(above + 10, _HIGHEST_BASE, 10):
        if not Ports(base).taken():
            return base
    raise Failure("No free ports", "no ten ports in a row are free", "Stop some programs first.")
