"""The warehouse over every object store: exact commits, pinned reads, merges and drops, alone and together.

Each ``Node`` is a warehouse of its own on the same objects, as another process would have it.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from addon.models.objects import ObjectStore
from addon.models.tables import TableRef
from addon.warehouse import shortening
from addon.warehouse.attempt import Attempt
from addon.warehouse.delta import CHECKPOINT_EVERY
from addon.warehouse.objects.local import LocalObjects
from addon.warehouse.objects.s3 import S3Objects
from addon.warehouse.store import DeltaWarehouse, Lines
from addon.warehouse.view import view_sql
from platform_core.base.errors import NotFound, Unavailable
from tests.object_servers import ObjectServer, localbucket, moto
from tests.ports import free_base

REF = TableRef(7, "shop", "events")
ROOT = Path(__file__).parents[2]
Opener = Callable[[str], DeltaWarehouse]


@pytest.fixture(scope="module")
def memory_server() -> Iterator[ObjectServer]:
    with moto(free_base()) as server:
        yield server


@pytest.fixture(scope="module")
def disk_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    with localbucket(free_base(), tmp_path_factory.mktemp("buckets")) as server:
        yield server


def _nodes(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    opened: list[DeltaWarehouse] = []
    server: ObjectServer | None = None
    if request.param != "local":
        server = request.getfixturevalue(
            {"moto": "memory_server", "localbucket": "disk_server"}[request.param]
        )

    def open_(name: str) -> DeltaWarehouse:
        objects: ObjectStore = LocalObjects(tmp_path / "objects")
        if server is not None:
            objects = S3Objects(server.place(tmp_path.name), tmp_path / name, 64 << 20)
            objects.check()
        opened.append(DeltaWarehouse(objects, keep_s=3600.0))
        return opened[-1]

    yield open_
    for warehouse in opened:
        warehouse.close()


_ON_DISK = pytest.param("localbucket", marks=pytest.mark.slow)


@pytest.fixture(params=["local", "moto", _ON_DISK])
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    yield from _nodes(request, tmp_path)


@pytest.fixture(params=["local", pytest.param("moto", marks=pytest.mark.slow), _ON_DISK])
def node_of_many(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    """For tests of dozens of commits."""
    yield from _nodes(request, tmp_path)


def lines(*texts: str) -> Lines:
    return Lines(pa.array(texts, pa.string()), pa.array([9] * len(texts), pa.int64()))


def put(warehouse: DeltaWarehouse, segment: int, *texts: str, writer: str = "w", ref: TableRef = REF) -> int:
    return warehouse.commit(warehouse.prepare(ref, lines(*texts)), writer, segment).rows


def rows(
    warehouse: DeltaWarehouse, columns: str = "*", version: int | None = None, ref: TableRef = REF
) -> list[tuple[Any, ...]]:
    snapshot = warehouse.snapshot(ref, version)
    assert snapshot is not None
    with warehouse.reading() as lease:
        lease.fetch(list(snapshot.files))
        sql = view_sql(snapshot, [str(path) for path in snapshot.files])
        with duckdb.connect() as connection:
            return connection.execute(f"select {columns} from ({sql}) order by all").fetchall()  # noqa: S608 - test


def test_rows_and_segments_are_the_same_on_every_node(node: Opener) -> None:
    one, two = node("one"), node("two")
    assert one.snapshot(REF) is None
    assert put(one, 1, '{"time":5,"a":1}', '{"time":3,"a":2}') == 2
    assert rows(two, "time, a") == [(3, 2), (5, 1)]
    assert put(two, 1, '{"a":1}') == 0
    assert two.committed(REF, "w", 1)
    assert put(two, 2, '{"a":0.5}') == 1
    assert rows(one, "a") == [(0.5,), (1.0,), (2.0,)]
    assert rows(one, "a", 1) == [(1,), (2,)]
    with pytest.raises(NotFound):
        one.snapshot(REF, 999)


def test_many_files_are_one_commit_and_only_once(node: Opener) -> None:
    one, two = node("one"), node("two")
    prepared = [one.prepare(REF, lines(f'{{"a":{number}}}')) for number in range(5)]
    files = [one.write(part, "bulk") for part in prepared]
    assert two.snapshot(REF) is None
    assert one.commit_files(REF, files, prepared[0].schema, "bulk", 3).rows == 5
    assert two.commit_files(REF, files, prepared[0].schema, "bulk", 3).rows == 0
    assert rows(two, "a") == [(number,) for number in range(5)]


def test_concurrent_writers_lose_and_double_nothing(node: Opener) -> None:
    """Four nodes, each committing its segments twice, with columns of their own; one merges meanwhile."""
    nodes = [node(f"n{number}") for number in range(4)]
    commits = 8

    def write(number: int) -> int:
        mine = 0
        for segment in range(1, commits + 1):
            text = f'{{"a":{number * 1000 + segment},"own{number}":1}}'
            for _ in range(2):
                mine += put(nodes[number], segment, text, writer=f"w{number}")
        return mine

    with ThreadPoolExecutor(4) as pool:
        counted = list(pool.map(write, range(4)))
    assert counted == [commits] * 4
    expected = [(number * 1000 + segment,) for number in range(4) for segment in range(1, commits + 1)]
    assert rows(nodes[0], "a") == expected
    with ThreadPoolExecutor(3) as pool:
        merged = list(pool.map(lambda one: one.compact(REF), nodes[:3]))
        pool.shutdown()
    assert len([count for count in merged if count]) == 1  # the others found their files gone
    assert rows(nodes[3], "a") == expected
    assert put(nodes[3], commits, '{"a":0}', writer="w0") == 0


def test_of_two_merges_that_replace_the_same_files_at_once_one_is_dropped(
    node: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other node's merge is committed between this one's look at the table and its commit."""
    one, two = node("one"), node("two")
    for segment in range(1, 34):
        put(one, segment, f'{{"a":{segment}}}')
    write, others = Attempt._write, []

    def beaten(self: Attempt, *args: Any) -> None:
        monkeypatch.setattr(Attempt, "_write", write)
        others.append(two.compact(REF))
        write(self, *args)

    monkeypatch.setattr(Attempt, "_write", beaten)
    assert one.compact(REF) == 0
    assert others[0] >= 32
    assert rows(one, "a") == rows(two, "a") == [(segment,) for segment in range(1, 34)]


