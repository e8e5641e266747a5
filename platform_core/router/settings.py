"""The router's limits; the defaults are Heroku's."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RouterSettings:
    """Times in seconds, sizes in bytes."""

    domain: str = "localhost"
    """``<app>.<domain>`` leads to the app."""
    connect_timeout: float = 5.0
    max_tries: int = 10
    """How many dynos are tried before a request is given up."""
    boot_timeout: float = 75.0
    first_byte_timeout: float = 30.0
    idle_timeout: float = 55.0
    """Between two pieces of a response, and in a tunnel."""
    head_timeout: float = 30.0
    """For a whole request head, however slowly its bytes drip in."""
    body_timeout: float = 30.0
    """Between two pieces of a request body."""
    keep_alive_timeout: float = 90.0
    max_line: int = 8 << 10
    """Of the request line and of each header."""
    max_head: int = 64 << 10
    max_connections: int = 4096
