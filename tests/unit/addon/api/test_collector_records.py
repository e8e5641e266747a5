"""Collectors' bodies become lines that say what the sender said, and what the server knows beside it."""

from __future__ import annotations

import base64
import json
import uuid
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from addon.api.collectors.agents import Agent, parse_agent
from addon.api.collectors.cors import answer_headers
from addon.api.collectors.identity import GLOBAL_ID, id_of, site_cookie
from addon.api.collectors.peers import address_of, networks
from addon.api.collectors.records import (
    ServerColumns,
    event_lines,
    postback_line,
    record_line,
    text_from_base64,
)
from platform_core.base.errors import InvalidInput, TooLarge

_NOW = 1_700_000_000.5
_PLAIN = ServerColumns()
_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
_records = st.dictionaries(st.text(), _values, max_size=5)


def _parsed(lines: bytes) -> list[Any]:
    return [json.loads(line) for line in lines.splitlines()]


@settings(deadline=None)
@given(st.lists(_records, min_size=1, max_size=5), st.sampled_from([None, 2, "\t"]), st.booleans())
def test_records_keep_every_value_on_one_line_each(
    records: list[dict[str, Any]], indent: int | str | None, ascii_only: bool
) -> None:
    body = json.dumps({"more": [{}], "events": records}, indent=indent, ensure_ascii=ascii_only)
    lines, count = event_lines(body.encode("utf-8", "surrogatepass"), _PLAIN)
    assert count == len(records) == lines.count(b"\n")
    assert [json.loads(line) for line in lines.split(b"\n")[:-1]] == records


@settings(deadline=None)
@given(_records)
def test_the_servers_columns_are_added_once_and_never_replace_the_pages(record: dict[str, Any]) -> None:
    columns = ServerColumns(added={b"td_ip": b'"9.9.9.9"'}, tracked={b"td_os": b'"Linux"'})
    for given_record in (record, {**record, "td_ip": "1.1.1.1"}, {**record, "td_user_agent": "x"}):
        ((line,), _) = (_parsed(event_lines(json.dumps({"events": [given_record]}).encode(), columns)[0]), 0)
        expected = {"td_ip": "9.9.9.9", **given_record}
        if "td_user_agent" in given_record:
            expected = {"td_os": "Linux", **expected}
        assert line == expected


@settings(deadline=None)
@given(st.text(st.characters(), max_size=8))
@example("\ud83d")
@example("\udc00x\ud83d\ude00\ud83d")
def test_half_an_emoji_does_not_cost_the_event(text: str) -> None:
    halves = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    record = {"a": text, "b": "\\ud83d", text: 1}
    expected = {"a": halves, "b": "\\ud83d", halves: 1}
    body = json.dumps({"events": [record]}).encode()
    assert _parsed(event_lines(body, _PLAIN)[0].rstrip(b"\n")) == [expected]
    data = base64.b64encode(json.dumps(record).encode()).decode()
    assert _parsed(record_line(text_from_base64(data), _PLAIN).rstrip(b"\n")) == [expected]
    (row,) = _parsed(postback_line(json.dumps({"a": text}).encode(), _NOW).rstrip(b"\n"))
    assert row["a"] == halves


