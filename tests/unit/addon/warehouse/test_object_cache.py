"""The cache of a remote store's files: bounded, shared by concurrent readers, never taken from under one."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from addon.warehouse.objects.cache import CacheLease, FileCache
from platform_core.base.errors import NotFound, OutOfSpace, Unavailable

SIZE = 1000


class Remote:
    """Objects in a dict; counts what is fetched."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.fetched: Counter[str] = Counter()
        self.gate: threading.Event | None = None
        self.asked = threading.Event()

    def add(self, number: int, size: int = SIZE) -> str:
        data = hashlib.sha256(b"%d" % number).digest() * (size // 32 + 1)
        data = data[:size]
        key = f"7/shop/events/part{number}-{hashlib.sha256(data).hexdigest()[:16]}.parquet"
        self.objects[key] = data
        return key

    def download(self, key: str) -> Iterator[bytes]:
        self.fetched[key] += 1
        self.asked.set()
        if self.gate is not None:
            assert self.gate.wait(20)
        if key not in self.objects:
            raise NotFound(f"There is no object {key}.")
        data = self.objects[key]
        yield data[: len(data) // 2]
        yield data[len(data) // 2 :]


@pytest.fixture
def remote() -> Remote:
    return Remote()


@pytest.fixture
def cache(remote: Remote, tmp_path: Path) -> Iterator[FileCache]:
    made = FileCache(tmp_path / "cache", 5 * SIZE, remote.download)
    yield made
    made.close()


def fetch(cache: FileCache, *keys: str) -> CacheLease:
    lease = CacheLease(cache)
    try:
        lease.fetch([cache.path(key) for key in keys])
    except BaseException:
        lease.close()
        raise
    return lease


def on_disk(cache: FileCache) -> int:
    return sum(path.stat().st_size for path in cache.root.rglob("*.parquet"))


def test_a_file_is_fetched_once_and_read_by_anybody(cache: FileCache, remote: Remote) -> None:
    key = remote.add(1)
    for _ in range(3):
        fetch(cache, key).close()
    assert remote.fetched[key] == 1
    assert cache.path(key).read_bytes() == remote.objects[key]
    assert cache.path(key).stat().st_mode & 0o777 == 0o644
    assert list(cache.scratch.iterdir()) == []


def test_concurrent_readers_of_a_file_share_one_fetch(cache: FileCache, remote: Remote) -> None:
    key, remote.gate = remote.add(1), threading.Event()
    with ThreadPoolExecutor(6) as pool:
        leases = [pool.submit(fetch, cache, key) for _ in range(6)]
        assert remote.asked.wait(20)
        remote.gate.set()
        for lease in leases:
            lease.result().close()
    assert remote.fetched[key] == 1


def test_several_files_are_fetched_at_once(cache: FileCache, remote: Remote) -> None:
    keys, together = [remote.add(number) for number in range(4)], threading.Barrier(4)

    def download(key: str) -> Iterator[bytes]:
        together.wait(20)  # passes only when four fetches run
        yield remote.objects[key]

    cache._download = download
    fetch(cache, *keys).close()


def test_the_longest_unused_file_goes_and_those_in_use_stay(cache: FileCache, remote: Remote) -> None:
    keys = [remote.add(number) for number in range(8)]
    held = fetch(cache, keys[0])
    for key in keys[1:5]:
        fetch(cache, key).close()
    fetch(cache, keys[1]).close()  # used again: number 2 is the oldest now
    fetch(cache, keys[5]).close()
    assert [cache.path(key).exists() for key in keys[:6]] == [True, True, False, True, True, True]
    assert on_disk(cache) == cache.bytes == 5 * SIZE
    held.close()


def test_files_in_use_that_fill_the_cache_are_a_clear_refusal(cache: FileCache, remote: Remote) -> None:
    keys = [remote.add(number) for number in range(7)]
    held = fetch(cache, *keys[:5])
    with pytest.raises(OutOfSpace, match="SLUICE_ADDON_STORE_CACHE_BYTES"):
        fetch(cache, keys[5])
    assert all(cache.path(key).exists() for key in keys[:5])
    held.close()
    fetch(cache, keys[5]).close()
    assert cache.bytes <= 5 * SIZE


def test_what_an_earlier_run_left_is_used_when_it_is_what_its_name_says(
    remote: Remote, tmp_path: Path
) -> None:
    good, bad = remote.add(1), remote.add(2)
    first = FileCache(tmp_path / "cache", 5 * SIZE, remote.download)
    fetch(first, good, bad).close()
    (first.scratch / "half.tmp").write_bytes(b"x")
    first.path(bad).write_bytes(b"\0" * SIZE)  # what a power cut may leave of a file that was not synced
    first.close()
    second = FileCache(tmp_path / "cache", 5 * SIZE, remote.download)
    fetch(second, good, bad).close()
    assert dict(remote.fetched) == {good: 1, bad: 2}
    assert second.path(bad).read_bytes() == remote.objects[bad]
    assert list(second.scratch.iterdir()) == []
    second.close()


def test_a_cache_that_got_smaller_is_brought_down_at_the_start(remote: Remote, tmp_path: Path) -> None:
    first = FileCache(tmp_path / "cache", 5 * SIZE, remote.download)
    fetch(first, *[remote.add(number) for number in range(5)]).close()
    first.close()
    second = FileCache(tmp_path / "cache", 2 * SIZE, remote.download)
    assert on_disk(second) == second.bytes == 2 * SIZE
    second.close()


def test_a_second_process_gets_a_cache_of_its_own(cache: FileCache, remote: Remote) -> None:
    other = FileCache(cache.root, SIZE, remote.download)
    assert other.root == cache.root.with_name("cache-1")
    other.close()
    again = FileCache(cache.root, SIZE, remote.download)
    assert again.root == other.root
    again.close()


def test_bytes_that_are_not_those_of_the_name_are_an_error_and_no_file(
    cache: FileCache, remote: Remote
) -> None:
    key = remote.add(1)
    remote.objects[key] = b"something else"
    with pytest.raises(Unavailable, match="other bytes"):
        fetch(cache, key)
    assert not cache.path(key).exists()
    assert remote.fetched[key] == 3
    with pytest.raises(NotFound):
        fetch(cache, "7/shop/events/none-0123456789abcdef.parquet")
    assert list(cache.scratch.iterdir()) == []


def test_a_reader_that_gave_up_holds_nothing(cache: FileCache, remote: Remote) -> None:
    keys, remote.gate = [remote.add(number) for number in range(6)], threading.Event()
    lease = CacheLease(cache)
    thread = threading.Thread(target=lease.fetch, args=([cache.path(key) for key in keys[:5]],))
    thread.start()
    assert remote.asked.wait(20)
    lease.close()
    remote.gate.set()
    thread.join(20)
    lease.fetch([cache.path(keys[5])])
    assert remote.fetched[keys[5]] == 0
    fetch(cache, keys[5]).close()  # there is room: nothing is held


def test_deleted_objects_leave_no_local_copy(cache: FileCache, remote: Remote) -> None:
    keys = [remote.add(number) for number in range(3)]
    fetch(cache, *keys).close()
    cache.discard(keys[:1])
    assert [cache.path(key).exists() for key in keys] == [False, True, True]
    assert cache.folders() == ["7/shop/events"]
    cache.discard_all("7/shop")
    assert on_disk(cache) == cache.bytes == 0


@settings(deadline=None, max_examples=60)
@given(
    steps=st.lists(st.tuples(st.sets(st.integers(0, 11), max_size=4), st.booleans()), max_size=25),
    room=st.integers(1, 8),
)
def test_the_bound_and_the_books_hold_whatever_is_read(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[set[int], bool]], room: int
) -> None:
    remote = Remote()
    keys = [remote.add(number) for number in range(12)]
    cache = FileCache(tmp_path_factory.mktemp("cache") / "c", room * SIZE, remote.download)
    open_: list[CacheLease] = []
    try:
        for numbers, close in steps:
            wanted = [keys[number] for number in numbers]
            try:
                open_.append(fetch(cache, *wanted))
            except OutOfSpace:
                used = {key for lease in open_ for key in lease._keys} | set(wanted)
                assert len(used) > room
            else:
                assert all(cache.path(key).exists() for lease in open_ for key in lease._keys)
            assert on_disk(cache) == cache.bytes <= room * SIZE
            if close and open_:
                open_.pop(0).close()
    finally:
        for lease in open_:
            lease.close()
        cache.close()
