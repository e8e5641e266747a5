"""What a worker adds to DuckDB before it is locked: functions that translated queries call."""

from __future__ import annotations

TRINO_DIVIDE = "trino_divide"
"""Trino's division: whole numbers divide to a whole number, cut towards zero.

DuckDB's ``/`` always gives a double, and sqlglot can only tell the two apart where it knows the columns'
types. So the translation calls a macro, and DuckDB's binder picks the form by the types that it finds.
"""

_DIVIDE = (
    f"CREATE MACRO {TRINO_DIVIDE}(dividend BIGINT, divisor BIGINT) AS dividend // divisor,"
    " (dividend DOUBLE, divisor DOUBLE) AS dividend / divisor,"
    " (dividend INTERVAL, divisor DOUBLE) AS dividend / divisor"
)
MACROS = (_DIVIDE,)
