"""Sessions: cut each user's events where they pause."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobs.analyses.analysis import Analysis, Present, ReportRange
from jobs.analyses.channels import add_channels
from jobs.analyses.histories import histories
from jobs.analyses.identity import IDENTITY_EDGES, StitchParameters
from jobs.analyses.inputs import CAMPAIGN_COLUMNS, CHANNEL_SOURCES, EVENTS
from jobs.analyses.sessions_kernel import session_batches
from jobs.contracts.parameters import flag, integer, listing, parameter, text
from jobs.contracts.tables import OutputTable, bigint, boolean, varchar
from jobs.engine.batches import Batches
from jobs.engine.text import query, text_list

if TYPE_CHECKING:
    from jobs.engine.batches import Made
    from jobs.engine.port import Engine

#: Same campaign for a user goes on until another one comes: compare with the last event that carried a
#: campaign.
_PREVIOUS_CAMPAIGN = """, LAG(utm_campaign) OVER (
                PARTITION BY user_id, utm_campaign IS NULL ORDER BY time, seq
            ) AS previous_campaign"""


@dataclass(frozen=True, kw_only=True)
class Parameters(StitchParameters, ReportRange):
    """Parameters of `sessions`."""

    timeout: int = parameter(
        1_800,
        integer(0),
        "a longer pause than this starts a new session",
        unit="seconds",
        aliases=("timeout_s", "gap"),
    )
    split_on_day: bool = parameter(False, flag(), "also start a new session when the UTC day changes")
    split_on_campaign: bool = parameter(False, flag(), "also start one when utm_campaign changes")
    conversion_events: tuple[str, ...] = parameter(
        ("purchase",),
        listing(text(), unique=True),
        "events that make a session converted; their value_minor is summed",
    )
    own_hosts: tuple[str, ...] = parameter((), listing(text()), "hosts that are no referrers: the site's own")


def _breaks(parameters: Parameters) -> str:
    conditions = [f"time - previous_time > {parameters.timeout}"]
    if parameters.split_on_day:
        conditions.append("FLOOR(time / 86400) <> FLOOR(previous_time / 86400)")
    if parameters.split_on_campaign:
        conditions.append("(campaign IS NOT NULL AND COALESCE(previous_campaign, '') <> campaign)")
    return " OR ".join(conditions)


def number_events(
    engine: Engine, parameters: Parameters, opening: tuple[str, ...] = (), *, once: bool = False
) -> None:
    """Make `session_events`: the events of the report range with the number of their session.

    Args:
        engine: has `events` staged.
        parameters: where to cut.
        opening: more columns to take along.
        once: the caller reads it only once, so it need not be kept.
    """
    by_campaign = parameters.split_on_campaign
    numbered = query(
        "sessions",
        "numbered",
        breaks=_breaks(parameters),
        range=parameters.covers(),
        opening="".join(f"{name}, " for name in opening),
        campaign="NULLIF(LOWER(TRIM(utm_campaign)), '')" if by_campaign else "CAST(NULL AS STRING)",
        previous_campaign=_PREVIOUS_CAMPAIGN.replace("utm_campaign", "NULLIF(LOWER(TRIM(utm_campaign)), '')")
        if by_campaign
        else "",
    )
    (engine.view if once else engine.materialize)("session_events", numbered)


def compute(engine: Engine, parameters: Parameters, present: Present) -> dict[str, Made]:
    """Cut each user's events, ordered by (time, seq), into sessions.

    A session starts at the user's first event and after a pause of more than `timeout` seconds; a pause
    equal to it stays inside. Optionally it also starts when the UTC day changes, or when an event carries
    another utm_campaign than the last event that carried one, a user's first campaign included. Events at the
    same second are ordered by seq.

    `session_id` is user, start time and index joined by colons; the index counts from 1 in the report range
    [from, to). `duration_s` is the last time minus the first, 0 for one event. `channel` is that of the
    first event: its own column where the input has one, else derived from its utm tags, click ids and
    referrer, `direct` without any. `value_minor` sums the conversion events, 0 without any.
    """
    opening: tuple[str, ...] = ("channel", *CAMPAIGN_COLUMNS)
    if not present["events"] & set(opening):
        opening = ()
    if engine.dialect.has_asof_join and not opening and not parameters.split_on_campaign:
        found = histories(
            engine,
            covers=parameters.covers(),
            step="event",
            conversion_events=parameters.conversion_events,
            with_values="value_minor" in present["events"],
        )
        if found is not None:
            rows = session_batches(found, timeout=parameters.timeout, split_on_day=parameters.split_on_day)
            return {"sessions": Batches(rows)}
    return {"sessions": as_relation(engine, parameters, present, opening)}


def as_relation(
    engine: Engine, parameters: Parameters, present: Present, opening: tuple[str, ...] | None = None
) -> str:
    """Do it in SQL and return the relation of the sessions, for another analysis to go on from.

    Args:
        engine: has `events` staged.
        parameters: where to cut.
        present: the columns that the inputs have.
        opening: of the first event, what names its channel; found from `present` when None.
    """
    if opening is None:
        known: tuple[str, ...] = ("channel", *CAMPAIGN_COLUMNS)
        opening = known if present["events"] & set(known) else ()
    number_events(engine, parameters, opening, once=True)
    grouped = query(
        "sessions",
        "grouped",
        is_conversion=f"event IN ({text_list(parameters.conversion_events)})",
        opening="".join(f", MAX(CASE WHEN is_start = 1 THEN {name} END) AS {name}" for name in opening),
    )
    if opening:
        engine.materialize("session_groups", grouped)
        engine.view("session_entries", query("sessions", "entries", opening=", ".join(opening)))
        add_channels(engine, "session_entries", present, parameters.own_hosts)
    else:
        engine.view("session_groups", grouped)
    engine.view(
        "sessions",
        query(
            "sessions",
            "sessions",
            channel="COALESCE(entry.channel, 'direct')" if opening else "'direct'",
            channel_join=_CHANNEL_JOIN if opening else "",
        ),
    )
    return "sessions"


_CHANNEL_JOIN = (
    "LEFT JOIN channel_grouped AS entry ON entry.user_id = grouped.user_id"
    " AND entry.seq = grouped.session_index"
)

ANALYSIS = Analysis(
    name="sessions",
    version=3,
    summary="each user's events cut into sessions, with entry, exit, channel and conversion",
    inputs=(EVENTS, CHANNEL_SOURCES, IDENTITY_EDGES),
    outputs=(
        OutputTable(
            "sessions",
            (
                varchar("session_id"),
                varchar("user_id"),
                bigint("session_index", "1, 2, ... for each user"),
                bigint("started_at", unit="Unix seconds"),
                bigint("ended_at", unit="Unix seconds"),
                bigint("duration_s", unit="seconds"),
                bigint("events"),
                varchar("entry_event"),
                varchar("exit_event"),
                varchar("channel"),
                boolean("converted"),
                bigint("value_minor", unit="minor currency units"),
            ),
            key=("user_id", "session_index"),
            order="user_id, session_index",
        ),
    ),
    parameters=Parameters,
    compute=compute,
)
