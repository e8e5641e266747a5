"""`sluice analyze` against a server that answers as the add-on does."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from addon.cli.analyses import run, start
from addon.cli.analyze import (
    Asked,
    analyze,
    parse_inputs,
    parse_params,
    parse_snapshots,
    parse_tables,
)
from addon.cli.client import Client
from addon.cli.failures import Exit, Failure
from addon.cli.output import Format

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MANIFEST = {
    "analysis": "ranking",
    "outputs": {"ranking": {"rows": 2}},
    "rows_excluded": {"items": {"null_item": 3}},
    "result_hash": "h1",
}
OUTPUTS = [{"name": "ranking", "rows": 2, "table": "runs.run_9.ranking"}]


class Server(BaseHTTPRequestHandler):
    """One analysis, done at the second look; named `broken`, it fails."""

    protocol_version = "HTTP/1.1"
    body: dict[str, Any]
    looks = 0

    def log_message(self, *_: object) -> None:
        """Keep quiet."""

    def _answer(self, body: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        Server.body = json.loads(self.rfile.read(int(self.headers["Content-Length"]))) | {"path": self.path}
        Server.looks = 0
        if "refused" in self.path:
            self._answer(
                b'{"message": "parameter top: 0 is not allowed; give an integer of at least 1"}', 422
            )
            return
        self._answer(b'{"run": "9"}', 201)

    def do_GET(self) -> None:
        Server.looks += 1
        if "/outputs/" in self.path:
            as_json = self.path.endswith("?format=json")
            self._answer(
                b'{"rows": [{"item": "a", "rank": 1}, {"item": "b", "rank": null}]}' if as_json else b"PAR1"
            )
            return
        if self.path == "/sluice/v1/analyses/8":
            self._answer(json.dumps({"status": "success", "error": None, "manifest": MANIFEST}).encode())
            return
        final = "error" if "broken" in self.path else "success"
        running = Server.looks == 1
        shown = {
            "status": "running" if running else final,
            "progress": {"stage": "computing", "percent": 40} if running else None,
            "error": "no column item",
            "manifest": MANIFEST,
            "outputs": OUTPUTS,
        }
        if "from_manifest" in Server.body:
            expected = Server.body["from_manifest"]["result_hash"]
            shown["manifest"] = {**MANIFEST, "repeats": {"result_hash": expected, "same": expected == "h1"}}
        self._answer(json.dumps(shown).encode())


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as listening:
        threading.Thread(target=listening.serve_forever, args=(0.02,), daemon=True).start()
        url = f"http://127.0.0.1:{listening.server_port}"
        monkeypatch.setenv("TD_API_SERVER", url)
        monkeypatch.setenv("TD_API_KEY", "1/abc")
        yield url
        listening.shutdown()


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (Format.TSV, "item\trank\na\t1\nb\t\n"),
        (
            Format.JSON,
            json.dumps({"ranking": [{"item": "a", "rank": 1}, {"item": "b", "rank": None}]}, indent=1) + "\n",
        ),
    ],
)
@pytest.mark.usefixtures("server")
def test_every_output_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], form: Format, text: str
) -> None:
    asked = Asked(
        "ranking",
        "shop",
        inputs=["items=SELECT a = 1 FROM t"],
        tables=["spend=shop.costs"],
        columns=["spend.channel=medium"],
        snapshots=["shop.costs=12"],
        params='{"top": 5}',
        engine="spark",
        pin=True,
    )
    assert analyze(tmp_path, asked, form=form, timeout=5) is Exit.OK
    said = capsys.readouterr()
    assert said.out == text
    assert said.err == 'rows excluded: {"items": {"null_item": 3}}\n'
    assert Server.body == {
        "path": "/api/analyses/ranking/runs",
        "database": "shop",
        "inputs": {"items": "SELECT a = 1 FROM t"},
        "tables": {"spend": {"table": "shop.costs", "columns": {"channel": "medium"}}},
        "snapshots": {"shop.costs": 12},
        "params": {"top": 5},
        "engine": "spark",
        "pin": True,
    }


@pytest.mark.usefixtures("server")
def test_how_far_it_has_come_is_one_line_on_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    analyze(tmp_path, Asked("ranking"), form=Format.TSV, timeout=5, progress=True)
    assert "\r\x1b[Kcomputing 40 %\r\x1b[Ksuccess\n" in capsys.readouterr().err


@pytest.mark.usefixtures("server")
def test_a_run_is_repeated_by_its_number_or_file_and_must_give_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = Asked(None, from_manifest="8", engine="spark")
    assert analyze(tmp_path, asked, form=Format.JSON, timeout=5, out=tmp_path / "run") is Exit.OK
    assert Server.body == {
        "path": "/api/analyses/ranking/runs",
        "from_manifest": MANIFEST,
        "engine": "spark",
    }
    assert "SQL: runs.run_9.ranking" in capsys.readouterr().out
    kept = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert kept["repeats"] == {"result_hash": "h1", "same": True}
    other = tmp_path / "other.json"
    other.write_text(json.dumps({**MANIFEST, "result_hash": "h2"}))
    with pytest.raises(Failure, match="h1 is not h2") as caught:
        analyze(tmp_path, Asked(None, from_manifest=str(other)), form=Format.TSV, timeout=5)
    assert caught.value.code is Exit.JOB_FAILED


@pytest.mark.parametrize(
    "asked",
    [
        Asked(None),
        Asked(None, from_manifest="no-such-file"),
        Asked("ranking", "shop", from_manifest="8"),
        Asked(None, params='{"top": 1}', from_manifest="8"),
    ],
)
@pytest.mark.usefixtures("server")
def test_what_cannot_be_asked_for_is_a_usage_error(tmp_path: Path, asked: Asked) -> None:
    with pytest.raises(Failure) as caught:
        analyze(tmp_path, asked, form=Format.TSV, timeout=5)
    assert caught.value.code is Exit.USAGE


def test_a_refused_parameter_is_a_usage_error_in_the_servers_words(server: str) -> None:
    with Client(server, "1/abc") as client, pytest.raises(Failure) as caught:
        start(client, "refused", {})
    assert caught.value.code is Exit.USAGE
    assert caught.value.why == "parameter top: 0 is not allowed; give an integer of at least 1"


def test_a_failed_analysis_has_its_exit_code_and_reason(server: str) -> None:
    with Client(server, "1/abc") as client, pytest.raises(Failure) as caught:
        run(client, "shop", "broken", {}, {})
    assert (caught.value.code, caught.value.why) == (Exit.JOB_FAILED, "no column item")


def test_a_result_is_written_as_a_run_folder(server: str, tmp_path: Path) -> None:
    with Client(server, "1/abc") as client:
        folder = run(client, "shop", "ranking", {"items": "SELECT 1"}, {}).write(tmp_path / "ranking")
    assert json.loads((folder / "manifest.json").read_text()) == MANIFEST
    assert (folder / "ranking.parquet").read_bytes() == b"PAR1"


@pytest.mark.parametrize(
    ("tables", "columns"),
    [(["events"], []), (["events="], []), ([], ["events.user_id=x"]), (["events=v"], ["events=x"])],
)
def test_a_table_or_column_of_another_shape_is_a_usage_error(tables: list[str], columns: list[str]) -> None:
    with pytest.raises(Failure) as caught:
        parse_tables(tables, columns)
    assert caught.value.code is Exit.USAGE


@pytest.mark.parametrize("word", ["shop.views", "views=3", "shop.views=x", "shop.views=-1"])
def test_a_snapshot_of_another_shape_is_a_usage_error(word: str) -> None:
    with pytest.raises(Failure) as caught:
        parse_snapshots([word])
    assert caught.value.code is Exit.USAGE


@pytest.mark.parametrize("word", ["SELECT 1", "=SELECT 1", "items=", "my table=SELECT 1"])
def test_an_input_of_another_shape_is_a_usage_error(word: str) -> None:
    with pytest.raises(Failure) as caught:
        parse_inputs([word])
    assert caught.value.code is Exit.USAGE


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_params_that_are_no_object_are_a_usage_error(text: str) -> None:
    with pytest.raises(Failure) as caught:
        parse_params(text)
    assert caught.value.code is Exit.USAGE
