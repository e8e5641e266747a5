"""Who may call what: deny by default."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest
from fastapi.routing import APIRoute

from platform_core.api.application import create_api
from platform_core.store.accounts import add_authorization

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

pytestmark = pytest.mark.anyio
PUBLIC = {
    ("POST", "/oauth/authorizations"),
    ("POST", "/oauth/token"),
    ("GET", "/streams/{session_id}"),
    ("GET", "/release-outputs/{app_id}/{release_id}/{token}"),
    ("GET", "/sso/{ticket}"),
}
KEY = "HRKU-0b0e6a5e-6f7c-4f5a-9d3a-5c1d2e3f4a5b"
OTHER_KEY = "HRKU-11111111-6f7c-4f5a-9d3a-5c1d2e3f4a5b"


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _endpoints(routes: Iterable[Any]) -> Iterator[tuple[str, str]]:
    for route in routes:
        if isinstance(route, APIRoute):
            yield from ((method, route.path) for method in route.methods)
        else:
            yield from _endpoints(route.original_router.routes)


async def test_every_route_but_the_public_ones_refuses_a_call_without_a_key(world: Any) -> None:
    endpoints = set(_endpoints(create_api(world.platform).routes))
    assert len(endpoints) > 60
    assert endpoints >= PUBLIC
    for method, path in endpoints - PUBLIC:
        plain = path.replace("{", "").replace("}", "").replace(":path", "")
        response = await world.call(method, plain, Authorization="")
        assert response.status_code == 401, (method, path)
        assert response.json()["id"] == "unauthorized"


@pytest.mark.parametrize(
    "header", [f"Bearer {KEY}", _basic("", KEY), _basic("anybody", KEY), f"bearer {KEY}"]
)
async def test_a_key_is_taken_as_bearer_or_as_a_basic_password(world: Any, header: str) -> None:
    assert (await world.json("GET", "/account", Authorization=header))["email"] == "dev@example.com"


@pytest.mark.parametrize("header", ["Bearer", "Bearer HRKU-wrong", "Basic !!", "Basic", _basic("x", ""), KEY])
async def test_anything_else_is_no_key(world: Any, header: str) -> None:
    response = await world.call("GET", "/account", Authorization=header)
    assert response.status_code == 401
    assert response.json()["id"] == "unauthorized"


async def test_somebody_else_s_app_does_not_exist(world: Any) -> None:
    await world.json("POST", "/apps", {"name": "mine"})
    other = f"Bearer {OTHER_KEY}"
    assert await world.json("GET", "/apps", Authorization=other) == []
    for method, path, body in (
        ("GET", "/apps/mine", None),
        ("DELETE", "/apps/mine", None),
        ("PATCH", "/apps/mine/config-vars", {"A": "1"}),
        ("POST", "/apps/mine/log-sessions", {}),
        ("POST", "/apps/mine/addons", {"plan": "store"}),
    ):
        response = await world.call(method, path, body, Authorization=other)
        assert (response.status_code, response.json()["resource"]) == (404, "app"), path
    assert (await world.json("GET", "/apps/mine"))["name"] == "mine"


async def test_login_with_the_key_as_password_makes_a_new_key(world: Any) -> None:
    header = _basic("dev@example.com", KEY)
    body = {"description": "login", "expires_in": 60, "scope": ["global"]}
    made = await world.json("POST", "/oauth/authorizations", body, Authorization=header)
    fresh = f"Bearer {made['access_token']['token']}"
    assert made["user"]["email"] == "dev@example.com"
    assert (await world.json("GET", "/account", Authorization=fresh))["email"] == "dev@example.com"
    world.clock.advance(61)
    assert (await world.call("GET", "/account", Authorization=fresh)).status_code == 401


async def test_login_with_somebody_else_s_address_is_refused(world: Any) -> None:
    header = _basic("other@example.com", KEY)
    response = await world.call("POST", "/oauth/authorizations", {}, Authorization=header)
    assert response.status_code == 401


async def test_a_revoked_key_is_refused(world: Any) -> None:
    made = await world.json("POST", "/oauth/authorizations", {})
    fresh = f"Bearer {made['access_token']['token']}"
    await world.json("DELETE", f"/oauth/authorizations/{made['id']}")
    assert (await world.call("GET", "/account", Authorization=fresh)).status_code == 401


async def test_a_vendor_s_token_opens_its_own_add_on_only(world: Any) -> None:
    await world.json("POST", "/apps", {"name": "shop"})
    mine = await world.json("POST", "/apps/shop/addons", {"plan": {"name": "store"}})
    other = await world.json("POST", "/apps/shop/addons", {"plan": {"name": "store"}})
    world.platform.store.run_sync(
        add_authorization, "vendor-token", "v", world.clock.now(), addon_id=mine["id"]
    )
    vendor = "Bearer vendor-token"
    assert (await world.json("GET", f"/addons/{mine['id']}", Authorization=vendor))["id"] == mine["id"]
    assert (await world.call("GET", f"/addons/{other['id']}", Authorization=vendor)).status_code == 404
    for path in ("/account", "/apps", "/apps/shop", "/apps/shop/config-vars", "/addons"):
        assert (await world.call("GET", path, Authorization=vendor)).status_code == 403, path
