"""logfmt in both directions."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_core.wire.logfmt import LogfmtError, format_pairs, parse

keys = st.text(st.characters(categories=("L", "N"), include_characters="#._-"), min_size=1, max_size=12)


def test_the_router_line_is_read() -> None:
    line = 'at=error code=H14 desc="No web processes running" path="/a?b=c" dyno= connect=1ms tls=true'
    assert parse(line) == {
        "at": "error",
        "code": "H14",
        "desc": "No web processes running",
        "path": "/a?b=c",
        "dyno": "",
        "connect": "1ms",
        "tls": "true",
    }


def test_bare_keys_and_metrics_are_read() -> None:
    assert parse("source=web.1 sample#memory_total=21.00MB done ") == {
        "source": "web.1",
        "sample#memory_total": "21.00MB",
        "done": None,
    }
    assert parse('a="q\\"\\n\\u00e9\\\\" b=x=y') == {"a": 'q"\né\\', "b": "x=y"}
    assert parse("   ") == {}


@pytest.mark.parametrize("text", ['a="open', 'a=b"c', '"x"=1', "=1", 'a="b"c', "a\x00b=1"])
def test_what_is_no_logfmt_is_refused_with_its_column(text: str) -> None:
    with pytest.raises(LogfmtError, match="column"):
        parse(text)


@settings(deadline=None)
@given(st.dictionaries(keys, st.none() | st.text(max_size=30), max_size=6))
def test_what_is_formatted_is_read_back(pairs: dict[str, str | None]) -> None:
    line = format_pairs(pairs)
    assert "\n" not in line
    assert parse(line) == pairs


@settings(deadline=None)
@given(st.text(max_size=80))
def test_rubbish_is_parsed_or_refused(text: str) -> None:
    try:
        parse(text)
    except LogfmtError:
        return


def test_values_of_other_types_are_written_plainly() -> None:
    assert format_pairs({"n": 1.5, "ok": True, "no": False, "e": ""}) == "n=1.5 ok=true no=false e="
    with pytest.raises(LogfmtError):
        format_pairs({"a b": 1})
