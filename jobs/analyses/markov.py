"""Markov attribution, solved exactly: the removal effect of each channel, from counted moves.

Pure numbers in, numbers out: the engine counts the moves (`markov_moves`), this module solves. It has a
start, transient states (k-grams of channels) and two ends, conversion and null. With Q the moves between
transient states, s the start's row, r the column to conversion, all as probabilities, the chance of a
conversion is P = s (I-Q)^-1 r. A channel is removed by taking out every state that holds it, so that what
would flow in is lost; P_k is what remains and the removal effect is 1 - P_k / P.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Integers = npt.NDArray[np.int64]

#: Up to this many states of one channel each, one dense inverse is faster than a sparse solve per channel.
_DENSE = 400


@dataclass(frozen=True, slots=True)
class Chain:
    """Counted moves between numbered states; all arrays hold counts, not probabilities.

    Attributes:
        holders: for each channel the numbers of the states that hold it.
        source: state of each move.
        target: state that the move of the same place leads to.
        moves: how often it was made.
        starts: for each state, how many paths begin there.
        conversions: for each state, how many paths end there with a conversion.
        values: for each state, the value of these.
        nulls: for each state, how many paths end there without one.
    """

    holders: Sequence[Integers]
    source: Integers
    target: Integers
    moves: Floats
    starts: Floats
    conversions: Floats
    values: Floats
    nulls: Floats


@dataclass(frozen=True, slots=True)
class Effects:
    """What the removal of each channel takes away, as a fraction; NaN where there is nothing to take.

    Attributes:
        probability: of a conversion, with all channels in place.
        conversions: of the conversions, one number for each channel.
        values: of the value.
    """

    probability: float
    conversions: Floats
    values: Floats


def removal_effects(chain: Chain) -> Effects:
    """Solve the chain as it is and without each channel.

    No conversions at all, or no path: the probability is 0 and every effect NaN. A channel that leads to no
    conversion has the effect 0.
    """
    paths = chain.starts.sum()
    if not paths or not chain.conversions.sum():
        nothing = np.full(len(chain.holders), np.nan)
        return Effects(0.0, nothing, nothing.copy())
    out = chain.conversions + chain.nulls
    np.add.at(out, chain.source, chain.moves)
    scale = np.divide(1.0, out, out=np.zeros_like(out), where=out > 0)
    states = len(out)
    steps = scipy.sparse.csr_matrix(
        (chain.moves * scale[chain.source], (chain.source, chain.target)), shape=(states, states)
    )
    # Rewards on leaving for the conversion: 1 each, or the mean value of those who leave from there.
    rewards = np.stack([chain.conversions * scale, chain.values * scale], axis=1)
    begin = chain.starts / paths
    alone = all(len(holder) == 1 for holder in chain.holders)
    if alone and states <= _DENSE:
        whole, lost = _lost_dense(steps, begin, rewards, chain.holders)
    else:
        whole, lost = _lost_sparse(steps, begin, rewards, chain.holders)
    with np.errstate(divide="ignore", invalid="ignore"):
        effects = lost / whole
    return Effects(float(whole[0]), effects[:, 0], effects[:, 1] if whole[1] else np.full(len(lost), np.nan))


def _lost_dense(
    steps: scipy.sparse.csr_matrix, begin: Floats, rewards: Floats, holders: Sequence[Integers]
) -> tuple[Floats, Floats]:
    """What is lost with state k: the chance of ever being there, times what is earned from there on.

    With N the inverse of I-Q, the first is (s N)_k / N_kk and the second (N r)_k.
    """
    inverse = np.linalg.inv(np.eye(len(begin)) - steps.toarray())
    visits, earned = begin @ inverse, inverse @ rewards
    reached = visits / np.diag(inverse)
    places = np.array([holder[0] for holder in holders], dtype=np.int64)
    return begin @ earned, reached[places, None] * earned[places]


def _lost_sparse(
    steps: scipy.sparse.csr_matrix, begin: Floats, rewards: Floats, holders: Sequence[Integers]
) -> tuple[Floats, Floats]:
    """One sparse solve for all, and one for the states that are left without each channel."""
    whole = _expected(steps, begin, rewards, np.ones(len(begin), dtype=bool))
    lost = np.zeros((len(holders), 2))
    for channel, holder in enumerate(holders):
        kept = np.ones(len(begin), dtype=bool)
        kept[holder] = False
        lost[channel] = whole - _expected(steps, begin, rewards, kept)
    return whole, lost


def _expected(
    steps: scipy.sparse.csr_matrix, begin: Floats, rewards: Floats, kept: npt.NDArray[np.bool_]
) -> Floats:
    """Expected rewards of a walk that may only use the kept states."""
    if not kept.any():
        return np.zeros(2)
    inner = steps[kept][:, kept]
    system = scipy.sparse.csc_matrix(scipy.sparse.identity(inner.shape[0], format="csc") - inner.T)
    visits = scipy.sparse.linalg.spsolve(system, begin[kept])
    found: Floats = np.atleast_1d(visits) @ rewards[kept]
    return found


def share_out(total: float, effects: Floats) -> Floats:
    """A total shared by the effects; NaN where they say nothing, zeros where there is nothing to share."""
    if not total:
        return np.zeros(len(effects))
    whole = effects.sum()
    if not np.isfinite(whole) or whole == 0:
        return np.full(len(effects), np.nan)
    shared: Floats = total * effects / whole
    return shared
