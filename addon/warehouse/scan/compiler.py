"""Where the kernel's sources are; `jobs.native` compiles them, as it does its own."""

from __future__ import annotations

from pathlib import Path

from jobs.native.compiler import Sources

SOURCES = Sources(
    name="scan",
    folder=Path(__file__).parent,
    module="addon.warehouse.scan",
    what="the scan kernel",
    without="typing at half the speed",
)
