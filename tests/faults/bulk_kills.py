"""Kills a bulk import at each of its failpoints, goes on with what is on the disk, then counts.

Run as a program: ``python -m tests.faults.bulk_kills --home DIR``. Each life is a forked process
that plays a client which repeats what got no answer; it dies at the armed point as by ``kill -9``. With
``--pairs`` the second life dies too, at each point again. Prints one line; exit 1 on loss or doubling.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from addon.models.bulk import BulkState
from platform_core.base import failpoints
from platform_core.base.errors import Conflict, NotFound
from tests.faults.bulk_rig import NOW, BulkRig

if TYPE_CHECKING:
    from collections.abc import Sequence

POINTS = [
    "bulk.file.unsynced@1",
    "bulk.file.unnamed@1",
    "bulk.file.unnamed@2",
    "bulk.file.named@2",
    "bulk.perform.write@1",
    "parquet.pre_fsync@1",
    "parquet.post_fsync@1",
    "bulk.perform.pre_publish@1",
    "bulk.perform.post_publish@1",
    "bulk.commit.begun@1",
    "commit.pre@1",
    "commit.unsynced@1",
    "commit.post@1",
    "bulk.commit.pre_publish@1",
    "bulk.commit.post@1",
    "bulk.delete.files@1",
]
PARTS = 3
ROWS = 40
_LIFE_S = 3_600.0
"""What passes between two lives: leases have run out, files are an hour old."""
START = 1_900_000_000.0
"""Later than any file's own time, so that an hour's grace has passed in the last life."""


def part(number: int, *, final: bool = True) -> list[dict[str, Any]]:
    """Return a part's records, one of them bad; the first version of a part is other rows."""
    first = number * ROWS
    good = [{"time": NOW + n, "n": n if final else -n - 1} for n in range(first, first + ROWS)]
    return [*good, {"n": "no time"}]


def client(rig: BulkRig) -> None:
    """Drive the session to its end from wherever it is."""
    try:
        session = rig.session()
    except NotFound:
        if rig.rows():
            return  # deleted before, by the life that died
        with contextlib.suppress(Conflict):
            rig.create()
        session = rig.session()
    if session.state is BulkState.UPLOADING and not session.frozen:
        rig.upload("0", part(0, final=False))
        rig.upload("extra", part(9))
        for number in range(PARTS):
            rig.upload(str(number), part(number))
        rig.bulk.delete_part(rig.account.id, "s", "extra")
        rig.freeze()
    _unseen(rig)
    if rig.session().state is BulkState.UPLOADING:
        rig.begin_perform()
    rig.run_jobs()
    if rig.session().state is BulkState.READY:
        _unseen(rig)
    rig.commit()
    rig.bulk.delete(rig.account.id, "s")


def _unseen(rig: BulkRig) -> None:
    if rig.session().state in {BulkState.UPLOADING, BulkState.PERFORMING, BulkState.READY}:
        assert rig.rows() == [], "visible before the commit"


def check(rig: BulkRig) -> None:
    """Raise unless the table holds each row once and the counts say so, and nothing is left over."""
    wanted = PARTS * ROWS
    assert [n for (n,) in rig.rows("n")] == list(range(wanted))
    assert rig.catalog.table(rig.ref).rows == wanted
    assert rig.catalog.rows_this_month(rig.account.id) == wanted
    rig.bulk.expire()
    assert rig.kept_files() == []
    assert rig.store.sessions(rig.account.id) == []


def live(home: Path, now: float, armed: str, *, last: bool) -> int:
    """Live once in a forked process; return how it ended."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        rig = BulkRig(home, now=now)
        failpoints.arm(armed)
        rig.recover()
        client(rig)
        if last:
            check(rig)
    except BaseException:  # noqa: BLE001 - the child's end is its exit status, whatever it was
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def run(home: Path, plans: Sequence[Sequence[str]]) -> tuple[str, bool]:
    """Return the line of figures, and whether nothing was lost or doubled."""
    kills, bad = 0, []
    for number, plan in enumerate(plans):
        place, now = home / str(number), START
        for point in plan:
            name, _, nth = point.partition("@")
            status = live(place, now, f"{name}:abort@{nth}", last=False)
            if status == 1:
                bad.append("+".join(plan))
            kills += status < 0
            now += _LIFE_S
        if live(place, now, "", last=True):
            bad.append("+".join(plan))
    line = f"{kills} kills in {len(plans)} bulk imports, {len(bad)} with rows lost, doubled or seen early"
    return f"{line}{': ' if bad else ''}{', '.join(bad)}", not bad


def pairs() -> list[list[str]]:
    """Return every failpoint after every other."""
    return [[one, other] for one in POINTS for other in POINTS]


def main() -> int:
    """Run it as a program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--pairs", action="store_true")
    parser.add_argument("--points", nargs="+", default=POINTS)
    given = parser.parse_args()
    line, good = run(given.home, pairs() if given.pairs else [[point] for point in given.points])
    print(line)  # noqa: T201 - the figures are the result
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
