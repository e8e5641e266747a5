"""The Range header."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from platform_core.api.ranges import Range, paged, parse_range
from platform_core.base.errors import InvalidInput


def _request(header: str | None) -> Request:
    headers = [] if header is None else [(b"range", header.encode())]
    return Request({"type": "http", "method": "GET", "path": "/", "headers": headers})


def _page(rows: list[dict[str, Any]], header: str | None) -> tuple[int, list[int], str | None]:
    response = paged(_request(header), rows, "version")
    body = json.loads(bytes(response.body))
    return response.status_code, [row["version"] for row in body], response.headers.get("next-range")


ROWS = [{"version": n, "id": f"{n:03}"} for n in range(1, 31)]


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        (None, Range()),
        ("", Range()),
        ("version ..; max=10, order=desc", Range("version", size=10, descending=True)),
        ("order=desc,max=1", Range(size=1, descending=True)),
        ("id ..; max=1000;", Range("id", size=1000)),
        ("version ]7..; max=5", Range("version", "7", behind=True, size=5)),
        ("name a..m[; max=2,order=asc", Range("name", "a", end="m", before=True, size=2)),
    ],
)
def test_every_form_that_clients_send_is_understood(header: str | None, wanted: Range) -> None:
    assert parse_range(header) == wanted


@pytest.mark.parametrize("header", ["bytes=0-5?", "version ..; max=0", "version ..; max=5000", ";;;"])
def test_nonsense_is_refused(header: str) -> None:
    with pytest.raises(InvalidInput):
        parse_range(header)


def test_the_newest_come_first_when_asked() -> None:
    status, versions, following = _page(ROWS, "version ..; max=3, order=desc")
    assert (status, versions) == (206, [30, 29, 28])
    assert following == "version ]28..; max=3, order=desc"


def test_a_whole_list_is_200_without_a_next_range() -> None:
    assert _page(ROWS, None) == (200, list(range(1, 31)), None)


@given(size=st.integers(1, 12), descending=st.booleans(), count=st.integers(0, 30))
def test_following_next_range_yields_every_row_once_in_order(size: int, descending: bool, count: int) -> None:
    rows = ROWS[:count]
    header: str | None = f"version ..; max={size}{', order=desc' if descending else ''}"
    seen: list[int] = []
    while header is not None:
        _, versions, header = _page(rows, header)
        assert len(versions) <= size
        seen += versions
    assert seen == sorted((row["version"] for row in rows), reverse=descending)
