"""The token is found in header fields only, and taken out; ``corpora`` holds what real senders wrote."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.receivers.syslog_token import TokenCutter
from platform_core.wire.bsd import parse_message
from platform_core.wire.syslog import StructuredData, parse
from platform_core.wire.syslog_stream import SyslogStream

CORPORA = Path(__file__).parent / "corpora"
KEY = b"1/" + b"5eed" * 16
DRAIN = b"d.0f6e0f6e-1111-4000-8000-00000000abcd"
TEXTS = [b"first line", b'second [x y="z"] line']


def messages(name: str) -> list[bytes]:
    stream = SyslogStream()
    data = (CORPORA / name).read_bytes()
    frames = [frame for byte in data for frame in stream.feed(bytes([byte]))]
    return [*frames, last] if (last := stream.finish()) else frames


@pytest.mark.parametrize(
    "name", ["logger-5424.bin", "logger-5424-octets.bin", "rsyslog-5424-octets.bin", "syslog-ng.bin"]
)
def test_what_real_senders_write_in_rfc_5424(name: str) -> None:
    cutter = TokenCutter()
    found = [cutter.cut(frame) for frame in messages(name)]
    assert [one.token for one in found] == [KEY, KEY]
    clean = [parse(one.message, StructuredData.PRESENT) for one in found]
    assert [message.msg.rstrip(b"\n") for message in clean] == TEXTS
    assert all(message.app_name == b"shop" for message in clean)
    assert not any(KEY in one.message for one in found)


@pytest.mark.parametrize("name", ["logger-3164.bin", "python-handler.bin"])
def test_what_real_senders_write_in_rfc_3164(name: str) -> None:
    found = [TokenCutter().cut(frame) for frame in messages(name)]
    assert [one.token for one in found] == [KEY, KEY]
    clean = [parse_message(one.message) for one in found]
    assert [message.msg for message in clean] == TEXTS
    assert {message.tag for message in clean} == {b"shop"}
    assert not any(KEY in one.message for one in found)


@pytest.mark.parametrize("name", ["rsyslog-default.bin", "rsyslog-forward-format.bin"])
def test_rsyslogs_default_templates_carry_a_token_as_the_host_name(name: str) -> None:
    for frame, text in zip(messages(name), TEXTS, strict=True):
        assert TokenCutter().cut(frame).token == b""
        token, clean = TokenCutter().cut(frame.replace(b" vm ", b" " + DRAIN + b" "))
        assert token == DRAIN
        assert parse_message(clean)[2:] == (b"-", b"shop", b"", text)


def test_elements_beside_the_one_with_the_token_are_kept() -> None:
    cutter = TokenCutter()
    head, token = b"<13>1 - box shop 42 ID ", b'[sluice@32473 a="1" token="%b"]' % KEY
    for before, after in ((b"", b""), (b'[o@1 x="a\\"b\\]"]', b""), (b"", b"[z@2]"), (b"[y@1]", b"[z@2]")):
        for _ in range(2):
            found = cutter.cut(head + before + token + after + b" hi")
            assert found == (KEY, head + (before + after or b"-") + b" hi")


def test_the_token_may_be_the_id_of_an_element() -> None:
    assert TokenCutter().cut(b'<13>1 - - - - - [%b@41058 tag="x"] hi' % KEY) == (KEY, b"<13>1 - - - - - - hi")


def test_a_second_token_is_taken_out_too() -> None:
    other = b"2/" + b"feed" * 16
    head = b"<13>1 - %b shop 42 ID " % DRAIN
    both = b'[a@1 token="%b"][o@1 k="v"][%b@7][b@1 x="1" token="%b"]' % (KEY, other, other)
    assert TokenCutter().cut(head + both + b" hi") == (KEY, b'<13>1 - - shop 42 ID [o@1 k="v"] hi')
    cutter = TokenCutter()
    for _ in range(2):
        found = cutter.cut(head + b'[a@1 token="%b"] hi' % KEY)
        assert found == (KEY, b"<13>1 - - shop 42 ID - hi")
    old = b"<13>Nov 25 16:00:00 %b shop@%b: hi" % (DRAIN, KEY)
    assert TokenCutter().cut(old) == (DRAIN, b"<13>Nov 25 16:00:00 - shop: hi")


def test_a_message_without_text_is_one() -> None:
    assert TokenCutter().cut(b'<13>1 - - - - - [a@1 token="%b"]' % KEY) == (KEY, b"<13>1 - - - - - -")


def test_a_platforms_drain_writes_no_structured_data() -> None:
    frame = b"<190>1 2026-11-25T16:00:00+00:00 %b app web.1 - [x] text" % DRAIN
    token, clean = TokenCutter().cut(frame)
    assert token == DRAIN
    message = parse(clean, StructuredData.PRESENT)
    assert (message.hostname, message.msgid, message.msg) == (b"-", b"-", b"[x] text")


@pytest.mark.parametrize(
    "frame",
    [
        b'<13>1 - - - - - - [sluice@1 token="%b"] hi' % KEY,
        b'<13>1 - - - - - [a b="token=%b"] hi' % KEY,
        b'<13>1 - - - - - [a token="%b" hi' % KEY,
        b'<13>1 - - - - - [a token="%b"]hi' % KEY,
        b"<13>1 - - %b - - - hi" % KEY,
        b"<13>Nov 25 16:00:00 box shop: [a token=%b]" % KEY,
        b"<13>Nov 25 16:00:00 box shop %b: hi" % KEY,
        b"plain %b" % KEY,
        b"",
    ],
)
def test_free_text_names_nobody(frame: bytes) -> None:
    assert TokenCutter().cut(frame) == (b"", frame)


@given(st.binary(max_size=60))
def test_a_remembered_element_changes_no_answer(rest: bytes) -> None:
    used = TokenCutter()
    element = b'[s@1 token="%b"]' % KEY
    used.cut(b"<13>1 - - - - - " + element + b" x")
    frame = b"<13>1 - - - - - " + element + rest
    assert used.cut(frame) == TokenCutter().cut(frame)
