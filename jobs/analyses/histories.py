"""Events as integers, every user's history in order, a part of the users at a time.

Sorting 64-bit integers is several times as fast as sorting events with their texts, and a part is small
whatever the number of events. For engines with `has_asof_join`.
"""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from jobs.engine.text import query, text_list

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa

    from jobs.engine.port import Engine

Integers: TypeAlias = npt.NDArray[np.int64]
Flags: TypeAlias = npt.NDArray[np.bool_]
T = TypeVar("T")

#: So many events make a part, unless one user has more.
PART_EVENTS = 1 << 19
#: Parts that are more are kept one behind the other, so that reading one does not pass over all.
_PASSED_OVER = 64
#: More distinct texts than these are no vocabulary.
MAX_TOKENS = 1 << 20
_UNSIGNED = 1 << 32
#: More would wait for the engine, which reads one part after the other.
_WORKERS = 4


@dataclass(frozen=True, slots=True)
class History:
    """The events of some users by user, time and seq.

    Attributes:
        users: their ids in byte order.
        user: for each event the index of its user.
        time: for each event, in Unix seconds.
        token: for each event the index of its token.
        converts: for each event whether it is a conversion event.
        value: for each event its value where it is one, else 0; None where the input has no values.
    """

    users: pa.Array
    user: Integers
    time: Integers
    token: Integers
    converts: Flags
    value: Integers | None


@dataclass(frozen=True, slots=True)
class Histories:
    """All users in byte order, part by part.

    Attributes:
        tokens: the distinct tokens in byte order.
    """

    engine: Engine
    tokens: pa.Array
    parts: tuple[tuple[int, int], ...]
    first_time: int

    def read(self) -> Iterator[tuple[int, pa.Array, pa.Table]]:
        """Read one part after the other: its first user's number, its users, its events in no order."""
        for low, high in self.parts:
            places = {"low": str(low), "high": str(high)}
            users = self.engine.collect(query("histories", "part_users", **places)).column("user_id")
            yield (
                low,
                users.combine_chunks(),
                self.engine.collect(query("histories", "part_events", **places)),
            )

    def history(self, low: int, users: pa.Array, rows: pa.Table) -> History:
        """A part in order."""
        columns = {name: rows.column(name).to_numpy() for name in rows.column_names}
        user = columns["user_number"].astype(np.int64) - low
        time = columns["time"].astype(np.int64)
        order = in_order(user, time, columns["seq"])
        value = columns.get("value")
        return History(
            users=users,
            user=user[order],
            time=time[order] + self.first_time,
            token=columns["token_number"][order].astype(np.int64),
            converts=columns["converts"][order] != 0,
            value=value[order] if value is not None else None,
        )


def histories(
    engine: Engine, *, covers: str, step: str, conversion_events: tuple[str, ...], with_values: bool
) -> Histories | None:
    """Number the users and tokens of `events`; None where there are too many tokens.

    Args:
        engine: has `events` staged.
        covers: the predicate of the report range.
        step: the SQL expression of what an event is called.
        conversion_events: events that convert.
        with_values: whether `value_minor` is read.
    """
    engine.materialize("history_tokens", query("histories", "tokens", token=step, range=covers))
    tokens = engine.collect(query("histories", "listed_tokens")).column("token").combine_chunks()
    if len(tokens) > MAX_TOKENS:
        return None
    engine.materialize("history_users", query("histories", "users", range=covers, rows=str(PART_EVENTS)))
    parts = [(row["low"], row["high"]) for row in engine.collect(query("histories", "parts")).to_pylist()]
    time, first_time = _narrow(engine, "time")
    seq, _ = _narrow(engine, "seq")
    converts = f"event IN ({text_list(conversion_events)})"
    rows = query(
        "histories",
        "events",
        token=step,
        time=time,
        seq=seq,
        converts=converts,
        value=f", CASE WHEN {converts} THEN COALESCE(value_minor, 0) ELSE 0 END AS value"
        if with_values
        else "",
        range=covers,
        order="ORDER BY part" if len(parts) > _PASSED_OVER else "",
    )
    (engine.view if len(parts) == 1 else engine.materialize)("history_events", rows)
    return Histories(engine, tokens, tuple(parts), first_time)


def each(found: Histories, work: Callable[[History], T]) -> Iterator[T]:
    """What some work makes of every part, in order; some parts at a time, as numpy frees the interpreter."""

    def ordered(*part: Any) -> T:
        return work(found.history(*part))

    workers = min(len(os.sched_getaffinity(0)), _WORKERS)
    with ThreadPoolExecutor(workers, "histories") as pool:
        waiting: deque[Future[T]] = deque()
        for part in found.read():
            waiting.append(pool.submit(ordered, *part))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _narrow(engine: Engine, column: str) -> tuple[str, int]:
    """A column counted from its smallest value, in 32 bits where they suffice; and that value."""
    found = engine.collect(query("staging", "bounds", column=column, relation="events")).to_pylist()[0]
    low, high = found["low"] or 0, found["high"] or 0
    if high - low < _UNSIGNED:
        return f"CAST({column} - ({low}) AS UINTEGER)", low
    return column, 0


def in_order(user: Integers, time: Integers, seq: Integers) -> Integers:
    """The rows by user, time and seq. Users and times are not negative and have 63 bits together.

    Moments of one row, as most are, are sorted once.
    """
    moments = (user << int(time.max(initial=0)).bit_length()) | time
    order = np.argsort(moments)
    same = np.diff(moments[order]) == 0
    if same.any():
        again = np.zeros(len(order), bool)
        again[1:] |= same
        again[:-1] |= same
        rows = order[again]
        order[again] = rows[np.lexsort((seq[rows], moments[rows]))]
    return order


def starts(history: History, timeout: int | None, *, split_on_day: bool = False) -> Flags:
    """Where a user's history begins, and with a timeout where one of its sessions does."""
    found = np.ones(len(history.user), bool)
    found[1:] = np.diff(history.user) != 0
    if timeout is not None:
        found[1:] |= np.diff(history.time) > timeout
    if split_on_day:
        found[1:] |= np.diff(history.time // 86_400) != 0
    return found
