"""Cuts the power of the durable path at any moment of a real run, thousands of times, and counts.

Run as a program: ``python -m tests.faults.power_cut --traces 25 --cuts 200 --seed 1 --folder DIR``. Each
trace is one run of the real service (every second one starts from what a power cut left of the one before,
so that recovery is cut as well) under strace. Each cut takes a moment of it, lets the model of a lossy disk
(``lossy_disk``) leave sure and some unsure changes, starts the real service on the result, repeats the
batches without an answer and some of the others, and counts. Prints one line; exit 1 when a promise broke.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import subprocess
import sys
import traceback
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from addon.warehouse.typed import Typer
from tests.faults import durable_home, op_trace
from tests.faults.crash_cycles import batch
from tests.faults.lossy_disk import LossyDisk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.faults.op_trace import Call

ROOT = Path(__file__).parents[2]
_BATCHES = 120
_KEEP = (0.0, 0.1, 0.5, 0.9, 1.0)
"""How likely an unsure change stays; each value is a different kind of disk."""


@dataclass
class Trace:
    """One run: where it began, its calls, and when each batch was acknowledged and started."""

    before: Path
    calls: list[Call]
    root: Path
    acked: list[tuple[int, str]] = field(default_factory=list)
    started: list[tuple[int, str]] = field(default_factory=list)
    acked_before: list[str] = field(default_factory=list)
    started_before: list[str] = field(default_factory=list)

    def merges(self) -> int:
        """Return how many merged files the run made."""
        named = (text for call in self.calls if call.name.startswith("rename") for text in call.texts[1:])
        return sum(b"/merged-g" in text for text in named)

    def disk(self) -> LossyDisk:
        """Return the disk as it was before the run."""
        disk = LossyDisk(self.before)
        disk.root = self.root
        return disk

    def promised(self, cut: int) -> tuple[list[str], list[str]]:
        """Return the batches acknowledged, and those started, before call number ``cut``."""
        acked = [name for at, name in self.acked if at < cut]
        started = [name for at, name in self.started if at < cut]
        return [*self.acked_before, *acked], [*self.started_before, *started]


def record(
    folder: Path, number: int, seed: int, batches: int, begin: tuple[Path, list[str], list[str]] | None
) -> Trace:
    """Run the workload once under strace; ``begin`` is a home to go on from, with its promises."""
    home, before, journal = folder / "home", folder / f"before-{number}", folder / "journal"
    shutil.rmtree(home, ignore_errors=True)
    journal.unlink(missing_ok=True)
    acked, started = [], []
    if begin is None:
        durable_home.make(home)
    else:
        shutil.copytree(begin[0], home)
        acked, started = begin[1:]
    journal.write_text("".join([*(f"start {x}\n" for x in started), *(f"ack {x}\n" for x in acked)]))
    shutil.copytree(home, before)
    disk = LossyDisk(home)
    child = ["-m", "tests.faults.power_cut", "--child", str(home), str(journal), str(seed), str(batches)]
    log = folder / "strace"
    subprocess.run(op_trace.command(log, [sys.executable, *child]), check=True, cwd=ROOT, timeout=280)
    found = Trace(before, [], home, acked_before=acked, started_before=started)
    kept = [0]  # by how many calls had ended: how many of them are among ours
    for call in op_trace.read(log):
        if call.path == str(journal) and call.name == "write":
            verb, _, name = call.texts[0].decode().strip().partition(" ")
            (found.acked if verb == "ack" else found.started).append((len(found.calls), name))
        elif disk.concerns(call):
            found.calls.append(replace(call, began=kept[call.began]))
        kept.append(len(found.calls))
    log.unlink()
    return found


def leave(disk: LossyDisk, target: Path, rng: random.Random) -> None:
    """Write what a power cut leaves of a disk."""
    shutil.rmtree(target, ignore_errors=True)
    disk.leave(target, rng, rng.choice(_KEEP))


class Cutter:
    """Cuts traces and judges what is left."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.folder = folder
        self.rng = rng
        self.cuts = self.acked = self.lost = self.doubled = self.halved = self.broken = 0
        self.failures: list[str] = []
        self.typer = Typer(1, "1GB")

    def cut_all(self, trace: Trace, seeds: Sequence[int]) -> None:
        """Cut one trace at a moment for each seed: in their order, so that the calls are replayed once."""
        disk, done = trace.disk(), 0
        for at, seed in sorted((self.moment(trace, seed)[0], seed) for seed in seeds):
            disk.replay(enumerate(trace.calls[done:at], done))
            done = at
            self._cut(trace, disk, seed)

    def moment(self, trace: Trace, seed: int) -> tuple[int, random.Random]:
        """Return the number of the call before which ``seed`` cuts, and what decides on the rest."""
        rng = random.Random(seed)  # noqa: S311 - a reproducible choice
        return rng.randrange(len(trace.calls) + 1), rng

    def _cut(self, trace: Trace, disk: LossyDisk, seed: int) -> None:
        """Judge what a power cut leaves of the disk; a failure keeps it."""
        at, rng = self.moment(trace, seed)
        acked, started = trace.promised(at)
        target = self.folder / "left"
        leave(disk, target, rng)
        try:
            found = asyncio.run(self.judge(target, acked, started, rng))
        except Exception:  # noqa: BLE001 - told below
            text = traceback.format_exc()
            self.broken += 1
        else:
            text = "" if found.good else str(found)
            self.lost += found.lost
            self.doubled += found.doubled
            self.halved += found.halved
        self.cuts += 1
        self.acked += len(acked)
        if text:
            leave(disk, self.folder / f"failed-{seed}", self.moment(trace, seed)[1])
            self.failures.append(f"cut {seed} at call {at} of {len(trace.calls)}: {text}")

    async def judge(
        self, home: Path, acked: Sequence[str], started: Sequence[str], rng: random.Random
    ) -> durable_home.Count:
        """Recover, send again what has no answer and some of the rest, flush, count."""
        open_ones = [name for name in started if name not in set(acked)]
        again = [*open_ones, *rng.sample(acked, min(4, len(acked)))]
        async with durable_home.opened(home, self.typer, linger_s=0) as parts:
            for name in again:
                await parts.service.append(batch(name))
            await parts.service.flush(durable_home.ACCOUNT)
            return durable_home.count(parts.warehouse, list(started))


