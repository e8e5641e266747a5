"""``python -m addon.warehouse.scan``: compile the kernel. Without a compiler it says so and ends well."""

from __future__ import annotations

import sys

from addon.warehouse.scan.compiler import SOURCES

if __name__ == "__main__":
    sys.exit(SOURCES.command())
