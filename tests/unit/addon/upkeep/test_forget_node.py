"""``sluice forget-node``: a lost node is forgotten by whatever names it; one that lives is not."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from addon.bootstrap import initialise
from addon.settings import settings_from
from addon.store.database import Database
from addon.store.nodes import NODE_LEASE_S, NodeStore
from addon.upkeep.__main__ import main
from addon.upkeep.nodes import forget_node
from platform_core.base.clock import FixedClock
from platform_core.base.errors import Conflict, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.postgres import PostgresServer

ONE, TWO = "0123456789abcdef", "01234567ffffffff"


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(1_780_000_000.0)


@pytest.fixture
def nodes(tmp_path: Path, clock: FixedClock) -> Iterator[NodeStore]:
    database = Database(f"sqlite:///{tmp_path}/addon.db")
    database.migrate()
    made = NodeStore(database, clock)
    made.beat(ONE, "http://10.0.0.1:7084", frozenset({"ingest"}), "same", {7: 3})
    made.beat(TWO, "http://10.0.0.2:7084", frozenset({"ingest"}), "same", {})
    yield made
    database.close()


@pytest.mark.parametrize("wanted", [ONE, "http://10.0.0.1:7084/", "0123456789"])
def test_a_dead_node_is_forgotten_and_it_is_said_what_it_held(
    nodes: NodeStore, clock: FixedClock, wanted: str
) -> None:
    clock.advance(NODE_LEASE_S + 1)
    said = forget_node(nodes, wanted)
    assert ONE in said[0]
    assert said[1] == "account 7: 3 acknowledged batches were not stored then"
    assert [node.id for node in nodes.all()] == [TWO]


def test_a_living_node_is_not_forgotten(nodes: NodeStore) -> None:
    with pytest.raises(Conflict, match=r"10\.0\.0\.1:7084\) lives"):
        forget_node(nodes, ONE)
    assert len(nodes.all()) == 2


def test_what_names_none_or_several_is_refused_with_the_names(nodes: NodeStore, clock: FixedClock) -> None:
    clock.advance(NODE_LEASE_S + 1)
    for wanted, text in (("elsewhere", "no node"), ("0123", "no node"), ("01234567", "several")):
        with pytest.raises(NotFound, match=text) as refused:
            forget_node(nodes, wanted)
        assert f"{TWO} (http://10.0.0.2:7084)" in str(refused.value.hint)
    assert len(nodes.all()) == 2


def test_the_command_works_on_the_fleets_database_and_only_there(
    tmp_path: Path,
    postgres_server: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    url = postgres_server.create("forget_node")
    arguments = ["forget-node", "--home", str(tmp_path / "home"), ONE]
    initialise(settings_from({"home": tmp_path / "home"}), None)
    assert main(arguments) == 1
    assert "no fleet" in capsys.readouterr().err
    monkeypatch.setenv("SLUICE_ADDON_DATABASE_URL", url)
    database = Database(url)
    database.migrate()
    for beat_at, status in ((time.time(), 1), (time.time() - NODE_LEASE_S - 1, 0)):
        nodes = NodeStore(database, FixedClock(beat_at))
        nodes.beat(ONE, "http://10.0.0.1:7084", frozenset({"ingest"}), "same", {7: 3})
        assert main(arguments) == status
    said = capsys.readouterr()
    assert "lives" in said.err
    assert "account 7: 3 acknowledged batches" in said.out
    assert NodeStore(database, FixedClock(time.time())).all() == []
    database.close()
