"""Upload ids among nodes: one owner at a time, and a stored one for good."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from addon.models.ingest import Claim, ClaimAnswer
from addon.store.claims import SqlUploadClaims
from addon.store.nodes import NODE_LEASE_S, LeaseStore, NodeStore
from addon.store.uploads import KEEP_S, SqlUploadLedger
from platform_core.base.errors import InvalidInput

if TYPE_CHECKING:
    from addon.store.database import Database
    from platform_core.base.clock import FixedClock


def _claim(upload: str, batch: str, digest: str = "d") -> Claim:
    return Claim(1, "shop", "events", upload, digest, batch)


@pytest.fixture(autouse=True)
def nodes(database: Database, clock: FixedClock) -> NodeStore:
    store = NodeStore(database, clock)
    for name in "ab":
        store.beat(name, f"http://127.0.0.1/{name}", frozenset({"ingest"}), "f", {})
    return store


@pytest.fixture
def a(database: Database, clock: FixedClock) -> SqlUploadClaims:
    return SqlUploadClaims(database, clock, "a")


@pytest.fixture
def b(database: Database, clock: FixedClock) -> SqlUploadClaims:
    return SqlUploadClaims(database, clock, "b")


def _answers(claims: SqlUploadClaims, *wanted: Claim) -> list[ClaimAnswer]:
    return [answer for answer, _ in claims.claim(wanted)]


def test_an_id_is_of_one_living_node_and_stored_for_good(a: SqlUploadClaims, b: SqlUploadClaims) -> None:
    mine, other = _claim("u", "a1"), _claim("u", "b1", "other")
    assert _answers(a, mine, _claim("v", "a2")) == [ClaimAnswer.MINE, ClaimAnswer.MINE]
    assert b.claim([other, _claim("w", "b2")]) == [(ClaimAnswer.BUSY, "d"), (ClaimAnswer.MINE, "d")]
    assert b.settle([other]) == frozenset()
    assert a.settle([mine]) == {"a1"}
    assert b.claim([other]) == [(ClaimAnswer.STORED, "d")]
    assert a.settle([mine]) == {"a1"}


def test_a_dead_nodes_claim_is_taken_over_and_does_not_come_back(
    a: SqlUploadClaims, b: SqlUploadClaims, nodes: NodeStore, clock: FixedClock
) -> None:
    mine, other = _claim("u", "a1"), _claim("u", "b1", "other")
    a.claim([mine])
    clock.advance(NODE_LEASE_S + 1)
    nodes.beat("b", "http://127.0.0.1/b", frozenset({"ingest"}), "f", {})
    assert b.claim([other]) == [(ClaimAnswer.MINE, "other")]
    assert a.settle([mine]) == frozenset()
    b.release([other])
    assert a.settle([mine]) == frozenset()
    assert _answers(a, _claim("u", "a2")) == [ClaimAnswer.MINE]


def test_what_a_dead_node_stored_stays_stored(
    a: SqlUploadClaims, b: SqlUploadClaims, clock: FixedClock
) -> None:
    a.claim([_claim("u", "a1")])
    a.settle([_claim("u", "a1")])
    clock.advance(NODE_LEASE_S + 1)
    assert _answers(b, _claim("u", "b1")) == [ClaimAnswer.STORED]
    clock.advance(KEEP_S)
    assert _answers(b, _claim("u", "b1")) == [ClaimAnswer.MINE]


def test_a_released_id_is_free_for_all(a: SqlUploadClaims, b: SqlUploadClaims) -> None:
    a.claim([_claim("u", "a1")])
    a.release([_claim("u", "a1")])
    assert _answers(b, _claim("u", "b1")) == [ClaimAnswer.MINE]
    a.release([_claim("u", "a1")])
    assert b.settle([_claim("u", "b1")]) == {"b1"}


def test_leftovers_of_a_node_are_given_up_but_for_what_it_still_writes(
    a: SqlUploadClaims, b: SqlUploadClaims, clock: FixedClock
) -> None:
    a.claim([_claim("u", "a1"), _claim("v", "a2"), _claim("w", "a3")])
    a.settle([_claim("w", "a3")])
    b.claim([_claim("x", "b1")])
    assert a.release_others(["a2"], clock.now() + 1) == 1
    assert _answers(b, _claim("u", "b2"), _claim("v", "b3"), _claim("w", "b4")) == [
        ClaimAnswer.MINE,
        ClaimAnswer.BUSY,
        ClaimAnswer.STORED,
    ]
    assert a.release_others([], clock.now() + 1) == 1


def test_an_id_from_before_the_fleet_is_a_stored_one(
    a: SqlUploadClaims, database: Database, clock: FixedClock
) -> None:
    SqlUploadLedger(database).record([(1, "shop", "events", "u", "d")], clock.now())
    assert a.claim([_claim("u", "a1")]) == [(ClaimAnswer.STORED, "d")]
    assert a.settle([_claim("u", "a1")]) == frozenset()


def test_of_many_threads_with_one_id_one_owns_it(database: Database, clock: FixedClock) -> None:
    store = NodeStore(database, clock)
    answers: list[ClaimAnswer] = []

    def work(name: str) -> None:
        store.beat(name, "http://127.0.0.1/", frozenset({"ingest"}), "f", {})
        claims = SqlUploadClaims(database, clock, name)
        for number in range(20):
            answers.extend(_answers(claims, *(_claim(f"{number}-{i}", f"{name}{i}") for i in range(5))))

    threads = [threading.Thread(target=work, args=(f"n{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers.count(ClaimAnswer.MINE) == 100
    assert len(answers) == 400


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_text_that_the_server_cannot_hold_is_the_callers_error(a: SqlUploadClaims) -> None:
    with pytest.raises(InvalidInput):
        a.claim([_claim("nul\0", "a1")])


def test_one_holder_has_a_lease_until_it_runs_out(database: Database, clock: FixedClock) -> None:
    first, second = LeaseStore(database, clock, "a"), LeaseStore(database, clock, "b")
    assert first.take("upkeep", 10)
    assert first.take("upkeep", 10)
    assert not second.take("upkeep", 10)
    clock.advance(11)
    assert second.take("upkeep", 10)
    assert not first.take("upkeep", 10)
    second.give_back("upkeep")
    assert first.take("upkeep", 10)


def test_the_registry_tells_who_lives_who_left_and_what_is_unflushed(
    database: Database, clock: FixedClock
) -> None:
    store = NodeStore(database, clock)
    store.beat("a", "http://127.0.0.1:1", frozenset({"ingest"}), "one", {7: 3})
    store.beat("b", "http://127.0.0.1:2", frozenset({"api", "worker"}), "two", {})
    assert store.strangers("one") == ["http://127.0.0.1:2"]
    first, second = store.all()
    assert (first.alive, first.left, first.unflushed) == (True, False, {"7": 3})
    assert second.roles == {"api", "worker"}
    clock.advance(NODE_LEASE_S + 1)
    assert not store.all()[0].alive
    store.leave("a", drained=False)
    assert store.all()[0].unflushed == {"7": 3}
    store.leave("a", drained=True)
    assert (store.all()[0].left, store.all()[0].unflushed) == (True, {})
    assert store.forget("a")
    assert not store.forget("a")
