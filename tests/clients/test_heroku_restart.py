"""The platform dies without a word: no dyno outlives it, and after a start everything is as it was."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable

WEB = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
# A program that asks to stay: it leaves its session.
WORKER = """
import os, time
if os.fork() == 0:
    os.setsid()
else:
    print("worker is here", flush=True)
time.sleep(3600)
"""


def _push(cli: Any, running: Any, folder: Path) -> str:
    app = str(running.new_app())
    folder.mkdir()
    (folder / "requirements.txt").touch()
    (folder / "Procfile").write_text(f"web: python web.py {app}\nworker: python worker.py {app}\n")
    (folder / "web.py").write_text(WEB)
    (folder / "worker.py").write_text(WORKER)
    cli.git("init", "-q", "-b", "main", cwd=folder)
    cli.git("add", "-A", cwd=folder)
    cli.git("commit", "-q", "-m", "an app", cwd=folder)
    cli.run("git:remote", "-a", app, cwd=folder)
    cli.git("push", "heroku", "main", cwd=folder)
    running.json("PATCH", f"/apps/{app}/formation/worker", {"quantity": 1})
    return app


def _until(condition: Callable[[], bool], what: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def _answers(running: Any, app: str) -> bool:
    response = httpx.get(
        f"http://127.0.0.1:{running.base + 2}/", headers={"Host": f"{app}.localhost"}, timeout=30
    )
    return response.text == "ok"


def _up(running: Any, app: str) -> bool:
    states = {each["name"]: each["state"] for each in running.json("GET", f"/apps/{app}/dynos")}
    return states == {"web.1": "up", "worker.1": "up"} and _answers(running, app)


def _programs(app: str) -> int:
    found = 0
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        found += words[-2:-1] == [app.encode()] and words[0] == b"python"
    return found


def _events_until(running: Any, url: str, text: str, after: str = "") -> list[tuple[str, str]]:
    """Read a log session's events, as (id, line), until one holds ``text``."""
    headers = {"Accept": "text/event-stream", **({"Last-Event-ID": after} if after else {})}
    seen: list[tuple[str, str]] = []
    with running.api.stream("GET", url, headers=headers) as response:
        assert response.status_code == 200, response.read()
        event = ""
        for line in response.iter_lines():
            name, _, value = line.partition(": ")
            if name == "id":
                event = value
            elif name == "data":
                seen.append((event, value))
                if text in value:
                    return seen
    raise AssertionError(seen)


def test_dynos_die_with_the_platform_and_a_start_brings_all_back(
    platform_home: Any, cli_for: Any, tmp_path: Path
) -> None:
    running = platform_home()
    app = _push(cli_for(running), running, tmp_path / "work")
    _until(lambda: _up(running, app), "the app does not come up")
    assert _programs(app) >= 3  # the worker is two
    url = running.json("POST", f"/apps/{app}/log-sessions", {"tail": True})["logplex_url"]
    last, _ = _events_until(running, url, "app[worker.1]: worker is here")[-1]

    running.kill()
    _until(lambda: _programs(app) == 0, "dynos outlive the platform")

    slugs = running.home / "slugs"
    for left in (f"{'f' * 64}.tar.zst", ".slug-of-a-build"):
        (slugs / left).touch()
    again = platform_home()
    assert len(list(slugs.iterdir())) == 1  # what a build that was cut short had left is gone
    _until(lambda: _up(again, app), "the app does not come back")
    again.json("PATCH", f"/apps/{app}/config-vars", {"A": "1"})
    seen = _events_until(again, url, "Set A config vars", after=last)
    assert int(seen[0][0]) > int(last)
    assert sum("app[worker.1]: worker is here" in line for _, line in seen) == 1  # the new one

    again.json("DELETE", f"/apps/{app}")
    assert _programs(app) == 0
    code = [*slugs.iterdir(), *(running.home / "git" / "repos").iterdir()]
    assert [*code, *(running.home / "dynos").glob("*/*"), *(running.home / "build").glob("*/*")] == []
    again.stop()
