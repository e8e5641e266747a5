"""The bare repositories that apps are pushed to, named by the app's id, so that a rename moves nothing."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from platform_core.base.errors import InvalidInput, Unavailable
from platform_core.base.ids import is_uuid

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MAX_PACK_BYTES = 1 << 30
_PATH = "/usr/local/bin:/usr/bin:/bin"


class Repositories:
    """Every app's repository."""

    def __init__(self, root: Path, hook: Path, *, max_pack_bytes: int = MAX_PACK_BYTES) -> None:
        """Keep repositories below ``root``; every push runs ``hook``, a Python file, as pre-receive."""
        self._repos = root / "repos"
        self._hooks = root / "hooks"
        self._max_pack_bytes = max_pack_bytes
        for folder in (self._repos, self._hooks):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        script = self._hooks / "pre-receive"
        script.write_text(f"#!/bin/sh\nexec {shlex.quote(sys.executable)} -I {shlex.quote(str(hook))}\n")
        script.chmod(0o700)

    @property
    def root(self) -> Path:
        """The folder that `git http-backend` serves."""
        return self._repos

    def path(self, app_id: str) -> Path:
        """Where an app's repository is.

        Raises:
            InvalidInput: the id is not one of ours, so it must not become a path.
        """
        if not is_uuid(app_id):
            raise InvalidInput("That is not an app's id.")
        return self._repos / f"{app_id}.git"

    async def ensure(self, app_id: str) -> Path:
        """Return an app's repository, made now if it is not there."""
        path = self.path(app_id)
        if not (path / "HEAD").is_file():
            await asyncio.to_thread(self._create, path)
        return path

    def _create(self, path: Path) -> None:
        argv = ["git", "init", "--quiet", "--bare", "--template=", "--initial-branch=main", str(path)]
        made = subprocess.run(argv, env=self.git_env(), capture_output=True, check=False)
        if made.returncode != 0:
            raise Unavailable(f"The repository cannot be made: {made.stderr.decode('utf-8', 'replace')}")

    async def current(self, repo: Path, ref: str) -> str | None:
        """Return the commit that ``ref`` points at, None when there is no such ref."""
        argv = ["git", "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}"]
        process = await asyncio.create_subprocess_exec(
            *argv, cwd=repo, env=self.git_env(), stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
        return out.decode().strip() or None

    async def delete(self, app_id: str) -> None:
        """Remove an app's repository; no error when there is none."""
        await asyncio.to_thread(shutil.rmtree, self.path(app_id), ignore_errors=True)

    def git_env(self) -> dict[str, str]:
        """Return the whole environment in which git runs: our settings win over a repository's own."""
        return {
            "PATH": _PATH,
            "HOME": "/nonexistent",
            "LANG": "C.UTF-8",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_TERMINAL_PROMPT": "0",
            **_as_environment(
                {
                    "http.receivepack": "true",
                    "receive.fsckObjects": "true",
                    "transfer.fsckObjects": "true",
                    "receive.maxInputSize": str(self._max_pack_bytes),
                    "receive.advertisePushOptions": "true",
                    "receive.autogc": "false",
                    "core.hooksPath": str(self._hooks),
                    "protocol.allow": "never",
                    "safe.directory": "*",
                }
            ),
        }


def _as_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Write git settings the way that overrides every configuration file."""
    env = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (key, value) in enumerate(settings.items()):
        env[f"GIT_CONFIG_KEY_{number}"] = key
        env[f"GIT_CONFIG_VALUE_{number}"] = value
    return env
