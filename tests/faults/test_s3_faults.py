"""Faults of the object store: nothing lost, nothing doubled, clear errors, and all is well again by itself.

A proxy stands between the warehouse and moto's server. A failed commit is tried again with the same segment
number, as the flusher does.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from addon.models.tables import TableRef
from addon.warehouse.objects.s3 import S3Objects
from addon.warehouse.store import DeltaWarehouse, Lines
from addon.warehouse.view import view_sql
from platform_core.base.errors import OutOfSpace, Unavailable
from tests.faults.s3_proxy import Fault, Rule, S3Proxy
from tests.object_servers import ObjectServer, moto
from tests.ports import free_base

REF = TableRef(7, "shop", "events")
_TRIES = 30
_FOREVER = 10**9


@pytest.fixture(scope="module")
def server() -> Iterator[ObjectServer]:
    with moto(free_base()) as running:
        yield running


@pytest.fixture
def proxy(server: ObjectServer) -> Iterator[S3Proxy]:
    with S3Proxy(server.port) as running:
        yield running


class Node:
    """A warehouse behind the proxy, with a cache of its own."""

    def __init__(self, server: ObjectServer, url: str, folder: Path, name: str) -> None:
        self.objects = S3Objects(server.place(folder.name, url=url), folder / name, 64 << 20)
        self.warehouse = DeltaWarehouse(self.objects, keep_s=0.0)
        self.errors: list[Unavailable] = []

    def commit(self, segment: int, *values: int, writer: str = "w") -> int:
        """Commit once; return the rows that were added."""
        texts = pa.array([f'{{"a":{value},"w":"{writer}"}}' for value in values])
        prepared = self.warehouse.prepare(REF, Lines(texts, pa.array([9] * len(values), pa.int64())))
        return self.warehouse.commit(prepared, writer, segment).rows

    def commit_until_done(self, segment: int, *values: int, writer: str = "w") -> int:
        """Commit as the flusher does: again until it works."""
        for _ in range(_TRIES):
            try:
                return self.commit(segment, *values, writer=writer)
            except Unavailable as error:
                self.errors.append(error)
        raise AssertionError(f"{_TRIES} failures on end")

    def values(self, column: str = "a") -> list[Any]:
        """Return all values of a column, sorted."""
        snapshot = self.warehouse.snapshot(REF)
        assert snapshot is not None
        with self.warehouse.reading() as lease:
            lease.fetch(list(snapshot.files))
            sql = view_sql(snapshot, [str(path) for path in snapshot.files])
            with duckdb.connect() as connection:
                found = connection.execute(f"select {column} from ({sql}) order by 1")  # noqa: S608 - test
                return [row[0] for row in found.fetchall()]


@pytest.fixture
def node(server: ObjectServer, proxy: S3Proxy, tmp_path: Path) -> Iterator[Node]:
    made = Node(server, proxy.url, tmp_path, "node")
    yield made
    proxy.rules.clear()
    made.warehouse.close()
    made.objects.close()


REQUESTS = [("PUT", ".parquet"), ("PUT", "_delta_log/"), ("GET", "list-type"), ("GET", ".json"), ("HEAD", "")]
HARMS = [Fault.BUSY, Fault.LOST_REQUEST, Fault.LOST_RESPONSE, Fault.FAILED_RESPONSE, Fault.TWICE]
QUICK = {
    (Fault.LOST_RESPONSE, "PUT", "_delta_log/"),
    (Fault.BUSY, "PUT", ".parquet"),
    (Fault.LOST_REQUEST, "HEAD", ""),
}
CASES = [
    pytest.param(
        (harm, *request),
        id=f"{harm}-{'-'.join(request)}",
        marks=() if (harm, *request) in QUICK else pytest.mark.slow,
    )
    for harm in HARMS
    for request in REQUESTS
]


@pytest.mark.parametrize("case", CASES)
def test_a_fault_at_any_request_of_a_commit_loses_and_doubles_nothing(
    node: Node, proxy: S3Proxy, server: ObjectServer, tmp_path: Path, case: tuple[Fault, str, str]
) -> None:
    harm, method, part = case
    assert node.commit(1, 1) == 1
    counted = 1
    for segment, left in ((2, 1), (3, 2)):
        proxy.rules[:] = [Rule(harm, method, part, left=left)]
        counted += node.commit_until_done(segment, segment)
        assert proxy.rules[0].left < left, "the fault never happened"
        proxy.rules.clear()
    assert node.values() == [1, 2, 3]
    assert Node(server, server.url, tmp_path, "fresh").values() == [1, 2, 3]
    assert not [error for error in node.errors if not error.hint]
    assert counted == 3  # what was committed is reported as committed, once
    assert node.commit(3, 3) == 0


def test_a_lost_answer_to_the_commit_itself_is_a_commit(node: Node, proxy: S3Proxy) -> None:
    node.commit(1, 1)
    for number, harm in enumerate((Fault.LOST_RESPONSE, Fault.FAILED_RESPONSE, Fault.TWICE), 2):
        proxy.rules[:] = [Rule(harm, "PUT", f"_delta_log/{number:020d}.json")]
        assert node.commit(number, number) == 1
        assert proxy.rules[0].left == 0
    assert node.values() == [1, 2, 3, 4]


def test_a_lost_answer_to_a_new_tables_first_entry_makes_one_table(node: Node, proxy: S3Proxy) -> None:
    proxy.rules[:] = [Rule(Fault.LOST_RESPONSE, "PUT", f"_delta_log/{0:020d}.json")]
    assert node.commit_until_done(1, 1, 2) == 2
    assert node.values() == [1, 2]


@pytest.mark.slow
def test_a_lost_answer_to_a_merges_commit_keeps_the_merged_rows(node: Node, proxy: S3Proxy) -> None:
    for segment in range(1, 36):
        node.commit(segment, segment)
    proxy.rules[:] = [Rule(Fault.LOST_RESPONSE, "PUT", f"_delta_log/{36:020d}.json")]
    assert node.warehouse.compact(REF) >= 32
    assert proxy.rules[0].left == 0
    assert node.values() == list(range(1, 36))
    node.warehouse.sweep()
    node.warehouse.sweep()
    assert node.values() == list(range(1, 36))


def test_a_file_that_arrives_cut_or_changed_is_fetched_again(
    node: Node, proxy: S3Proxy, server: ObjectServer, tmp_path: Path
) -> None:
    for segment in range(1, 6):
        node.commit(segment, segment)
    reader = Node(server, proxy.url, tmp_path, "reader")
    proxy.rules[:] = [
        Rule(Fault.CUT, "GET", ".parquet", left=2),
        Rule(Fault.FLIPPED, "GET", ".parquet", left=1),
        Rule(Fault.SLOW, "GET", ".parquet", left=2),
    ]
    assert reader.values() == [1, 2, 3, 4, 5]
    assert {rule.left for rule in proxy.rules} == {0}


def test_a_file_that_is_damaged_in_the_store_is_an_error_and_never_rows(
    node: Node, proxy: S3Proxy, server: ObjectServer, tmp_path: Path
) -> None:
    node.commit(1, 1)
    reader = Node(server, proxy.url, tmp_path, "reader")
    proxy.rules[:] = [Rule(Fault.FLIPPED, "GET", ".parquet", left=_FOREVER)]
    with pytest.raises(Unavailable, match="other bytes"):
        reader.values()
    proxy.rules.clear()
    assert reader.values() == [1]


def test_a_full_store_says_so_and_goes_on_when_there_is_room(node: Node, proxy: S3Proxy) -> None:
    node.commit(1, 1)
    proxy.rules[:] = [Rule(Fault.FULL, "PUT", left=_FOREVER)]
    with pytest.raises(OutOfSpace):
        node.commit(2, 2)
    proxy.rules.clear()
    assert node.commit(2, 2) == 1
    assert node.values() == [1, 2]


def test_an_outage_ends_in_an_error_in_bounded_time_and_heals(node: Node, proxy: S3Proxy) -> None:
    node.commit(1, 1)
    proxy.rules[:] = [Rule(Fault.BUSY, left=_FOREVER)]
    begun = monotonic()
    with pytest.raises(Unavailable, match="object store failed"):
        node.commit(2, 2)
    assert monotonic() - begun < 30
    proxy.rules.clear()
    assert node.commit(2, 2) == 1
    assert node.values() == [1, 2]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_random_faults_under_writers_and_merges_lose_and_double_nothing(
    server: ObjectServer, proxy: S3Proxy, tmp_path: Path, seed: int
) -> None:
    dice, commits, writers = random.Random(seed), 40, 3  # noqa: S311 - repeatable
    nodes = [Node(server, proxy.url, tmp_path, f"n{number}") for number in range(writers)]
    harms = [harm for harm in Fault if harm is not Fault.FULL]
    proxy.rules[:] = [
        Rule(dice.choice(harms), dice.choice(["PUT", "GET", "HEAD"]), delay_s=0.1) for _ in range(150)
    ]

    def write(number: int) -> int:
        counted = 0
        for segment in range(1, commits + 1):
            value = number * 1000 + segment
            counted += nodes[number].commit_until_done(segment, value, writer=f"w{number}")
            if segment % 16 == 0:
                try:
                    nodes[number].warehouse.compact(REF)
                except Unavailable as error:
                    nodes[number].errors.append(error)
        return counted

    with ThreadPoolExecutor(writers) as pool:
        counted = list(pool.map(write, range(writers)))
    met = sum(not rule.left for rule in proxy.rules)
    proxy.rules.clear()
    reader = Node(server, server.url, tmp_path, "reader")
    values = reader.values()
    expected = [number * 1000 + segment for number in range(writers) for segment in range(1, commits + 1)]
    lost, doubled = set(expected) - set(values), len(values) - len(set(values))
    errors = [error for one in nodes for error in one.errors]
    print(  # noqa: T201 - the run's result line
        f"seed {seed}: {met} faults, {len(errors)} failed calls, {len(expected)} commits,"
        f" {len(lost)} lost, {doubled} doubled"
    )
    assert met > 100
    assert all(error.hint and "testtest" not in str(error) for error in errors)
    assert values == expected
    # A call that failed may have committed all the same; then its repetition adds nothing.
    for one, count in zip(nodes, counted, strict=True):
        assert commits - len(one.errors) <= count <= commits
