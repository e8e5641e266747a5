"""Pinned versions of tables: read alike by DuckDB and described so that nothing but what is named is read."""

from __future__ import annotations

import http.server
import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.contracts.errors import InputError
from jobs.contracts.pinned import Pinned, PinnedColumn, PinnedFile, is_readable, read_pinned
from jobs.engines import ranged
from jobs.engines.duck import DuckEngine
from jobs.run.cli import main
from jobs.run.runner import run_analysis

if TYPE_CHECKING:
    from collections.abc import Iterator

WIDENED = PinnedColumn("value", "DOUBLE", (("value", "BIGINT"), ("value__double", "DOUBLE")))
PLAIN = PinnedColumn("item", "VARCHAR", (("name", "VARCHAR"),))
TIME = PinnedColumn("time", "BIGINT", (("time", "BIGINT"),))


def files(folder: Path) -> tuple[PinnedFile, ...]:
    """Two files: one from before the column was widened, one from after it, in many row groups."""
    old = {"time": [1, 2, 3], "name": ["a", "b", "a"], "value": [1, 2, 3]}
    new = {"name": ["c", "a"], "value": [None, 5], "value__double": [0.5, None], "time": [4, 9]}
    made = []
    for number, rows in enumerate((old, new)):
        path = folder / f"part-{number}.parquet"
        pq.write_table(pa.table(rows), path, row_group_size=1)
        made.append(PinnedFile(path.name, path.stat().st_size, path.as_uri()))
    pq.write_table(
        pa.table({"time": [5], "name": ["nobody names me"], "value": [1]}), folder / "other.parquet"
    )
    return tuple(made)


def pinned(folder: Path, **changes: Any) -> Path:
    given: dict[str, Any] = {"first": 2, "last": 8} | changes
    listed = given.pop("files", None) or files(folder)
    columns = given.pop("columns", (TIME, PLAIN, WIDENED))
    document = Pinned("shop.items", 3, columns, listed, **given).to_json()
    path = folder / "items.snapshot.json"
    path.write_text(json.dumps(document))
    return path


def ranking(path: Path) -> list[dict[str, Any]]:
    engine = DuckEngine(threads=1)
    try:
        rows = run_analysis("ranking", engine, {"items": path}, {"top": 5}).tables["ranking"].to_pylist()
    finally:
        engine.close()
    return [{"item": row["item"], "value": row["metric"]} for row in rows]


def test_a_document_reads_back_as_it_was_written(tmp_path: Path) -> None:
    path = pinned(tmp_path)
    assert read_pinned(path).to_json() == json.loads(path.read_text())


def test_only_named_files_and_rows_within_the_bounds_are_read(tmp_path: Path) -> None:
    found = [(row["item"], row["value"]) for row in ranking(pinned(tmp_path))]
    assert found == [("a", 3.0), ("b", 2.0), ("c", 0.5)]


def test_bounds_hold_where_nobody_asks_for_the_time_itself(tmp_path: Path) -> None:
    found = [(row["item"], row["value"]) for row in ranking(pinned(tmp_path, columns=(PLAIN, WIDENED)))]
    assert found == [("a", 3.0), ("b", 2.0), ("c", 0.5)]


def test_without_bounds_all_rows_are_read(tmp_path: Path) -> None:
    found = {row["item"]: row["value"] for row in ranking(pinned(tmp_path, first=None, last=None))}
    assert found == {"a": 9.0, "b": 2.0, "c": 0.5}


class _Ranges(http.server.BaseHTTPRequestHandler):
    """Serves a folder, ranges and all; an address must have the signature, and each first try fails."""

    folder: Path
    tried: set[tuple[str, str]]

    def do_GET(self) -> None:
        path, _, signature = self.path.partition("?")
        wanted = self.headers["Range"]
        if signature != "sig=s3cret":
            self.send_error(403)
        elif (path, wanted) not in self.tried:
            self.tried.add((path, wanted))
            self.send_error(503)
        else:
            low, high = map(int, wanted.removeprefix("bytes=").split("-"))
            data = (self.folder / path.lstrip("/")).read_bytes()[low : high + 1]
            self.send_response(206)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    handler = type("Handler", (_Ranges,), {"folder": tmp_path, "tried": set()})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def remote(folder: Path, address: str, signature: str = "s3cret") -> tuple[PinnedFile, ...]:
    return tuple(
        PinnedFile(file.name, file.size, f"{address}/{file.name}?sig={signature}") for file in files(folder)
    )


