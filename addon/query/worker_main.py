"""The SQL worker: runs inside a sandbox, speaks frames over descriptor 3, answers one query at a time.

Started as ``python -m addon.query.worker_main SETTINGS`` where SETTINGS is JSON. It says ``{"ready": true}``,
then answers each request with one status frame. An interrupt may come while a query runs.
"""

from __future__ import annotations

import json
import os
import queue
import socket
import sys
import threading
import time
from typing import Any

import duckdb

from addon.query import frames
from addon.query.worker_rows import WRITERS, CountingFile, ResultTooLarge, projection

_CHANNEL_FD = 3
_MAX_MESSAGE = 8_000


def open_engine(settings: dict[str, Any]) -> duckdb.DuckDBPyConnection:
    """Open DuckDB and lock it: no files but the tenant's, no extensions, no change of settings."""
    # Whole numbers divide to whole numbers, as Trino wants it. Only DuckDB's binder knows the types, so this
    # is its setting, given here so that every cursor has it; the other dialects' divisions are translated.
    connection = duckdb.connect(":memory:", config={"integer_division": "true"})
    chosen = {
        "memory_limit": f"{settings['memory_bytes'] >> 20}MiB",
        "threads": settings["threads"],
        "temp_directory": settings["spill"],
        "max_temp_directory_size": f"{settings['spill_bytes'] >> 20}MiB",
        "allocator_background_threads": True,  # else an idle worker keeps hundreds of MB
        "autoload_known_extensions": False,
        "autoinstall_known_extensions": False,
        "allow_community_extensions": False,
        "python_enable_replacements": False,
        "TimeZone": "UTC",
    }
    for name, value in chosen.items():
        connection.execute(f"SET {name} = {_literal(value)}")
    folders = ", ".join(map(_literal, settings["folders"]))
    connection.execute(f"SET allowed_directories = [{folders}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def _literal(value: bool | int | str) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"


class Worker:
    """One connection, one query at a time."""

    def __init__(self, channel: socket.socket, engine: duckdb.DuckDBPyConnection) -> None:
        """Serve the requests that come over ``channel``."""
        self._channel = channel
        self._engine = engine
        self._requests: queue.SimpleQueue[tuple[dict[str, Any], int | None] | None] = queue.SimpleQueue()
        self._running: tuple[int, duckdb.DuckDBPyConnection] | None = None
        self._guard = threading.Lock()

    def serve(self) -> None:
        """Answer requests until the other side closes."""
        threading.Thread(target=self._listen, daemon=True).start()
        self._send({"ready": True})
        while (item := self._requests.get()) is not None:
            request, descriptor = item
            self._send(self._answer(request, descriptor))

    def _listen(self) -> None:
        while (item := frames.receive(self._channel)) is not None:
            if "interrupt" not in item[0]:
                self._requests.put(item)
                continue
            with self._guard:
                if self._running is not None and self._running[0] == item[0]["interrupt"]:
                    self._running[1].interrupt()
        os._exit(0)  # the add-on is gone: nobody waits for an answer

    def _send(self, message: dict[str, Any]) -> None:
        self._channel.sendall(b"".join(frames.encode(message)))

    def _answer(self, request: dict[str, Any], descriptor: int | None) -> dict[str, Any]:
        started, spent = time.monotonic(), time.process_time()
        cursor = self._engine.cursor()
        with self._guard:
            self._running = (request["id"], cursor)
        try:
            answer = self._run(cursor, request, descriptor)
        except duckdb.InterruptException:
            answer = {"ok": False, "kind": "interrupted", "message": "The query was interrupted."}
        except (duckdb.OutOfMemoryException, MemoryError) as error:
            answer = {"ok": False, "kind": "memory", "message": _message(error)}
        except ResultTooLarge as error:
            answer = {"ok": False, "kind": "result", "message": str(error)}
        except (duckdb.Error, ValueError, RuntimeError) as error:
            answer = {"ok": False, "kind": "query", "message": _message(error)}
        finally:
            with self._guard:
                self._running = None
            cursor.close()
        took = {"seconds": time.monotonic() - started, "cpu": time.process_time() - spent}
        return {"id": request["id"], **took, **answer}

    def _run(
        self, cursor: duckdb.DuckDBPyConnection, request: dict[str, Any], descriptor: int | None
    ) -> dict[str, Any]:
        if descriptor is None:
            raise ValueError("no file for the result")
        with os.fdopen(descriptor, "wb") as file:
            statements = duckdb.extract_statements(request["sql"])
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise ValueError("Only one SELECT statement is run.")
            for name, text in request["views"].items():
                quoted = name.replace('"', '""')
                cursor.execute(f'CREATE OR REPLACE TEMP VIEW "{quoted}" AS {text}')
            result = cursor.sql(request["sql"])
            names, kinds = list(result.columns), [str(kind) for kind in result.types]
            if request["form"] != "td" and len(set(names)) != len(names):
                raise ValueError("Two columns of the result have the same name: give each its own with AS.")
            counting = CountingFile(file, request["max_bytes"])
            columns = ", ".join(f"c{index}" for index in range(len(names)))
            chosen = projection(request["form"], names, kinds)
            shaped = f"SELECT {chosen} FROM ({request['sql']}\n) AS result({columns})"  # noqa: S608  (gated, and one SELECT)
            rows = WRITERS[request["form"]](cursor.sql(shaped).to_arrow_reader(65_536), counting)
            return {
                "ok": True,
                "rows": rows,
                "bytes": counting.size,
                "columns": [*zip(names, kinds, strict=True)],
            }


def _message(error: BaseException) -> str:
    """Return DuckDB's text without its excerpt of a query that the customer did not write that way."""
    return str(error).partition("\n\n")[0].strip()[:_MAX_MESSAGE]


def main() -> None:
    """Run a worker on descriptor 3."""
    settings = json.loads(sys.argv[1])
    channel = socket.socket(fileno=_CHANNEL_FD)
    Worker(channel, open_engine(settings)).serve()


if __name__ == "__main__":
    main()
