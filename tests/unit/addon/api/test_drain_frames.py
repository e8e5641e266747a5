"""Checking the messages of a drain's body, and reading Basic credentials."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.api.drain import basic_credentials, check_body
from platform_core.base.errors import InvalidInput
from platform_core.wire.octets import join_octets


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=20))
def test_a_body_has_as_many_messages_as_were_joined(messages: list[bytes]) -> None:
    body = join_octets(messages)
    check_body(body, len(messages))
    check_body(body, None)
    with pytest.raises(InvalidInput, match=f"says {len(messages) + 1}, the body has {len(messages)} "):
        check_body(body, len(messages) + 1)


@pytest.mark.parametrize(
    "wrong",
    [
        b"5 abc",
        b"x abc",
        b"-1 a",
        b"99999999 a",
        b" a",
        b"3",
        b"03 abc",
        b"0 ",
        b"2000000 " + bytes(2_000_000),
    ],
)
def test_a_wrong_length_is_refused_and_where_it_stands_is_said(wrong: bytes) -> None:
    with pytest.raises(InvalidInput, match="byte 5 "):
        check_body(b"3 abc" + wrong, None)


def test_credentials_are_read_or_empty() -> None:
    assert basic_credentials(b"Basic " + base64.b64encode(b"a:b:c")) == ("a", "b:c")
    for header in (b"", b"Basic", b"Basic %%%", b"Bearer x", b"Basic /w=="):
        assert not basic_credentials(header)[1]
