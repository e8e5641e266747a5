"""What a build's programs find in their environment, and the machine's package settings that come along."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from platform_core.base.sandbox.spec import Bind

if TYPE_CHECKING:
    from collections.abc import Mapping

_PATH = "/usr/local/bin:/usr/bin:/bin"
_PASSED_PREFIXES = ("PIP_",)
_PASSED = frozenset(
    {"SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"}
    | {"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"}
)
_REFUSED_PREFIXES = ("LD_", "GIT_", "PIP_", "BASH_")
_REFUSED = frozenset({"PATH", "HOME", "IFS", "ENV", "PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "TMPDIR"})
_PIP_CONF = Path("/etc/pip.conf")
_SYSTEM = ("/usr", "/bin", "/lib", "/etc")


def build_env(
    config_vars: Mapping[str, str], app: str, cache: str, stack: str, host: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """Return a build's environment: the app's config vars that can do no harm, then what we set."""
    env = {
        name: value
        for name, value in config_vars.items()
        if name not in _REFUSED and not name.startswith(_REFUSED_PREFIXES)
    }
    env |= {
        name: value for name, value in host.items() if name in _PASSED or name.startswith(_PASSED_PREFIXES)
    }
    return env | {
        "PATH": _PATH,
        "HOME": app,
        "LANG": "C.UTF-8",
        "STACK": stack,
        "CACHE_DIR": cache,
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def host_binds(env: dict[str, str], *, own_files: bool, host: Mapping[str, str] = os.environ) -> list[Bind]:
    """Return binds for the files that pip's settings name outside of the system's own tree.

    ``env`` is changed where a file appears under another path inside.
    """
    if not own_files:
        return []
    binds = []
    if _PIP_CONF.is_file() and "PIP_CONFIG_FILE" not in host:
        binds.append(Bind(_PIP_CONF, "/build/pip.conf"))
        env["PIP_CONFIG_FILE"] = "/build/pip.conf"
    named = [path for name, value in env.items() if _names_files(name) for path in value.split()]
    return binds + [
        Bind(Path(path), path)
        for path in dict.fromkeys(named)
        if path.startswith("/") and not path.startswith(_SYSTEM) and Path(path).exists()
    ]


def _names_files(name: str) -> bool:
    return name in {"PIP_FIND_LINKS", "PIP_CONFIG_FILE", "PIP_CERT", "PIP_CONSTRAINT"} or name in _PASSED
