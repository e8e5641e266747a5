"""The compiled customer summary against the SQL of the same definition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest import mock

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.analyses import customer_summary
from jobs.contracts.errors import EngineError
from jobs.engines.duck import DuckEngine
from jobs.native import library as library_module
from jobs.native.compiler import compiler
from jobs.native.purchases import summed_purchases
from jobs.run.runner import RunResult, run_analysis

if TYPE_CHECKING:
    from collections.abc import Iterator

DAY = 86_400
FAR = 253_402_300_799
#: Names of every length around the words that are compared at once; some begin alike, one has a NUL.
CUSTOMERS = ["", "a", "a\0", "é", *("b" * length for length in (7, 8, 9, 15, 16, 17, 40)), "b" * 39 + "c"]


@pytest.fixture(scope="module")
def native() -> Any:
    """The compiled library; never missing where there is a compiler."""
    found = library_module.library()
    if found is None:
        pytest.fail("run: python -m jobs.native" if compiler() else "no C compiler: `make setup-test`")
    return found


def transactions(rows: list[tuple[str, int, int]]) -> pa.Table:
    """Rows as the input has them."""
    customers, times, amounts = zip(*rows, strict=True) if rows else ([], [], [])
    return pa.table(
        {
            "customer_id": pa.array(customers, pa.string()),
            "time": pa.array(times, pa.int64()),
            "amount_minor": pa.array(amounts, pa.int64()),
        }
    )


def both(table: pa.Table, params: dict[str, Any], memory: int) -> tuple[RunResult, RunResult]:
    """The summary by the library, with so much memory for rows, and by SQL."""
    found = []
    for loaded in (library_module.library(), None):
        engine = DuckEngine(threads=1)
        with (
            mock.patch.object(customer_summary, "library", return_value=loaded),
            mock.patch.object(DuckEngine, "spare_memory", memory),
        ):
            found.append(run_analysis("customer_summary", engine, {"transactions": table}, params))
        engine.close()
    return found[0], found[1]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(CUSTOMERS),
            st.sampled_from([0, 1, DAY - 1, DAY, 3 * DAY, 9 * DAY, 30 * DAY, 400 * DAY, FAR]),
            st.sampled_from([-5, 0, 1, 7, 2**53 + 1, 2**61]),
        ),
        max_size=60,
    ),
    st.sampled_from(["day", "week"]),
    st.sampled_from([1, 7]),
    st.sampled_from([None, "1970-01-12"]),
    st.sampled_from([1 << 30, 100, 0]),
)
@settings(deadline=None, max_examples=50)
@pytest.mark.usefixtures("native")
def test_the_library_equals_the_sql(
    rows: list[tuple[str, int, int]], unit: str, multiplier: int, end: str | None, memory: int
) -> None:
    params = {"unit": unit, "freq_multiplier": multiplier, "end": end}
    try:
        one, other = both(transactions(rows), params, memory)
    except EngineError:  # four amounts of 2**61 in one period: neither way may make a number of them
        assert sum(amount for _, _, amount in rows if amount > 0) >= 2**63
        return
    assert one.tables["customer_summary"] == other.tables["customer_summary"]
    assert one.manifest["result_hash"] == other.manifest["result_hash"]


@pytest.mark.usefixtures("native")
def test_many_customers_in_passes_and_one_with_most_rows_out_of_order() -> None:
    rows = [
        (
            "one" if row % 3 else f"a customer with a name {row * 7_919 % 4_001}",
            (row * 104_729 % 500) * DAY,
            row % 97,
        )
        for row in range(40_000)
    ]
    params = {"calibration_end": 200 * DAY}
    one, other = both(transactions(rows), params, 200_000)
    assert one.manifest["result_hash"] == other.manifest["result_hash"]
    assert max(one.tables["customer_summary"]["frequency"].to_pylist()) > 400


@pytest.mark.parametrize("loaded", [True, False])
def test_a_period_beyond_64_bits_is_no_number(native: Any, loaded: bool) -> None:
    engine = DuckEngine(threads=1)
    table = transactions([("a", 1, 2**62), ("a", 2, 2**62)])
    with (
        mock.patch.object(customer_summary, "library", return_value=native if loaded else None),
        pytest.raises(EngineError),
    ):
        run_analysis("customer_summary", engine, {"transactions": table})
    engine.close()


def batches() -> Iterator[pa.RecordBatch]:
    """Purchases by twos, each batch a slice of a longer one."""
    whole = pa.RecordBatch.from_pydict(
        {
            "customer_id": pa.array(["x", "y", "x", "x", "z"]),
            "period": pa.array([4, 2, 1, 4, -3], pa.int32()),
            "amount_minor": pa.array([5, 1, 2, 6, 9], pa.int64()),
        }
    )
    return (whole.slice(start, 2) for start in range(0, 5, 2))


@pytest.mark.parametrize("passes", [1, 3, 10_000])
def test_slices_are_read_where_they_begin_and_each_customer_in_one_pass(native: Any, passes: int) -> None:
    found = summed_purchases(native, batches, passes)
    assert sorted(tuple(row.values()) for row in found.to_pylist()) == [
        ("x", 2, 1, 4, 11.0),
        ("y", 1, 2, 2, 0.0),
        ("z", 1, -3, -3, 0.0),
    ]


def test_without_memory_the_error_says_what_to_do(native: Any) -> None:
    library = mock.Mock(wraps=native)
    library.sluice_purchases_add = mock.Mock(return_value=0)
    with pytest.raises(EngineError, match="fewer of them at a time"):
        summed_purchases(library, batches, 1)
    library.sluice_purchases_free.assert_called_once()


def test_an_engine_lends_the_memory_that_it_was_given() -> None:
    engine = DuckEngine(memory_limit="1GiB")
    assert engine.spare_memory == 768 << 20
    engine.close()
