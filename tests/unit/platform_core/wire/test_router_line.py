"""The router's line, the codes and the loss notices, byte for byte."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_core.wire import notices
from platform_core.wire.codes import H_CODES, error_text
from platform_core.wire.logfmt import parse
from platform_core.wire.router_line import RouterLine

ID = "8601b555-6a83-4c12-8269-97c8e32cdb22"


def test_a_good_request() -> None:
    line = RouterLine(
        method="GET", path="/p", host="h", request_id=ID, fwd="10.0.0.1", status=200, protocol="https",
        dyno="web.1", connect_ms=1, service_ms=18, size=975,
    )  # fmt: skip
    assert (
        line.encode()
        == (
            f'at=info method=GET path="/p" host=h request_id={ID} fwd="10.0.0.1" dyno=web.1 connect=1ms '
            "service=18ms status=200 bytes=975 protocol=https"
        ).encode()
    )


def test_tls_fields_follow_when_the_version_is_known() -> None:
    line = RouterLine(
        method="GET",
        path="/",
        host="h",
        request_id=ID,
        fwd="",
        status=200,
        protocol="https",
        tls_version="tls1.3",
    )
    assert line.text().endswith(" protocol=https tls=true tls_version=tls1.3")


def test_an_error_puts_its_code_first_and_leaves_unknown_values_empty() -> None:
    line = RouterLine(method="GET", path="/", host="h", request_id=ID, fwd="1.2.3.4", status=503, code="H14")
    assert line.text() == (
        f'at=error code=H14 desc="No web processes running" method=GET path="/" host=h request_id={ID} '
        'fwd="1.2.3.4" dyno= connect= service= status=503 bytes= protocol=http'
    )


@pytest.mark.parametrize(
    ("code", "sock", "head"), [("H27", "client", "warning"), ("H18", "backend", "error")]
)
def test_the_side_that_hung_up_stands_before_everything(code: str, sock: str, head: str) -> None:
    line = RouterLine(
        method="GET", path="/", host="h", request_id=ID, fwd="", status=499, code=code, sock=sock
    )
    assert line.text().startswith(f"sock={sock} at={head} code={code} desc=")


@settings(deadline=None)
@given(st.text(max_size=40), st.text(min_size=1, max_size=20))
def test_a_client_can_forge_neither_a_field_nor_a_line(path: str, host: str) -> None:
    line = RouterLine(method="GET", path=path, host=host, request_id=ID, fwd=path, status=200).text()
    fields = parse(line)
    assert list(fields) == list(parse(RouterLine("GET", "/", "h", ID, "f", 200).text()))
    assert fields["status"] == "200"
    assert len(line.splitlines()) == 1


def test_codes_have_heroku_texts_and_statuses() -> None:
    assert error_text("R14") == "Error R14 (Memory quota exceeded)"
    assert error_text("R10") == "Error R10 (Boot timeout)"
    special = {"H25": 502, "H26": 400, "H27": 499, "H28": 499, "H31": 421}
    assert {name: code.status for name, code in H_CODES.items() if code.status != 503} == special


def test_loss_notices_are_those_that_log_tools_look_for() -> None:
    since = "2026-01-02T03:04:05.000000+00:00"
    assert notices.drain_overflow("d.1", 500, since) == (
        b"Error L10 (output buffer overflow): drain 'd.1' dropped 500 messages since " + since.encode() + b"."
    )
    assert notices.tail_overflow(2, since).startswith(
        b"L11 (Tail buffer overflow) -> This tail session dropped 2 "
    )
    assert notices.local_overflow(3, since) == f"Error L12: 3 messages dropped since {since}.".encode()
    assert b'uri="https://x/"' in notices.bad_certificate("bad certificate", "https://x/")
