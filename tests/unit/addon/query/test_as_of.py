"""Time travel in SQL: a table as it was, by version and by time, beside the newest one."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from addon.models.tables import TableRef
from addon.query.as_of import AsOf
from addon.query.dialects import compile_query
from addon.query.td_functions import Times
from platform_core.base.errors import Forbidden, InvalidInput, NotFound, UserError
from tests.unit.addon.query.table_rig import table_rig

if TYPE_CHECKING:
    from pathlib import Path


def compiled(sql: str, dialect: str = "trino") -> dict[str, AsOf]:
    return dict(compile_query(sql, dialect, 7, "shop", lambda _: True, Times(0, 0)).as_of)


@pytest.mark.parametrize(
    ("clause", "expected"),
    [
        ("FOR VERSION AS OF 12", AsOf(12, None)),
        ("FOR TIMESTAMP AS OF TIMESTAMP '2026-01-01 09:00:00 Asia/Tokyo'", AsOf(None, 1_767_225_600)),
        ("FOR TIMESTAMP AS OF TIMESTAMP '2026-01-01 00:00:00'", AsOf(None, 1_767_225_600)),
        ("FOR TIMESTAMP AS OF DATE '2026-01-01'", AsOf(None, 1_767_225_600)),
    ],
)
def test_the_clause_names_a_version_or_a_moment(clause: str, expected: AsOf) -> None:
    done = compile_query(
        f"SELECT e.n FROM events {clause} e",  # noqa: S608 (the cases above)
        "trino",
        7,
        "shop",
        lambda _: True,
        Times(0, 0),
    )
    (view,) = done.views
    assert done.as_of == {view: expected}
    assert done.views[view] == TableRef(7, "shop", "events")


@pytest.mark.parametrize(
    "clause",
    [
        "FOR VERSION AS OF 'x'",
        "FOR VERSION AS OF 99999999999999999999",
        "FOR VERSION AS OF (SELECT 1)",
        "FOR VERSION AS OF -1",
        "FOR TIMESTAMP AS OF now()",
        "FOR TIMESTAMP AS OF TIMESTAMP 'yesterday'",
    ],
)
def test_other_forms_are_refused(clause: str) -> None:
    with pytest.raises(InvalidInput):
        compiled(f"SELECT n FROM events {clause}")  # noqa: S608 (the cases above)


def test_versions_are_read_side_by_side(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with table_rig(tmp_path) as rig:
            rig.put('{"n":1}')
            first = rig.warehouse.snapshot(rig.ref())
            assert first is not None
            between = datetime.now(UTC).timestamp() + 1
            await asyncio.sleep(2.1)  # AS OF names whole seconds, and commits carry the system's time
            rig.put('{"n":2,"late":"x"}')
            await rig.job("DELETE FROM events WHERE n = 1")
            sql = f"SELECT n FROM shop.events FOR VERSION AS OF {first.version} WHERE shop.events.n > 0"  # noqa: S608 (a number)
            assert await rig.ask(sql) == [[1]]
            moment = datetime.fromtimestamp(between, UTC).strftime("%Y-%m-%d %H:%M:%S")
            assert await rig.ask(f"SELECT * FROM events FOR TIMESTAMP AS OF TIMESTAMP '{moment}'") == [  # noqa: S608 (a time)
                [1_800_000_000, 1]
            ]
            both = f"""SELECT a.n, b.n FROM events FOR VERSION AS OF {first.version} a CROSS JOIN events b"""  # noqa: S608 (a number)
            assert await rig.ask(both) == [[1, 2]]
            for sql, error in [
                ("SELECT * FROM events FOR VERSION AS OF 99", NotFound),
                ("SELECT * FROM events FOR TIMESTAMP AS OF TIMESTAMP '2001-01-01 00:00:00'", NotFound),
                ("SELECT * FROM other FOR VERSION AS OF 1", NotFound),
                ("SELECT * FROM (SELECT 1) FOR VERSION AS OF 1", UserError),
            ]:
                with pytest.raises(error):
                    await rig.ask(sql)
            with pytest.raises((Forbidden, InvalidInput)):
                await rig.job("DELETE FROM events FOR VERSION AS OF 1 WHERE n = 1")

    asyncio.run(scenario())
