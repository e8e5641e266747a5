"""One suite over every way that a report leaves: what arrives, what a repeat does, what is refused."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from addon.schedules.deliveries.port import NotDelivered, Refused
from platform_core.base.errors import InvalidInput
from tests.contracts.delivery_receivers import (
    BucketWay,
    FolderWay,
    MailWay,
    PostgresWay,
    TableWay,
    Way,
    WebhookWay,
    hook_server,
    parcel,
)
from tests.object_servers import moto
from tests.ports import free_base
from tests.smtp_server import smtp_server

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

WAYS = [
    "mail",
    "webhook",
    "table",
    "postgresql",
    "file",
    pytest.param("bucket", marks=pytest.mark.slow),
]


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Way]:
    kind, home = request.param, tmp_path / "receiver"
    if kind == "mail":
        with smtp_server(home) as server:
            yield MailWay(server)
    elif kind == "webhook":
        with hook_server() as hook:
            yield WebhookWay(hook)
    elif kind == "table":
        yield TableWay(home)
    elif kind == "postgresql":
        name = f"reports_{uuid.uuid4().hex[:8]}"
        server = request.getfixturevalue("postgres_server")
        yield PostgresWay(server, name)
        server.drop(name)
    elif kind == "file":
        yield FolderWay(home)
    else:
        with moto(free_base()) as objects:
            yield BucketWay(objects, home)


def run(way: Way, body: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await way.open()
        try:
            await body()
        finally:
            await way.close()

    asyncio.run(main())


def test_a_report_arrives_once_however_often_it_is_delivered(way: Way, tmp_path: Path) -> None:
    sent, other = parcel(tmp_path / "run"), parcel(tmp_path / "other", run_id=8)

    async def body() -> None:
        assert await way.arrived() == {}
        way.delivery.check(way.settings)
        await way.delivery.deliver(sent, way.settings)
        assert await way.arrived() == {7: way.once()}
        await way.delivery.deliver(sent, way.settings)
        assert await way.arrived() == {7: way.once()}
        await way.delivery.deliver(other, way.settings)
        assert await way.arrived() == {7: way.once(), 8: way.once()}

    run(way, body)


def test_two_attempts_at_once_are_one_delivery(way: Way, tmp_path: Path) -> None:
    sent = parcel(tmp_path / "run")

    async def body() -> None:
        await asyncio.gather(*(way.delivery.deliver(sent, way.settings) for _ in range(2)))
        assert await way.arrived() == {7: way.once()}

    run(way, body)


def test_a_receiver_that_is_away_may_be_tried_again_and_no_secret_is_told(way: Way, tmp_path: Path) -> None:
    away = way.away()
    if away is None:
        assert way.settings  # the receiver is the service itself
        return

    async def body() -> None:
        with pytest.raises(NotDelivered) as caught:
            await way.delivery.deliver(parcel(tmp_path / "run"), away)
        assert "127.0.0.1:1" in str(caught.value)
        assert not [secret for secret in way.secrets if secret in str(caught.value)]

    run(way, body)


def test_what_is_wrong_is_named_with_what_is_allowed(way: Way) -> None:
    with pytest.raises(InvalidInput) as caught:
        way.delivery.check(way.wrong)
    assert f"parameter {way.wrong_name}: " in str(caught.value)
    assert "p4ss" not in str(caught.value)
    with pytest.raises(InvalidInput, match="unknown parameter colour; this delivery takes"):
        way.delivery.check(way.settings | {"colour": "red"})


def test_the_target_is_told_without_secrets(way: Way) -> None:
    target = way.delivery.target(way.settings)
    assert target
    assert not [secret for secret in way.secrets if secret in target]
    assert not [secret for secret in way.secrets if secret in repr(way.delivery)]


def test_every_secret_setting_is_known_as_one(way: Way) -> None:
    secret = {name for name, value in way.settings.items() if any(s in str(value) for s in way.secrets)}
    # A webhook's URL is shown to those who may read the definition, as it must be found there again.
    assert secret - way.delivery.secrets <= {"url"}


def test_an_output_that_the_run_lacks_is_refused_with_those_there_are(way: Way, tmp_path: Path) -> None:
    if way.delivery.type not in {"table", "postgresql"}:
        assert "output" not in way.settings
        return
    asked: dict[str, Any] = way.settings | {"output": "segments"}

    async def body() -> None:
        with pytest.raises(Refused, match=r"no output products\.segments; it has products\.ranking"):
            await way.delivery.deliver(parcel(tmp_path / "run"), asked)
        assert await way.arrived() == {}

    run(way, body)
