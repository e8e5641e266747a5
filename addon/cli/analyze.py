"""``sluice analyze``: an analysis on the add-on, its inputs given as SQL."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from addon.cli.client import Client, credentials
from addon.cli.failures import Exit, Failure
from addon.cli.output import Format, print_rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def analyze(
    root: Path,
    name: str,
    inputs: Sequence[str],
    params: str,
    *,
    database: str,
    engine: str,
    form: Format,
    timeout: float,
) -> Exit:
    """Run an analysis and print its output tables on stdout; JSON is one object of all tables."""
    tables, parameters = parse_inputs(inputs), parse_params(params)
    with Client(*credentials(root)) as client:
        outputs = client.analyze_rows(database, name, tables, parameters, timeout, engine=engine)
    if form is Format.JSON:
        json.dump(outputs, sys.stdout, indent=1)
        print()
        return Exit.OK
    for table, rows in outputs.items():
        if len(outputs) > 1:  # a single table is left as it is, for programs that read it
            print(f"# {table}", file=sys.stderr if form is Format.TABLE else sys.stdout)
        columns = list(rows[0]) if rows else []
        print_rows(columns, [list(row.values()) for row in rows], form, sys.stdout)
    return Exit.OK


def parse_inputs(given: Sequence[str]) -> dict[str, str]:
    """Read ``TABLE=SQL`` words.

    Raises:
        Failure: a word has another shape.
    """
    tables = {}
    for word in given:
        table, equals, sql = word.partition("=")
        if not (table.isidentifier() and equals and sql.strip()):
            why = f"{word[:80]!r} is not TABLE=SQL"
            advice = 'Write, for example: --input "items=SELECT product AS item, time FROM events"'
            raise Failure("An input cannot be read", why, advice, Exit.USAGE)
        tables[table] = sql
    return tables


def parse_params(text: str) -> dict[str, Any]:
    """Read the parameters.

    Raises:
        Failure: they are no JSON object.
    """
    try:
        params = json.loads(text)
    except ValueError as error:
        raise Failure(
            "--params is not JSON", str(error), "Write, for example: --params '{\"top\": 5}'", Exit.USAGE
        ) from error
    if not isinstance(params, dict):
        raise Failure("--params is not a JSON object", text[:80], "Write {…}.", Exit.USAGE)
    return params
