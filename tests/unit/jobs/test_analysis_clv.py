"""CLV on the CDNOW sample against published fits; and data that no model fits."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from jobs.contracts.errors import InputError, ParameterError

CDNOW = Path(__file__).parents[3] / "examples" / "data" / "CDNOW_sample.txt"
DAY = 86_400


@pytest.fixture(scope="module")
def cdnow() -> list[dict[str, Any]]:
    rows = []
    for line in CDNOW.read_text(encoding="ascii").splitlines():
        _, customer, day, _, dollars = line.split()
        time = int(datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC).timestamp())
        rows.append({"customer_id": customer, "time": time, "amount_minor": round(float(dollars) * 100)})
    return rows


def parameters_of(result: Any) -> dict[tuple[str, str], float]:
    rows = result.tables["clv_parameters"].to_pylist()
    return {(row["model"], row["parameter"]): row["value"] for row in rows}


def test_bg_nbd_and_gamma_gamma_of_cdnow_are_the_published_ones(run: Any, cdnow: Any) -> None:
    """r .243, alpha 4.414, a .793, b 2.426, LL -9582.4 (2005); p 6.25, q 3.74, v 15.44 dollars (2013)."""
    result = run("clv", {"transactions": cdnow}, {"end": "1997-09-30", "horizon": 39})
    found = parameters_of(result)
    assert found["bg_nbd", "r"] == pytest.approx(0.2425945, abs=1e-5)
    assert found["bg_nbd", "alpha"] == pytest.approx(4.4136, abs=1e-4)
    assert found["bg_nbd", "a"] == pytest.approx(0.79292, abs=1e-4)
    assert found["bg_nbd", "b"] == pytest.approx(2.42590, abs=1e-4)
    assert found["gamma_gamma", "p"] == pytest.approx(6.2496, abs=1e-3)
    assert found["gamma_gamma", "q"] == pytest.approx(3.7442, abs=1e-3)
    assert found["gamma_gamma", "v"] == pytest.approx(1_544.35, abs=0.5)
    models = {row["model"]: row for row in result.tables["clv_models"].to_pylist()}
    assert models["bg_nbd"]["log_likelihood"] == pytest.approx(-9_582.429, abs=1e-3)
    assert {row["status"] for row in models.values()} == {"ok"}
    assert (models["bg_nbd"]["customers"], models["gamma_gamma"]["customers"]) == (2357, 946)
    assert result.manifest["notes"]["clv_models"] == result.tables["clv_models"].to_pylist()
    first = result.tables["clv"].to_pylist()[0]
    assert first["expected_purchases"] == pytest.approx(1.226, abs=1e-3)
    assert first["p_alive"] == pytest.approx(0.72661, abs=1e-4)
    assert first["clv_minor"] == pytest.approx(first["expected_purchases"] * first["expected_value_minor"])


def test_pareto_nbd_of_cdnow_is_the_published_one(run: Any, cdnow: Any) -> None:
    """r .553, alpha 10.58, s .606, beta 11.67, LL -9595.0 (Fader, Hardie, Lee 2005)."""
    result = run("clv", {"transactions": cdnow}, {"end": "1997-09-30", "model": "pareto_nbd"})
    found = parameters_of(result)
    wanted = {"r": 0.5533, "alpha": 10.578, "s": 0.6062, "beta": 11.669}
    for name, value in wanted.items():
        assert found["pareto_nbd", name] == pytest.approx(value, rel=1e-3)
    whole = {row["model"]: row["log_likelihood"] for row in result.tables["clv_models"].to_pylist()}
    assert whole["pareto_nbd"] == pytest.approx(-9_594.976, abs=1e-3)


def test_a_summary_gives_what_its_transactions_give(run: Any, cdnow: Any) -> None:
    params = {"end": "1997-09-30"}
    summary = run("customer_summary", {"transactions": cdnow}, params | {"freq_multiplier": 7})
    rows = summary.tables["customer_summary"].to_pylist()
    made = run("clv", {"customer_summary": rows}).tables["clv"].to_pylist()
    assert made == run("clv", {"transactions": cdnow}, params).tables["clv"].to_pylist()


def test_a_discount_takes_each_period_by_its_own(run: Any) -> None:
    rows = [{"customer_id": "c", "frequency": 2, "recency": 30.43, "T": 38.86, "monetary_minor": 2_000.0}]
    known = {"model_parameters": [0.2426, 4.4136, 0.7929, 2.4259], "value_parameters": [6.25, 3.74, 1544.0]}

    def expected(horizon: int, discount: float = 0.0) -> dict[str, Any]:
        params = known | {"horizon": horizon, "discount": discount}
        found: dict[str, Any] = run("clv", {"customer_summary": rows}, params).tables["clv"].to_pylist()[0]
        return found

    upto = [0.0, *(expected(h)["expected_purchases"] for h in (1, 2, 3))]
    value = (6.25 * 1544 + 6.25 * 2 * 2_000) / (6.25 * 2 + 2.74)
    wanted = sum((upto[j] - upto[j - 1]) * value / 1.1**j for j in (1, 2, 3))
    assert expected(3, 0.1)["clv_minor"] == pytest.approx(wanted, rel=1e-12)


def statuses(result: Any) -> dict[str, str]:
    return {row["model"]: row["status"] for row in result.tables["clv_models"].to_pylist()}


def purchases(customers: int, *days: int) -> list[dict[str, Any]]:
    return [
        {"customer_id": f"c{customer}", "time": day * DAY, "amount_minor": 500}
        for customer in range(customers)
        for day in days
    ]


@pytest.mark.parametrize("model", ["bg_nbd", pytest.param("pareto_nbd", marks=pytest.mark.slow)])
def test_data_that_no_model_fits_give_nulls_and_say_why(run: Any, model: str) -> None:
    cases = [
        ([], "no_customers", "no_repeat_customers"),
        (purchases(50, 0), "no_repeat_customers", "no_repeat_customers"),
        (purchases(50, 0, 30, 60), "not_identified", "not_identified"),
    ]
    for rows, of_purchases, of_values in cases:
        result = run("clv", {"transactions": rows}, {"model": model, "end": 90 * DAY})
        assert statuses(result) == {model: of_purchases, "gamma_gamma": of_values}
        for row in result.tables["clv"].to_pylist():
            assert {row[name] for name in ("p_alive", "expected_purchases", "clv_minor")} == {None}


def test_a_weak_fit_is_used_when_that_is_asked_for(run: Any) -> None:
    params = {"end": 90 * DAY, "accept_weak_fit": True}
    result = run("clv", {"transactions": purchases(50, 0, 30, 60)}, params)
    assert statuses(result)["bg_nbd"] == "not_identified"
    assert all(0 <= row["p_alive"] <= 1 for row in result.tables["clv"].to_pylist())


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({"discount": -0.1}, "discount"),
        ({"discount": 1}, "discount"),
        ({"horizon": 0}, "horizon"),
        ({"model_parameters": [1, 2, 3, 0]}, "model_parameters"),
        ({"model_parameters": [1, 2, 3]}, "model_parameters"),
        ({"value_parameters": [6, 1, 15]}, "value_parameters"),
        ({"model": "mbg_nbd"}, "model"),
    ],
)
def test_impossible_parameters_are_refused(run: Any, params: dict[str, Any], name: str) -> None:
    with pytest.raises(ParameterError, match=f"parameter {name}: .* is not allowed; "):
        run("clv", {"transactions": []}, params)


@pytest.mark.parametrize(
    "bad", [{"frequency": -1}, {"recency": 11.0}, {"recency": 0.0}, {"frequency": 0}, {"T": -1.0}]
)
def test_a_summary_that_no_customer_can_have_is_refused(run: Any, bad: dict[str, Any]) -> None:
    row = {"customer_id": "c", "frequency": 1, "recency": 5.0, "T": 10.0, "monetary_minor": 1.0}
    with pytest.raises(InputError, match="1 rows are impossible, for example customer 'c'"):
        run("clv", {"customer_summary": [row | bad]})


def test_a_summary_whose_age_is_no_number_is_left_out_and_counted(run: Any) -> None:
    row = {"customer_id": "c", "frequency": 1, "recency": 5.0, "T": float("nan"), "monetary_minor": 1.0}
    found = run("clv", {"customer_summary": [row]})
    assert found.tables["clv"].num_rows == 0
    assert found.manifest["rows_excluded"] == {"customer_summary": {"null_T": 1}}


def test_one_of_the_two_inputs_is_needed(run: Any) -> None:
    with pytest.raises(InputError, match="give one of the two"):
        run("clv", {})
