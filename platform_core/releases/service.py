"""Makes releases: on deploys, config changes, add-on changes and rollbacks."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Protocol, TypeVar

from platform_core.base.errors import InvalidInput
from platform_core.base.logs import get_logger
from platform_core.models.apps import Release, ReleaseStatus
from platform_core.models.logs import PRI_PLATFORM
from platform_core.releases import descriptions
from platform_core.releases.config_rules import check_change, check_size
from platform_core.store import config as configs
from platform_core.store import releases as rows
from platform_core.store.attachments import attachments_of_apps
from platform_core.store.formation import RELEASE_TYPE, start_with
from platform_core.store.slugs import add_slug

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import sqlalchemy as sa

    from platform_core.base.clock import Clock
    from platform_core.models.apps import Slug
    from platform_core.models.runtime import RunSpec
    from platform_core.releases.background import Background
    from platform_core.releases.output import ReleaseOutputs
    from platform_core.store.database import Store
    from platform_core.store.run_specs import StoredRunSpecs

T = TypeVar("T")
_log = get_logger(__name__)
_PHASE_BROKE = "release_phase_broke"


class ReleaseRunner(Protocol):
    """The part of the dyno manager that releases need."""

    async def reconcile(self, app_id: str) -> None:
        """Bring the app's dynos in line with its current release."""

    async def run_release_phase(self, spec: RunSpec, command: str) -> int:
        """Run the ``release:`` command to its end; return the exit code."""


