"""WAL frames under bit flips, torn, zero and garbage tails."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from addon.ingest.frames import HEADER_BYTES, MAGIC, encode_header, scan

KEY, SEGMENT = 0xDEADBEEF, 9
PAYLOADS = st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=8)


def log_of(payloads: list[bytes], key: int = KEY, segment: int = SEGMENT) -> bytes:
    return b"".join(encode_header(key, segment, n, payload) + payload for n, payload in enumerate(payloads))


def read(data: bytes) -> list[tuple[int, bytes]]:
    return [(frame.sequence, data[frame.start : frame.end]) for frame in scan(data, KEY, SEGMENT).frames]


@settings(deadline=None)
@given(PAYLOADS)
def test_a_whole_log_reads_back_as_written(payloads: list[bytes]) -> None:
    data = log_of(payloads)
    found = scan(data, KEY, SEGMENT)
    assert read(data) == list(enumerate(payloads))
    assert (found.corrupt, found.missing, found.valid_end) == ([], 0, len(data))


@settings(deadline=None, max_examples=60)
@given(PAYLOADS, st.data())
def test_any_flipped_bit_costs_its_own_frame_only(payloads: list[bytes], data: st.DataObject) -> None:
    log = bytearray(log_of(payloads))
    bit = data.draw(st.integers(0, len(log) * 8 - 1))
    log[bit // 8] ^= 1 << (bit % 8)
    ends, end = [], 0
    for payload in payloads:
        end += HEADER_BYTES + len(payload)
        ends.append(end)
    hurt = next(n for n, end in enumerate(ends) if bit // 8 < end)
    found = scan(bytes(log), KEY, SEGMENT)
    assert read(bytes(log)) == [(n, payload) for n, payload in enumerate(payloads) if n != hurt]
    if hurt == len(payloads) - 1:
        assert found.corrupt == []
        assert found.valid_end == ends[hurt] - HEADER_BYTES - len(payloads[hurt])
    else:
        assert len(found.corrupt) == 1
        assert found.missing == 1


@settings(deadline=None)
@given(
    PAYLOADS, st.one_of(st.binary(max_size=300), st.just(b"\0" * 4096), st.just(MAGIC), st.just(MAGIC * 9))
)
def test_no_tail_becomes_a_frame(payloads: list[bytes], tail: bytes) -> None:
    log = log_of(payloads)
    found = scan(log + tail, KEY, SEGMENT)
    assert read(log + tail) == list(enumerate(payloads))
    assert found.valid_end == len(log)
    assert found.corrupt == []


@settings(deadline=None)
@given(PAYLOADS, st.integers(1, 200))
def test_a_cut_log_keeps_every_whole_frame(payloads: list[bytes], cut: int) -> None:
    log = log_of(payloads)[:-cut]
    kept = read(log)
    assert kept == list(enumerate(payloads))[: len(kept)]
    assert len(log) < len(log_of(payloads[: len(kept) + 1]))


def test_frames_of_another_log_or_segment_never_pass() -> None:
    inside = log_of([b"forged"], key=KEY ^ 1) + log_of([b"stale"], segment=SEGMENT - 1)
    log = log_of([b"one", inside, b"two"])
    assert read(log) == [(0, b"one"), (1, inside), (2, b"two")]
    # Even when the frame around them is damaged, what a sender wrote does not turn into frames.
    hurt = bytearray(log)
    hurt[log.index(inside) - 1] ^= 1
    assert read(bytes(hurt)) == [(0, b"one"), (2, b"two")]


def test_a_whole_missing_frame_is_noticed_by_the_sequence() -> None:
    first, second, third = (encode_header(KEY, SEGMENT, n, b"x") + b"x" for n in range(3))
    found = scan(first + third, KEY, SEGMENT)
    assert [frame.sequence for frame in found.frames] == [0, 2]
    assert found.missing == 1
    assert second
