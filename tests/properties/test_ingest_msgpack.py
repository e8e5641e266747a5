"""msgpack rows: the fast way says exactly what the exact way says."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import msgpack
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from addon.ingest.decode_msgpack import _fast, boundaries, decode_msgpack, row_to_json
from addon.ingest.rows import Decoded, Origin
from addon.models.tables import TableRef

REF = TableRef(1, "shop", "events")
ORIGIN = Origin("msgpack.gz", "b1", 5)
PLAIN = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**64 - 1),
        st.floats(allow_nan=False),
        st.text(max_size=8),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
VALUES = st.one_of(PLAIN, st.just(math.nan), st.binary(max_size=6), st.just(msgpack.ExtType(5, b"x")))
KEYS = st.one_of(st.text(max_size=6), st.integers(0, 3), st.binary(max_size=4))
ROWS = st.lists(st.dictionaries(KEYS, VALUES, max_size=4), min_size=1, max_size=6)


def decoded(data: bytes) -> tuple[list[Any], list[str]]:
    out = Decoded()
    decode_msgpack(data, REF, ORIGIN, out, record_bytes=1 << 20)
    lines = [text for chunk in out.tables[REF].chunks for text in chunk.texts.to_pylist()]
    return [json.loads(line) for line in lines], [letter[1] for letter in out.dead[1]]


def as_json(value: Any) -> Any:
    """Return what a value means in JSON; raises for what has no meaning there."""
    if isinstance(value, dict):
        if not all(isinstance(key, str | bytes) for key in value):
            raise ValueError(value)
        return {as_json(key): as_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_json(item) for item in value]
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, msgpack.ExtType):
        raise ValueError(value)  # noqa: TRY004 - one kind of error for all
    return value


@settings(deadline=None, max_examples=300)
@given(ROWS)
def test_every_row_is_a_line_or_a_dead_letter(rows: list[dict[Any, Any]]) -> None:
    data = b"".join(msgpack.packb(row) for row in rows)
    expected = []
    for row in rows:
        try:
            expected.append(as_json(row))
        except ValueError:
            continue
    lines, dead = decoded(data)
    assert lines == expected
    assert len(dead) == len(rows) - len(expected)


@settings(deadline=None)
@given(st.lists(st.dictionaries(st.text(max_size=4), PLAIN, max_size=4), min_size=1, max_size=6))
def test_the_fast_way_equals_the_exact_way(rows: list[dict[str, Any]]) -> None:
    data = b"".join(msgpack.packb(row) for row in rows)
    starts = boundaries(data)
    fast = _fast(data, starts, 1 << 20)
    exact = [json.loads(row_to_json(data[a:b])) for a, b in itertools.pairwise(starts)]
    if fast is not None:
        assert [json.loads(line) for line in fast.splitlines()] == exact
    assert exact == [as_json(row) for row in rows]


def test_a_key_twice_is_kept_twice_in_the_text() -> None:
    lines, dead = decoded(b"\x82\xa1a\x01\xa1a\x02")
    assert (lines, dead) == ([{"a": 2}], [])
    out = Decoded()
    decode_msgpack(b"\x82\xa1a\x01\xa1a\x02", REF, ORIGIN, out, record_bytes=100)
    assert out.tables[REF].chunks[0].texts.to_pylist() == ['{"a":1,"a":2}\n']


def test_a_row_over_the_limit_is_a_dead_letter_and_its_neighbours_are_not() -> None:
    data = msgpack.packb({"a": "x" * 200}) + msgpack.packb({"a": 1})
    out = Decoded(dead_letter_bytes=16)
    decode_msgpack(data, REF, ORIGIN, out, record_bytes=100)
    assert [chunk.texts.to_pylist() for chunk in out.tables[REF].chunks] == [['{"a":1}\n']]
    assert [letter[1] for letter in out.dead[1]] == ["record_too_long"]
    assert np.all([len(letter[5]) <= 16 * 4 for letter in out.dead[1]])
