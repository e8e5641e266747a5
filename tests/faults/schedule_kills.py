"""Three scheduler processes on one database, killed again and again, while the clock jumps about.

Run as a program, so that each life is a fork of one that has everything imported: a life costs milliseconds.
It prints what it did as JSON; what is in the database afterwards is the caller's to judge.
"""

from __future__ import annotations

import asyncio
import json
import mmap
import os
import random
import signal
import struct
import sys
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from addon.schedules import scheduler as scheduling
from addon.schedules.scheduler import Scheduler
from addon.store.accounts import AccountStore
from addon.store.database import Database
from addon.store.jobs import JobStore
from addon.store.schedules import ScheduleStore
from platform_core.base import failpoints
from platform_core.base.clock import FixedClock

if TYPE_CHECKING:
    from platform_core.base.clock import Clock

START = datetime(2026, 11, 1, 3, tzinfo=UTC).timestamp()
"""Three hours before New York's clocks go back."""
SPEED = 600.0
"""A second of the test is ten minutes."""
PROCESSES = 3
POINTS = ("schedule.claim", "schedule.slot", "schedule.issue", "schedule.issued")
_LONGEST_LIFE_S = 1.5
_LONGEST_JUMP_S = 3_600
_JUMP_EVERY = 4


class JumpingClock:
    """A fast clock that all forks share; whoever has it can set it forward and back."""

    def __init__(self) -> None:
        self._jumped = mmap.mmap(-1, 8)
        self._began = time.monotonic()
        self.latest = START

    def now(self) -> float:
        (jumped,) = struct.unpack("d", self._jumped[:8])
        return START + (time.monotonic() - self._began) * SPEED + float(jumped)

    def jump(self, seconds: float) -> None:
        """Set the clock by some seconds; it is never before the start."""
        self.latest = max(self.latest, self.now())
        (jumped,) = struct.unpack("d", self._jumped[:8])
        wanted = max(jumped + seconds, START - self.now() + jumped)
        self._jumped[:8] = struct.pack("d", wanted)
        self.latest = max(self.latest, self.now())


def _scheduler(url: str, clock: Clock) -> tuple[Scheduler, Database]:
    database = Database(url)
    jobs, accounts = JobStore(database, clock), AccountStore(database, clock)
    store = ScheduleStore(database, clock)
    return Scheduler(store, jobs, accounts, clock, lambda: None, poll_s=0.02), database


async def _live(url: str, clock: JumpingClock, parent: int) -> None:
    """Run a scheduler until it is killed, or nobody is there any more to kill it."""
    scheduler, _ = _scheduler(url, clock)
    await scheduler.start()
    while os.getppid() == parent:  # noqa: ASYNC110  (its death is no event)
        await asyncio.sleep(_LONGEST_LIFE_S)


@dataclass
class _Life:
    pid: int
    point: str
    until: float


def _begin(url: str, clock: JumpingClock, chance: random.Random) -> _Life:
    """Fork a process that dies at a point, or is to be killed at some moment."""
    point = chance.choice((*POINTS, "anywhere"))
    passes = chance.randint(1, 6)
    lasts = chance.uniform(0.02, 0.4) if point == "anywhere" else _LONGEST_LIFE_S
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            failpoints.arm("" if point == "anywhere" else f"{point}:abort@{passes}")
            asyncio.run(_live(url, clock, parent))
        finally:
            os._exit(1)
    return _Life(pid, point, time.monotonic() + lasts)


def _wait_for_one(lives: list[_Life]) -> _Life:
    """Wait until a process died, killing those whose time is over."""
    while True:
        for life in lives:
            if os.waitpid(life.pid, os.WNOHANG)[0]:
                return life
            if time.monotonic() > life.until:
                if life.point != "anywhere":
                    life.point = "not reached"
                os.kill(life.pid, signal.SIGKILL)
        time.sleep(0.002)


def main(url: str, kills: int, seed: int) -> None:
    """Run ``kills`` lives to their end, then let one scheduler decide what is left."""
    scheduling.MAX_QUEUED = sys.maxsize  # nobody takes the jobs here
    chance = random.Random(seed)  # noqa: S311  (to be repeated by its seed)
    clock, died = JumpingClock(), Counter[str]()
    clock.jump(_LONGEST_JUMP_S)  # they begin after an outage of an hour
    lives = [_begin(url, clock, chance) for _ in range(PROCESSES)]
    while sum(died.values()) < kills:
        life = _wait_for_one(lives)
        died[life.point] += 1
        lives.remove(life)
        lives.append(_begin(url, clock, chance))
        if chance.randrange(_JUMP_EVERY) == 0:
            clock.jump(chance.uniform(-_LONGEST_JUMP_S, _LONGEST_JUMP_S))
    for life in lives:
        os.kill(life.pid, signal.SIGKILL)
        os.waitpid(life.pid, 0)
    ended = max(clock.latest, clock.now())
    scheduler, database = _scheduler(url, FixedClock(ended))
    scheduler.round()
    database.close()
    json.dump({"kills": dict(died), "ended": ended}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
