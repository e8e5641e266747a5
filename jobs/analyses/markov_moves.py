"""From journeys on an engine to the Markov credits: the engine counts moves, the driver solves the chain.

Only counts leave the engine: a row for each pair of neighbouring states, however many journeys there are. The
error bars draw each unit (a conversion, a user without one, a row of the aggregated input) 0, 1, 2, ... times
with Poisson(1) probabilities, from the MD5 of its key and fixed multipliers, so both engines draw the same.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from math import exp, factorial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from jobs.analyses.markov import Chain, removal_effects, share_out
from jobs.contracts.errors import ParameterError
from jobs.engine.text import query

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from jobs.engine.port import Engine

    Floats = npt.NDArray[np.float64]

MOST_STATES = 20_000
#: The largest prime below 2^28: products of two numbers below it fit a BIGINT, with room for a sum.
_PRIME = 268_435_399
_DIGITS = 7
_CHUNK = 25
_LOW, _HIGH = 2.5, 97.5


@dataclass(frozen=True, slots=True)
class Options:
    """How the chain is built: `order` channels in a state; `replicates` of 0 means no error bars."""

    order: int
    replicates: int
    seed: int


@dataclass(frozen=True, slots=True)
class _Moves:
    """The counted rows: which state each leads to and comes from (-1: none), and the channels' states."""

    channels: list[str]
    holders: list[npt.NDArray[np.int64]]
    target: npt.NDArray[np.int64]
    source: npt.NDArray[np.int64]
    is_first: npt.NDArray[np.bool_]
    is_last: npt.NDArray[np.bool_]
    states: int

    def chain(self, conversions: Floats, nulls: Floats, values: Floats) -> Chain:
        """The chain of the rows with these weights."""
        ends, firsts = self.is_last, self.is_first
        moving = self.source >= 0
        carried = conversions + nulls
        return Chain(
            self.holders,
            self.source[moving],
            self.target[moving],
            carried[moving],
            self._at_states(firsts, carried),
            self._at_states(ends, conversions),
            self._at_states(ends, values),
            self._at_states(ends, nulls),
        )

    def _at_states(self, chosen: npt.NDArray[np.bool_], weights: Floats) -> Floats:
        found = np.zeros(self.states)
        np.add.at(found, self.target[chosen], weights[chosen])
        return found


def credit(engine: Engine, options: Options, *, has_lists: bool, has_paths: bool, into: str) -> None:
    """Register the credits as the relation `into` (channel, conversions, value_minor, removal_effect, ...).

    Reads `attribution_touch_rows` (or `attribution_lists`) and `attribution_journeys`.

    Raises:
        ParameterError: the order makes more states than can be solved.
    """
    _grams(engine, options.order, has_lists=has_lists)
    keys = _keys(options.order)
    engine.materialize("attribution_moves", query("markov", "moves", keys=keys))
    _check_states(engine, options.order)
    rows = engine.collect(query("staging", "typed", items="*", relation="attribution_moves"))
    moves = _number_states(rows, options.order)
    counted = [_floats(rows, name) for name in ("conversions", "nulls", "value_minor")]
    total, value = (float(counts[moves.is_last].sum()) for counts in (counted[0], counted[2]))
    effects = removal_effects(moves.chain(*counted))
    low = high = np.full(len(moves.channels), np.nan)
    if options.replicates and total:
        low, high = _intervals(engine, options, moves, total, has_paths=has_paths)
    nothing = np.full(len(moves.channels), np.nan)
    columns = {
        "conversions": share_out(total, effects.conversions) if total else nothing,
        "value_minor": share_out(value, effects.values) if total else nothing,
        "removal_effect": effects.conversions,
        "ci_low": low,
        "ci_high": high,
    }
    table: dict[str, pa.Array] = {"channel": pa.array(moves.channels, pa.string())}
    table |= {name: pa.array(numbers, pa.float64(), from_pandas=True) for name, numbers in columns.items()}
    engine.register_arrow(into, pa.table(table))


def _keys(order: int) -> str:
    return ", ".join(f"g{back}" for back in range(order + 1))


def _grams(engine: Engine, order: int, *, has_lists: bool) -> None:
    if has_lists and order == 1:
        engine.view("attribution_grams", query("markov", "listed_grams"))
        return
    relation = "attribution_touch_rows"
    if order > 1:
        engine.view("attribution_collapsed", query("markov", "collapsed_rows"))
        relation = "attribution_collapsed"
    lags = ", ".join(
        f"LAG(channel, {back}) OVER (PARTITION BY path_id ORDER BY position) AS g{back}"
        for back in range(1, order + 1)
    )
    grams = ", ".join(["channel AS g0", *(f"g{back}" for back in range(1, order + 1))])
    sql = query("markov", "grams", relation=relation, order=str(order), lags=lags, grams=grams)
    engine.view("attribution_grams", sql)


def _check_states(engine: Engine, order: int) -> None:
    state = ", ".join(f"g{back}" for back in range(order))
    keys = query("staging", "distinct_keys", keys=state, relation="attribution_moves")
    states = engine.collect(keys).to_pylist()[0]["n"]
    if states > MOST_STATES:
        raise ParameterError(
            f"parameter order: {order} makes {states} states of these paths; give a smaller order"
            f" (at most {MOST_STATES} states are solved), or group the channels"
        )


