"""SQL text: quoting, and the named queries of `jobs/sql/`.

A `.sql` file holds queries under a line `-- name: query_name`; the comment lines that follow say what it is
for. `$word` marks a place that the analysis fills in (a relation, a predicate, a literal).
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from string import Template

_INTENT = re.compile(r"\A(?:--[^\n]*\n)+")
_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def literal(value: str | float | bool | None) -> str:
    """A value as a SQL literal that both engines read as the same type."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int):
        return f"CAST({value} AS BIGINT)"
    if isinstance(value, float):
        # Both engines read 0.4 as a decimal and 4e-1 as a double.
        return f"{value:.17e}"
    return text_literal(value)


def text_literal(value: str) -> str:
    """A string literal, without backslashes: they are an escape to Spark and plain text to DuckDB."""
    parts = ["'" + part.replace("'", "''") + "'" for part in value.split("\\")]
    return "(" + " || chr(92) || ".join(parts) + ")" if len(parts) > 1 else parts[0]


def text_list(values: tuple[str, ...]) -> str:
    """The inside of an IN (...) list; never empty, so that it is always valid SQL."""
    return ", ".join(text_literal(value) for value in values) or "NULL"


@cache
def queries(file: str) -> dict[str, Template]:
    """The named queries of `jobs/sql/<file>.sql`, read once."""
    source = files("jobs.sql").joinpath(f"{file}.sql").read_text(encoding="utf-8")
    pieces = _NAME.split(source)
    return {
        name: Template(_INTENT.sub("", body.strip()))
        for name, body in zip(pieces[1::2], pieces[2::2], strict=True)
    }


def query(file: str, name: str, /, **places: str) -> str:
    """A named query with its places filled in. A place left open is an error."""
    return queries(file)[name].substitute(places)
