"""``sluice query``: SQL in, rows out, over the same API as every other client."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from addon.cli.client import Client, credentials
from addon.cli.failures import Exit
from addon.cli.output import Format, print_rows

if TYPE_CHECKING:
    from pathlib import Path


def query(root: Path, sql: str, database: str, engine: str, *, form: Format, timeout: float) -> Exit:
    """Run ``sql`` and print its rows on stdout, as they come: a result may be larger than our memory."""
    with (
        Client(*credentials(root)) as client,
        client.query_stream(database, sql, engine, timeout) as (columns, rows),
    ):
        print_rows(columns, rows, form, sys.stdout)
    return Exit.OK
