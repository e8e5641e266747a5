"""Releases through the API: rollback, release phase, output."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from platform_core.models.apps import ReleaseStatus

pytestmark = pytest.mark.anyio


async def _descriptions(world: Any, app: str = "shop") -> list[str]:
    return [each["description"] for each in await world.json("GET", f"/apps/{app}/releases")]


async def test_a_deploy_is_a_release_with_a_line_in_the_log(world: Any) -> None:
    app = await world.json("POST", "/apps", {"name": "shop"})
    release = await world.deploy("shop")
    assert (release.version, release.description, release.current) == (3, "Deploy 1a2b3c4d", True)
    assert (app["id"], "app[api]: Release v3 created by user dev@example.com") in world.logs.lines
    assert (app["id"], "app[api]: Deploy 1a2b3c4d by user dev@example.com") in world.logs.lines
    assert world.dynos.reconciled == [app["id"]]
    shown = await world.json("GET", "/apps/shop")
    assert shown["slug_size"] == 1234


async def test_a_rollback_brings_back_the_slug_and_the_config(world: Any) -> None:
    await world.json("POST", "/apps", {"name": "shop"})
    await world.json("PATCH", "/apps/shop/config-vars", {"A": "old"})
    first = await world.deploy("shop", {"web": "first"})
    await world.json("PATCH", "/apps/shop/config-vars", {"A": "new", "B": "2"})
    await world.deploy("shop", {"web": "second"})
    made = await world.json("POST", "/apps/shop/releases", {"release": first.id})
    assert made["description"] == f"Rollback to v{first.version}"
    assert made["current"] is True
    assert await world.json("GET", "/apps/shop/config-vars") == {"A": "old"}
    assert (await world.json("GET", "/apps/shop/dynos"))[0]["command"] == "first"


async def test_a_rollback_leaves_add_on_config_as_it_is_now(world: Any) -> None:
    await world.json("POST", "/apps", {"name": "shop"})
    first = await world.deploy("shop")
    await world.json("POST", "/apps/shop/addons", {"plan": "store"})
    await world.json("POST", "/apps/shop/releases", {"release": str(first.version)})
    assert "STORE_URL" in await world.json("GET", "/apps/shop/config-vars")


@pytest.mark.parametrize("release", ["2", "v1"])
async def test_there_is_no_rolling_back_to_a_release_without_code(world: Any, release: str) -> None:
    await world.json("POST", "/apps", {"name": "shop"})
    response = await world.call("POST", "/apps/shop/releases", {"release": release})
    assert (response.status_code, response.json()["id"]) == (422, "invalid_params")


@pytest.mark.parametrize("release", ["99", "nope", "-1", "9" * 30])
async def test_an_unknown_release_is_a_404(world: Any, release: str) -> None:
    await world.json("POST", "/apps", {"name": "shop"})
    for method, path, body in (
        ("GET", f"/apps/shop/releases/{release}", None),
        ("POST", "/apps/shop/releases", {"release": release}),
    ):
        response = await world.call(method, path, body)
        assert (response.status_code, response.json()["resource"]) == (404, "release")


async def test_a_failed_release_command_keeps_the_old_release_current(world: Any) -> None:
    await world.json("POST", "/apps", {"name": "shop"})
    good = await world.deploy("shop", {"web": "good"})
    world.dynos.release_exit_code = 1
    bad = await world.deploy("shop", {"web": "bad", "release": "migrate"})
    assert bad.status is ReleaseStatus.FAILED
    releases = await world.json("GET", "/apps/shop/releases")
    assert [each["version"] for each in releases if each["current"]] == [good.version]
    assert releases[-1]["status"] == "failed"
    assert releases[-1]["eligible_for_rollback"] is False
    assert (await world.json("GET", "/apps/shop/dynos"))[0]["command"] == "good"
    world.dynos.release_exit_code = 0
    await world.json("PATCH", "/apps/shop/config-vars", {"A": "1"})
    assert (await world.json("GET", "/apps/shop/dynos"))[0]["command"] == "good"


async def test_what_a_release_command_prints_can_be_read_without_a_key(world: Any) -> None:
    await world.json("POST", "/apps", {"name": "shop"})
    await world.deploy("shop", {"web": "x", "release": "migrate --all"})
    release = (await world.json("GET", "/apps/shop/releases"))[-1]
    assert (release["status"], release["current"]) == ("succeeded", True)
    response = await world.call("GET", release["output_stream_url"], Authorization="")
    assert response.text == "ran migrate --all\n"
    wrong = release["output_stream_url"][:-1] + "x"
    assert (await world.call("GET", wrong, Authorization="")).status_code == 404


async def test_a_config_change_runs_the_release_command_before_it_is_current(world: Any) -> None:
    await world.json("POST", "/apps", {"name": "shop"})
    await world.deploy("shop", {"web": "x", "release": "migrate"})
    world.dynos.release_exit_code = 3
    await world.json("PATCH", "/apps/shop/config-vars", {"A": "1"})
    newest = (await world.json("GET", "/apps/shop/releases"))[-1]
    assert (newest["description"], newest["status"], newest["current"]) == (
        "Set A config vars", "failed", False,
    )  # fmt: skip


async def test_the_list_pages_as_the_cli_asks(world: Any) -> None:
    await world.json("POST", "/apps", {"name": "shop"})
    for n in range(12):
        await world.json("PATCH", "/apps/shop/config-vars", {"A": str(n)})
    response = await world.call("GET", "/apps/shop/releases", Range="version ..; max=10, order=desc")
    assert response.status_code == 206
    assert [each["version"] for each in response.json()] == list(range(14, 4, -1))
    rest = await world.call("GET", "/apps/shop/releases", Range=response.headers["next-range"])
    assert rest.status_code == 200
    assert [each["version"] for each in rest.json()] == [4, 3, 2, 1]


async def test_a_config_change_during_a_release_phase_does_not_lose_the_new_code(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.json("POST", "/apps", {"name": "shop"})
    await world.deploy("shop", {"web": "old"})
    begun, go = asyncio.Event(), asyncio.Event()

    async def slow(_spec: Any, _command: str) -> int:
        begun.set()
        await go.wait()
        return 0

    monkeypatch.setattr(world.dynos, "run_release_phase", slow)
    deploying = asyncio.ensure_future(world.deploy("shop", {"web": "new", "release": "migrate"}))
    await begun.wait()
    changed = await world.http.patch("/apps/shop/config-vars", json={"A": "1"})
    assert changed.status_code == 200
    go.set()
    await deploying
    newest = (await world.json("GET", "/apps/shop/releases"))[-1]
    assert (newest["description"], newest["current"]) == ("Set A config vars", True)
    assert (await world.json("GET", "/apps/shop/dynos"))[0]["command"] == "new"
    assert await world.json("GET", "/apps/shop/config-vars") == {"A": "1"}


async def test_a_release_phase_that_a_crash_cut_short_has_failed_after_the_restart(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.json("POST", "/apps", {"name": "shop"})
    good = await world.deploy("shop", {"web": "old"})
    begun = asyncio.Event()

    async def never(_spec: Any, _command: str) -> int:
        begun.set()
        await asyncio.Event().wait()
        return 0

    monkeypatch.setattr(world.dynos, "run_release_phase", never)
    deploying = asyncio.ensure_future(world.deploy("shop", {"web": "new", "release": "migrate"}))
    await begun.wait()
    await world.platform.background.close(grace=0.0)
    await asyncio.gather(deploying, return_exceptions=True)
    assert await world.platform.releases.recover() == 1
    releases = await world.json("GET", "/apps/shop/releases")
    assert releases[-1]["status"] == "failed"
    assert [each["version"] for each in releases if each["current"]] == [good.version]


async def test_a_release_phase_goes_on_when_whoever_pushed_hangs_up(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.json("POST", "/apps", {"name": "shop"})
    begun, go = asyncio.Event(), asyncio.Event()

    async def slow(_spec: Any, _command: str) -> int:
        begun.set()
        await go.wait()
        return 0

    monkeypatch.setattr(world.dynos, "run_release_phase", slow)
    deploying = asyncio.ensure_future(world.deploy("shop", {"web": "new", "release": "migrate"}))
    await begun.wait()
    deploying.cancel()
    await asyncio.gather(deploying, return_exceptions=True)
    go.set()
    await world.platform.background.drain()
    newest = (await world.json("GET", "/apps/shop/releases"))[-1]
    assert (newest["status"], newest["current"]) == ("succeeded", True)
