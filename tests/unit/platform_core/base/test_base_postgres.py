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
    """Passes connections on to a server; ``reset`` breaks them as a crash of its machine does."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                ours, _ = self._listener.accept()
                theirs = socket.create_connection(("127.0.0.1", self._to))
                self._pairs.append((ours, theirs))
                for source, target in ((ours, theirs), (theirs, ours)):
                    thread = threading.Thread(target=self._pass_on, args=(source, target), daemon=True)
                    self._threads.append(thread)
                    thread.start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                target.sendall(data)

    def reset(self) -> None:
        """Answer whatever comes on the connections so far with a reset."""
        for ours, theirs in self._pairs:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            for one in (ours, theirs):
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RD)  # wakes the thread that reads from it
                one.close()
        self._pairs.clear()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.reset()
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
            relay.reset()
    finally:
        engine.dispose()