def test_two_processes_of_one_writer_cannot_commit_a_segment_twice(node: Opener) -> None:
    nodes = [node("one"), node("two")]
    put(nodes[0], 1, '{"a":1}')
    for segment in range(2, 8):
        together = threading.Barrier(2)

        def commit(
            one: DeltaWarehouse, segment: int = segment, together: threading.Barrier = together
        ) -> int:
            prepared = one.prepare(REF, lines(f'{{"a":{segment}}}'))
            together.wait()
            return one.commit(prepared, "w", segment).rows

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(commit, nodes)) == [0, 1]
    assert rows(nodes[0], "a") == [(segment,) for segment in range(1, 8)]


def test_a_column_that_two_nodes_add_with_different_types_is_prepared_anew(node: Opener) -> None:
    one, two = node("one"), node("two")
    put(one, 1, '{"a":1}')
    late = two.prepare(REF, lines('{"new":"text"}'))
    put(one, 2, '{"new":5}')
    with pytest.raises(Unavailable, match="another type"):
        two.commit(late, "v", 1)
    assert put(two, 1, '{"new":"text"}', writer="v") == 1
    assert rows(one, "new") == [(5,), (None,), (None,)]


def test_commits_go_on_over_checkpoints_on_both_nodes(node_of_many: Opener) -> None:
    one, two = node_of_many("one"), node_of_many("two")
    for segment in range(1, CHECKPOINT_EVERY + 10):
        put(one if segment % 3 else two, segment, f'{{"a":{segment}}}')
    expected = [(segment,) for segment in range(1, CHECKPOINT_EVERY + 10)]
    assert rows(one, "a") == rows(two, "a") == rows(node_of_many("three"), "a") == expected
    listed = [info.key for info in one.objects.list("7/shop/events/_delta_log")]
    assert any("checkpoint" in key for key in listed)


