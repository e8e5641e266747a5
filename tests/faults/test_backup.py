"""A backup of a server under load, restored elsewhere: whole, sound, exactly once, and another writer.

With every kind of database and store on both sides, also another kind than the backup was made of.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import threading
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from addon.bootstrap import Addon, initialise, open_database
from addon.settings import Settings, settings_from
from addon.store.accounts import AccountStore
from addon.store.catalog import SqlCatalog
from addon.store.database import Database
from addon.store.nodes import NodeStore
from addon.upkeep import __main__ as commands
from addon.upkeep.backup import back_up
from addon.upkeep.place import Place
from addon.upkeep.restore import copy_back, find
from addon.warehouse.objects.local import LocalObjects
from addon.warehouse.store import DeltaWarehouse
from addon.warehouse.view import view_sql
from platform_core.base.clock import SystemClock
from platform_core.base.errors import Conflict, InvalidInput
from tests.faults import durable_home
from tests.faults.crash_cycles import REF, batch
from tests.faults.live_addon import LiveAddon, gzipped
from tests.object_servers import ObjectServer, moto
from tests.ports import free_base

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import httpx

ROWS = 10


Environment = dict[str, str]


class Places:
    """Makes databases and stores, all new, and says how the program is told of them."""

    def __init__(self, request: pytest.FixtureRequest, tmp_path: Path) -> None:
        self._request = request
        self._folder = tmp_path
        self._made = 0

    def environment(self, *kinds: str) -> Environment:
        """Return the settings of a new installation: "postgres", "s3" and "shared" as wanted."""
        self._made += 1
        found: Environment = {}
        if "postgres" in kinds:
            server = self._request.getfixturevalue("postgres_server")
            found["SLUICE_ADDON_DATABASE_URL"] = server.create(f"{self._folder.name}-{self._made}")
        if "s3" in kinds:
            server = self._request.getfixturevalue("object_server")
            found |= {
                "SLUICE_ADDON_STORE_URL": f"s3://warehouse/{self._folder.name}-{self._made}",
                "SLUICE_ADDON_STORE_ENDPOINT": server.url,
                "SLUICE_ADDON_STORE_REGION": "us-east-1",
                "SLUICE_ADDON_STORE_ACCESS_KEY": "test",
                "SLUICE_ADDON_STORE_SECRET_KEY": "testtest",
                "SLUICE_ADDON_STORE_ALLOW_HTTP": "true",
            }
        if "shared" in kinds:
            shared = self._folder / f"shared-{self._made}"
            shared.mkdir()
            found["SLUICE_ADDON_SHARED_FOLDER"] = str(shared)
        return found


@pytest.fixture(scope="module")
def object_server() -> Iterator[ObjectServer]:
    with moto(free_base()) as server:
        yield server


@pytest.fixture
def places(request: pytest.FixtureRequest, tmp_path: Path) -> Places:
    return Places(request, tmp_path)


@dataclass
class Done:
    """What a command said."""

    status: int
    out: str
    err: str


def upkeep(environment: Environment, *arguments: str) -> Done:
    """Run an operator's command as the program does, in this process: a new one takes seconds to import."""
    out, err = StringIO(), StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(commands, "configure_logs", lambda: None)
        for name, value in environment.items():
            patch.setenv(name, value)
        status = commands.main(arguments)
    return Done(status, out.getvalue(), err.getvalue())


def fsck(environment: Environment, home: Path) -> tuple[int, dict[str, Any]]:
    done = upkeep(environment, "fsck", "--home", str(home), "--json")
    return done.status, json.loads(done.out)


@dataclass
class Sender:
    """Imports numbered batches until told to stop; ``acked`` says how many were acknowledged in order."""

    client: httpx.Client
    stop: threading.Event = field(default_factory=threading.Event)
    acked: int = 0

    def send(self, number: int) -> None:
        rows = [{"id": f"{number}/{n}", "time": 1_700_000_000 + n} for n in range(ROWS)]
        path = f"/v3/table/import_with_id/shop/events/b{number}/msgpack.gz"
        self.client.put(path, content=gzipped(rows)).raise_for_status()

    def run(self) -> None:
        while not self.stop.is_set():
            self.send(self.acked)
            self.acked += 1
            self.stop.wait(0.05)  # the load: a dozen batches a second


def found(addon: LiveAddon) -> tuple[int, int]:
    (row,) = addon.query("select count(*), count(distinct id) from events", "shop")
    return int(row[0]), int(row[1])


def back_up_under_load(addon: LiveAddon, backups: Path) -> tuple[int, int]:
    """Make two backups while a sender works; return its acks before the second one, and at the end."""
    with addon.http() as client:
        sender = Sender(client)
        thread = threading.Thread(target=sender.run)
        thread.start()
        try:
            for number in range(1, 3):
                while sender.acked < 10 * number:
                    sender.stop.wait(0.002)
                before = sender.acked
                done = upkeep(addon.environment, "backup", "--home", str(addon.home), str(backups))
                assert done.status == 0, done.err
                status, report = fsck(addon.environment, addon.home)
                assert status == 0, report
        finally:
            sender.stop.set()
            thread.join()
    return before, sender.acked


