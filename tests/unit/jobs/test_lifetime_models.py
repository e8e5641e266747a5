"""The lifetime models against published fits, against integrals, and where their formulas come apart."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from jobs.analyses.lifetime import bg_nbd, gamma_gamma, pareto_nbd
from jobs.analyses.lifetime.fit import Status, maximise
from jobs.analyses.lifetime.gamma_gamma import Spending
from jobs.analyses.lifetime.groups import Groups

BG, PARETO = (0.2426, 4.4136, 0.7929, 2.4259), (0.5533, 10.578, 0.6061, 11.669)
positive = st.floats(0.05, 20)


def one(x: float, tx: float, until: float) -> Groups:
    return Groups(*(np.array([float(value)]) for value in (x, tx, until, 1.0)))


def test_customer_1_of_the_paper_and_a_new_one() -> None:
    """x = 2, tx = 30.43, T = 38.86: 1.226 purchases in 39 weeks, .727 alive; a new one buys 1.195 times."""
    known = one(2, 30.43, 38.86)
    assert bg_nbd.expected(BG, known, 39)[0] == pytest.approx(1.226, abs=5e-4)
    assert bg_nbd.alive(BG, known)[0] == pytest.approx(0.7266, abs=5e-4)
    assert bg_nbd.expected(BG, one(0, 0, 0), 39)[0] == pytest.approx(1.195, abs=5e-4)


@pytest.mark.parametrize("parameters", [(0.6, 10.0, 0.7, 12.0), (1.5, 3.0, 2.0, 1.0), (1.2, 4.0, 0.8, 4.0)])
@pytest.mark.parametrize(("x", "tx", "until"), [(0, 0.0, 5.0), (2, 3.0, 9.0), (3, 4.0, 4.0)])
def test_pareto_nbd_is_the_mean_over_all_rates(parameters: Any, x: int, tx: float, until: float) -> None:
    """A customer of known rates is alive still, or gone somewhere after tx; rates are gamma-distributed."""
    r, alpha, s, beta = parameters
    nodes, weights = np.polynomial.legendre.leggauss(300)
    places = (nodes + 1) / 2
    rate = (stats.gamma.ppf(places, r) / alpha)[:, None]
    leave = (stats.gamma.ppf(places, s) / beta)[None, :]
    total = rate + leave
    alive = np.exp(-total * until)
    gone = leave / total * (np.exp(-total * tx) - alive)
    whole = weights @ (rate**x * (alive + gone)) @ weights / 4
    found = math.exp(pareto_nbd.log_likelihood(parameters, one(x, tx, until))[0])
    assert found == pytest.approx(whole, rel=1e-4)


@settings(max_examples=60, deadline=None)
@example(1.0, 1.0, 1.0, 11.0, 98, 0.0, 1.0)
@given(positive, positive, positive, positive, st.integers(0, 400), st.floats(0, 1), st.floats(0.1, 500))
def test_pareto_nbd_matches_the_integral_that_the_series_stands_for(  # noqa: PLR0917 - one argument for each strategy
    r: float, alpha: float, s: float, beta: float, x: int, share: float, until: float
) -> None:
    tx = share * until if x else 0.0
    kept, gone = pareto_nbd._terms((r, alpha, s, beta), one(x, tx, until))
    base = -(r + x) * math.log(alpha + tx) - (s + 1) * math.log(beta + tx)

    def density(t: float) -> float:
        return math.exp(-(r + x) * math.log(alpha + t) - (s + 1) * math.log(beta + t) - base)

    edges = np.unique(np.minimum(tx + (alpha + tx) * np.array([0, *np.geomspace(1e-4, 1e6, 60)]), until))
    area = sum(integrate.quad(density, low, high)[0] for low, high in pairwise(edges))
    if area > 1e-250 and until - tx > 1e-6 * until:
        assert gone[0] == pytest.approx(math.log(s * area) + base, rel=1e-7, abs=1e-6)
    assert math.isfinite(kept[0])
    assert 0 <= pareto_nbd.alive((r, alpha, s, beta), one(x, tx, until))[0] <= 1


@settings(max_examples=60, deadline=None)
@given(positive, positive, st.floats(0.05, 3), positive, st.integers(0, 2_000), st.floats(0, 1))
def test_bg_nbd_expects_more_of_more_time_and_never_nonsense(  # noqa: PLR0917 - one argument for each strategy
    r: float, alpha: float, a: float, b: float, x: int, share: float
) -> None:
    who = one(x, share * 100 if x else 0, 100)
    chances = bg_nbd.alive((r, alpha, a, b), who)
    expected = [bg_nbd.expected((r, alpha, a, b), who, horizon)[0] for horizon in (0.5, 5, 50)]
    assert 0 <= chances[0] <= 1
    assert all(math.isfinite(value) and value >= -1e-9 for value in expected)
    assert expected == sorted(expected)
    # Nobody buys more than somebody of the same history who never leaves.
    for horizon, value in zip((0.5, 5, 50), expected, strict=True):
        assert value <= (r + x) / (alpha + 100) * horizon * (1 + 1e-9) + 1e-12


@pytest.mark.parametrize("near", [1 - 1e-9, 1.0, 1 + 1e-9])
def test_the_formulas_hold_where_they_divide_by_nothing(near: float) -> None:
    r, alpha, _, b = BG
    who = one(3, 20, 30)
    around = [bg_nbd.expected((r, alpha, a, b), who, 10)[0] for a in (0.999, 1.001)]
    assert bg_nbd.expected((r, alpha, near, b), who, 10)[0] == pytest.approx(np.mean(around), rel=1e-5)
    around = [pareto_nbd.expected((r, alpha, s, b), who, 10)[0] for s in (0.999, 1.001)]
    assert pareto_nbd.expected((r, alpha, near, b), who, 10)[0] == pytest.approx(np.mean(around), rel=1e-5)
    assert math.isfinite(bg_nbd.expected((r, alpha, 0.4, 0.6), one(0, 0, 0), 10)[0])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-2, 2), min_size=4, max_size=4))
def test_gradients_are_those_of_the_likelihoods(logs: list[float]) -> None:
    groups = Groups(
        np.array([0.0, 2, 7]), np.array([0.0, 10, 30]), np.array([20.0, 40, 31]), np.array([5.0, 2, 1])
    )
    spent = Spending(np.array([1.0, 3, 3]), np.array([0.5, 1.5, 1.0]))
    for likelihood in (bg_nbd.likelihood(groups), gamma_gamma.likelihood(spent)):
        at = np.array(logs[: len(likelihood.names)])
        steps = np.eye(len(at)) * 1e-5
        slopes = [(likelihood.value(at + step) - likelihood.value(at - step)) / 2e-5 for step in steps]
        assert likelihood.gradient(at) == pytest.approx(np.array(slopes), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("model", [bg_nbd, pytest.param(pareto_nbd, marks=pytest.mark.slow)])
def test_customers_who_are_all_alike_identify_no_model(model: Any) -> None:
    alike = Groups(np.array([2.0]), np.array([10.0]), np.array([20.0]), np.array([1_000.0]))
    fit = maximise(model.likelihood(alike))
    assert fit.status is Status.NOT_IDENTIFIED
    assert "too few customers, or too much alike" in fit.message


def test_gamma_gamma_without_a_finite_mean_says_so() -> None:
    rng = np.random.default_rng(4)
    means = np.exp(rng.normal(0, 6, 500))
    fit = gamma_gamma.fit(Spending(np.full(500, 3.0), means))
    assert fit.status in {Status.NO_MEAN, Status.NOT_IDENTIFIED}
    assert not fit.usable


def test_gamma_gamma_finds_what_it_was_made_from() -> None:
    rng = np.random.default_rng(7)
    count = rng.integers(1, 8, 20_000)
    rates = rng.gamma(4.0, 1 / 1_500.0, 20_000)
    means = rng.gamma(6.0 * count, 1 / (rates * count))
    fit = gamma_gamma.fit(Spending(count.astype(float), means))
    assert fit.status is Status.OK
    for value, truth, error in zip(fit.values, (6.0, 4.0, 1_500.0), fit.errors, strict=True):
        assert abs(math.log(value / truth)) < 4 * error
