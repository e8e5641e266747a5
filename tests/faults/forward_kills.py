"""Kills of the server while senders push chunks to its forward receiver and keep what is not acknowledged."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgpack

from tests.faults.live_addon import LiveAddon

if TYPE_CHECKING:
    from pathlib import Path

_SENDERS, _ROWS, _AHEAD = 3, 20, 4
_FORWARD_LOCAL = 9
_TABLE = "forwarded"


@dataclass
class Sender:
    """Sends chunk after chunk as Fluentd does: the same chunk again until it is acknowledged."""

    number: int
    port: int
    stop: threading.Event
    acked: set[int] = field(default_factory=set)
    sent: int = 0
    resent: int = 0

    def run(self) -> None:
        """Go on until told to stop and everything sent is acknowledged."""
        waiting: dict[str, bytes] = {}
        while waiting or not self.stop.is_set():
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection,
            ):
                self._talk(connection, waiting)
            if waiting or not self.stop.is_set():
                self.stop.wait(0.02)  # the server is being started again

    def _talk(self, connection: socket.socket, waiting: dict[str, bytes]) -> None:
        unpacker = msgpack.Unpacker()
        for data in waiting.values():
            self.resent += 1
            connection.sendall(data)
        while waiting or not self.stop.is_set():
            while len(waiting) < _AHEAD and not self.stop.is_set():
                name, data = self._chunk()
                waiting[name] = data
                connection.sendall(data)
            if not waiting:
                return
            received = connection.recv(4096)
            if not received:
                return
            unpacker.feed(received)
            for answer in unpacker:
                waiting.pop(answer["ack"])
                self.acked.add(int(answer["ack"].split("-")[1]))

    def _chunk(self) -> tuple[str, bytes]:
        number, self.sent = self.sent, self.sent + 1
        name = f"{self.number}-{number}"
        entries: list[Any] = [
            [1_795_600_000 + row, {"sender": self.number, "chunk": number, "row": row}]
            for row in range(_ROWS)
        ]
        return name, msgpack.packb([f"td.shop.{_TABLE}", entries, {"chunk": name}])


def run(home: Path, kills: int, seed: int) -> tuple[str, bool]:
    """Kill the server so many times while senders write; return the result line, and whether it is good."""
    chance = random.Random(seed)  # noqa: S311 - a schedule that repeats, no secret
    server = LiveAddon(home, SLUICE_ADDON_FORWARD_LOCAL="true").start()
    stop = threading.Event()
    senders = [Sender(number, server.base + _FORWARD_LOCAL, stop) for number in range(_SENDERS)]
    threads = [threading.Thread(target=sender.run, daemon=True) for sender in senders]
    for thread in threads:
        thread.start()
    pause = threading.Event()
    try:
        for _ in range(kills):
            pause.wait(chance.uniform(0.1, 0.8))
            server.kill()
            server.start()
        pause.wait(0.3)
        stop.set()
        for thread in threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in threads)
        return _judge(server, senders, kills)
    finally:
        stop.set()
        server.kill()


def _judge(server: LiveAddon, senders: list[Sender], kills: int) -> tuple[str, bool]:
    rows = server.query(f'SELECT sender, chunk, "row" FROM {_TABLE}', "shop")  # noqa: S608 - our own table
    wanted = {
        (sender.number, chunk, row) for sender in senders for chunk in sender.acked for row in range(_ROWS)
    }
    found = {(row[0], row[1], row[2]) for row in rows}
    lost, doubled = len(wanted - found), len(rows) - len(found)
    resent = sum(sender.resent for sender in senders)
    line = f"{kills} kills, {len(wanted)} acked, {resent} chunks sent again, {lost} lost, {doubled} doubled"
    # Every chunk was acknowledged in the end, so there is nothing else either.
    return line, not lost and not doubled and found == wanted and len(wanted) > 0 and resent > 0
