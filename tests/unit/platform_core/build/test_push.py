"""A real git pushes to the git host: what is built, what is said, what is rejected."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import tarfile
import time
from typing import TYPE_CHECKING, Any

import pytest
import zstandard

from platform_core.base.archives import extract_member

if TYPE_CHECKING:
    from pathlib import Path

APP = {
    "requirements.txt": "",
    "Procfile": "web: python app.py\nworker: python work.py\n",
    "app.py": "print(1)\n",
}


def unpacked(host: Any, sha256: str) -> bytes:
    return zstandard.ZstdDecompressor().stream_reader(host.slugs.path(sha256).read_bytes()).read()


def members(host: Any, sha256: str) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(unpacked(host, sha256))) as archive:
        return {member.name: member for member in archive.getmembers()}


def test_a_push_is_built_published_and_told_live(host: Any, repo: Any) -> None:
    ignored = {"tmp/x": "", "log/y": "", ".slugignore": "*.md\n!keep\n/docs\n", "README.md": "", "docs/a": ""}
    commit = repo.commit({**APP, **ignored, "src/inner.md": "", ".python-version": "3.11\n"})
    said = repo.push(f"{host.url}/shop.git")
    for line in (
        "remote: -----> Building on the heroku-24 stack",
        "remote: -----> Python app detected",
        "remote: -----> Using Python 3.11",
        "remote:        Procfile declares types -> web, worker",
        "remote:        (published)",
        "remote:        Released v3",
        "remote:        http://shop.example.com/ deployed to Sluice",
        "remote: Verifying deploy... done.",
    ):
        assert line in said, said
    assert host.announced == [
        (host.app.id, "Build started by user ada@example.com"),
        (host.app.id, "Build succeeded"),
    ]
    (result,) = host.published
    assert result.user_email == "ada@example.com"
    assert result.slug.commit == commit
    assert dict(result.slug.process_types) == {"web": "python app.py", "worker": "python work.py"}
    assert result.slug.app_id == host.app.id
    found = members(host, result.slug.sha256)
    assert {"app.py", "Procfile", ".profile.d/python.sh", ".heroku/python/bin/python"} <= set(found)
    assert not {"README.md", "src/inner.md", "docs", "tmp", "log", ".slugignore", ".git"} & set(found)
    assert {member.mtime for member in found.values()} == {0}
    assert host.slugs.path(result.slug.sha256).stat().st_size == result.slug.size


@pytest.mark.parametrize("host", [None, "process"], indirect=True)
def test_the_installed_packages_run_wherever_the_slug_is_mounted(
    host: Any, repo: Any, tmp_path: Path
) -> None:
    local = {
        "requirements.txt": "./greeter\n",
        "greeter/pyproject.toml": (
            '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
            '[project]\nname = "greeter"\nversion = "1"\n'
        ),
        "greeter/backend.py": BACKEND,
        "Procfile": "web: greet\n",
    }
    repo.commit(local)
    said = repo.push(f"{host.url}/shop.git")
    assert "Successfully installed greeter-1" in said
    (result,) = host.published
    target = tmp_path / "elsewhere"
    plain = (
        zstandard.ZstdDecompressor().stream_reader(host.slugs.path(result.slug.sha256).read_bytes()).read()
    )
    with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
        for member in archive:
            extract_member(archive, member, target, links_anywhere=True)
    script = f'export HOME={target}; for p in "$HOME"/.profile.d/*.sh; do . "$p"; done; cd /; greet'
    ran = subprocess.run(
        ["bash", "-c", script], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False
    )
    assert ran.stdout == f"hello from {target}/.heroku/python\n", ran.stderr


BACKEND = """
import zipfile, os
WHEEL = 'Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n'
def get_requires_for_build_wheel(config_settings=None): return []
def build_wheel(directory, config_settings=None, metadata_directory=None):
    name = 'greeter-1-py3-none-any.whl'
    info = 'greeter-1.dist-info/'
    with zipfile.ZipFile(os.path.join(directory, name), 'w') as wheel:
        wheel.writestr('greeter.py', 'import sys\\ndef main(): print("hello from", sys.prefix)\\n')
        wheel.writestr(info + 'METADATA', 'Metadata-Version: 2.1\\nName: greeter\\nVersion: 1\\n')
        wheel.writestr(info + 'WHEEL', WHEEL)
        wheel.writestr(info + 'entry_points.txt', '[console_scripts]\\ngreet = greeter:main\\n')
        wheel.writestr(info + 'RECORD', '')
    return name
