"""How the two programs are called: their command lines, and the add-on's ``init``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from addon.cli.failures import Failure
from addon.cli.home import OWNER_EMAIL, Home, write_private_json
from addon.cli.recipe import Provider

if TYPE_CHECKING:
    from addon.cli.certificates import Certificates
    from addon.cli.ports import Ports

SERVICE = "sluice"
_INIT_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Installation:
    """What both programs must be told."""

    home: Home
    ports: Ports
    certificates: Certificates

    def platform_argv(self) -> list[str]:
        """Return the platform's command line.

        The owner's key goes by the environment: a command line is there for every user to read.
        """
        return [
            *(sys.executable, "-m", "platform_core", "serve"),
            *("--home", str(self.home.root), "--port-base", str(self.ports.base)),
            *("--tls-cert", str(self.certificates.cert), "--tls-key", str(self.certificates.key)),
            *("--ca-file", str(self.certificates.ca), "--manifests", str(self.home.manifests)),
        ]

    def platform_env(self) -> dict[str, str]:
        """Return the platform's environment."""
        return os.environ | {
            "SLUICE_PLATFORM_OWNER_EMAIL": OWNER_EMAIL,
            "SLUICE_PLATFORM_OWNER_KEY": self.home.owner_key(),
            "SLUICE_PLATFORM_DYNO_SERVICES": f"127.0.0.1:{self.ports.addon}",
        }

    def addon_argv(self) -> list[str]:
        """Return the add-on's command line, all roles in one process."""
        return [
            *(sys.executable, "-m", "addon", "serve", "--role", "ingest,api,worker"),
            *("--home", str(self.home.root), "--port-base", str(self.ports.base)),
            *("--tls-cert", str(self.certificates.cert), "--tls-key", str(self.certificates.key)),
        ]

    def addon_env(self) -> dict[str, str]:
        """Return the add-on's environment: a development machine takes forward senders without a key."""
        return {"SLUICE_ADDON_FORWARD_LOCAL": "true", **os.environ}

    def init_addon(self) -> Provider:
        """Let the add-on set itself up; give its manifest to the platform.

        Raises:
            Failure: it could not.
        """
        argv = [
            *(sys.executable, "-m", "addon", "init"),
            *("--home", str(self.home.root), "--port-base", str(self.ports.base)),
        ]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_INIT_SECONDS, check=False)
        if done.returncode != 0:
            raise Failure(
                "The add-on could not set itself up", done.stderr[-2000:], "Mend that, then run it again."
            )
        answer: dict[str, Any] = json.loads(done.stdout)
        write_private_json(self.home.manifests / f"{SERVICE}.json", answer["manifest"])
        return Provider(
            user=answer["provider_user"],
            password=answer["provider_password"],
            sso_salt=answer["sso_salt"],
            td_api_key=answer["td_api_key"],
            forward_key=answer["forward_key"],
        )
