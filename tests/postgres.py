"""A real PostgreSQL server in a temporary folder, for the tests that need one."""

from __future__ import annotations

import functools
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pg8000.dbapi

_USER = "sluice"
_PASSWORD = "not-a-secret"
_SPEED = {"fsync": "off", "full_page_writes": "off"}
"""For suites that never cut the power: a server that is killed loses nothing by these."""


class PostgresServer:
    """A server on 127.0.0.1; `start` and `stop` may be repeated, the data stays until `remove`."""

    def __init__(self, *, durable: bool = False) -> None:
        """Make the cluster; ``durable`` keeps the server's own settings for writes."""
        # Not below pytest's folders: those are closed to the user that the server must run as.
        self.folder = Path(tempfile.mkdtemp(prefix="sluice-pg-"))
        self.port = _free_port()
        self._settings = {} if durable else _SPEED
        self._as_user = _drop_to_postgres(self.folder)
        password = self.folder / "password"
        password.write_text(_PASSWORD)
        password.chmod(0o644)
        self._run(
            "initdb", "-D", str(self.data), "-U", _USER, "-A", "scram-sha-256", "-E", "UTF8",
            "--locale=C", "--no-sync", f"--pwfile={password}", "--no-instructions",
        )  # fmt: skip

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(self) -> None:
        """Start it and wait until it answers."""
        settings = {"unix_socket_directories": "", "max_connections": "200", **self._settings}
        options = " ".join(f"-c {name}='{value}'" for name, value in settings.items())
        options += f" -c listen_addresses=127.0.0.1 -p {self.port}"
        log = self.folder / "data" / "server.log"
        self._run("pg_ctl", "-D", str(self.data), "-w", "-t", "60", "-l", str(log), "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop it: ``fast`` ends sessions, ``immediate`` is a crash."""
        self._run("pg_ctl", "-D", str(self.data), "-w", "-m", mode, "stop")

    def remove(self) -> None:
        """Stop it if it runs, and delete its folder."""
        if (self.data / "postmaster.pid").exists():
            self.stop("immediate")
        shutil.rmtree(self.folder)

    def create(self, name: str, template: str = "template0") -> str:
        """Make a database and return its URL."""
        self._sql(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url(name)

    def drop(self, name: str) -> None:
        self._sql(f'DROP DATABASE "{name}" WITH (FORCE)')

    def url(self, name: str) -> str:
        return f"postgresql://{_USER}:{_PASSWORD}@127.0.0.1:{self.port}/{name}"

    def _sql(self, statement: str) -> None:
        connection = pg8000.dbapi.connect(
            _USER, host="127.0.0.1", port=self.port, password=_PASSWORD, database="postgres"
        )
        connection.autocommit = True
        try:
            connection.cursor().execute(statement)
        finally:
            connection.close()

    def _run(self, tool: str, *arguments: str) -> None:
        argv = [*self._as_user, str(_binaries() / tool), *arguments]
        with (self.folder / "errors").open("w") as errors:  # no pipe: the server would hold it open
            done = subprocess.run(
                argv, stdout=subprocess.DEVNULL, stderr=errors, check=False, cwd=self.folder
            )
        assert done.returncode == 0, f"{tool}: {(self.folder / 'errors').read_text()}"


@functools.cache
def _binaries() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    assert found, "PostgreSQL is missing: make setup-test installs it."
    return found[-1]


def _drop_to_postgres(folder: Path) -> list[str]:
    """Return the command that runs another as a user that the server accepts: it refuses root."""
    if os.geteuid() != 0:
        return []
    user = pwd.getpwnam("postgres")
    os.chown(folder, user.pw_uid, user.pw_gid)
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--"]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
