"""Releases: numbered per app, append-only. Written by `platform_core.releases` alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from platform_core.base.ids import is_uuid, new_uuid
from platform_core.models.apps import Release, ReleaseStatus, Slug
from platform_core.models.missing import Missing
from platform_core.store.slugs import get_slug
from platform_core.store.tables import apps, release_outputs, releases

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class ReleaseSummary:
    """A release without its config vars, as lists show it."""

    id: str
    version: int
    description: str
    user_email: str
    created_at: float
    slug_id: str | None
    status: ReleaseStatus
    current: bool
    has_output: bool
    addon_plan_names: Sequence[str]


def add_release(
    connection: sa.Connection,
    app_id: str,
    description: str,
    user_email: str,
    at: float,
    *,
    slug: Slug | None,
    own_config: Mapping[str, str],
    addon_config: Mapping[str, str],
    addon_plan_names: Sequence[str],
    pending: bool,
) -> Release:
    """Append a release with the app's next version. A pending one becomes current by `finish_release`."""
    lock_app(connection, app_id)
    highest = sa.select(sa.func.max(releases.c.version)).where(releases.c.app_id == app_id)
    version = (connection.execute(highest).scalar() or 0) + 1
    new_id = new_uuid()
    status = ReleaseStatus.PENDING if pending else ReleaseStatus.SUCCEEDED
    connection.execute(
        sa.insert(releases).values(
            id=new_id,
            app_id=app_id,
            version=version,
            description=description,
            user_email=user_email,
            slug_id=None if slug is None else slug.id,
            own_config=dict(own_config),
            addon_config=dict(addon_config),
            addon_plan_names=list(addon_plan_names),
            status=status.value,
            has_output=pending,
            created_at=at,
        )
    )
    if not pending:
        _make_current(connection, app_id, version, at)
    return get_release(connection, app_id, str(version))


def lock_app(connection: sa.Connection, app_id: str) -> None:
    """Let one transaction at a time number releases of an app (SQLite's transactions queue anyway)."""
    connection.execute(sa.select(apps.c.id).where(apps.c.id == app_id).with_for_update())


def _make_current(connection: sa.Connection, app_id: str, version: int, at: float) -> None:
    where = (apps.c.id == app_id) & (apps.c.current_version < version)
    connection.execute(
        sa.update(apps).where(where).values(current_version=version, released_at=at, updated_at=at)
    )


def finish_release(
    connection: sa.Connection, release: Release, *, succeeded: bool, output: str, at: float
) -> Release:
    """End a pending release: keep its output, and make it current when it succeeded and is the newest."""
    status = ReleaseStatus.SUCCEEDED if succeeded else ReleaseStatus.FAILED
    connection.execute(sa.update(releases).where(releases.c.id == release.id).values(status=status.value))
    connection.execute(sa.insert(release_outputs).values(release_id=release.id, output=output))
    if succeeded:
        _make_current(connection, release.app_id, release.version, at)
    return get_release(connection, release.app_id, release.id)


def fail_pending(connection: sa.Connection) -> int:
    """Mark releases failed whose release phase a crash of the platform cut short; return how many."""
    where = releases.c.status == ReleaseStatus.PENDING.value
    return connection.execute(
        sa.update(releases).where(where).values(status=ReleaseStatus.FAILED.value)
    ).rowcount


def get_release(connection: sa.Connection, app_id: str, version_or_id: str) -> Release:
    """Return a release by version (``7`` or ``v7``) or id.

    Raises:
        NotFound: the app has no such release.
    """
    query = sa.select(releases, apps.c.current_version).join(apps, apps.c.id == releases.c.app_id)
    number = version_or_id.removeprefix("v")
    if is_uuid(version_or_id):
        query = query.where(releases.c.id == version_or_id)
    elif number.isascii() and number.isdigit() and len(number) < 10:  # noqa: PLR2004  fits an INTEGER
        query = query.where(releases.c.version == int(number))
    else:
        raise Missing("release", "Couldn't find that release.")
    row = connection.execute(query.where(releases.c.app_id == app_id)).one_or_none()
    if row is None:
        raise Missing("release", "Couldn't find that release.")
    return _release_of(connection, row)


def own_config_of(connection: sa.Connection, release_id: str) -> dict[str, str]:
    """Return the users' part of a release's config vars."""
    query = sa.select(releases.c.own_config).where(releases.c.id == release_id)
    return dict(connection.execute(query).scalar_one())


def _release_of(connection: sa.Connection, row: Any) -> Release:
    return Release(
        id=row.id,
        app_id=row.app_id,
        version=row.version,
        description=row.description,
        user_email=row.user_email,
        created_at=row.created_at,
        slug=None if row.slug_id is None else get_slug(connection, row.slug_id),
        config_vars={**row.own_config, **row.addon_config},
        status=ReleaseStatus(row.status),
        current=row.version == row.current_version,
    )


def current_release(connection: sa.Connection, app_id: str) -> Release | None:
    """Return what the app runs now; None when the app is gone or nothing was released yet."""
    version = connection.execute(sa.select(apps.c.current_version).where(apps.c.id == app_id)).scalar()
    return get_release(connection, app_id, str(version)) if version else None


def base_release(connection: sa.Connection, app_id: str) -> Release | None:
    """Return the release that the next one builds upon: the newest that has not failed.

    Not always the current one: a deploy may still be in its release phase when a config var changes.
    """
    newest = sa.select(sa.func.max(releases.c.version)).where(
        (releases.c.app_id == app_id) & (releases.c.status != ReleaseStatus.FAILED.value)
    )
    version = connection.execute(newest).scalar()
    return get_release(connection, app_id, str(version)) if version else None


def list_releases(connection: sa.Connection, app_id: str) -> list[ReleaseSummary]:
    """Return an app's releases, oldest first, without their config vars."""
    wanted = [column for column in releases.c if column.name not in {"own_config", "addon_config"}]
    query = (
        sa.select(*wanted, apps.c.current_version)
        .join(apps, apps.c.id == releases.c.app_id)
        .where(releases.c.app_id == app_id)
        .order_by(releases.c.version)
    )
    return [_summary_of(row) for row in connection.execute(query)]


def get_summary(connection: sa.Connection, app_id: str, version_or_id: str) -> ReleaseSummary:
    """Return one release as lists show it.

    Raises:
        NotFound: the app has no such release.
    """
    release = get_release(connection, app_id, version_or_id)
    query = (
        sa.select(releases, apps.c.current_version)
        .join(apps, apps.c.id == releases.c.app_id)
        .where(releases.c.id == release.id)
    )
    return _summary_of(connection.execute(query).one())


def _summary_of(row: Any) -> ReleaseSummary:
    return ReleaseSummary(
        id=row.id,
        version=row.version,
        description=row.description,
        user_email=row.user_email,
        created_at=row.created_at,
        slug_id=row.slug_id,
        status=ReleaseStatus(row.status),
        current=row.version == row.current_version,
        has_output=row.has_output,
        addon_plan_names=row.addon_plan_names,
    )


def release_output(connection: sa.Connection, release_id: str) -> str | None:
    """Return what the release phase printed; None while it runs, or when there was none."""
    query = sa.select(release_outputs.c.output).where(release_outputs.c.release_id == release_id)
    output: str | None = connection.execute(query).scalar()
    return output
