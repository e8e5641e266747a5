"""From git push to a query's answer, and through the death of the add-on, with real clients."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import select
import signal
import subprocess
import sys
import threading
import uuid
from typing import TYPE_CHECKING, Any

import httpx
import msgpack
import pytest
import tdclient

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.conftest import Sluice


pytestmark = [pytest.mark.serial, pytest.mark.timeout(600)]

HITS = 20
PROGRAM = """
import http.server, itertools, json, os, sys

numbers = itertools.count(1)

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        hit = {"n": next(numbers), "path": self.path, "time": 852076800}
        print("@[tiny.hits] " + json.dumps(hit), flush=True)
        print("served " + self.path, flush=True)
        body = os.environ["GREETING"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass

http.server.ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def config(sluice: Sluice) -> dict[str, str]:
    """An app with the add-on attached; its config vars."""
    with sluice.platform() as platform:
        assert platform.post("/apps", json={"name": "tiny"}).status_code == 201
        platform.patch("/apps/tiny/config-vars", json={"GREETING": "hello"}).raise_for_status()
        addon = platform.post("/apps/tiny/addons", json={"plan": {"name": "sluice:nano"}, "attachment": {}})
        assert addon.json()["state"] == "provisioned", addon.text
        found: dict[str, str] = platform.get("/apps/tiny/config-vars").json()
    assert found["GREETING"] == "hello"
    return found


def git(sluice: Sluice, checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    credentials = checkout.parent / "credentials"
    credentials.write_text(f"https://heroku:{sluice.env['HEROKU_API_KEY']}@{sluice.env['HEROKU_GIT_HOST']}\n")
    env = sluice.clean_env() | {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_SSL_CAINFO": sluice.env["GIT_SSL_CAINFO"],
        "GIT_AUTHOR_NAME": "T",
        "GIT_AUTHOR_EMAIL": "t@localhost",
        "GIT_COMMITTER_NAME": "T",
        "GIT_COMMITTER_EMAIL": "t@localhost",
    }
    argv = ["git", "-c", f"credential.helper=store --file={credentials}", *arguments]
    return subprocess.run(
        argv, cwd=checkout, env=env, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.fixture(scope="module")
def pushed(sluice: Sluice, config: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The tiny app, pushed and up; git's output."""
    assert config
    checkout = tmp_path_factory.mktemp("push") / "tiny"
    checkout.mkdir()
    (checkout / "Procfile").write_text("web: python app.py\n")
    (checkout / "requirements.txt").write_text("")
    (checkout / "app.py").write_text(PROGRAM)
    for arguments in (("init", "-q", "-b", "main"), ("add", "."), ("commit", "-q", "-m", "tiny")):
        assert git(sluice, checkout, *arguments).returncode == 0
    done = git(sluice, checkout, "push", f"https://{sluice.env['HEROKU_GIT_HOST']}/tiny.git", "main")
    assert done.returncode == 0, done.stderr
    with sluice.platform() as platform:
        sluice.until(
            "web.1 is up",
            60,
            lambda: (
                [d["state"] for d in platform.get("/apps/tiny/dynos").json() if d["type"] == "web"] == ["up"]
            ),
        )
    return done.stderr


def rows(client: tdclient.Client, database: str, sql: str) -> list[Any]:
    job = client.query(database, sql, type="presto")
    job.wait()
    assert job.success(), job.debug
    return list(job.result())


def addon_client(sluice: Sluice, key: str) -> contextlib.AbstractContextManager[tdclient.Client]:
    return contextlib.closing(tdclient.Client(apikey=key, endpoint=sluice.env["TD_API_SERVER"]))


def test_the_push_shows_the_build(pushed: str) -> None:
    assert "remote: " in pushed
    assert "-----> " in pushed


def test_what_the_app_prints_is_found_by_td_client_and_by_sluice_query(
    sluice: Sluice, config: dict[str, str], pushed: str
) -> None:
    assert pushed
    with httpx.Client(
        base_url=sluice.env["SLUICE_ROUTER_URL"], headers={"Host": "tiny.localhost"}
    ) as visitor:
        for number in range(HITS):
            answer = visitor.get(f"/page/{number}")
            assert (answer.status_code, answer.text) == (200, "hello")
    key = config["TREASURE_DATA_API_KEY"]
    with addon_client(sluice, key) as client:
        count = "SELECT COUNT(*) FROM hits WHERE path LIKE '/page/%'"  # other tests visit other pages
        sluice.until(
            "every hit is a row", 20, lambda: has_hits(client) and rows(client, "tiny", count) == [[HITS]]
        )
        spread = "SELECT MIN(time), MAX(time), COUNT(DISTINCT path) FROM hits WHERE path LIKE '/page/%'"
        assert rows(client, "tiny", spread) == [[852_076_800, 852_076_800, HITS]]
        served = "SELECT COUNT(*) FROM app WHERE message LIKE 'served /page/%'"
        sluice.until("the plain lines are rows", 20, lambda: rows(client, "logs", served) == [[HITS]])
        routed = "SELECT COUNT(*) FROM router WHERE status = 200 AND path LIKE '/page/%'"
        sluice.until(
            "the router's lines are rows",
            20,
            lambda: rows(client, "logs", routed) == [[HITS]],
        )
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "addon.cli",
            "query",
            "-d",
            "tiny",
            "--json",
            "SELECT COUNT(*) AS n FROM hits WHERE path LIKE '/page/%'",
        ],
        env=sluice.clean_env() | {"TD_API_SERVER": sluice.env["TD_API_SERVER"], "TD_API_KEY": key},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, json.loads(done.stdout or "null")) == (0, [{"n": HITS}]), done.stderr


def databases(client: tdclient.Client) -> set[str]:
    return {database.name for database in client.databases()}


def has_hits(client: tdclient.Client) -> bool:
    """Tell whether the app's first event has made its table."""
    return "tiny" in databases(client) and "hits" in {table.name for table in client.tables("tiny")}


def test_one_accounts_key_does_not_see_anothers_rows(sluice: Sluice, pushed: str) -> None:
    assert pushed
    with addon_client(sluice, sluice.env["TD_API_KEY"]) as client:
        assert "tiny" not in databases(client)


def test_a_second_up_on_the_same_ports_names_the_port(sluice: Sluice, tmp_path: Path) -> None:
    argv = [
        sys.executable,
        "-m",
        "addon.cli",
        "up",
        "--home",
        str(tmp_path / "h"),
        "--port-base",
        str(sluice.base),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 1
    assert f"Port {sluice.base} is in use" in done.stderr


class Importer(threading.Thread):
    """Imports small batches until the server is gone; remembers which were acknowledged."""

    def __init__(self, sluice: Sluice, number: int) -> None:
        super().__init__()
        self.client = tdclient.Client(apikey=sluice.env["TD_API_KEY"], endpoint=sluice.env["TD_API_SERVER"])
        self.number = number
        self.acked: list[str] = []
        self.unsure: str | None = None

    def run(self) -> None:
        for turn in range(100_000):
            upload = f"{self.number}-{turn}"
            try:
                send(self.client, upload)
            except Exception:  # noqa: BLE001  # whatever a client raises when its server dies
                self.unsure = upload
                return
            self.acked.append(upload)


def send(client: tdclient.Client, upload: str) -> None:
    packed = b"".join(msgpack.packb({"time": 1_000_000, "upload": upload, "n": n}) for n in range(10))
    body = gzip.compress(packed, mtime=0)  # the same upload must have the same bytes
    uid = uuid.uuid5(uuid.NAMESPACE_OID, upload).hex
    client.import_data("crash", "rows", "msgpack.gz", io.BytesIO(body), len(body), unique_id=uid)


def test_nothing_acknowledged_is_lost_or_doubled_by_kill_9(sluice: Sluice) -> None:
    with addon_client(sluice, sluice.env["TD_API_KEY"]) as client:
        client.create_database("crash")
        client.create_log_table("crash", "rows")
    importers = [Importer(sluice, number) for number in range(4)]
    for importer in importers:
        importer.start()
    # In the middle: after flushes have begun, and while every importer has a request under way.
    sluice.until("imports are under way", 30, lambda: all(len(importer.acked) > 40 for importer in importers))
    os.kill(sluice.program("addon serve"), signal.SIGKILL)
    for importer in importers:
        importer.join(60)
        importer.client.close()
    assert sluice.wait() == 1
    assert "add-on ended with signal SIGKILL" in sluice.errors()

    sluice.start()
    acked = {upload for importer in importers for upload in importer.acked}
    unsure = {importer.unsure for importer in importers if importer.unsure}
    with addon_client(sluice, sluice.env["TD_API_KEY"]) as client:
        counts = dict(rows(client, "crash", "SELECT upload, COUNT(*) FROM rows GROUP BY upload"))
        assert acked <= counts.keys() <= acked | unsure
        assert set(counts.values()) == {10}
        for upload in unsure:
            send(client, upload)
        for upload in list(acked)[:20]:
            send(client, upload)
        expected = [[10 * len(acked | unsure), len(acked | unsure)]]
        assert rows(client, "crash", "SELECT COUNT(*), COUNT(DISTINCT upload) FROM rows") == expected


class Visitor(threading.Thread):
    """Visits page after page, each of them once, until the router is gone."""

    def __init__(self, router: str) -> None:
        super().__init__()
        self.router = router
        self.answered: set[str] = set()
        self.unsure: str | None = None

    def run(self) -> None:
        with httpx.Client(base_url=self.router, headers={"Host": "tiny.localhost"}) as client:
            for number in range(100_000):
                self.unsure = f"/flow/{number}"
                try:
                    client.get(self.unsure).raise_for_status()
                except httpx.HTTPError:
                    return
                self.answered.add(self.unsure)


def test_kill_9_while_logs_flow_leaves_no_orphan_and_no_row_twice(
    sluice: Sluice, config: dict[str, str], pushed: str
) -> None:
    assert pushed
    key = config["TREASURE_DATA_API_KEY"]
    found = "SELECT path, COUNT(*) FROM hits WHERE path LIKE '/flow/%' GROUP BY path"
    sluice.until("the app answers", 60, lambda: answers(sluice))
    visitor = Visitor(sluice.env["SLUICE_ROUTER_URL"])
    visitor.start()
    with addon_client(sluice, key) as client:
        before: dict[str, int] = {}

        def flowing() -> bool:
            if has_hits(client):
                before.update(rows(client, "tiny", found))
            return len(before) >= HITS

        sluice.until("visits are rows", 30, flowing)
    programs = [os.pidfd_open(sluice.program(marker)) for marker in ("addon serve", "platform_core serve")]
    assert sluice.process is not None
    sluice.process.kill()
    for program in programs:
        with os.fdopen(program) as watched:
            assert select.select([watched], [], [], 10)[0], "a program outlived sluice up"
    sluice.wait()
    visitor.join(30)
    assert not visitor.is_alive()

    sluice.start()
    with addon_client(sluice, key) as client:
        after = dict(rows(client, "tiny", found))
    assert set(after.values()) == {1}
    assert before.keys() <= after.keys() <= visitor.answered | {visitor.unsure}


def answers(sluice: Sluice) -> bool:
    with httpx.Client(
        base_url=sluice.env["SLUICE_ROUTER_URL"], headers={"Host": "tiny.localhost"}
    ) as visitor:
        return visitor.get("/again").status_code == 200


def test_the_apps_run_again_after_the_restart(sluice: Sluice, pushed: str) -> None:
    assert pushed
    sluice.until("the app answers", 60, lambda: answers(sluice))
