"""The add-on's settings: variables ``SLUICE_ADDON_*`` and the command line."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from addon.schedules.deliveries.mail import SECURITIES, SmtpServer
from addon.warehouse.objects.opened import CACHE_BYTES, StoreSettings
from platform_core.base.database import database_url
from platform_core.base.errors import InvalidInput
from platform_core.base.settings import load_settings

PREFIX = "SLUICE_ADDON"
ROLES = frozenset({"ingest", "api", "worker"})
_HTTP_OFFSET, _TLS_OFFSET = 4, 5
_SYSLOG_OFFSET, _SYSLOG_TLS_OFFSET, _FORWARD_OFFSET, _FORWARD_LOCAL_OFFSET = 6, 7, 8, 9


@dataclass(frozen=True, slots=True)
class Settings:
    """``SLUICE_ADDON_*`` variables; the command line wins over them."""

    home: Path
    port_base: int = 7080
    role: str = "ingest,api,worker"
    tls_cert: Path | None = None
    tls_key: Path | None = None
    database_url: str | None = None
    """PostgreSQL for a fleet; SQLite in the home folder by default."""
    shared_folder: Path | None = None
    """On a file system that all nodes see: results, analyses, and the tables unless ``store_url`` is set."""
    host: str = "127.0.0.1"
    """The address to listen on."""
    node_url: str | None = None
    """Where the other nodes of a fleet reach this one; the HTTP listener on 127.0.0.1 by default."""
    public_url: str | None = None
    """Where customers' clients reach the API; the HTTP listener on 127.0.0.1 by default."""
    refuse_stale: bool = False
    """Whether a query fails, instead of being answered with a warning, while a node is away."""
    query_threads: int = 2
    job_slots: int = 4
    history_hours: float = 24.0
    """How long a version of a table can be read after another has taken its place."""
    sandbox_driver: str | None = None
    docs_url: str = "https://localhost/docs"
    store_url: str | None = None
    """Where the tables are: ``file:///folder`` or ``s3://bucket/prefix``; the home folder by default."""
    store_endpoint: str | None = None
    store_region: str | None = None
    store_access_key: str | None = field(default=None, repr=False)
    store_secret_key: str | None = field(default=None, repr=False)
    store_allow_http: bool = False
    store_cache_bytes: int = CACHE_BYTES
    trusted_proxies: str = ""
    """Addresses and networks, comma-separated, whose X-Forwarded-For the event collectors believe."""
    smtp_host: str | None = None
    """The mail server for reports; without it, each delivery by mail names its own."""
    smtp_port: int = 587
    smtp_security: str = "starttls"
    """``starttls``, ``tls`` from the first byte, or ``none``."""
    smtp_user: str | None = None
    smtp_password: str | None = field(default=None, repr=False)
    smtp_from: str | None = None
    """The address that reports come from."""
    smtp_ca_file: str | None = None
    """Authorities to trust for mail servers, PEM; the system's by default."""
    smtp_domains: str = ""
    """Domains, comma-separated, that mails by the service's server may go to; any by default."""
    egress_allow: str = ""
    """Origins, comma-separated, that deliveries may reach though they are not public or on another port."""
    receivers: bool = True
    """Whether syslog and the forward protocol are served."""
    forward_local: bool = False
    """Whether forward senders without a key are taken too, on a port of their own, for the local account."""

    @property
    def folder(self) -> Path:
        """The add-on's own folder."""
        return self.home / "addon"

    @property
    def http_port(self) -> int:
        """Where everything is served without TLS."""
        return self.port_base + _HTTP_OFFSET

    @property
    def tls_port(self) -> int:
        """Where everything is served with TLS."""
        return self.port_base + _TLS_OFFSET

    @property
    def syslog_port(self) -> int:
        """Where syslog is taken over plain TCP."""
        return self.port_base + _SYSLOG_OFFSET

    @property
    def syslog_tls_port(self) -> int:
        """Where syslog is taken over TLS."""
        return self.port_base + _SYSLOG_TLS_OFFSET

    @property
    def forward_port(self) -> int:
        """Where the forward protocol is taken, with a shared key."""
        return self.port_base + _FORWARD_OFFSET

    @property
    def forward_local_port(self) -> int:
        """Where the forward protocol is taken without a key, for the local account."""
        return self.port_base + _FORWARD_LOCAL_OFFSET

    def store(self) -> StoreSettings:
        """Return where the warehouse's files are."""
        url = self.store_url
        if url is None and self.shared_folder is not None:
            url = (self.shared_folder.absolute() / "warehouse").as_uri()
        return StoreSettings(
            url,
            self.store_endpoint,
            self.store_region,
            self.store_access_key,
            self.store_secret_key,
            self.store_allow_http,
            self.store_cache_bytes,
        )

    def smtp(self) -> SmtpServer | None:
        """Return the mail server for reports, None without one.

        Raises:
            InvalidInput: what is set does not go together.
        """
        if self.smtp_host is None:
            return None
        if self.smtp_security not in SECURITIES:
            raise InvalidInput(
                f"SLUICE_ADDON_SMTP_SECURITY={self.smtp_security!r} is not known.",
                hint=f"Use one of {', '.join(SECURITIES)}.",
            )
        if self.smtp_from is None:
            raise InvalidInput(
                "SLUICE_ADDON_SMTP_HOST is set, but not who mails come from.",
                hint="Set SLUICE_ADDON_SMTP_FROM to an address.",
            )
        return SmtpServer(
            self.smtp_host,
            self.smtp_port,
            self.smtp_security,
            self.smtp_user,
            self.smtp_password,
            self.smtp_from,
        )

    def roles(self) -> frozenset[str]:
        """Return the roles of this process.

        Raises:
            InvalidInput: one is unknown, or the combination cannot work.
        """
        chosen = frozenset(part.strip() for part in self.role.split(",") if part.strip())
        if not chosen or chosen - ROLES:
            raise InvalidInput(
                f"The roles {self.role!r} are not valid.", hint="Choose from ingest, api and worker."
            )
        if chosen == ROLES:
            return chosen
        if self.database_url is None or database_url(self.database_url).get_backend_name() == "sqlite":
            raise InvalidInput(
                "Processes with roles apart need a database that they share: SQLite is one process's.",
                hint="Set SLUICE_ADDON_DATABASE_URL=postgresql://…, or use --role ingest,api,worker.",
            )
        if self.shared_folder is None:
            raise InvalidInput(
                "Processes with roles apart need a folder that they share, for tables and results.",
                hint="Set SLUICE_ADDON_SHARED_FOLDER to one folder for all of them.",
            )
        return chosen

    @property
    def shared(self) -> Path:
        """Where results and analyses are, and the tables by default."""
        return self.shared_folder or self.folder

    @property
    def own_url(self) -> str:
        """Where this process's HTTP listener is reached."""
        return (self.node_url or f"http://127.0.0.1:{self.http_port}").rstrip("/")


def settings_from(environ_overrides: dict[str, Any]) -> Settings:
    """Read the settings; ``environ_overrides`` are the command line's."""
    return load_settings(Settings, PREFIX, **environ_overrides)
