"""Choosing an interpreter, and what a build finds in its environment."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from platform_core.build.buildpacks.base import BuildContext, BuildFailed
from platform_core.build.buildpacks.python import (
    Interpreter,
    PythonBuildpack,
    find_interpreters,
    read_version,
)
from platform_core.build.environment import build_env, host_binds
from platform_core.build.output import BuildOutput

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TWO = [Interpreter(Path("/usr/bin/python3.13"), 13), Interpreter(Path("/usr/bin/python3.11"), 11)]


class Recorder:
    """A step runner that notes what it was asked."""

    def __init__(self, code: int = 0) -> None:
        self.steps: list[Sequence[str]] = []
        self.code = code

    async def __call__(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> int:  # noqa: ARG002
        self.steps.append(argv)
        return self.code


def compile_app(app: Path, wanted: str | None, run: Recorder) -> list[str]:
    if wanted is not None:
        (app / ".python-version").write_text(wanted)
    said: list[str] = []
    context = BuildContext(app, "/app", "/cache", {"pip": "/build/pip"}, run, BuildOutput(said.append))
    asyncio.run(PythonBuildpack(TWO).compile(context))
    return said


@pytest.mark.parametrize(
    ("wanted", "minor"),
    [(None, 13), ("3.11", 11), ("3.11.2\n", 11), ("# why\n\npython-3.13\n", 13), ("3", 13)],
)
def test_the_version_file_chooses(tmp_path: Path, wanted: str | None, minor: int) -> None:
    run = Recorder()
    said = compile_app(tmp_path, wanted, run)
    assert f"-----> Using Python 3.{minor}" in said
    assert run.steps[0] == [f"/usr/bin/python3.{minor}", "-m", "venv", "--without-pip", "/app/.heroku/python"]
    assert "--cache-dir=/cache/pip" in run.steps[1]
    assert (tmp_path / ".profile.d" / "python.sh").read_text().startswith('export PATH="$HOME/.heroku')


@pytest.mark.parametrize(("wanted", "hint"), [("3.12", "3.13, 3.11"), ("2.7", "3.11"), ("pypy3", "3.11")])
def test_a_version_that_is_not_there_is_refused_with_what_is(tmp_path: Path, wanted: str, hint: str) -> None:
    with pytest.raises(BuildFailed) as caught:
        compile_app(tmp_path, wanted, Recorder())
    assert caught.value.hint is not None
    assert hint in caught.value.hint


def test_a_failing_tool_ends_the_build(tmp_path: Path) -> None:
    run = Recorder(code=3)
    with pytest.raises(BuildFailed, match="ended with code 3"):
        compile_app(tmp_path, None, run)
    assert len(run.steps) == 1


def test_a_profile_folder_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / ".profile.d").symlink_to(tmp_path)
    with pytest.raises(BuildFailed, match="not a folder"):
        compile_app(tmp_path / "app", None, Recorder())
    assert not (tmp_path / "python.sh").exists()


def test_only_interpreters_that_every_user_may_run_are_found(tmp_path: Path) -> None:
    for name, mode in (
        ("python3.9", 0o755),
        ("python3.12", 0o755),
        ("python3.14", 0o700),
        ("python3.11-config", 0o755),
    ):
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(mode)
    open_folder = tmp_path.stat().st_mode & 0o001
    for parent in tmp_path.parents:
        open_folder &= parent.stat().st_mode & 0o001
    found = [interpreter.minor for interpreter in find_interpreters([tmp_path / "none", tmp_path])]
    assert found == ([12, 9] if open_folder else [])


def test_a_strange_version_file_does_no_harm(tmp_path: Path) -> None:
    assert read_version(tmp_path) is None
    (tmp_path / ".python-version").write_bytes(b"\xff\xfe" * 10_000)
    assert read_version(tmp_path) is not None
    (tmp_path / ".python-version").write_text("\n#\n")
    assert read_version(tmp_path) is None


def test_the_environment_is_ours_where_it_matters(tmp_path: Path) -> None:
    host = {
        "PIP_FIND_LINKS": str(tmp_path),
        "SSL_CERT_FILE": "/etc/ssl/x",
        "AWS_SECRET": "no",
        "PIP_CERT": "/gone",
    }
    config = {"A": "1", "PATH": "/evil", "LD_PRELOAD": "x", "PIP_INDEX_URL": "http://evil/", "GIT_DIR": "y"}
    env = build_env(config, "/app", "/cache", "heroku-24", host)
    assert env["A"] == "1"
    assert env["PATH"].startswith("/usr/")
    assert env["HOME"] == "/app"
    assert env["PIP_FIND_LINKS"] == str(tmp_path)
    assert not {"LD_PRELOAD", "PIP_INDEX_URL", "GIT_DIR", "AWS_SECRET"} & set(env)
    targets = [bind.target for bind in host_binds(env, own_files=True, host=host)]
    assert str(tmp_path) in targets
    assert "/gone" not in targets
    assert ("PIP_CONFIG_FILE" in env) == os.path.isfile("/etc/pip.conf")  # noqa: PTH113
    assert host_binds(env, own_files=False, host=host) == []
