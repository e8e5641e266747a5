"""What a schedule may be: everything a user gives is checked here, before it is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from addon.models.schedules import MAX_CATCH_UP, REPORT, ScheduleSpec
from addon.models.tables import check_name
from addon.query.dialects import DIALECTS
from addon.query.later_inputs import kept_request
from addon.query.saved_runs import ANALYSIS
from addon.schedules.cron import Cron
from platform_core.base.errors import InvalidInput, TooLarge

if TYPE_CHECKING:
    from collections.abc import Mapping

TYPES = (*DIALECTS, ANALYSIS, REPORT)
DEFAULT_CATCH_UP: Mapping[str, int] = {REPORT: 1}
"""How many missed slots run by job type, where the user does not say: of reports, the newest one."""
OTHERS_CATCH_UP = 24
"""The same for the other types: each of their slots may fill a part of a table of its own."""
ANALYSIS_FIELDS = frozenset({"inputs", "tables", "params", "engine", "dialect", "pin", "snapshots"})
"""What the params of a scheduled analysis may hold; the rest is the schedule's own, or is no schedule's."""
MAX_NAME = 255
MAX_QUERY = 1 << 20
"""Characters."""
MAX_DELAY_S = 31 * 86_400
PRIORITIES = range(-2, 3)
RETRIES = range(1_001)


def default_catch_up(kind: str) -> int:
    """Return how many missed slots of a job type run where the user does not say."""
    return DEFAULT_CATCH_UP.get(kind, OTHERS_CATCH_UP)


def check_spec(spec: ScheduleSpec, now: float) -> None:
    """Check a definition; ``now`` is Unix seconds.

    Raises:
        InvalidInput: a field is not what it may be, or the cron never fires.
        NotFound: there is no such analysis.
        TooLarge: the query is.
    """
    _check_name(spec.name)
    if spec.type not in TYPES:
        raise InvalidInput(
            f"The job type {spec.type[:40]!r} is not supported.", hint=f"Use one of {', '.join(TYPES)}."
        )
    check_name("database", spec.database)
    if not spec.query.strip():
        raise InvalidInput(
            "The query is empty.",
            hint="Give SQL as query, or the name of the analysis or report that shall run.",
        )
    if len(spec.query) > MAX_QUERY:
        raise TooLarge(f"A scheduled query has at most {MAX_QUERY:,} characters.")
    _check_numbers(spec)
    cron = Cron(spec.cron or "@daily", spec.timezone)  # the zone is checked in any case
    if spec.cron and cron.following(now) is None:
        raise InvalidInput(f"The cron expression {spec.cron!r} never fires.")
    _check_params(spec)


def _check_name(name: str) -> None:
    if not name.strip() or len(name) > MAX_NAME or not name.isprintable():
        raise InvalidInput(
            f"The schedule name {name[:80]!r} is not valid.",
            hint=f"Use 1 to {MAX_NAME} printable characters.",
        )


def _check_numbers(spec: ScheduleSpec) -> None:
    allowed = {
        "delay": (spec.delay_s, range(MAX_DELAY_S + 1)),
        "priority": (spec.priority, PRIORITIES),
        "retry_limit": (spec.retry_limit, RETRIES),
        "catch_up": (spec.catch_up, range(1, MAX_CATCH_UP + 1)),
    }
    for name, (value, values) in allowed.items():
        if value not in values:
            raise InvalidInput(f"The parameter {name} must be {values[0]} to {values[-1]}, not {value}.")


def _check_params(spec: ScheduleSpec) -> None:
    if spec.type == ANALYSIS:
        unknown = sorted(set(spec.params) - ANALYSIS_FIELDS)
        if unknown:
            raise InvalidInput(
                f"The params of a scheduled analysis have no field {unknown[0][:80]!r}.",
                hint=f"They have {', '.join(sorted(ANALYSIS_FIELDS))}.",
            )
        kept_request(spec.query, spec.params)
    elif spec.params:
        raise InvalidInput(
            f"A schedule of the type {spec.type} takes no params.",
            hint="They are for the type analysis; a report has its own in its definition.",
        )
