"""Slugs are deterministic and bounded; sources are unpacked within quotas."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from platform_core.base.errors import InvalidInput, TooLarge
from platform_core.build import source
from platform_core.build.slug import SlugStore
from platform_core.build.source import checkout

if TYPE_CHECKING:
    from pathlib import Path

ENV = {"PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1", "HOME": "/nonexistent"}


def fill(folder: Path, names: list[str]) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (folder / "run").write_text("#!/bin/sh\n")
    (folder / "run").chmod(0o700)
    (folder / "link").symlink_to("/usr/bin/python3")
    return folder


def test_the_same_files_are_the_same_slug_whatever_their_times_and_order(tmp_path: Path) -> None:
    names = ["b/2", "a", "b/1", "c/d/e"]
    first = fill(tmp_path / "one", names)
    second = fill(tmp_path / "two", names[::-1])
    os.utime(second / "a", (1, 1))
    os.mkfifo(second / "pipe")
    store = SlugStore(tmp_path / "slugs")
    sha256, size = store.pack(first)
    assert store.pack(second) == (sha256, size)
    raw = store.path(sha256).read_bytes()
    assert hashlib.sha256(raw).hexdigest() == sha256
    assert len(raw) == size
    (second / "a").write_text("other")
    assert store.pack(second)[0] != sha256
    store.delete(sha256)
    store.delete(sha256)
    assert not store.path(sha256).exists()


def test_a_slug_over_the_limit_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    app = fill(tmp_path / "app", ["a"])
    (app / "noise").write_bytes(os.urandom(200_000))
    store = SlugStore(tmp_path / "slugs", max_bytes=100_000)
    with pytest.raises(TooLarge, match="slugignore"):
        store.pack(app)
    assert list((tmp_path / "slugs").iterdir()) == []


def unpack(repo: Any, commit: str, target: Path) -> list[str]:
    target.mkdir()
    return asyncio.run(checkout(repo.folder / ".git", commit, ENV, target))


def test_a_commit_is_unpacked_without_what_does_not_belong(repo: Any, tmp_path: Path) -> None:
    files = {"a.py": "x", "log/l": "", "tmp/t": "", ".gitmodules": "", "docs/x.md": "", "lib/docs/y": ""}
    commit = repo.commit({**files, ".slugignore": "# no\n/docs\n../evil\n"})
    assert unpack(repo, commit, tmp_path / "out") == ["docs"]
    found = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*")}
    assert found == {"a.py", "lib", "lib/docs", "lib/docs/y"}


def test_a_bad_pattern_is_named(repo: Any, tmp_path: Path) -> None:
    commit = repo.commit({"a": "", ".slugignore": "**a\n"})
    with pytest.raises(InvalidInput, match=r'slugignore: "\*\*/\*\*a" is not a pattern'):
        unpack(repo, commit, tmp_path / "out")


def test_a_link_that_leads_outside_is_refused(repo: Any, tmp_path: Path) -> None:
    (repo.folder / "evil").symlink_to("/etc")
    commit = repo.commit({"a": ""})
    with pytest.raises(InvalidInput, match="cannot be unpacked"):
        unpack(repo, commit, tmp_path / "out")


@pytest.mark.parametrize(
    "case",
    [("MAX_FILES", 3, "more than 3 files"), ("MAX_BYTES", 5, "before the build"), ("MAX_DEPTH", 2, "deep")],
)
def test_quotas_hold(
    repo: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: tuple[str, int, str]
) -> None:
    limit, value, message = case
    commit = repo.commit({"a/b/c": "123", "d": "456", "e": "789"})
    monkeypatch.setattr(source, limit, value)
    with pytest.raises(TooLarge, match=message):
        unpack(repo, commit, tmp_path / "out")


@pytest.mark.parametrize("commit", ["--output=/tmp/x", "HEAD", "", "0" * 39])
def test_only_a_commit_is_a_commit(repo: Any, tmp_path: Path, commit: str) -> None:
    repo.commit({"a": ""})
    with pytest.raises(InvalidInput):
        unpack(repo, commit, tmp_path / "out")


def test_an_unknown_commit_says_what_git_says(repo: Any, tmp_path: Path) -> None:
    repo.commit({"a": ""})
    with pytest.raises(InvalidInput, match="0123"):
        unpack(repo, "0123" * 10, tmp_path / "out")


def test_git_is_told_not_to_read_any_configuration(tmp_path: Path) -> None:
    from platform_core.build.repos import Repositories  # noqa: PLC0415

    repos = Repositories(tmp_path, tmp_path / "hook.py")
    app_id = "3f1c2b7a-8d7e-4b59-9c55-0d6b5a3f2e11"
    path = asyncio.run(repos.ensure(app_id))
    assert asyncio.run(repos.ensure(app_id)) == path
    listed = subprocess.run(
        ["git", f"--git-dir={path}", "config", "--list"],
        env=repos.git_env(),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "receive.fsckobjects=true" in listed
    assert f"core.hookspath={tmp_path / 'hooks'}" in listed
    asyncio.run(repos.delete(app_id))
    assert not path.exists()
    with pytest.raises(InvalidInput):
        repos.path("../../etc")