def slow(*kinds: Sequence[str]) -> Any:
    return pytest.param(*kinds, marks=pytest.mark.slow, id="-to-".join("+".join(kind) for kind in kinds))


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("kind", "other_kind"),
    [
        pytest.param((), (), id="home-to-home"),
        slow(("postgres",), ("postgres",)),
        slow(("s3",), ("s3",)),
        slow(("postgres", "s3"), ("postgres", "s3")),
        slow(("postgres", "shared"), ("postgres", "shared")),
        slow(("postgres", "s3"), ("home",)),
        slow(("home",), ("postgres", "s3")),
    ],
)
def test_a_backup_under_load_is_restored_whole_and_exactly_once(
    places: Places, kind: Sequence[str], other_kind: Sequence[str], tmp_path: Path
) -> None:
    backups = tmp_path / "backups"
    addon = LiveAddon(tmp_path / "home", **places.environment(*kind)).start()
    try:
        addon.make_table("shop", "events")
        before, acked = back_up_under_load(addon, backups)
        writer = json.loads((addon.home / "addon" / "wal" / "writer.json").read_bytes())["name"]
        addon.kill()  # what is restored from was made while it lived

        other, environment = tmp_path / "other", places.environment(*other_kind)
        done = upkeep(environment, "restore", "--home", str(other), str(backups))
        assert done.status == 0, done.out + done.err
        assert "sound" in done.out
        assert not list((find(backups) / "addon").glob("object-cache*"))
        again = LiveAddon(other, **environment).start()
        try:
            rows, ids = found(again)
            assert rows == ids
            assert before * ROWS <= rows <= acked * ROWS
            assert not rows % ROWS
            with again.http() as client:
                for number in range(acked):  # whatever the backup has of them counts once
                    Sender(client).send(number)
            assert found(again) == (acked * ROWS, acked * ROWS)
        finally:
            assert again.stop() == 0
    finally:
        addon.kill()
    assert json.loads((other / "addon" / "wal" / "writer.json").read_bytes())["name"] != writer
    assert fsck(environment, other)[1]["looked_at"]["rows"] == acked * ROWS
    print(f"2 backups under load, {acked} acked, 0 lost, 0 doubled")  # noqa: T201 - the result


async def ingested(settings: Settings, names: Sequence[str]) -> list[str]:
    """Send batches of those names to an installation that is not served, return the ids of all rows."""
    async with Addon(settings).ingesting() as (service, warehouse):
        for name in names:
            await service.append(batch(name))
        await service.flush(REF.account_id)
        snapshot = warehouse.snapshot(REF)
        assert snapshot is not None
        with warehouse.reading() as lease:
            lease.fetch(list(snapshot.files))
            sql = view_sql(snapshot, [str(path) for path in snapshot.files])
            with duckdb.connect(config={"threads": 1}) as connection:
                return [row[0] for row in connection.execute(f"select id from ({sql})").fetchall()]  # noqa: S608 - our own view


def made(places: Places, monkeypatch: pytest.MonkeyPatch, home: Path, *kinds: str) -> Settings:
    """Return the settings of a new place for an installation."""
    for name, value in places.environment(*kinds).items():
        monkeypatch.setenv(name, value)
    return settings_from({"home": home})


def test_a_database_server_and_an_object_store_are_backed_up_and_restored(
    places: Places, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    backups = tmp_path / "backups"
    first = made(places, monkeypatch, tmp_path / "home", "postgres", "s3")
    initialise(first, None)
    database = open_database(first)
    accounts = AccountStore(database, SystemClock())
    while (
        accounts.ensure_local(secrets.token_hex(4), "premium", secrets.token_hex(32))[0].id < REF.account_id
    ):
        pass
    SqlCatalog(database, SystemClock()).ensure_table(REF)
    NodeStore(database, SystemClock()).beat("another", "http://127.0.0.1:1", frozenset({"ingest"}), "x", {})
    database.close()
    assert len(asyncio.run(ingested(first, ["a", "b"]))) == 2 * ROWS
    done = upkeep({}, "backup", "--home", str(first.home), str(backups))
    assert done.status == 0, done.err
    assert f"1 tables, {2 * ROWS} rows, 0 data files linked" in done.out
    assert "not in it: what http://127.0.0.1:1 (another) has acknowledged" in done.out

    refused = upkeep({}, "restore", "--home", str(tmp_path / "new"), str(backups))
    assert (refused.status, "is not empty" in refused.err) == (1, True)
    assert not (tmp_path / "new").exists()

    second = made(places, monkeypatch, tmp_path / "new", "postgres", "s3")
    done = upkeep({}, "restore", "--home", str(second.home), str(backups))
    assert done.status == 0, done.out + done.err
    assert not (second.folder / "addon.db").exists()
    assert not (second.folder / "warehouse").exists()
    database = open_database(second)
    assert NodeStore(database, SystemClock()).all() == []  # nodes are not data
    database.close()
    ids = asyncio.run(ingested(second, ["b", "c", "a"]))
    assert len(ids) == len(set(ids)) == 3 * ROWS


async def one_batch(home: Path) -> None:
    async with durable_home.opened(home) as parts:
        await parts.service.append(batch("a-1"))
        await parts.service.flush(REF.account_id)


def test_a_restore_refuses_a_full_home_and_a_damaged_backup(tmp_path: Path) -> None:
    home, backups = tmp_path / "home" / "addon", tmp_path / "backups"
    durable_home.make(home)
    asyncio.run(one_batch(home))
    database = Database(f"sqlite:///{home / 'addon.db'}")
    place = Place(home.parent, home, database, LocalObjects(home / "warehouse"))
    done = [back_up(place, backups) for _ in range(2)]
    database.close()
    assert [one.rows() for one in done] == [ROWS, ROWS]
    assert (done[1].linked, done[1].copied) == (1, 0)
    assert find(backups) == done[1].folder
    with pytest.raises(Conflict, match="is not empty"):
        copy_back(backups, home.parent)
    saved = done[1].folder / "addon" / "addon.db"
    saved.write_bytes(saved.read_bytes()[:-1])
    with pytest.raises(InvalidInput, match=r"addon\.db is not what it was"):
        copy_back(backups, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    copy_back(done[0].folder, tmp_path / "new")
    assert len(durable_home.ids(DeltaWarehouse(tmp_path / "new" / "addon" / "warehouse"))) == ROWS
