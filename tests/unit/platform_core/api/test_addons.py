"""Add-ons through the API, against a vendor behind the Partner API."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import pytest

from platform_core.store.addons import owed_give_backs

pytestmark = pytest.mark.anyio
RESOURCES = "/heroku/resources"


@pytest.fixture
async def shop(world: Any) -> Any:
    """A world with an app called shop."""
    await world.json("POST", "/apps", {"name": "shop"})
    return world


async def _create(world: Any, **more: Any) -> Any:
    return await world.json("POST", "/apps/shop/addons", {"plan": {"name": "store:small"}, **more})


async def _descriptions(world: Any, app: str = "shop") -> list[str]:
    return [each["description"] for each in await world.json("GET", f"/apps/{app}/releases")]


async def test_provisioning_sends_what_the_partner_api_says(shop: Any) -> None:
    addon = await _create(shop, config={"size": "5", "fast": True})
    method, path, body = shop.vendor.requests[0]
    assert (method, path) == ("POST", RESOURCES)
    assert body["uuid"] == addon["id"]
    assert body["name"] == addon["name"]
    assert body["plan"] == "small"
    assert body["region"] == "amazon-web-services::us-east-1"
    assert body["callback_url"] == f"http://localhost:7080/addons/{addon['id']}"
    assert body["options"] == {"size": "5", "fast": "true"}
    assert body["oauth_grant"]["type"] == "authorization_code"
    assert re.fullmatch(r"d\.[0-9a-f-]{36}", body["log_drain_token"])
    assert "log_input_url" not in body


async def test_a_new_add_on_brings_config_a_drain_and_one_release(shop: Any) -> None:
    addon = await _create(shop)
    assert (addon["state"], addon["provision_message"]) == ("provisioned", "ready")
    assert addon["config_vars"] == ["STORE_KEY", "STORE_URL"]
    assert addon["plan"]["price"]["cents"] == addon["billed_price"]["cents"] == 500
    config = await shop.json("GET", "/apps/shop/config-vars")
    assert config == {"STORE_KEY": "k-1", "STORE_URL": "https://store.example.com/x"}
    drains = await shop.json("GET", "/apps/shop/log-drains")
    assert drains[0]["token"] == shop.vendor.requests[0][2]["log_drain_token"]
    assert await _descriptions(shop) == [
        "Initial release", "Enable Logplex", f"Attach STORE (@ref:{addon['name']})",
    ]  # fmt: skip
    newest = (await shop.json("GET", "/apps/shop/releases"))[-1]
    assert newest["addon_plan_names"] == ["store:small"]


async def test_a_second_one_gets_a_colour(shop: Any) -> None:
    await _create(shop)
    second = await _create(shop)
    assert all(re.fullmatch(r"STORE_[A-Z]+_(URL|KEY)", name) for name in second["config_vars"])
    assert len(await shop.json("GET", "/apps/shop/config-vars")) == 4


async def test_the_attachment_name_replaces_the_prefix(shop: Any) -> None:
    addon = await _create(shop, attachment={"name": "lake"}, name="my-lake")
    assert addon["name"] == "my-lake"
    assert addon["config_vars"] == ["LAKE_KEY", "LAKE_URL"]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((422, {"message": "No more room."}), "No more room."),
        ((503, {"message": "Back at noon."}), "Back at noon."),
        ((401, {}), "password"),
        ((400, {"message": "internal words"}), "HTTP status 400"),
        ((200, {"config": {}}), "without an id"),
        ((200, []), "not a JSON object"),
        ((200, {"id": "1", "config": {"OTHER_URL": "https://x"}}), "does not declare"),
        ((200, {"id": "1", "config": {"STORE_KEY": 5}}), "not a string"),
        ((200, {"id": "1", "config": {"STORE_URL": "nonsense"}}), "not a URL"),
        ((200, {"id": "1", "log_drain_url": "gopher://x"}), "log_drain_url"),
    ],
)
async def test_a_refusal_leaves_nothing_behind(shop: Any, answer: tuple[int, Any], message: str) -> None:
    shop.vendor.answers = [answer]
    response = await shop.call("POST", "/apps/shop/addons", {"plan": "store"})
    assert response.status_code in {422, 503}
    assert message in response.json()["message"]
    assert await shop.json("GET", "/apps/shop/addons") == []
    assert await shop.json("GET", "/apps/shop/addon-attachments") == []
    assert await shop.json("GET", "/apps/shop/config-vars") == {}
    assert len(await _descriptions(shop)) == 2
    assert shop.vendor.requests[-1][0] == "DELETE"
    assert shop.platform.store.run_sync(owed_give_backs) == []


async def test_a_passing_failure_is_retried_with_the_same_uuid(shop: Any) -> None:
    shop.vendor.answers = [(502, {}), (500, {})]
    addon = await _create(shop)
    assert [body["uuid"] for _, _, body in shop.vendor.requests] == [addon["id"]] * 3


async def test_a_vendor_that_stays_away_is_told_later(shop: Any) -> None:
    shop.vendor.answers = [(502, {})] * 6
    response = await shop.call("POST", "/apps/shop/addons", {"plan": "store"})
    assert (response.status_code, response.json()["id"]) == (503, "service_unavailable")
    owed = shop.platform.store.run_sync(owed_give_backs)
    assert [service for _, service in owed] == ["store"]
    await shop.platform.addons.give_backs.recover()
    assert shop.vendor.requests[-1][:2] == ("DELETE", f"{RESOURCES}/{owed[0][0]}")
    assert shop.platform.store.run_sync(owed_give_backs) == []


async def test_an_asynchronous_add_on_reaches_the_app_when_its_vendor_says_so(shop: Any) -> None:
    shop.vendor.answers = [(202, {"id": "r-1", "message": "soon", "log_drain_url": "https://in.example.com"})]
    addon = await _create(shop)
    assert addon["state"] == "provisioning"
    form = {
        "grant_type": "authorization_code",
        "code": shop.vendor.requests[0][2]["oauth_grant"]["code"],
        "client_secret": "client",
    }
    tokens = (await shop.http.post("/oauth/token", data=form)).json()
    assert tokens["expires_in"] == 28_800
    vendor = f"Bearer {tokens['access_token']}"
    path = f"/addons/{addon['id']}"
    change = {"config": [{"name": "STORE_KEY", "value": "k-2"}]}
    assert await shop.json("PATCH", f"{path}/config", change, Authorization=vendor) == change["config"]
    assert await shop.json("GET", "/apps/shop/config-vars") == {}
    done = await shop.json("POST", f"{path}/actions/provision", Authorization=vendor)
    assert done["state"] == "provisioned"
    assert await shop.json("GET", "/apps/shop/config-vars") == {"STORE_KEY": "k-2"}
    assert len(await shop.json("GET", "/apps/shop/log-drains")) == 1
    await shop.json("PATCH", f"{path}/config", {"config": [{"name": "STORE_KEY"}]}, Authorization=vendor)
    assert await shop.json("GET", "/apps/shop/config-vars") == {}
    assert (await _descriptions(shop))[2:] == [
        f"Attach STORE (@ref:{addon['name']})", "Update STORE by store",
    ]  # fmt: skip
    again = await shop.http.post("/oauth/token", data=form)
    assert again.status_code == 401
    refresh = {
        "grant_type": "refresh_token",
        "refresh_token": tokens["refresh_token"],
        "client_secret": "client",
    }
    assert (await shop.http.post("/oauth/token", data=refresh)).status_code == 200


async def test_the_vendor_s_secret_and_the_code_s_age_are_checked(shop: Any) -> None:
    await _create(shop)
    code = shop.vendor.requests[0][2]["oauth_grant"]["code"]
    form = {"grant_type": "authorization_code", "code": code, "client_secret": "wrong"}
    assert (await shop.http.post("/oauth/token", data=form)).status_code == 401
    shop.clock.advance(301)
    form["client_secret"] = "client"
    assert (await shop.http.post("/oauth/token", data=form)).status_code == 401


async def test_two_apps_share_one_add_on(shop: Any) -> None:
    await shop.json("POST", "/apps", {"name": "other"})
    addon = await _create(shop)
    body = {"addon": {"name": addon["name"]}, "app": {"name": "other"}, "name": "LAKE"}
    made = await shop.json("POST", "/addon-attachments", body)
    assert sorted(await shop.json("GET", "/apps/other/config-vars")) == ["LAKE_KEY", "LAKE_URL"]
    assert (await _descriptions(shop, "other"))[-1] == f"Attach LAKE (@ref:{addon['name']})"
    tokens = {
        each["token"]
        for app in ("shop", "other")
        for each in await shop.json("GET", f"/apps/{app}/log-drains")
    }
    assert tokens == {shop.vendor.requests[0][2]["log_drain_token"]}
    refused = await shop.call("DELETE", f"/apps/shop/addons/{addon['id']}")
    assert "other" in refused.json()["message"]
    await shop.json("DELETE", f"/addon-attachments/{made['id']}")
    assert await shop.json("GET", "/apps/other/config-vars") == {}
    assert await shop.json("GET", "/apps/other/log-drains") == []
    assert (await _descriptions(shop, "other"))[-1] == f"Detach LAKE (@ref:{addon['name']})"


async def test_the_owner_s_last_attachment_stays(shop: Any) -> None:
    await _create(shop)
    attachment = (await shop.json("GET", "/apps/shop/addon-attachments"))[0]
    response = await shop.call("DELETE", f"/addon-attachments/{attachment['id']}")
    assert response.status_code == 422
    assert "addons:destroy" in response.json()["message"]


async def test_taking_over_a_name_must_be_confirmed(shop: Any) -> None:
    first = await _create(shop, attachment={"name": "LAKE"})
    extra = {"addon": first["id"], "app": "shop", "name": "SPARE"}
    await shop.json("POST", "/addon-attachments", extra)
    second = {"plan": "store", "attachment": {"name": "LAKE"}}
    response = await shop.call("POST", "/apps/shop/addons", second)
    assert (response.status_code, response.json()["id"]) == (423, "confirmation_required")
    made = await shop.json("POST", "/apps/shop/addons", {**second, "confirm": "shop"})
    assert made["config_vars"] == ["LAKE_KEY", "LAKE_URL"]
    attached = await shop.json("GET", "/apps/shop/addon-attachments")
    assert {each["name"]: each["addon"]["id"] for each in attached} == {
        "LAKE": made["id"], "SPARE": first["id"],
    }  # fmt: skip


async def test_an_add_on_s_config_vars_cannot_be_set_by_hand(shop: Any) -> None:
    await _create(shop)
    for value in ("mine", None):
        response = await shop.call("PATCH", "/apps/shop/config-vars", {"STORE_URL": value})
        assert response.status_code == 422
        assert "Cannot overwrite attachment values" in response.json()["message"]


async def test_a_config_var_set_by_hand_is_not_overwritten(shop: Any) -> None:
    await shop.json("PATCH", "/apps/shop/config-vars", {"STORE_URL": "mine", "LAKE_URL": "mine too"})
    addon = await _create(shop)
    assert "STORE_URL" not in addon["config_vars"]
    response = await shop.call("POST", "/apps/shop/addons", {"plan": "store", "attachment": {"name": "LAKE"}})
    assert response.status_code == 422
    assert "LAKE_URL" in response.json()["message"]
    assert len(await shop.json("GET", "/apps/shop/addons")) == 1


async def test_a_plan_change_asks_the_vendor_and_may_bring_new_config(shop: Any) -> None:
    addon = await _create(shop)
    shop.vendor.answers = [(200, {"message": "bigger", "config": {"STORE_KEY": "k-2"}})]
    changed = await shop.json("PATCH", f"/apps/shop/addons/{addon['name']}", {"plan": {"name": "store:big"}})
    assert shop.vendor.requests[-1] == ("PUT", f"{RESOURCES}/{addon['id']}", {"plan": "big"})
    assert (changed["plan"]["name"], changed["provision_message"]) == ("store:big", "bigger")
    assert (await shop.json("GET", "/apps/shop/config-vars"))["STORE_KEY"] == "k-2"
    assert (await _descriptions(shop))[-1] == "Update STORE by store"


async def test_an_unknown_plan_lists_those_there_are(shop: Any) -> None:
    addon = await _create(shop)
    response = await shop.call("PATCH", f"/addons/{addon['name']}", {"plan": {"name": "store:huge"}})
    assert response.json()["message"].startswith("Couldn't find either the add-on")


async def test_destroying_tells_the_vendor_then_releases(shop: Any) -> None:
    addon = await _create(shop)
    gone = await shop.json("DELETE", f"/apps/shop/addons/{addon['id']}", {"force": False})
    assert gone["state"] == "deprovisioned"
    assert shop.vendor.requests[-1][:2] == ("DELETE", f"{RESOURCES}/{addon['id']}")
    assert await shop.json("GET", "/apps/shop/config-vars") == {}
    assert (await _descriptions(shop))[-1] == f"Detach STORE (@ref:{addon['name']})"
    assert (await shop.call("GET", f"/apps/shop/addons/{addon['name']}")).status_code == 404
    assert await shop.json("GET", "/apps/shop/log-drains") == []


async def test_an_add_on_stays_while_its_vendor_refuses_to_end_it(shop: Any) -> None:
    addon = await _create(shop)
    shop.vendor.answers = [(503, {"message": "Backup is running."})]
    response = await shop.call("DELETE", f"/apps/shop/addons/{addon['id']}")
    assert response.json()["message"] == "Backup is running."
    assert (await shop.json("GET", f"/addons/{addon['id']}"))["state"] == "provisioned"
    assert "STORE_URL" in await shop.json("GET", "/apps/shop/config-vars")


@pytest.mark.parametrize("text", ["id", "name", "STORE", "store", "store:small", "shop::STORE"])
async def test_an_add_on_is_found_by_every_one_of_its_names(shop: Any, text: str) -> None:
    addon = await _create(shop)
    wanted = addon.get(text, text)
    for app in (None, "shop"):
        body = {"addon": wanted, "app": app}
        found = await shop.json("POST", "/actions/addons/resolve", body)
        assert [each["id"] for each in found] == [addon["id"]]


async def test_a_global_name_is_found_even_from_another_app(shop: Any) -> None:
    await shop.json("POST", "/apps", {"name": "other"})
    addon = await _create(shop)
    body = {"addon": addon["name"], "app": "other"}
    assert (await shop.json("POST", "/actions/addons/resolve", body))[0]["id"] == addon["id"]
    nothing = await shop.call("POST", "/actions/addons/resolve", {"addon": "STORE", "app": "other"})
    assert (nothing.status_code, nothing.json()["resource"]) == (404, "add_on")


@pytest.mark.parametrize("text", ["STORE", "store", "STORE_URL", "name"])
async def test_an_attachment_is_found_by_config_var_and_add_on_too(shop: Any, text: str) -> None:
    addon = await _create(shop)
    body = {"addon_attachment": addon.get(text, text), "app": "shop"}
    found = await shop.json("POST", "/actions/addon-attachments/resolve", body)
    assert [each["name"] for each in found] == ["STORE"]
    assert found[0]["web_url"]


async def test_the_sso_link_posts_to_the_vendor_once(shop: Any) -> None:
    addon = await _create(shop)
    link = urlsplit(addon["web_url"]).path
    page = await shop.call("GET", link, Authorization="")
    assert page.headers["cache-control"] == "no-store"
    assert 'action="https://store.example.com/sso"' in page.text
    assert f'name="resource_id" value="{addon["id"]}"' in page.text
    assert 'name="user_scoped_resource_token"' in page.text
    again = await shop.call("GET", link, Authorization="")
    assert again.status_code == 403
    assert "addons:open" in again.json()["message"]


async def test_a_rename_keeps_the_attachment(shop: Any) -> None:
    addon = await _create(shop)
    renamed = await shop.json("PATCH", f"/apps/shop/addons/{addon['name']}", {"name": "my-store"})
    assert (renamed["name"], renamed["config_vars"]) == ("my-store", addon["config_vars"])
    other = await _create(shop)
    taken = await shop.call("PATCH", f"/addons/{other['name']}", {"name": "my-store"})
    assert taken.status_code == 422
