"""The error codes that users see in their logs: H (router), R (dynos), L (log router).

Texts and statuses are Heroku's, because people search for them and parse them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Code:
    """One code. ``status`` is what the HTTP client gets, None for codes without a response."""

    name: str
    text: str
    status: int | None = None


def _table(*codes: Code) -> Mapping[str, Code]:
    return {code.name: code for code in codes}


H_CODES: Mapping[str, Code] = _table(
    Code("H10", "App crashed", 503),
    Code("H11", "Backlog too deep", 503),
    Code("H12", "Request timeout", 503),
    Code("H13", "Connection closed without response", 503),
    Code("H14", "No web processes running", 503),
    Code("H15", "Idle connection", 503),
    Code("H17", "Poorly formatted HTTP response", 503),
    Code("H18", "Server Request Interrupted", 503),
    Code("H19", "Backend connection timeout", 503),
    Code("H20", "App boot timeout", 503),
    Code("H21", "Backend connection refused", 503),
    Code("H22", "Connection limit reached", 503),
    Code("H24", "Forced close", 503),
    Code("H25", "HTTP Restriction", 502),
    Code("H26", "Request Error", 400),
    Code("H27", "Client Request Interrupted", 499),
    Code("H28", "Client Connection Idle", 499),
    Code("H31", "Misdirected Request", 421),
    Code("H80", "Maintenance mode", 503),
    Code("H81", "Blank app", 503),
    Code("H99", "Platform error", 503),
)
"""The router's codes. H26 is 417 for an Expect header that nobody can meet."""

R_CODES: Mapping[str, Code] = _table(
    Code("R10", "Boot timeout"),
    Code("R12", "Exit timeout"),
    Code("R13", "Attach error"),
    Code("R14", "Memory quota exceeded"),
    Code("R15", "Memory quota vastly exceeded"),
    Code("R16", "Detached"),
    Code("R17", "Checksum error"),
    Code("R99", "Platform error"),
)
"""The dyno manager's codes."""

L_CODES: Mapping[str, Code] = _table(
    Code("L10", "output buffer overflow"),
    Code("L11", "Tail buffer overflow"),
    Code("L12", "local buffer overflow"),
    Code("L13", "local delivery error"),
    Code("L14", "certificate validation"),
    Code("L15", "tail buffer temporarily unavailable"),
    Code("L20", "tail sessions forbidden"),
)
"""The log router's codes."""


def error_text(code: str) -> str:
    """Return the head of a code's line, for example ``Error R14 (Memory quota exceeded)``.

    Raises:
        KeyError: no such code.
    """
    found = (H_CODES | R_CODES | L_CODES)[code]  # type: ignore[operator]
    return f"Error {found.name} ({found.text})"
