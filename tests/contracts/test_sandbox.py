"""One suite over every way of sandboxing that works on this machine.

Run as root it covers the root drivers; `test_sandbox_unprivileged.py` runs the same suite again without.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from platform_core.base.errors import TooLarge, Unavailable
from platform_core.base.sandbox.client import SpawnerSandbox
from platform_core.base.sandbox.interpreter import python_binds, python_path
from platform_core.base.sandbox.isolation import detect_isolation
from platform_core.base.sandbox.ownership import own
from platform_core.base.sandbox.spec import Bind, ExitStatus, Network, SandboxProcess, SandboxSpec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

pytestmark = pytest.mark.anyio
ROOT = os.geteuid() == 0
APP_UID = 23_456
ECHO_SERVER = """
import socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("listening", flush=True)
while True:
    peer, _ = listener.accept()
    peer.sendall(peer.recv(100).upper())
    peer.close()
"""


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module", params=["bwrap", "process"])
async def sandbox(request: pytest.FixtureRequest) -> AsyncIterator[SpawnerSandbox]:
    if request.param == "bwrap" and detect_isolation().driver != "bwrap":
        pytest.skip("bubblewrap does not work here")
    sandbox = SpawnerSandbox(request.param)
    await sandbox.start()
    yield sandbox
    await sandbox.close()


@pytest.fixture
def isolated(sandbox: SpawnerSandbox) -> SpawnerSandbox:
    if not sandbox.isolation.own_files:
        pytest.skip("this driver has no view of its own, and says so")
    return sandbox


@pytest.fixture
def limited(sandbox: SpawnerSandbox) -> SpawnerSandbox:
    if not sandbox.isolation.limits:
        pytest.skip("this driver has no cgroups, and says so")
    return sandbox


@dataclass
class Run:
    """A started process and what it writes."""

    process: SandboxProcess
    read_end: int
    output: bytes = field(default=b"")

    async def finish(self) -> tuple[ExitStatus, str]:
        status = await asyncio.wait_for(self.process.wait(), 20)
        self.output += await asyncio.to_thread(_read_all, self.read_end)
        return status, self.output.decode()

    async def until(self, wanted: bytes) -> None:
        while wanted not in self.output:
            chunk = await asyncio.wait_for(asyncio.to_thread(os.read, self.read_end, 65536), 20)
            assert chunk, f"it ended before it said {wanted!r}: {self.output!r}"
            self.output += chunk


def _read_all(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb") as stream:
        return stream.read()


def uid_for(sandbox: SpawnerSandbox) -> int:
    # Without a view of its own a dropped uid may not reach this Python; the drop has its own test.
    return APP_UID if sandbox.isolation.own_files else os.getuid()


async def start(sandbox: SpawnerSandbox, *argv: str, **options: Any) -> Run:
    pass_fds = options.pop("pass_fds", ())
    stdin = options.pop("stdin", None)
    spec = SandboxSpec(**({"argv": argv, "env": {}, "cwd": "/", "uid": uid_for(sandbox)} | options))
    read_end, write_end = os.pipe()
    try:
        process = await sandbox.spawn(
            spec, stdin=stdin, stdout=write_end, stderr=write_end, pass_fds=pass_fds
        )
    except BaseException:
        os.close(read_end)
        raise
    finally:
        os.close(write_end)
    return Run(process, read_end)


async def run(sandbox: SpawnerSandbox, *argv: str, **options: Any) -> tuple[ExitStatus, str]:
    return await (await start(sandbox, *argv, **options)).finish()


async def shell(sandbox: SpawnerSandbox, script: str, **options: Any) -> tuple[ExitStatus, str]:
    return await run(sandbox, "/bin/sh", "-c", script, **options)


async def python(sandbox: SpawnerSandbox, script: str, *argv: str, **options: Any) -> Run:
    options["binds"] = [*python_binds(), *options.get("binds", ())]
    return await start(sandbox, sys.executable, "-c", script, *argv, **options)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  # other processes' ends: there is no event to await
            await asyncio.sleep(0.005)


# What a process sees


async def test_the_environment_is_exactly_the_one_asked_for(sandbox: SpawnerSandbox) -> None:
    status, output = await run(sandbox, "/usr/bin/env", env={"A": "1", "EMPTY": "", "TEXT": "ü = \n x"})
    # PWD is bubblewrap's own; every shell sets it as well.
    assert status == ExitStatus(0)
    assert output.replace("PWD=/\n", "") == "A=1\nEMPTY=\nTEXT=ü = \n x\n"


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


@pytest.mark.skipif(not ROOT, reason="there is no other uid to drop to")
async def test_root_is_dropped_by_every_driver(sandbox: SpawnerSandbox) -> None:
    _status, output = await shell(sandbox, "id -u; id -g; id -G", uid=APP_UID)
    assert output.split() == [str(APP_UID)] * 3


# Network


async def test_network_none_cannot_reach_the_host(isolated: SpawnerSandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        script = f"import socket; socket.create_connection(('127.0.0.1', {port}), 5)"
        none = await (await python(isolated, script)).finish()
        host = await (await python(isolated, script, network=Network.HOST)).finish()
    assert "ConnectionRefusedError" in none[1]
    assert host == (ExitStatus(0), "")


async def test_connect_reaches_the_process(sandbox: SpawnerSandbox, free_tcp_port: int) -> None:
    server = await python(sandbox, ECHO_SERVER, str(free_tcp_port))
    await server.until(b"listening")
    for _ in range(70):  # more than one pool of sockets
        with await server.process.connect(free_tcp_port) as peer:
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(peer, b"hello")
            assert await loop.sock_recv(peer, 100) == b"HELLO"
    server.process.kill()
    await server.finish()


async def test_connect_is_refused_while_nothing_listens(sandbox: SpawnerSandbox, free_tcp_port: int) -> None:
    process = await start(sandbox, "/bin/sleep", "60")
    with pytest.raises(ConnectionRefusedError):
        await process.process.connect(free_tcp_port)
    process.process.kill()
    await process.finish()
    with pytest.raises(ConnectionRefusedError):
        await process.process.connect(free_tcp_port)


async def test_two_sandboxes_may_use_the_same_port(isolated: SpawnerSandbox) -> None:
    servers = [await python(isolated, ECHO_SERVER, "5000") for _ in range(2)]
    for server in servers:
        await server.until(b"listening")
        (await server.process.connect(5000)).close()
        server.process.kill()
        await server.finish()


async def test_listen_answers_the_process(sandbox: SpawnerSandbox, free_tcp_port: int) -> None:
    read_end, write_end = os.pipe()
    script = (
        "import socket, sys; sys.stdin.readline();"
        "peer = socket.create_connection(('127.0.0.1', int(sys.argv[1])), 5);"
        "print(peer.recv(100).decode())"
    )
    client = await python(sandbox, script, str(free_tcp_port), stdin=read_end)
    os.close(read_end)
    with await client.process.listen(free_tcp_port) as listener:
        os.write(write_end, b"go\n")
        os.close(write_end)
        peer, _address = await asyncio.get_running_loop().sock_accept(listener)
        with peer:
            await asyncio.get_running_loop().sock_sendall(peer, b"from the host")
    assert await client.finish() == (ExitStatus(0), "from the host\n")


# Limits


async def test_beyond_the_memory_limit_the_kernel_kills_and_we_know(limited: SpawnerSandbox) -> None:
    hog = await python(limited, "x = bytearray(400 << 20); print('kept')", memory_bytes=64 << 20)
    status, output = await hog.finish()
    assert (status, output) == (ExitStatus(137, out_of_memory=True), "")


async def test_a_kill_is_not_taken_for_a_lack_of_memory(limited: SpawnerSandbox) -> None:
    process = await start(limited, "/bin/sleep", "60", memory_bytes=64 << 20)
    process.process.kill()
    assert (await process.finish())[0] == ExitStatus(137, out_of_memory=False)


async def test_memory_use_is_measured(limited: SpawnerSandbox) -> None:
    script = "x = bytearray(b'x') * (50 << 20); print('ready', flush=True); import time; time.sleep(60)"
    process = await python(limited, script, memory_bytes=256 << 20)
    await process.until(b"ready")
    usage = process.process.memory_usage()
    assert usage is not None
    assert 50 << 20 <= usage <= 90 << 20
    process.process.kill()
    await process.finish()
    assert process.process.memory_usage() is None


async def test_a_fork_bomb_is_stopped(limited: SpawnerSandbox) -> None:
    script = """
