"""Misfits on their way through the service: counted by column, once for what lands, also over a crash."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from addon.models.ingest import Batch, BodyKind
from addon.store.catalog import SqlCatalog
from addon.store.database import Database
from platform_core.base import failpoints
from platform_core.base.clock import SystemClock
from platform_core.base.errors import Unavailable

FIRST = '{"n":1,"s":"x"}\n{"n":2}\n'
DRIFTED = '{"n":"two","s":1}\n{"n":{},"N":3}\n{"n":3,"n":4}\n{"n":1.5,"new":true}\n'


def batch(body: str) -> Batch:
    return Batch(BodyKind.NDJSON, 1, "shop", "events", body.encode(), 1000.5)


def on_sqlite(rig: Any) -> SqlCatalog:
    database = Database(f"sqlite:///{rig.home}/addon.db")
    database.migrate()
    rig.catalog = SqlCatalog(database, SystemClock())
    return rig.catalog


@pytest.mark.parametrize("point", ["", "parquet.pre_fsync", "commit.pre", "commit.post", "catalog.write"])
def test_each_misfit_counts_once_wherever_the_flush_fails(rig: Any, point: str) -> None:
    catalog = on_sqlite(rig)

    async def main() -> None:
        ref = rig.table("shop", "events")
        service = rig.service(linger_s=60)
        await service.start()
        await service.append(batch(FIRST))
        await service.flush(1)
        await service.append(batch(DRIFTED))
        if point:
            failpoints.arm(f"{point}:error@1")
            with pytest.raises(Unavailable):
                await service.flush(1)
            failpoints.arm("")
        await service.flush(1)
        await service.close()
        found = catalog.drift(ref)
        assert {name: one.misfits for name, one in found.items() if one.misfits} == {
            "n": 2,
            "_overflow": 1,
            "_duplicates": 1,
        }
        assert [kind for kind, _ in found["n"].types] == ["long", "double"]
        assert [kind for kind, _ in found["new"].types] == ["boolean"]
        assert catalog.table(ref).rows == 6

    try:
        asyncio.run(main())
    finally:
        failpoints.arm("")
