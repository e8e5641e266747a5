"""Pareto/NBD: customers buy at a rate of their own and may drop out at any time.

Schmittlein, Morrison, Colombo (1987), in the form of Fader and Hardie's notes (2005). Rates of purchase are
gamma(r, alpha), of dropping out gamma(s, beta). A customer is x repeat purchases, the last at tx, watched
until T.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy

from jobs.analyses.lifetime.fit import Likelihood

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobs.analyses.lifetime.fit import Floats
    from jobs.analyses.lifetime.groups import Groups

NAMES = ("r", "alpha", "s", "beta")
_MOST_TERMS, _NOTHING = 200_000, 1e-17
#: So many terms are added before those are left out whose sums do not change any more.
_TERMS_AT_ONCE = 16


def likelihood(groups: Groups) -> Likelihood:
    """The mean negative log-likelihood of the groups."""
    customers = float(groups.customers)

    def value(logs: Floats) -> float:
        return -float(groups.count @ log_likelihood(np.exp(logs), groups)) / customers

    span = float(np.log(np.average(np.maximum(groups.T, 1e-9), weights=groups.count)))
    starts = ((0.0, span, 0.0, span), (-1.0, span - 1, -1.0, span - 1), (0.0, span, -2.0, span + 1))
    return Likelihood(NAMES, value, groups.customers, len(groups.count), starts=starts)


def log_likelihood(parameters: Sequence[float] | Floats, groups: Groups) -> Floats:
    """The log-likelihood of one customer of each group."""
    r, alpha, s, beta = parameters
    kept, gone = _terms(parameters, groups)
    found: Floats = (
        scipy.special.gammaln(r + groups.x)
        - scipy.special.gammaln(r)
        + r * np.log(alpha)
        + s * np.log(beta)
        + np.logaddexp(kept, gone)
    )
    return found


def _terms(parameters: Sequence[float] | Floats, groups: Groups) -> tuple[Floats, Floats]:
    """Logarithms of the two ways to have been silent since tx: still a customer, or gone since."""
    r, alpha, s, beta = parameters
    x, until = groups.x, groups.T
    kept = -(r + x) * np.log(alpha + until) - s * np.log(beta + until)
    early, late = (_tail(parameters, pairs.x, pairs.time)[pairs.place] for pairs in (groups.last, groups.end))
    with np.errstate(divide="ignore", invalid="ignore"):
        between = early + np.log(-np.expm1(np.minimum(late - early, 0.0)))
    return kept, np.log(s) - np.log(r + s + x) + np.where(groups.tx < until, between, -np.inf)


def _tail(parameters: Sequence[float] | Floats, x: Floats, time: Floats) -> Floats:
    """Log of (r+s+x)/s times the chance to drop out after `time`, unscaled; two of them bound a span.

    Euler's transformation leaves a hypergeometric function between 1 and (r+s+x)/s for any x, and the powers
    of x stay in the logarithm.
    """
    r, alpha, s, beta = parameters
    buying, leaving = np.log(alpha + time), np.log(beta + time)
    if alpha >= beta:
        series = _series(r + x, r + s + x + 1, (alpha - beta) / (alpha + time))
        found: Floats = np.log(series) - (r + x) * buying - s * leaving
    else:
        series = _series(np.full_like(x, s + 1), r + s + x + 1, (beta - alpha) / (beta + time))
        found = np.log(series) - (r + x - 1) * buying - (s + 1) * leaving
    return found


def _series(b: Floats, c: Floats, z: Floats) -> Floats:
    """2F1(1, b; c; z) for c > b and 0 <= z < 1.

    SciPy (1.17) overflows to infinity for some large c with z above 0.9, where the terms of the series
    itself fall fast; there they are added up.
    """
    found: Floats = np.array(scipy.special.hyp2f1(1.0, b, c, z))
    left = np.flatnonzero(~np.isfinite(found) | (found < 1))
    b, c, z = b[left], c[left], np.broadcast_to(z, found.shape)[left]
    total, term = np.ones(len(left)), np.ones(len(left))
    for number in range(_MOST_TERMS):
        if not len(left):
            break
        term *= (b + number) / (c + number) * z
        total += term
        found[left] = total
        if number % _TERMS_AT_ONCE == 0:
            more = term >= _NOTHING * total
            left, b, c, z = left[more], b[more], c[more], z[more]
            total, term = total[more], term[more]
    return found


def alive(parameters: Sequence[float], groups: Groups) -> Floats:
    """The chance that a customer has not dropped out."""
    kept, gone = _terms(parameters, groups)
    found: Floats = scipy.special.expit(kept - gone)
    return found


def expected(parameters: Sequence[float], groups: Groups, periods: float) -> Floats:
    """Purchases to be expected of each customer in the next `periods` model periods."""
    r, alpha, s, beta = parameters
    rest = np.log(beta + groups.T) - np.log(beta + groups.T + periods)
    # (1 - q^(s-1)) / (s-1), which is -ln q where s is 1.
    span = -rest if s == 1 else -np.expm1((s - 1) * rest) / (s - 1)
    rate = (r + groups.x) / (alpha + groups.T)
    found: Floats = rate * (beta + groups.T) * span * alive(parameters, groups)
    return found
