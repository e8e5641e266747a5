"""``sluice report``: definitions from files, and what a failed or waiting run makes of the exit code."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from addon.cli.client import Client
from addon.cli.failures import Exit, Failure
from addon.cli.output import Format
from addon.cli.report import ReportCommands, read_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RUN = {
    "run": 7, "report": "daily", "status": "success", "slot": 0, "error": None, "window": {"text": "one day"},
    "incomplete": [{"code": "late_data", "text": "Rows are missing."}],
    "sections": [{"heading": "Best sellers", "finding": "a leads"}],
    "deliveries": [
        {
            "name": "mail", "type": "mail", "target": "ann", "status": "delivered", "attempts": 1,
            "error": None,
        },
    ],
}  # fmt: skip
DAILY = {
    "name": "daily", "title": "Daily", "period": {"unit": "day"}, "analyses": [{"key": "a"}, {"key": "b"}],
    "deliveries": [{"name": "mail"}], "revision": 2, "updated_at": 0.0,
}  # fmt: skip


def commands(
    monkeypatch: pytest.MonkeyPatch,
    root: Path,
    answer: Callable[[httpx.Request], Any],
    form: Format = Format.TSV,
) -> ReportCommands:
    """Commands whose server is a function."""

    def respond(request: httpx.Request) -> httpx.Response:
        found = answer(request)
        return found if isinstance(found, httpx.Response) else httpx.Response(200, json=found)

    class Answered(Client):
        def __init__(self, server: str, key: str) -> None:
            super().__init__(server, key)
            self._http.close()
            self._http = httpx.Client(base_url=server, transport=httpx.MockTransport(respond))

    monkeypatch.setenv("TD_API_SERVER", "http://127.0.0.1:1")
    monkeypatch.setenv("TD_API_KEY", "1/x")
    monkeypatch.setattr("addon.cli.report.Client", Answered)
    return ReportCommands(root, form)


def test_a_definition_is_read_as_json_or_toml_and_sent_under_its_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sent: list[tuple[str, str, Any]] = []

    def answer(request: httpx.Request) -> Any:
        sent.append((request.method, request.url.path, json.loads(request.content)))
        return DAILY

    (tmp_path / "a.toml").write_text('name = "daily"\nperiod = { unit = "day" }\n')
    (tmp_path / "b.json").write_text('{"name": "daily", "period": {"unit": "day"}}')
    for file in ("a.toml", "b.json"):
        assert commands(monkeypatch, tmp_path, answer).apply(tmp_path / file) is Exit.OK
    assert sent == [("PUT", "/api/reports/daily", {"name": "daily", "period": {"unit": "day"}})] * 2
    row = capsys.readouterr().out.splitlines()[1]
    assert row.split("\t") == ["daily", "Daily", "day", "a, b", "mail", "2", "1970-01-01T00:00:00Z"]


@pytest.mark.parametrize(("name", "text"), [("a.toml", "name ="), ("a.json", "{"), ("a.json", "[]")])
def test_a_file_that_defines_nothing_is_a_wrong_usage(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(Failure) as caught:
        read_file(tmp_path / name)
    assert caught.value.code is Exit.USAGE


def test_a_run_is_waited_for_and_tells_what_was_found_and_delivered(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    states = ["queued", "running", "success"]

    def answer(request: httpx.Request) -> Any:
        if request.method == "POST":
            assert request.url.params["slot"] == "1767225600"
            return {"job_id": "5"}
        return {"status": states.pop(0), "messages": [], "run": RUN}

    assert commands(monkeypatch, tmp_path, answer).run("daily", "2026-01-01", 60) is Exit.OK
    told = capsys.readouterr()
    assert told.out.splitlines()[1].split("\t")[:4] == ["mail", "mail", "ann", "delivered"]
    assert "not final: Rows are missing." in told.err
    assert "Best sellers: a leads" in told.err


@pytest.mark.parametrize(("status", "code"), [("error", Exit.JOB_FAILED), ("killed", Exit.JOB_KILLED)])
def test_a_run_that_fails_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, status: str, code: Exit
) -> None:
    def answer(request: httpx.Request) -> Any:
        shown = {"status": status, "messages": ["Analysis a: no table"], "run": None}
        return {"job_id": "5"} if request.method == "POST" else shown

    with pytest.raises(Failure, match="no table") as caught:
        commands(monkeypatch, tmp_path, answer).run("daily", None, 60)
    assert caught.value.code is code


def test_a_run_that_takes_too_long_goes_on_without_the_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def answer(request: httpx.Request) -> Any:
        return (
            {"job_id": "5"}
            if request.method == "POST"
            else {"status": "running", "messages": [], "run": None}
        )

    with pytest.raises(Failure) as caught:
        commands(monkeypatch, tmp_path, answer).run("daily", None, -1)
    assert caught.value.code is Exit.TIMEOUT


def test_a_page_is_saved_and_its_path_printed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def answer(request: httpx.Request) -> Any:
        assert request.url.path == "/api/reports/daily/runs/latest/report.html"
        return httpx.Response(200, content=b"<p>page</p>")

    out = tmp_path / "page.html"
    assert commands(monkeypatch, tmp_path, answer).open("daily", "latest", out) is Exit.OK
    assert (capsys.readouterr().out.strip(), out.read_bytes()) == (str(out), b"<p>page</p>")
