"""Objects in a bucket of an S3-compatible store, read through a cache on the local disk.

Everything that must happen once rests on the conditional put (``If-None-Match: *``), so a store that does not
honour it is refused at the start: two writers would silently lose each other's commits.
"""

from __future__ import annotations

import re
import uuid
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import S3Store

from addon.models.objects import DeltaLocation, ObjectInfo
from addon.warehouse.objects.cache import CacheLease, FileCache
from platform_core.base.errors import InvalidInput, NotFound, OutOfSpace, SluiceError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

_CONNECT_S, _REQUEST_S, _RETRY_S = 5, 120, 30
_RETRIES = 4
_TIDY_S = 900.0
_CHUNK = 4 << 20
_MAX_SIGNED_S = 7 * 86_400.0
_HINT = "Retry after 5 seconds."
_FULL = re.compile(r"\b507\b|StorageFull|InsufficientStorage|QuotaExceeded|No space left")
_REMOTE = re.compile(r"Generic S3 error|HTTP error|error sending request|Server returned")
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")
_CUT = re.compile(r"\s*(?:: <\?xml|<Error>|\n\nDebug source).*", re.DOTALL)
_ORNAMENT = re.compile(r"\x1b\[\d+m|↳")
_LOG = "/_delta_log/"


@dataclass(frozen=True, slots=True)
class S3Place:
    """A bucket, where in it, and how to get there; None means what the AWS environment variables say."""

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    region: str | None = None
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    allow_http: bool = False

    def config(self) -> dict[str, str]:
        """Return the settings that obstore and delta-rs share, without those that are not given."""
        given = {
            "endpoint": self.endpoint,
            "region": self.region,
            "access_key_id": self.access_key,
            "secret_access_key": self.secret_key,
        }
        return {name: value for name, value in given.items() if value is not None}


