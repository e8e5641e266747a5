"""The API's part in a `git push`: who may push where, and a finished build's way to a release."""

from __future__ import annotations

from typing import TYPE_CHECKING

from platform_core.base.errors import InvalidInput, Unauthenticated
from platform_core.build.builder import Published
from platform_core.models.apps import ReleaseStatus
from platform_core.models.missing import Missing
from platform_core.store.accounts import find_authorization
from platform_core.store.apps import get_app

if TYPE_CHECKING:
    import sqlalchemy as sa

    from platform_core.api.context import Urls
    from platform_core.base.clock import Clock
    from platform_core.build.builder import BuildResult
    from platform_core.build.output import BuildOutput
    from platform_core.models.apps import App
    from platform_core.releases.service import Releases
    from platform_core.store.database import Store


class Deploys:
    """What the git server asks of the control plane."""

    def __init__(self, store: Store, releases: Releases, clock: Clock, urls: Urls) -> None:
        """Authorize against ``store``; publish through ``releases``."""
        self._store = store
        self._releases = releases
        self._clock = clock
        self._urls = urls

    async def authorize(self, app_name: str, username: str, password: str) -> App:
        """Return the app when the password is an API key of its owner; the user name does not matter.

        Raises:
            Unauthenticated: it is not a key.
            Missing: no such app of the key's account.
        """
        del username
        return await self._store.run(self._authorize, app_name, password)

    def _authorize(self, connection: sa.Connection, app_name: str, password: str) -> App:
        found = find_authorization(connection, password, self._clock.now())
        if found is None or found.account is None:
            raise Unauthenticated("Invalid credentials provided.", hint="Log in with `heroku login`.")
        app = get_app(connection, app_name)
        if app.owner.id != found.account.id:
            raise Missing("app", "Couldn't find that app.")
        return app

    async def publish(self, result: BuildResult, out: BuildOutput) -> Published:
        """Release a finished build; its release phase prints into the build log.

        Raises:
            InvalidInput: the release command failed.
        """
        slug = result.slug
        if "release" in slug.process_types:
            out.step("Running release command...")
        release = await self._releases.deploy(slug.app_id, slug, result.user_email, on_output=out.line)
        if release.status is ReleaseStatus.FAILED:
            raise InvalidInput(
                f"The release command of v{release.version} failed; the app goes on as it was.",
                hint="See `heroku releases:output`, mend it and push again.",
            )
        app = await self._store.run(get_app, slug.app_id)
        return Published(release.version, self._urls.web_url(app.name))
