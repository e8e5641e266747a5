"""Sessions against a model of dicts: any order of calls, crashes between, streaming imports beside."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
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

from addon.models.bulk import ALLOWED, Action, BulkState, WrongState
from platform_core.base.errors import Conflict, InvalidInput, NotFound
from tests.faults.bulk_rig import NOW, BulkRig

NAMES = st.sampled_from(["s", "t"])
PARTS = st.sampled_from(["p", "q", "r.1"])
RECORDS = st.lists(
    st.fixed_dictionaries(
        {"id": st.integers(0, 10**6)},
        optional={
            "time": st.one_of(st.just(NOW), st.none(), st.just("x")),
            "late": st.one_of(st.integers(-5, 5), st.sampled_from(["text", 0.5])),
        },
    ),
    max_size=4,
)
_U, _P, _R, _C, _D = BulkState


@dataclass
class Model:
    """What a session must be."""

    state: BulkState = _U
    frozen: bool = False
    parts: dict[str, list[dict[str, object]]] = field(default_factory=dict)
    performed: bool = False

    def good(self) -> list[int]:
        return [int(str(row["id"])) for rows in self.parts.values() for row in rows if row.get("time") == NOW]

    def bad(self) -> int:
        return sum(len(rows) for rows in self.parts.values()) - len(self.good())


class Sessions(RuleBasedStateMachine):
    """Calls in any order; each is taken or refused as the model says."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp())
        self.rig = BulkRig(self.home)
        self.models: dict[str, Model] = {}
        self.visible: list[int] = []
        self.segment = 0

    def teardown(self) -> None:
        self.rig.close()
        shutil.rmtree(self.home)

    def _take(self, name: str, action: Action) -> Model | None:
        """Return the session's model when the action must be taken."""
        model = self.models.get(name)
        if model is not None and (model.state, model.frozen) in ALLOWED[action]:
            return model
        return None

    def _refused(self, name: str) -> pytest.RaisesExc[Exception]:
        return pytest.raises(NotFound if name not in self.models else WrongState)

    @rule(name=NAMES)
    def create(self, name: str) -> None:
        if name in self.models:
            with pytest.raises(Conflict):
                self.rig.create(name)
        else:
            self.rig.create(name)
            self.models[name] = Model()

    @rule(name=NAMES, part=PARTS, rows=RECORDS)
    def upload(self, name: str, part: str, rows: list[dict[str, object]]) -> None:
        model = self._take(name, Action.UPLOAD_PART)
        if model is None:
            with self._refused(name):
                self.rig.upload(part, rows, name)
            return
        assert self.rig.upload(part, rows, name).records == len(rows)
        model.parts[part] = rows

    @rule(name=NAMES, part=PARTS)
    def delete_part(self, name: str, part: str) -> None:
        model = self._take(name, Action.DELETE_PART)
        if model is None or part not in model.parts:
            with pytest.raises((NotFound, WrongState)):
                self.rig.bulk.delete_part(self.rig.account.id, name, part)
            return
        self.rig.bulk.delete_part(self.rig.account.id, name, part)
        del model.parts[part]

    @rule(name=NAMES)
    def freeze(self, name: str) -> None:
        if (model := self._take(name, Action.FREEZE)) is None:
            with self._refused(name):
                self.rig.freeze(name)
            return
        self.rig.freeze(name)
        model.frozen = True

    @rule(name=NAMES)
    def unfreeze(self, name: str) -> None:
        if (model := self._take(name, Action.UNFREEZE)) is None:
            with self._refused(name):
                self.rig.store.unfreeze(self.rig.account.id, name)
            return
        self.rig.store.unfreeze(self.rig.account.id, name)
        model.frozen, model.performed, model.state = False, False, _U

    @rule(name=NAMES, killed=st.booleans())
    def perform(self, name: str, *, killed: bool) -> None:
        model = self._take(name, Action.PERFORM)
        if model is None or not model.parts:
            with pytest.raises(InvalidInput if name in self.models else NotFound):
                self.rig.begin_perform(name)
            return
        self.rig.begin_perform(name)
        self.rig.run_jobs(kill=killed)
        model.state, model.performed = (_U, False) if killed else (_R, True)

    @rule(name=NAMES)
    def commit(self, name: str) -> None:
        if (model := self._take(name, Action.COMMIT)) is None:
            with self._refused(name):
                self.rig.commit(name)
            return
        self.rig.commit(name)
        if model.state is not _D:
            self.visible += model.good()
        model.state = _D

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        if self._take(name, Action.DELETE) is None:
            with self._refused(name):
                self.rig.bulk.delete(self.rig.account.id, name)
            return
        self.rig.bulk.delete(self.rig.account.id, name)
        del self.models[name]

    @rule(value=st.sampled_from(["7", '"text"', "0.5", "true"]), number=st.integers(0, 10**6))
    def stream(self, value: str, number: int) -> None:
        """Import a row that may set a column's type before the session's commit does."""
        self.segment += 1
        text = f'{{"id":{number},"late":{value}}}'
        self.rig.import_lines(pa.array([text]), pa.array([NOW]), self.segment)
        self.visible.append(number)

    @precondition(lambda self: self.models)
    @rule(hours=st.integers(0, 7))
    def restart(self, hours: int) -> None:
        """Crash between two calls, and come back some hours later."""
        now = self.rig.clock.now() + 3_600 * hours
        self.rig.close()
        self.rig = BulkRig(self.home, now=now)
        self.rig.recover()

    @invariant()
    def the_sessions_are_as_the_model_says(self) -> None:
        found = {one.name: one for one in self.rig.store.sessions(self.rig.account.id)}
        assert found.keys() == self.models.keys()
        for name, model in self.models.items():
            session = found[name]
            assert (session.state, session.frozen) == (model.state, model.frozen)
            assert [part.name for part in self.rig.store.parts(session.id)] == sorted(model.parts)
            assert (session.performed is not None) == model.performed
            if session.performed is not None:
                assert session.performed.valid_records == len(model.good())
                assert session.performed.error_records == model.bad() == len(self.rig.error_records(name))

    @invariant()
    def what_was_committed_is_visible_once_and_nothing_else(self) -> None:
        if self.visible:
            assert [number for (number,) in self.rig.rows("id")] == sorted(self.visible)
        else:
            assert self.rig.rows() == []
        assert self.rig.catalog.table(self.rig.ref).rows == len(self.visible)


def test_sessions_do_what_the_model_says() -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Sessions,
        settings=settings(
            max_examples=12, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_sessions_do_what_the_model_says_for_long() -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Sessions,
        settings=settings(
            max_examples=200, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
