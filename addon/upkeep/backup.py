"""``sluice backup``: a consistent copy of a home while its service runs; each backup is whole by itself.

What must agree is taken while the flush is held still: the database, the write-ahead log, the tables'
versions (names of files only). Rows are in the log or in the tables, never in both without the transaction
that says so. The database comes first: in a fleet upload ids are settled when their batch is in the log, so
that a later copy would know ids whose batches the copied log does not have. The data files follow after
that: they never change, and stay for hours after they were replaced. They are linked instead of copied where
they lie on the same file system, or in the backup before.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from fnmatch import fnmatch
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from addon.models.bulk import SESSIONS_FOLDER
from addon.store.transfer import save
from addon.upkeep.delta_replay import LogVersion, replay
from addon.upkeep.log_check import records_of
from addon.upkeep.pause import paused
from addon.upkeep.table_check import prefixes
from addon.warehouse.folders import sync_file, sync_folder
from addon.warehouse.objects.local import LocalObjects
from platform_core.base.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from addon.upkeep.place import Place

MANIFEST = "manifest.json"
VERSION = 1
_PARTIAL = ".partial-"
_ELSEWHERE = frozenset({"addon.db", "wal", "warehouse", "scratch", "spill", "object-cache*", "replay"})
"""Names (patterns) in the add-on's folder that are copied by other means, or not at all."""
_NOT_KEPT = frozenset({"logs", "up.lock", "env.sh", "dynos", "build", "spill", "addon"})
"""Names in the home that say something about running processes only, or are made anew."""


@dataclass(slots=True)
class Backup:
    """A finished backup."""

    folder: Path
    tables: dict[str, dict[str, int]] = field(default_factory=dict)
    """By the table's folder: version, files, rows."""
    batches: int = 0
    """Acknowledged batches in the copied log."""
    linked: int = 0
    copied: int = 0
    """Data files."""
    skipped: list[str] = field(default_factory=list)
    """Tables that were dropped meanwhile."""

    def rows(self) -> int:
        """Return the rows in all tables."""
        return sum(table["rows"] for table in self.tables.values())


def newest(repository: Path) -> Path | None:
    """Return the newest whole backup in a folder of backups."""
    found = [path.parent for path in repository.glob(f"*/{MANIFEST}") if not path.parent.name.startswith(".")]
    return max(found, default=None)


def back_up(place: Place, repository: Path) -> Backup:
    """Make a backup in a new folder below ``repository``, named by the time in UTC.

    Raises:
        OSError: it cannot be written; what was begun is deleted.
    """
    repository.mkdir(parents=True, exist_ok=True, mode=0o700)
    name = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    while (repository / name).exists():
        name += "x"  # a second one within the second; the order by name stays
    before = newest(repository)
    draft = repository / f"{_PARTIAL}{name}"
    draft.mkdir(mode=0o700)
    try:
        done = _Copier(place, draft, before).run()
        _write_manifest(draft, done)
        draft.rename(repository / name)
        sync_folder(repository)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    done.folder = repository / name
    return done


