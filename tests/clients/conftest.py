"""A real platform process, the real `heroku` CLI in its own home, a vendor behind the Partner API."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import uuid
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import httpx
import pytest
import trustme

from tests.ports import free_base

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_HERE = Path(__file__).parent
_ROOT = _HERE.parent.parent
_CLI = _HERE / "node_modules" / ".bin" / "heroku"
_START_SECONDS = 60
OWNER = "dev@example.com"
SERVICE = "shelf"
PASSWORD = "vendor-password"


class Vendor:
    """A vendor that implements the Partner API over real HTTP, and takes the log drain's batches."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, Any]] = []
        self.lines: list[bytes] = []
        self.refusal: str | None = None
        self._changed = threading.Condition()
        vendor = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                status, answer = vendor.handle(self.command, self.path, dict(self.headers), body)
                payload = b"" if answer is None else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            do_POST = do_PUT = do_DELETE = _serve  # noqa: N815  the server's naming

            def log_message(self, *_: object) -> None:
                """Stay quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def handle(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, dict[str, Any] | None]:
        if path.startswith("/logs"):
            with self._changed:
                self.lines += body.splitlines()
                self._changed.notify_all()
            return 204, None
        expected = "Basic " + base64.b64encode(f"{SERVICE}:{PASSWORD}".encode()).decode()
        if headers.get("Authorization") != expected:
            return 401, {}
        request = json.loads(body) if body else None
        self.requests.append((method, path, request))
        if self.refusal is not None and method != "DELETE":
            return 422, {"message": self.refusal}
        if method == "DELETE":
            return 204, None
        if method == "PUT":
            return 200, {"message": "Plan changed."}
        return 200, {
            "id": request["uuid"],
            "message": "The shelf is ready.",
            "config": {"SHELF_URL": f"{self.url}/{request['uuid']}", "SHELF_KEY": "key-1"},
            "log_drain_url": f"{self.url}/logs",
        }

    def wait_for_line(self, part: bytes, seconds: float = 20) -> bytes:
        def found() -> bytes | None:
            return next((line for line in self.lines if part in line), None)

        with self._changed:
            assert self._changed.wait_for(lambda: found() is not None, seconds), self.lines
            return found() or b""

    def manifest(self) -> dict[str, Any]:
        return {
            "id": SERVICE,
            "name": "Shelf",
            "human_name": "The Shelf",
            "plans": [
                {"name": "small", "human_name": "Small", "price_cents": 500, "default": True},
                {"name": "large", "human_name": "Large", "price_cents": 5000},
            ],
            "api": {
                "config_vars": ["SHELF_URL", "SHELF_KEY"],
                "config_vars_prefix": "SHELF",
                "password": PASSWORD,
                "sso_salt": "salt",
                "client_secret": "client",
                "regions": ["us"],
                "requires": ["syslog_drain", "many_per_app", "attachable"],
                "production": {"base_url": f"{self.url}/heroku/resources", "sso_url": f"{self.url}/sso"},
            },
        }

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass
class RunningPlatform:
    """A platform process and how to reach it."""

    process: subprocess.Popen[str]
    base: int
    home: Path
    key: str
    ca: Path
    log: Path
    api: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.api = httpx.Client(
            base_url=f"http://127.0.0.1:{self.base}",
            headers={"Authorization": f"Bearer {self.key}"},
            timeout=30,
        )

    def stop(self) -> None:
        """End it as its operator does."""
        self.process.send_signal(signal.SIGTERM)
        try:
            assert self.process.wait(timeout=15) == 0, self.log.read_text()
        finally:
            self.kill()

    def kill(self) -> None:
        """End it as a lack of memory does; no error when it has ended."""
        self.api.close()
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def json(self, method: str, path: str, body: Any = None) -> Any:
        response = self.api.request(method, path, json=body)
        assert response.is_success, response.text
        return response.json()

    def new_app(self) -> str:
        """Make an app by the API, which is quicker than by the CLI, and return its name."""
        return str(self.json("POST", "/apps", {"name": f"app-{uuid.uuid4().hex[:12]}"})["name"])


class Output(str):
    """What a command wrote to stdout; ``err`` is what it told the user beside that, as one line."""

    __slots__ = ("err",)
    _QUOTE = "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}"
    err: str

    def __new__(cls, out: str, err: str) -> Self:
        made = super().__new__(cls, out)
        made.err = " ".join(err.replace(cls._QUOTE, " ").split())
        return made


@dataclass
class Cli:
    """The real CLI with an isolated home and the recipe of the platform."""

    env: dict[str, str]
    cwd: Path

    def start(self, *args: str, cwd: Path | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(_CLI), *args],
            env=self.env,
            cwd=cwd or self.cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *args: str, cwd: Path | None = None, fails: bool = False) -> Output:
        """Run a command; return its stdout, which has its stderr beside it."""
        process = self.start(*args, cwd=cwd)
        out, err = process.communicate(timeout=120)
        assert (process.returncode != 0) is fails, (args, out, err)
        return Output(out, err)

    def git(self, *args: str, cwd: Path, fails: bool = False) -> str:
        """Run git with the CLI's credential helper; return all it says."""
        done = subprocess.run(
            ["git", *args], env=self.env, cwd=cwd, capture_output=True, text=True, timeout=120, check=False
        )
        assert (done.returncode != 0) is fails, (args, done.stdout, done.stderr)
        return done.stdout + done.stderr


