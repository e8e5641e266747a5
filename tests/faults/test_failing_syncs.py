"""A real process of which every n-th sync fails, whoever asks for it: what it acknowledged is there, once."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from pathlib import Path

from tests.faults import durable_home
from tests.faults.crash_cycles import REF, batch

ROOT = Path(__file__).parents[2]


def live_on_a_sick_disk(home: Path, journal: Path, seed: int, every: int) -> None:
    """Run the workload with EIO from every n-th sync of a thread; it may well end by a failure.

    strace puts the error in place of the call. (libfiu, loaded into the process, stops pyarrow's import.)
    """
    rule = f"inject=fsync,fdatasync:error=EIO:when={every}+{every}"
    child = ["-m", "tests.faults.power_cut", "--child", str(home), str(journal), str(seed), "40"]
    command = [
        "strace",
        "-f",
        "-qqq",
        "--seccomp-bpf",
        "-e",
        "trace=fsync,fdatasync",
        "-e",
        rule,
        "-o",
        "/dev/null",
    ]
    done = subprocess.run(
        [*command, sys.executable, *child], cwd=ROOT, check=False, capture_output=True, timeout=120
    )
    assert done.returncode != 2, done.stderr[-500:]  # its arguments are wrong


async def recovered(home: Path, names: list[str]) -> durable_home.Count:
    async with durable_home.opened(home) as parts:
        for name in names:  # repeats add nothing, what was refused is taken now
            await parts.service.append(batch(name))
        await parts.service.flush(REF.account_id)
        return durable_home.count(parts.warehouse, names)


def test_no_acknowledgement_is_false_when_syncs_fail(tmp_path: Path) -> None:
    home, journal = tmp_path / "home", tmp_path / "journal"
    durable_home.make(home)
    journal.touch()
    seed = random.randrange(1 << 20)  # noqa: S311 - printed
    for life in range(3):
        live_on_a_sick_disk(home, journal, seed + life, 7 + life)
    acked = durable_home.words(journal.read_text(), "ack")
    started = durable_home.words(journal.read_text(), "start")
    assert len(acked) > 10
    found = asyncio.run(recovered(home, started))
    print(  # noqa: T201 - the result
        f"seed {seed}: 3 lives with failing syncs, {len(acked)} acked of {len(started)}, "
        f"{found.lost} lost, {found.doubled} doubled"
    )
    assert found.good


def test_the_acknowledged_batches_need_no_repeat_after_failing_syncs(tmp_path: Path) -> None:
    home, journal = tmp_path / "home", tmp_path / "journal"
    durable_home.make(home)
    journal.touch()
    live_on_a_sick_disk(home, journal, 7, 9)
    acked = durable_home.words(journal.read_text(), "ack")

    async def count() -> durable_home.Count:
        async with durable_home.opened(home) as parts:
            await parts.service.flush(REF.account_id)
            return durable_home.count(parts.warehouse, acked)

    found = asyncio.run(count())
    assert acked
    assert found.good
