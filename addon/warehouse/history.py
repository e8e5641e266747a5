"""What a table was: its versions of the last day, and the pinned ones, in a form of our own beside the log.

Delta's log is cleaned after a quarter of an hour or 256 versions, since its length costs every commit
time. Before that, its entries go into segments, JSON documents, one a line, deflated:
``_sluice/history/<last>-<first>-<first ms>-<last ms>.log``. Now and then the files of one whole version go
into a base, ``<version>.base``. A version is a base with the later entries applied. A pin,
``_sluice/pins/<name>.base``, is a base that stays until it is deleted. Names that begin with an underscore
are no data to any Delta reader.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pyarrow as pa
from deltalake import Schema

from addon.warehouse.files import FIRST, LAST, RECORD_FIELDS, FileSet, Record, TableState
from addon.warehouse.schema import TableSchema, from_delta
from platform_core.base.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from addon.models.objects import ObjectStore

BASE_EVERY = 20
"""Segments; a version is at most this many segments from its base."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What a version changed. ``at`` is its time in milliseconds; ``schema`` is Delta's text of a new one."""

    version: int
    at: int
    added: Sequence[Record]
    removed: Sequence[str]
    schema: str | None

    @classmethod
    def of(cls, version: int, text: bytes) -> Entry:
        """Read a Delta log entry."""
        at, schema = 0, None
        added: list[Record] = []
        removed: list[str] = []
        for line in text.splitlines():
            action = json.loads(line)
            if "add" in action:
                added.append(_record(action["add"]))
            elif "remove" in action:
                removed.append(unquote(action["remove"]["path"]))
            elif "metaData" in action:
                schema = action["metaData"]["schemaString"]
            elif "commitInfo" in action:
                at = int(action["commitInfo"].get("timestamp", 0))
        return cls(version, at, added, removed, schema)

    def line(self) -> bytes:
        """Return the entry as a segment's line."""
        return json.dumps([self.version, self.at, self.added, self.removed, self.schema]).encode()

    @classmethod
    def from_line(cls, line: bytes) -> Entry:
        """Read a segment's line."""
        version, at, added, removed, schema = json.loads(line)
        return cls(version, at, [tuple(one) for one in added], removed, schema)


def _record(add: dict[str, object]) -> Record:
    stats = json.loads(str(add.get("stats") or "{}"))
    low = stats.get("minValues", {}).get("time", FIRST)
    high = stats.get("maxValues", {}).get("time", LAST)
    size, modified = int(str(add["size"])), int(str(add.get("modificationTime") or 0))
    return unquote(str(add["path"])), size, int(stats.get("numRecords", 0)), low, high, modified


@dataclass(frozen=True, slots=True)
class _Segment:
    """A segment as its name tells: versions ``first`` to ``last``, of the times ``begin`` to ``end`` (ms)."""

    key: str
    last: int
    first: int
    begin: int
    end: int