@pytest.fixture(scope="session")
def vendor() -> Iterator[Vendor]:
    """A vendor whose service is called shelf."""
    running = Vendor()
    yield running
    running.close()


class PlatformHome:
    """What a platform is started from, once or again and again: a home, ports, a key, a CA, the manifest."""

    def __init__(self, folder: Path, vendor: Vendor) -> None:
        (folder / "manifests").mkdir()
        (folder / "manifests" / f"{SERVICE}.json").write_text(json.dumps(vendor.manifest()))
        authority = trustme.CA()
        certificate = authority.issue_cert("localhost", "127.0.0.1")
        authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        certificate.private_key_pem.write_to_path(str(folder / "key.pem"))
        (folder / "cert.pem").write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
        self._folder = folder
        self._key = f"HRKU-{uuid.uuid4()}"
        self._base = free_base()

    def start(self) -> RunningPlatform:
        """Run ``python -m platform_core serve`` and return once it is ready."""
        folder = self._folder
        argv = [
            *(sys.executable, "-m", "platform_core", "serve", "--home", str(folder / "home")),
            *("--port-base", str(self._base), "--manifests", str(folder / "manifests")),
            *("--tls-cert", str(folder / "cert.pem"), "--tls-key", str(folder / "key.pem")),
            *("--ca-file", str(folder / "ca.pem"), "--owner-email", OWNER),
        ]
        log = folder / "platform.log"
        with log.open("a") as stderr:
            process = subprocess.Popen(
                argv,
                env={**os.environ, "SLUICE_PLATFORM_OWNER_KEY": self._key},
                cwd=_ROOT,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        watchdog = threading.Timer(_START_SECONDS, process.kill)
        watchdog.start()
        assert process.stdout is not None
        first = process.stdout.readline()
        watchdog.cancel()
        assert first == "ready\n", log.read_text()
        return RunningPlatform(process, self._base, folder / "home", self._key, folder / "ca.pem", log)


@pytest.fixture(scope="session")
def platform_process(tmp_path_factory: pytest.TempPathFactory, vendor: Vendor) -> Iterator[RunningPlatform]:
    """A platform for all tests, with the vendor's service on offer."""
    running = PlatformHome(tmp_path_factory.mktemp("platform"), vendor).start()
    yield running
    running.stop()


@pytest.fixture
def platform_home(tmp_path: Path, vendor: Vendor) -> Iterator[Any]:
    """A test's own platform, to start, stop and kill at will."""
    folder = tmp_path / "platform"
    folder.mkdir()
    home = PlatformHome(folder, vendor)
    started: list[RunningPlatform] = []

    def start() -> RunningPlatform:
        started.append(home.start())
        return started[-1]

    yield start
    for running in started:
        running.kill()


@pytest.fixture(scope="session")
def heroku(platform_process: RunningPlatform, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """The unmodified CLI, pointed at the shared platform as `sluice env` would."""
    return _cli_for(platform_process, tmp_path_factory.mktemp("cli-home"))


@pytest.fixture
def running_at() -> Iterator[Any]:
    """Describes a platform that `sluice up` runs: its process, first port, home and key."""
    described: list[RunningPlatform] = []

    def describe(process: subprocess.Popen[str], base: int, home: Path, key: str) -> RunningPlatform:
        ca = home / "tls" / "ca.pem"
        described.append(RunningPlatform(process, base, home, key, ca, home / "logs" / "platform.log"))
        return described[-1]

    yield describe
    for each in described:
        each.api.close()


@pytest.fixture
def cli_for(tmp_path: Path) -> Callable[[RunningPlatform], Cli]:
    """The unmodified CLI, pointed at a test's own platform."""
    return lambda running: _cli_for(running, tmp_path / "cli-home")


def _cli_for(running: RunningPlatform, home: Path) -> Cli:
    if not _CLI.exists() or shutil.which("node") is None:
        pytest.fail("the heroku CLI is not installed: run `make setup-test` (it needs Node 20)")
    for name in ("cache/heroku", "config", "data", "work"):
        (home / name).mkdir(parents=True)
    (home / "cache" / "heroku" / "terms-of-service").touch()
    api = f"http://localhost:{running.base}"
    env = {
        "PATH": f"{_CLI.parent}:{os.environ['PATH']}",
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_DATA_HOME": str(home / "data"),
        "NO_COLOR": "1",
        "COLUMNS": "200",
        "LANG": "C.UTF-8",
        "HEROKU_HOST": api,
        "HEROKU_GIT_HOST": f"localhost:{running.base + 1}",
        "HEROKU_PARTICLEBOARD_URL": api,
        "HEROKU_DATA_HOST": "localhost",
        "HEROKU_LOGIN_HOST": api,
        "HEROKU_API_KEY": running.key,
        "DISABLE_TELEMETRY": "true",
        "HEROKU_SKIP_NEW_VERSION_CHECK": "true",
        "HEROKU_DISABLE_AUTOUPDATE": "1",
        "HEROKU_NOTIFICATIONS": "0",
        "NODE_EXTRA_CA_CERTS": str(running.ca),
        "GIT_SSL_CAINFO": str(running.ca),
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "Dev",
        "GIT_AUTHOR_EMAIL": OWNER,
        "GIT_COMMITTER_NAME": "Dev",
        "GIT_COMMITTER_EMAIL": OWNER,
        # pip in a build: the same sources as outside.
        **{name: value for name, value in os.environ.items() if name.startswith("PIP_")},
    }
    return Cli(env, home / "work")
