"""The pre-receive hook: tells the running platform what was pushed and prints the build as it goes.

Runs as a program of its own (``python -I hook.py``), so it needs the standard library alone. The platform is
found by a Unix socket; a one-time token in the environment says which push this is.
"""

from __future__ import annotations

import json
import os
import socket
import sys

SOCKET = "SLUICE_BUILD_SOCKET"
TOKEN = "SLUICE_BUILD_TOKEN"  # noqa: S105 - a variable's name
QUARANTINE = ("GIT_QUARANTINE_PATH", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES")
"""Where git keeps the objects of a push that is not accepted yet."""


def main() -> int:
    """Pass the push on; return 0 only when the platform says that it is accepted."""
    updates = [line.split() for line in sys.stdin.read().splitlines()]
    request = {
        "token": os.environ.get(TOKEN, ""),
        "updates": updates,
        "env": {name: os.path.abspath(os.environ[name]) for name in QUARANTINE if name in os.environ},  # noqa: PTH100 - no pathlib: it doubles the start
    }
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(os.environ[SOCKET])
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("r", encoding="utf-8", newline="\n") as answers:
                for answer in answers:
                    event = json.loads(answer)
                    if "exit" in event:
                        return int(event["exit"])
                    sys.stdout.write(event["out"] + "\n")
                    sys.stdout.flush()
    except (OSError, KeyError, ValueError):
        pass
    sys.stdout.write(" !     The platform went away during the build. Push again.\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
