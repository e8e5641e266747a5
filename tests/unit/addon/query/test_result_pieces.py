"""A large result leaves in large pieces, whatever its form."""

from __future__ import annotations

import json

import msgpack
import pytest
from isal import igzip

from addon.query.results import rendered

ROWS = 20_000


@pytest.mark.parametrize("form", ["json", "csv", "tsv", "msgpack"])
def test_a_large_result_is_not_sent_row_by_row(form: str) -> None:
    packed = b"".join(msgpack.packb([n, f"name {n}"]) for n in range(ROWS))
    pieces = list(rendered(igzip.compress(packed), form, ["n", "name"], header=False))
    assert len(pieces) < ROWS / 100
    if form == "json":
        assert [json.loads(line)[0] for line in b"".join(pieces).splitlines()] == list(range(ROWS))


def test_an_empty_result_is_an_empty_body() -> None:
    assert b"".join(rendered(igzip.compress(b""), "json", ["n"], header=False)) == b""
