"""Reports as files in an object store: a bucket of the customer's, or the account's folder for exports."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import LocalStore, S3Store

from addon.schedules.deliveries.egress import Origin, origin_of
from addon.schedules.deliveries.port import NotDelivered, Refused, settings_as
from jobs.contracts.parameters import choice, listing, optional, parameter, text
from platform_core.base.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from obstore.store import ObjectStore

    from addon.schedules.deliveries.egress import Egress
    from addon.schedules.deliveries.port import Parcel

_SCHEMES = ("https", "http")
_KINDS = ("html", "json", "charts", "tables")
_BUCKET = re.compile(r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")
_PREFIX = re.compile(r"^[A-Za-z0-9_=-][A-Za-z0-9_=.-]*(?:/[A-Za-z0-9_=-][A-Za-z0-9_=.-]*)*$")
_REGION = re.compile(r"^[a-z0-9-]{1,40}$")
_AMAZON = "us-east-1"
_REQUEST_S, _RETRY_S = 60, 60
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".parquet": "application/vnd.apache.parquet",
}


@dataclass(frozen=True, slots=True, repr=False)  # it holds secrets
class FileSettings:
    """What a delivery of the type ``file`` takes."""

    bucket: str | None = parameter(
        None, optional(text()), "an S3 bucket; the account's folder for exports when null"
    )
    prefix: str = parameter("reports", text(), "the folder within it")
    endpoint: str | None = parameter(None, optional(text()), "of an S3-compatible store; Amazon's when null")
    region: str = parameter(_AMAZON, text(), "the bucket's region")
    access_key: str | None = parameter(None, optional(text()), "the credentials' id")
    secret_key: str | None = parameter(None, optional(text()), "the credentials' secret")
    files: tuple[str, ...] = parameter(
        _KINDS, listing(choice(*_KINDS), low=1, unique=True), "which files are written"
    )

    def __post_init__(self) -> None:
        """Check what the fields cannot check alone."""
        if not _PREFIX.match(self.prefix):
            raise InvalidInput(
                f"parameter prefix: {self.prefix[:80]!r} is not allowed; give parts of A-Z, a-z, 0-9, _, =, -"
                " and inner dots, joined by /."
            )
        if self.bucket is None:
            if self.endpoint or self.access_key or self.secret_key:
                raise InvalidInput("parameters endpoint, access_key and secret_key go with a bucket.")
            return
        if not _BUCKET.match(self.bucket) or ".." in self.bucket:
            raise InvalidInput(f"parameter bucket: {self.bucket[:80]!r} is not allowed; give its name.")
        if not _REGION.match(self.region):
            raise InvalidInput(f"parameter region: {self.region[:40]!r} is not allowed; give its name.")
        if not (self.access_key and self.secret_key):
            raise InvalidInput("parameters access_key and secret_key are required with a bucket.")
        if self.endpoint is not None:
            origin_of(self.endpoint, _SCHEMES, name="endpoint")

    def origin(self) -> Origin:
        """Return the store that requests go to."""
        return origin_of(
            self.endpoint or f"https://s3.{self.region}.amazonaws.com", _SCHEMES, name="endpoint"
        )


class FileDelivery:
    """Writes ``PREFIX/REPORT/DATE-run-N/…``; a repeat writes the same objects again, ``report.json`` last."""

    type: ClassVar[str] = "file"
    secrets: ClassVar[frozenset[str]] = frozenset({"secret_key"})

    def __init__(self, egress: Egress, exports: Path) -> None:
        """Write below ``exports``, one folder per account, where a delivery names no bucket."""
        self._egress = egress
        self._exports = exports

    def check(self, settings: Mapping[str, Any]) -> None:
        """Check settings."""
        settings_as(FileSettings, settings)

    def target(self, settings: Mapping[str, Any]) -> str:
        """Return bucket and folder."""
        asked = settings_as(FileSettings, settings)
        return f"exports/{asked.prefix}" if asked.bucket is None else f"s3://{asked.bucket}/{asked.prefix}"

    async def deliver(self, parcel: Parcel, settings: Mapping[str, Any]) -> None:
        """Write the files."""
        asked = settings_as(FileSettings, settings)
        if asked.bucket is not None:
            await self._egress.address(asked.origin())
        await asyncio.to_thread(self._write, parcel, asked)

    def _write(self, parcel: Parcel, asked: FileSettings) -> None:
        try:
            store = self._store(parcel, asked)
            for name, file in chosen_files(parcel.folder, asked.files):
                kind = {"Content-Type": _TYPES.get(file.suffix, "application/octet-stream")}
                local = asked.bucket is None
                path = f"{asked.prefix}/{folder_of(parcel)}/{name}"
                obstore.put(store, path, file, attributes=None if local else kind)
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise Refused(f"The store at {self.target_of(asked)} refuses the credentials.") from error
        except (BaseError, OSError) as error:
            # What the library says may hold the request, and with it a signature.
            raise NotDelivered(
                f"Writing to {self.target_of(asked)} failed: {type(error).__name__}."
            ) from error

    @staticmethod
    def target_of(asked: FileSettings) -> str:
        """Return the store in words."""
        return "the folder for exports" if asked.bucket is None else f"{asked.origin()} ({asked.bucket})"

    def _store(self, parcel: Parcel, asked: FileSettings) -> ObjectStore:
        if asked.bucket is None:
            folder = self._exports / str(parcel.account.id)
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            return LocalStore(folder)
        origin = asked.origin()
        return S3Store(
            asked.bucket,
            endpoint=asked.endpoint,
            region=asked.region,
            access_key_id=asked.access_key,
            secret_access_key=asked.secret_key,
            virtual_hosted_style_request=False,
            client_options={"allow_http": origin.scheme == "http", "timeout": timedelta(seconds=_REQUEST_S)},
            retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=_RETRY_S)},
        )


def folder_of(parcel: Parcel) -> str:
    """Return the run's folder: ``daily/2026-11-25-run-12``, by the slot's UTC day."""
    day = datetime.fromtimestamp(parcel.run.slot, UTC).strftime("%Y-%m-%d")
    return f"{parcel.run.report}/{day}-run-{parcel.run.id}"


def chosen_files(folder: Path, kinds: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    """Yield names and files of a run; ``report.json`` comes last and says that the others are there."""
    if "tables" in kinds:
        yield from ((f"tables/{file.name}", file) for file in sorted((folder / "tables").iterdir()))
    if "charts" in kinds:
        yield from ((file.name, file) for file in sorted(folder.glob("chart-*.png")))
    for kind in ("html", "json"):
        if kind in kinds:
            yield f"report.{kind}", folder / f"report.{kind}"
