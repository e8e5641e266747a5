"""The lines in which the log router owns up to a loss. Times are RFC 3339 texts, counts are exact."""

from __future__ import annotations

PRI_NOTICE = 172
"""local5.warning: what Logplex gives its L10 notice."""


def drain_overflow(token: str, count: int, since: str) -> bytes:
    """L10: a drain took too little too late; stands at the head of its next frame."""
    loss = f"drain '{token}' dropped {count} messages since {since}."
    return f"Error L10 (output buffer overflow): {loss}".encode()


def tail_overflow(count: int, since: str) -> bytes:
    """L11: a tail session was read too slowly."""
    return f"L11 (Tail buffer overflow) -> This tail session dropped {count} messages since {since}".encode()


def local_overflow(count: int, since: str) -> bytes:
    """L12: a dyno printed faster than its lines could be taken."""
    return f"Error L12: {count} messages dropped since {since}.".encode()


def bad_certificate(reason: str, url: str) -> bytes:
    """L14: a drain's certificate did not verify. ``url`` must be free of credentials."""
    return f'Error L14 (certificate validation): error="{reason}" uri="{url}"'.encode()
