"""From `git push` through the CLI's credential helper to a running app."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from pathlib import Path

WEB = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"{os.environ['DYNO']} says {os.environ.get('GREETING', 'nothing')}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
print("listening", flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
WORKER = "import time\nprint('worker is here', flush=True)\ntime.sleep(3600)\n"


@pytest.fixture
def checkout(heroku: Any, platform_process: Any, tmp_path: Path) -> tuple[Path, str]:
    """A git repository with an app, and the name of the app that its remote is."""
    app = platform_process.new_app()
    (tmp_path / "requirements.txt").touch()
    (tmp_path / "Procfile").write_text(
        "web: python web.py\nworker: python worker.py\nrelease: echo migrated\n"
    )
    (tmp_path / "web.py").write_text(WEB)
    (tmp_path / "worker.py").write_text(WORKER)
    heroku.git("init", "-q", "-b", "main", cwd=tmp_path)
    _commit(heroku, tmp_path)
    heroku.run("git:remote", "-a", app, cwd=tmp_path)
    return tmp_path, app


def _commit(heroku: Any, folder: Path) -> None:
    heroku.git("add", "-A", cwd=folder)
    heroku.git("commit", "-q", "-m", "a change", cwd=folder)


def _ask(platform: Any, app: str, wanted: str, seconds: float = 60) -> None:
    """Ask the app through the router until it answers as wanted: a release takes over in its own time."""
    deadline = time.monotonic() + seconds
    answer = ""
    while time.monotonic() < deadline:
        response = httpx.get(
            f"http://127.0.0.1:{platform.base + 2}/", headers={"Host": f"{app}.localhost"}, timeout=30
        )
        answer = response.text
        if answer == wanted:
            return
        time.sleep(0.1)
    pytest.fail(f"the app answers {answer!r}, not {wanted!r}")


def test_push_scale_roll_back_and_read_the_logs(heroku: Any, platform_process: Any, checkout: Any) -> None:
    folder, app = checkout
    pushed = heroku.git("push", "heroku", "main", cwd=folder)
    for text in ("Python app detected", "Running release command", "migrated", "Released v3"):
        assert text in pushed
    _ask(platform_process, app, "web.1 says nothing")
    assert "web.1: up" in heroku.run("ps", cwd=folder)

    heroku.run("config:set", "GREETING=hello", cwd=folder)
    _ask(platform_process, app, "web.1 says hello")
    assert heroku.run("releases:output", cwd=folder) == "migrated\n"

    assert "worker at 1:Basic" in heroku.run("ps:scale", "worker+1", cwd=folder).err
    quantities = {
        each["type"]: each["quantity"] for each in platform_process.json("GET", f"/apps/{app}/formation")
    }
    assert quantities == {"web": 1, "worker": 1}
    heroku.run("ps:restart", "--process-type", "worker", cwd=folder)
    heroku.run("ps:stop", "--dyno-name", "worker.1", cwd=folder)

    assert "done, v5" in heroku.run("rollback", "v3", cwd=folder).err
    _ask(platform_process, app, "web.1 says nothing")
    logs = heroku.run("logs", "-n", "500", cwd=folder)
    for text in (
        "app[web.1]: listening",
        "heroku[router]: at=info",
        "app[release.1]: migrated",
        "app[api]: ",
    ):
        assert text in logs


def test_a_build_that_fails_rejects_the_push(heroku: Any, platform_process: Any, checkout: Any) -> None:
    folder, app = checkout
    (folder / "requirements.txt").unlink()
    _commit(heroku, folder)
    said = heroku.git("push", "heroku", "main", cwd=folder, fails=True)
    assert "No default language could be detected" in said
    assert "pre-receive hook declined" in said
    assert len(platform_process.json("GET", f"/apps/{app}/releases")) == 2


def test_a_release_command_that_fails_leaves_the_app_as_it_was(
    heroku: Any, platform_process: Any, checkout: Any
) -> None:
    folder, app = checkout
    (folder / "Procfile").write_text("web: python web.py\nrelease: echo broken migration && exit 3\n")
    _commit(heroku, folder)
    said = heroku.git("push", "heroku", "main", cwd=folder, fails=True)
    assert "broken migration" in said
    assert "The release command of v3 failed" in said
    newest = platform_process.json("GET", f"/apps/{app}/releases")[-1]
    assert (newest["status"], newest["current"]) == ("failed", False)
    assert platform_process.json("GET", f"/apps/{app}/dynos") == []


def test_a_push_to_a_missing_app_or_with_a_wrong_key_is_refused(
    heroku: Any, platform_process: Any, checkout: Any
) -> None:
    folder, app = checkout
    host = f"localhost:{platform_process.base + 1}"
    missing = heroku.git("push", f"https://{host}/no-such-app.git", "main", cwd=folder, fails=True)
    assert "not found" in missing.lower() or "Couldn't find that app" in missing
    address = f"https://x:HRKU-wrong@{host}/{app}.git"
    wrong = heroku.git("-c", "credential.helper=", "push", address, "main", cwd=folder, fails=True)
    assert "Authentication failed" in wrong
