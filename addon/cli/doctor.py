"""``sluice doctor``: what this machine can do, what is missing, and what to do about it."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import ssl
import subprocess
import sys
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from addon.cli.failures import Exit, Failure
from addon.cli.home import Home
from addon.cli.output import Format, print_rows
from addon.cli.privileges import ADVICE, WITHOUT_ROOT
from addon.cli.recipe import from_shell
from addon.warehouse.scan.compiler import SOURCES as SCAN
from jobs.native.compiler import Sources, compiler
from jobs.native.library import SOURCES as ANALYSES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MIN_JAVA, _MIN_PYTHON = 17, (3, 11)
_MIN_FREE_BYTES = 2 << 30
_PRIVATE = 0o077
_PROBE_SECONDS = 10


class Verdict(StrEnum):
    """How a check came out. A warning costs a feature; a failure stops the show."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: what was found and, when it is not well, what to do."""

    name: str
    verdict: Verdict
    found: str
    do_next: str = ""


def doctor(root: Path, *, as_json: bool) -> Exit:
    """Check everything and print it; `Exit.ERROR` when a check failed."""
    checks = [*machine(), *installation(Home(root.resolve()))]
    form = Format.JSON if as_json else Format.TABLE if sys.stdout.isatty() else Format.TSV
    rows = [[str(value) for value in asdict(check).values()] for check in checks]
    print_rows(["check", "verdict", "found", "next"], rows, form, sys.stdout)
    return Exit.ERROR if any(check.verdict is Verdict.FAILED for check in checks) else Exit.OK


def machine() -> Iterator[Check]:
    """Look at what both programs need from the machine."""
    version = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info >= _MIN_PYTHON
    yield Check(
        "python", Verdict.OK if good else Verdict.FAILED, version, "" if good else "Use 3.11 or newer."
    )
    yield _program("git", ["git", "--version"], Verdict.FAILED, "apt-get install git")
    yield _program("bubblewrap", ["bwrap", "--version"], Verdict.WARNING, "apt-get install bubblewrap")
    yield _java()
    yield _kernel("typing kernel", SCAN)
    yield _kernel("analyses' kernel", ANALYSES)
    yield _root()


def _program(name: str, argv: list[str], without: Verdict, do_next: str) -> Check:
    if shutil.which(argv[0]) is None:
        return Check(name, without, "not on PATH", do_next)
    return Check(name, Verdict.OK, _first_line(argv))


def _first_line(argv: list[str]) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=_PROBE_SECONDS)
    lines = (done.stdout + done.stderr).splitlines()
    return lines[0] if lines else f"exit code {done.returncode}"


def _java() -> Check:
    advice = f"apt-get install openjdk-{_MIN_JAVA}-jre-headless (only Spark needs it)"
    if shutil.which("java") is None:
        return Check("java", Verdict.WARNING, "not on PATH", advice)
    line = _first_line(["java", "-version"])
    quoted = line.split('"')[1].split(".")[0] if line.count('"') > 1 else ""
    good = quoted.isdigit() and int(quoted) >= _MIN_JAVA
    return Check("java", Verdict.OK if good else Verdict.WARNING, line, "" if good else advice)


def _kernel(name: str, sources: Sources) -> Check:
    """Look for a compiled kernel, by its file: loading it is the service's business."""
    found, argv = sources.library_path(), [sys.executable, "-m", sources.module]
    if found.exists():
        return Check(name, Verdict.OK, str(found))
    first = "" if compiler() else "apt-get install gcc libc6-dev, then "
    return Check(name, Verdict.WARNING, f"not compiled: {sources.without}", first + shlex.join(argv))


def _root() -> Check:
    if os.geteuid() == 0:
        return Check("privileges", Verdict.OK, "root: dynos get their own uid, limits and network")
    return Check("privileges", Verdict.WARNING, WITHOUT_ROOT, ADVICE)


def installation(home: Home) -> Iterator[Check]:
    """Look at a home folder and at what runs with it."""
    if not home.root.is_dir():
        yield Check("home", Verdict.WARNING, f"{home.root} does not exist yet", "sluice up makes it")
        return
    yield _private(home)
    yield _disk(home)
    yield _certificate(home)
    try:
        variables = from_shell(home.recipe())
    except Failure as failure:
        yield Check("running", Verdict.WARNING, failure.why, failure.do_next)
        return
    for name in ("SLUICE_PLATFORM_URL", "SLUICE_ROUTER_URL", "SLUICE_API_URL"):
        yield _listening(name, variables[name])
    yield _listening("HEROKU_GIT_HOST", f"https://{variables['HEROKU_GIT_HOST']}")


def _private(home: Home) -> Check:
    loose = [
        path for path in (home.root, home.owner_key_file) if path.exists() and path.stat().st_mode & _PRIVATE
    ]
    if loose:
        found = f"others may enter or read {loose[0]}"
        return Check("home", Verdict.FAILED, found, f"chmod go-rwx {loose[0]}")
    return Check("home", Verdict.OK, str(home.root))


def _disk(home: Home) -> Check:
    free = shutil.disk_usage(home.root).free
    found = f"{free / 2**30:.1f} GiB free"
    if free < _MIN_FREE_BYTES:
        return Check("disk", Verdict.FAILED, found, "Free some space, or give a --home on another disk.")
    return Check("disk", Verdict.OK, found)


def _certificate(home: Home) -> Check:
    try:
        ssl.create_default_context(cafile=home.tls / "ca.pem")
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(home.tls / "cert.pem", home.tls / "key.pem")
    except (OSError, ssl.SSLError) as error:
        return Check("certificates", Verdict.WARNING, str(error), "sluice up makes new ones")
    return Check("certificates", Verdict.OK, str(home.tls / "ca.pem"))


def _listening(name: str, url: str) -> Check:
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 80), timeout=2).close()
    except OSError as error:
        return Check(name, Verdict.FAILED, f"{url}: {error}", "Start again with: sluice up")
    return Check(name, Verdict.OK, url)
