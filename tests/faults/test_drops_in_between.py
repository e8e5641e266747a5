"""A table that is dropped between any two requests of another node: whole or gone, and errors that are clear.

The other node goes through a proxy, which has the drop happen just before it passes a certain request on. All
requests of a call take their turn, and the drop also comes in two parts, as one that is slow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from platform_core.base.errors import NotFound, Unavailable
from tests.faults.s3_proxy import Request, S3Proxy
from tests.faults.test_s3_faults import REF, Node
from tests.object_servers import ObjectServer, moto
from tests.ports import free_base

Call = Callable[[Node], object]


class Interrupter(S3Proxy):
    """Has something done before it passes on the request of a number."""

    def __init__(self, upstream: int) -> None:
        super().__init__(upstream)
        self.count = 0
        self.steps: dict[int, Callable[[], None]] = {}

    def begin(self, steps: dict[int, Callable[[], None]]) -> None:
        """Count from here on."""
        self.count, self.steps = 0, dict(steps)

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        self.count += 1
        step = self.steps.pop(self.count, None)
        if step is not None:
            await asyncio.to_thread(step)
        return await super()._answer(request, writer)


@pytest.fixture(scope="module")
def server() -> Iterator[ObjectServer]:
    with moto(free_base()) as running:
        yield running


@dataclass
class Servers:
    """The object store, and the proxy before it."""

    server: ObjectServer
    proxy: Interrupter


@pytest.fixture
def servers(server: ObjectServer) -> Iterator[Servers]:
    with Interrupter(server.port) as proxy:
        yield Servers(server, proxy)


def _commit(node: Node) -> object:
    return node.commit(99, 99)


def _read(node: Node) -> object:
    return node.warehouse.snapshot(REF)


def _compact(node: Node) -> object:
    return node.warehouse.compact(REF)


def _pin(node: Node) -> object:
    return node.warehouse.versions.pin(REF, "kept", None)


def _sweep(node: Node) -> object:
    return node.warehouse.sweep()


class Dropper:
    """The node that drops, at once or in two parts."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def whole(self) -> None:
        """Drop the table."""
        self.node.warehouse.drop(REF)

    def half(self) -> None:
        """Say that the table is dropped, and delete what a reader of its log begins with."""
        with self.node.warehouse.locked(REF) as log:
            log.bury()
            log.forget()
        keys = [info.key for info in self.node.objects.list("7/shop/events/_delta_log")]
        entries = sorted(key for key in keys if key.endswith(".json"))
        begin = [key for key in keys if "checkpoint" in key or key.endswith(f"{0:020d}.json")]
        self.node.objects.delete(key for key in begin if key != entries[-1])


class Scene:
    """Two nodes and a table of some versions, anew for each run: ``held`` ones of one's own, then others'."""

    def __init__(self, servers: Servers, folder: Path, held: int, others: int) -> None:
        folder = folder.with_name(f"{folder.parent.name}-{folder.name}")  # it is the name in the store too
        folder.mkdir()
        self.proxy = servers.proxy
        self.node = Node(servers.server, servers.proxy.url, folder, "node")
        self.other = Node(servers.server, servers.server.url, folder, "other")
        self.dropper = Dropper(self.other)
        for segment in range(1, held + 1):
            self.node.commit(segment, segment)
        for segment in range(1, others + 1):
            self.other.commit(segment, 100 + segment, writer="other")

    def steps(self, number: int, *, parts: bool) -> dict[int, Callable[[], None]]:
        """Return a drop before the request of that number; its second part comes two requests later."""
        if not parts:
            return {number: self.dropper.whole}
        return {number: self.dropper.half, number + 2: self.dropper.whole}

    def run(self, call: Call, steps: dict[int, Callable[[], None]]) -> int:
        """Call with the steps in between; return how many requests that took."""
        self.proxy.begin(steps)
        try:
            call(self.node)
        except (NotFound, Unavailable) as error:
            if not steps or (isinstance(error, Unavailable) and not error.hint):
                raise
        count = self.proxy.count
        self.proxy.begin({})
        return count

    def end(self) -> None:
        """Drop what is left; the table can be made anew, and nothing of the old one shows."""
        self.dropper.whole()
        assert not list(self.other.objects.list("7/shop/events"))
        assert self.node.commit(100, 100) == 1
        assert self.other.values() == [100]
        for node in (self.node, self.other):
            node.warehouse.close()
            node.objects.close()


CASES = [pytest.param((_commit, 1, 0, False), id="commit-1-0-whole")] + [
    pytest.param(
        (call, held, others, parts),
        id=f"{call.__name__[1:]}-{held}-{others}-{'parts' if parts else 'whole'}",
        marks=pytest.mark.slow,
    )
    for calls, held, others, parts in (
        ((_commit, _read, _compact, _pin, _sweep), 3, 0, False),
        ((_commit, _read, _compact, _pin, _sweep), 3, 2, False),
        ((_commit, _read), 0, 3, False),
        ((_commit, _read), 3, 2, True),
    )
    for call in calls
]


@pytest.mark.parametrize("case", CASES)
def test_a_drop_before_any_request_of_a_call(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: tuple[Call, int, int, bool]
) -> None:
    monkeypatch.setattr("addon.warehouse.delta.CHECKPOINT_EVERY", 3)
    call, held, others, parts = case
    scene = Scene(servers, tmp_path / "undisturbed", held, others)
    requests = scene.run(call, {})
    scene.end()
    assert requests > 3
    for number in range(1, requests + 1):
        scene = Scene(servers, tmp_path / f"{number}", held, others)
        scene.run(call, scene.steps(number, parts=parts))
        scene.end()
