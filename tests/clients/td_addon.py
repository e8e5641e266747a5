"""A real add-on process for client tests, and how to reach it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import tdclient
import trustme

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Running:
    """A running add-on."""

    url: str
    keys: dict[str, Any]
    process: subprocess.Popen[str]
    authority: Path
    """The certificate of the CA that signed the TLS listener's."""

    def client(self, key: str | None = None) -> tdclient.Client:
        """A real client."""
        return tdclient.Client(
            apikey=key or self.keys["td_api_key"], endpoint=self.url, retry_post_requests=False
        )

    def http(self) -> httpx.Client:
        """A plain client with the local account's key."""
        return httpx.Client(
            base_url=self.url, headers={"authorization": f"TD1 {self.keys['td_api_key']}"}, timeout=60
        )

    def platform(self) -> httpx.Client:
        """A plain client with the platform's credentials."""
        auth = (self.keys["provider_user"], self.keys["provider_password"])
        return httpx.Client(base_url=self.url, auth=auth, timeout=60)


def start(home: Path, base: int) -> Running:
    common = ["--home", str(home), "--port-base", str(base)]
    made = subprocess.run(
        [sys.executable, "-m", "addon", "init", *common],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    authority, certificate, key = (home / name for name in ("ca.pem", "cert.pem", "key.pem"))
    ca = trustme.CA()
    issued = ca.issue_cert("localhost", "127.0.0.1")
    ca.cert_pem.write_to_path(authority)
    issued.private_key_pem.write_to_path(key)
    certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    tls = ["--tls-cert", str(certificate), "--tls-key", str(key)]
    process = subprocess.Popen(
        [sys.executable, "-m", "addon", "serve", *common, *tls, "--role", "ingest,api,worker"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return Running(f"http://127.0.0.1:{base + 4}", json.loads(made.stdout), process, authority)


def stop(running: Running) -> float:
    """Stop with SIGTERM; return the seconds it took."""
    began = time.monotonic()
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(timeout=10) == 0
    assert running.process.stdout is not None
    running.process.stdout.close()
    return time.monotonic() - began
