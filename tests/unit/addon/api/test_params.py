"""Parameters and schemas: what cannot be stored or understood is refused with its reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.api.td.params import Params, is_storable, json_object
from addon.api.td.tables import parse_schema
from addon.models.catalog import DeclaredColumn
from platform_core.base.errors import InvalidInput


@given(st.text(st.characters(codec=None)))
def test_storable_texts_are_those_that_utf_8_and_postgresql_hold(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        assert not is_storable(text)
    else:
        assert is_storable(text) == ("\0" not in text)


@pytest.mark.parametrize(
    "body",
    [b"", b"[1]", b"{bad", b'{"a":"\\ud800"}', b'{"\\udfff":1}', b"[" * 100_000, b'{"a":' + b"9" * 9_999],
)
def test_a_body_that_is_no_storable_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        json_object(body)


def test_numbers_stay_in_their_range() -> None:
    params = Params({"a": "7", "b": "9" * 30, "c": "x", "d": " -2 ", "e": ""})
    assert (params.integer("a", 0), params.integer("d", 0), params.integer("e", 5)) == (7, -2, 5)
    for name in ("b", "c"):
        with pytest.raises(InvalidInput, match=f"parameter {name}"):
            params.integer(name, 0)
    with pytest.raises(InvalidInput, match="0 to 6"):
        params.integer("a", 0, range(7))


def test_a_schema_is_read_and_time_left_out() -> None:
    text = '[["time","long"],["a","int"],["b","array<string>","c"]]'
    assert parse_schema(text) == [DeclaredColumn("a", "int"), DeclaredColumn("b", "array<string>", "c")]


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "{}",
        "7",
        '["ab","cd"]',
        "[[1,2]]",
        '[["a"]]',
        '[["a","int","b","c"]]',
        '[["a","nonsense"]]',
        '[["a\\"b","int"]]',
        '[["","int"]]',
        '[["a","int"],["a","string"]]',
        '[["a","int"],["b","string","a"]]',
        '[["Upper","int"]]',
    ],
)
def test_a_wrong_schema_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_schema(text)
