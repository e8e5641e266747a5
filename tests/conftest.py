"""What every suite shares: plain log output, and the option under which a skipped test is a failure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
import structlog

from tests.postgres import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Iterator

SKIPPED: Final = pytest.StashKey[list[tuple[str, str]]]()
SLOW_LIMIT_S: Final = 1_200.0
"""After this long a slow test hangs: one that takes a minute alone takes ten on a machine that is busy."""


@pytest.fixture(scope="session", autouse=True)
def _plain_tracebacks() -> None:
    """Log exceptions as plain text: structlog by default draws all variables, which takes seconds."""
    renderer = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[structlog.processors.add_log_level, renderer])


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A running PostgreSQL server that this worker's tests share; each makes databases of its own."""
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="a skipped test is a failure")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[SKIPPED] = []
    config.pluginmanager.register(_Skips(config), "no-skips")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SLOW_LIMIT_S))


class _Skips:
    """Remembers what was skipped; under --no-skips that ends the run with 1."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not report.skipped or hasattr(report, "wasxfail"):
            return
        reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
        self.config.stash[SKIPPED].append((report.nodeid, reason.removeprefix("Skipped: ")))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.config.getoption("--no-skips") and self.config.stash[SKIPPED] and not session.exitstatus:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        skipped = self.config.stash[SKIPPED]
        if not self.config.getoption("--no-skips") or not skipped:
            return
        terminalreporter.section("skipped, which this run does not allow", red=True)
        for nodeid, reason in skipped:
            terminalreporter.line(f"{nodeid}: {reason}")
