"""What the TCP receivers count; the metrics page reads it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class ReceiverStats:
    """Counters of one receiver since the start. received = stored + refused + malformed, once all is read."""

    connections: int = 0
    connections_refused: int = 0
    """Over a limit of connections, or closed because of what they sent."""
    received: int = 0
    """Messages (syslog) or rows (forward) that were read whole."""
    stored: int = 0
    """Those of them that are on disk."""
    refused: int = 0
    """Those of an unknown sender, or of one whose quota is used up."""
    duplicates: int = 0
    """Rows that came again under a chunk id that is stored."""
    malformed: int = 0
    """Messages that made no sense: lost framing, or cut short by the end of the connection."""
    bytes: int = 0
    held: int = 0
    """Waits for room in the log, during which nothing was read from the connection."""
