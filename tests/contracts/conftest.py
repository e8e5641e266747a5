"""Both engines, as the suites that compare them use them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from jobs.engines.duck import DuckEngine
from jobs.engines.spark import SparkEngine
from tests.contracts.engines import SMALL_DATA
from tests.contracts.spark_driver import QUICK

if TYPE_CHECKING:
    from collections.abc import Iterator

os.environ.setdefault("SPARK_SUBMIT_OPTS", QUICK)


@pytest.fixture(scope="module")
def duck() -> Iterator[DuckEngine]:
    """DuckDB on one thread."""
    engine = DuckEngine(threads=1)
    yield engine
    engine.close()


@pytest.fixture
def spark() -> Iterator[SparkEngine]:
    """Spark; the session is shared, the views are not."""
    engine = SparkEngine(conf=SMALL_DATA)
    yield engine
    engine.close()
