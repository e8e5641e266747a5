"""``python -m platform_core serve``: the platform in the foreground.

Prints ``ready`` on stdout once every listener accepts; ends on SIGTERM or SIGINT, its dynos stopped.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path

from platform_core.base.errors import SluiceError
from platform_core.base.logs import configure_logs
from platform_core.base.settings import load_settings
from platform_core.bootstrap import PlatformSettings, Program

PREFIX = "SLUICE_PLATFORM"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m platform_core", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="run the platform in the foreground")
    serve.add_argument("--home", type=Path, help="where everything that must last is kept")
    serve.add_argument("--host", help="the address to listen on (127.0.0.1)")
    serve.add_argument("--port-base", type=int, help="the first of four ports (7080)")
    serve.add_argument("--database-url", help="sqlite:///FILE or postgresql+psycopg://…")
    serve.add_argument("--tls-cert", type=Path, help="certificate chain of the TLS listener, PEM")
    serve.add_argument("--tls-key", type=Path, help="its private key, PEM")
    serve.add_argument("--ca-file", type=Path, help="authorities to trust beside the system's, PEM")
    serve.add_argument("--manifests", type=Path, help="folder of add-on manifests")
    serve.add_argument("--owner-email", help="address of the first account")
    serve.add_argument("--dyno-services", help="host:port,… that dynos reach at 127.0.0.1")
    serve.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))
    return parser


async def _serve(settings: PlatformSettings) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    program = Program(settings)
    await program.start()
    print("ready", flush=True)
    await ended.wait()
    await program.close()


def main() -> int:
    """Run the command line; return the exit code."""
    options = vars(_parser().parse_args())
    options.pop("command")
    configure_logs(options.pop("log_level"))
    for chatty in ("alembic", "uvicorn.error"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        settings = load_settings(PlatformSettings, PREFIX, **options)
        asyncio.run(_serve(settings))
    except SluiceError as error:
        print(f"platform_core: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