def test_a_log_stays_short_and_who_held_an_old_version_goes_on(
    node_of_many: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit late in a table's life costs what one early in it does, as the log does not grow."""
    monkeypatch.setattr(shortening, "KEEP_ENTRIES", 20)
    one, two = node_of_many("one"), node_of_many("two")
    assert put(two, 1, '{"a":1}', writer="v") == 1
    for segment in range(2, 2 * CHECKPOINT_EVERY + 5):
        put(one, segment, f'{{"a":{segment}}}')
    listed = [info.key.rpartition("/")[2] for info in one.objects.list("7/shop/events/_delta_log")]
    entries = sorted(int(name[:-5]) for name in listed if name.endswith(".json"))
    assert entries[0] > 2 * CHECKPOINT_EVERY - 25  # by age alone, all would be there
    assert entries == list(range(entries[0], entries[-1] + 1))
    assert put(two, 1, '{"a":1}', writer="v") == 0  # it holds a version whose entry is gone
    assert put(two, 2, '{"a":0}', writer="v") == 1
    expected = [(number,) for number in range(2 * CHECKPOINT_EVERY + 5)]
    assert rows(one, "a") == rows(two, "a") == rows(node_of_many("three"), "a") == expected
    assert rows(one, "a", 3) == [(1,), (2,), (3,)]  # time travel does not need the log


def test_a_merge_swaps_files_under_running_readers(node_of_many: Opener) -> None:
    one, two = node_of_many("one"), node_of_many("two")
    for segment in range(1, 41):
        put(one, segment, f'{{"a":{segment},"time":{100 - segment}}}')
    before, pinned = rows(two), two.snapshot(REF)
    assert one.compact(REF) >= 32
    assert rows(two) == before
    assert pinned is not None
    assert rows(two, version=pinned.version) == before
    assert one.compact(REF) == 0


def test_replaced_files_are_swept_after_the_grace_only(node_of_many: Opener) -> None:
    one = node_of_many("one")
    for segment in range(1, 34):
        put(one, segment, f'{{"a":{segment}}}')
    pinned = one.snapshot(REF)
    assert pinned is not None
    assert one.compact(REF) >= 32
    assert one.sweep() == 0
    one._keep_s = 0.0
    assert one.sweep() >= 32
    left = {info.key for info in one.objects.list("7/shop/events") if "/_delta_log/" not in info.key}
    now = one.snapshot(REF)
    assert now is not None
    assert left == {path.relative_to(one.root).as_posix() for path in now.files}
    assert rows(one, "count(*)") == [(33,)]
    with pytest.raises(NotFound, match="merged and deleted"):
        one.snapshot(REF, pinned.version)


def test_a_dropped_table_is_gone_for_every_node_and_can_be_made_anew(node: Opener) -> None:
    one, two = node("one"), node("two")
    other = TableRef(7, "shop", "others")
    put(one, 1, '{"a":1}')
    put(one, 1, '{"a":1}', ref=other)
    assert rows(two, "a") == [(1,)]
    one.drop(REF)
    assert [info.key for info in one.objects.list("7/shop/events")] == []
    assert two.snapshot(REF) is None
    assert rows(two, "a", ref=other) == [(1,)]
    assert put(two, 1, '{"b":2}') == 1
    assert rows(one, "b") == [(2,)]
    one.drop_account(7)
    assert list(two.objects.list("7")) == []
    assert two.snapshot(REF) is None


def test_a_table_that_is_dropped_while_others_commit_is_whole_or_gone(node: Opener) -> None:
    one, two = node("one"), node("two")
    put(one, 1, '{"a":0}', writer="first")
    stop = threading.Event()

    def commit() -> None:
        segment = 0
        while not stop.is_set():
            segment += 1
            try:
                put(two, segment, '{"a":1}')
            except Unavailable:
                continue

    thread = threading.Thread(target=commit)
    thread.start()
    try:
        for _ in range(5):
            one.drop(REF)
    finally:
        stop.set()
        thread.join()
    one.drop(REF)
    assert put(one, 1, '{"b":1}', writer="later") == 1
    assert rows(two) == [(9, 1)]


@pytest.mark.parametrize("made_anew", [False, True])
def test_a_checkpoint_of_a_table_that_is_dropped_meanwhile_brings_nothing_back(
    node: Opener, monkeypatch: pytest.MonkeyPatch, made_anew: bool
) -> None:
    one, two = node("one"), node("two")
    monkeypatch.setattr("addon.warehouse.delta.CHECKPOINT_EVERY", 3)
    write = DeltaTable.create_checkpoint

    def overtaken(table: DeltaTable) -> None:
        """Write after the drop what was read before it."""
        monkeypatch.setattr(DeltaTable, "create_checkpoint", write)
        write(table)
        late = {key: one.objects.get(key) for key in checkpoints()}
        assert len(late) > 1
        two.drop(REF)
        if made_anew:
            put(two, 1, '{"b":1}')
        for key, data in late.items():
            one.objects.put(key, data)

    def checkpoints() -> list[str]:
        return [info.key for info in one.objects.list("7/shop/events") if "checkpoint" in info.key]

    monkeypatch.setattr(DeltaTable, "create_checkpoint", overtaken)
    for segment in range(1, 4):
        put(one, segment, '{"a":0}')
    assert checkpoints() == []
    third = node("three")
    if made_anew:
        assert rows(third) == rows(one) == [(9, 1)]
    else:
        assert third.snapshot(REF) is None
        assert put(third, 1, '{"b":1}') == 1
        assert rows(one) == [(9, 1)]


def test_a_deletion_that_was_given_up_half_way_is_finished_by_who_makes_the_table_anew(
    node: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = node("one"), node("two")
    put(one, 1, '{"a":1}')
    with one.locked(REF) as log_:
        log_.bury()  # the dropping node dies after its last commit, before it has deleted a file
    assert two.snapshot(REF) is None
    with pytest.raises(Unavailable, match="being changed by others"):
        put(two, 1, '{"b":2}')  # it may still be at it
    monkeypatch.setattr("addon.warehouse.delta._DELETING_S", -1.0)
    assert put(two, 1, '{"b":2}') == 1
    assert rows(one) == [(9, 2)]


def test_plain_readers_see_the_same_rows(node_of_many: Opener) -> None:
    one = node_of_many("one")
    for segment in range(1, 36):
        put(one, segment, f'{{"time":{segment},"a":{segment}}}', '{"a":"misfit"}')
    one.compact(REF)
    place = one.objects.location("7/shop/events")
    table = DeltaTable(place.uri, storage_options=dict(place.options))
    read = pa.table(table.to_pyarrow_table())
    assert read.num_rows == 70
    assert sorted(filter(None, read["a"].to_pylist())) == list(range(1, 36))


_WRITER = """
import sys
from pathlib import Path
import pyarrow as pa
from addon.models.tables import TableRef
from addon.warehouse.objects.opened import StoreSettings, open_objects
from addon.warehouse.store import DeltaWarehouse, Lines
url, endpoint, home, name, commits = sys.argv[1:]
settings = StoreSettings(url, endpoint or None, "us-east-1", "test", "testtest", True)
warehouse = DeltaWarehouse(open_objects(settings, Path(home)))
ref, rows = TableRef(7, "shop", "events"), 0
for segment in range(1, int(commits) + 1):
    texts = [f'{{"w":"{name}","s":{segment},"r":{row}}}' for row in range(10)]
    lines = Lines(pa.array(texts), pa.array([9] * 10, pa.int64()))
    for _ in range(2):
        rows += warehouse.commit(warehouse.prepare(ref, lines), name, segment).rows
    if segment % 16 == 0:
        warehouse.compact(ref)
print(rows)
"""


@pytest.mark.parametrize("kind", ["local", pytest.param("moto", marks=pytest.mark.slow)])
def test_writing_and_merging_processes_lose_and_double_nothing(
    kind: str, memory_server: ObjectServer, tmp_path: Path
) -> None:
    commits, names = 20, ["p0", "p1"]
    url = f"s3://warehouse/{tmp_path.name}" if kind == "moto" else (tmp_path / "objects").as_uri()
    endpoint = memory_server.url if kind == "moto" else ""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", _WRITER, url, endpoint, str(tmp_path / name), name, str(commits)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in names
    ]
    assert [int(process.communicate(timeout=120)[0]) for process in started] == [commits * 10] * 2
    objects: ObjectStore = LocalObjects(tmp_path / "objects")
    if kind == "moto":
        objects = S3Objects(memory_server.place(tmp_path.name), tmp_path / "reader", 64 << 20)
    warehouse = DeltaWarehouse(objects)
    found = rows(warehouse, "w, s, r")
    assert found == sorted((n, s, r) for n in names for s in range(1, commits + 1) for r in range(10))
    warehouse.close()
