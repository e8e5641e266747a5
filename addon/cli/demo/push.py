"""Pushes the sample shop with real git over HTTPS."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections import deque
from typing import TYPE_CHECKING

from addon.cli.demo.processes import follow
from addon.cli.failures import Failure
from addon.cli.home import write_private

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_TAIL_LINES = 30
_IDENTITY = {
    "GIT_AUTHOR_NAME": "Demo",
    "GIT_AUTHOR_EMAIL": "demo@localhost",
    "GIT_COMMITTER_NAME": "Demo",
    "GIT_COMMITTER_EMAIL": "demo@localhost",
}


def git_env(ca_file: str) -> dict[str, str]:
    """Return git's environment: nobody's own configuration, no questions, our certificate authority."""
    plain = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return inherited | plain | _IDENTITY | {"GIT_SSL_CAINFO": ca_file, "LC_ALL": "C.UTF-8"}


def commit_copy(source: Path, checkout: Path, env: Mapping[str, str]) -> None:
    """Copy an app to ``checkout`` and commit it there."""
    shutil.copytree(source, checkout, ignore=shutil.ignore_patterns("__pycache__", ".*_cache"))
    for argv in (
        ["git", "init", "--quiet", "--initial-branch=main"],
        ["git", "add", "--all"],
        ["git", "commit", "--quiet", "--message=The shop"],
    ):
        done = subprocess.run(argv, cwd=checkout, env=dict(env), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failure(f"{shlex.join(argv[:2])} failed", done.stderr, "Look at git's message.")


def push(
    checkout: Path, git_host: str, app: str, key: str, *, env: Mapping[str, str], show: Callable[[str], None]
) -> str:
    """Push ``main`` to the app; return what git said, the build's output in it.

    The key reaches git through its credential store in a file for our eyes only, after the server asked for
    it: it is on no command line and in no remote's URL.

    Raises:
        Failure: the push was rejected; the last lines are the reason.
    """
    secret = checkout.with_name("git-credentials")
    write_private(secret, f"https://heroku:{key}@{git_host}\n")
    helper = f"credential.helper=store --file={shlex.quote(str(secret))}"
    argv = ["git", "-c", helper, "push", f"https://{git_host}/{app}.git", "main"]
    lines: deque[str] = deque(maxlen=200)

    def take(line: str) -> None:
        lines.append(line)
        show(line.strip().removeprefix("remote: "))

    try:
        code = follow(argv, take, cwd=checkout, env=env)
    finally:
        secret.unlink(missing_ok=True)
    if code != 0:
        raise Failure(
            "git push failed", "\n".join(list(lines)[-_TAIL_LINES:]), "Mend the app, then push again."
        )
    return "\n".join(lines)
