"""The pushed commit as files: `git archive`, unpacked within quotas, less what no slug needs."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from platform_core.base.archives import extract_member
from platform_core.base.errors import InvalidInput, TooLarge

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

MAX_BYTES = 1 << 30
MAX_FILES = 100_000
MAX_DEPTH = 100
_STRIPPED = (".git", ".gitmodules", ".slugignore", "log", "tmp")
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


async def checkout(repo: Path, commit: str, git_env: Mapping[str, str], target: Path) -> list[str]:
    """Unpack ``commit`` into ``target``; return the patterns of its ``.slugignore``, already applied.

    ``git_env`` carries the quarantine of a push that is not accepted yet.

    Raises:
        InvalidInput: git cannot read the commit, or a file would land outside.
        TooLarge: more bytes, files or folders than an app may have.
    """
    if not _COMMIT.fullmatch(commit):
        raise InvalidInput("That is not a commit.")
    await asyncio.to_thread(_unpack_commit, repo, commit, git_env, target)
    return await asyncio.to_thread(_strip, target)


def _unpack_commit(repo: Path, commit: str, git_env: Mapping[str, str], target: Path) -> None:
    argv = ["git", f"--git-dir={repo}", "archive", "--format=tar", commit]
    with subprocess.Popen(
        argv, env=dict(git_env), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as git:
        assert git.stdout is not None  # noqa: S101 - for the type checker: PIPE was asked for
        assert git.stderr is not None  # noqa: S101 - likewise
        try:
            with tarfile.open(fileobj=git.stdout, mode="r|") as archive:
                for member in _within_quota(archive):
                    extract_member(archive, member, target)
        except tarfile.TarError as error:
            git.kill()
            said = git.stderr.read(2_000).decode("utf-8", "replace").strip()
            raise InvalidInput(f"The commit cannot be unpacked: {said or error}.") from error
        except TooLarge:
            git.kill()
            raise


def _within_quota(members: Iterable[tarfile.TarInfo]) -> Iterator[tarfile.TarInfo]:
    size = 0
    hint = "Keep large and generated files out of the repository."
    for files, member in enumerate(members, 1):
        size += member.size
        if files > MAX_FILES:
            raise TooLarge(f"The app has more than {MAX_FILES} files.", hint=hint)
        if size > MAX_BYTES:
            raise TooLarge(f"The app is over {MAX_BYTES >> 20} MB before the build.", hint=hint)
        if len(PurePosixPath(member.name).parts) > MAX_DEPTH:
            raise TooLarge(f"The app's folders are more than {MAX_DEPTH} deep.", hint=hint)
        yield member


def _strip(root: Path) -> list[str]:
    patterns = _slugignore(root / ".slugignore")
    for name in _STRIPPED:
        _remove(root / name)
    for pattern in patterns:
        try:
            found = sorted(root.glob(pattern))
        except (ValueError, NotImplementedError) as error:
            hint = "Write patterns like docs, *.psd or assets/raw."
            raise InvalidInput(f'.slugignore: "{pattern}" is not a pattern.', hint=hint) from error
        for path in found:
            _remove(path)
    return patterns


def _slugignore(path: Path) -> list[str]:
    """Read the patterns; as on Heroku without negation. One without a slash counts in every folder."""
    if not path.is_file() or path.is_symlink():
        return []
    patterns = []
    for line in path.read_text("utf-8", "replace").splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith(("#", "!")) or ".." in PurePosixPath(pattern).parts:
            continue
        anchored = pattern.strip("/")
        if anchored:
            patterns.append(anchored if "/" in pattern.rstrip("/") else f"**/{anchored}")
    return patterns


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    elif os.path.lexists(path):
        path.unlink()
