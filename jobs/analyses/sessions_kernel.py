"""Sessions over sorted integers: a fast way to those that no campaign splits and no channel names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.analyses.histories import History, each, starts
from jobs.analyses.sums import summed
from jobs.contracts.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobs.analyses.histories import Histories


def session_batches(found: Histories, *, timeout: int, split_on_day: bool) -> Iterator[pa.RecordBatch]:
    """The output `sessions` in its order. Raises EngineError where a sum of values leaves 64 bits."""

    def sessions(history: History) -> pa.RecordBatch:
        return _sessions(history, found.tokens, starts(history, timeout, split_on_day=split_on_day))

    try:
        yield from each(found, sessions)
    except OverflowError as error:
        raise EngineError(f"output sessions: {error}") from error


def _sessions(history: History, tokens: pa.Array, opens: np.ndarray) -> pa.RecordBatch:
    first = np.flatnonzero(opens)
    last = np.append(first[1:], len(opens)) - 1
    user = history.user[first]
    number = np.arange(len(first))
    of_user = np.flatnonzero(np.append(True, np.diff(user) != 0))
    index = number - np.repeat(of_user, np.diff(np.append(of_user, len(first)))) + 1
    began, ended = history.time[first], history.time[last]
    names = history.users.take(pa.array(user))
    session_id = pc.binary_join_element_wise(
        names, pa.array(began).cast(pa.string()), pa.array(index).cast(pa.string()), ":"
    )
    value = np.zeros(len(first), np.int64) if history.value is None else summed(history.value, first)
    return pa.RecordBatch.from_pydict(
        {
            "session_id": session_id,
            "user_id": names,
            "session_index": index,
            "started_at": began,
            "ended_at": ended,
            "duration_s": ended - began,
            "events": last - first + 1,
            "entry_event": tokens.take(pa.array(history.token[first])),
            "exit_event": tokens.take(pa.array(history.token[last])),
            "channel": pa.repeat("direct", len(first)),
            "converted": np.maximum.reduceat(history.converts, first),
            "value_minor": value,
        }
    )
