"""Log sessions, their streams, and drains."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

import pytest

pytestmark = pytest.mark.anyio


async def test_a_session_streams_events_with_a_short_retry_first(world: Any) -> None:
    app = await world.json("POST", "/apps", {"name": "shop"})
    world.logs.write(app["id"], "app", "web.1", [b"hello"])
    session = await world.json(
        "POST", "/apps/shop/log-sessions", {"lines": 10, "dyno": "web", "source": "app"}
    )
    _, wanted = world.logs.sessions[session["id"]]
    assert (wanted.lines, wanted.dyno, wanted.source, wanted.tail) == (10, "web", "app", False)
    response = await world.call("GET", session["logplex_url"], Authorization="", Accept="text/event-stream")
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.text.startswith("retry: 10\n\n")
    assert response.text.endswith("id: 1\ndata: app[web.1]: hello\n\n")


async def test_a_stream_resumes_behind_the_last_event(world: Any) -> None:
    app = await world.json("POST", "/apps", {"name": "shop"})
    world.logs.write(app["id"], "app", "web.1", [b"one", b"two"])
    session = await world.json("POST", "/apps/shop/log-sessions", {})
    response = await world.call("GET", session["logplex_url"], Accept="text/event-stream", Last_Event_ID="1")
    assert "one" not in response.text
    assert "id: 2\ndata: app[web.1]: two\n\n" in response.text


async def test_a_tail_comes_back_later_than_a_restart_takes(world: Any) -> None:
    await world.json("POST", "/apps", {"name": "shop"})
    session = await world.json("POST", "/apps/shop/log-sessions", {"tail": True})
    response = await world.call("GET", session["logplex_url"], Accept="text/event-stream")
    assert response.text.startswith("retry: 5000\n\n")
    assert response.text.count("retry") == 1
    world.platform.closing.set()  # a stop and a start together take longer
    response = await world.call("GET", session["logplex_url"], Accept="text/event-stream")
    assert response.text.endswith("retry: 30000\n\n")


async def test_other_clients_get_plain_text(world: Any) -> None:
    app = await world.json("POST", "/apps", {"name": "shop"})
    world.logs.write(app["id"], "app", "web.1", [b"hello"])
    session = await world.json("POST", "/apps/shop/log-sessions")
    response = await world.call("GET", session["logplex_url"], Accept="*/*")
    assert response.headers["content-type"].startswith("text/plain")
    assert response.text.endswith("app[web.1]: hello\n")


async def test_an_unknown_session_is_a_404(world: Any) -> None:
    response = await world.call("GET", "/streams/guess", Accept="text/event-stream")
    assert response.status_code == 404


async def test_drains_are_added_listed_and_removed_by_their_encoded_url(world: Any) -> None:
    app = await world.json("POST", "/apps", {"name": "shop"})
    url = "https://user:pw@logs.example.com/in/x%20y?a=b"
    made = await world.json("POST", "/apps/shop/log-drains", {"url": url})
    assert made["token"].startswith("d.")
    assert made["addon"] is None
    assert [each.url for each in world.logs.drains[app["id"]]] == [url]
    assert await world.json("GET", "/apps/shop/log-drains") == [made]
    assert await world.json("GET", f"/apps/shop/log-drains/{quote(url, safe='')}") == made
    await world.json("DELETE", f"/apps/shop/log-drains/{quote(url, safe='')}")
    assert world.logs.drains[app["id"]] == []


async def test_a_drain_is_removed_by_its_token_too(world: Any) -> None:
    await world.json("POST", "/apps", {"name": "shop"})
    made = await world.json("POST", "/apps/shop/log-drains", {"url": "https://a.example.com/"})
    await world.json("DELETE", f"/apps/shop/log-drains/{made['token']}")
    assert (await world.call("DELETE", f"/apps/shop/log-drains/{made['token']}")).status_code == 404


@pytest.mark.parametrize(
    "url",
    ["", "ftp://x/", "https://", "logs.example.com", "https://x:99999/", "https://x:0/", "https://x/\r\nY: z",
     "https://x/a b", "https://x/" + "y" * 2048],
)  # fmt: skip
async def test_an_address_that_cannot_be_sent_to_is_refused_and_not_kept(world: Any, url: str) -> None:
    await world.json("POST", "/apps", {"name": "shop"})
    response = await world.call("POST", "/apps/shop/log-drains", {"url": url})
    assert (response.status_code, response.json()["id"]) == (422, "invalid_params")
    assert await world.json("GET", "/apps/shop/log-drains") == []


async def test_one_add_on_with_a_drain_too_many_is_refused_and_given_back(world: Any) -> None:
    await world.json("POST", "/apps", {"name": "shop"})
    for _ in range(20):
        await world.json("POST", "/apps/shop/addons", {"plan": "store"})
    response = await world.call("POST", "/apps/shop/addons", {"plan": "store"})
    assert (response.status_code, response.json()["id"]) == (422, "invalid_params")
    assert "at most 20 drains" in response.json()["message"]
    assert len(await world.json("GET", "/apps/shop/log-drains")) == 20
    assert len(await world.json("GET", "/apps/shop/addons")) == 20
    assert world.vendor.requests[-1][0] == "DELETE"


async def test_the_same_drain_twice_and_one_too_many_are_refused(world: Any) -> None:
    await world.json("POST", "/apps", {"name": "shop"})
    await world.json("POST", "/apps/shop/log-drains", {"url": "https://0.example.com/"})
    again = await world.call("POST", "/apps/shop/log-drains", {"url": "https://0.example.com/"})
    assert again.json()["message"] == "Url has already been taken"
    for n in range(1, 6):
        await world.json("POST", "/apps/shop/log-drains", {"url": f"https://{n}.example.com/"})
    assert (
        await world.call("POST", "/apps/shop/log-drains", {"url": "https://6.example.com/"})
    ).status_code == 422


async def test_an_add_on_s_drain_cannot_be_removed_by_hand(world: Any) -> None:
    await world.json("POST", "/apps", {"name": "shop"})
    addon = await world.json("POST", "/apps/shop/addons", {"plan": "store"})
    drain = (await world.json("GET", "/apps/shop/log-drains"))[0]
    assert drain["addon"] == {"id": addon["id"], "name": addon["name"]}
    assert (await world.call("DELETE", f"/apps/shop/log-drains/{drain['token']}")).status_code == 403


async def test_a_tail_ends_cleanly_when_the_program_stops(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def endless() -> Any:
        yield 0, "first"
        world.platform.closing.set()
        await asyncio.Event().wait()

    await world.json("POST", "/apps", {"name": "shop"})
    session = await world.json("POST", "/apps/shop/log-sessions", {"tail": True})
    monkeypatch.setattr(world.logs, "stream", lambda *_, **__: endless())
    async with asyncio.timeout(5):
        response = await world.call("GET", session["logplex_url"], Accept="text/event-stream")
    assert response.text == "retry: 5000\n\nid: 0\ndata: first\n\nretry: 30000\n\n"
