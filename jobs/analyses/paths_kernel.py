"""Paths of events over sorted integers: a fast way to those that nothing trims.

A path is its tokens' numbers, packed into 64-bit words; equal paths have equal words, exactly. Paths,
transitions and steps are counted part by part and added up, so that what is kept is what differs, whatever
the number of events.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.analyses.histories import Integers, each, starts
from jobs.analyses.sums import Sums, changes, percentile, summed, tallied

if TYPE_CHECKING:
    from jobs.analyses.histories import Flags, Histories, History

_WORD = 63
#: Paths of more words are left to SQL.
MAX_WORDS = 8
SEPARATOR = " > "
START, END = "path_start", "path_end"


@dataclass(frozen=True, slots=True)
class Layout:
    """How a path becomes words.

    Attributes:
        tokens: how many there are; in a word they count from 1.
        length: the most steps that a path keeps.
    """

    tokens: int
    length: int

    @property
    def bits(self) -> int:
        """The bits of a token."""
        return max(self.tokens.bit_length(), 1)

    @property
    def in_word(self) -> int:
        """The tokens of a word."""
        return min(_WORD // self.bits, self.length)

    @property
    def words(self) -> int:
        """The words of a path."""
        return -(-self.length // self.in_word)


class Counts:
    """What is counted, over all parts.

    Attributes:
        paths: by words, duration, and whether they converted: entities.
        values: by words: value.
        gaps: by source, target and seconds between them: moves. Token numbers count from 1; 0 is the start
            as a source, the end as a target.
        moves: by source and target: moves.
        movers: by source and target: entities.
        steps: by position from 0 and token from 0: entities.
        lengths: by the path's length: entities.
    """

    def __init__(self, layout: Layout) -> None:
        """Begin with nothing."""
        self.layout = layout
        self.paths, self.values = Sums(layout.words + 2, 1), Sums(layout.words, 1)
        self.gaps, self.moves, self.movers = Sums(3, 1), Sums(2, 1), Sums(2, 1)
        self.steps, self.lengths = Sums(2, 1), Sums(1, 1)

    def take(self, history: History, opens: Flags, *, collapse: bool) -> None:
        """Count the entities of a part; each one begins where `opens` says."""
        first = np.flatnonzero(opens)
        last = np.append(first[1:], len(opens)) - 1
        kept = opens.copy()
        kept[1:] |= np.diff(history.token) != 0 if collapse else True
        rows = np.flatnonzero(kept)
        token, begins = history.token[rows], np.flatnonzero(opens[rows])
        sizes = np.diff(np.append(begins, len(rows)))
        position = np.arange(len(rows)) - np.repeat(begins, sizes)
        converts = np.maximum.reduceat(history.converts, first).astype(np.int64)
        duration = history.time[last] - history.time[first]
        words = self._words(token, position, begins)
        self.paths.count(*words, duration, converts)
        if history.value is not None:
            self.values.add(*words, summed(history.value, first))
        inside = position < self.layout.length
        self.steps.count(position[inside], token[inside])
        self.lengths.count(np.minimum(sizes, self.layout.length))
        self._take_moves(history.time[rows], token, begins, sizes)

    def _words(self, token: Integers, position: Integers, begins: Integers) -> list[Integers]:
        words = []
        for word in range(self.layout.words):
            place = position - word * self.layout.in_word
            inside = (place >= 0) & (place < self.layout.in_word) & (position < self.layout.length)
            digit = np.where(inside, token + 1, 0) << np.where(inside, place * self.layout.bits, 0)
            words.append(np.bitwise_or.reduceat(digit, begins))
        return words

    def _take_moves(self, time: Integers, token: Integers, begins: Integers, sizes: Integers) -> None:
        """Every step to the next one, the way in and the way out included."""
        target = np.append(token[1:] + 1, 0)
        ends = begins + sizes - 1
        target[ends] = 0
        inner = np.ones(len(token), bool)
        inner[ends] = False
        onward = np.flatnonzero(inner)
        self.gaps.count(token[onward] + 1, target[onward], time[onward + 1] - time[onward])
        self.moves.count(token + 1, target)
        if len(begins) == len(token):
            self.movers.count(token + 1, target)
        else:
            entity = np.repeat(np.arange(len(begins)), sizes)
            self.movers.count(*tallied([entity, token + 1, target])[1:-1])
        first, entities = tallied([token[begins] + 1])
        for sums in (self.moves, self.movers):
            sums.add(np.zeros(len(first), np.int64), first, entities)


def count(found: Histories, layout: Layout, *, timeout: int | None, collapse: bool) -> Counts:
    """Count paths of sessions, or of users where there is no timeout.

    Raises:
        OverflowError: values of a path leave 64 bits.
    """
    counts = Counts(layout)

    def take(history: History) -> None:
        counts.take(history, starts(history, timeout), collapse=collapse)

    for _ in each(found, take):
        pass
    return counts


def paths_table(counts: Counts, tokens: pa.Array) -> pa.Table:
    """path, length, entities, conversions, value_minor, p50_duration_s; in no order."""
    words = counts.layout.words
    columns = counts.paths.columns()
    keys, (duration, converts, entities) = columns[:words], columns[words:]
    begins = changes(keys)
    paths, lengths = _texts([key[begins] for key in keys], counts.layout, tokens)
    values = counts.values.columns()[-1]
    return pa.table(
        {
            "path": paths,
            "length": lengths,
            "entities": _sums(entities, begins),
            "conversions": _sums(entities * converts, begins),
            "value_minor": values if len(values) else np.zeros(len(begins), np.int64),
            "p50_duration_s": percentile(begins, duration, entities, 0.5),
        }
    )


def _sums(numbers: Integers, begins: Integers) -> Integers:
    return np.add.reduceat(numbers, begins) if len(begins) else begins


def _texts(words: list[Integers], layout: Layout, tokens: pa.Array) -> tuple[pa.Array, Integers]:
    """The paths of some words as texts, and their lengths."""
    length = np.zeros(len(words[0]), np.int64)
    parts = []
    for place in range(layout.length):
        word, shift = words[place // layout.in_word], place % layout.in_word * layout.bits
        token = (word >> shift) & ((1 << layout.bits) - 1)
        if not token.any():
            break
        length += token > 0
        parts.append(tokens.take(pa.array(token - 1, mask=token == 0)))
    if not parts:
        return pa.array([], pa.string()), length
    texts = pc.binary_join_element_wise(*parts, SEPARATOR, null_handling="skip")
    return texts, length


def transitions_table(counts: Counts, tokens: pa.Array) -> pa.Table:
    """source, target, count, entities, median_s, p95_s; in no order."""
    source, target, moves = counts.moves.columns()
    entities = counts.movers.columns()[-1]
    gap_source, gap_target, gap, times = counts.gaps.columns()
    begins = changes([gap_source, gap_target])
    median = np.full(len(source), np.nan)
    late = np.full(len(source), np.nan)
    # Of all moves, in the same order, those that end in a step and begin with one have a gap.
    timed = (source > 0) & (target > 0)
    median[timed] = percentile(begins, gap, times, 0.5)
    late[timed] = percentile(begins, gap, times, 0.95)
    return pa.table(
        {
            "source": _names(source, START, tokens),
            "target": _names(target, END, tokens),
            "count": moves,
            "entities": entities,
            "median_s": pa.array(median, mask=~timed),
            "p95_s": pa.array(late, mask=~timed),
        }
    )


def _names(numbers: Integers, zero: str, tokens: pa.Array) -> pa.Array:
    return pa.concat_arrays([pa.array([zero], tokens.type), tokens]).take(pa.array(numbers))


def steps_table(counts: Counts, tokens: pa.Array) -> pa.Table:
    """step, event, entities: the start in step 0, the end once a path is over; in no order."""
    position, token, entities = counts.steps.columns()
    lengths, many = counts.lengths.columns()
    over = [int(many[lengths < step].sum()) for step in range(1, counts.layout.length + 1)]
    first = pa.table({"step": [0], "event": [START], "entities": [int(many.sum())]})
    ends = pa.table(
        {"step": range(1, len(over) + 1), "event": [END] * len(over), "entities": pa.array(over, pa.int64())}
    )
    inside = pa.table({"step": position + 1, "event": tokens.take(pa.array(token)), "entities": entities})
    return pa.concat_tables([first, inside, ends])
