"""What drivers promise that give a process a view of the host of its own; collected where there is one."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from platform_core.base.sandbox.client import SpawnerSandbox
from platform_core.base.sandbox.interpreter import python_path
from platform_core.base.sandbox.ownership import own
from platform_core.base.sandbox.spec import Bind, ExitStatus, Network
from tests.contracts.sandbox_runs import (
    APP_UID,
    ECHO_SERVER,
    ROOT,
    drivers,
    opened,
    python,
    run,
    shell,
    start,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio
DRIVERS = drivers(lambda isolation: isolation.own_files)
__test__ = bool(DRIVERS)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module", params=DRIVERS)
async def isolated(request: pytest.FixtureRequest) -> AsyncIterator[SpawnerSandbox]:
    async with opened(request.param) as sandbox:
        yield sandbox


async def test_the_host_s_files_are_absent(isolated: SpawnerSandbox, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret")
    script = f"cat {tmp_path}/secret /etc/shadow; ls -A /root /home /var /run /work /opt; ls /etc/ssl/private"
    _status, output = await shell(isolated, script)
    assert "s3cret" not in output
    assert output.count("No such file or directory") == 9


async def test_the_user_and_the_host_name_are_its_own(isolated: SpawnerSandbox) -> None:
    _status, output = await shell(isolated, "id -u; id -un; uname -n; cat /etc/passwd", hostname="web-1")
    uid = APP_UID if ROOT else os.getuid()
    lines = output.splitlines()
    assert lines[:3] == [str(uid), f"u{uid}", "web-1"]
    assert [line.split(":")[0] for line in lines[3:]] == ["root", f"u{uid}"]


async def test_only_a_writable_bind_and_tmp_can_be_written(isolated: SpawnerSandbox, tmp_path: Path) -> None:
    for name in ("ro", "rw"):
        (tmp_path / name).mkdir()
        own(tmp_path / name, APP_UID)
    binds = [Bind(tmp_path / "ro", "/srv/ro"), Bind(tmp_path / "rw", "/app", writable=True)]
    folders = "/ /usr /etc /dev /srv /srv/ro /app /tmp /dev/shm"
    script = f"for d in {folders}; do touch $d/x 2>/dev/null && echo $d; done"
    _status, output = await shell(isolated, script, binds=binds)
    assert output.split() == folders.split()[-3:]
    assert (tmp_path / "rw" / "x").stat().st_uid == (APP_UID if ROOT else os.getuid())


async def test_sources_under_a_closed_folder_are_shown(isolated: SpawnerSandbox, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    (closed / "inner").mkdir(parents=True)
    (closed / "inner" / "file").write_text("seen")
    closed.chmod(0o700)
    binds = [Bind(closed / "inner", "/inner"), Bind(closed / "inner" / "file", "/one-file")]
    _status, output = await shell(isolated, "cat /inner/file /one-file", binds=binds)
    assert output == "seenseen"


async def test_a_folder_made_anew_under_the_same_path_is_the_new_one(
    isolated: SpawnerSandbox, tmp_path: Path
) -> None:
    folder = tmp_path / "slug"
    folder.mkdir()
    (folder / "v").write_text("1")
    first = await start(isolated, "/bin/sh", "-c", "read x", binds=[Bind(folder, "/app")], stdin=_never()[0])
    folder.rename(tmp_path / "old")
    folder.mkdir()
    (folder / "v").write_text("2")
    _status, output = await shell(isolated, "cat /app/v", binds=[Bind(folder, "/app")])
    assert output == "2"
    first.process.kill()
    await first.finish()


async def test_this_python_and_its_packages_run_inside(isolated: SpawnerSandbox) -> None:
    script = """
import duckdb
from platform_core.base import ids
print(duckdb.sql("select 42").fetchall(), ids.is_uuid(""))
"""
    process = await python(isolated, script, env={"PYTHONPATH": python_path()})
    assert await process.finish() == (ExitStatus(0), "[(42,)] False\n")


async def test_tmp_has_a_size(isolated: SpawnerSandbox) -> None:
    _status, output = await shell(
        isolated, "head -c 3000000 /dev/zero > /tmp/big; wc -c < /tmp/big", tmp_bytes=1 << 20
    )
    assert "No space left" in output
    assert int(output.split()[-1]) == 1 << 20


async def test_namespaces_cannot_be_nested(isolated: SpawnerSandbox) -> None:
    status, _output = await run(isolated, "/usr/bin/unshare", "--user", "--map-root-user", "/usr/bin/true")
    assert status.code != 0


async def test_there_are_no_capabilities_and_no_way_to_gain_some(isolated: SpawnerSandbox) -> None:
    _status, output = await shell(isolated, "grep -E '^(Cap|NoNewPrivs)' /proc/self/status")
    values = dict(line.split(":\t") for line in output.splitlines())
    assert values.pop("NoNewPrivs") == "1"
    assert set(values.values()) == {"0000000000000000"}


async def test_other_processes_are_not_seen(isolated: SpawnerSandbox) -> None:
    _status, output = await shell(isolated, "ls /proc | grep -c '^[0-9]'")
    assert int(output) <= 5


async def test_network_none_cannot_reach_the_host(isolated: SpawnerSandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        script = f"import socket; socket.create_connection(('127.0.0.1', {port}), 5)"
        none = await (await python(isolated, script)).finish()
        host = await (await python(isolated, script, network=Network.HOST)).finish()
    assert "ConnectionRefusedError" in none[1]
    assert host == (ExitStatus(0), "")


async def test_two_sandboxes_may_use_the_same_port(isolated: SpawnerSandbox) -> None:
    servers = [await python(isolated, ECHO_SERVER, "5000") for _ in range(2)]
    for server in servers:
        await server.until(b"listening")
        (await server.process.connect(5000)).close()
        server.process.kill()
        await server.finish()


def _never() -> tuple[int, int]:
    return os.pipe()
