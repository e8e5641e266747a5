"""The unmodified `heroku` CLI and add-ons, against a vendor over real HTTP."""

from __future__ import annotations

import re
from typing import Any

import httpx


def test_an_add_on_from_the_catalog_to_its_end(heroku: Any, platform_process: Any, vendor: Any) -> None:
    app = platform_process.new_app()
    assert "The Shelf" in heroku.run("addons:services")
    assert "$50/month" in heroku.run("addons:plans", "shelf")
    name = f"{app}-shelf"
    created = heroku.run("addons:create", "shelf:small", "--name", name, "-a", app)
    assert "max $5/month" in created.err
    assert "The shelf is ready." in created
    addon = platform_process.json("GET", f"/addons/{name}")
    asked = next(body for method, _, body in vendor.requests if method == "POST" and body["name"] == name)
    assert (asked["uuid"], asked["plan"]) == (addon["id"], "small")
    config = platform_process.json("GET", f"/apps/{app}/config-vars")
    assert config == {"SHELF_KEY": "key-1", "SHELF_URL": f"{vendor.url}/{addon['id']}"}
    table = heroku.run("addons", "-a", app)
    assert name in table
    assert "as SHELF" in table
    assert f"=== {name}" in heroku.run("addons:info", name)
    assert "Plan changed." in heroku.run("addons:upgrade", name, "shelf:large")
    assert ("PUT", f"/heroku/resources/{addon['id']}", {"plan": "large"}) in vendor.requests
    heroku.run("addons:rename", name, f"{name}-b")
    heroku.run("addons:destroy", f"{name}-b", "--confirm", app)
    assert ("DELETE", f"/heroku/resources/{addon['id']}", None) in vendor.requests
    assert platform_process.json("GET", f"/apps/{app}/config-vars") == {}
    descriptions = [each["description"] for each in platform_process.json("GET", f"/apps/{app}/releases")]
    assert descriptions[2:] == [f"Attach SHELF (@ref:{name})", f"Detach SHELF (@ref:{name}-b)"]


def test_one_add_on_serves_two_apps(heroku: Any, platform_process: Any, vendor: Any) -> None:
    owner, other = platform_process.new_app(), platform_process.new_app()
    addon = platform_process.json("POST", f"/apps/{owner}/addons", {"plan": "shelf"})
    attached = heroku.run("addons:attach", addon["name"], "--as", "LAKE", "-a", other)
    assert "done, v3" in attached.err
    config = platform_process.json("GET", f"/apps/{other}/config-vars")
    assert sorted(config) == ["LAKE_KEY", "LAKE_URL"]
    assert "as LAKE" in heroku.run("addons", "-a", other)
    token = platform_process.json("GET", f"/apps/{other}/log-drains")[0]["token"]
    assert token == vendor.requests[-1][2]["log_drain_token"]
    heroku.run("addons:detach", "LAKE", "-a", other)
    assert platform_process.json("GET", f"/apps/{other}/config-vars") == {}


def test_an_add_on_s_drain_gets_the_app_s_lines(platform_process: Any, vendor: Any) -> None:
    app = platform_process.new_app()
    platform_process.json("POST", f"/apps/{app}/addons", {"plan": "shelf"})
    platform_process.json("PATCH", f"/apps/{app}/config-vars", {"DRAINED": "1"})
    assert b"app api" in vendor.wait_for_line(b"Set DRAINED config vars by user")


def test_the_vendor_s_refusal_is_shown_and_leaves_nothing(
    heroku: Any, platform_process: Any, vendor: Any
) -> None:
    app = platform_process.new_app()
    vendor.refusal = "No shelf is free in your region."
    try:
        assert vendor.refusal in heroku.run("addons:create", "shelf", "-a", app, fails=True).err
    finally:
        vendor.refusal = None
    assert platform_process.json("GET", f"/apps/{app}/addons") == []
    unknown = heroku.run("addons:create", "shelf:huge", "-a", app, fails=True).err
    assert "Couldn't find either the add-on" in unknown
    assert "shelf:small" in unknown


def test_a_taken_attachment_name_asks_for_confirmation(heroku: Any, platform_process: Any) -> None:
    app = platform_process.new_app()
    first = platform_process.json(
        "POST", f"/apps/{app}/addons", {"plan": "shelf", "attachment": {"name": "A"}}
    )
    platform_process.json("POST", "/addon-attachments", {"addon": first["id"], "app": app, "name": "SPARE"})
    heroku.run("addons:create", "shelf", "--as", "A", "--confirm", app, "-a", app)
    attached = platform_process.json("GET", f"/apps/{app}/addon-attachments")
    assert {each["name"]: each["addon"]["id"] == first["id"] for each in attached} == {
        "A": False,
        "SPARE": True,
    }


def test_the_dashboard_link_signs_in_at_the_vendor(platform_process: Any, vendor: Any) -> None:
    app = platform_process.new_app()
    addon = platform_process.json("POST", f"/apps/{app}/addons", {"plan": "shelf"})
    page = httpx.get(addon["web_url"], timeout=10).text
    assert f'action="{vendor.url}/sso"' in page
    assert re.search(r'name="resource_token" value="[0-9a-f]{40}"', page)
    assert httpx.get(addon["web_url"], timeout=10).status_code == 403