def run(folder: Path, traces: int, cuts: int, seed: int, batches: int = _BATCHES) -> tuple[str, list[str]]:
    """Return the line of figures, and a text for each cut after which a promise was broken."""
    rng = random.Random(seed)  # noqa: S311 - a reproducible plan
    folder.mkdir(parents=True, exist_ok=True)
    cutter = Cutter(folder, rng)
    begin: tuple[Path, list[str], list[str]] | None = None
    calls = merges = 0
    for number in range(traces):
        trace = record(folder, number, seed + number, batches, begin)
        calls += len(trace.calls)
        merges += trace.merges()
        cutter.cut_all(trace, [rng.randrange(1 << 40) for _ in range(cuts)])
        begin = None
        if number % 2 == 0:
            at = rng.randrange(len(trace.calls) // 2, len(trace.calls))
            disk = trace.disk()
            disk.replay(enumerate(trace.calls[:at]))
            leave(disk, folder / "begin", rng)
            begin = (folder / "begin", *trace.promised(at))
        shutil.rmtree(trace.before)
    line = (
        f"seed {seed}: {cutter.cuts} kills, {cutter.acked} acked, {cutter.lost} lost, "
        f"{cutter.doubled} doubled, {cutter.halved} halved, {cutter.broken} not recovered "
        f"(power cuts in {traces} runs of {calls} calls, {merges} merged files)"
    )
    return line, cutter.failures if merges else [*cutter.failures, "nothing was merged"]


def main(argv: Sequence[str]) -> int:
    """Run the cuts, print the figures, return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--traces", type=int, default=4)
    parser.add_argument("--cuts", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--child", nargs=4, help="internal: HOME JOURNAL SEED BATCHES")
    options = parser.parse_args(argv)
    if options.child:
        home, journal, seed, batches = options.child
        asyncio.run(durable_home.workload(Path(home), Path(journal), int(batches), int(seed)))
        return 0
    line, failures = run(options.folder, options.traces, options.cuts, options.seed)
    print("\n".join([*failures[:5], line]))  # noqa: T201 - a program
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
