"""Compiles one long query in a process of its own: JSON on stdin, JSON on stdout.

Run as ``python -m addon.query.compile_main``. A text of a megabyte can keep a parser busy for a minute; here
it costs its sender time, and nobody else.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from typing import Any

from addon.models.tables import TableRef
from addon.query.dialects import compile_query
from addon.query.td_functions import Times
from platform_core.base import errors

CPU_S = 10
_MEMORY = 2 << 30


def compiled(request: dict[str, Any]) -> dict[str, Any]:
    """Return the compiled query, or the error's class name, message and hint."""
    account_id = request["account_id"]
    tables = {TableRef(account_id, database, table) for database, table in request["tables"]}
    try:
        done = compile_query(
            request["sql"],
            request["dialect"],
            account_id,
            request["database"],
            tables.__contains__,
            Times(*request["times"]),
            deleting=request["deleting"],
        )
    except errors.UserError as error:
        return {"error": type(error).__name__, "message": error.message, "hint": error.hint}
    views = {name: [ref.database, ref.table] for name, ref in done.views.items()}
    answer: dict[str, Any] = {"sql": done.sql, "views": views, "ranges": done.ranges}
    answer |= {"target": done.target, "everything": done.everything}
    return answer | {"as_of": done.as_of, "runs": done.runs}


def main() -> None:
    """Read, compile, write."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S + 1))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    os.nice(5)
    json.dump(compiled(json.load(sys.stdin)), sys.stdout)


if __name__ == "__main__":
    main()
