"""Apps, config vars and formation."""

from __future__ import annotations

from typing import Any

import pytest

from platform_core.api.formation import new_quantity
from platform_core.base.errors import InvalidInput

pytestmark = pytest.mark.anyio


async def test_a_new_app_has_all_that_the_cli_reads(world: Any) -> None:
    app = await world.json("POST", "/apps", {"name": "shop"})
    assert app["web_url"] == "http://shop.localhost:7082/"
    assert app["git_url"] == "https://localhost:7081/shop.git"
    assert app["owner"]["email"] == "dev@example.com"
    assert app["stack"]["name"] == app["build_stack"]["name"] == "heroku-24"
    assert app["repo_size"] is None
    assert app["slug_size"] is None
    assert await world.json("GET", f"/apps/{app['id']}") == app


async def test_an_app_without_a_name_gets_one(world: Any) -> None:
    first = await world.json("POST", "/apps")
    second = await world.json("POST", "/apps", {})
    assert first["name"] != second["name"]


@pytest.mark.parametrize("name", ["Shop", "s", "-shop", "shop-", "a" * 31, "sh op", "../etc", "shop.git"])
async def test_a_name_that_is_no_host_name_is_refused(world: Any, name: str) -> None:
    response = await world.call("POST", "/apps", {"name": name})
    assert (response.status_code, response.json()["id"]) == (422, "invalid_params")


async def test_a_taken_name_is_refused(world: Any) -> None:
    await world.json("POST", "/apps", {"name": "shop"})
    response = await world.call("POST", "/apps", {"name": "shop"})
    assert (response.status_code, response.json()["message"]) == (422, "Name shop is already taken")


async def test_renaming_changes_the_urls_and_reconciles(world: Any) -> None:
    app = await world.json("POST", "/apps", {"name": "shop"})
    renamed = await world.json("PATCH", "/apps/shop", {"name": "store"})
    assert renamed["git_url"].endswith("/store.git")
    assert (await world.call("GET", "/apps/shop")).status_code == 404
    assert world.dynos.reconciled == [app["id"]]


async def test_maintenance_is_switched_and_seen(world: Any) -> None:
    await world.json("POST", "/apps", {"name": "shop"})
    assert (await world.json("PATCH", "/apps/shop", {"maintenance": True}))["maintenance"] is True
    assert (await world.json("GET", "/apps/shop"))["maintenance"] is True


async def test_destroying_stops_dynos_forgets_logs_and_tells_the_vendor(world: Any) -> None:
    app = await world.json("POST", "/apps", {"name": "shop"})
    addon = await world.json("POST", "/apps/shop/addons", {"plan": "store"})
    await world.json("DELETE", "/apps/shop")
    assert ("destroy", app["id"], None) in world.dynos.calls
    assert world.vendor.requests[-1][:2] == ("DELETE", f"/heroku/resources/{addon['id']}")
    assert world.logs.drains == {}
    assert await world.json("GET", "/apps") == []
    assert await world.json("GET", "/addons") == []


async def test_config_vars_are_set_listed_and_removed(world: Any) -> None:
    await world.json("POST", "/apps", {"name": "shop"})
    assert await world.json("PATCH", "/apps/shop/config-vars", {"B": "2", "A": "1"}) == {"A": "1", "B": "2"}
    assert await world.json("PATCH", "/apps/shop/config-vars", {"A": None}) == {"B": "2"}
    releases = await world.json("GET", "/apps/shop/releases")
    assert [each["description"] for each in releases] == [
        "Initial release", "Enable Logplex", "Set B, A config vars", "Remove A config vars",
    ]  # fmt: skip


async def test_setting_what_is_set_already_makes_no_release(world: Any) -> None:
    await world.json("POST", "/apps", {"name": "shop"})
    await world.json("PATCH", "/apps/shop/config-vars", {"A": "1"})
    before = await world.json("GET", "/apps/shop/releases")
    await world.json("PATCH", "/apps/shop/config-vars", {"A": "1", "GONE": None})
    assert await world.json("GET", "/apps/shop/releases") == before


