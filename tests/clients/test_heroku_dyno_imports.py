"""An app on a dyno uses its add-on by nothing but its config vars, out of its own network."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from addon.cli.ports import suggest_base

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WORKER = """
import gzip, json, os, socket, time, urllib.request

SERVER, KEY = os.environ["TREASURE_DATA_API_SERVER"], os.environ["TREASURE_DATA_API_KEY"]

def call(method, path, body=None):
    headers = {"Authorization": "TD1 " + KEY}
    request = urllib.request.Request(SERVER + path, data=body, method=method, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read()

def text(value):
    return bytes([0xA0 + len(value)]) + value.encode()

def msgpack(row):
    packed = bytes([0x80 + len(row)])
    for name, value in row.items():
        packed += text(name)
        packed += text(value) if isinstance(value, str) else b"\\xce" + value.to_bytes(4, "big")
    return packed

call("POST", "/v3/database/create/own", b"")
call("POST", "/v3/table/create/own/things/log", b"")
row = msgpack({"time": int(time.time()), "who": os.environ["DYNO"]})
call("PUT", "/v3/table/import/own/things/msgpack.gz", gzip.compress(row))
issued = call("POST", "/v3/job/issue/presto/own?query=select+count(*),+min(who)+from+things", b"")
job = json.loads(issued)["job_id"]
while json.loads(call("GET", f"/v3/job/status/{job}"))["status"] in ("queued", "running"):
    time.sleep(0.05)
print("counted", call("GET", f"/v3/job/result/{job}?format=csv").decode().strip(), flush=True)

def reached(port):
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except ConnectionRefusedError:
        return False
    return True

base = int(SERVER.rpartition(":")[2]) - 4
print("reached", [offset for offset in range(6) if reached(base + offset)], flush=True)
time.sleep(3600)
"""
_START_SECONDS = 90


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[tuple[Path, int, subprocess.Popen[str]]]:
    """`sluice up`: its home, its first port, its process."""
    home, base = tmp_path / "home", suggest_base(26_000)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("SLUICE_", "HEROKU_"))}
    with (tmp_path / "up.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "addon.cli", "up", "--home", str(home), "--port-base", str(base)],
            env=clean,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    watchdog = threading.Timer(_START_SECONDS, process.kill)
    watchdog.start()
    assert process.stdout is not None
    first = process.stdout.readline()
    watchdog.cancel()
    assert first == "ready\n", (tmp_path / "up.log").read_text()
    yield home, base, process
    process.terminate()
    process.communicate(timeout=60)


def test_a_dyno_imports_and_queries_through_its_config_vars(
    installation: Any, running_at: Any, cli_for: Any, tmp_path: Path
) -> None:
    home, base, process = installation
    running = running_at(process, base, home, (home / "owner.key").read_text().strip())
    cli = cli_for(running)
    app = running.new_app()
    running.json("POST", f"/apps/{app}/addons", {"plan": "sluice"})
    work = tmp_path / "work"
    work.mkdir()
    (work / "requirements.txt").touch()
    (work / "Procfile").write_text("worker: python work.py\n")
    (work / "work.py").write_text(WORKER)
    cli.git("init", "-q", "-b", "main", cwd=work)
    cli.git("add", "-A", cwd=work)
    cli.git("commit", "-q", "-m", "an app", cwd=work)
    cli.git(
        *("-c", "credential.helper=!heroku git:credentials"),
        *("push", f"https://localhost:{base + 1}/{app}.git", "main"),
        cwd=work,
    )
    running.json("PATCH", f"/apps/{app}/formation/worker", {"quantity": 1})
    url = running.json("POST", f"/apps/{app}/log-sessions", {"tail": True, "source": "app", "dyno": "worker"})
    said = []
    with running.api.stream("GET", url["logplex_url"]) as lines:
        for line in lines.iter_lines():
            said.append(line.partition("]: ")[2])
            if said[-1].startswith("reached"):
                break
            assert "Traceback" not in line, said
    # Its own network holds its add-on's port and no other of the installation's.
    assert said[-2:] == ["counted 1,worker.1", "reached [4]"]
