"""Bulk import sessions: parts are uploaded, performed into typed files, and committed all at once.

What may be called when is data here, so that the store, the routes and the tests share one table.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from addon.models.tables import TableRef
from platform_core.base.errors import InvalidInput

JOB_TYPE = "bulk_import_perform"
"""The type of a perform's job, as Treasure Data's clients show it."""
SESSIONS_FOLDER = "bulk"
"""Of the warehouse's object store: ``bulk/<account>/<session token>/<file>``, beside the accounts' tables."""
MAX_NAME = 255
_CONTROL = re.compile(r"[\x00-\x1f\x7f/]")


class BulkState(StrEnum):
    """Where a session stands, in Treasure Data's words."""

    UPLOADING = "uploading"
    PERFORMING = "performing"
    READY = "ready"
    COMMITTING = "committing"
    COMMITTED = "committed"


@dataclass(frozen=True, slots=True)
class StagedFile:
    """A durable Parquet file in the table's folder that no version of the table names yet."""

    name: str
    size: int
    rows: int
    min_time: int
    max_time: int


@dataclass(frozen=True, slots=True)
class Performed:
    """What a perform made of the parts. ``table_id`` is the catalog's id of the table it typed them for."""

    table_id: int
    files: tuple[StagedFile, ...]
    schema: str
    """The schema of the files, as the warehouse serialises it."""
    valid_records: int
    error_records: int
    valid_parts: int
    errors_file: str | None = None
    """Name of the session's file of error records; None while there are none."""
    prefix: str = ""
    """The folder of the files in the object store: the table's, under whatever name it goes by then."""
    staged_at: float = 0.0
    """Unix seconds; staged files do not stay for ever when nobody commits them."""


@dataclass(frozen=True, slots=True)
class BulkSession:
    """A session; times are Unix seconds."""

    id: int
    account_id: int
    name: str
    token: str
    """Random and unique for ever: names the session's folder, and its commit in the table's log."""
    database: str
    table: str
    state: BulkState
    frozen: bool
    job_id: int | None
    error_parts: int
    performed: Performed | None
    created_at: float
    updated_at: float

    @property
    def ref(self) -> TableRef:
        """The table that the session is for."""
        return TableRef(self.account_id, self.database, self.table)


@dataclass(frozen=True, slots=True)
class BulkPart:
    """An uploaded part: its name, the file that holds it, bytes as they came, and how many records."""

    name: str
    file: str
    size: int
    records: int


class WrongState(InvalidInput):
    """The session is not in a state that allows this."""


class Action(StrEnum):
    """What can be asked of a session."""

    UPLOAD_PART = "upload_part"
    DELETE_PART = "delete_part"
    FREEZE = "freeze"
    UNFREEZE = "unfreeze"
    PERFORM = "perform"
    ERROR_RECORDS = "error_records"
    COMMIT = "commit"
    DELETE = "delete"


_OPEN, _FROZEN = False, True
_U, _P, _R, _C, _D = BulkState
ALLOWED: Mapping[Action, frozenset[tuple[BulkState, bool]]] = {
    Action.UPLOAD_PART: frozenset({(_U, _OPEN)}),
    Action.DELETE_PART: frozenset({(_U, _OPEN)}),
    Action.FREEZE: frozenset({(_U, _OPEN), (_U, _FROZEN), (_P, _FROZEN), (_R, _FROZEN)}),
    Action.UNFREEZE: frozenset({(_U, _OPEN), (_U, _FROZEN), (_R, _FROZEN)}),
    Action.PERFORM: frozenset({(_U, _FROZEN), (_R, _FROZEN)}),
    Action.ERROR_RECORDS: frozenset({(_R, _FROZEN), (_C, _FROZEN), (_D, _FROZEN)}),
    Action.COMMIT: frozenset({(_R, _FROZEN), (_C, _FROZEN), (_D, _FROZEN)}),
    Action.DELETE: frozenset({(_U, _OPEN), (_U, _FROZEN), (_R, _FROZEN), (_D, _FROZEN)}),
}
"""(state, frozen) pairs in which an action is taken. A repeat of what is done already is no error."""

_HINTS: Mapping[BulkState, str] = {
    _U: "Upload parts, then freeze and perform it.",
    _P: "Wait for its job, or kill it.",
    _R: "Commit it; or unfreeze it, which drops what was performed.",
    _C: "Wait until it is committed.",
    _D: "Delete it and create a new one.",
}


def check_action(name: str, state: BulkState, *, frozen: bool, action: Action) -> None:
    """Check that an action is allowed.

    Raises:
        WrongState: it is not; the hint says what is.
    """
    if (state, frozen) in ALLOWED[action]:
        return
    if action is Action.PERFORM and state is BulkState.UPLOADING:
        raise WrongState(
            f"The bulk import session {name!r} is not frozen.", hint="Freeze it, then perform it."
        )
    if action in {Action.UPLOAD_PART, Action.DELETE_PART} and (state, frozen) == (BulkState.UPLOADING, True):
        raise WrongState(
            f"The bulk import session {name!r} is frozen: its parts cannot be changed.",
            hint="Unfreeze it first.",
        )
    raise WrongState(
        f"The bulk import session {name!r} is {state.value}: {action.value} is not possible.",
        hint=_HINTS[state],
    )


def check_session_name(name: str) -> str:
    """Return a name that a session may have.

    Raises:
        InvalidInput: it is empty, too long, or holds a slash or a control character.
    """
    if not 0 < len(name) <= MAX_NAME or _CONTROL.search(name):
        raise InvalidInput(
            f"The bulk import session name {name[:140]!r} is not valid.",
            hint=f"Use 1 to {MAX_NAME} characters, no slash.",
        )
    return name


def check_part_name(name: str) -> str:
    """Return a name that a part may have; Treasure Data's clients check the same before they send.

    Raises:
        InvalidInput: it is empty, too long, has more than one dot, a slash or a control character.
    """
    if not 0 < len(name) <= MAX_NAME or _CONTROL.search(name) or name.count(".") > 1:
        raise InvalidInput(
            f"The part name {name[:140]!r} is not valid.",
            hint=f"Use 1 to {MAX_NAME} characters, no slash and at most one dot.",
        )
    return name