def _floats(rows: pa.Table, name: str) -> Floats:
    found: Floats = rows.column(name).to_numpy().astype(np.float64)
    return found


def _number_states(rows: pa.Table, order: int) -> _Moves:
    """Give each k-gram a number. A run of one channel is no move, only perhaps a path's end."""
    columns = [rows.column(f"g{back}").to_pylist() for back in range(order, -1, -1)]
    first, last = (rows.column(name).to_numpy().astype(bool) for name in ("is_first", "is_last"))
    numbers: dict[tuple[str, ...], int] = {}
    source, target = [], []
    for gram, begins in zip(zip(*columns, strict=True), first, strict=True):
        state = tuple(channel for channel in gram[1:] if channel is not None)
        before = gram[:-1] if not begins else state
        target.append(numbers.setdefault(state, len(numbers)))
        source.append(numbers.setdefault(before, len(numbers)) if before != state else -1)
    channels = sorted({channel for state in numbers for channel in state})
    holding: dict[str, list[int]] = {channel: [] for channel in channels}
    for state, number in numbers.items():
        for channel in set(state):
            holding[channel].append(number)
    return _Moves(
        channels,
        [np.array(holding[channel], dtype=np.int64) for channel in channels],
        np.array(target, dtype=np.int64),
        np.array(source, dtype=np.int64),
        first,
        last,
        len(numbers),
    )


def _intervals(
    engine: Engine, options: Options, moves: _Moves, total: float, *, has_paths: bool
) -> tuple[Floats, Floats]:
    """The 2.5 and 97.5 percentiles of each channel's share over the replicates, times the conversions."""
    shares = [
        share_out(total, removal_effects(moves.chain(conversions, nulls, np.zeros_like(nulls))).conversions)
        for conversions, nulls in _replicates(engine, options, moves, has_paths=has_paths)
        if conversions[moves.is_last].any()
    ]
    if not shares:
        return (nothing := np.full(len(moves.channels), np.nan)), nothing
    low, high = np.percentile(np.stack(shares), [_LOW, _HIGH], axis=0)
    return low, high


def _replicates(
    engine: Engine, options: Options, moves: _Moves, *, has_paths: bool
) -> Iterator[tuple[Floats, Floats]]:
    """The counted rows' conversions and nulls in each replicate, in the order of `moves`."""
    units = query("markov", "path_units" if has_paths else "journey_units")
    engine.materialize(
        "attribution_units",
        query("markov", "hashed_units", first=_number("digest", 1), second=_number("digest", 9), units=units),
    )
    keys = _keys(options.order)
    rng = random.Random(options.seed)  # noqa: S311 - reproducible draws, no secret
    constants = [tuple(rng.randrange(1, _PRIME) for _ in range(3)) for _ in range(options.replicates)]
    names = [*keys.split(", "), "is_first", "is_last"]
    ordered = engine.collect(query("staging", "typed", items=", ".join(names), relation="attribution_moves"))
    place = {tuple(row.values()): number for number, row in enumerate(ordered.to_pylist())}
    for begin in range(0, options.replicates, _CHUNK):
        chunk = constants[begin : begin + _CHUNK]
        rows = engine.collect(_resampled(keys, chunk))
        found = rows.select(names).to_pylist()
        order = np.array([place[tuple(row.values())] for row in found], dtype=np.int64)
        for number in range(len(chunk)):
            both = np.zeros((2, len(moves.target)))
            both[0, order], both[1, order] = _floats(rows, f"c{number}"), _floats(rows, f"n{number}")
            yield both[0], both[1]


def _resampled(keys: str, chunk: list[tuple[int, ...]]) -> str:
    numbers = range(len(chunk))
    return query(
        "markov",
        "resampled_moves",
        keys=keys,
        uniforms=", ".join(
            f"(h1 * {a} + h2 * {b} + {c}) % {_PRIME} AS u{number}" for number, (a, b, c) in enumerate(chunk)
        ),
        drawn=", ".join(f"{_poisson(f'u{number}')} AS w{number}" for number in numbers),
        sums=", ".join(
            f"CAST(SUM(unit_weight * w{number}) AS DOUBLE) AS c{number},"
            f" CAST(SUM(unit_nulls * w{number}) AS DOUBLE) AS n{number}"
            for number in numbers
        ),
    )


def _poisson(uniform: str) -> str:
    """How often a unit is drawn, by a uniform integer below _PRIME: the inverse of the distribution."""
    below, cases = 0.0, []
    for drawn in range(11):
        below += exp(-1) / factorial(drawn)
        cases.append(f"WHEN {uniform} < {int(below * _PRIME)} THEN {drawn}")
    return f"CASE {' '.join(cases)} ELSE 11 END"


def _number(digest: str, start: int) -> str:
    """Seven hexadecimal digits as an integer, in words that both engines know."""
    return " + ".join(
        f"(POSITION(SUBSTR({digest}, {start + digit}, 1) IN '0123456789abcdef') - 1)"
        f" * CAST({16 ** (_DIGITS - 1 - digit)} AS BIGINT)"
        for digit in range(_DIGITS)
    )