class S3Objects:
    """The objects below one prefix of a bucket; implements ``ObjectStore``."""

    def __init__(self, place: S3Place, cache: Path, cache_bytes: int) -> None:
        """Take the bucket, and a folder and its size in bytes for the files being read.

        Nothing is asked of the store before :meth:`check`.
        """
        self._place = place
        self._prefix = place.prefix.strip("/")
        self._bulk, self._tidied = True, monotonic()
        self._store = self._client()
        self._cache = FileCache(cache, cache_bytes, self._download)

    def _client(self) -> S3Store:
        place = self._place
        return S3Store(
            place.bucket,
            prefix=self._prefix or None,
            disable_bulk_delete=not self._bulk,
            **place.config(),  # type: ignore[arg-type]
            client_options={
                "allow_http": place.allow_http,
                "connect_timeout": timedelta(seconds=_CONNECT_S),
                "timeout": timedelta(seconds=_REQUEST_S),
                "read_timeout": timedelta(seconds=_RETRY_S),
            },
            retry_config={"max_retries": _RETRIES, "retry_timeout": timedelta(seconds=_RETRY_S)},
        )

    def check(self) -> None:
        """Make sure that the store is there and keeps its word about conditional puts.

        Raises:
            InvalidInput: it overwrote an object that it was asked not to overwrite, or cannot be asked.
            Unavailable: it cannot be reached.
        """
        key = f".probe/{uuid.uuid4().hex}"
        try:
            first, second = self.create(key, b"1"), self.create(key, b"2")
            self._find_way_to_delete(key)
        except NotFound as error:
            raise InvalidInput(
                f"There is no bucket {self._place.bucket!r} in the object store.", hint="Create it first."
            ) from error
        if not first or second:
            raise InvalidInput(
                "The object store does not honour If-None-Match: it overwrote an object that it was asked"
                " to keep. Two writers would lose each other's rows.",
                hint="Use an S3-compatible store with conditional writes, or a local folder.",
            )

    def _find_way_to_delete(self, key: str) -> None:
        """Delete an object; one by one from now on where the store knows no other way."""
        try:
            self.delete([key])
        except Unavailable:
            self._bulk = False
            self._store = self._client()
            self.delete([key])

    @property
    def root(self) -> Path:
        """The cache's folder."""
        return self._cache.root

    @property
    def scratch(self) -> Path:
        """A private folder beside the cached files."""
        return self._cache.scratch

    def path(self, key: str) -> Path:
        """Return where the object is in the cache, or will be."""
        return self._cache.path(key)

    def lease(self) -> CacheLease:
        """Return a lease on cached files."""
        return CacheLease(self._cache)

    def links(self, paths: Sequence[Path], seconds: float) -> Sequence[str]:
        """Return signed addresses; at most for a week, which is the protocol's limit."""
        keys = [self._cache.key(path) for path in paths]
        with self._asking(keys[0] if keys else ""):
            signed: Sequence[str] = obstore.sign(
                self._store, "GET", keys, timedelta(seconds=min(seconds, _MAX_SIGNED_S))
            )
        return signed

    # Objects
    # ----------------------------------------------------------------------------------------------------

    def put_file(self, key: str, source: Path) -> int:
        """Upload a draft, in parts when it is large; it stays in the cache."""
        size = source.stat().st_size
        with self._asking(key):
            obstore.put(self._store, key, source)
        self._cache.keep(key, source)
        return size

    def create(self, key: str, data: bytes) -> bool:
        """Put under the condition that there is nothing yet."""
        with self._asking(key):
            try:
                obstore.put(self._store, key, data, mode="create", use_multipart=False)
            except AlreadyExistsError:
                return False
        return True

    def put(self, key: str, data: bytes) -> None:
        """Put without a condition."""
        with self._asking(key):
            obstore.put(self._store, key, data, use_multipart=False)

    def get(self, key: str) -> bytes:
        """Return the object's bytes."""
        with self._asking(key):
            return bytes(obstore.get(self._store, key).bytes())

    def _download(self, key: str) -> Iterator[bytes]:
        with self._asking(key):
            for part in obstore.get(self._store, key).stream(min_chunk_size=_CHUNK):
                yield bytes(part)

    def stamp(self, key: str) -> str | None:
        """Return entity tag, size and time."""
        try:
            with self._asking(key):
                found = obstore.head(self._store, key)
        except NotFound:
            return None
        return f"{found['e_tag']}-{found['size']}-{found['last_modified'].timestamp()}"

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """List the bucket, a thousand keys a request."""
        with self._asking(prefix):
            for page in obstore.list(self._store, prefix.rstrip("/") or None):
                for one in page:
                    if not one["path"].startswith("."):
                        yield ObjectInfo(one["path"], one["size"], one["last_modified"].timestamp())

    def delete(self, keys: Iterable[str]) -> None:
        """Delete, a thousand keys a request."""
        gone = list(keys)
        self._cache.discard(gone)
        if gone:
            with self._asking(gone[0]):
                obstore.delete(self._store, gone)

    @property
    def deletes_in_one_step(self) -> bool:
        """Objects are deleted one by one."""
        return False

    def delete_all(self, prefix: str) -> None:
        """Delete what is below the folder, in such an order that no half of a table can be read.

        First the checkpoints and the first log entries, without which nobody can open a log; last of all
        each log's newest entry, for which those who make the table anew wait.
        """
        self._cache.discard_all(prefix)
        keys = [info.key for info in self.list(prefix)]
        newest = {key.rpartition("/")[0]: key for key in keys if _LOG in key and key.endswith(".json")}
        last = set(newest.values())
        begin = [key for key in keys if _is_begin(key)]
        self.delete(key for key in begin if key not in last)
        self.delete(set(keys) - set(begin) - last)
        self.delete(last)

    @contextmanager
    def _asking(self, key: str) -> Iterator[None]:
        """Turn obstore's errors into ours."""
        try:
            yield
        except FileNotFoundError as error:
            raise NotFound(f"There is no object {key}.") from error
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise Unavailable(
                f"The object store refuses the credentials: {_plain(error)}",
                hint="Check SLUICE_ADDON_STORE_ACCESS_KEY and SLUICE_ADDON_STORE_SECRET_KEY.",
            ) from error
        except BaseError as error:
            raise _failure(error) from error

    def tidy(self) -> None:
        """Drop the cached files of tables that others have deleted; looks every quarter of an hour."""
        if monotonic() - self._tidied < _TIDY_S:
            return
        self._tidied = monotonic()
        for folder in self._cache.folders():
            if next(self.list(f"{folder}/_delta_log"), None) is None:
                self._cache.discard_all(folder)

    # Tables
    # ----------------------------------------------------------------------------------------------------

    def location(self, prefix: str) -> DeltaLocation:
        """Return the table's s3:// address and how to get there."""
        where = f"{self._prefix}/{prefix}" if self._prefix else prefix
        return DeltaLocation(f"s3://{self._place.bucket}/{where}", self._options())

    def _options(self) -> Mapping[str, str]:
        return {
            **{f"aws_{name}": value for name, value in self._place.config().items()},
            "aws_disable_bulk_delete": str(not self._bulk).lower(),
            "aws_allow_http": str(self._place.allow_http).lower(),
            "connect_timeout": f"{_CONNECT_S}s",
            "timeout": f"{_RETRY_S}s",
            "max_retries": str(_RETRIES),
            "retry_timeout": f"{_RETRY_S}s",
        }

    def make_table(self, prefix: str) -> None:
        """Do nothing: a bucket has no folders."""

    def sync(self, folder: str, names: Iterable[str]) -> None:
        """Do nothing: an answered put is durable."""

    def checkpoint(self, prefix: str, version: int) -> AbstractContextManager[None]:
        """Do nothing: a checkpoint is there as a whole or not at all."""
        del prefix, version
        return nullcontext()

    def mend_log(self, prefix: str) -> None:
        """Do nothing: an object is there as a whole or not at all."""

    def translated(self, error: Exception) -> Exception:
        """Return an error of the store as ours; another one, such as a lost race, as it is."""
        return _failure(error) if _REMOTE.search(str(error)) else error

    def close(self) -> None:
        """End the threads and leave the cache to others."""
        self._cache.close()


def _is_begin(key: str) -> bool:
    folder, _, name = key.rpartition("/")
    if not folder.endswith("_delta_log"):
        return False
    return "checkpoint" in name or name == f"{0:020d}.json"


def _failure(error: Exception) -> SluiceError:
    text = str(error)
    if _FULL.search(text):
        return OutOfSpace("The object store is full.", hint="Free some room in it.")
    return Unavailable(f"The object store failed: {_plain(error)}", hint=_HINT)


def _plain(error: Exception) -> str:
    """Return an error in one line, without the server's page: some quote the credentials' id in theirs."""
    text = str(error)
    code = _CODE.search(text)
    line = " ".join(_ORNAMENT.sub("", _CUT.sub("", text)).split())
    return f"{line} ({code[1]})" if code else line
