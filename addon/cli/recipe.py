"""The recipe: the environment in which every client finds this installation.

What the ``heroku`` CLI needs was found out by running it: the API only under the host names ``localhost`` and
``127.0.0.1`` (it sends its key nowhere else), git only over TLS.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from addon.cli.ports import Ports


@dataclass(frozen=True, slots=True)
class Provider:
    """What the add-on's ``init`` hands over: its side of the Partner API, and a local account's API key."""

    user: str
    password: str
    sso_salt: str
    td_api_key: str
    forward_key: str = ""
    """The local account's shared key for the forward protocol."""


def recipe(home: Path, ports: Ports, ca_file: Path, owner_key: str, provider: Provider) -> dict[str, str]:
    """Return every variable of the recipe."""
    platform = f"http://localhost:{ports.platform}"
    addon = f"http://127.0.0.1:{ports.addon}"
    return {
        "SLUICE_HOME": str(home),
        "HEROKU_HOST": platform,
        "HEROKU_GIT_HOST": f"localhost:{ports.git}",
        "HEROKU_PARTICLEBOARD_URL": platform,
        "HEROKU_DATA_HOST": "localhost",
        "HEROKU_LOGIN_HOST": platform,
        "HEROKU_API_KEY": owner_key,
        "DISABLE_TELEMETRY": "true",
        "HEROKU_SKIP_NEW_VERSION_CHECK": "true",
        "HEROKU_DISABLE_AUTOUPDATE": "1",
        "HEROKU_NOTIFICATIONS": "0",
        "NODE_EXTRA_CA_CERTS": str(ca_file),
        "GIT_SSL_CAINFO": str(ca_file),
        "TD_API_SERVER": addon,
        "TD_API_KEY": provider.td_api_key,
        "TD_PRESTO_API": addon,
        "TREASURE_DATA_API_SERVER": addon,
        "TREASURE_DATA_API_KEY": provider.td_api_key,
        "SLUICE_API_URL": addon,
        "SLUICE_INGEST_URL": addon,
        "SLUICE_SYSLOG_URL": f"syslog://127.0.0.1:{ports.syslog}",
        "SLUICE_SYSLOG_TLS_URL": f"syslog+tls://localhost:{ports.syslog_tls}",
        "SLUICE_FORWARD_URL": f"tcp://127.0.0.1:{ports.forward}",
        "SLUICE_FORWARD_USER": provider.td_api_key.partition("/")[0],
        "SLUICE_FORWARD_KEY": provider.forward_key,
        "SLUICE_FORWARD_LOCAL_URL": f"tcp://127.0.0.1:{ports.forward_local}",
        "SLUICE_TRINO_URL": addon,
        "SLUICE_CONSOLE_URL": f"{addon}/",
        "SLUICE_ROUTER_URL": f"http://127.0.0.1:{ports.router}",
        "SLUICE_PLATFORM_URL": platform,
        "SLUICE_PLATFORM_TOKEN": owner_key,
        "SLUICE_ADDON_URL": addon,
        "SLUICE_ADDON_USER": provider.user,
        "SLUICE_ADDON_PASSWORD": provider.password,
        "SLUICE_SSO_SALT": provider.sso_salt,
    }


def to_shell(variables: dict[str, str]) -> str:
    """Write variables as a file that a POSIX shell evaluates."""
    lines = (f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
    return (
        "# Written by `sluice up`. Use it with:  . env.sh   It holds keys: keep it to yourself.\n"
        + "".join(lines)
    )


def from_shell(text: str) -> dict[str, str]:
    """Read variables back from what `to_shell` wrote."""
    words = (shlex.split(line, comments=True) for line in text.splitlines())
    pairs = (word.partition("=") for line in words for word in line[1:] if line[0] == "export")
    return {name: value for name, _, value in pairs}
