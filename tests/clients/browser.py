"""A real Chromium on a page of our own: the page says what it saw by posting it to its own server."""

from __future__ import annotations

import json
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_SECONDS = 90


@contextmanager
def _site(files: Mapping[str, bytes]) -> Iterator[tuple[str, threading.Event, list[Any]]]:
    """Serve files on an origin of its own; keep what is posted to ``/result``."""
    done, results = threading.Event(), list[Any]()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = files.get(self.path)
            self.send_response(404 if body is None else 200)
            kind = "text/javascript" if self.path.endswith(".js") else "text/html"
            self.send_header("content-type", f"{kind}; charset=utf-8")
            self.end_headers()
            self.wfile.write(body or b"")

        def do_POST(self) -> None:
            results.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()
            done.set()

        def log_message(self, *_: object) -> None:
            """Stay quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", done, results
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def visit(folder: Path, files: Mapping[str, bytes]) -> tuple[str, dict[str, Any]]:
    """Open ``/page.html`` of ``files`` in Chromium; return the page's origin and what it posted."""
    with _site(files) as (origin, done, results), (folder / "chromium.log").open("w") as log:
        browser = subprocess.Popen(
            [
                *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
                *("--no-first-run", "--disable-extensions", "--disable-background-networking"),
                "--ignore-certificate-errors",  # the TLS listener's are of the test's own CA
                *(
                    f"--user-data-dir={folder / 'profile'}",
                    "--remote-debugging-port=0",
                    f"{origin}/page.html",
                ),
            ],
            stdout=log,
            stderr=log,
        )
        try:
            assert done.wait(_SECONDS), (folder / "chromium.log").read_text()[-4_000:]
        finally:
            browser.terminate()
            browser.wait(timeout=20)
        return origin, results[0]
