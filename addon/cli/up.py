"""``sluice up``: both programs in the foreground, until a signal or the death of one of them."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import TYPE_CHECKING

from addon.cli.certificates import ensure_certificates
from addon.cli.children import Child
from addon.cli.failures import Exit, Failure
from addon.cli.home import Home, write_private
from addon.cli.ports import Ports
from addon.cli.privileges import warning
from addon.cli.programs import Installation
from addon.cli.recipe import Provider, recipe, to_shell

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def up(root: Path, port_base: int) -> Exit:
    """Start, say ``ready``, stay; return when told to stop.

    Raises:
        Failure: a port is taken, a program did not start, or one ended by itself.
    """
    ports, home = Ports(port_base), Home(root.resolve())
    ports.require_free()
    home.prepare()
    with home.held():
        home.env_sh.unlink(missing_ok=True)
        installation = Installation(home, ports, ensure_certificates(home.tls))
        provider = installation.init_addon()
        return asyncio.run(_run(installation, provider, announce=_say_ready))


def _say_ready() -> None:
    weak = warning()
    if weak is not None:
        print(weak, file=sys.stderr, flush=True)
    print("ready", flush=True)


async def _run(installation: Installation, provider: Provider, announce: Callable[[], None]) -> Exit:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    stopping = asyncio.create_task(stop.wait())
    children: list[Child] = []
    try:
        starting = asyncio.create_task(_start(installation, children))
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if stopping.done():
            starting.cancel()
            return Exit.OK
        _result(starting)
        _write_recipe(installation, provider)
        announce()
        await asyncio.wait(
            {stopping, *(child.ended for child in children)}, return_when=asyncio.FIRST_COMPLETED
        )
        if stopping.done():
            return Exit.OK
        raise next(child for child in children if child.ended.done()).death()
    finally:
        installation.home.env_sh.unlink(missing_ok=True)
        await _stop(children)


def _result(starting: asyncio.Task[None]) -> None:
    """Raise the first program's own failure rather than a group of them."""
    try:
        starting.result()
    except ExceptionGroup as group:
        raise next(error for error in group.exceptions if isinstance(error, Failure)) from group


async def _start(installation: Installation, children: list[Child]) -> None:
    logs = installation.home.logs
    for name, argv, env, log in (
        ("add-on", installation.addon_argv(), installation.addon_env(), logs / "addon.log"),
        ("platform", installation.platform_argv(), installation.platform_env(), logs / "platform.log"),
    ):
        children.append(await Child.start(name, argv, env, log))
    async with asyncio.TaskGroup() as group:
        for child in children:
            group.create_task(child.wait_ready())


def _write_recipe(installation: Installation, provider: Provider) -> None:
    home = installation.home
    variables = recipe(
        home.root, installation.ports, installation.certificates.ca, home.owner_key(), provider
    )
    write_private(home.env_sh, to_shell(variables))


async def _stop(children: list[Child]) -> None:
    """Stop the platform first: its log router hands over what it still holds while the add-on listens."""
    for child in reversed(children):
        remark = await child.stop()
        if remark:
            print(f"sluice: {remark}", file=sys.stderr, flush=True)
