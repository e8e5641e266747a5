"""What the suites share that hold the engines against each other."""

from __future__ import annotations

import math
from typing import Any

#: Compiling each query to Java code costs more than it saves on a few rows.
SMALL_DATA = {"spark.sql.codegen.wholeStage": "false", "spark.sql.shuffle.partitions": "1"}


def same(left: Any, right: Any) -> bool:
    """Tell whether two values are equal: doubles to 1e-9 of their size, all else exactly."""
    if isinstance(left, float) and isinstance(right, float):
        return math.isclose(left, right, rel_tol=1e-9, abs_tol=1e-12)
    return bool(left == right)
