"""The log router's limits; the defaults are Logplex's own where it has one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LogplexSettings:
    """Limits and times. Sizes in bytes, times in seconds."""

    history_lines: int = 1_500
    """What a channel remembers for new log sessions."""
    drains_per_channel: int = 20
    drain_messages: int = 1_024
    """A drain's buffer; beyond it the oldest message goes."""
    drain_bytes: int = 10 << 20
    batch_bytes: int = 102_400
    """A request body is closed once it is this long."""
    linger: float = 0.05
    """How long a short batch waits for company."""
    connect_timeout: float = 3.0
    request_timeout: float = 5.0
    idle_timeout: float = 144.0
    tries: int = 3
    """Per batch, the first one included; a drain with spill keeps trying."""
    backoff_slot: float = 0.01
    backoff_doublings: int = 10
    shrink_after: int = 10
    """After so many failures in a row the buffer of a drain without spill shrinks …"""
    shrunk_messages: int = 10
    """… to this, so that dead drains cost no memory."""
    max_reply_bytes: int = 64 << 10
    close_grace: float = 2.0
    """How long a drain may go on delivering when the router stops."""
    spill_quota: int = 256 << 20
    """Disk space of one drain with spill."""
    spill_bytes: int = 32 << 20
    """Memory of one drain with spill: at an eighth disk writes begin, at all of it they slow the writer."""
    spill_addon_drains: bool = True
    """Drains that belong to an add-on spill even when they do not say so."""
    tail_messages: int = 1_024
    """What a slow reader of a tail session may be behind."""
    session_life: float = 360.0
    """How long a log session lives without a reader."""
    keepalive: float = 30.0
    """A silent tail yields a keep-alive this often."""
