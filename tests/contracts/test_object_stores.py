"""What every adapter of the object store's port keeps: a folder, and a bucket of an S3-compatible server."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from addon.models.objects import ObjectStore
from addon.warehouse.objects.local import LocalObjects
from addon.warehouse.objects.opened import StoreSettings, open_objects
from addon.warehouse.objects.s3 import S3Objects
from platform_core.base.errors import InvalidInput, NotFound, OutOfSpace, SluiceError, Unavailable
from tests.faults.s3_proxy import S3Proxy
from tests.object_servers import BUCKET, ObjectServer, localbucket, moto
from tests.ports import free_base

Opener = Callable[[str], ObjectStore]
"""Opens one more instance on the same objects, with local files of its own."""


@pytest.fixture(scope="module")
def memory_server() -> Iterator[ObjectServer]:
    with moto(free_base()) as server:
        yield server


@pytest.fixture
def disk_server(tmp_path: Path) -> Iterator[ObjectServer]:
    with localbucket(free_base(), tmp_path / "buckets") as server:
        yield server


@pytest.fixture(params=["local", "moto", pytest.param("localbucket", marks=pytest.mark.slow)])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    opened: list[S3Objects] = []
    if request.param == "local":
        yield lambda _name: LocalObjects(tmp_path / "objects")
        return
    server: ObjectServer = request.getfixturevalue(
        {"moto": "memory_server", "localbucket": "disk_server"}[request.param]
    )

    def bucket(name: str) -> ObjectStore:
        store = S3Objects(server.place(tmp_path.name), tmp_path / name, 1 << 20)
        store.check()
        opened.append(store)
        return store

    yield bucket
    for store in opened:
        store.close()


@pytest.fixture
def store(opener: Opener) -> ObjectStore:
    return opener("one")


def put(store: ObjectStore, key: str, data: bytes) -> str:
    """Store a table file under the name that its content gives it; return the key."""
    full = f"{key}-{hashlib.sha256(data).hexdigest()[:16]}.parquet"
    draft = store.scratch / "draft.tmp"
    draft.write_bytes(data)
    assert store.put_file(full, draft) == len(data)
    assert not draft.exists()
    return full


def test_what_was_put_is_read_back_by_another_instance(opener: Opener) -> None:
    one, two = opener("one"), opener("two")
    key = put(one, "7/shop/events/part", b"rows" * 1000)
    one.put("7/note", b"first")
    one.put("7/note", b"second")
    assert two.get(key) == b"rows" * 1000
    assert two.get("7/note") == b"second"
    with two.lease() as lease:
        lease.fetch([two.path(key)])
        path = two.path(key)
        assert path.read_bytes() == b"rows" * 1000
        assert path.stat().st_mode & 0o777 == 0o644
        assert {folder.stat().st_mode & 0o777 for folder in list(path.parents)[:4]} == {0o755}


def test_a_just_written_file_is_there_without_fetching(store: ObjectStore) -> None:
    key = put(store, "7/shop/events/part", b"rows")
    assert store.path(key).read_bytes() == b"rows"


def test_of_many_creators_of_a_key_one_wins(opener: Opener) -> None:
    stores = [opener("one"), opener("two")]
    for round_ in range(10):
        together = threading.Barrier(8)

        def create(number: int, round_: int = round_, together: threading.Barrier = together) -> bool:
            together.wait()
            return stores[number % 2].create(f"race/{round_}", str(number).encode())

        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(create, range(8)))
        assert won.count(True) == 1
        assert stores[0].get(f"race/{round_}") == str(won.index(True)).encode()


def test_a_missing_object_is_not_found_everywhere(store: ObjectStore) -> None:
    with pytest.raises(NotFound):
        store.get("7/none")
    assert store.stamp("7/none") is None
    assert list(store.list("7/none")) == []
    store.delete(["7/none"])
    store.delete_all("7/none")
    if isinstance(store, S3Objects):
        with store.lease() as lease, pytest.raises(NotFound):
            lease.fetch([store.path("7/none-0123456789abcdef.parquet")])


def test_a_stamp_tells_that_an_object_was_written_anew(store: ObjectStore) -> None:
    store.put("7/x", b"a")
    before = store.stamp("7/x")
    assert before is not None
    assert store.stamp("7/x") == before
    store.put("7/x", b"bb")
    assert store.stamp("7/x") not in {None, before}
    store.delete(["7/x"])
    assert store.stamp("7/x") is None


def test_a_list_has_the_folders_objects_in_order_with_their_sizes(store: ObjectStore) -> None:
    keys = ["7/a/b/1", "7/a/b.x", "7/a/b/2", "7/ab/c", "70/a", "7/a-b/c"]
    for key in keys:
        store.put(key, key.encode())
    assert [info.key for info in store.list("")] == sorted(keys)
    assert [(info.key, info.size) for info in store.list("7/a")] == [
        (key, len(key)) for key in sorted(keys) if key.startswith("7/a/")
    ]
    assert [info.key for info in store.list("7")] == [key for key in sorted(keys) if key.startswith("7/")]


def test_deleting_a_folder_leaves_its_neighbours_and_no_local_copy(opener: Opener) -> None:
    store = opener("one")
    mine = put(store, "7/shop/events/part", b"mine")
    other = put(store, "70/shop/events/part", b"other")
    store.put("7/shop/events/_delta_log/00000000000000000000.json", b"{}")
    store.delete_all("7")
    assert [info.key for info in store.list("")] == [other]
    assert not store.path(mine).exists()
    store.delete([other])
    assert not store.path(other).exists()
    assert list(opener("two").list("")) == []


def test_a_folder_of_more_objects_than_one_request_takes_is_deleted(
    memory_server: ObjectServer, tmp_path: Path
) -> None:
    store = S3Objects(memory_server.place(tmp_path.name), tmp_path / "cache", 1 << 20)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: store.put(f"7/many/{n:05d}", b"x"), range(1100)))
    assert len(list(store.list("7/many"))) == 1100
    store.delete_all("7/many")
    assert list(store.list("")) == []
    store.close()


def test_a_large_file_goes_in_parts_and_comes_back_whole(opener: Opener) -> None:
    one, data = opener("one"), bytes(range(256)) * (48 << 10)  # 12 MiB: more than the cache holds
    key = put(one, "7/shop/events/large", data)
    assert hashlib.sha256(one.get(key)).digest() == hashlib.sha256(data).digest()
    if isinstance(one, S3Objects):
        with one.lease() as lease, pytest.raises(OutOfSpace, match="do not fit"):
            lease.fetch([one.path(key)])


# The S3 adapter alone
# ----------------------------------------------------------------------------------------------------


def test_a_store_that_ignores_conditions_is_refused_at_the_start(
    memory_server: ObjectServer, tmp_path: Path
) -> None:
    with S3Proxy(memory_server.port) as proxy:
        proxy.strip_conditions = True
        with pytest.raises(InvalidInput, match="If-None-Match"):
            open_objects(_settings(proxy.url), tmp_path)
        proxy.strip_conditions = False
        store = open_objects(_settings(proxy.url), tmp_path)
    assert isinstance(store, S3Objects)
    store.close()


def _settings(url: str, bucket: str = BUCKET) -> StoreSettings:
    return StoreSettings(f"s3://{bucket}/probed", url, "us-east-1", "test", "testtest", allow_http=True)


def test_what_is_missing_is_said_at_the_start(memory_server: ObjectServer, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no bucket 'nothere'"):
        open_objects(_settings(memory_server.url, "nothere"), tmp_path)
    with pytest.raises(Unavailable, match="object store failed"):
        open_objects(_settings("http://127.0.0.1:1"), tmp_path)
    for url in ("ftp://x/y", "s3:///x", "file://host/x", "file:relative", "s3://key:secret@bucket/x"):
        with pytest.raises(InvalidInput) as refused:
            open_objects(StoreSettings(url), tmp_path)
        assert "secret" not in str(refused.value)


def test_no_text_shows_the_credentials(memory_server: ObjectServer, tmp_path: Path) -> None:
    place = memory_server.place("x")
    store = S3Objects(place, tmp_path / "cache", 1 << 20)
    shown = [repr(place), repr(store), repr(store.location("7/a/b")), repr(_settings(memory_server.url))]
    with pytest.raises(SluiceError) as failed:
        S3Objects(memory_server.place("x", url="http://127.0.0.1:1"), tmp_path / "c2", 1).get("k")
    assert not [text for text in [*shown, str(failed.value)] if "testtest" in text]
    store.close()


@pytest.mark.slow
def test_a_killed_server_is_an_error_and_what_it_had_taken_is_there_after_its_restart(
    disk_server: ObjectServer, tmp_path: Path
) -> None:
    store = S3Objects(disk_server.place("x"), tmp_path / "cache", 1 << 20)
    store.check()
    keys = [put(store, f"7/shop/events/part{n}", b"%d" % n) for n in range(5)]
    disk_server.kill()
    with pytest.raises(Unavailable):
        store.get(keys[0])
    with pytest.raises(Unavailable):
        store.create("7/x", b"1")
    disk_server.start()
    assert [store.get(key) for key in keys] == [b"%d" % n for n in range(5)]
    assert store.create("7/x", b"1")
    store.close()


# Upkeep of the local files
# ----------------------------------------------------------------------------------------------------


def test_drafts_of_a_crashed_writer_are_tidied_away_after_a_day(tmp_path: Path) -> None:
    store = LocalObjects(tmp_path)
    kept = put(store, "7/shop/events/part", b"rows")
    old, young = store.scratch / "old.tmp", store.scratch / "young.tmp"
    for draft, age in ((old, 86_401.0), (young, 86_000.0)):
        draft.write_bytes(b"of a writer that has crashed")
        os.utime(draft, (time.time() - age,) * 2)
    store.tidy()
    assert (old.exists(), young.exists()) == (False, True)
    assert store.get(kept) == b"rows"


def test_cached_files_of_a_table_that_another_node_dropped_are_tidied_away(
    memory_server: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = (S3Objects(memory_server.place(tmp_path.name), tmp_path / n, 1 << 20) for n in ("one", "two"))
    keys = {}
    for table in ("gone", "stays"):
        one.put(f"7/shop/{table}/_delta_log/{0:020d}.json", b"{}")
        keys[table] = put(one, f"7/shop/{table}/part", table.encode())
        with two.lease() as lease:
            lease.fetch([two.path(keys[table])])
    one.delete_all("7/shop/gone")
    two.tidy()
    assert two.path(keys["gone"]).exists(), "it looks every quarter of an hour"
    monkeypatch.setattr("addon.warehouse.objects.s3._TIDY_S", 0.0)
    two.tidy()
    assert (two.path(keys["gone"]).exists(), two.path(keys["stays"]).exists()) == (False, True)
    one.close()
    two.close()
