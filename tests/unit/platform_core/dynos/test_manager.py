"""The dyno manager over the real sandbox: formation, boot, restart, crash, stop, redeploy."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from platform_core.base.errors import NotFound
from platform_core.models.routing import WebState

if TYPE_CHECKING:
    from pathlib import Path

    from platform_core.dynos.settings import DynoSettings
    from platform_core.models.routing import Backend

    from .conftest import Platform

pytestmark = pytest.mark.anyio
WEB = "perl web.pl"
SLEEP = "sleep 60"


async def ask(backend: Backend) -> str:
    loop = asyncio.get_running_loop()
    with backend.lease(), await backend.connect() as peer:
        await loop.sock_sendall(peer, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b""
        while chunk := await loop.sock_recv(peer, 4096):
            answer += chunk
    return answer.decode().rpartition("\r\n")[2]


async def until_up(platform: Platform, *names: str) -> None:
    await platform.log.until(lambda: all(platform.states().get(name) == "up" for name in names))


async def test_a_release_brings_its_formation_up(platform: Platform) -> None:
    await platform.release(web=(WEB, 2), worker=SLEEP, release="true")
    await until_up(platform, "web.1", "web.2", "worker.1")
    assert list(platform.states()) == ["web.1", "web.2", "worker.1"]
    route = platform.routes.now["app-1"]
    assert (route.web, route.app_name) == (WebState.UP, "shop")
    assert sorted([await ask(backend) for backend in route.backends]) == ["web.1 v1", "web.2 v1"]
    assert platform.log.texts("heroku", "web.1") == [
        "Starting process with command `perl web.pl`",
        "State changed from starting to up",
    ]
    assert platform.log.texts("app", "web.1") == ["listening"]


async def test_a_dyno_s_environment_is_the_app_s_and_nothing_else(platform: Platform) -> None:
    if not platform.manager._host.sandbox.isolation.own_files:
        pytest.skip("without a view of its own a dyno's home is not /app")
    config = {"DATABASE_URL": "x://y", "PORT": "9", "DYNO": "fake", "GREETING": "hello\nworld"}
    await platform.release(env=config, worker="env -0 | tr '\\n\\0' '|\\n'; pwd; cat data/file")
    await platform.log.until_said("from the slug")
    lines = platform.log.texts("app", "worker.1")
    env = dict(line.split("=", 1) for line in lines if "=" in line)
    assert env.pop("_", "").endswith("env")
    assert env == {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "TMPDIR": "/tmp",  # noqa: S108  # the sandbox's
        "DATABASE_URL": "x://y",
        "GREETING": "hello|world",
        "HOME": "/app",
        "PWD": "/app",
        "SHLVL": env["SHLVL"],
        "DYNO": "worker.1",
        "FROM_PROFILE": "yes",
        "HEROKU_APP_ID": "app-1",
        "HEROKU_APP_NAME": "shop",
        "HEROKU_RELEASE_CREATED_AT": "2026-01-02T03:04:05Z",
        "HEROKU_RELEASE_VERSION": "v1",
        "HEROKU_SLUG_COMMIT": "abc",
        "HEROKU_SLUG_DESCRIPTION": "Deploy abc",
        "HEROKU_BUILD_COMMIT": "abc",
    }
    assert "/app" in lines


async def test_a_path_of_the_app_s_own_does_not_keep_it_from_starting(platform: Platform) -> None:
    await platform.release(worker="echo $PATH; exec /bin/sleep 60", env={"PATH": "/nowhere"})
    await platform.log.until(lambda: "/nowhere" in platform.log.texts("app"))


async def test_a_restart_during_the_start_is_no_change_of_state(platform: Platform) -> None:
    await platform.release(web="sleep 60")
    await platform.manager.restart("app-1")
    await platform.log.until(
        lambda: platform.log.texts("heroku").count("Starting process with command `sleep 60`") == 2
    )
    assert "State changed from starting to starting" not in platform.log.texts("heroku")


async def test_the_file_system_is_private_and_forgotten(platform: Platform) -> None:
    await platform.release(worker=("cat data/file; echo changed > data/file; cat data/file; sleep 60", 2))
    await platform.log.until(lambda: platform.log.texts("app").count("changed") == 2)
    assert sorted(platform.log.texts("app")) == ["changed"] * 2 + ["from the slug"] * 2
    await platform.manager.restart("app-1", "worker.1")
    await platform.log.until(lambda: platform.log.texts("app").count("from the slug") == 3)


async def test_scaling_starts_and_stops_only_the_difference(platform: Platform) -> None:
    await platform.release(worker=SLEEP)
    await until_up(platform, "worker.1")
    first = platform.manager.dynos("app-1")[0].id
    await platform.scale(worker=2)
    await until_up(platform, "worker.1", "worker.2")
    assert platform.manager.dynos("app-1")[0].id == first
    await platform.scale(worker=1)
    await platform.log.until_said("Process exited with status 143")
    assert platform.states() == {"worker.1": "up"}
    assert platform.log.texts("heroku", "worker.2")[-3:] == [
        "State changed from up to down",
        "Stopping all processes with SIGTERM",
        "Process exited with status 143",
    ]


async def test_a_crash_is_restarted_at_once_and_then_cools_off(platform: Platform) -> None:
    await platform.release(worker="echo boom; exit 7")
    await platform.log.until_said("State changed from up to crashed", times=2)
    assert platform.states() == {"worker.1": "crashed"}
    assert platform.log.texts("heroku", "worker.1") == [
        "Starting process with command `echo boom; exit 7`",
        "State changed from starting to up",
        "Process exited with status 7",
        "State changed from up to crashed",
        "State changed from crashed to starting",
        "Starting process with command `echo boom; exit 7`",
        "State changed from starting to up",
        "Process exited with status 7",
        "State changed from up to crashed",
    ]


async def test_a_crashed_app_s_route_says_so(platform: Platform) -> None:
    await platform.release(web="exit 1")
    await platform.log.until_said("State changed from starting to crashed", times=2)
    assert platform.routes.now["app-1"].web is WebState.CRASHED


async def test_a_web_dyno_that_does_not_listen_gets_r10(platform: Platform) -> None:
    await platform.release(web="sleep 60")
    await platform.log.until_said("State changed from starting to crashed")
    assert platform.log.texts("heroku", "web.1")[:5] == [
        "Starting process with command `sleep 60`",
        "Error R10 (Boot timeout) -> Web process failed to bind to $PORT within 2 seconds of launch",
        "Stopping process with SIGKILL",
        "Process exited with status 137",
        "State changed from starting to crashed",
    ]


async def test_what_ignores_sigterm_gets_r12(platform: Platform) -> None:
    await platform.release(worker="trap '' TERM; echo up; while :; do sleep 1; done")
    await platform.log.until(lambda: platform.log.texts("app") == ["up"])  # the trap is set
    await platform.manager.stop("app-1", "worker")
    await platform.log.until_said("Process exited")
    assert platform.log.texts("heroku", "worker.1")[-5:] == [
        "State changed from up to down",
        "Stopping all processes with SIGTERM",
        "Error R12 (Exit timeout) -> Process failed to exit within 1 seconds of SIGTERM",
        "Stopping process with SIGKILL",
        "Process exited with status 137",
    ]
    assert platform.states() == {"worker.1": "down"}


async def test_a_stopped_dyno_comes_back_with_a_restart(platform: Platform) -> None:
    await platform.release(worker=SLEEP)
    await until_up(platform, "worker.1")
    await platform.manager.stop("app-1", "worker.1")
    assert platform.states() == {"worker.1": "down"}
    await platform.manager.restart("app-1")
    await until_up(platform, "worker.1")


async def test_a_stopped_dyno_comes_back_with_scaling_but_not_with_a_mere_look(platform: Platform) -> None:
    await platform.release(worker=SLEEP)
    await until_up(platform, "worker.1")
    await platform.manager.stop("app-1", "worker")
    await platform.manager.reconcile("app-1")
    assert platform.states() == {"worker.1": "down"}
    await platform.scale(worker=2)
    await until_up(platform, "worker.1", "worker.2")


async def test_only_what_runs_stays_unpacked(platform: Platform, tmp_path: Path) -> None:
    unpacked = tmp_path / "dynos" / "slugs"
    await platform.manager.start()
    await platform.release(worker=SLEEP)
    await until_up(platform, "worker.1")
    assert [folder.name for folder in unpacked.iterdir()] == ["0" * 64]
    await platform.release(2, slug="1" * 64, worker=SLEEP)
    await until_up(platform, "worker.1")
    await platform.manager.reconcile("app-1")
    assert [folder.name for folder in unpacked.iterdir()] == ["1" * 64]
    await platform.manager.destroy("app-1")
    assert list(unpacked.iterdir()) == []


async def test_a_selector_that_names_nothing_is_an_error(platform: Platform) -> None:
    await platform.release(worker=SLEEP)
    for selector in ("web", "worker.2"):
        with pytest.raises(NotFound):
            await platform.manager.restart("app-1", selector)
        with pytest.raises(NotFound):
            await platform.manager.stop("app-1", selector)


async def test_no_request_fails_during_a_redeploy(platform: Platform) -> None:
    env = {"SLOW": "0.01"}
    await platform.release(1, env=env, web=(WEB, 2))
    await until_up(platform, "web.1", "web.2")
    answers: list[str] = []
    done = asyncio.Event()

    async def load() -> None:
        while not done.is_set():
            backends = platform.routes.now["app-1"].backends
            assert backends, "a moment without any dyno"
            answers.append(await ask(backends[len(answers) % len(backends)]))

    clients = [asyncio.ensure_future(load()) for _ in range(4)]
    await asyncio.sleep(0.1)
    await platform.release(2, env=env, web=(WEB, 2))
    await platform.log.until_said("Process exited with status 0", times=2)
    answered = len(answers)
    await platform.log.until(lambda: len(answers) > answered or True)
    done.set()
    await asyncio.gather(*clients)
    assert {answer.split()[1] for answer in answers} == {"v1", "v2"}
    assert [answer.split()[1] for answer in answers[-2:]] == ["v2", "v2"]


async def test_a_broken_new_release_does_not_keep_the_old_one(platform: Platform) -> None:
    await platform.release(1, web=WEB)
    await until_up(platform, "web.1")
    await platform.release(2, web="exit 1")
    await platform.log.until_said("Process exited with status 0")
    assert platform.routes.now["app-1"].web in {WebState.CRASHED, WebState.STARTING}


async def test_memory_over_quota_is_told_and_far_over_is_fatal(platform: Platform) -> None:
    if not platform.manager._host.sandbox.isolation.limits:
        pytest.skip("memory is neither measured nor limited without cgroups")
    program = '$| = 1; $x = "x" x (600 << 20); sleep 1; $y = "y" x (900 << 20); print "no"'
    hog = f"perl -e '{program}'"
    await platform.release(worker=hog)
    await platform.log.until_said("Error R15 (Memory quota vastly exceeded)")
    lines = platform.log.texts("heroku", "worker.1")
    assert "Error R14 (Memory quota exceeded)" in lines
    assert any(line.startswith("Process running mem=6") and line.endswith("%)") for line in lines)
    assert "no" not in platform.log.texts("app")


async def test_the_release_phase_returns_its_exit_code(platform: Platform) -> None:
    await platform.release(worker=SLEEP)
    spec = platform.specs.specs["app-1"]
    assert await platform.manager.run_release_phase(spec, "echo migrating; exit 3") == 3
    assert await platform.manager.run_release_phase(spec, "test $DYNO = release.1") == 0
    assert platform.log.texts("app", "release.1") == ["migrating"]


async def test_a_service_of_the_host_is_reachable_at_the_same_port(
    platform: Platform, dyno_settings: DynoSettings
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    object.__setattr__(dyno_settings, "services", (("127.0.0.1", port),))
    command = f"exec 9<>/dev/tcp/127.0.0.1/{port}; echo hello >&9; cat <&9"
    await platform.release(worker=command)
    await platform.log.until_said("HELLO")
    server.close()


async def test_a_missing_slug_is_told_to_the_owner(platform: Platform) -> None:
    platform.slug.unlink()
    await platform.release(worker=SLEEP)
    await platform.log.until_said("State changed from starting to crashed")
    assert "Error R99 (Platform error) -> The slug cannot be unpacked" in "\n".join(
        platform.log.texts("heroku")
    )


async def test_destroy_stops_everything_and_takes_the_route_away(platform: Platform, tmp_path: Path) -> None:
    await platform.release(web=WEB, worker=SLEEP)
    await until_up(platform, "web.1", "worker.1")
    await platform.manager.destroy("app-1")
    assert platform.manager.dynos("app-1") == []
    assert "app-1" not in platform.routes.now
    assert not list((tmp_path / "dynos" / "dynos").iterdir())


async def test_start_brings_every_app_up(platform: Platform) -> None:
    await platform.release(worker=SLEEP)
    await platform.manager.destroy("app-1")
    await platform.manager.start()
    await until_up(platform, "worker.1")


async def until_quiet(platform: Platform) -> None:
    """Wait until the worker has printed all: only then does its marker file appear."""
    marker = platform.manager._host.settings.folder / "dynos"
    async with asyncio.timeout(20):
        while not list(marker.glob("*/done")):  # noqa: ASYNC110  # written by another process
            await asyncio.sleep(0.02)


async def test_a_flood_is_bounded_and_the_loss_counted(
    platform: Platform, dyno_settings: DynoSettings
) -> None:
    object.__setattr__(dyno_settings, "output_bytes_per_second", 1 << 20)
    await platform.release(worker="yes 0123456789 | head -n 500000; echo end; touch done; sleep 60")
    await platform.log.until_said("Error L12")
    await until_quiet(platform)
    await platform.manager.stop("app-1", "worker")
    await platform.log.until_said("Process exited")
    dropped = [
        int(text.split()[2]) for text in platform.log.texts("heroku") if text.startswith("Error L12: ")
    ]
    kept = len(platform.log.texts("app", "worker.1"))
    assert dropped
    assert kept + sum(dropped) == 500_001
