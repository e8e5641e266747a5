"""Tables of the warehouse: their logs, and every file that a log names, byte by byte.

A data file's name ends in the first digits of its SHA-256, so nothing else must be remembered to know
whether its bytes are still the ones that were written.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from addon.models.tables import TableRef
from addon.upkeep.delta_replay import Active, BrokenLogError, LogVersion, replay
from addon.upkeep.findings import Report, Severity
from platform_core.base.errors import NotFound, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from addon.models.objects import ObjectStore

_DIGEST = re.compile(r"-([0-9a-f]{16})\.parquet$")
_FLUSHED = re.compile(r"(.+)-(\d{20})-[0-9a-f]{16}\.parquet")
_FROM_BACKUP = (
    "Copy the file of this name from a backup: its name holds its hash, so any copy is the right one."
)


@dataclass(slots=True)
class Tables:
    """The tables that were found, with their newest versions."""

    versions: dict[TableRef, LogVersion] = field(default_factory=dict)


def prefixes(objects: ObjectStore) -> dict[str, int]:
    """Return the folder of every table that has a log, with how many objects are in it."""
    found: dict[str, int] = {}
    logs = set()
    for info in objects.list(""):
        parts = info.key.split("/")
        prefix = "/".join(parts[:3])
        found[prefix] = found.get(prefix, 0) + 1
        if parts[3:4] == ["_delta_log"]:
            logs.add(prefix)
    return {prefix: number for prefix, number in found.items() if prefix in logs}


def ref_of(prefix: str) -> TableRef | None:
    """Return the table that a folder belongs to; None for a folder of another shape."""
    account, _, rest = prefix.partition("/")
    database, _, table = rest.partition("/")
    return TableRef(int(account), database, table) if account.isdigit() and database and table else None


def check_tables(objects: ObjectStore, report: Report, *, quick: bool) -> Tables:
    """Check every table's log and files; ``quick`` leaves out reading the files."""
    tables = Tables()
    for prefix in prefixes(objects):
        ref = ref_of(prefix)
        if ref is None:
            report.add(Severity.WARNING, f"warehouse/{prefix}", "this is no table's folder", "Move it away.")
            continue
        version = _check_table(objects, prefix, report, quick=quick)
        if version is not None:
            tables.versions[ref] = version
    return tables


def _check_table(objects: ObjectStore, prefix: str, report: Report, *, quick: bool) -> LogVersion | None:
    where = f"warehouse/{prefix}"
    report.count("tables")
    try:
        state = replay(objects, prefix)
        damaged = _check_files(objects, prefix, state.active.values(), quick=quick)
        if damaged:  # it may have been merged away, and even dropped, while we read
            state = replay(objects, prefix)
            damaged = [(name, why) for name, why in damaged if name in state.active]
    except BrokenLogError as error:
        if not any(True for _ in objects.list(prefix)):
            return None  # dropped meanwhile
        report.error(f"{where}/_delta_log/{error.name}", str(error), _FROM_BACKUP)
        return None
    report.count("data files", len(state.active))
    for name in _forgotten(objects, prefix, state):
        report.error(
            f"{where}/{name}",
            "its segment was committed, and the log does not name it",
            "A log entry has changed: compare the files in _delta_log with a backup's.",
        )
    for name, why in damaged:
        report.error(f"{where}/{name}", why, _FROM_BACKUP)
    return state


def _forgotten(objects: ObjectStore, prefix: str, state: LogVersion) -> list[str]:
    """Return the files of committed segments that are neither in the version nor merged into others."""
    names = [info.key.rpartition("/")[2] for info in objects.list(prefix)]
    return [
        name
        for name in names
        if (found := _FLUSHED.fullmatch(name))
        and int(found[2]) <= state.transactions.get(found[1], -1)
        and name not in state.active
        and name not in state.removed
    ]


def _check_files(
    objects: ObjectStore, prefix: str, files: Iterable[Active], *, quick: bool
) -> Sequence[tuple[str, str]]:
    found = {info.key.rpartition("/")[2]: info.size for info in objects.list(prefix)}
    damaged = []
    for file in files:
        if file.name not in found:
            damaged.append((file.name, "it is gone; the log names it"))
        elif found[file.name] != file.size:
            damaged.append((file.name, f"it has {found[file.name]} bytes; the log says {file.size}"))
        elif not quick and (why := _unlike(objects, f"{prefix}/{file.name}", file)):
            damaged.append((file.name, why))
    return damaged


def _unlike(objects: ObjectStore, key: str, file: Active) -> str:
    """Return in what a file's bytes differ from what its name and the log say; empty when in nothing."""
    try:
        with objects.lease() as lease:
            path = objects.path(key)
            lease.fetch([path])
            return _unlike_file(path, file)
    except (NotFound, FileNotFoundError):
        return "it is gone; the log names it"
    except Unavailable as error:  # the store compared it with its name, and says so
        return error.message


def _unlike_file(path: Path, file: Active) -> str:
    digest = _DIGEST.search(file.name)
    with path.open("rb") as data:
        actual = hashlib.file_digest(data, "sha256").hexdigest()
    if digest is not None and not actual.startswith(digest[1]):
        return f"its bytes have the hash {actual[:16]}, not the one in its name: they have changed"
    try:
        parquet = pq.ParquetFile(path, page_checksum_verification=True)
        rows = parquet.metadata.num_rows
        if digest is None:  # written before names held hashes: read it all, its pages have checksums
            for _ in parquet.iter_batches():
                pass
    except (OSError, ValueError) as error:
        return f"it cannot be read: {error}"
    if file.rows is not None and rows != file.rows:
        return f"it has {rows} rows; the log says {file.rows}"
    return ""
