"""One commit to a Delta log, tried until its outcome is known.

The commit carries a mark of its own. A try that failed as far as we heard may have been made all the same:
its answer was lost, and the log's next reader finds the mark. So nothing is ever committed twice, and what
was committed is never taken for somebody else's.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Transaction
from deltalake.exceptions import DeltaError

from addon.warehouse.schema import TableSchema, from_delta
from addon.warehouse.vanishing import lost_race
from platform_core.base import failpoints
from platform_core.base.errors import Unavailable

if TYPE_CHECKING:
    from deltalake.transaction import AddAction, RemoveAction

    from addon.warehouse.delta import DeltaLog

NO_HOOKS = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)
_RACES = 100
"""How often delta-rs may lose the race for the next version to commits that do not conflict."""
_MARK = "sluice.commit"


class Attempt:
    """Tries to make one commit; all tries carry the same mark."""

    def __init__(self, log_: DeltaLog) -> None:
        """Take the log to commit to."""
        self._log = log_
        self._mark = uuid.uuid4().hex
        self._before: int | None = None
        """The version before the first try; None before it."""

    def landed(self, table: DeltaTable) -> bool:
        """Tell whether an earlier try has made the commit, though it failed as far as we heard."""
        if self._before is None:
            return False
        mark = self._mark.encode()
        versions = range(self._before + 1, table.version() + 1)
        if not any(mark in self._log.entry(version) for version in reversed(versions)):
            return False
        self._log.settle(table, self._before)
        return True

    def commit(
        self,
        table: DeltaTable | None,
        schema: TableSchema | None,
        actions: list[AddAction | RemoveAction],
        transactions: list[Transaction],
    ) -> bool:
        """Try once, with the table made or grown to ``schema`` first; False when it must be tried anew."""
        try:
            table = table or self._log.create(schema or TableSchema())
            before = table.version()
            if self._before is None:
                self._before = before
            if schema is not None:
                _grow(table, schema)
            failpoints.hit("commit.pre")
            known = table.version()
            self._write(table, actions, transactions)
        except (DeltaError, OSError) as error:
            failure = self._log.failure(error)
            self._log.forget()
            if failure is error and not lost_race(error):
                raise
            return False
        if table.version() == known + 1:
            for one in transactions:
                self._log.transactions.committed(known + 1, one.app_id, one.version)
        failpoints.hit("commit.unsynced")
        self._log.settle(table, before)
        return True

    def _write(
        self, table: DeltaTable, actions: list[AddAction | RemoveAction], transactions: list[Transaction]
    ) -> None:
        properties = CommitProperties(
            custom_metadata={_MARK: self._mark}, max_commit_retries=_RACES, app_transactions=transactions
        )
        table.create_write_transaction(
            actions,
            "append",
            table.schema(),
            commit_properties=properties,
            post_commithook_properties=NO_HOOKS,
        )
        table.update_incremental()


def _grow(table: DeltaTable, schema: TableSchema) -> None:
    """Add the columns of ``schema`` that the table has not.

    Raises:
        Unavailable: the table has a column of that name and another kind now.
    """
    known = dict(from_delta(table.schema()).physical())
    clash = [name for name, kind in schema.physical() if known.get(name, kind) != kind]
    if clash:
        raise Unavailable(
            f"The column {clash[0]} was added with another type meanwhile.", hint="Retry after 1 second."
        )
    fields = schema.delta_fields(known=[field.name for field in table.schema().fields])
    if fields:
        table.alter.add_columns(fields, post_commithook_properties=NO_HOOKS)
