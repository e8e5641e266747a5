"""`sluice query` against a server that speaks Treasure Data's REST v3 on a real socket."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import parse_qs

import pytest

from addon.cli.client import Client, _lines, credentials
from addon.cli.failures import Exit, Failure
from addon.cli.home import Home, write_private
from addon.cli.output import Format, choose_format, print_rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = "1/abc"
RESULTS = {"many": '[1,"a"]\n' * 100_000, "accents": '[1,"é\u2028"]\n'}


class Server(BaseHTTPRequestHandler):
    """One job whose SQL text says how it ends."""

    protocol_version = "HTTP/1.1"
    polls = 0
    sql = ""
    databases: ClassVar[list[str]] = []

    def log_message(self, *_: object) -> None:
        """Keep quiet."""

    def _answer(self, status: int, body: str) -> None:
        self.send_response(status)
        content = body.encode()
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # a client may have seen enough
            self.wfile.write(content)

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        Server.sql, Server.polls = form["query"][0], 0
        if self.headers["Authorization"] != f"TD1 {KEY}":
            self._answer(401, json.dumps({"message": "wrong key"}))
        elif self.path.endswith("/nowhere"):
            self._answer(404, json.dumps({"error": "no database nowhere"}))
        else:
            self._answer(200, json.dumps({"job_id": "7"}))

    def do_GET(self) -> None:
        Server.polls += 1
        if self.path == "/v3/database/list":
            self._answer(200, json.dumps({"databases": [{"name": name} for name in Server.databases]}))
            return
        if self.path.startswith("/v3/job/status"):
            final = Server.sql if Server.sql in {"error", "killed", "running"} else "success"
            self._answer(200, json.dumps({"status": "running" if Server.polls < 3 else final}))
        elif self.path.startswith("/v3/job/show"):
            schema = json.dumps([["n", "bigint"], ["name", "varchar"]])
            self._answer(200, json.dumps({"hive_result_schema": schema, "debug": {"stderr": "line 1: no"}}))
        else:
            self._answer(200, RESULTS.get(Server.sql, '[1,"a"]\n[null,"b\\tc"]\n'))


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as listening:
        threading.Thread(target=listening.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()


def test_rows_come_back_with_their_columns(server: str) -> None:
    with Client(server, KEY) as client:
        result = client.query("shop", "SELECT 1")
    assert (result.columns, result.types) == (["n", "name"], ["bigint", "varchar"])
    assert result.records() == [{"n": 1, "name": "a"}, {"n": None, "name": "b\tc"}]


@pytest.mark.parametrize(
    ("database", "sql", "key", "code", "why"),
    [
        ("shop", "error", KEY, Exit.JOB_FAILED, "line 1: no"),
        ("shop", "killed", KEY, Exit.JOB_KILLED, "line 1: no"),
        ("shop", "SELECT 1", "1/other", Exit.AUTH, "wrong key"),
        ("nowhere", "SELECT 1", KEY, Exit.NOT_FOUND, "no database nowhere"),
    ],
)
def test_each_failure_has_its_exit_code_and_the_servers_reason(
    server: str, database: str, sql: str, key: str, *, code: Exit, why: str
) -> None:
    with Client(server, key) as client, pytest.raises(Failure) as caught:
        client.query(database, sql)
    assert caught.value.code is code
    assert caught.value.why == why


def test_a_job_that_goes_on_is_a_timeout(server: str) -> None:
    with Client(server, KEY) as client, pytest.raises(Failure) as caught:
        client.query("shop", "running", timeout=0.1)
    assert caught.value.code is Exit.TIMEOUT


def test_a_server_that_is_not_there_is_named() -> None:
    with Client("http://127.0.0.1:9", KEY) as client, pytest.raises(Failure, match=r"127\.0\.0\.1:9"):
        client.query("shop", "SELECT 1")


def test_the_environment_wins_over_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TD_API_SERVER", raising=False)
    monkeypatch.delenv("TD_API_KEY", raising=False)
    write_private(
        Home(tmp_path).env_sh, "export TD_API_SERVER=http://127.0.0.1:1\nexport TD_API_KEY=1/home\n"
    )
    assert credentials(tmp_path) == ("http://127.0.0.1:1", "1/home")
    monkeypatch.setenv("TD_API_KEY", "2/env")
    assert credentials(tmp_path) == ("http://127.0.0.1:1", "2/env")


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (Format.TSV, "n\tname\n1\ta\n\tb,c\n"),
        (Format.CSV, 'n,name\n1,a\n,"b,c"\n'),
        (Format.JSON, '[\n {"n": 1, "name": "a"},\n {"n": null, "name": "b,c"}\n]\n'),
    ],
)
def test_the_forms_of_output(form: Format, text: str) -> None:
    out = io.StringIO()
    print_rows(["n", "name"], [[1, "a"], [None, "b,c"]], form, out)
    assert out.getvalue() == text


@pytest.mark.parametrize(
    ("databases", "advice"),
    [([], "has no database yet"), (["logs", "shop"], "with -d: logs, shop"), (["d"] * 9, "d, d, …")],
)
def test_a_missing_database_is_answered_with_those_that_there_are(
    server: str, monkeypatch: pytest.MonkeyPatch, databases: list[str], advice: str
) -> None:
    monkeypatch.setattr(Server, "databases", databases)
    with Client(server, KEY) as client, pytest.raises(Failure) as caught:
        client.query("nowhere", "SELECT 1")
    assert caught.value.code is Exit.NOT_FOUND
    assert advice in caught.value.do_next


def test_no_rows_are_still_json() -> None:
    out = io.StringIO()
    print_rows(["n"], [], Format.JSON, out)
    assert json.loads(out.getvalue()) == []


def test_rows_are_printed_while_they_come(server: str) -> None:
    class Out(io.StringIO):
        def write(self, text: str) -> int:
            written.append(text)
            return len(text)

    written: list[str] = []
    seen: list[int] = []
    with Client(server, KEY) as client, client.query_stream("shop", "SELECT 1") as (columns, rows):

        def watched() -> Iterator[list[object]]:
            for row in rows:
                seen.append(len(written))
                yield row

        print_rows(columns, watched(), Format.TSV, Out())
    assert written == ["n\tname\n", "1\ta\n", '\t"b\tc"\n']
    assert seen == [1, 2]


def test_a_line_separator_inside_a_value_does_not_cut_the_row() -> None:
    chunks = iter(['["a\u2028'.encode(), b'b"]\n["', b'\\n"]\n'])
    assert [json.loads(line) for line in _lines(chunks) if line] == [["a\u2028b"], ["\n"]]


def test_a_reader_that_has_seen_enough_ends_it_quietly(server: str) -> None:
    argv = [sys.executable, "-m", "addon.cli", "query", "--json", "many"]
    env = os.environ | {"TD_API_SERVER": server, "TD_API_KEY": KEY}
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"[\n"
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_values_that_the_locale_cannot_show_are_escaped(server: str) -> None:
    argv = [sys.executable, "-m", "addon.cli", "query", "accents", "--json"]
    env = os.environ | {"TD_API_SERVER": server, "TD_API_KEY": KEY, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)[0]["name"] == "é\u2028"


def test_an_address_that_is_none_is_told_apart_from_a_server_that_is_down() -> None:
    with Client("nonsense", KEY) as client, pytest.raises(Failure) as caught:
        client.query("shop", "SELECT 1")
    assert "Set TD_API_SERVER" in caught.value.do_next


def test_a_table_shows_values_as_they_are_not_as_markup() -> None:
    out = io.StringIO()
    print_rows(["n"], [["[red]x[/red]"]], Format.TABLE, out)
    assert "[red]x[/red]" in out.getvalue()
    assert "1 rows" in out.getvalue()


def test_json_and_csv_at_once_is_a_usage_error() -> None:
    with pytest.raises(Failure) as caught:
        choose_format(as_json=True, as_csv=True)
    assert caught.value.code is Exit.USAGE
    assert choose_format(as_json=False, as_csv=False) is Format.TSV
