"""`sluice import` and the upload route, on a real add-on: every row once, whoever is killed on the way."""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq
import pytest
import zstandard

from tests.clients.td_addon import Running, start, stop
from tests.ports import free_base

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_DATABASE = "files"


@pytest.fixture(scope="module")
def addon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A running add-on."""
    running = start(tmp_path_factory.mktemp("import"), free_base())
    yield running
    stop(running)


def _import(addon: Running, *arguments: object, stdin: Any = None) -> subprocess.Popen[str]:
    variables = {"TD_API_SERVER": addon.url, "TD_API_KEY": addon.keys["td_api_key"]}
    return subprocess.Popen(
        [sys.executable, "-m", "addon.cli", "import", *map(str, arguments), "-d", _DATABASE, "--json"],
        env={**os.environ, **variables},
        stdin=stdin or subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _finished(process: subprocess.Popen[str], code: int = 0) -> dict[str, Any]:
    out, err = process.communicate(timeout=250)
    assert process.returncode == code, (out, err)
    return dict(json.loads(out)) if out else {"error": err}


def _query(addon: Running, sql: str) -> list[list[Any]]:
    with addon.http() as http:
        answer = http.post("/sluice/v1/query", json={"sql": sql, "database": _DATABASE})
    assert answer.is_success, answer.text
    rows: list[list[Any]] = answer.json()["rows"]
    return rows


def _table(rows: int) -> pa.Table:
    return pa.table(
        {
            "time": pa.array(range(1_700_000_000, 1_700_000_000 + rows), pa.int64()),
            "id": pa.array(range(rows), pa.int64()),
            "name": pa.array([f'user "{n % 97}", of house {n % 7}' for n in range(rows)]),
            "half": pa.array([n / 2 for n in range(rows)]),
            "padding": pa.array([f"{n:0120d}" for n in range(rows)]),
        }
    )


def _write(table: pa.Table, path: Path) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=100_000)
    elif path.suffix == ".csv":
        arrow_csv.write_csv(table, path)
    else:
        with path.open("w") as out:
            for batch in table.to_batches(50_000):
                out.writelines(json.dumps(row) + "\n" for row in batch.to_pylist())
    return path


def _check(addon: Running, table: str, rows: int) -> None:
    sql = f"select count(*), count(distinct id), sum(id), sum(half), min(time), max(time) from {table}"  # noqa: S608 - our own name
    total = rows * (rows - 1) // 2
    expected = [rows, rows, total, total / 2, 1_700_000_000, 1_700_000_000 + rows - 1]
    assert _query(addon, sql) == [expected]


def _wait_for_rows(addon: Running, table: str, process: subprocess.Popen[str], rows: int) -> None:
    """Return when the server shows so many rows of an import that goes on."""
    with addon.http() as http:
        while process.poll() is None:
            shown = http.get(f"/v3/table/show/{_DATABASE}/{table}")
            if shown.is_success and shown.json()["count"] >= rows:
                return
    out, err = process.communicate()
    pytest.fail(f"the import ended before {rows} rows were seen: {out} {err}")


@pytest.mark.parametrize("form", ["ndjson", "csv", "parquet"])
def test_a_file_is_imported_once_however_often_that_is_asked(
    addon: Running, tmp_path: Path, form: str
) -> None:
    path = _write(_table(20_000), tmp_path / f"rows.{form}")
    table = f"once_{form}"
    first = _finished(_import(addon, path, "-t", table))
    assert (first["rows"], first["rejected"], first["known_pieces"]) == (20_000, 0, 0)
    again = _finished(_import(addon, path, "-t", table))
    assert (again["rows"], again["known_pieces"]) == (0, first["pieces"])
    _check(addon, table, 20_000)
    anew = _finished(_import(addon, path, "-t", table, "--again", "second"))
    assert anew["rows"] == 20_000
    assert _query(addon, f"select count(*) from {table}") == [[40_000]]  # noqa: S608 - our own name
    with addon.http() as http:
        listed = http.get(f"/v3/table/list/{_DATABASE}").json()["tables"]
    (schema,) = (json.loads(one["schema"]) for one in listed if one["name"] == table)
    assert sorted(schema) == [["half", "double"], ["id", "long"], ["name", "string"], ["padding", "string"]]


@pytest.mark.parametrize("form", ["ndjson", "csv"])
def test_an_import_goes_on_after_the_client_was_killed(addon: Running, tmp_path: Path, form: str) -> None:
    path = _write(_table(60_000), tmp_path / f"big.{form}")
    table, data = f"client_gone_{form}", path.read_bytes()
    with _piped(addon, "-t", table, "--format", form) as (process, pipe):
        pipe.write(data[: len(data) // 2])
        pipe.flush()
        _wait_for_rows(addon, table, process, 1)
        process.kill()
        process.communicate()
    rest = _finished(_import(addon, path, "-t", table))
    assert rest["known_pieces"] > 0
    assert 0 < rest["rows"] < 60_000
    _check(addon, table, 60_000)


def test_an_import_goes_on_after_the_server_was_killed(tmp_path: Path) -> None:
    base = free_base()
    addon = start(tmp_path, base)
    data = _write(_table(80_000), tmp_path / "big.ndjson").read_bytes()
    with _piped(addon, "-t", "server_gone", "--format", "ndjson") as (process, pipe):
        pipe.write(data[: len(data) // 2])
        pipe.flush()
        _wait_for_rows(addon, "server_gone", process, 1)
        _kill(addon)
        pipe.write(data[len(data) // 2 :])
        pipe.flush()
        addon = start(tmp_path, base)
        pipe.close()
        done = _finished(process)
    assert done["retries"] > 0
    _check(addon, "server_gone", 80_000)
    stop(addon)


@contextmanager
def _piped(addon: Running, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], IO[bytes]]]:
    """Import from a pipe, so that the test says how far it has come."""
    read_end, write_end = os.pipe()
    process = _import(addon, "-", *arguments, stdin=read_end)
    os.close(read_end)
    with os.fdopen(write_end, "wb") as pipe:
        yield process, pipe


def _kill(addon: Running) -> None:
    addon.process.kill()
    addon.process.wait()
    assert addon.process.stdout is not None
    addon.process.stdout.close()


def _kill_the_client(addon: Running, folder: Path, form: str, rows: int, kills: int) -> None:
    path = _write(_table(rows), folder / f"big.{form}")
    table = f"client_killed_{form}"
    for turn in range(kills):
        process = _import(addon, path, "-t", table, "--parallel", "1")
        _wait_for_rows(addon, table, process, 1 + turn * rows // (kills + 1))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    rest = _finished(_import(addon, path, "-t", table))
    assert rest["known_pieces"] > 0
    assert rest["rows"] < rows
    _check(addon, table, rows)


def _kill_the_server(home: Path, form: str, rows: int, kills: int) -> None:
    base = free_base()
    addon = start(home, base)
    path = _write(_table(rows), home / f"big.{form}")
    process = _import(addon, path, "-t", "killed", "--parallel", "2")
    for turn in range(kills):
        _wait_for_rows(addon, "killed", process, 1 + turn * rows // (kills + 1))
        _kill(addon)
        addon = start(home, base)
    done = _finished(process)
    assert done["retries"] > 0
    _check(addon, "killed", rows)
    stop(addon)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("form", ["ndjson", "csv", "parquet"])
def test_a_million_rows_are_exact_after_three_kills_of_either_side(
    addon: Running, tmp_path: Path, form: str
) -> None:
    _kill_the_client(addon, tmp_path, form, 1_000_000, 3)
    _kill_the_server(tmp_path, form, 1_000_000, 3)


def test_equal_files_of_one_command_count_each(addon: Running, tmp_path: Path) -> None:
    text = b'{"time":1,"a":1}\n{"time":1,"a":1}\n'
    one, two = tmp_path / "one.ndjson", tmp_path / "two.ndjson.gz"
    one.write_bytes(text)
    two.write_bytes(gzip.compress(text))
    assert _finished(_import(addon, one, two, "-t", "equal"))["rows"] == 4
    assert _finished(_import(addon, two, "-t", "equal"))["rows"] == 0
    assert _query(addon, "select count(*), sum(a) from equal") == [[4, 4]]


def test_a_table_made_again_takes_the_file_again(addon: Running, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("time,a\n1,x\n")
    assert _finished(_import(addon, path, "-t", "made_again"))["rows"] == 1
    with addon.client() as client:
        client.delete_table(_DATABASE, "made_again")
    assert _finished(_import(addon, path, "-t", "made_again"))["rows"] == 1
    assert _query(addon, "select count(*) from made_again") == [[1]]


def test_stdin_is_imported_and_bad_rows_are_told(addon: Running, tmp_path: Path) -> None:
    path = tmp_path / "piped"
    path.write_bytes(zstandard.compress(b"when;n\n2020-01-01;1\nnever;2\n2020-01-02T00:00:00Z;3\n4\n"))
    arguments = ("-", "-t", "piped", "--format", "csv", "--delimiter", ";", "--time-column", "when")
    with path.open("rb") as stdin:
        done = _finished(_import(addon, *arguments, stdin=stdin), 9)
    assert (done["rows"], done["rejected"]) == (2, 2)
    assert done["errors"] == ["- line 3: time_is_not_readable", "- line 5: has 1 fields, not 2"]
    assert _query(addon, 'select time, "when", n from piped order by n') == [
        [1_577_836_800, "2020-01-01", 1],
        [1_577_923_200, "2020-01-02T00:00:00Z", 3],
    ]
    dead = _query(
        addon, "select reason, body from logs.dead_letters where \"table\" = 'piped' order by reason"
    )
    assert dead == [
        ["line 3: time_is_not_readable", '{"when":"never","n":2}'],
        ["line 5: has 1 fields, not 2", "4"],
    ]
    with path.open("wb") as out:
        pq.write_table(_table(10), out)
    with path.open("rb") as stdin:
        assert (
            _finished(_import(addon, "-", "-t", "piped_too", "--format", "parquet", stdin=stdin))["rows"]
            == 10
        )


def test_rows_that_are_too_much_as_json_go_in_smaller_parts(addon: Running, tmp_path: Path) -> None:
    names = [f"a_column_with_a_long_name_{n}_{'x' * 40}" for n in range(200)]
    path = tmp_path / "wide.csv"
    path.write_text(",".join(["time", *names]) + "\n" + ("1" + ",2" * 200 + "\n") * 4_000)
    done = _finished(_import(addon, path, "-t", "wide"))
    assert (done["rows"], done["pieces"]) == (4_000, 2)
    assert _query(addon, f"select count(*), sum({names[199]}) from wide") == [[4_000, 8_000]]  # noqa: S608 - our own name


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("{home}/rows.xls", "-t", "abc"), 2, "--format"),
        (("{home}/nothing.csv", "-t", "abc"), 3, "There is no file"),
        (("{home}/rows.csv", "-t", "No"), 1, "table name 'No' is not valid"),
        (("{home}/rows.csv", "-t", "abc", "--time-column", "nix"), 1, "There is no column 'nix'"),
        (("{home}/rows.csv", "-t", "abc", "--format", "parquet"), 1, "no Parquet file"),
        (("{home}/rows.csv", "-t", "abc", "--format", "ndjson"), 1, "rows.csv, from line 1: Line 1"),
    ],
)
def test_what_cannot_be_imported_is_told_with_a_code(
    addon: Running, tmp_path: Path, arguments: Sequence[str], code: int, told: str
) -> None:
    for name in ("rows.csv", "rows.xls"):
        (tmp_path / name).write_text("time,a\n1,x\n")
    failed = _finished(_import(addon, *(one.replace("{home}", str(tmp_path)) for one in arguments)), code)
    assert told in failed["error"]
    assert "  next: " in failed["error"]


def test_a_server_that_is_away_is_told_at_once(addon: Running, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("time,a\n1,x\n")
    away = Running(f"http://127.0.0.1:{free_base()}", addon.keys, addon.process, addon.authority)
    assert "Cannot reach the add-on" in _finished(_import(away, path, "-t", "abc"), 1)["error"]


def test_an_upload_id_counts_once_over_http(addon: Running) -> None:
    path, text = f"/api/import/{_DATABASE}/over_http", b"time,a\n1,x\n2,y\n"
    headers = {"content-type": "text/csv", "sluice-upload-id": "morning"}
    with addon.http() as http:
        for body, duplicate in ((text, False), (gzip.compress(text), True), (zstandard.compress(text), True)):
            answer = http.post(path, content=body, headers=headers).json()
            assert (answer["rows"], answer["rejected"], answer["duplicate"]) == (2, 0, duplicate)
        other = http.post(path, content=b"time,a\n3,z\n", headers=headers)
        assert (other.status_code, "another body" in other.json()["message"]) == (409, True)
        assert http.put(path).json()["table"] == "over_http"
        assert http.get(f"{path}/morning").json()["stored"] is True
        assert http.get(f"{path}/evening").json()["stored"] is False
    assert _query(addon, "select time, a from over_http order by time") == [[1, "x"], [2, "y"]]


def test_refused_uploads_say_why(addon: Running) -> None:
    path = f"/api/import/{_DATABASE}/refused"
    with addon.http() as http:
        for query, body, status, told in (
            ("format=ndjson", b"[]\n", 422, "Line 1: not_a_json_object"),
            ("format=ndjson", b"", 422, "no rows"),
            ("format=csv&first_line=41", b"a,b\n1\n", 422, "Line 42: has 1 fields, not 2"),
            ("format=parquet", b"PAR1", 422, "not readable as Parquet"),
            ("format=orc", b"x", 422, "format=ndjson or csv or parquet"),
            ("format=csv&colour=red", b"x", 422, "no parameter 'colour'"),
            ("format=ndjson", b"x" * (33 << 20), 413, "sluice import"),
            ("format=ndjson", gzip.compress(bytes(200 << 20)), 413, "decompresses to more"),
        ):
            answer = http.post(f"{path}?{query}", content=body)
            assert (answer.status_code, told in answer.json()["message"]) == (status, True), answer.text
        assert http.get(f"/v3/table/show/{_DATABASE}/refused").status_code == 404
        for method, wrong in (("POST", "/api/import/abc"), ("GET", path), ("PUT", f"{path}/x")):
            assert http.request(method, wrong, content=b"x").status_code == 404
        stranger = http.post(f"{path}?format=ndjson", content=b"{}", headers={"authorization": "TD1 1/x"})
        assert stranger.status_code == 401


def test_parquet_goes_in_with_its_types(addon: Running) -> None:
    table = pa.table(
        {"time": pa.array([1_000, 2_000], pa.timestamp("ms")), "n": [1.0, None], "l": [[1], None]}
    )
    body = io.BytesIO()
    pq.write_table(table, body)
    with addon.http() as http:
        headers = {"content-type": "application/vnd.apache.parquet"}
        answer = http.post(f"/api/import/{_DATABASE}/typed", content=body.getvalue(), headers=headers)
        assert answer.json()["rows"] == 2
    assert _query(addon, "select time, n, l from typed order by time") == [[1, 1.0, "[1]"], [2, None, None]]