def test_placeholders_give_way_to_what_the_server_knows() -> None:
    columns = ServerColumns(placeholders={b"td_ip": b'"9.9.9.9"', b"td_os": b"null"})
    body = b'{"events":[{"td_ip":"td_ip","td_os":"td_os","t":"\\"td_ip\\":\\"td_ip\\""},{"td_ip":"8.8.8.8"}]}'
    first, second = _parsed(event_lines(body, columns)[0])
    assert first == {"td_ip": "9.9.9.9", "td_os": None, "t": '"td_ip":"td_ip"'}
    assert second == {"td_ip": "8.8.8.8"}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "The body is not valid"),
        (b"[]", "The body is not valid"),
        (b'{"events":{}}', "The body is not valid"),
        (b'{"events":[]}', "The body has 0 records; a call takes 1 to 500"),
        (b'{"events":[%b]}' % b",".join([b"{}"] * 501), "501 records"),
        (b'{"events":[{"a":1},7]}', "Record 2 is no object"),
        (b'{"events":[{"a":1}', "The body is not valid"),
        (b'{"events":[{"a":"\xff"}]}', "The body is not valid"),
        (b'{"events":[{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}]}", "nested too deeply"),
    ],
)
def test_what_is_no_envelope_is_refused_in_words(body: bytes, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        event_lines(body, _PLAIN)


def test_a_record_may_have_1000_kilobytes() -> None:
    most = 1_000 * 1024 - len(b'{"a":""}')
    assert event_lines(b'{"events":[{"a":"%b"}]}' % (b"x" * most), _PLAIN)[1] == 1
    with pytest.raises(TooLarge, match="Record 1 has 1024001 bytes"):
        event_lines(b'{"events":[{"a":"%b"}]}' % (b"x" * (most + 1)), _PLAIN)


@settings(deadline=None)
@given(_records)
def test_the_old_sdks_base64_is_read_as_it_writes_it(record: dict[str, Any]) -> None:
    text = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
    units = text.encode("utf-16-le", "surrogatepass")
    by_unit = "".join(chr(int.from_bytes(units[at : at + 2], "little")) for at in range(0, len(units), 2))
    data = base64.b64encode(by_unit.encode("utf-8", "surrogatepass")).decode()
    for form in (data, data.rstrip("="), data.replace("+", "-").replace("/", "_"), data.replace("+", " ")):
        assert _parsed(record_line(text_from_base64(form), _PLAIN).rstrip(b"\n")) == [record]


@pytest.mark.parametrize("data", ["", "%%%", "/w==", "e30=x", base64.b64encode(b"[1]").decode()])
def test_data_that_is_no_object_is_refused(data: str) -> None:
    with pytest.raises(InvalidInput):
        record_line(text_from_base64(data), _PLAIN)


def test_a_postback_is_texts_only() -> None:
    body = b'{"a": 1.50, "b": true, "c": null, "d": {"x":\n[1]}, "e": "\\u00fc", "f": ""}'
    assert _parsed(postback_line(body, _NOW)) == [
        {"time": 1_700_000_000, "a": "1.50", "b": "true", "d": '{"x": [1]}', "e": "ü", "f": ""}
    ]


@pytest.mark.parametrize(
    ("given_time", "expected"),
    [
        (1_699_999_000, 1_699_999_000),
        ("1699998999", 1_699_998_999),
        (1_700_000_000 + 3 * 86_400 + 2, 1_700_000_000),
        (1_700_000_000 + 3 * 86_400, 1_700_000_000 + 3 * 86_400),
        (1_700_000_000 - 7 * 86_400, 1_700_000_000),
        (1_700_000_001 - 7 * 86_400, 1_700_000_001 - 7 * 86_400),
        ("soon", 1_700_000_000),
        (1.5e9, 1_700_000_000),
        ("9" * 50, 1_700_000_000),
    ],
)
def test_td_record_time_counts_within_its_window(given_time: object, expected: int) -> None:
    (row,) = _parsed(postback_line(json.dumps({"a": "x", "td_record_time": given_time}).encode(), _NOW))
    assert row["time"] == expected
    assert row["td_record_time"] == (given_time if isinstance(given_time, str) else json.dumps(given_time))


def test_a_postbacks_own_time_is_kept_beside_the_rows() -> None:
    (row,) = _parsed(postback_line(b'{"time":"noon"}', _NOW))
    assert row == {"time": 1_700_000_000, "posted_time": "noon"}
    (row,) = _parsed(postback_line(b'{"time":1699999999,"posted_time":"x"}', _NOW))
    assert row == {"time": 1_699_999_999, "posted_time": "x"}


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"a":null}', b'{"a":1', b'{"a":"\xff"}'])
def test_a_postback_that_is_no_object_of_values_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        postback_line(body, _NOW)


_CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/120.0.6099.1 Safari/537.36"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (_CHROME, Agent("Chrome", "120.0.6099.1", "Windows", "10.0")),
        (f"{_CHROME} Edg/120.0.2210.7", Agent("Edge", "120.0.2210.7", "Windows", "10.0")),
        (f"{_CHROME} OPR/105.0", Agent("Opera", "105.0", "Windows", "10.0")),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_1_2 like Mac OS X) Version/17.1.2  Mobile Safari/604.1",
            Agent("Safari", "17.1.2", "iOS", "17.1.2"),
        ),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) WebKit Version/17.2 Safari/605.1.15",
            Agent("Safari", "17.2", "Mac OS X", "10.15.7"),
        ),
        (
            "Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0",
            Agent("Firefox", "121.0", "Linux", ""),
        ),
        (
            "Mozilla/5.0 (Linux; Android 14; SM-S911B) SamsungBrowser/23.0 Chrome/115.0 Mobile",
            Agent("Samsung Internet", "23.0", "Android", "14"),
        ),
        ("curl/8.5.0", Agent()),
        ("", Agent()),
        ("Chrome/" + "1" * 5_000, Agent("Chrome", "1" * 1_017)),
    ],
)
def test_agents_are_known(text: str, expected: Agent) -> None:
    assert parse_agent(text) == expected


def _address(peer: str, forwarded: str, trusted: str) -> str:
    headers = {b"x-forwarded-for": forwarded.encode()}
    return address_of({"client": (peer, 1)}, headers, networks(trusted))


def test_a_forwarded_address_counts_only_from_proxies_that_were_named() -> None:
    assert _address("10.0.0.1", "6.6.6.6", "") == "10.0.0.1"
    assert _address("10.0.0.1", "6.6.6.6", "10.0.0.0/8") == "6.6.6.6"
    assert _address("9.9.9.9", "6.6.6.6", "10.0.0.0/8") == "9.9.9.9"
    assert _address("10.0.0.1", "1.1.1.1, 6.6.6.6, 10.0.0.2", "10.0.0.0/8") == "6.6.6.6"
    assert _address("10.0.0.1", "junk", "10.0.0.0/8") == "10.0.0.1"
    assert _address("::1", "2001:db8::1", "::1") == "2001:db8::1"
    with pytest.raises(InvalidInput, match="trusted proxies"):
        networks("10.0.0.0/8, proxy.example")


def test_ids_are_kept_in_cookies_of_the_right_reach() -> None:
    known = "0b0e8f0a-7f0f-4b53-9f0b-2f3b1d8f6a10"
    assert id_of(f"a=b; {GLOBAL_ID}={known}; c=d", GLOBAL_ID) == known
    for cookies in ("", f"{GLOBAL_ID}=<script>", "\x00=;;;", f"other={known}"):
        made = id_of(cookies, GLOBAL_ID)
        assert (made != known, str(uuid.UUID(made))) == (True, made)
    assert site_cookie(known, "ssc.shop.example:443", "shop.example").endswith("; Domain=shop.example")
    for domain in ("other.example", "example", "op.example", "shop.example; Path=/x", "", "com"):
        assert "Domain" not in site_cookie(known, "ssc.shop.example", domain)


def test_only_a_printable_origin_is_echoed() -> None:
    assert (
        answer_headers({b"origin": b"https://shop.example"})["access-control-allow-origin"]
        == "https://shop.example"
    )
    for origin in (b"", b"https://x\r\nset-cookie: a=b", b"h" * 400):
        assert "access-control-allow-origin" not in answer_headers({b"origin": origin})
