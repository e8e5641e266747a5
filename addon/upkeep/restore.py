"""``sluice restore``: a backup into an empty home, as another writer, verified before anybody uses it."""

from __future__ import annotations

import json
import secrets
import shutil
from dataclasses import dataclass, field
from hashlib import file_digest
from typing import TYPE_CHECKING, Any

from addon.upkeep.backup import MANIFEST, VERSION, newest
from addon.upkeep.log_check import records_of
from addon.warehouse.folders import sync_file, sync_folder
from platform_core.base.errors import Conflict, InvalidInput, NotFound

if TYPE_CHECKING:
    from pathlib import Path

    from addon.models.objects import ObjectStore


@dataclass(slots=True)
class Restored:
    """What was restored: the backup's folder and its manifest."""

    source: Path
    manifest: dict[str, Any] = field(default_factory=dict)


def find(backup: Path) -> Path:
    """Return the backup at ``backup``: that folder, or the newest one in it.

    Raises:
        NotFound: there is none.
    """
    if (backup / MANIFEST).is_file():
        return backup
    found = newest(backup) if backup.is_dir() else None
    if found is None:
        raise NotFound(f"There is no backup in {backup}.", hint="Name the folder given to sluice backup.")
    return found


def copy_back(backup: Path, home: Path) -> Restored:
    """Check every file of a backup against its manifest and copy it into ``home``, durably.

    Raises:
        Conflict: the home is not empty.
        InvalidInput: the backup is damaged; nothing was copied.
        OSError: it cannot be written; what was begun is deleted.
    """
    source = find(backup)
    manifest = _checked(source)
    if home.exists() and any(home.iterdir()):
        raise Conflict(f"{home} is not empty.", hint="Restore into a new folder, then look at both.")
    try:
        _copy(source, home)
    except BaseException:
        shutil.rmtree(home, ignore_errors=True)
        raise
    return Restored(source, manifest)


def _copy(source: Path, home: Path) -> None:
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    shutil.copytree(source, home, dirs_exist_ok=True, ignore=shutil.ignore_patterns(MANIFEST))
    for path in home.rglob("*"):
        if path.is_dir():
            sync_folder(path)
        else:
            sync_file(path)
    sync_folder(home)
    sync_folder(home.parent)


def _checked(source: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((source / MANIFEST).read_bytes())
    if manifest.get("version") != VERSION:
        raise InvalidInput(
            f"The backup's version is {manifest.get('version')}, not {VERSION}.", hint="Use a newer Sluice."
        )
    for name, told in manifest["files"].items():
        path = source / name
        if not path.is_file() or path.stat().st_size != told["size"]:
            raise InvalidInput(f"The backup is damaged: {name} is not what it was.", hint="Use another one.")
        if "sha256" in told:
            with path.open("rb") as file:
                actual = file_digest(file, "sha256").hexdigest()
            if actual != told["sha256"]:
                raise InvalidInput(f"The backup is damaged: {name} has changed.", hint="Use another one.")
    return manifest


def upload_tables(folder: Path, objects: ObjectStore) -> int:
    """Move restored tables into an empty store that is not that folder; return how many objects."""
    moved = 0
    names = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in sorted(names, key=lambda path: path.parent.name == "_delta_log"):  # logs last
        key = str(path.relative_to(folder))
        if path.parent.name == "_delta_log":
            objects.put(key, path.read_bytes())
        else:
            draft = objects.scratch / f"restore-{moved}"
            shutil.move(path, draft)
            objects.put_file(key, draft)
        moved += 1
    shutil.rmtree(folder)
    return moved


def logged(wal: Path) -> list[str]:
    """Return the ids of the batches in a restored log."""
    if not (wal / "writer.json").exists():
        return []
    key = int(json.loads((wal / "writer.json").read_bytes())["key"])
    return [record.batch_id for path in wal.glob("*.wal") for record in records_of(path, key)]


def become_another(wal: Path) -> str:
    """Give a drained log a new identity, so that it can never be taken for the one it was copied from.

    Raises:
        Conflict: segments are left, which only the old identity can tell whether they were committed.
    """
    left = sorted(path.name for path in wal.glob("*.wal"))
    if left:
        raise Conflict(
            f"{len(left)} segments of the log could not be flushed, {left[0]} first.",
            hint="Start the service on this home: it goes on with them, and its log says what is wrong.",
        )
    path = wal / "writer.json"
    fields = json.loads(path.read_bytes()) if path.exists() else {"reserved": 1}
    fields |= {"name": f"sluice-{secrets.token_hex(8)}", "key": secrets.randbits(32) | 1}
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps(fields))
    draft.chmod(0o600)
    sync_file(draft)
    draft.replace(path)
    sync_folder(wal)
    return str(fields["name"])
