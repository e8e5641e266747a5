"""``Idempotency-Key``: what a client sends again, not knowing whether it arrived, starts one job."""

from __future__ import annotations

import asyncio
import hashlib
import json
from contextlib import suppress
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from platform_core.base.errors import Conflict, InvalidInput, NotFound

if TYPE_CHECKING:
    from addon.models.jobs import Job, JobRequest
    from addon.query.runner import JobRunner
    from addon.store.jobs import JobStore

_MOST = 200
_PREFIX = "idempotency-key "
_FINGERPRINT = "request_sha256"


async def issue_once(
    runner: JobRunner, jobs: JobStore, request: JobRequest, key: str | None
) -> tuple[Job, bool]:
    """Queue a job, or return the one that was queued under the key; also tell whether it is a new one.

    A key is the account's and lives as long as the job that it started.

    Raises:
        InvalidInput: the key is empty or too long, or stands beside a domain key.
        Conflict: the key was used for another request.
    """
    if key is None:
        return await runner.issue(request), True
    if not 0 < len(key) <= _MOST or not key.isprintable():
        raise InvalidInput(f"An Idempotency-Key has 1 to {_MOST} printable characters.")
    if request.domain_key is not None:
        raise InvalidInput("Give an Idempotency-Key or a domain_key, not both.")
    digest = hashlib.sha256(json.dumps(asdict(request), sort_keys=True).encode()).hexdigest()
    marked = {**request.params, _FINGERPRINT: digest}
    keyed = replace(request, domain_key=_PREFIX + key, params=marked)
    # Looked for first, so that a full queue does not hide what was queued under the key.
    job = await asyncio.to_thread(_known, jobs, keyed)
    if job is None:
        try:
            return await runner.issue(keyed), True
        except Conflict:  # the same request, sent twice at once
            job = await asyncio.to_thread(jobs.by_domain_key, request.account_id, _PREFIX + key)
    if job.request.params.get(_FINGERPRINT) != digest:
        raise Conflict(
            f"The Idempotency-Key {key[:80]!r} was used for another request, which started job {job.id}.",
            hint="Take a new key for each new request.",
        )
    return job, False


def _known(jobs: JobStore, keyed: JobRequest) -> Job | None:
    with suppress(NotFound):
        return jobs.by_domain_key(keyed.account_id, str(keyed.domain_key))
    return None