@pytest.mark.parametrize("change", [{"1A": "x"}, {"A-B": "x"}, {"": "x"}, {"A": "x\0y"}, {"A": "x" * 70_000}])
async def test_a_bad_config_var_changes_nothing(world: Any, change: dict[str, str]) -> None:
    await world.json("POST", "/apps", {"name": "shop"})
    assert (await world.call("PATCH", "/apps/shop/config-vars", change)).status_code == 422
    assert await world.json("GET", "/apps/shop/config-vars") == {}
    assert len(await world.json("GET", "/apps/shop/releases")) == 2


async def test_the_first_deploy_starts_one_web_dyno(world: Any) -> None:
    await world.json("POST", "/apps", {"name": "shop"})
    await world.deploy("shop")
    assert [each["name"] for each in await world.json("GET", "/apps/shop/dynos")] == ["web.1"]
    formation = await world.json("GET", "/apps/shop/formation")
    assert [(each["type"], each["quantity"]) for each in formation] == [("web", 1), ("worker", 0)]


async def test_a_later_deploy_leaves_the_quantities_alone(world: Any) -> None:
    await world.json("POST", "/apps", {"name": "shop"})
    await world.deploy("shop")
    await world.json("PATCH", "/apps/shop/formation", {"updates": [{"type": "web", "quantity": 0}]})
    await world.deploy("shop")
    assert await world.json("GET", "/apps/shop/dynos") == []


async def test_quantities_as_text_and_as_deltas_are_resolved(world: Any) -> None:
    await world.json("POST", "/apps", {"name": "shop"})
    await world.deploy("shop")
    updates = [{"type": "web", "quantity": "+2"}, {"type": "worker", "quantity": "1", "size": "standard-2x"}]
    changed = await world.json("PATCH", "/apps/shop/formation", {"updates": updates})
    assert [(each["type"], each["quantity"], each["size"]) for each in changed] == [
        ("web", 3, "Basic"), ("worker", 1, "Standard-2X"),
    ]  # fmt: skip
    assert len(await world.json("GET", "/apps/shop/dynos")) == 4
    one = await world.json("PATCH", "/apps/shop/formation/web", {"quantity": "-5"})
    assert one["quantity"] == 0


@pytest.mark.parametrize(
    "update",
    [{"type": "web", "quantity": "many"}, {"type": "web", "quantity": 101}, {"type": "web", "size": "huge"}],
)
async def test_a_wrong_scale_changes_nothing(world: Any, update: dict[str, Any]) -> None:
    await world.json("POST", "/apps", {"name": "shop"})
    await world.deploy("shop")
    updates = [{"type": "worker", "quantity": 1}, update]
    assert (await world.call("PATCH", "/apps/shop/formation", {"updates": updates})).status_code == 422
    formation = await world.json("GET", "/apps/shop/formation")
    assert [each["quantity"] for each in formation] == [1, 0]


async def test_a_type_that_is_not_in_the_procfile_is_a_404(world: Any) -> None:
    await world.json("POST", "/apps", {"name": "shop"})
    await world.deploy("shop", {"web": "x", "release": "migrate"})
    for name in ("nope", "release"):
        updates = [{"type": name, "quantity": 1}]
        response = await world.call("PATCH", "/apps/shop/formation", {"updates": updates})
        assert (response.status_code, response.json()["resource"]) == (404, "formation")


def test_quantities() -> None:
    assert [new_quantity(each, 3) for each in ("5", 5, "+1", "-1", "-9", None)] == [5, 5, 4, 2, 0, 3]
    for wrong in ("", "1.5", "++1", "1e3", "-"):
        with pytest.raises(InvalidInput):
            new_quantity(wrong, 3)


async def test_restart_and_stop_take_a_dyno_or_a_type(world: Any) -> None:
    app = await world.json("POST", "/apps", {"name": "shop"})
    await world.deploy("shop")
    for method, path in (
        ("DELETE", "/apps/shop/dynos"),
        ("DELETE", "/apps/shop/dynos/web.1"),
        ("DELETE", "/apps/shop/formations/web"),
        ("POST", "/apps/shop/dynos/web.1/actions/stop"),
        ("POST", "/apps/shop/formations/web/actions/stop"),
    ):
        assert (await world.call(method, path)).status_code == 202
    expected = [
        ("restart", None),
        ("restart", "web.1"),
        ("restart", "web"),
        ("stop", "web.1"),
        ("stop", "web"),
    ]
    assert world.dynos.calls == [(what, app["id"], selector) for what, selector in expected]
    assert (await world.call("DELETE", "/apps/shop/dynos/web.7")).status_code == 404
