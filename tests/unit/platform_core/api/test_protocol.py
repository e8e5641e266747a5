"""What binds every endpoint: errors, versions, request ids, limits."""

from __future__ import annotations

from typing import Any

import pytest

from platform_core.base.ids import is_uuid

pytestmark = pytest.mark.anyio


async def test_an_unknown_endpoint_is_a_404_in_heroku_s_form(world: Any) -> None:
    response = await world.call("GET", "/pipelines")
    assert response.status_code == 404
    assert response.json()["id"] == "not_found"
    assert "GET /pipelines" in response.json()["message"]


async def test_a_wrong_method_is_a_404_as_well(world: Any) -> None:
    assert (await world.call("PUT", "/account")).json()["id"] == "not_found"


@pytest.mark.parametrize("variant", ["", ".sdk", ".pipelines", ".account-quotas"])
async def test_every_variant_of_version_3_is_served(world: Any, variant: str) -> None:
    accept = f"application/vnd.heroku+json; version=3{variant}"
    assert (await world.call("GET", "/account", Accept=accept)).status_code == 200


async def test_a_body_that_is_no_json_is_a_400(world: Any) -> None:
    response = await world.http.post("/apps", content=b"{bad", headers={"content-type": "application/json"})
    assert response.status_code == 400
    assert response.json() == {"id": "bad_request", "message": "The request body cannot be parsed as JSON."}


async def test_half_a_character_is_a_422(world: Any) -> None:
    await world.json("POST", "/apps", {"name": "shop"})
    response = await world.http.patch("/apps/shop/config-vars", content=b'{"A": "\\ud800"}')
    assert (response.status_code, response.json()["id"]) == (422, "invalid_params")


async def test_a_one_off_dyno_is_refused_with_what_to_do_instead(world: Any) -> None:
    await world.json("POST", "/apps", {"name": "shop"})
    response = await world.call("POST", "/apps/shop/dynos", {"command": "ls", "attach": True})
    assert response.status_code == 400
    assert "heroku run" in response.json()["message"]
    assert "release:" in response.json()["message"]


async def test_another_version_is_refused(world: Any) -> None:
    response = await world.call("GET", "/account", Accept="application/vnd.heroku+json; version=2")
    assert (response.status_code, response.json()["id"]) == (406, "not_acceptable")


async def test_the_last_of_the_sent_request_ids_is_echoed(world: Any) -> None:
    response = await world.call("GET", "/account", Request_Id="first, second,third-3")
    assert response.headers["request-id"] == "third-3"


async def test_a_request_without_an_id_gets_one(world: Any) -> None:
    assert is_uuid((await world.call("GET", "/account")).headers["request-id"])
    forged = await world.call("GET", "/nowhere", Request_Id="a b\x7f")
    assert is_uuid(forged.headers["request-id"])


async def test_a_body_over_the_limit_is_refused(world: Any) -> None:
    response = await world.http.post("/apps", content=b"x" * ((1 << 20) + 1))
    assert (response.status_code, response.json()["id"]) == (413, "too_large")


async def test_a_chunked_body_over_the_limit_is_refused(world: Any) -> None:
    async def chunks() -> Any:
        for _ in range(17):
            yield b"x" * 65_536

    response = await world.http.post("/apps", content=chunks())
    assert (response.status_code, response.json()["id"]) == (413, "too_large")


@pytest.mark.parametrize("content", [b"{", b"[]", b'"text"', b'{"name": 5}', b"\xff\xfe"])
async def test_a_body_that_is_not_what_it_should_be_is_a_422(world: Any, content: bytes) -> None:
    response = await world.http.post("/apps", content=content, headers={"Content-Type": "application/json"})
    assert response.status_code in {400, 422}
    assert response.json()["id"] in {"invalid_params", "bad_request"}
    assert response.json()["message"]


async def test_a_bug_answers_500_without_telling_secrets(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_app_id: str) -> None:
        raise RuntimeError("a secret is in here")

    await world.json("POST", "/apps", {"name": "shop"})
    monkeypatch.setattr(world.dynos, "dynos", broken)
    monkeypatch.setattr(world.http._transport, "raise_app_exceptions", False)
    response = await world.call("GET", "/apps/shop/dynos")
    assert (response.status_code, response.json()["id"]) == (500, "internal_server_error")
    assert "secret" not in response.text
