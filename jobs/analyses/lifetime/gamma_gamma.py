"""Gamma-Gamma: the mean value of a customer's purchases, shrunk to that of all where there are few.

Fader and Hardie (2013). Values are gamma(p, nu), nu is gamma(q, v). It takes for granted that how much a
customer spends does not go with how often: `correlation` says whether it does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy

from jobs.analyses.lifetime.fit import Fit, Likelihood, Status, maximise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobs.analyses.lifetime.fit import Floats

NAMES = ("p", "q", "v")


@dataclass(frozen=True, slots=True)
class Spending:
    """Repeat customers; both arrays have the same length.

    Attributes:
        x: repeat purchases, at least 1.
        mean: their mean value, above 0.
    """

    x: Floats
    mean: Floats


def fit(spending: Spending) -> Fit:
    """Fit p, q and v; v is in the unit of the means. A q of at most 1 has no finite mean to predict."""
    customers = len(spending.x)
    if customers == 0:
        return Fit(Status.NO_REPEATS, NAMES, message="no customer came back with a purchase above 0")
    scale = float(spending.mean.mean())
    scaled = maximise(likelihood(Spending(spending.x, spending.mean / scale)))
    if not scaled.values:
        return scaled
    p, q, v = scaled.values
    status, message = scaled.status, scaled.message
    if status is Status.OK and q <= 1:
        status, message = Status.NO_MEAN, "q is at most 1: the mean value over all customers is not finite"
    return Fit(
        status,
        NAMES,
        (p, q, v * scale),
        scaled.log_likelihood - customers * float(np.log(scale)),
        scaled.errors,
        customers,
        customers,
        scaled.iterations,
        message,
    )


def likelihood(spending: Spending) -> Likelihood:
    """The mean negative log-likelihood; what depends on x alone is summed once for each x."""
    x, mean = spending.x, spending.mean
    counts, times = np.unique(x, return_counts=True)
    customers = float(len(x))
    sums = x * mean
    logs_mean, x_logs = float(np.log(mean).sum()), float((x * np.log(sums)).sum())

    def value(logs: Floats) -> float:
        p, q, v = np.exp(logs)
        by_count = scipy.special.gammaln(p * counts + q) - scipy.special.gammaln(p * counts)
        whole = times @ by_count + customers * (q * np.log(v) - scipy.special.gammaln(q))
        whole += p * x_logs - logs_mean - float(((p * x + q) * np.log(sums + v)).sum())
        return -float(whole) / customers

    def slope(logs: Floats) -> Floats:
        p, q, v = np.exp(logs)
        joint = scipy.special.digamma(p * counts + q)
        spent = np.log(sums + v)
        by_p = (
            times @ (counts * (joint - scipy.special.digamma(p * counts))) + x_logs - float((x * spent).sum())
        )
        by_q = times @ joint + customers * (np.log(v) - scipy.special.digamma(q)) - float(spent.sum())
        by_v = customers * q / v - float(((p * x + q) / (sums + v)).sum())
        found: Floats = -np.array([by_p * p, by_q * q, by_v * v]) / customers
        return found

    return Likelihood(NAMES, value, len(x), len(x), slope, ((1.0, 1.0, 1.0), (2.0, 2.0, 0.0)))


def expected(parameters: Sequence[float], x: Floats, mean: Floats) -> Floats:
    """The mean value of a customer's purchases to come; that of all customers where x is 0."""
    p, q, v = parameters
    found: Floats = (p * v + p * x * mean) / (p * x + q - 1)
    return found


def correlation(spending: Spending) -> float:
    """Pearson's between x and the mean value; NaN where one of them does not vary."""
    if len(spending.x) < 2 or not spending.x.std() or not spending.mean.std():  # noqa: PLR2004 - two points make a line
        return float("nan")
    return float(np.corrcoef(spending.x, spending.mean)[0, 1])
