"""What the demo asks of the platform, over the Platform API as any client would."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Self

import httpx

from addon.cli.failures import Exit, Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

_ACCEPT = "application/vnd.heroku+json; version=3"
_REQUEST_SECONDS = 60.0
_BOOT_SECONDS = 90.0
_POLL_SECONDS = 0.1


class PlatformClient:
    """Talks to the Platform API with the owner's key."""

    def __init__(self, url: str, key: str) -> None:
        """Take the API's URL and a key."""
        headers = {"Accept": _ACCEPT, "Authorization": f"Bearer {key}"}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=_REQUEST_SECONDS, trust_env=False)

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close its connections."""
        self._http.close()

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Send a request; return the JSON of a successful answer.

        Raises:
            Failure: the platform cannot be reached, or says no.
        """
        try:
            response = self._http.request(method, path, json=body)
        except httpx.HTTPError as error:
            what = f"{method} {path} did not reach the platform"
            raise Failure(what, str(error), "Read platform.log in the home folder's logs.") from error
        if not response.is_success:
            what = f"The platform answered {response.status_code} to {method} {path}"
            raise Failure(what, response.text[:1000], "Read platform.log in the home folder's logs.")
        return response.json()

    def create_app(self, name: str, config: Mapping[str, str]) -> None:
        """Create an app and set its config vars."""
        self.call("POST", "/apps", {"name": name})
        self.call("PATCH", f"/apps/{name}/config-vars", config)

    def add_addon(self, app: str, plan: str) -> dict[str, str]:
        """Provision an add-on and attach it; return the app's config vars, the add-on's among them."""
        addon = self.call(
            "POST", f"/apps/{app}/addons", {"plan": {"name": plan}, "attachment": {}, "config": {}}
        )
        if addon["state"] != "provisioned":
            raise Failure(f"The add-on is {addon['state']}", "the demo expects it at once", "Read addon.log.")
        config: dict[str, str] = self.call("GET", f"/apps/{app}/config-vars")
        return config

    def scale(self, app: str, process_type: str, quantity: int) -> None:
        """Run this many dynos of a process type."""
        updates = [{"type": process_type, "quantity": quantity}]
        self.call("PATCH", f"/apps/{app}/formation", {"updates": updates})

    def wait_up(self, app: str, expected: Mapping[str, int], show: Callable[[str], None]) -> None:
        """Return when so many dynos of each type are up.

        Raises:
            Failure: one crashed, or they took too long.
        """
        deadline = time.monotonic() + _BOOT_SECONDS
        while True:
            dynos = [
                (dyno["name"], dyno["type"], dyno["state"]) for dyno in self.call("GET", f"/apps/{app}/dynos")
            ]
            shown = ", ".join(f"{name} {state}" for name, _, state in dynos) or "no dynos yet"
            show(shown)
            up = {
                kind: sum(1 for _, its, state in dynos if (its, state) == (kind, "up")) for kind in expected
            }
            if up == dict(expected):
                return
            if any(state == "crashed" for _, _, state in dynos):
                raise Failure("A dyno crashed", shown, f"Read its log: heroku logs --app {app}")
            if time.monotonic() > deadline:
                raise Failure(
                    f"The dynos are not up after {_BOOT_SECONDS:.0f} s",
                    shown,
                    "Read platform.log.",
                    Exit.TIMEOUT,
                )
            time.sleep(_POLL_SECONDS)
