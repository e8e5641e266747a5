"""HELO, PING, PONG: both sides prove the key; a wrong one, or that of another account, opens nothing."""

from __future__ import annotations

import hashlib
from typing import Any

import msgpack
import pytest

from addon.receivers.forward_auth import Handshake, HandshakeError

KEYS = {1: "key-one", 2: "key-two"}
SALT = b"client-salt"


def ping(handshake: Handshake, host: str, key: str, user: str = "", password: str = "") -> bytes:
    kind, options = msgpack.unpackb(handshake.helo())
    assert kind == "HELO"
    assert options["keepalive"] is True
    digest = hashlib.sha512(SALT + host.encode() + options["nonce"] + key.encode()).hexdigest()
    proof = hashlib.sha512(options["auth"] + user.encode() + password.encode()).hexdigest() if user else ""
    packed: bytes = msgpack.packb(["PING", host, SALT, digest, user, proof])
    return packed


@pytest.mark.parametrize(
    ("account", "arguments"),
    [
        (1, ("1", "key-one")),
        (2, ("my-host", "key-two", "2", "key-two")),
        (2, ("1", "key-two", "2", "key-two")),
    ],
)
def test_who_proves_the_key_is_let_in_and_told_that_we_know_it_too(
    account: int, arguments: tuple[str, ...]
) -> None:
    handshake = Handshake()
    number, answer = handshake.check(ping(handshake, *arguments), KEYS.get)
    assert number == account
    pong: list[Any] = msgpack.unpackb(answer)
    nonce = msgpack.unpackb(handshake.helo())[1]["nonce"]
    proof = hashlib.sha512(SALT + pong[3].encode() + nonce + KEYS[account].encode()).hexdigest()
    assert pong == ["PONG", True, "", "sluice", proof]


@pytest.mark.parametrize(
    "arguments",
    [
        ("1", "key-two"),
        ("3", "key-one"),
        ("3", ""),
        ("somewhere", "key-one"),
        ("-1", "key-one"),
        ("1", "key-one", "2", "key-one"),
        ("1", "key-two", "2", "key-one"),
        ("9" * 40, "key-one"),
    ],
)
def test_everybody_else_is_not(arguments: tuple[str, ...]) -> None:
    handshake = Handshake()
    with pytest.raises(HandshakeError, match="the account or the shared key is wrong"):
        handshake.check(ping(handshake, *arguments), KEYS.get)
    assert msgpack.unpackb(handshake.refusal("no")) == ["PONG", False, "no", "sluice", ""]


def test_a_ping_of_another_connection_is_worth_nothing() -> None:
    heard = ping(Handshake(), "1", "key-one")
    with pytest.raises(HandshakeError):
        Handshake().check(heard, KEYS.get)


@pytest.mark.parametrize(
    "data",
    [
        b"\xc1",
        msgpack.packb(["PING"]),
        msgpack.packb(["PONG", "1", "s", "d", "", ""]),
        msgpack.packb(["PING", 1, "s", "d", "", ""]),
        msgpack.packb({"PING": 1}),
        msgpack.packb(["td.a.b", 1, {}]),
    ],
)
def test_what_is_no_ping_is_refused(data: bytes) -> None:
    with pytest.raises(HandshakeError):
        Handshake().check(data, KEYS.get)
