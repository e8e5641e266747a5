"""Which segment each writer committed last, kept beside a table's handle.

delta-rs reads every entry since the last checkpoint for that, each time. Here the entries that came since the
last question are read once; a handle that was opened anew asks delta-rs.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from deltalake import DeltaTable

_MOST_ENTRIES = 20
"""Beyond this, asking delta-rs is not dearer."""


class Transactions:
    """The last numbers of the writers, as of one version of a table."""

    def __init__(self, entry: Callable[[int], bytes]) -> None:
        """Take what returns a log entry's text, empty when it is gone."""
        self._entry = entry
        self._version = -1
        self._last: dict[str, int | None] = {}

    def last(self, table: DeltaTable, writer: str) -> int | None:
        """Return the writer's last number as of the handle's version, None before its first commit."""
        version = table.version()
        if version != self._version:
            if not (0 < version - self._version <= _MOST_ENTRIES and self._last and self._catch_up(version)):
                self._last.clear()
            self._version = version
        if writer not in self._last:
            number = table.transaction_version(writer)
            self._last[writer] = None if number is None else int(number)
        return self._last[writer]

    def committed(self, version: int, writer: str, number: int) -> None:
        """Note one's own commit, which became ``version``: one above what the handle had."""
        if self._version != version - 1:
            self._last.clear()
        self._version = version
        self._last[writer] = number

    def forget(self) -> None:
        """Know nothing: the table may be another one."""
        self._version = -1
        self._last.clear()

    def _catch_up(self, version: int) -> bool:
        """Read the entries up to ``version``; False when one is gone."""
        for number in range(self._version + 1, version + 1):
            text = self._entry(number)
            if not text:
                return False
            for line in text.splitlines():
                if b'"txn"' in line and (found := json.loads(line).get("txn")):
                    self._last[str(found["appId"])] = int(found["version"])
        return True
