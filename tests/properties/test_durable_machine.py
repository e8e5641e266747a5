"""The durable path against a model of sets: imports, repeats, failures at any step, crashes, merges."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from addon.ingest import service
from addon.warehouse import delta
from platform_core.base import failpoints
from platform_core.base.errors import Conflict, SluiceError
from tests.faults import durable_home
from tests.faults.crash_cycles import FAILPOINTS, REF, ROWS, batch

if TYPE_CHECKING:
    from collections.abc import Coroutine

NAMES = st.integers(0, 30).map(lambda number: f"m-{number}")
POINTS = st.sampled_from(FAILPOINTS)


class DurablePath(RuleBasedStateMachine):
    """The real service, ledger, catalog and warehouse on a folder; ``acked`` is what was promised."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="sluice-machine-"))
        self.home = self.folder / "home"
        durable_home.make(self.home)
        self.loop = asyncio.new_event_loop()
        self.acked: set[str] = set()
        self.in_doubt: set[str] = set()
        """Refused when the disk failed: it is there as a whole, or not at all."""
        self.open()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def open(self) -> None:
        self.life = durable_home.opened(self.home, linger_s=30)
        self.parts = self.run(self.life.__aenter__())

    @rule(name=NAMES)
    def send(self, name: str) -> None:
        """New or repeated, it counts once."""
        ack = self.run(self.parts.service.append(batch(name)))
        assert ack.duplicate or name not in self.acked
        self.acked.add(name)
        self.in_doubt.discard(name)

    @precondition(lambda self: self.acked)
    @rule(data=st.data())
    def send_another_body_under_a_known_id(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.acked)))
        other = batch(name)
        with pytest.raises(Conflict):
            self.run(self.parts.service.append(type(other)(other.kind, *fields_of(other))))

    @rule(name=NAMES, point=POINTS, again=st.booleans())
    def fail_at(self, name: str, point: str, *, again: bool) -> None:
        """Send and flush while one step fails; then go on, or crash."""
        failpoints.arm(f"{point}:error@1")
        try:
            self.run(self.parts.service.append(batch(name)))
            self.acked.add(name)
            self.run(self.parts.service.flush(REF.account_id))
        except SluiceError:
            if name not in self.acked:
                self.in_doubt.add(name)
        finally:
            failpoints.arm("")
        if again:
            self.crash()

    @rule()
    def crash(self) -> None:
        """Let everything go without a word, as far as one process can."""

        async def die() -> None:
            running = self.parts.service
            for task in (running._task, running._upkeep):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            running._task = running._upkeep = None
            await running._wal.close()

        self.run(die())
        with contextlib.suppress(SluiceError):
            self.run(self.life.__aexit__(None, None, None))
        self.open()

    @rule()
    def stop(self) -> None:
        self.run(self.life.__aexit__(None, None, None))
        self.open()

    @rule()
    def merge(self) -> None:
        self.parts.warehouse.compact(REF)

    @rule()
    def sweep(self) -> None:
        self.parts.warehouse.sweep()

    @rule()
    def query(self) -> None:
        self.run(self.parts.service.flush(REF.account_id))
        found = Counter(durable_home.ids(self.parts.warehouse))
        assert set(found.values()) <= {1}
        whole = Counter(name.rpartition("-")[0] for name in found)
        assert set(whole.values()) <= {ROWS}
        assert self.acked <= set(whole) <= self.acked | self.in_doubt

    @invariant()
    def nothing_is_put_aside(self) -> None:
        assert not (self.home / "wal" / "quarantine").exists()

    def teardown(self) -> None:
        self.query()
        self.run(self.life.__aexit__(None, None, None))
        self.loop.close()
        shutil.rmtree(self.folder)


def fields_of(other: Any) -> tuple[Any, ...]:
    """Return a batch's fields with another body that is as valid."""
    body = b'{"id":"other"}\n' if other.kind == "ndjson" else batch("another").body
    if other.kind != batch("another").kind and other.kind != "ndjson":
        body = other.body + other.body
    return other.account_id, other.database, other.table, body, other.received_at, other.upload_id, other.meta


def run(monkeypatch: pytest.MonkeyPatch, examples: int, steps: int) -> None:
    monkeypatch.setattr(service, "_RETRY_S", 0.005)
    monkeypatch.setattr(delta, "CHECKPOINT_EVERY", 4)
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        DurablePath,
        settings=settings(
            max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=checks
        ),
    )


def test_a_few_lives_keep_every_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, examples=4, steps=15)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_two_hundred_lives_keep_every_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, examples=200, steps=30)