class Releases:
    """The only writer of releases.

    Methods belong to the event loop. A release whose slug has a ``release:`` command is pending until that
    command ends: with 0 it becomes current, with anything else it failed and never runs.
    """

    def __init__(
        self,
        store: Store,
        logs: ReleaseOutputs,
        clock: Clock,
        *,
        specs: StoredRunSpecs,
        dynos: ReleaseRunner,
        background: Background,
    ) -> None:
        """Write to ``store``, announce in ``logs``, run with ``dynos``."""
        self._store = store
        self._logs = logs
        self._clock = clock
        self._specs = specs
        self._dynos = dynos
        self._background = background
        self._phases: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def begin_app(self, connection: sa.Connection, app_id: str, user_email: str) -> None:
        """Give a new app the two releases that every Heroku app starts with."""
        for description in (descriptions.INITIAL, descriptions.ENABLE_LOGPLEX):
            self._append(connection, app_id, description, user_email, slug=None)

    async def deploy(
        self,
        app_id: str,
        slug: Slug,
        user_email: str,
        *,
        on_output: Callable[[str], None] | None = None,
    ) -> Release:
        """Release a freshly built slug and wait for its release phase, whose lines go to ``on_output``.

        The first deploy of an app with a ``web`` process starts one web dyno.
        """

        def write(connection: sa.Connection) -> Release:
            add_slug(connection, slug)
            if "web" in slug.process_types:
                start_with(connection, app_id, "web")
            description = descriptions.deploy(slug.commit)
            return self._append(connection, app_id, description, user_email, slug=slug)

        release = await self._store.run(write)
        self._announce_release(release)
        if release.status is ReleaseStatus.PENDING:
            # Whoever pushed may hang up: the release phase still comes to its end.
            phase = self._run_phase(release, on_output)
            return await self._background.finish("release phase", phase)
        self._background.start("reconcile", self._dynos.reconcile(app_id))
        return release

    async def change_config(
        self, app_id: str, changes: Mapping[str, str | None], user_email: str
    ) -> Mapping[str, str]:
        """Set and remove (None) config vars; return all of the app's. No difference makes no release.

        Raises:
            InvalidInput: a name is malformed or an add-on's, or there is too much.
        """
        config, release = await self._store.run(self._write_config, app_id, changes, user_email)
        if release is not None:
            self._publish(release)
        return config

    def _write_config(
        self, connection: sa.Connection, app_id: str, changes: Mapping[str, str | None], user_email: str
    ) -> tuple[Mapping[str, str], Release | None]:
        own = configs.own_config(connection, app_id)
        check_change(changes, configs.addon_config(connection, app_id))
        real = {name: value for name, value in changes.items() if own.get(name) != value}
        if not real:
            return configs.full_config(connection, app_id), None
        configs.change_config(connection, app_id, real)
        config = configs.full_config(connection, app_id)
        check_size(config)
        description = descriptions.config_change(real)
        return config, self._append_with_current_slug(connection, app_id, description, user_email)

    async def recover(self) -> int:
        """After a start: mark releases failed whose release phase the end of the platform cut short."""
        return await self._store.run(rows.fail_pending)

    async def rollback(self, app_id: str, version_or_id: str, user_email: str) -> Release:
        """Release again what an earlier release ran: its slug and its users' config vars.

        Add-on config vars stay as they are now: their credentials may have changed since.

        Raises:
            NotFound: no such release.
            InvalidInput: it has no slug, or failed.
        """

        def write(connection: sa.Connection) -> Release:
            target = rows.get_release(connection, app_id, version_or_id)
            if target.slug is None or target.status is not ReleaseStatus.SUCCEEDED:
                raise InvalidInput(
                    f"Cannot roll back to v{target.version}: it ran no code.",
                    hint="See `heroku releases` for one that was deployed.",
                )
            configs.replace_config(connection, app_id, rows.own_config_of(connection, target.id))
            description = descriptions.rollback(target.version)
            return self._append(connection, app_id, description, user_email, slug=target.slug)

        release = await self._store.run(write)
        self._publish(release)
        return release

    async def record(
        self,
        app_id: str,
        description: str | Callable[[T], str],
        user_email: str,
        change: Callable[[sa.Connection], T],
    ) -> T:
        """Make a change to what an app sees, and the release that it causes, in one transaction.

        The description may depend on what the change came to.
        """

        def write(connection: sa.Connection) -> tuple[T, Release]:
            result = change(connection)
            check_size(configs.full_config(connection, app_id))
            text = description if isinstance(description, str) else description(result)
            return result, self._append_with_current_slug(connection, app_id, text, user_email)

        result, release = await self._store.run(write)
        self._publish(release)
        return result

    def _append_with_current_slug(
        self, connection: sa.Connection, app_id: str, description: str, user_email: str
    ) -> Release:
        base = rows.base_release(connection, app_id)
        slug = None if base is None else base.slug
        return self._append(connection, app_id, description, user_email, slug=slug)

    def _append(
        self, connection: sa.Connection, app_id: str, description: str, user_email: str, *, slug: Slug | None
    ) -> Release:
        attached = [attachment.addon for attachment in attachments_of_apps(connection, [app_id])]
        plans = {addon.id: f"{addon.service}:{addon.plan}" for addon in attached}
        return rows.add_release(
            connection,
            app_id,
            description,
            user_email,
            self._clock.now(),
            slug=slug,
            own_config=configs.own_config(connection, app_id),
            addon_config=configs.addon_config(connection, app_id),
            addon_plan_names=sorted(plans.values()),
            pending=slug is not None and RELEASE_TYPE in slug.process_types,
        )

    def _publish(self, release: Release) -> None:
        self._announce_release(release)
        if release.status is ReleaseStatus.PENDING:
            self._background.start("release phase", self._run_phase(release))
        else:
            self._background.start("reconcile", self._dynos.reconcile(release.app_id))

    def _announce_release(self, release: Release) -> None:
        self.announce(release.app_id, f"{release.description} by user {release.user_email}")
        self.announce(release.app_id, f"Release v{release.version} created by user {release.user_email}")

    def announce(self, app_id: str, text: str) -> None:
        """Write a line of the API (``app[api]: …``) to an app's log."""
        self._logs.write(app_id, "app", "api", [text.encode()], pri=PRI_PLATFORM)

    async def _run_phase(self, release: Release, on_output: Callable[[str], None] | None = None) -> Release:
        async with self._phases[release.app_id]:
            self._logs.begin(release.app_id, on_output)
            try:
                succeeded = await self._phase_succeeds(release)
            finally:
                output = self._logs.end(release.app_id)
            finished = await self._store.run(
                rows.finish_release, release, succeeded=succeeded, output=output, at=self._clock.now()
            )
        if succeeded:
            self._background.start("reconcile", self._dynos.reconcile(release.app_id))
        else:
            self.announce(release.app_id, f"Release v{release.version} failed: release command failed")
        return finished

    async def _phase_succeeds(self, release: Release) -> bool:
        spec = await self._store.run(self._specs.spec_of, release)
        if spec is None or release.slug is None:
            return False
        try:
            return await self._dynos.run_release_phase(spec, release.slug.process_types[RELEASE_TYPE]) == 0
        except Exception:  # noqa: BLE001  whatever went wrong, the release must not stay pending for ever
            _log.exception(_PHASE_BROKE, app=release.app_id, version=release.version)
            return False
