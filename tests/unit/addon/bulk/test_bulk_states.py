"""Which call is taken when: every state and every action, against the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from addon.models.bulk import ALLOWED, Action, BulkState, WrongState, check_part_name, check_session_name
from platform_core.base.errors import Conflict, InvalidInput, NotFound
from tests.faults.bulk_rig import NOW

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.bulk_rig import BulkRig

_U, _P, _R, _C, _D = BulkState
SITUATIONS = [(_U, False), (_U, True), (_P, True), (_R, True), (_C, True), (_D, True)]


def bring(rig: BulkRig, state: BulkState, *, frozen: bool) -> None:
    """Bring session ``s`` into a state by calls alone."""
    rig.create()
    rig.upload("p", [{"time": NOW, "n": 1}])
    if not frozen:
        return
    rig.freeze()
    if state is _U:
        return
    rig.begin_perform()
    if state is _P:
        return
    rig.run_jobs()
    if state is _C:
        rig.store.begin_commit(rig.account.id, "s")
    if state is _D:
        rig.commit()


def calls(rig: BulkRig) -> dict[Action, Callable[[], object]]:
    account = rig.account.id
    return {
        Action.UPLOAD_PART: lambda: rig.upload("q", [{"time": NOW, "n": 2}]),
        Action.DELETE_PART: lambda: rig.bulk.delete_part(account, "s", "p"),
        Action.FREEZE: lambda: rig.store.freeze(account, "s"),
        Action.UNFREEZE: lambda: rig.store.unfreeze(account, "s"),
        Action.PERFORM: rig.begin_perform,
        Action.ERROR_RECORDS: lambda: rig.store.check(account, "s", Action.ERROR_RECORDS),
        Action.COMMIT: rig.commit,
        Action.DELETE: lambda: rig.bulk.delete(account, "s"),
    }


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize(("state", "frozen"), SITUATIONS)
def test_an_action_is_taken_where_the_table_says_so_and_nowhere_else(
    rig: BulkRig, state: BulkState, *, frozen: bool, action: Action
) -> None:
    bring(rig, state, frozen=frozen)
    before = rig.session()
    assert (before.state, before.frozen) == (state, frozen)
    call = calls(rig)[action]
    if (state, frozen) in ALLOWED[action]:
        call()
        return
    with pytest.raises(WrongState) as refused:
        call()
    assert refused.value.hint
    assert rig.session() == before


def test_every_situation_is_one_that_the_table_knows() -> None:
    assert {pair for pairs in ALLOWED.values() for pair in pairs} == set(SITUATIONS)


@pytest.mark.parametrize(
    ("state", "action", "after"),
    [
        (_U, Action.FREEZE, (_U, True)),
        (_U, Action.UNFREEZE, (_U, False)),
        (_U, Action.PERFORM, (_P, True)),
        (_R, Action.UNFREEZE, (_U, False)),
        (_R, Action.PERFORM, (_P, True)),
        (_R, Action.FREEZE, (_R, True)),
        (_R, Action.COMMIT, (_D, True)),
        (_C, Action.COMMIT, (_D, True)),
        (_D, Action.COMMIT, (_D, True)),
    ],
)
def test_an_action_leads_where_it_should(
    rig: BulkRig, state: BulkState, action: Action, after: tuple[BulkState, bool]
) -> None:
    bring(rig, state, frozen=True)
    calls(rig)[action]()
    session = rig.session()
    assert (session.state, session.frozen) == after


@pytest.mark.parametrize("action", [one for one in Action if one is not Action.UPLOAD_PART])
def test_a_session_that_is_not_there_is_not_found(rig: BulkRig, action: Action) -> None:
    with pytest.raises(NotFound):
        calls(rig)[action]()


def test_a_session_needs_a_table_and_a_name_of_its_own(rig: BulkRig) -> None:
    rig.create()
    with pytest.raises(Conflict):
        rig.create()
    with pytest.raises(NotFound):
        rig.bulk.create(type(rig.ref)(rig.account.id, "shop", "nothing"), "t")


@pytest.mark.parametrize("name", ["", "a/b", "x" * 256, "tab\t", "nul\0"])
def test_names_that_no_session_may_have(name: str) -> None:
    with pytest.raises(InvalidInput):
        check_session_name(name)
    with pytest.raises(InvalidInput):
        check_part_name(name)


def test_a_part_name_has_at_most_one_dot() -> None:
    assert check_part_name("part.1") == "part.1"
    with pytest.raises(InvalidInput):
        check_part_name("part.1.gz")


def test_a_perform_without_parts_is_refused(rig: BulkRig) -> None:
    rig.create()
    rig.freeze()
    with pytest.raises(InvalidInput, match="no parts"):
        rig.begin_perform()


@pytest.mark.parametrize("queued", [True, False])
def test_a_killed_perform_leaves_the_session_open_for_another(rig: BulkRig, *, queued: bool) -> None:
    rig.create()
    rig.upload("p", [{"time": NOW, "n": 1}])
    rig.freeze()
    job = rig.begin_perform()
    if queued:
        rig.jobs.request_kill(rig.account.id, job)
    else:
        (outcome,) = rig.run_jobs(kill=True)
        assert outcome.state.value == "killed"
    session = rig.session()
    assert (session.state, session.frozen, session.performed) == (_U, True, None)
    assert rig.perform().num_records == 1
    assert rig.commit().state is _D
    assert len(rig.rows()) == 1
