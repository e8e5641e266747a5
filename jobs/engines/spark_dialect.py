"""Spark's spelling of what differs between the engines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs.engine.text import text_literal

if TYPE_CHECKING:
    from collections.abc import Sequence


class SparkDialect:
    """Spark's spelling of what differs."""

    has_asof_join = False

    def identifier(self, name: str) -> str:
        """A quoted name."""
        return "`" + name.replace("`", "``") + "`"

    def ordered_concat(self, expression: str, separator: str, order: str) -> str:
        """Join strings in order."""
        return f"listagg({expression}, {text_literal(separator)}) WITHIN GROUP (ORDER BY {order})"

    def split_table(self, relation: str, expression: str, separator: str) -> str:
        """One row for each part, with its place from 1; the brackets are for a regular expression."""
        parts = f"split({expression}, {text_literal('[' + separator + ']')})"
        return (
            f"SELECT {relation}.*, part, place0 + 1 AS place FROM {relation}"  # noqa: S608 - quoted literals only
            f" LATERAL VIEW posexplode({parts}) parts AS place0, part"
        )

    def replace_all(self, expression: str, pattern: str, replacement: str) -> str:
        """Every match replaced."""
        return f"regexp_replace({expression}, {text_literal(pattern)}, {text_literal(replacement)})"

    def shift_left(self, number: str, places: str) -> str:
        """Bits moved up."""
        return f"shiftleft({number}, CAST({places} AS INT))"

    def shift_right(self, number: str, places: str) -> str:
        """Bits moved down."""
        return f"shiftright({number}, CAST({places} AS INT))"

    def series(self, low: str, high: str) -> str:
        """One row for each integer of low..high; Spark's sequence would count down from an empty range."""
        return f"explode(CASE WHEN {low} <= {high} THEN sequence({low}, {high}) ELSE array() END)"

    def month_index(self, day: str) -> str:
        """Months since year 0."""
        date = f"date_add(DATE'1970-01-01', CAST({day} AS INT))"
        return f"CAST(year({date}) * 12 + month({date}) - 1 AS BIGINT)"

    def month_start(self, index: str) -> str:
        """Day number of a month's first day."""
        year, month = f"CAST(FLOOR({index} / 12) AS INT)", f"CAST({index} % 12 + 1 AS INT)"
        return f"CAST(unix_date(make_date({year}, {month}, 1)) AS BIGINT)"

    def increases(self, column: str) -> str | None:  # noqa: ARG002 - rows have no order to compare in
        """Not to be had: rows lie in partitions."""
        return None

    def bitmap_count(self, column: str, low: int, high: int) -> str | None:  # noqa: ARG002 - for all engines
        """Not over any range of integers."""
        return None

    def row_hash(self, columns: Sequence[str]) -> str:
        """Spark's 64-bit hash."""
        return f"xxhash64({', '.join(columns)})"

    def surrogate(self, key: str) -> str:
        """The key itself: numbering all rows would bring them to one partition."""
        return key

    def try_cast(self, expression: str, type_name: str) -> str:
        """NULL where the text cannot be read."""
        return f"TRY_CAST({expression} AS {'STRING' if type_name == 'VARCHAR' else type_name})"
