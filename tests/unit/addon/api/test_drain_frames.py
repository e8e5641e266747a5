"""Counting octet frames, and reading Basic credentials."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.api.drain import basic_credentials, count_frames
from platform_core.base.errors import InvalidInput


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=20))
def test_as_many_frames_are_counted_as_were_joined(messages: list[bytes]) -> None:
    body = b"".join(b"%d %b" % (len(message), message) for message in messages)
    assert count_frames(body) == len(messages)


@pytest.mark.parametrize("body", [b"5 abc", b"x abc", b"-1 a", b"99999999 a", b" a", b"3"])
def test_a_wrong_length_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        count_frames(body)


def test_credentials_are_read_or_empty() -> None:
    assert basic_credentials(b"Basic " + base64.b64encode(b"a:b:c")) == ("a", "b:c")
    for header in (b"", b"Basic", b"Basic %%%", b"Bearer x", b"Basic /w=="):
        assert not basic_credentials(header)[1]
