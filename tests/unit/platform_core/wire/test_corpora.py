"""What foreign programs really send is read in full; ``corpora/README.md`` says where the bytes are from."""

from __future__ import annotations

from pathlib import Path

import pytest

from platform_core.wire.octets import TrailerDecoder, decoder_for, split_octets
from platform_core.wire.syslog import StructuredData, SyslogError, parse, parse_bsd

CORPORA = Path(__file__).parent / "corpora"
QUALITY = {"timeQuality": {"tzKnown": "1", "isSynced": "0"}}


def read(name: str) -> bytes:
    return (CORPORA / name).read_bytes()


def messages(name: str) -> list[bytes]:
    stream = read(name)
    decoder = decoder_for(stream)
    frames = [frame for byte in stream for frame in decoder.feed(bytes([byte]))]
    assert decoder.pending == b""
    assert decoder.lost is None
    return frames


def test_util_linux_logger_with_structured_data() -> None:
    one, two, three = (parse(frame, StructuredData.PRESENT) for frame in messages("logger-octets.bin"))
    assert (one.pri, one.facility, one.severity) == (158, 19, 6)
    assert (one.app_name, one.procid, one.msgid, one.msg) == (b"sluice", b"4242", b"REQ", b"corpus one")
    assert one.elements() == {**QUALITY, "zoo@123": {"tiger": "hungry", "bear": "a b"}}
    assert two.msg.decode() == "corpus zwei: Grüße aus Köln ✓"
    assert three.msg == b'corpus three [x y="z"] - not SD'
    assert one.timestamp_us() is not None


def test_util_linux_logger_without_time_and_host() -> None:
    found = [parse(frame, StructuredData.PRESENT) for frame in messages("logger-plain.bin")]
    assert [message.msg for message in found] == [b"corpus one", b"", b"corpus two"]
    assert all(message.structured_data == b"-" and message.hostname == b"-" for message in found)
    assert found[0].timestamp_us() is None
    assert found[0].elements() == {}


def test_util_linux_logger_over_udp() -> None:
    (frame,) = messages("logger-udp.bin")
    assert parse(frame).msg == b"corpus udp"
    assert parse(frame).elements() == QUALITY


def test_rsyslog_with_octet_counting_keeps_its_line_feed_in_the_frame() -> None:
    found = [parse(frame) for frame in messages("rsyslog-octets.bin")]
    assert [message.msg.decode() for message in found] == [
        "corpus via rsyslog\n",
        'corpus {"k": "wert ü"}\n',
        "corpus three\n",
    ]
    assert {(message.pri, message.msgid) for message in found} == {(12, b"ID7")}


def test_rsyslog_with_a_line_feed_after_each_message() -> None:
    found = [parse(frame) for frame in messages("rsyslog-lines.bin")]
    assert [message.msg for message in found] == [b"corpus lf one", b"corpus lf two"]
    assert all(message.elements() == QUALITY for message in found)


def test_syslog_ng_with_two_elements_of_structured_data() -> None:
    found = [parse(frame) for frame in messages("syslog-ng-octets.bin")]
    assert [message.msg.decode().rstrip("\n") for message in found] == [
        "corpus via syslog-ng",
        "corpus zwei ✓",
    ]
    assert found[0].elements() == {**QUALITY, "origin@32473": {"ip": "192.0.2.1"}}


def test_pythons_handler_sends_a_bare_pri_and_a_nul() -> None:
    frames = split_octets(read("python-udp.bin")).frames
    assert [parse_bsd(frame) for frame in frames] == [
        (190, b"corpus one"),
        (187, "corpus zwei: Grüße".encode()),
        (188, b"corpus\nthree"),
    ]
    with pytest.raises(SyslogError, match="header"):
        parse(frames[0])


def test_pythons_handler_over_tcp_is_cut_at_its_nuls() -> None:
    decoder = TrailerDecoder(b"\x00")
    assert [parse_bsd(frame)[1] for frame in decoder.feed(read("python-tcp.bin"))] == [
        b"corpus one",
        "corpus zwei: Grüße".encode(),
        b"corpus\nthree",
    ]


def test_pythons_handler_with_a_header_as_ident_is_rfc_5424() -> None:
    (frame,) = split_octets(read("python-5424-udp.bin")).frames
    message = parse(frame)
    assert (message.pri, message.procid) == (134, b"77")
    assert message.msg == b"corpus with a header as ident\x00"
    assert message.timestamp_us() == 1_795_612_200_123_456
