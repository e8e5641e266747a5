"""The demo from its first step to its last."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from addon.cli.client import Client
from addon.cli.demo import landed
from addon.cli.demo.analyses import run_analyses
from addon.cli.demo.console import Console
from addon.cli.demo.freshness import FreshnessProbe
from addon.cli.demo.installation import Running
from addon.cli.demo.keep import instructions
from addon.cli.demo.platform import PlatformClient
from addon.cli.demo.push import commit_copy, git_env, push
from addon.cli.demo.report import print_tables, write_report
from addon.cli.demo.traffic import Ledger, drive
from addon.cli.failures import Exit, Failure
from addon.cli.home import Home
from addon.cli.ports import DEFAULT_BASE, Ports, suggest_base
from addon.cli.privileges import warning

if TYPE_CHECKING:
    from collections.abc import Mapping

APP = "shop"
PLAN = "sluice:standard"
CONFIG = {"SHOP_REPLAY": "1"}
DYNOS = {"web": 1, "worker": 1}
_ROOM_BYTES = 256 << 20
"""Some five times what a whole run takes."""
FRESH_SECONDS = 2.0
"""99 of 100 lines must be in a query's answer within this."""


@dataclass(frozen=True, slots=True)
class Examples:
    """The parts of a clone that the demo needs."""

    shop: Path
    driver: Path
    results: Path
    """Where the report and the runs behind it are left."""

    @classmethod
    def find(cls) -> Examples:
        """Find them beside the packages.

        Raises:
            Failure: Sluice was installed without them.
        """
        clone = Path(__file__).resolve().parents[3]
        folder = clone / "examples"
        found = cls(folder / "shop", folder / "traffic", clone / "build" / "demo")
        if not (found.shop.is_dir() and found.driver.is_dir()):
            raise Failure(
                "The demo's example app is missing", f"{folder} is not there", "Run it from a clone."
            )
        return found


def run_demo(root: Path | None, port_base: int | None, *, keep: bool) -> Exit:
    """Run the demo; everything it started is stopped again unless ``keep``.

    Raises:
        Failure: a step failed, or a count is off.
    """
    for number in (signal.SIGTERM, signal.SIGINT):  # also where a shell started us with SIGINT ignored
        signal.signal(number, signal.default_int_handler)
    examples = Examples.find()
    base = port_base if port_base is not None else _free_base()
    home = (root or _new_home(examples)).resolve()
    home.mkdir(parents=True, exist_ok=True)
    try:
        _run(Running(home, base), examples, home, f"ports {base} to {base + 5}, home {home}", keep=keep)
    except KeyboardInterrupt:
        _forget(root, home)
        raise
    except BaseException:
        _say(f"The logs are in {Home(home).logs}")
        raise
    _forget(root, home)
    return Exit.OK


def _run(running: Running, examples: Examples, home: Path, where: str, *, keep: bool) -> None:
    started, console = time.monotonic(), Console()
    try:
        with console.step("start the platform and the add-on") as step:
            running.start()
            step.detail = where
        weak = warning()
        if weak is not None:
            _say(weak)
        report = _steps(console, running, examples, home)
        _say(f"Done in {time.monotonic() - started:.0f} s: every event that was sent is a row, once.")
        print(f"\nReport with charts: {report}", flush=True)
        if keep:
            _keep(running)
        with console.step("stop everything"):
            running.stop()
    except BaseException as error:
        death = running.death()
        running.end()
        if death is not None and isinstance(error, Failure):
            raise death from error  # what the step saw was only the consequence
        raise


def _new_home(examples: Examples) -> Path:
    """Make a home folder among the temporary files, or in the clone where those have no room."""
    folder = Path(tempfile.gettempdir())
    if shutil.disk_usage(folder).free < _ROOM_BYTES:
        folder = examples.results.parent
        folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(folder).free < _ROOM_BYTES:
            why = f"neither {tempfile.gettempdir()} nor {folder} has {_ROOM_BYTES >> 20} MiB free"
            raise Failure("There is no room for the demo", why, "Free some, or give a --home elsewhere.")
    return Path(tempfile.mkdtemp(prefix="sluice-demo-", dir=folder))


def _forget(root: Path | None, home: Path) -> None:
    """Remove a home folder that we made ourselves; one that was given is the caller's."""
    if root is None:
        shutil.rmtree(home, ignore_errors=True)
        if home.exists():
            _say(f"Some files in {home} belong to others; remove it with: sudo rm -r {home}")