def test_files_behind_signed_addresses_are_read_alike(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranged, "_PAUSE_S", 0.001)
    assert ranking(pinned(tmp_path, files=remote(tmp_path, address))) == ranking(pinned(tmp_path))


def test_a_refused_address_is_named_by_its_file_alone(tmp_path: Path, address: str) -> None:
    path = pinned(tmp_path, files=remote(tmp_path, address, "l3aked"))
    with pytest.raises(InputError, match=r"part-0\.parquet: the object store answers 403") as caught:
        ranking(path)
    assert "l3aked" not in str(caught.value)
    assert "l3aked" not in repr(read_pinned(path))


def test_every_row_is_in_one_part_however_a_table_is_cut(tmp_path: Path) -> None:
    listed = [(file.name, file.size, file.link) for file in files(tmp_path)]
    schema = pa.schema([("time", pa.int64()), ("value__double", pa.float64())])
    for target in (1, 400, 1 << 20):
        groups = ranged.parts(listed, target)
        read = ranged.reader(groups, schema, str)
        numbers = pa.RecordBatch.from_pydict({"id": list(range(len(groups)))})
        rows = pa.Table.from_batches(read(iter([numbers])), schema).to_pylist()
        assert sorted(row["time"] for row in rows) == [1, 2, 3, 4, 9]
        assert [row["value__double"] for row in rows if row["time"] in {1, 4}] == [None, 0.5]
    assert len(ranged.parts(listed, 1 << 20)) == 1


def test_a_shipped_file_is_looked_up_where_the_task_runs(tmp_path: Path) -> None:
    first = files(tmp_path)[0]
    part = ranged.Part(first.name, first.size, "shipped:title.parquet")
    read = ranged.reader(
        [[part]], pa.schema([("time", pa.int64())]), {"title.parquet": str(tmp_path / first.name)}.__getitem__
    )
    batches = read(iter([pa.RecordBatch.from_pydict({"id": [0]})]))
    assert [batch.num_rows for batch in batches] == [3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 9}, "format 9 is unknown"),
        ({"files": [{"name": "x", "bytes": 1, "link": "ftp://x"}]}, "the link of x"),
        ({"columns": [{"name": "n", "type": "BIGINT", "stored": [["n", "VARCHAR"]]}]}, "the column n"),
        ({"from": True}, "whole number"),
        ({"columns": None}, "is not a pinned version"),
    ],
)
def test_a_document_that_engines_could_read_differently_is_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = pinned(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=message):
        read_pinned(path)


def test_integers_are_read_as_doubles_and_nothing_else_is_converted() -> None:
    assert is_readable("DOUBLE", (("a", "BIGINT"), ("b", "DOUBLE")))
    assert not is_readable("VARCHAR", (("a", "BIGINT"),))
    assert not is_readable("BIGINT", (("a", "DOUBLE"),))
    assert not is_readable("DATE", (("a", "DATE"),))
    assert not is_readable("BIGINT", ())


def test_a_missing_column_is_said_with_all_that_the_table_has(tmp_path: Path) -> None:
    engine = DuckEngine(threads=1)
    with pytest.raises(InputError, match="the file has time, item, value"):
        run_analysis("funnel", engine, {"events": pinned(tmp_path)}, {"steps": ["a", "b"]})
    engine.close()


def test_a_run_on_a_pinned_version_is_repeated_from_its_manifest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = pinned(tmp_path)
    engines = {"duckdb": lambda: DuckEngine(threads=1)}
    out = ["--out", str(tmp_path / "out")]
    assert main(["run", "ranking", f"--input=items={path}", *out], engines) == 0
    manifest = tmp_path / "out" / "manifest.json"
    entry = json.loads(manifest.read_text())["inputs"]["items"]
    assert (entry["table"], entry["version"]) == ("shop.items", 3)
    again = ["run", "--from-manifest", str(manifest), "--out", str(tmp_path / "again")]
    assert main(again, engines) == 0
    pinned(tmp_path, last=3)
    assert main(again, engines) == 2
    assert "changed since" in capsys.readouterr().err
