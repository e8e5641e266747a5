"""Schedules as their users see them: made, changed, deleted, run on demand, looked back at."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from addon.models.schedules import REPORT
from addon.query.later_inputs import check_tables
from addon.query.saved_runs import ANALYSIS
from addon.schedules.checks import check_spec
from addon.schedules.cron import LATEST, Cron
from addon.schedules.planning import first_slot, job_of
from platform_core.base.errors import InvalidInput, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from addon.models.accounts import Account
    from addon.models.jobs import Job
    from addon.models.schedules import Schedule, ScheduledRun, ScheduleSpec
    from addon.store.catalog import SqlCatalog
    from addon.store.schedules import ScheduleStore
    from platform_core.base.clock import Clock

    FindReport = Callable[[Account, str], object]
    """Raises ``NotFound`` when an account has no report of a name."""

MAX_RUNS = 9
"""Slots of one call of :meth:`Schedules.run`; as Treasure Data has it."""
_ATTEMPTS = 5
_LOOK_BACK_S = 10 * 366 * 86_400
_RESTARTING = frozenset({"cron", "timezone"})


class Schedules:
    """The schedules of accounts."""

    def __init__(
        self,
        store: ScheduleStore,
        clock: Clock,
        find_report: FindReport | None = None,
        catalog: SqlCatalog | None = None,
    ) -> None:
        """Without ``find_report``, any report may be named; without ``catalog``, an analysis any table.

        Who changes something wakes the scheduler.
        """
        self._catalog = catalog
        self._store = store
        self._clock = clock
        self._find_report = find_report

    def create(self, account: Account, spec: ScheduleSpec) -> Schedule:
        """Make a schedule; its first slot is the next one from now.

        Raises:
            InvalidInput, NotFound, TooLarge: see :func:`check_spec`; or the plan's limit is reached.
            Conflict: there is one of this name.
        """
        self._check(account, spec)
        if self._store.count(account.id) >= account.plan.schedules:
            raise InvalidInput(
                f"The plan {account.plan.name} has {account.plan.schedules} schedules, and all are in use.",
                hint="Delete one, or take a larger plan.",
            )
        return self._store.create(account.id, spec, first_slot(spec, self._clock.now()))

    def update(self, account: Account, name: str, changes: Mapping[str, Any]) -> Schedule:
        """Change fields of a schedule's definition, by their names in :class:`ScheduleSpec`.

        With another cron or time zone, or ``enabled`` set to true, it begins anew: with the next slot from
        now. Otherwise it goes on waiting for its slot, also when that is due and its delay is not over.

        Raises:
            InvalidInput, NotFound, TooLarge: as for ``create``; or there is no such schedule.
            Conflict: another one has the new name.
            Unavailable: others change it again and again.
        """
        for _ in range(_ATTEMPTS):
            old = self._store.get(account.id, name)
            spec = replace(old.spec, **changes)
            if spec.type != old.spec.type and "params" not in changes:
                spec = replace(spec, params={})
            self._check(account, spec)
            anew = any(getattr(spec, field) != getattr(old.spec, field) for field in _RESTARTING)
            anew = anew or spec.enabled != old.spec.enabled or changes.get("enabled") is True
            following = first_slot(spec, self._clock.now()) if anew else old.next_slot
            changed = self._store.change(old, spec, following, anew=anew)
            if changed is not None:
                return changed
        raise Unavailable("The schedule is changed by others all the time.", hint="Retry after 1 second.")

    def _check(self, account: Account, spec: ScheduleSpec) -> None:
        check_spec(spec, self._clock.now())
        if spec.type == REPORT and self._find_report is not None:
            self._find_report(account, spec.query)
        if spec.type == ANALYSIS and self._catalog is not None:
            check_tables(spec.query, spec.params, self._catalog, account.id, spec.database)

    def delete(self, account: Account, name: str) -> Schedule:
        """Delete a schedule; jobs that it issued stay.

        Raises:
            NotFound: there is none.
        """
        return self._store.delete(account.id, name)

    def get(self, account: Account, name: str) -> Schedule:
        """Return a schedule.

        Raises:
            NotFound: there is none.
        """
        return self._store.get(account.id, name)

    def list(self, account: Account) -> Sequence[Schedule]:
        """Return the account's schedules by name."""
        return self._store.list(account.id)

    def coming(self, schedule: Schedule, most: int) -> Sequence[int]:
        """Return its next ``most`` slots, Unix seconds."""
        if schedule.next_slot is None:
            return []
        cron = Cron(schedule.spec.cron, schedule.spec.timezone)
        return [schedule.next_slot, *islice(cron.after(schedule.next_slot), most - 1)]

    def last_slot(self, schedule: Schedule) -> int | None:
        """Return the newest slot of its cron that has passed, Unix seconds; None without a cron."""
        spec, now = schedule.spec, self._clock.now()
        if not spec.cron:
            return None
        found = Cron(spec.cron, spec.timezone).newest(max(0, int(now) - _LOOK_BACK_S), now, 1)
        return found[0] if found else None

    def run(self, account: Account, name: str, since: int, number: int) -> Sequence[tuple[int, Job]]:
        """Issue jobs for the next ``number`` slots from ``since`` on (Unix seconds), beside the slots' own.

        Without a cron, or with one that has no more slots, a job is for the time itself.

        Raises:
            NotFound: there is no such schedule.
            InvalidInput: several slots are asked for of a schedule without a cron, or the time is too late.
        """
        schedule = self._store.get(account.id, name)
        slots = self._slots(schedule, since, number)
        requests = [(slot, job_of(schedule, slot, account.plan)) for slot in slots]
        return list(zip(slots, self._store.run(schedule, requests), strict=True))

    @staticmethod
    def _slots(schedule: Schedule, since: int, number: int) -> Sequence[int]:
        spec = schedule.spec
        if spec.cron:
            slots = list(islice(Cron(spec.cron, spec.timezone).since(since), number))
            if len(slots) < number:
                raise InvalidInput(f"The schedule has no {number} slots from {since} on.")
            return slots
        if number != 1 or since >= LATEST:
            raise InvalidInput(
                "A schedule without a cron has no slots; it runs for one time at once.",
                hint="Leave num out, and call once for each time.",
            )
        return [since]

    def history(
        self, account: Account, name: str, first: int, last: int
    ) -> tuple[Sequence[ScheduledRun], int]:
        """Return the runs ``first`` to ``last`` (both included), newest first, and how many there are.

        Raises:
            NotFound: there is no such schedule.
        """
        return self._store.history(self._store.get(account.id, name), first=first, last=last)
