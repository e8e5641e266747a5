"""The Procfile's rules, and errors that name the line and the way out."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_core.base.errors import InvalidInput
from platform_core.build.procfile import parse_procfile


def test_types_keep_their_order_and_comments_are_left_out() -> None:
    raw = (
        b"# how it runs\r\nworker: python w.py  \r\n\r\nweb:gunicorn a:b --bind 0.0.0.0:$PORT # no comment\n"
    )
    assert list(parse_procfile(raw).items()) == [
        ("worker", "python w.py"),
        ("web", "gunicorn a:b --bind 0.0.0.0:$PORT # no comment"),
    ]
    assert parse_procfile(b"") == {}


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"web: a\nworker b\n", 'line 2: "worker b" is not'),
        (b"web:\n", 'line 1: "web:" is not'),
        (b"we b: x\n", "line 1"),
        (b"w" * 64 + b": x\n", "line 1"),
        (b": x\n", "line 1"),
        (b"../x: y\n", "line 1"),
        (b"web: a\n\nweb: b\n", 'line 3: the process type "web" is declared twice'),
        (b"web: a\x00b\n", "line 1: a control character"),
        (b"web: \x1b[31m\n", "line 1: a control character"),
        (b"web: a\nworker: \xff\n", "line 2: not UTF-8"),
        (b"x" * 70_000, "larger than"),
        (b"".join(b"t%d: x\n" % number for number in range(101)), "more than 100"),
    ],
)
def test_a_bad_line_is_named(raw: bytes, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_procfile(raw)
    assert message in caught.value.message
    assert caught.value.hint


@settings(deadline=None)
@given(st.binary(max_size=120))
def test_rubbish_is_parsed_or_refused(raw: bytes) -> None:
    try:
        commands = parse_procfile(raw)
    except InvalidInput:
        return
    assert all(name.isascii() and command == command.strip() for name, command in commands.items())