"""


def test_a_failing_build_rejects_the_push_and_shows_why(host: Any, repo: Any) -> None:
    repo.commit({**APP, "requirements.txt": "./no-such-folder\n"})
    said = repo.push(f"{host.url}/shop.git", ok=False)
    assert "remote:  !     pip could not install the requirements." in said
    assert "no-such-folder" in said
    assert "Push rejected, failed to build the app." in said
    assert "pre-receive hook declined" in said
    assert host.published == []
    assert host.announced[-1] == (host.app.id, "Build failed -- check your build output")
    repo.commit(APP)
    assert "Released v3" in repo.push(f"{host.url}/shop.git")


def test_the_log_arrives_while_the_build_runs(host: Any, repo: Any) -> None:
    slow = "import time; time.sleep(1.5)\nraise SystemExit('enough')\n"
    repo.commit({**APP, "requirements.txt": "./slow\n", "slow/setup.py": slow})
    started = time.monotonic()
    with subprocess.Popen(
        ["git", "push", f"{host.url}/shop.git", "main"], cwd=repo.folder, stderr=subprocess.PIPE, text=True,
        env={"PATH": os.environ["PATH"], "HOME": str(repo.folder)},
    ) as push:  # fmt: skip
        assert push.stderr is not None
        first = next(time.monotonic() for line in push.stderr if "Building on" in line)
        push.stderr.read()
    ended = time.monotonic()
    assert push.returncode != 0
    assert first - started < (ended - started) / 2


def test_a_client_that_goes_away_ends_the_build(host: Any, repo: Any) -> None:
    endless = "import time\nprint('began', flush=True)\ntime.sleep(60)\n"
    repo.commit({**APP, "requirements.txt": "./slow\n", "slow/setup.py": endless})
    builds = host.folder / "work" / "builds"
    with subprocess.Popen(
        ["git", "push", f"{host.url}/shop.git", "main"], cwd=repo.folder, stderr=subprocess.PIPE, text=True,
        env={"PATH": os.environ["PATH"], "HOME": str(repo.folder)}, start_new_session=True,
    ) as push:  # fmt: skip
        assert push.stderr is not None
        next(line for line in push.stderr if "Installing requirements" in line)
        assert list(builds.iterdir())
        os.killpg(push.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while list(builds.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list(builds.iterdir()) == []
    assert host.published == []


def test_of_two_pushes_at_once_only_the_one_that_git_accepts_is_released(host: Any, repo: Any) -> None:
    url = f"{host.url}/shop.git"
    first_commit = repo.commit(APP)
    repo.git("branch", "other")
    host.may_publish.clear()
    with repo.start_push(url, "main") as first:
        next(line for line in first.stderr if "Launching" in line)
        repo.git("checkout", "-q", "other")
        repo.commit({"more.py": ""})
        with repo.start_push(url, "other:main") as second:
            next(line for line in second.stderr if "Waiting for another push to this app" in line)
            host.may_publish.set()
            assert "Released v3" in first.stderr.read()
            said = second.stderr.read()
    assert (first.returncode, second.returncode) == (0, 1)
    assert "main has changed since this push began." in said
    assert "Building" not in said
    assert [result.slug.commit for result in host.published] == [first_commit]
    assert "Released v4" in repo.push(url, "other:main")


def test_a_push_that_waited_for_one_that_failed_is_built(host: Any, repo: Any) -> None:
    url = f"{host.url}/shop.git"
    repo.commit({**APP, "requirements.txt": "./no-such-folder\n"})
    host.may_publish.clear()
    host.refuse = "no"
    repo.commit(APP)
    with repo.start_push(url, "main") as first:
        next(line for line in first.stderr if "Launching" in line)
        with repo.start_push(url, "main") as second:
            next(line for line in second.stderr if "Waiting for another push to this app" in line)
            host.may_publish.set()
            assert "Push rejected" in first.stderr.read()
            host.refuse = ""
            assert "Released v3" in second.stderr.read()
    assert (first.returncode, second.returncode) == (1, 0)


def test_an_unknown_language_is_rejected_with_the_next_step(host: Any, repo: Any) -> None:
    repo.commit({"main.rs": "fn main() {}"})
    said = repo.push(f"{host.url}/shop.git", ok=False)
    assert "remote:  !     No default language could be detected for this app." in said
    assert "requirements.txt" in said
    assert host.published == []


def test_a_bad_procfile_line_is_named(host: Any, repo: Any) -> None:
    repo.commit({**APP, "Procfile": "web: python app.py\n\nworker python work.py\n"})
    said = repo.push(f"{host.url}/shop.git", ok=False)
    assert (
        'remote:  !     Procfile line 3: "worker python work.py" is not "<process type>: <command>".' in said
    )
    assert "web: gunicorn app:app" in said


def test_a_missing_python_lists_those_that_are_there(host: Any, repo: Any) -> None:
    repo.commit({**APP, ".python-version": "3.99\n"})
    said = repo.push(f"{host.url}/shop.git", ok=False)
    assert "Python 3.99 is not available here." in said
    assert re.search(r"Put one of these into \.python-version: 3\.\d+", said)


def test_a_push_to_a_missing_app_says_so(host: Any, repo: Any) -> None:
    repo.commit(APP)
    said = repo.push(f"{host.url}/nowhere.git", ok=False)
    assert "remote: !     Couldn't find that app: nowhere." in said
    assert "remote: !     Create it with `heroku create`." in said
    assert "not found" in said


def test_a_wrong_key_is_refused(host: Any, repo: Any) -> None:
    repo.commit(APP)
    said = repo.push(f"{host.url.replace('key-of-ada', 'wrong')}/shop.git", ok=False)
    assert "Authentication failed" in said


def test_another_branch_is_accepted_and_not_built(host: Any, repo: Any) -> None:
    repo.commit(APP)
    said = repo.push(f"{host.url}/shop.git", "main:refs/heads/feature")
    assert "Pushed to feature, which is neither main nor master: not built." in said
    assert host.published == []
    assert "Released v3" in repo.push(f"{host.url}/shop.git", "main:master")


def test_the_deployed_branch_cannot_be_deleted(host: Any, repo: Any) -> None:
    repo.commit(APP)
    repo.push(f"{host.url}/shop.git")
    assert "cannot be deleted" in repo.push(f"{host.url}/shop.git", ":main", ok=False)


def test_what_was_pushed_can_be_cloned_and_the_same_app_is_the_same_slug(host: Any, repo: Any) -> None:
    repo.commit(APP)
    repo.push(f"{host.url}/shop.git")
    repo.commit({})
    repo.push(f"{host.url}/shop.git", options=("--push-option=x",))
    first, second = host.published
    assert first.slug.sha256 == second.slug.sha256
    assert first.slug.id != second.slug.id
    repo.git("clone", "--quiet", f"{host.url}/shop.git", "copy")
    assert (repo.folder / "copy" / "app.py").read_text() == "print(1)\n"


def test_a_big_push_comes_in_chunks(host: Any, repo: Any) -> None:
    repo.commit({**APP, "noise.bin": os.urandom(3 << 20)})
    assert "Released v3" in repo.push(f"{host.url}/shop.git")


def test_a_refused_release_rejects_the_push(host: Any, repo: Any) -> None:
    host.refuse = "The release phase failed."
    repo.commit(APP)
    said = repo.push(f"{host.url}/shop.git", ok=False)
    assert "remote:  !     The release phase failed." in said


def test_config_vars_reach_the_build_but_cannot_bend_it(host: Any, repo: Any) -> None:
    host.config = {"GREETING": "hi", "LD_PRELOAD": "/x.so", "PATH": "/evil", "PIP_INDEX_URL": "http://evil/"}
    shown = (
        "import os\nraise SystemExit('SAW ' + ' '.join(f'{k}={v}' for k, v in sorted(os.environ.items())))\n"
    )
    repo.commit({**APP, "requirements.txt": "./show\n", "show/setup.py": shown})
    said = repo.push(f"{host.url}/shop.git", ok=False)
    assert "GREETING=hi" in said
    assert "/x.so" not in said
    assert "/evil" not in said
    assert "http://evil/" not in said
    assert "SLUICE_BUILD" not in said


def test_strange_paths_are_not_served(host: Any, repo: Any) -> None:
    for path in ("/../etc.git", "/shop.git/config", "/SHOP.git", "/shop"):
        done = repo.git("ls-remote", f"{host.url}{path}", ok=False)
        assert done.returncode != 0
        assert "not found" in done.stderr or "no git repository" in done.stderr
