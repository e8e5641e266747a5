"""The demo's steps one by one: what they show, and how they fail."""

from __future__ import annotations

import json
import os
import select
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from addon.cli.client import Rows
from addon.cli.demo.console import Console
from addon.cli.demo.freshness import FreshnessProbe
from addon.cli.demo.installation import Running
from addon.cli.demo.keep import instructions
from addon.cli.demo.platform import PlatformClient
from addon.cli.demo.processes import follow
from addon.cli.demo.push import commit_copy, git_env, push
from addon.cli.demo.run import Examples, _forget, _new_home
from addon.cli.demo.traffic import drive
from addon.cli.failures import Exit, Failure

if TYPE_CHECKING:
    from collections.abc import Iterator


def silent(_: str) -> None:
    """Show nothing."""


def test_the_console_tells_each_step_with_its_outcome(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    with console.step("first") as step:
        step.update("half way")
        step.detail = "3 things"
    with pytest.raises(ZeroDivisionError), console.step("second"):
        raise ZeroDivisionError
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("[ 1] first: 3 things (0.")
    assert lines[1].startswith("FAILED second after 0.")


class Api(BaseHTTPRequestHandler):
    """A Platform API whose only dyno goes through the given states."""

    states: Iterator[str] = iter(())

    def log_message(self, *_: object) -> None:
        """Keep quiet."""

    def do_GET(self) -> None:
        assert self.headers["Authorization"] == "Bearer HRKU-1"
        dynos = [{"name": "web.1", "type": "web", "state": next(Api.states)}]
        body = json.dumps(dynos).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.send_response(422)
        self.end_headers()
        self.wfile.write(b'{"id":"invalid_params","message":"Name shop is already taken"}')


@pytest.fixture
def platform() -> Iterator[PlatformClient]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        with PlatformClient(f"http://127.0.0.1:{server.server_port}", "HRKU-1") as client:
            yield client
        server.shutdown()


def test_the_demo_waits_until_every_dyno_is_up(platform: PlatformClient) -> None:
    Api.states, shown = iter(["starting", "starting", "up"]), list[str]()
    platform.wait_up("shop", {"web": 1}, shown.append)
    assert shown == ["web.1 starting", "web.1 starting", "web.1 up"]


def test_a_crashed_dyno_ends_the_demo_at_once(platform: PlatformClient) -> None:
    Api.states = iter(["starting", "crashed"])
    with pytest.raises(Failure, match=r"A dyno crashed: web\.1 crashed"):
        platform.wait_up("shop", {"web": 1}, silent)


def test_the_platforms_own_words_are_the_reason(platform: PlatformClient) -> None:
    with pytest.raises(Failure, match="422 to POST /apps") as caught:
        platform.create_app("shop", {})
    assert "already taken" in caught.value.why


def test_a_push_that_is_rejected_fails_and_leaves_no_key_behind(tmp_path: Path) -> None:
    env = git_env(str(tmp_path / "ca.pem"))
    checkout = tmp_path / "work" / "shop"
    commit_copy(Examples.find().shop, checkout, env)
    log = subprocess.run(
        ["git", "log", "--format=%an %s"], cwd=checkout, env=env, capture_output=True, text=True, check=True
    )
    assert log.stdout == "Demo The shop\n"
    with pytest.raises(Failure, match="git push failed"):
        push(checkout, "localhost:9", "shop", "HRKU-secret", env=env, show=silent)
    assert [entry.name for entry in checkout.parent.iterdir()] == ["shop"]
    assert "HRKU" not in (checkout / ".git" / "config").read_text()


def test_traffic_without_a_shop_is_a_failure_with_the_drivers_words(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="The traffic stopped") as caught:
        drive(Examples.find().driver, "http://127.0.0.1:9", "shop.localhost", tmp_path / "ledger", silent)
    assert "Connect" in caught.value.why


class Table:
    """Stands for the client: a table that grows by a row a query, once it is there."""

    def __init__(self, *, missing: int, breaks: bool = False) -> None:
        self.queries, self.missing, self.breaks = 0, missing, breaks
        self.seqs: list[int] = []

    def query_now(self, _database: str, sql: str) -> Rows:
        self.queries += 1
        if self.queries <= self.missing:
            raise Failure("The add-on answered 404", "no database", "", Exit.NOT_FOUND)
        if self.breaks and self.seqs:
            raise Failure("Job 9 failed", "out of memory", "", Exit.JOB_FAILED)
        since = int(sql.rpartition(">")[2])
        self.seqs.append(time.time_ns() // 1000)
        return Rows(["seq"], ["bigint"], [[seq] for seq in self.seqs if seq > since])


def probe(table: Any) -> FreshnessProbe:
    return FreshnessProbe(table, "shop")


def test_the_probe_waits_for_the_table_then_sees_every_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("addon.cli.demo.freshness._POLL_SECONDS", 0.005)
    measured = probe(Table(missing=3))
    measured.start()
    measured.require_asking()
    assert measured.wait_seen(5, silent) >= 5
    measured.stop()
    measured.require_sound()
    assert 0 <= measured.percentile(0.99, measured.seen) < 1


def test_a_query_that_fails_later_fails_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("addon.cli.demo.freshness._POLL_SECONDS", 0.005)
    measured = probe(Table(missing=1, breaks=True))
    measured.start()
    assert measured.wait_seen(5, silent) == 1
    with pytest.raises(Failure, match="out of memory"):
        measured.require_asking()
    measured.stop()
    with pytest.raises(Failure, match="out of memory"):
        measured.require_sound()


def test_a_sluice_that_does_not_start_is_reported_in_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = Running(tmp_path, 7080)
    code = "import sys; sys.exit('sluice: Port 7080 is in use')"
    monkeypatch.setattr(running, "_argv", [sys.executable, "-c", code])
    with pytest.raises(Failure) as caught:
        running.start()
    assert caught.value.why == "sluice: Port 7080 is in use"


def test_a_death_in_the_middle_is_told_in_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = Running(tmp_path, 7080)
    assert running.death() is None
    code = "import sys; print('ready', flush=True); sys.exit('sluice: The add-on ended with exit code 3')"
    monkeypatch.setattr(running, "_argv", [sys.executable, "-c", code])
    running.start()
    with pytest.raises(Failure, match="The add-on ended with exit code 3"):
        running.wait()
    assert running.end() == 1


def test_a_step_that_is_interrupted_takes_its_program_along(tmp_path: Path) -> None:
    code = "import os, sys, time; print(os.getpid(), file=sys.stderr, flush=True); time.sleep(60)"

    def interrupt(line: str) -> None:
        (tmp_path / "pid").write_text(line)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        follow([sys.executable, "-c", code], interrupt)
    assert not Path("/proc", (tmp_path / "pid").read_text()).exists()


def test_a_demo_that_is_killed_takes_the_installation_along(tmp_path: Path) -> None:
    """Not by ``kill -9`` either: the installation gets SIGTERM, so that it ends in order."""
    up = (
        "import os, pathlib, signal, sys, time\n"
        "end = lambda *_: sys.exit(pathlib.Path(sys.argv[1]).write_text('ended') and 0)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "print('ready', flush=True); time.sleep(60)"
    )
    demo = (
        "import sys, time\nfrom pathlib import Path\n"
        "from addon.cli.demo.installation import Running\n"
        "running = Running(Path(sys.argv[1]), 7080)\n"
        f"running._argv = [sys.executable, '-c', {up!r}, sys.argv[1] + '/ended']\n"
        "running.start(); print(running._process.pid, flush=True); time.sleep(60)"
    )
    argv = [sys.executable, "-c", demo, str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        watched = os.pidfd_open(int(process.stdout.readline()))
        process.kill()
    with os.fdopen(watched) as pidfd:
        assert select.select([pidfd], [], [], 10)[0], "the installation still runs"
    assert (tmp_path / "ended").read_text() == "ended"


def test_what_to_type_is_sound_shell_whatever_the_home_is_called(tmp_path: Path) -> None:
    text = instructions(tmp_path / "it's $HOME", "shop", "shop.localhost", "/a b/sluice", sys.executable)
    assert subprocess.run(["sh", "-n"], input=text, text=True, check=False).returncode == 0
    first = next(line for line in text.splitlines() if line.startswith("eval"))
    shown = first.removeprefix('eval "$(').removesuffix(')"')
    assert shlex.split(shown) == ["/a b/sluice", "env", "--home", str(tmp_path / "it's $HOME")]


def test_a_home_of_our_own_is_removed_and_a_given_one_is_kept(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    _forget(home, home)
    assert home.is_dir()
    _forget(None, home)
    assert not home.exists()


def test_without_room_among_the_temporary_files_the_home_is_made_in_the_clone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = {tempfile.gettempdir(): 1 << 20, str(tmp_path / "build"): 1 << 40}
    monkeypatch.setattr(
        "addon.cli.demo.run.shutil.disk_usage", lambda path: SimpleNamespace(free=free[str(path)])
    )
    examples = Examples(tmp_path, tmp_path, tmp_path / "build" / "demo")
    assert _new_home(examples).parent == tmp_path / "build"
    free[str(tmp_path / "build")] = 1 << 20
    with pytest.raises(Failure, match="no room"):
        _new_home(examples)
