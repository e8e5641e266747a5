"""What every way of sandboxing promises, over each that works on this machine.

Run as root it covers the root drivers; `test_sandbox_unprivileged.py` runs the same suites again without.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from platform_core.base.errors import TooLarge, Unavailable
from platform_core.base.sandbox.client import SpawnerSandbox
from platform_core.base.sandbox.spec import Bind, ExitStatus, SandboxSpec
from tests.contracts.sandbox_runs import (
    APP_UID,
    ECHO_SERVER,
    ROOT,
    drivers,
    opened,
    python,
    read_all,
    run,
    running_with,
    shell,
    start,
    uid_for,
    until,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio
DRIVERS = drivers()


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module", params=DRIVERS)
async def sandbox(request: pytest.FixtureRequest) -> AsyncIterator[SpawnerSandbox]:
    async with opened(request.param) as sandbox:
        yield sandbox


# What a process sees


async def test_the_environment_is_exactly_the_one_asked_for(sandbox: SpawnerSandbox) -> None:
    status, output = await run(sandbox, "/usr/bin/env", env={"A": "1", "EMPTY": "", "TEXT": "ü = \n x"})
    # PWD is bubblewrap's own; every shell sets it as well.
    assert status == ExitStatus(0)
    assert output.replace("PWD=/\n", "") == "A=1\nEMPTY=\nTEXT=ü = \n x\n"


if ROOT:

    async def test_root_is_dropped_by_every_driver(sandbox: SpawnerSandbox) -> None:
        _status, output = await shell(sandbox, "id -u; id -g; id -G", uid=APP_UID)
        assert output.split() == [str(APP_UID)] * 3


# Network


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
    assert (read_all(read_end), read_all(other_end)) == (b"to-three\n", b"to-four\n")
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
    await until(lambda: not running_with(b"62.5"))


async def test_close_kills_what_runs(sandbox: SpawnerSandbox) -> None:
    other = SpawnerSandbox(sandbox.isolation.driver)
    await other.start()
    process = await start(other, "/bin/sleep", "63.5")
    started = time.monotonic()
    await other.close()
    assert time.monotonic() - started < 5
    assert (await process.finish())[0] == ExitStatus(137)
    assert not running_with(b"63.5")


async def test_a_lost_spawner_ends_everything_and_comes_back(sandbox: SpawnerSandbox) -> None:
    other = SpawnerSandbox(sandbox.isolation.driver)
    await other.start()
    process = await start(other, "/bin/sh", "-c", "echo up; exec /bin/sleep 64.5")
    await process.until(b"up")
    assert other._spawner is not None
    other._spawner.kill()
    assert (await process.finish())[0] == ExitStatus(137)
    await until(lambda: not running_with(b"64.5"))
    assert (await run(other, "/bin/true"))[0] == ExitStatus(0)
    await other.close()
