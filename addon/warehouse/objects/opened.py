"""Opens the object store that the settings name."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from addon.warehouse.objects.local import LocalObjects
from addon.warehouse.objects.s3 import S3Objects, S3Place
from platform_core.base.errors import InvalidInput

if TYPE_CHECKING:
    from addon.models.objects import ObjectStore

CACHE_BYTES = 20 << 30


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Where the warehouse is: ``url`` is ``file:///folder`` or ``s3://bucket/prefix``, None for the home."""

    url: str | None = None
    endpoint: str | None = None
    region: str | None = None
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    allow_http: bool = False
    cache_bytes: int = CACHE_BYTES


def open_objects(settings: StoreSettings, home: Path) -> ObjectStore:
    """Return the store, after asking a remote one whether it can be trusted with commits.

    ``home`` is the add-on's own folder: a local warehouse is ``home/warehouse`` by default, and a remote
    one's cache is ``home/object-cache``.

    Raises:
        InvalidInput: the address cannot be used, or the store does not honour conditional puts.
        Unavailable: it cannot be reached.
    """
    if settings.url is None:
        return LocalObjects(home / "warehouse")
    parts = urlsplit(settings.url)
    if parts.scheme == "file" and not parts.netloc and Path(unquote(parts.path)).is_absolute():
        return LocalObjects(Path(unquote(parts.path)))
    if parts.scheme == "s3" and parts.netloc and not parts.query and "@" not in parts.netloc:
        place = _place(settings, parts.netloc, parts.path)
        store = S3Objects(place, home / "object-cache", settings.cache_bytes)
        try:
            store.check()
        except BaseException:
            store.close()
            raise
        return store
    raise InvalidInput(
        "The warehouse's address is not valid.",
        hint="Set SLUICE_ADDON_STORE_URL to file:///folder or s3://bucket/prefix.",
    )


def _place(settings: StoreSettings, bucket: str, prefix: str) -> S3Place:
    return S3Place(
        bucket,
        prefix.strip("/"),
        settings.endpoint,
        settings.region,
        settings.access_key,
        settings.secret_key,
        settings.allow_http,
    )
