"""Starting, watching and stopping the programs, with real processes."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from addon.cli import up as up_module
from addon.cli.certificates import Certificates
from addon.cli.children import Child
from addon.cli.failures import Exit, Failure
from addon.cli.home import Home
from addon.cli.ports import Ports
from addon.cli.programs import Installation
from addon.cli.recipe import Provider
from addon.cli.tether import tethered

if TYPE_CHECKING:
    from pathlib import Path

GOOD = "import time; print('starting', flush=True); print('ready', flush=True); time.sleep(60)"
STUBBORN = (
    "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
)
DEAD = "import sys; print('the disk is full', file=sys.stderr); sys.exit(3)"
SHORT = "import sys, time; print('ready', flush=True); time.sleep(0.3); sys.exit('out of memory')"
SILENT = "import time; time.sleep(60)"
# Its grandchild keeps the pipe open after it has died.
PARENT = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SILENT!r}]); sys.exit('gone')"
PROVIDER = Provider("sluice", "secret", "salt", "1/abc")


async def start(code: str, log: Path) -> Child:
    return await Child.start("program", [sys.executable, "-c", code], os.environ, log)


def test_a_child_is_ready_when_it_says_so_and_ends_on_sigterm(tmp_path: Path) -> None:
    async def scenario() -> str | None:
        child = await start(GOOD, tmp_path / "log")
        await child.wait_ready()
        return await child.stop()

    assert asyncio.run(scenario()) is None


@pytest.mark.parametrize(("code", "why"), [(DEAD, "the disk is full"), (PARENT, "gone")])
def test_a_child_that_dies_at_start_is_reported_with_its_last_words(
    tmp_path: Path, code: str, why: str
) -> None:
    (tmp_path / "log").write_text("of an earlier run\n")

    async def scenario() -> None:
        child = await start(code, tmp_path / "log")
        try:
            await child.wait_ready()
        finally:
            await child.stop()
            if code == PARENT:
                os.killpg(child.pid, signal.SIGKILL)

    with pytest.raises(Failure, match="The program ended with exit code") as caught:
        asyncio.run(scenario())
    assert why in caught.value.why
    assert "earlier" not in caught.value.why


def test_a_child_that_never_gets_ready_is_a_timeout(tmp_path: Path) -> None:
    async def scenario() -> None:
        child = await start(SILENT, tmp_path / "log")
        try:
            await child.wait_ready(0.2)
        finally:
            await child.stop()

    with pytest.raises(Failure) as caught:
        asyncio.run(scenario())
    assert caught.value.code is Exit.TIMEOUT


def test_a_child_that_ignores_sigterm_is_killed_and_told_of(tmp_path: Path) -> None:
    async def scenario() -> str | None:
        child = await start(STUBBORN, tmp_path / "log")
        await child.wait_ready()
        return await child.stop(0.2)

    remark = asyncio.run(scenario())
    assert remark is not None
    assert "killed" in remark


# A program that starts a child as `sluice up` does, tells its process id, and waits to be killed.
STARTER = f"""
import asyncio, os, pathlib, sys
from addon.cli.children import Child
async def main():
    argv = [sys.executable, "-c", {GOOD!r}]
    child = await Child.start("program", argv, os.environ, pathlib.Path(sys.argv[1]))
    await child.wait_ready()
    print(child.pid, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


def test_a_child_does_not_outlive_a_parent_that_was_killed(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", STARTER, str(tmp_path / "log")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        watched = os.pidfd_open(pid)
        parent.kill()
    try:
        ended, _, _ = select.select([watched], [], [], 10)
        assert ended, "the child still runs"
    finally:
        os.close(watched)


def test_a_program_whose_parent_is_gone_already_does_not_start() -> None:
    argv = tethered([sys.executable, "-c", "print('started')"])
    argv[argv.index(str(os.getpid()))] = "1"
    assert subprocess.run(argv, capture_output=True, check=True).stdout == b""


def installation(tmp_path: Path) -> Installation:
    home = Home(tmp_path / "home")
    home.prepare()
    return Installation(home, Ports(7080), Certificates(tmp_path / "ca", tmp_path / "cert", tmp_path / "key"))


def with_programs(monkeypatch: pytest.MonkeyPatch, platform: str, addon: str) -> None:
    monkeypatch.setattr(Installation, "platform_argv", lambda _: [sys.executable, "-c", platform])
    monkeypatch.setattr(Installation, "addon_argv", lambda _: [sys.executable, "-c", addon])


def run_up(given: Installation, when_ready: list[str]) -> Exit:
    def announce() -> None:
        when_ready.append(given.home.env_sh.read_text())
        os.kill(os.getpid(), signal.SIGTERM)

    return asyncio.run(up_module._run(given, PROVIDER, announce))


def test_up_writes_the_recipe_before_it_says_ready_and_ends_with_0_on_sigterm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_programs(monkeypatch, GOOD, GOOD)
    given, seen = installation(tmp_path), list[str]()
    assert run_up(given, seen) is Exit.OK
    assert "export HEROKU_HOST=http://localhost:7080" in seen[0]
    assert not given.home.env_sh.exists()


@pytest.mark.parametrize(("platform", "addon", "name"), [(GOOD, DEAD, "add-on"), (DEAD, GOOD, "platform")])
def test_up_fails_with_the_reason_when_a_program_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: str, addon: str, name: str
) -> None:
    with_programs(monkeypatch, platform, addon)
    given, seen = installation(tmp_path), list[str]()
    with pytest.raises(Failure, match=f"The {name} ended with exit code 3") as caught:
        run_up(given, seen)
    assert "the disk is full" in caught.value.why
    assert seen == []
    assert not given.home.env_sh.exists()


def test_up_fails_when_a_program_dies_later_and_stops_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_programs(monkeypatch, SHORT, GOOD)
    given = installation(tmp_path)
    with pytest.raises(Failure, match="The platform ended with exit code 1") as caught:
        asyncio.run(up_module._run(given, PROVIDER, lambda: None))
    assert "out of memory" in caught.value.why
    assert not given.home.env_sh.exists()


def test_ctrl_c_while_it_starts_stops_what_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_programs(monkeypatch, SILENT, SILENT)
    given = installation(tmp_path)
    killer = subprocess.Popen(
        [sys.executable, "-c", f"import os, time; time.sleep(0.5); os.kill({os.getpid()}, 2)"]
    )
    started = time.monotonic()
    assert asyncio.run(up_module._run(given, PROVIDER, lambda: None)) is Exit.OK
    assert time.monotonic() - started < 10
    assert killer.wait() == 0
