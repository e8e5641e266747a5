"""A Delta log read by hand, from its own files, so that a check does not rest on the library it checks."""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pyarrow.parquet as pq

from platform_core.base.errors import NotFound

if TYPE_CHECKING:
    from addon.models.objects import ObjectStore

_ACTIONS = frozenset(
    {"add", "remove", "metaData", "protocol", "commitInfo", "txn", "cdc", "domainMetadata", "sidecar"}
)
_ENTRY = re.compile(r"(\d{20})\.json$")
_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint\.parquet$")


class BrokenLogError(Exception):
    """The log cannot be read; the text says which file and why."""

    def __init__(self, name: str, why: str) -> None:
        """Take the log file's name and what is wrong."""
        super().__init__(f"{name} {why}")
        self.name = name


@dataclass(frozen=True, slots=True)
class Active:
    """A data file that the version names; ``rows`` is None without statistics."""

    name: str
    size: int
    rows: int | None


@dataclass(slots=True)
class LogVersion:
    """The newest version of a table, and the log files that make it."""

    version: int = -1
    active: dict[str, Active] = field(default_factory=dict)
    transactions: dict[str, int] = field(default_factory=dict)
    """The last segment's number by writer."""
    removed: set[str] = field(default_factory=set)
    """Files that were merged into others, as far back as the log remembers."""
    log_files: list[str] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """The rows of all files with statistics."""
        return sum(one.rows or 0 for one in self.active.values())


def replay(objects: ObjectStore, prefix: str) -> LogVersion:
    """Read the newest checkpoint and every entry after it.

    Raises:
        BrokenLogError: a file of the log is missing or cannot be read.
    """
    folder = f"{prefix}/_delta_log"
    names = [info.key.rpartition("/")[2] for info in objects.list(folder)]
    entries = sorted(int(found[1]) for name in names if (found := _ENTRY.fullmatch(name)))
    checkpoints = sorted(int(found[1]) for name in names if (found := _CHECKPOINT.fullmatch(name)))
    state = LogVersion()
    if checkpoints:
        name = f"{checkpoints[-1]:020d}.checkpoint.parquet"
        state.version = checkpoints[-1]
        state.log_files.append(name)
        for row in _checkpoint_rows(name, _bytes(objects, folder, name)):
            _act(state, name, row)
    for version in entries:
        if version <= state.version:
            continue
        name = f"{version:020d}.json"
        if version != state.version + 1:
            raise BrokenLogError(f"{state.version + 1:020d}.json", "is missing")
        for action in _entry_rows(name, _bytes(objects, folder, name)):
            _act(state, name, action)
        state.version = version
        state.log_files.append(name)
    if state.version < 0:
        raise BrokenLogError(folder, "has no entries")
    return state


def _bytes(objects: ObjectStore, folder: str, name: str) -> bytes:
    try:
        return objects.get(f"{folder}/{name}")
    except NotFound as error:
        raise BrokenLogError(name, "is gone") from error


def _entry_rows(name: str, data: bytes) -> list[dict[str, Any]]:
    try:
        rows = [json.loads(line) for line in data.splitlines() if line.strip()]
    except ValueError as error:
        raise BrokenLogError(name, f"is no JSON: {error}") from error
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise BrokenLogError(name, "has no actions")
    return rows


def _checkpoint_rows(name: str, data: bytes) -> list[dict[str, Any]]:
    try:
        table = pq.read_table(io.BytesIO(data), columns=["add", "remove", "txn"])
    except (OSError, ValueError, KeyError) as error:
        raise BrokenLogError(name, f"is no checkpoint: {error}") from error
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def _act(state: LogVersion, file: str, row: dict[str, Any]) -> None:
    unknown = set(row) - _ACTIONS
    if unknown:
        raise BrokenLogError(file, f"has the unknown action {min(unknown)!r:.40}")
    try:
        _apply(state, row)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise BrokenLogError(file, f"has an action that cannot be read: {error!r}") from error


def _apply(state: LogVersion, row: dict[str, Any]) -> None:
    added, removed, transaction = row.get("add"), row.get("remove"), row.get("txn")
    if added:
        name = unquote(added["path"])
        state.active[name] = Active(name, int(added["size"]), _row_count(added.get("stats")))
    if removed:
        state.active.pop(unquote(removed["path"]), None)
        state.removed.add(unquote(removed["path"]))
    if transaction:
        state.transactions[transaction["appId"]] = int(transaction["version"])


def _row_count(stats: str | None) -> int | None:
    try:
        return int(json.loads(stats or "{}")["numRecords"])
    except (ValueError, KeyError, TypeError):
        return None
