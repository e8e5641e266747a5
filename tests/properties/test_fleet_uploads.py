"""Upload ids among nodes that crash, stall and are wrongly taken for dead: acknowledged once is stored once.

The model is what a node does around the ledger (claim, write, settle, acknowledge; choose, commit, delete),
cut into steps with a crash possible after each; the ledger is the real one, with its real statements.
"""

from __future__ import annotations

import atexit
import functools
import itertools
import shutil
import tempfile
from dataclasses import dataclass, field

import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from addon.models.ingest import Claim, ClaimAnswer
from addon.store.claims import SqlUploadClaims
from addon.store.database import Database
from addon.store.nodes import NODE_LEASE_S, NodeStore
from addon.store.schema import NODES, UPLOADS
from platform_core.base.clock import FixedClock

_NAMES = ("a", "b")
NAMES, KEYS, BODIES = st.sampled_from(_NAMES), st.sampled_from(["k1", "k2"]), st.sampled_from("xy")


@functools.cache
def _database() -> Database:
    folder = tempfile.mkdtemp(prefix="sluice-fleet-")
    atexit.register(shutil.rmtree, folder)
    made = Database(f"sqlite:///{folder}/addon.db")
    made.migrate()
    return made


@dataclass
class Node:
    """One process: ``log`` and ``segment`` survive a crash, the rest does not."""

    claims: SqlUploadClaims
    alive: bool = True
    log: list[Claim] = field(default_factory=list)
    segment: int = 1
    attempts: dict[str, tuple[Claim, bool]] = field(default_factory=dict)
    """Appends under way by id: the claim, and whether it is in the log."""
    stored: dict[str, Claim] = field(default_factory=dict)
    """Ids that are settled and not flushed."""


class UploadsOfAFleet(RuleBasedStateMachine):
    """Nodes a and b on one ledger and one table."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FixedClock(1_780_000_000.0)
        database = _database()
        self.registry = NodeStore(database, self.clock)
        with database.write() as connection:
            connection.execute(sa.delete(UPLOADS))
            connection.execute(sa.delete(NODES))
        self.nodes = {name: Node(SqlUploadClaims(database, self.clock, name)) for name in _NAMES}
        for name in self.nodes:
            self.beat(name)
        self.table: dict[tuple[str, int], list[Claim]] = {}
        """Commits by (writer, segment), as the table's transaction identifiers keep them apart."""
        self.acked: dict[str, str] = {}
        self.batches = (f"{number:016x}" for number in itertools.count())

    # The registry

    @rule(name=NAMES)
    def beat(self, name: str) -> None:
        if self.nodes[name].alive:
            self.registry.beat(name, "http://127.0.0.1", frozenset({"ingest"}), "f", {})

    @rule()
    def time_passes(self) -> None:
        """Take every node for dead that sends no heartbeat from now on, those that live, too."""
        self.clock.advance(NODE_LEASE_S + 1)

    # The door

    @rule(name=NAMES, key=KEYS, body=BODIES, steps=st.integers(0, 2))
    def send(self, name: str, key: str, body: str, steps: int) -> None:
        """Claim; with more steps also write, and settle."""
        node = self.nodes[name]
        if not node.alive or key in node.attempts:
            return
        if key in node.stored:
            self._repeated(key, body, node.stored[key].digest)
            return
        claim = Claim(1, "shop", "events", key, body, next(self.batches))
        [(answer, digest)] = node.claims.claim([claim])
        if answer is ClaimAnswer.MINE:
            node.attempts[key] = (claim, False)
            if steps > 0:
                self.write(0, claim)
            if steps > 1:
                self.settle(0, answer_lost=False, wanted=claim)
        elif answer is ClaimAnswer.STORED:
            self._repeated(key, body, digest)

    def _repeated(self, key: str, body: str, digest: str) -> None:
        if body == digest:
            self._acknowledge(key, body)

    def _acknowledge(self, key: str, body: str) -> None:
        assert self.acked.setdefault(key, body) == body

    def _attempt(self, pick: int, written: bool, wanted: Claim | None) -> tuple[Node, Claim] | None:
        """Return the append that goes on: the wanted one, or one of those that may."""
        may = [
            (node, claim)
            for node in self.nodes.values()
            for claim, done in node.attempts.values()
            if done == written and wanted in {None, claim}
        ]
        return may[pick % len(may)] if may else None

    @rule(pick=st.integers(0, 5))
    def write(self, pick: int, wanted: Claim | None = None) -> None:
        if (found := self._attempt(pick, written=False, wanted=wanted)) is not None:
            node, claim = found
            node.log.append(claim)
            node.attempts[claim.upload_id] = (claim, True)

    @rule(pick=st.integers(0, 5), turns_up=st.booleans(), released=st.booleans())
    def fail_to_write(self, pick: int, turns_up: bool, released: bool) -> None:
        """The disk fails: the frame may turn up all the same; the claim may not get released."""
        if (found := self._attempt(pick, written=False, wanted=None)) is not None:
            node, claim = found
            if turns_up:
                node.log.append(claim)
            if released:
                node.claims.release([claim])
            del node.attempts[claim.upload_id]

    @rule(pick=st.integers(0, 5), answer_lost=st.booleans())
    def settle(self, pick: int, answer_lost: bool, wanted: Claim | None = None) -> None:
        if (found := self._attempt(pick, written=True, wanted=wanted)) is not None:
            node, claim = found
            del node.attempts[claim.upload_id]
            if claim.batch_id in node.claims.settle([claim]) and not answer_lost:
                if claim in node.log:
                    node.stored[claim.upload_id] = claim
                self._acknowledge(claim.upload_id, claim.digest)

    # The flush

    @rule(name=NAMES, crash=st.sampled_from(["no", "after choosing", "after committing"]))
    def flush(self, name: str, crash: str) -> None:
        node = self.nodes[name]
        if not node.alive or not node.log:
            return
        owned = self._owned(node, node.log)
        rows = [claim for claim in node.log if claim.batch_id in owned]
        if crash == "after choosing":
            self.crash(name)
            return
        self.table.setdefault((name, node.segment), rows)
        if crash == "after committing":
            self.crash(name)
            return
        for claim in node.log:
            if node.stored.get(claim.upload_id) == claim:
                del node.stored[claim.upload_id]
        node.log = []
        node.segment += 1

    def _owned(self, node: Node, records: list[Claim]) -> set[str]:
        return {batch for claim in records for batch in node.claims.settle([claim])}

    # Life and death

    @rule(name=NAMES)
    def crash(self, name: str) -> None:
        node = self.nodes[name]
        node.alive = False
        node.attempts.clear()
        node.stored.clear()

    @rule(name=NAMES)
    def restart(self, name: str) -> None:
        node = self.nodes[name]
        if node.alive:
            return
        owned = self._owned(node, node.log)
        node.stored = {claim.upload_id: claim for claim in node.log if claim.batch_id in owned}
        node.claims.release_others([], self.clock.now() + 1)
        node.alive = True
        self.beat(name)

    # What must hold

    @invariant()
    def nothing_is_doubled(self) -> None:
        rows = [claim.upload_id for commit in self.table.values() for claim in commit]
        assert len(rows) == len(set(rows))

    def teardown(self) -> None:
        for name in self.nodes:
            self.restart(name)
            self.flush(name, "no")
        self.nothing_is_doubled()
        stored = {claim.upload_id: claim.digest for commit in self.table.values() for claim in commit}
        assert self.acked.items() <= stored.items()


TestUploadsOfAFleet = UploadsOfAFleet.TestCase
TestUploadsOfAFleet.settings = settings(
    max_examples=100, stateful_step_count=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