import os, sys, time
made = 0
try:
    for _ in range(100):
        if os.fork() == 0:
            time.sleep(60)
        made += 1
except BlockingIOError:
    print(made)
"""
    status, output = await (await python(limited, script, max_pids=16)).finish()
    assert status.code == 0
    assert int(output) == 15  # and the program itself


# Ends


async def test_the_exit_code_comes_back(sandbox: SpawnerSandbox) -> None:
    assert (await shell(sandbox, "exit 42"))[0] == ExitStatus(42)


async def test_sigterm_reaches_every_process_and_the_code_is_143(sandbox: SpawnerSandbox) -> None:
    child = "(trap 'echo child; exit' TERM; echo up; while :; do :; done) &"
    script = f"trap 'wait; echo parent; exit 143' TERM; {child} wait"
    process = await start(sandbox, "/bin/sh", "-c", script)
    await process.until(b"up")
    process.process.send_signal(signal.SIGTERM)
    status, output = await process.finish()
    assert status == ExitStatus(143)
    assert sorted(output.split()) == ["child", "parent", "up"]


async def test_an_unhandled_sigterm_is_143_too(sandbox: SpawnerSandbox) -> None:
    process = await start(sandbox, "/bin/sh", "-c", "echo up; exec /bin/sleep 60")
    await process.until(b"up")
    process.process.send_signal(signal.SIGTERM)
    assert (await process.finish())[0] == ExitStatus(143)


async def test_kill_ends_the_whole_tree_and_leaves_no_zombie(sandbox: SpawnerSandbox) -> None:
    script = "trap '' TERM; for i in 1 2 3; do (trap '' TERM; sleep 61.5) & done; echo up; wait"
    process = await start(sandbox, "/bin/sh", "-c", script)
    await process.until(b"up")
    process.process.kill()
    status, _output = await process.finish()  # the output ends only when every holder of the pipe is gone
    assert status == ExitStatus(137)
    await until(lambda: not Path(f"/proc/{process.process.pid}").exists())


async def test_wait_may_be_called_by_several_and_afterwards(sandbox: SpawnerSandbox) -> None:
    process = (await start(sandbox, "/bin/sh", "-c", "exit 3")).process
    assert await asyncio.gather(process.wait(), process.wait()) == [ExitStatus(3)] * 2
    assert await process.wait() == ExitStatus(3)


async def test_signals_after_the_end_are_no_error(sandbox: SpawnerSandbox) -> None:
    process = (await start(sandbox, "/bin/true")).process
    await process.wait()
    process.send_signal(signal.SIGTERM)
    process.kill()


# Descriptors


async def test_descriptors_are_passed_and_no_other_leaks(sandbox: SpawnerSandbox) -> None:
    read_end, write_end = os.pipe()
    os.set_inheritable(write_end, True)
    script = "echo to-three >&3; echo to-four >&4; ls /proc/self/fd"
    other_end, other_write = os.pipe()
    _status, output = await shell(sandbox, script, pass_fds=[write_end, other_write])
    for descriptor in (write_end, other_write):
        os.close(descriptor)
    assert (_read_all(read_end), _read_all(other_end)) == (b"to-three\n", b"to-four\n")
    assert output.split() == ["0", "1", "2", "3", "4", "5"]  # 5 is ls's own


async def test_missing_streams_are_the_null_device(sandbox: SpawnerSandbox) -> None:
    spec = SandboxSpec(argv=["/bin/cat"], env={}, cwd="/", uid=uid_for(sandbox))
    assert await (await sandbox.spawn(spec)).wait() == ExitStatus(0)


async def test_the_standard_input_is_handed_over(sandbox: SpawnerSandbox) -> None:
    read_end, write_end = os.pipe()
    os.write(write_end, b"typed")
    os.close(write_end)
    assert await run(sandbox, "/bin/cat", stdin=read_end) == (ExitStatus(0), "typed")
    os.close(read_end)


# Failure


async def test_a_missing_bind_source_is_named(sandbox: SpawnerSandbox, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="nowhere"):
        await start(sandbox, "/bin/true", binds=[Bind(tmp_path / "nowhere", "/x")])


async def test_a_missing_program_is_told(sandbox: SpawnerSandbox) -> None:
    try:
        status, output = await run(sandbox, "/no/such/program")
    except Unavailable as error:
        output = str(error)
    else:
        assert status.code != 0
    assert "No such file" in output


async def test_an_environment_too_large_is_refused(sandbox: SpawnerSandbox) -> None:
    with pytest.raises(TooLarge):
        await start(sandbox, "/bin/true", env={"BIG": "x" * 200_000})
    assert (await run(sandbox, "/bin/true"))[0] == ExitStatus(0)


async def test_a_nul_in_an_argument_is_refused(sandbox: SpawnerSandbox) -> None:
    with pytest.raises(Unavailable, match="null"):
        await start(sandbox, "/bin/echo", "a\0b")


async def test_twenty_at_once(sandbox: SpawnerSandbox) -> None:
    results = await asyncio.gather(*(shell(sandbox, f"exit {number}") for number in range(20)))
    assert [status.code for status, _output in results] == list(range(20))


async def test_a_spawn_given_up_leaves_nothing_behind(sandbox: SpawnerSandbox, tmp_path: Path) -> None:
    marker = str(tmp_path / "m")
    task = asyncio.ensure_future(start(sandbox, "/bin/sleep", "62.5", env={"M": marker}))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await shell(sandbox, "true")  # the answer of the one given up has come before this one's
    await until(lambda: not _running_with(b"62.5"))


async def test_close_kills_what_runs(sandbox: SpawnerSandbox) -> None:
    other = SpawnerSandbox(sandbox.isolation.driver)
    await other.start()
    process = await start(other, "/bin/sleep", "63.5")
    started = time.monotonic()
    await other.close()
    assert time.monotonic() - started < 5
    assert (await process.finish())[0] == ExitStatus(137)
    assert not _running_with(b"63.5")


async def test_a_lost_spawner_ends_everything_and_comes_back(sandbox: SpawnerSandbox) -> None:
    other = SpawnerSandbox(sandbox.isolation.driver)
    await other.start()
    process = await start(other, "/bin/sh", "-c", "echo up; exec /bin/sleep 64.5")
    await process.until(b"up")
    assert other._spawner is not None
    other._spawner.kill()
    assert (await process.finish())[0] == ExitStatus(137)
    await until(lambda: not _running_with(b"64.5"))
    assert (await run(other, "/bin/true"))[0] == ExitStatus(0)
    await other.close()


def _running_with(word: bytes) -> bool:
    found = False
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found = found or word in entry.read_bytes().split(b"\0")
        except OSError:
            continue
    return found


def _never() -> tuple[int, int]:
    return os.pipe()
