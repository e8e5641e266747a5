"""A syslog server as one writes it in an afternoon: line by line, parsed, appended to a file, never synced.

The peer of the receivers' benchmark: ``python -m tests.benchmarks.line_server FILE`` prints its port. It
closes a connection when it has written all that came, which is how a sender knows.
"""

from __future__ import annotations

import json
import re
import socketserver
import sys
from pathlib import Path

_RFC_5424 = re.compile(
    r"<(?P<pri>\d{1,3})>1 (?P<time>\S+) (?P<host>\S+) (?P<app>\S+) (?P<proc>\S+) (?P<id>\S+) "
    r"(?P<data>-|(?:\[[^\]]*\])+) ?(?P<msg>.*)"
)


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        """Write what comes."""
        with Path(sys.argv[1]).open("a", encoding="utf-8") as file:
            for line in self.rfile:
                found = _RFC_5424.match(line.decode())
                if found is not None:
                    file.write(json.dumps(found.groupdict()) + "\n")


if __name__ == "__main__":
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Handler) as server:
        print(server.server_address[1], flush=True)  # noqa: T201 - its starter reads it
        server.serve_forever()
