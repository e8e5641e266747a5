"""A bounded number of tables is held open: the longest unused one forgets its log, unless it is in use."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, cast

from addon.warehouse.handles import Handles
from addon.warehouse.objects.local import LocalObjects
from addon.warehouse.rewriting import OpenTable

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def _tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> tuple[list[OpenTable], list[str]]:
    """Return tables, and a list that their logs are noted in when they are forgotten."""
    objects, forgotten = LocalObjects(tmp_path), cast("list[str]", [])
    tables = [OpenTable(objects, f"7/shop/t{number}") for number in range(count)]
    for table in tables:
        prefix = table.log.prefix
        monkeypatch.setattr(table.log, "forget", lambda prefix=prefix: forgotten.append(prefix))
    return tables, forgotten


def test_the_longest_unused_table_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handles = Handles(most=2)
    (one, two, three), forgotten = _tables(tmp_path, monkeypatch, 3)
    for table in (one, two, one):
        handles.use(table.log.prefix, table)
    assert (len(handles), forgotten) == (2, [])
    handles.use(three.log.prefix, three)
    assert (len(handles), forgotten) == (2, ["7/shop/t1"])
    handles.use(two.log.prefix, two)
    assert forgotten == ["7/shop/t1", "7/shop/t0"]


def test_a_table_at_work_keeps_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    handles = Handles(most=1)
    (busy, other), forgotten = _tables(tmp_path, monkeypatch, 2)
    handles.use(busy.log.prefix, busy)
    with busy.lock:
        thread = threading.Thread(target=handles.use, args=(other.log.prefix, other))
        thread.start()
        thread.join()
    assert (len(handles), forgotten) == (1, [])
