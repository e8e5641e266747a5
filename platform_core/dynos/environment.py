"""What a dyno's program finds: its environment and the shell lines before its command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from platform_core.base.clock import iso8601
from platform_core.releases.descriptions import deploy

if TYPE_CHECKING:
    from platform_core.models.runtime import RunSpec

PATH = "/usr/local/bin:/usr/bin:/bin"
START_SCRIPT = """\
read -r _ <&3; exec 3<&-
shopt -s nullglob
for part in "$HOME"/.profile.d/*.sh; do source "$part"; done
if [ -f "$HOME/.profile" ]; then source "$HOME/.profile"; fi
shopt -u nullglob; unset part
exec /bin/bash -c "$1"
"""
"""Heroku's order: config vars, ``.profile.d``, ``.profile``, the command. The first line waits until the
platform has put its relays in place, so that an app may use its services from its first instruction."""


def start_command(command: str) -> list[str]:
    """Return the argument list that runs a Procfile's ``command``."""
    return ["/bin/bash", "-c", START_SCRIPT, "dyno", command]


def dyno_env(spec: RunSpec, name: str, home: str, port: int | None) -> dict[str, str]:
    """Return a dyno's whole environment; nothing of the host's is in it.

    The platform's own variables win over config vars of the same name; ``PORT`` is for web dynos only.
    """
    env = {"PATH": PATH, "LANG": "C.UTF-8", "TMPDIR": "/tmp"}  # noqa: S108  # the sandbox's private one
    env |= spec.config_vars
    env |= {
        "HOME": home,
        "DYNO": name,
        "HEROKU_APP_ID": spec.app_id,
        "HEROKU_APP_NAME": spec.app_name,
        "HEROKU_RELEASE_VERSION": f"v{spec.release_version}",
        "HEROKU_RELEASE_CREATED_AT": iso8601(spec.release_created_at),
        "HEROKU_SLUG_COMMIT": spec.slug_commit,
        "HEROKU_SLUG_DESCRIPTION": deploy(spec.slug_commit),
        "HEROKU_BUILD_COMMIT": spec.slug_commit,
    }
    if port is None:
        env.pop("PORT", None)
    else:
        env["PORT"] = str(port)
    return env
