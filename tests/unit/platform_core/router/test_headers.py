"""What the router takes out of and puts into headers."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_core.router import headers
from platform_core.router.faults import Refused

names = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,10}", fullmatch=True).map(str.encode)
lists = st.lists(st.tuples(names, st.binary(max_size=10)), max_size=6)


def forward(raw: list[headers.Header], *, upgrade: bool = False) -> list[headers.Header]:
    return headers.for_dyno(
        raw, forwarded="1.2.3.4", port=80, scheme="http", started_ms=5, identifier="id", upgrade=upgrade
    )


@given(lists)
@settings(max_examples=50, deadline=None)
def test_ours_are_there_once_whatever_came(raw: list[headers.Header]) -> None:
    got = [name.lower() for name, _value in forward(raw)]
    for name in (
        b"connection",
        b"x-forwarded-for",
        b"x-forwarded-proto",
        b"x-forwarded-port",
        b"x-request-id",
    ):
        assert got.count(name) == 1


def test_order_and_spelling_of_the_others_are_kept() -> None:
    raw = [(b"X-B", b"1"), (b"x-a", b"2"), (b"X-B", b"3")]
    assert forward(raw)[:3] == raw


def test_what_connection_names_is_dropped_but_never_the_framing() -> None:
    raw = [(b"Connection", b"X-Hop, content-length, close"), (b"X-Hop", b"1"), (b"Content-Length", b"5")]
    got = dict(forward(raw))
    assert b"X-Hop" not in got
    assert got[b"Content-Length"] == b"5"


def test_an_upgrade_is_passed_on_only_as_one() -> None:
    raw = [(b"Upgrade", b"websocket"), (b"Connection", b"upgrade")]
    assert dict(forward(raw, upgrade=True))[b"Upgrade"] == b"websocket"
    assert dict(forward(raw, upgrade=True))[b"Connection"] == b"Upgrade"
    assert b"Upgrade" not in dict(forward(raw))


@pytest.mark.parametrize(
    ("given_id", "kept"),
    [(b"a" * 20, True), (b"a" * 19, False), (b"a" * 200, True), (b"a" * 201, False), (b"a b" * 10, False)],
)
def test_a_request_id_must_look_like_one(given_id: bytes, kept: bool) -> None:
    assert (headers.request_id([(b"x-request-id", given_id)]) == given_id.decode()) == kept


def test_the_limits_are_inclusive() -> None:
    host = (b"host", b"h")
    exact = [host, (b"a", b"x" * 99)]
    headers.check(exact, b"/", b"GET", max_line=100, max_head=1000)
    with pytest.raises(Refused):
        headers.check([host, (b"a", b"x" * 100)], b"/", b"GET", max_line=100, max_head=1000)
    with pytest.raises(Refused):
        headers.check(exact, b"/", b"GET", max_line=100, max_head=50)
