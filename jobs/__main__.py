"""The composition root of the jobs library: the one place that names both engines.

An engine's library is imported when the engine is asked for, so that DuckDB starts fast and `list` needs
neither.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from jobs.contracts.errors import UserError
from jobs.run.cli import main

if TYPE_CHECKING:
    from jobs.engine.port import Engine


def _duckdb() -> Engine:
    from jobs.engines.duck import DuckEngine  # noqa: PLC0415 - see the module's docstring

    threads = os.environ.get("SLUICE_DUCKDB_THREADS") or None
    if threads is not None and not (threads.isdecimal() and int(threads) > 0):
        raise UserError(f"SLUICE_DUCKDB_THREADS={threads}: give a number of at least 1")
    return DuckEngine(
        threads=int(threads) if threads is not None else None,
        memory_limit=os.environ.get("SLUICE_DUCKDB_MEMORY_LIMIT") or None,
    )


def _spark() -> Engine:
    from jobs.engines.spark import SparkEngine  # noqa: PLC0415 - see the module's docstring

    return SparkEngine()


ENGINES = {"duckdb": _duckdb, "spark": _spark}

if __name__ == "__main__":
    if sys.argv[1:2] == ["report"]:
        from jobs.report import main as report  # templates and drawing only when asked for

        sys.exit(report(sys.argv[2:]))
    sys.exit(main(sys.argv[1:], ENGINES))
