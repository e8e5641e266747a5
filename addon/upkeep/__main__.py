"""``python -m addon.upkeep fsck|backup|restore|replay|forget-node|usage``: the operator's commands."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from addon.bootstrap import Addon, open_database
from addon.fleet.assembly import NODE
from addon.fleet.membership import identity
from addon.settings import Settings, settings_from
from addon.store.catalog import SqlCatalog
from addon.store.meters import MeterStore
from addon.store.nodes import NodeStore
from addon.store.transfer import free_uploads, is_empty, load
from addon.upkeep.backup import back_up
from addon.upkeep.delta_replay import replay as replay_log
from addon.upkeep.fsck import fsck
from addon.upkeep.nodes import forget_node, not_in_backup
from addon.upkeep.place import Place
from addon.upkeep.replay import Replay
from addon.upkeep.restore import Restored, become_another, copy_back, logged, upload_tables
from addon.upkeep.usage import used, write_usage
from addon.warehouse.objects.local import LocalObjects
from addon.warehouse.objects.opened import open_objects
from addon.warehouse.objects.s3 import S3Objects
from platform_core.base.clock import SystemClock
from platform_core.base.errors import Conflict, InvalidInput, NotFound, SluiceError
from platform_core.base.logs import configure_logs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from addon.models.objects import ObjectStore
    from addon.upkeep.findings import Report


@contextmanager
def _opened(settings: Settings) -> Iterator[Place]:
    """Open a home that is there.

    Raises:
        NotFound: nothing was ever set up in it.
    """
    if not (settings.folder / "credentials.json").exists():
        raise NotFound(f"There is no installation in {settings.home}.", hint="Give its folder with --home.")
    database = open_database(settings)
    try:
        with _objects(settings, settings.folder) as objects:
            yield Place(settings.home, settings.folder, database, objects)
    finally:
        database.close()


@contextmanager
def _objects(settings: Settings, folder: Path) -> Iterator[ObjectStore]:
    """Open the tables' store; a remote one's cache is below ``folder``, and left to others at the end."""
    objects = open_objects(settings.store(), folder)
    try:
        yield objects
    finally:
        if isinstance(objects, S3Objects):
            objects.close()


def _fsck(settings: Settings, options: argparse.Namespace) -> int:
    with _opened(settings) as place:
        report = fsck(place, quick=options.quick)
    print(json.dumps(report.as_json(), indent=1) if options.json else "\n".join(report.lines()))
    return 0 if report.sound else 1


def _backup(settings: Settings, options: argparse.Namespace) -> int:
    with _opened(settings) as place:
        done = back_up(place, options.folder)
        lacking: list[str] = []
        if place.database.shared:
            nodes = NodeStore(place.database, SystemClock())
            lacking = not_in_backup(nodes, identity(settings.folder / NODE))
    print(
        f"{done.folder}: {len(done.tables)} tables, {done.rows()} rows, {done.linked} data files linked, "
        f"{done.copied} copied, {done.batches} batches in the log"
    )
    if lacking:
        print("\n".join(lacking))
    for prefix in done.skipped:
        print(f"left out, dropped meanwhile: {prefix}")
    return 0


def _restore(settings: Settings, options: argparse.Namespace) -> int:
    _require_empty(settings)
    restored = copy_back(options.backup, settings.home)
    try:
        report = _completed(settings, restored)
    except BaseException:
        sys.stderr.write(f"unfinished: empty {settings.home}, the store and the database, restore again\n")
        raise
    print("\n".join(report.lines()))
    return 0 if report.sound else 1


def _completed(settings: Settings, restored: Restored) -> Report:
    """Bring what was copied to where the settings want it, and make it an installation of its own."""
    folder = settings.folder
    with _objects(settings, folder) as objects:
        if not _is_own(objects, settings):
            upload_tables(folder / "warehouse", objects)
    _settle_database(settings)
    asyncio.run(_drain(settings))
    writer = become_another(folder / "wal")
    with _opened(settings) as place:
        report = fsck(place)
        _compare(place, restored, report.looked_at.get("rows", 0))
    print(f"restored {restored.source} into {settings.home}, from now on as the writer {writer}")
    return report


def _is_own(objects: ObjectStore, settings: Settings) -> bool:
    """Tell whether the tables are where a backup has them: in the home folder."""
    return isinstance(objects, LocalObjects) and objects.root == settings.folder / "warehouse"


def _require_empty(settings: Settings) -> None:
    """Look at a store and a database of their own before anything is copied.

    Raises:
        Conflict: one of them holds something.
    """
    with TemporaryDirectory(prefix="sluice-restore-") as cache, _objects(settings, Path(cache)) as objects:
        if any(True for _ in objects.list("")):
            hint = "Restore into a new bucket, prefix or folder."
            raise Conflict("The object store is not empty.", hint=hint)
    if settings.database_url is None:
        return
    database = open_database(settings)
    try:
        if not is_empty(database):
            raise Conflict("The database is not empty.", hint="Restore into a new one.")
    finally:
        database.close()


def _settle_database(settings: Settings) -> None:
    """Move the copied database to where the settings want it; upload ids as that kind of it has them."""
    copied = settings.folder / "addon.db"
    database = open_database(settings)
    try:
        if settings.database_url is not None:
            load(copied, database)
            copied.unlink()
        if not database.shared:
            free_uploads(database, logged(settings.folder / "wal"))
    finally:
        database.close()


async def _drain(settings: Settings) -> None:
    """Flush the restored log under its old identity: only that knows what was committed of it."""
    async with Addon(settings).ingesting():
        pass


def _compare(place: Place, restored: Restored, rows: int) -> None:
    """Raise when a table has fewer rows than when the backup was made."""
    for prefix, told in restored.manifest["tables"].items():
        found = replay_log(place.objects, prefix).rows
        if found < told["rows"]:
            raise InvalidInput(
                f"{prefix} has {found} of {told['rows']} rows.", hint="Do not use it; try another backup."
            )
    print(
        f"rows: {rows}, of which {sum(t['rows'] for t in restored.manifest['tables'].values())} in the tables"
    )


def _replay(settings: Settings, options: argparse.Namespace) -> int:
    with _opened(settings) as place:
        refs = list(SqlCatalog(place.database, SystemClock()).row_counts())
    done = asyncio.run(_replayed(settings, {ref.account_id for ref in refs}, letters=options.dead_letters))
    print(json.dumps({name: asdict(one) for name, one in done.items()}, indent=1))
    return 1 if any(one.refused for one in done.values()) else 0


async def _replayed(settings: Settings, account_ids: set[int], *, letters: bool) -> dict[str, Any]:
    """Replay by way of a log of its own: the service on this home may run, and has locked its own."""
    aside = settings.folder / "replay"
    aside.mkdir(exist_ok=True, mode=0o700)
    database = open_database(settings)
    try:
        async with Addon(settings, aside=aside).ingesting() as (service, warehouse):
            again = Replay(service, warehouse, SqlCatalog(database, SystemClock()))
            wal = settings.folder / "wal"
            identity = json.loads(await asyncio.to_thread((wal / "writer.json").read_bytes))
            done = {"quarantine": await again.quarantine(wal / "quarantine", int(identity["key"]))}
            if letters:
                done["dead_letters"] = await again.dead_letters(sorted(account_ids))
            return done
    finally:
        database.close()


def _forget_node(settings: Settings, options: argparse.Namespace) -> int:
    with _opened(settings) as place:
        if not place.database.shared:
            raise InvalidInput(
                "This home has no fleet: its database is its own.",
                hint="Set SLUICE_ADDON_DATABASE_URL as for the nodes.",
            )
        print("\n".join(forget_node(NodeStore(place.database, SystemClock()), options.node)))
    return 0


def _usage(settings: Settings, options: argparse.Namespace) -> int:
    given = {"zone": options.zone, "from": options.first, "through": options.through}
    params = {name: value for name, value in given.items() if value is not None}
    with _opened(settings) as place:
        rows = used(MeterStore(place.database, SystemClock()), params, options.account)
    write_usage(rows, "json" if options.json else "csv" if options.csv else "tsv", sys.stdout)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m addon.upkeep", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("fsck", help="check log, tables, files and database; exit 1 on an error")
    check.add_argument("--quick", action="store_true", help="do not read the data files")
    check.add_argument("--json", action="store_true", help="print JSON")
    check.set_defaults(run=_fsck)
    save = commands.add_parser("backup", help="make a backup, also while the service runs")
    save.add_argument("folder", type=Path, metavar="DIR")
    save.set_defaults(run=_backup)
    restore = commands.add_parser("restore", help="restore a backup into an empty home")
    restore.add_argument("backup", type=Path, metavar="BACKUP")
    restore.set_defaults(run=_restore)
    replay = commands.add_parser("replay", help="send what was put aside again, also while the service runs")
    replay.add_argument("--dead-letters", action="store_true", help="the dead letters too")
    replay.set_defaults(run=_replay)
    forget = commands.add_parser("forget-node", help="forget a node of the fleet that does not come back")
    forget.add_argument("node", metavar="ID", help="its id, the beginning of it, or its URL")
    forget.set_defaults(run=_forget_node)
    usage = commands.add_parser("usage", help="what every account used, by day and table")
    usage.add_argument("--account", type=int, metavar="ID", help="of this one only")
    usage.add_argument("--from", dest="first", metavar="DAY", help="the first day")
    usage.add_argument("--through", metavar="DAY", help="the last day, included")
    usage.add_argument("--zone", help="whose days they are; default UTC")
    usage.add_argument("--json", action="store_true", help="print JSON")
    usage.add_argument("--csv", action="store_true", help="print CSV")
    usage.set_defaults(run=_usage)
    for command in (check, save, restore, replay, forget, usage):
        command.add_argument("--home", type=Path, metavar="DIR", required=True)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 1 and one line on stderr for what can be mended."""
    options = _parser().parse_args(arguments)
    configure_logs()
    try:
        status: int = options.run(settings_from({"home": options.home}), options)
    except SluiceError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"error: {error}. Mend that, then run it again; nothing was changed half-way.\n")
        return 1
    return status


if __name__ == "__main__":
    sys.exit(main())
