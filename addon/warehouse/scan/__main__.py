"""``python -m addon.warehouse.scan``: compile the kernel. Without a compiler it says so and ends well."""

from __future__ import annotations

import sys

from addon.warehouse.scan.compiler import CompilerError, build

NO_KERNEL = 3
"""Exit status: nothing was compiled; typing goes through SQL."""


def main() -> int:
    """Compile; return the exit status."""
    try:
        path = build()
    except CompilerError as error:
        print(  # noqa: T201 - a program
            f"setup: the scan kernel was not compiled ({error}). Sluice works without it, typing at half the "
            "speed. To have it: apt-get install gcc libc6-dev, then python -m addon.warehouse.scan",
            file=sys.stderr,
        )
        return NO_KERNEL
    print(path)  # noqa: T201 - a program
    return 0


if __name__ == "__main__":
    sys.exit(main())
