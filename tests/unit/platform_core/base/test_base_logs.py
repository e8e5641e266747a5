"""Our own logs: JSON lines without secrets."""

from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from platform_core.base.logs import REDACTED, configure_logs, get_logger, redact

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def output(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    before = structlog.get_config()
    configure_logs("info")
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.configure(**before)


def lines(output: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.getvalue().splitlines()]


def test_an_event_is_one_json_object(output: io.StringIO) -> None:
    get_logger("test.a").info("dyno_started", dyno="web.1", count=3)
    get_logger("test.a").debug("not_shown")
    (line,) = lines(output)
    assert line.pop("ts").endswith("Z")
    assert line == {"event": "dyno_started", "level": "info", "dyno": "web.1", "count": 3}


def test_secrets_are_cut_out_at_the_sink(output: io.StringIO) -> None:
    key = "12/" + "ab" * 20
    get_logger("test.b").warning("x", password="p", token="t", url="https://u:pw@h/p", text=f"key {key}")
    (line,) = lines(output)
    assert (line["password"], line["token"]) == (REDACTED, REDACTED)
    assert line["url"] == f"https://{REDACTED}@h/p"
    assert line["text"] == f"key 12/{REDACTED}"


def test_records_of_the_standard_library_take_the_same_way(output: io.StringIO) -> None:
    logging.getLogger("some.library").error("cannot reach https://a:b@c")
    (line,) = lines(output)
    assert line["event"] == f"cannot reach https://{REDACTED}@c"


def test_requests_of_httpx_are_not_logged(output: io.StringIO) -> None:
    logging.getLogger("httpx").info("GET https://h/?token=x")
    assert lines(output) == []


def test_plain_text_is_left_alone() -> None:
    assert redact("a/b 1/abc http://host/path") == "a/b 1/abc http://host/path"
