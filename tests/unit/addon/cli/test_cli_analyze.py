"""`sluice analyze` against a server that answers as the add-on does."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from addon.cli.analyze import analyze, parse_inputs, parse_params
from addon.cli.client import Client
from addon.cli.failures import Exit, Failure
from addon.cli.output import Format

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MANIFEST = {"analysis": "ranking", "outputs": {"ranking": {"rows": 2}}}


class Server(BaseHTTPRequestHandler):
    """One analysis, done at the second look; named `broken`, it fails."""

    protocol_version = "HTTP/1.1"
    body: dict[str, Any]
    looks = 0

    def log_message(self, *_: object) -> None:
        """Keep quiet."""

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        Server.body = json.loads(self.rfile.read(int(self.headers["Content-Length"]))) | {"path": self.path}
        Server.looks = 0
        self._answer(b'{"job_id": "9"}')

    def do_GET(self) -> None:
        Server.looks += 1
        if "/outputs/" in self.path:
            as_json = self.headers["Accept"] == "application/json"
            self._answer(
                b'{"rows": [{"item": "a", "rank": 1}, {"item": "b", "rank": null}]}' if as_json else b"PAR1"
            )
            return
        final = "error" if Server.body["path"].endswith("broken") else "success"
        status = "running" if Server.looks == 1 else final
        shown = {"status": status, "error": "no column item", "manifest": MANIFEST, "outputs": ["ranking"]}
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
    inputs = ["items=SELECT a = 1 FROM t"]
    code = analyze(
        tmp_path, "ranking", inputs, '{"top": 5}', database="shop", engine="spark", form=form, timeout=5
    )
    assert code is Exit.OK
    assert capsys.readouterr().out == text
    assert Server.body == {
        "path": "/sluice/v1/analyses/ranking",
        "database": "shop",
        "inputs": {"items": "SELECT a = 1 FROM t"},
        "params": {"top": 5},
        "engine": "spark",
    }


def test_a_failed_analysis_has_its_exit_code_and_reason(server: str) -> None:
    with Client(server, "1/abc") as client, pytest.raises(Failure) as caught:
        client.analyze("shop", "broken", {}, {})
    assert (caught.value.code, caught.value.why) == (Exit.JOB_FAILED, "no column item")


def test_a_result_is_written_as_a_run_folder(server: str, tmp_path: Path) -> None:
    with Client(server, "1/abc") as client:
        folder = client.analyze("shop", "ranking", {"items": "SELECT 1"}, {}).write(tmp_path / "ranking")
    assert json.loads((folder / "manifest.json").read_text()) == MANIFEST
    assert (folder / "ranking.parquet").read_bytes() == b"PAR1"


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
