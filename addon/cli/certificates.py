"""A local certificate authority, and one certificate for this machine's own name."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from addon.cli.home import write_private

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Certificates:
    """Where the PEM files are."""

    ca: Path
    cert: Path
    key: Path


def ensure_certificates(folder: Path) -> Certificates:
    """Return the certificates in ``folder``, making a new set when it has none that fit together.

    The authority's own key is thrown away: nobody can issue a second certificate that clients of this home
    would trust.
    """
    files = Certificates(folder / "ca.pem", folder / "cert.pem", folder / "key.pem")
    if not _usable(files):
        _issue(files)
    return files


def _usable(files: Certificates) -> bool:
    try:
        ssl.create_default_context(cafile=files.ca)
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(files.cert, files.key)
    except (OSError, ssl.SSLError):
        return False
    return True


def _issue(files: Certificates) -> None:
    import trustme  # noqa: PLC0415  # brings in the cryptography package; only a first start needs it

    authority = trustme.CA(organization_name="Sluice local authority")
    leaf = authority.issue_cert(*NAMES, organization_name="Sluice")
    write_private(files.key, leaf.private_key_pem.bytes().decode())
    write_private(files.cert, "".join(blob.bytes().decode() for blob in leaf.cert_chain_pems))
    write_private(files.ca, authority.cert_pem.bytes().decode())
