"""The stated limits of the TCP receivers: sizes in bytes, times in seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReceiverLimits:
    """What one sender may cost. A limit that is reached closes the connection with a line in the log."""

    message_bytes: int = 256 << 10
    """One syslog message; rsyslog's own default is 8 KiB."""
    chunk_bytes: int = 32 << 20
    """One forward message, as it came; Fluentd's chunks are 8 MB by default, fluent-plugin-td's 32 MB."""
    greeting_bytes: int = 16 << 10
    """What a forward sender may send before it has shown its key."""
    ahead_bytes: int = 256 << 10
    """What is read ahead of what is stored; then the connection is not read, so TCP holds the sender back."""
    first_s: float = 30.0
    """Until the first whole message, or the end of the handshake."""
    idle_s: float = 3600.0
    """Without a byte. Long: a syslog sender notices a closed connection only after losing a message to it."""
    connections: int = 1024
    """Of one receiver."""
    connections_per_peer: int = 512
    """From one address."""
    retry_s: float = 2.0
    """The longest wait between two tries to store what the log had no room for."""
    grace_s: float = 5.0
    """How long a stop waits for what was read to be stored."""
