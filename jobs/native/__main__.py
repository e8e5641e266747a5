"""``python -m jobs.native``: compile the analyses' kernel. Without a compiler it says so and ends well."""

from __future__ import annotations

import sys

from jobs.native.library import SOURCES

if __name__ == "__main__":
    sys.exit(SOURCES.command())
