"""The home folder of an installation: where everything is, and who may read it."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from addon.cli.failures import Exit, Failure
from platform_core.base.ids import new_uuid

if TYPE_CHECKING:
    from collections.abc import Iterator

_PRIVATE_FILE, _PRIVATE_FOLDER = 0o600, 0o700
_LEAST_ROOM_BYTES = 16 << 20
OWNER_EMAIL = "owner@localhost"


def default_home() -> Path:
    """Return ``$SLUICE_HOME``, or ``~/.sluice``."""
    return Path(os.environ.get("SLUICE_HOME") or Path.home() / ".sluice")


@dataclass(frozen=True, slots=True)
class Home:
    """The folder ``root`` and the names in it."""

    root: Path

    @property
    def env_sh(self) -> Path:
        """The recipe for clients; written only when everything is ready."""
        return self.root / "env.sh"

    @property
    def owner_key_file(self) -> Path:
        """The platform owner's API key."""
        return self.root / "owner.key"

    @property
    def manifests(self) -> Path:
        """The folder of add-on manifests that the platform reads."""
        return self.root / "manifests"

    @property
    def tls(self) -> Path:
        """The local certificate authority and the certificate of both TLS listeners."""
        return self.root / "tls"

    @property
    def logs(self) -> Path:
        """What the programs say of themselves."""
        return self.root / "logs"

    def prepare(self) -> None:
        """Make the folders, readable by their owner only.

        Raises:
            Failure: they cannot be made, or the disk is full.
        """
        try:
            for folder in (self.root, self.manifests, self.tls, self.logs):
                folder.mkdir(parents=True, exist_ok=True)
                folder.chmod(_PRIVATE_FOLDER)
        except OSError as error:
            what = f"Cannot use {self.root} as the home folder"
            raise Failure(what, str(error), "Give a folder you may write to: sluice up --home DIR") from error
        free = shutil.disk_usage(self.root).free
        if free < _LEAST_ROOM_BYTES:
            what = f"There is no room in {self.root}"
            why = f"{free >> 20} MiB are free, {_LEAST_ROOM_BYTES >> 20} are needed to start at all"
            raise Failure(
                what, why, "Free some space, or give a folder on another disk: sluice up --home DIR"
            )

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep every other ``sluice up`` out of this home while the block runs.

        Raises:
            Failure: one is in it.
        """
        with (self.root / "up.lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                file.seek(0)
                why = f"another `sluice up` (process {file.read().strip() or 'unknown'}) runs with it"
                advice = "Stop that one first, or give another folder: sluice up --home DIR"
                raise Failure(f"{self.root} is in use", why, advice, Exit.CONFLICT) from error
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
            yield

    def owner_key(self) -> str:
        """Return the owner's API key, made on first use."""
        if not self.owner_key_file.exists():
            write_private(self.owner_key_file, f"HRKU-{new_uuid()}\n")
        return self.owner_key_file.read_text().strip()

    def recipe(self) -> str:
        """Return the text of ``env.sh``.

        Raises:
            Failure: nothing runs with this home.
        """
        try:
            return self.env_sh.read_text()
        except OSError as error:
            raise Failure(
                f"No recipe in {self.root}",
                "nothing runs with this home folder; the recipe is written when `sluice up` is ready",
                f"Run: sluice up --home {self.root}",
                Exit.NOT_FOUND,
            ) from error


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE_FILE), "w") as file:
        file.write(text)
    part.replace(path)


def open_private(path: Path) -> IO[bytes]:
    """Open a file to append to, made for its owner's eyes only; unbuffered."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, _PRIVATE_FILE), "ab", buffering=0)


def write_private_json(path: Path, value: Any) -> None:
    """Write ``value`` as JSON for the owner's eyes only."""
    write_private(path, json.dumps(value, indent=2) + "\n")
