"""Connections to PostgreSQL that broke while nobody used them."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from platform_core.base.database import open_database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.postgres import PostgresServer


class Relay:
    """Passes connections on to a server; after ``doom`` the next thing said on one of them is its last."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._living: set[socket.socket] = set()
        self._doomed: set[socket.socket] = set()
        self.broken = 0
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                ours, _ = self._listener.accept()
                theirs = socket.create_connection(("127.0.0.1", self._to))
                self._living.add(ours)
                for source, target in ((ours, theirs), (theirs, ours)):
                    thread = threading.Thread(target=self._pass_on, args=(source, target), daemon=True)
                    self._threads.append(thread)
                    thread.start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                if source in self._doomed:
                    self.broken += 1
                    source.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    break
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)
        source.close()

    def doom(self) -> None:
        """Answer whatever comes next on the connections so far with a reset, as a crashed machine does."""
        self._doomed |= self._living
        self._living.clear()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)


@pytest.fixture
def relay(postgres_server: PostgresServer) -> Iterator[Relay]:
    made = Relay(postgres_server.port)
    yield made
    made.close()


def test_a_connection_that_was_reset_is_replaced_before_it_is_used(
    postgres_server: PostgresServer, relay: Relay
) -> None:
    url = sa.engine.make_url(postgres_server.create("reset-while-idle")).set(port=relay.port)
    engine = open_database(url.render_as_string(hide_password=False))
    try:
        for _ in range(3):
            with engine.connect() as connection:
                assert connection.execute(sa.text("select 1")).scalar_one() == 1
            relay.doom()
    finally:
        engine.dispose()
    assert relay.broken >= 2
