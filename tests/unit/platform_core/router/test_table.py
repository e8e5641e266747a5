"""The route table alone."""

from __future__ import annotations

import asyncio

import pytest

from platform_core.models.routing import AppRoute, WebState
from platform_core.router.table import RouteTable

pytestmark = pytest.mark.anyio


def route(app_id: str = "1", name: str = "shop", web: WebState = WebState.UP) -> AppRoute:
    return AppRoute(app_id, name, web)


async def test_the_newest_publication_counts() -> None:
    table = RouteTable()
    table.publish(route(web=WebState.STARTING))
    table.publish(route())
    assert await table.find("shop.localhost") == route()
    assert table.get("1") == route()


async def test_a_withdrawn_app_is_gone_with_its_domains() -> None:
    table = RouteTable()
    table.publish(route())
    table.set_domains("1", ["www.example.com"])
    table.withdraw("1")
    assert await table.find("shop.localhost") is None
    assert await table.find("www.example.com") is None


async def test_a_name_taken_over_by_another_app_stays_with_it() -> None:
    table = RouteTable()
    table.publish(route("1", "shop"))
    table.publish(route("2", "shop"))
    table.withdraw("1")
    assert await table.find("shop.localhost") == route("2", "shop")


async def test_domains_are_replaced_as_a_set() -> None:
    table = RouteTable()
    table.publish(route())
    table.set_domains("1", ["a.example"])
    table.set_domains("1", ["b.example"])
    assert await table.find("a.example") is None
    assert await table.find("B.example:443") == route()


async def test_another_base_domain() -> None:
    table = RouteTable("apps.example.com")
    table.publish(route())
    assert await table.find("shop.apps.example.com") == route()
    assert await table.find("shop.localhost") is None


async def test_who_waits_for_a_change_is_woken_by_it_and_by_no_other() -> None:
    table = RouteTable()
    waiting = asyncio.ensure_future(table.changed("1"))
    await asyncio.sleep(0)
    table.publish(route("2", "other"))
    await asyncio.sleep(0)
    assert not waiting.done()
    table.publish(route())
    async with asyncio.timeout(5):
        await waiting
