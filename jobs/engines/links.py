"""Addresses of a pinned table's files that whoever reads them can use without credentials of their own."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from jobs.contracts.errors import InputError
from jobs.engines.ranged import download

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jobs.contracts.pinned import PinnedFile

VALID_FOR = timedelta(hours=12)
"""How long a signed address works; one run must end within it."""


def readable(files: Sequence[PinnedFile]) -> list[tuple[str, int, str]]:
    """Return (name, bytes, address) of each file, with `s3://` addresses signed for some hours.

    The store is the one that the AWS environment variables describe (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT`, …).

    Raises:
        InputError: an address cannot be signed.
    """
    signed = _signed([file.link for file in files if file.link.startswith("s3://")])
    return [(file.name, file.size, signed.get(file.link, file.link)) for file in files]


def _signed(links: Sequence[str]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for bucket in sorted({urlsplit(link).netloc for link in links}):
        keys = {
            link: unquote(urlsplit(link).path.lstrip("/"))
            for link in links
            if urlsplit(link).netloc == bucket
        }
        try:
            urls = obstore.sign(S3Store(bucket), "GET", list(keys.values()), VALID_FOR)
        except (BaseError, ValueError) as error:
            raise InputError(
                f"the addresses of bucket {bucket} cannot be signed ({type(error).__name__}):"
                " set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, and AWS_ENDPOINT for a store"
            ) from error
        found |= dict(zip(keys, urls, strict=True))
    return found


def local(link: str) -> Path | None:
    """Return the path of a `file://` address."""
    address = urlsplit(link)
    return Path(unquote(address.path)) if address.scheme == "file" else None


def fetched(files: Sequence[PinnedFile], folder: Path) -> list[Path]:
    """Return each file on this machine, the remote ones fetched into `folder`.

    Raises:
        InputError: one cannot be had.
    """
    paths = []
    for number, (name, size, link) in enumerate(readable(files)):
        path = local(link)
        if path is None:
            path = folder / f"{number}.parquet"
            try:
                with path.open("wb") as target:
                    download(name, size, link, target)
            except OSError as error:
                raise InputError(str(error)) from error
        elif not path.is_file():
            raise InputError(f"no such file: {path}")
        paths.append(path)
    return paths