def _free_base() -> int:
    return DEFAULT_BASE if not Ports(DEFAULT_BASE).taken() else suggest_base(DEFAULT_BASE)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _steps(console: Console, running: Running, examples: Examples, home: Path) -> Path:
    recipe = running.recipe()
    with PlatformClient(recipe["SLUICE_PLATFORM_URL"], recipe["SLUICE_PLATFORM_TOKEN"]) as platform:
        config = _create(console, platform)
        _push(console, recipe, examples, home)
        _boot(console, platform)
    server, key = config["TREASURE_DATA_API_SERVER"], config["TREASURE_DATA_API_KEY"]
    with Client(server, key) as client, Client(server, key) as probing:
        ledger = _traffic(console, recipe, examples, home, probing)
        with console.step("compare rows with events sent") as step:
            landed.compare(client, ledger)
            lines = landed.compare_lines(client, ledger, step.update)
            step.detail = (
                f"{ledger.total:,} events, {len(ledger.orders):,} purchases, {lines:,} log lines: "
                "none lost, none doubled"
            )
        with console.step("run the analyses on the add-on") as step:
            folders = run_analyses(client, examples.results, step.update)
            step.detail = ", ".join(folder.name for folder in folders)
    with console.step("write the report") as step:
        report = write_report(folders, examples.results / "report.html")
        step.detail = str(report)
    print_tables(folders)
    return report


def _create(console: Console, platform: PlatformClient) -> dict[str, str]:
    with console.step("create the app and its add-on") as step:
        platform.create_app(APP, CONFIG)
        config = platform.add_addon(APP, PLAN)
        missing = {"TREASURE_DATA_API_KEY", "TREASURE_DATA_API_SERVER"} - config.keys()
        if missing:
            raise Failure("The add-on set no " + ", ".join(sorted(missing)), "", "Read addon.log.")
        step.detail = f"{APP}, {PLAN}"
        return config


def _push(console: Console, recipe: Mapping[str, str], examples: Examples, home: Path) -> None:
    with console.step("git push the shop") as step:
        checkout = home / "checkout" / APP
        env = git_env(recipe["GIT_SSL_CAINFO"])
        commit_copy(examples.shop, checkout, env)
        key = recipe["SLUICE_PLATFORM_TOKEN"]
        push(checkout, recipe["HEROKU_GIT_HOST"], APP, key, env=env, show=step.update)


def _boot(console: Console, platform: PlatformClient) -> None:
    with console.step("start web and worker") as step:
        for process_type, quantity in DYNOS.items():
            platform.scale(APP, process_type, quantity)
        platform.wait_up(APP, DYNOS, step.update)


def _traffic(
    console: Console, recipe: Mapping[str, str], examples: Examples, home: Path, probing: Client
) -> Ledger:
    probe = FreshnessProbe(probing, landed.DATABASE)
    probe.start()
    try:
        with console.step("replay real purchases through the router") as step:

            def show(text: str) -> None:
                probe.require_asking()  # no use in going on when nobody can see what lands
                step.update(text)

            router = recipe["SLUICE_ROUTER_URL"]
            ledger = drive(examples.driver, router, landed.HOST, home / "ledger.json", show)
            rate = ledger.requests / ledger.seconds
            step.detail = f"{ledger.visits:,} visits, {ledger.requests:,} requests, {rate:,.0f}/s"
        with console.step("wait for the rows") as step:
            rows = probe.wait_seen(ledger.total, step.update)
            step.detail = f"{rows:,} of {ledger.total:,}"
    finally:
        probe.stop()
    probe.require_sound()
    with console.step("measure freshness, from print to a query's answer") as step:
        step.detail = describe_freshness(probe, ledger.total)
    return ledger


def describe_freshness(probe: FreshnessProbe, rows: int) -> str:
    """Return the latencies in words; a busy machine may miss the bar, which is told, but no failure."""
    p50, p99 = probe.percentile(0.50, rows), probe.percentile(0.99, rows)
    verdict = "held" if p99 <= FRESH_SECONDS else "NOT held"
    measured = f"p50 {p50:.2f} s, p99 {p99:.2f} s over {probe.seen:,} rows and {probe.polls} queries"
    return f"{measured}; the bar of {FRESH_SECONDS:.0f} s is {verdict}"


def _keep(running: Running) -> None:
    """Show the recipe and stay until Ctrl-C.

    Raises:
        Failure: the installation ended by itself.
    """
    recipe = running.recipe()
    _say("\nIt goes on running until Ctrl-C.")
    _say(f"  shop:     {recipe['SLUICE_ROUTER_URL']} with the header Host: {landed.HOST}")
    _say(f"  platform: {recipe['SLUICE_PLATFORM_URL']}")
    _say(f"  add-on:   {recipe['SLUICE_API_URL']}")
    beside = Path(sys.executable).with_name("sluice")
    command = str(beside) if beside.is_file() else "sluice"
    _say("\nIn another terminal:")
    print(instructions(running.home.root, APP, landed.HOST, command, sys.executable), flush=True)
    running.wait()