class History:
    """The kept versions of one table. Not thread-safe: the store locks per table."""

    def __init__(self, objects: ObjectStore, prefix: str, live: Callable[[int], bytes]) -> None:
        """``live`` returns the text of an entry that is still in Delta's log, empty when it is not."""
        self._objects = objects
        self._folder = f"{prefix}/_sluice/history"
        self._pins = f"{prefix}/_sluice/pins"
        self._read_live = live
        self._live: dict[int, Entry] = {}
        self._removed: dict[str, dict[str, int]] = {}

    def forget_live(self) -> None:
        """Read Delta's log anew; another table may be there now."""
        self._live.clear()
        self._removed.clear()

    # Keeping
    # ----------------------------------------------------------------------------------------------------

    def archive(self, state: TableState, schema: str) -> None:
        """Keep the entries up to the version of ``state``, before Delta's log is cleaned; may be repeated.

        ``schema`` is Delta's text of the version's schema.
        """
        segments, bases = self._kept()
        begin = segments[-1].last + 1 if segments else 0
        entries = list(self._live_from(begin, state.version))
        if entries:
            first, last = entries[0], entries[-1]
            name = f"{last.version:020d}-{first.version:020d}-{first.at:015d}-{last.at:015d}"
            data = b"\n".join(entry.line() for entry in entries)
            self._objects.put(f"{self._folder}/{name}.log", zlib.compress(data))
        whole = bool(entries) and entries[0].version == begin
        since = sum(1 for segment in segments if not bases or segment.last > bases[-1])
        if not whole or since >= BASE_EVERY:
            self._objects.put(f"{self._folder}/{state.version:020d}.base", packed(state, schema))
        self._live = {version: one for version, one in self._live.items() if version > state.version}

    def _live_from(self, begin: int, end: int) -> Iterator[Entry]:
        """Yield the entries that Delta's log still has, without a gap up to ``end``."""
        found: list[Entry] = []
        for version in range(end, begin - 1, -1):
            entry = self._live_entry(version)
            if entry is None:
                break
            found.append(entry)
        return reversed(found)

    def _live_entry(self, version: int) -> Entry | None:
        known = self._live.get(version)
        if known is None:
            text = self._read_live(version)
            if not text:
                return None
            known = self._live[version] = Entry.of(version, text)
        return known

    def _kept(self) -> tuple[list[_Segment], list[int]]:
        """Return the segments and the versions of the bases, ascending."""
        segments, bases = [], []
        for info in self._objects.list(self._folder):
            name, _, kind = info.key.rpartition("/")[2].rpartition(".")
            if kind == "base":
                bases.append(int(name))
            elif kind == "log":
                last, first, begin, end = map(int, name.split("-"))
                segments.append(_Segment(info.key, last, first, begin, end))
        return sorted(segments, key=lambda one: (one.last, one.first)), sorted(bases)

    def _entries(self, segment: _Segment) -> list[Entry]:
        return [
            Entry.from_line(line) for line in zlib.decompress(self._objects.get(segment.key)).splitlines()
        ]

    # Reading
    # ----------------------------------------------------------------------------------------------------

    def state(self, version: int) -> TableState | None:
        """Return a version put together from what is kept; None when that does not reach so far."""
        segments, bases = self._kept()
        start = max((base for base in bases if base <= version), default=None)
        if start is None:
            records, schema, reached = dict[str, Record](), TableSchema(), -1
        else:
            base = unpacked(self._objects.get(f"{self._folder}/{start:020d}.base"))
            records = {record[0]: record for record in base.files.records()}
            schema, reached = base.schema, base.version
        for entry in self._between(segments, reached, version):
            if entry.version != reached + 1:
                break
            for name in entry.removed:
                records.pop(name, None)
            records.update((record[0], record) for record in entry.added)
            schema = schema if entry.schema is None else from_delta(Schema.from_json(entry.schema))
            reached = entry.version
        return (
            TableState(version, schema, FileSet.from_records(records.values()))
            if reached == version
            else None
        )

    def _between(self, segments: Sequence[_Segment], after: int, version: int) -> Iterator[Entry]:
        """Yield the kept entries of the versions over ``after`` up to ``version``."""
        for segment in segments:
            if segment.last > after and segment.first <= version:
                for entry in self._entries(segment):
                    if after < entry.version <= version:
                        yield entry
                        after = entry.version
        for number in range(after + 1, version + 1):
            live = self._live_entry(number)
            if live is None:
                return
            yield live

    def version_at(self, at: int, newest: int) -> int | None:
        """Return the newest version of before or at a time (ms); None when that is not known (any more)."""
        segments, _ = self._kept()
        found: int | None = None
        known = -1
        for segment in segments:
            if segment.begin > at:
                return found
            entries = self._entries(segment) if segment.end > at else []
            found = max((one.version for one in entries if one.at <= at), default=segment.last)
            known = segment.last
        for entry in self._live_from(known + 1, newest):
            if entry.at <= at:
                found = entry.version
        return found

    # Letting go
    # ----------------------------------------------------------------------------------------------------

    def unneeded(self, found: Mapping[str, float], newest: TableState, before: float) -> list[str]:
        """Return which of the files ``found`` (when each was written) no version since ``before`` needs.

        Times are Unix seconds. ``newest`` is the table's newest version.
        """
        idle = set(found).difference(newest.files.names.to_pylist())
        if idle:
            for pinned in self.pins().values():
                idle.difference_update(pinned.files.names.to_pylist())
        if not idle:
            return []
        removed = self._removals(newest.version)
        return [name for name in idle if removed.get(name, found[name] * 1000) <= before * 1000]

    def _removals(self, newest: int) -> dict[str, int]:
        """Return the files that kept versions have removed, each with when (ms)."""
        segments, _ = self._kept()
        found: dict[str, int] = {}
        for segment in segments:
            if segment.key not in self._removed:
                self._removed[segment.key] = {
                    name: entry.at for entry in self._entries(segment) for name in entry.removed
                }
            found |= self._removed[segment.key]
        self._removed = {one.key: self._removed[one.key] for one in segments}
        known = segments[-1].last if segments else -1
        for entry in self._live_from(known + 1, newest):
            found |= dict.fromkeys(entry.removed, entry.at)
        return found

    def forget(self, before: int) -> None:
        """Drop the segments that end before a time (ms), and the bases that no kept version needs."""
        segments, bases = self._kept()
        gone = [one for one in segments if one.end < before]
        if not gone:
            return
        needed = max((base for base in bases if base <= gone[-1].last), default=None)
        keys = [one.key for one in gone if needed is not None and one.last <= needed]
        keys += [f"{self._folder}/{base:020d}.base" for base in bases if needed is not None and base < needed]
        self._objects.delete(keys)

    # Pins
    # ----------------------------------------------------------------------------------------------------

    def pin(self, name: str, state: TableState, schema: str) -> bool:
        """Keep a version under a name; False when the name is taken."""
        return self._objects.create(f"{self._pins}/{name}.base", packed(state, schema))

    def unpin(self, name: str) -> None:
        """Let a pinned version go.

        Raises:
            NotFound: there is no such pin.
        """
        key = f"{self._pins}/{name}.base"
        if self._objects.stamp(key) is None:
            raise NotFound(f"There is no pin {name!r}.")
        self._objects.delete([key])

    def pins(self) -> dict[str, TableState]:
        """Return the pinned versions by name."""
        found = {}
        for info in self._objects.list(self._pins):
            name = info.key.rpartition("/")[2].removesuffix(".base")
            found[name] = unpacked(self._objects.get(info.key))
        return found


def packed(state: TableState, schema: str) -> bytes:
    """Return a version as bytes: an Arrow table of its files; ``schema`` is Delta's text of its schema."""
    table = pa.table(dict(zip(RECORD_FIELDS, state.files.columns(), strict=True)))
    about = {"version": str(state.version), "schema": schema}
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(sink, table.schema.with_metadata(about), options=options) as writer:
        writer.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def unpacked(data: bytes) -> TableState:
    """Return the version that :func:`packed` made bytes of."""
    table = pa.ipc.open_stream(data).read_all()
    about = table.schema.metadata
    schema = from_delta(Schema.from_json(about[b"schema"].decode()))
    return TableState(int(about[b"version"]), schema, FileSet.from_columns(table.columns))
