"""The write-ahead log's folder, checked without a lock: segments may come and go meanwhile."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from addon.ingest.frames import scan
from addon.ingest.record import decode
from addon.upkeep.findings import Report, Severity

if TYPE_CHECKING:
    from pathlib import Path

    from addon.ingest.record import Record


@dataclass(frozen=True, slots=True)
class LogState:
    """What the log holds: its writer's name, its segments' numbers, and how many batches are in them."""

    writer: str
    segments: tuple[int, ...]
    batches: int


def check_log(folder: Path, report: Report) -> LogState:
    """Check the identity, every segment and the quarantine of a log."""
    identity = _identity(folder, report)
    if identity is None:
        return LogState("", (), 0)
    name, key, reserved = identity
    numbers = sorted(int(path.stem) for path in folder.glob("*.wal") if path.stem.isdigit())
    batches = 0
    for number in numbers:
        path = folder / f"{number:020d}.wal"
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            continue  # flushed meanwhile
        report.count("segments")
        batches += _check_segment(path, data, key, report, newest=number == numbers[-1])
        if number >= reserved:
            report.error(
                f"wal/{path.name}",
                f"its number is not below {reserved}, which writer.json has reserved",
                "Restore writer.json from the newest backup that was made after this segment.",
            )
    report.count("unflushed batches", batches)
    _check_quarantine(folder / "quarantine", report)
    return LogState(name, tuple(numbers), batches)


def _identity(folder: Path, report: Report) -> tuple[str, int, int] | None:
    path = folder / "writer.json"
    try:
        fields = json.loads(path.read_bytes())
        return str(fields["name"]), int(fields["key"]), int(fields["reserved"])
    except FileNotFoundError:
        if any(folder.glob("*.wal")):
            report.error(
                "wal/writer.json", "it is gone while segments are there", "Restore it from a backup."
            )
    except (ValueError, KeyError, TypeError):
        report.error(
            "wal/writer.json", "it is damaged", "Restore it from a backup; it names who wrote the log."
        )
    return None


def _check_segment(path: Path, data: bytes, key: int, report: Report, *, newest: bool) -> int:
    where = f"wal/{path.name}"
    found = scan(data, key, int(path.stem))
    if found.corrupt or found.missing:
        spans = ", ".join(f"{start}-{end}" for start, end in found.corrupt[:5])
        report.error(
            where,
            f"bytes {spans or 'between frames'} are damaged; {found.missing} acknowledged batches were there",
            "The flush keeps the rest and a copy in wal/quarantine. Look at the disk; ask the senders again.",
        )
    if found.valid_end < len(data) and not newest:
        report.add(
            Severity.NOTE,
            where,
            f"a torn tail of {len(data) - found.valid_end} bytes, never acknowledged",
        )
    return sum(_readable(data[one.start : one.end], where, report) for one in found.frames)


def _readable(payload: bytes, where: str, report: Report) -> bool:
    try:
        decode(payload)
    except ValueError as error:
        report.error(
            where, f"a batch cannot be read: {error}", "Was it written by a newer version? Run that."
        )
        return False
    return True


def _check_quarantine(folder: Path, report: Report) -> None:
    for path in sorted(folder.glob("*")) if folder.is_dir() else []:
        report.add(
            Severity.WARNING,
            f"wal/quarantine/{path.name}",
            f"{path.stat().st_size} bytes were put aside",
            "After the cause is mended: sluice replay. See logs.dead_letters for the reason.",
        )


def records_of(path: Path, key: int) -> list[Record]:
    """Return the readable records of a segment's file."""
    data = path.read_bytes()
    records = []
    for frame in scan(data, key, int(path.stem)).frames:
        try:
            records.append(decode(data[frame.start : frame.end]))
        except ValueError:
            continue
    return records
