"""The `RunSpecs` port: what the dyno manager reads to know what should run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from platform_core.base.errors import NotFound
from platform_core.models.runtime import RunSpec
from platform_core.store.apps import app_ids, get_app, uid_of
from platform_core.store.formation import formation_of
from platform_core.store.releases import current_release

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import sqlalchemy as sa

    from platform_core.models.apps import Release
    from platform_core.store.database import Store


class StoredRunSpecs:
    """Reads run specs from the store. ``slug_path`` maps a slug's SHA-256 to its file."""

    def __init__(self, store: Store, slug_path: Callable[[str], Path]) -> None:
        """Read from ``store``."""
        self._store = store
        self._slug_path = slug_path

    def run_spec(self, app_id: str) -> RunSpec | None:
        """Return what should run now, or None while the app has no slug or is gone."""
        return self._store.run_sync(self._current, app_id)

    def app_ids(self) -> Sequence[str]:
        """Return every app there is, for start-up."""
        return self._store.run_sync(app_ids)

    def _current(self, connection: sa.Connection, app_id: str) -> RunSpec | None:
        release = current_release(connection, app_id)
        return None if release is None else self.spec_of(connection, release)

    def spec_of(self, connection: sa.Connection, release: Release) -> RunSpec | None:
        """Return how a release would run (its release phase does before it is current)."""
        if release.slug is None:
            return None
        try:
            app = get_app(connection, release.app_id)
        except NotFound:
            return None
        return RunSpec(
            app_id=app.id,
            app_name=app.name,
            release_version=release.version,
            release_id=release.id,
            slug_sha256=release.slug.sha256,
            slug_commit=release.slug.commit,
            slug_path=self._slug_path(release.slug.sha256),
            config_vars=release.config_vars,
            processes=formation_of(connection, release),
            maintenance=app.maintenance,
            uid=uid_of(connection, app.id),
            release_created_at=release.created_at,
        )