class _Copier:
    """One backup on its way."""

    def __init__(self, place: Place, target: Path, before: Path | None) -> None:
        self._place = place
        self._target = target / "addon"
        self._home_target = target
        self._before = None if before is None else before / "addon"
        self._done = Backup(target)

    def run(self) -> Backup:
        """Copy everything."""
        self._target.mkdir(mode=0o700)
        with paused(self._place.wal):
            save(self._place.database, self._target / "addon.db")
            self._copy_log()
            versions = {prefix: self._pin(prefix) for prefix in prefixes(self._place.objects)}
        for prefix, version in versions.items():
            self._copy_files(prefix, version)
        self._copy_sessions()
        self._copy_rest(self._place.folder, self._target, _ELSEWHERE)
        self._copy_rest(self._place.home, self._home_target, _NOT_KEPT)
        return self._done

    def _pin(self, prefix: str) -> LogVersion:
        """Take a table's newest version, and its log's own files."""
        version = replay(self._place.objects, prefix)
        folder = self._target / "warehouse" / prefix / "_delta_log"
        folder.mkdir(parents=True)
        for name in version.log_files:
            (folder / name).write_bytes(self._place.objects.get(f"{prefix}/_delta_log/{name}"))
        return version

    def _copy_log(self) -> None:
        source, target = self._place.wal, self._target / "wal"
        target.mkdir(mode=0o700)
        for path in sorted(source.glob("*.wal")):
            shutil.copyfile(path, target / path.name)
        if (source / "writer.json").exists():
            shutil.copyfile(source / "writer.json", target / "writer.json")
            key = int(json.loads((target / "writer.json").read_bytes())["key"])
            self._done.batches = sum(len(records_of(path, key)) for path in target.glob("*.wal"))
        if (source / "quarantine").is_dir():
            shutil.copytree(source / "quarantine", target / "quarantine")

    def _copy_files(self, prefix: str, version: LogVersion) -> None:
        folder = self._target / "warehouse" / prefix
        try:
            for name in version.active:
                self._copy_file(f"{prefix}/{name}", folder / name)
        except (NotFound, FileNotFoundError):
            if any(True for _ in self._place.objects.list(f"{prefix}/_delta_log")):
                raise  # not dropped: a file is missing, which fsck will tell more about
            shutil.rmtree(folder)
            self._done.skipped.append(prefix)
            return
        self._done.tables[prefix] = {
            "version": version.version,
            "files": len(version.active),
            "rows": version.rows,
        }

    def _copy_sessions(self) -> None:
        """Take the parts of bulk import sessions; those of one that ends meanwhile are not needed."""
        for info in self._place.objects.list(SESSIONS_FOLDER):
            with suppress(NotFound, FileNotFoundError):
                self._copy_file(info.key, self._target / "warehouse" / info.key)

    def _copy_file(self, key: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        objects, source = self._place.objects, self._place.objects.path(key)
        sources = [] if self._before is None else [self._before / "warehouse" / key]
        if isinstance(objects, LocalObjects):
            sources.append(source)
        if any(_linked(one, target) for one in sources):
            self._done.linked += 1
            return
        with objects.lease() as lease:  # what a cache holds is compared before it is good for anything
            lease.fetch([source])
            if isinstance(objects, LocalObjects) or not _linked(source, target):
                shutil.copyfile(source, target)
        self._done.copied += 1

    def _copy_rest(self, source: Path, target: Path, without: frozenset[str]) -> None:
        for path in sorted(source.iterdir()):
            if not path.name.startswith(".part") and not any(fnmatch(path.name, name) for name in without):
                _copy_any(path, target / path.name)


def _linked(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except OSError:
        return False
    return True


def _copy_any(source: Path, target: Path) -> None:
    """Copy a file, a folder, or an SQLite database in use; what goes away meanwhile was not to stay."""
    if source.name.endswith(("-wal", "-shm", "-journal")) or source.is_symlink():
        return
    try:
        if source.is_dir():
            target.mkdir(exist_ok=True)
            shutil.copystat(source, target)
            for child in sorted(source.iterdir()):
                _copy_any(child, target / child.name)
        elif source.suffix == ".db":
            with closing(sqlite3.connect(source)) as reading, closing(sqlite3.connect(target)) as writing:
                reading.backup(writing)
            shutil.copymode(source, target)
        elif source.is_file():
            shutil.copy2(source, target)
    except FileNotFoundError:
        return


def _write_manifest(folder: Path, done: Backup) -> None:
    """Sync everything, then write the file that makes the backup a whole one."""
    files = {str(path.relative_to(folder)): _described(path) for path in _files(folder)}
    manifest: dict[str, Any] = {
        "version": VERSION,
        "made_at": time.time(),
        "tables": done.tables,
        "batches_in_log": done.batches,
        "files": files,
    }
    for path in _files(folder):
        sync_file(path)
    for path in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
        sync_folder(path)
    target = folder / MANIFEST
    target.write_text(json.dumps(manifest, indent=1) + "\n")
    sync_file(target)
    sync_folder(folder)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _described(path: Path) -> dict[str, Any]:
    """Return what a restore compares; a data file's hash is in its name already."""
    size = path.stat().st_size
    if path.suffix == ".parquet" and path.parent.name != "_delta_log":
        return {"size": size}
    with path.open("rb") as file:
        return {"size": size, "sha256": file_digest(file, "sha256").hexdigest()}
