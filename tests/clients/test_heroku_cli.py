"""The unmodified `heroku` CLI: account, apps, config, drains, logs, and how errors look."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import quote


def test_whoami_apps_and_their_life(heroku: Any, platform_process: Any) -> None:
    assert heroku.run("whoami").strip() == "dev@example.com"
    app = f"made-{platform_process.base}"
    created = heroku.run("apps:create", app)
    assert f"http://{app}.localhost:{platform_process.base + 2}/" in created
    assert f"https://localhost:{platform_process.base + 1}/{app}.git" in created
    assert app in heroku.run("apps").split()
    info = heroku.run("apps:info", "-a", app)
    assert "Owner:          dev@example.com" in info
    assert "heroku-24" in info
    heroku.run("apps:rename", f"{app}-b", "-a", app)
    heroku.run("apps:destroy", "-a", f"{app}-b", "--confirm", f"{app}-b")
    assert platform_process.api.get(f"/apps/{app}-b").status_code == 404


def test_config_vars_make_releases_that_are_listed(heroku: Any, platform_process: Any) -> None:
    app = platform_process.new_app()
    assert "A:" in heroku.run("config:set", "A=one", "B=two words", "-a", app)
    assert platform_process.json("GET", f"/apps/{app}/config-vars") == {"A": "one", "B": "two words"}
    assert heroku.run("config:get", "B", "-a", app) == "two words\n"
    heroku.run("config:unset", "A", "-a", app)
    assert heroku.run("config", "-a", app).split() == ["===", app, "Config", "Vars", "B:", "two", "words"]
    releases = heroku.run("releases", "-a", app)
    assert f"=== {app} Releases - Current: v4" in releases
    for text in ("Set A, B config vars", "Remove A config vars", "Initial release"):
        assert text in releases
    assert "Set A, B config vars" in heroku.run("releases:info", "v3", "-a", app)


def test_maintenance_domains_and_access(heroku: Any, platform_process: Any) -> None:
    app = platform_process.new_app()
    heroku.run("maintenance:on", "-a", app)
    assert heroku.run("maintenance", "-a", app) == "on\n"
    assert platform_process.json("GET", f"/apps/{app}")["maintenance"] is True
    assert f"{app}.localhost" in heroku.run("domains", "-a", app)
    assert "owner" in heroku.run("access", "-a", app)


def test_drains_are_named_by_their_url(heroku: Any, platform_process: Any, vendor: Any) -> None:
    app = platform_process.new_app()
    url = f"{vendor.url}/logs/{app}?a=b%20c"
    assert "Successfully added drain" in heroku.run("drains:add", url, "-a", app)
    drain = platform_process.json("GET", f"/apps/{app}/log-drains")[0]
    assert drain["url"] == url
    listed = heroku.run("drains", "-a", app)
    assert url in listed
    assert drain["token"] in listed
    platform_process.json("PATCH", f"/apps/{app}/config-vars", {"MARK": app})
    assert b"app api" in vendor.wait_for_line(b"Set MARK config vars by user dev@example.com")
    heroku.run("drains:remove", url, "-a", app)
    assert platform_process.json("GET", f"/apps/{app}/log-drains") == []
    gone = platform_process.api.delete(f"/apps/{app}/log-drains/{quote(url, safe='')}")
    assert gone.status_code == 404


def test_logs_come_at_once_and_a_tail_goes_on(heroku: Any, platform_process: Any) -> None:
    app = platform_process.new_app()
    platform_process.json("PATCH", f"/apps/{app}/config-vars", {"A": "1"})
    shown = heroku.run("logs", "-a", app)
    assert "app[api]: Set A config vars by user dev@example.com" in shown
    assert "app[api]: Release v3 created by user dev@example.com" in shown
    assert heroku.run("logs", "-a", app, "--dyno-name", "web.1") == ""
    tail = heroku.start("logs", "--tail", "-a", app)
    try:
        seen = [tail.stdout.readline() for _ in range(3)]
        assert "Release v3" in seen[-1]
        platform_process.json("PATCH", f"/apps/{app}/config-vars", {"A": "2"})
        assert "Set A config vars" in tail.stdout.readline()
        assert "Release v4 created" in tail.stdout.readline()
    finally:
        tail.kill()
        tail.communicate()


def test_errors_say_what_to_do(heroku: Any, platform_process: Any) -> None:
    app = platform_process.new_app()
    missing = heroku.run("config", "-a", "no-such-app-here", fails=True).err
    assert "Couldn't find that app." in missing
    assert "Error ID: not_found" in missing
    taken = heroku.run("apps:create", app, fails=True).err
    assert f"Name {app} is already taken" in taken
    assert "Error ID: not_found" in heroku.run("pipelines", fails=True).err
    assert "One-off dynos" in heroku.run("run", "-a", app, "ls", fails=True).err


def test_a_wrong_key_is_refused(heroku: Any) -> None:
    env = {**heroku.env, "HEROKU_API_KEY": "HRKU-00000000-0000-0000-0000-000000000000"}
    stranger = replace(heroku, env=env)
    assert "Invalid credentials provided" in stranger.run("whoami", fails=True).err
