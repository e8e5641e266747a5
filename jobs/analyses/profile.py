"""Profile: one row for each customer with what every other report knows of them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobs.analyses import clv, rfm, sessions
from jobs.analyses.analysis import Analysis, Present
from jobs.analyses.identity import IDENTITY_EDGES, StitchParameters
from jobs.analyses.inputs import CHANNEL_SOURCES, EVENTS, RFM_SEGMENTS, TRANSACTIONS
from jobs.analyses.zones import Calendar, calendar
from jobs.contracts.errors import InputError
from jobs.contracts.parameters import choice, integer, listing, moment, optional, parameter, text, zone
from jobs.contracts.tables import OutputTable, bigint, double, varchar
from jobs.contracts.tables import integer as integer_column
from jobs.engine.text import literal, query, text_list

if TYPE_CHECKING:
    from jobs.engine.port import Engine

#: Twelve months in model periods of clv, weeks.
_YEAR = 52
#: A shared computer may have been thousands of visitors.
_ALIASES = 100


@dataclass(frozen=True, kw_only=True)
class Parameters(StitchParameters):
    """Parameters of `profile`."""

    as_of: int | str | None = parameter(
        None,
        optional(moment()),
        "the day to look from, included; the last day with a row when null",
        unit="Unix seconds",
        aliases=("end", "A"),
    )
    zone: str = parameter("UTC", zone(), "whose days they are", aliases=("timezone",))
    timeout: int = parameter(
        1_800, integer(0), "a longer pause starts a new session", unit="seconds", aliases=("timeout_s",)
    )
    own_hosts: tuple[str, ...] = parameter((), listing(text()), "hosts that are no referrers: the site's own")
    conversion_events: tuple[str, ...] = parameter(
        ("purchase",),
        listing(text(), low=1, unique=True),
        "events whose value_minor is a purchase, where no transactions are given",
    )
    buckets: int = parameter(5, integer(2, 9), "how many scores r, f and m have")
    model: str = parameter("bg_nbd", choice("bg_nbd", "pareto_nbd"), "of the customer's lifetime, as in clv")


def _check_inputs(given: frozenset[str]) -> None:
    if not given & {"events", "transactions"}:
        raise InputError("profile reads events and transactions: give at least one of the two")


def compute(engine: Engine, parameters: Parameters, present: Present) -> dict[str, str]:
    """Put together one row for each customer as of the day `as_of`, included; later rows are ignored.

    A customer is a user of `events`, a customer of `transactions`, or both under the same id. Without
    `transactions` the conversion events that carry a value stand in for them.

    `first_seen` and `last_seen` are of events and transactions. `sessions`, `first_channel` and
    `last_channel` are as in `sessions`. `orders` counts purchases (amount of at least 0), `net_minor` is
    what remains after refunds, `aov_minor` is net_minor / orders, NULL without an order. `r`, `f`, `m` and
    `segment` are as in `rfm` by ntile, NULL for somebody who never bought. `p_alive` and `clv_12m_minor` (52
    weeks, without a discount) are as in `clv`, NULL also where its model does not fit the data; `clv_models`
    says so. `top_event` is the most frequent event, the first in byte order where several are.
    `days_since_last` counts days of `zone` since last_seen. `aliases` lists the ids that `identity_edges`
    mapped to this one, the first 100 in byte order, joined by commas; empty where none were.
    """
    _fill_in(engine, parameters, present)
    events = "events" if "events" in present else "profile_no_events"
    engine.view("profile_times", query("profile", "times", events=events))
    cal = calendar(engine, "day", parameters.zone, "profile_times", parameters.as_of)
    day = _last_day(engine, cal, parameters)
    until = cal.start_of(day + 1)
    _activity(engine, parameters, present, until)
    _money(engine, parameters, present, cal.start_of(day), until)
    engine.view("profile_seen", query("profile", "seen", events=events, until=literal(until)))
    engine.view("profile_top_events", query("profile", "top_events", events=events, until=literal(until)))
    _aliases(engine, parameters, present)
    engine.view(
        "profile",
        query("profile", "profile", as_of_day=literal(day), last_day=cal.index("seen.last_seen")),
    )
    return {"profile": "profile", "clv_models": "clv_models"}


def _fill_in(engine: Engine, parameters: Parameters, present: Present) -> None:
    """Stand-ins for the input that was not given."""
    if "events" not in present:
        engine.view("profile_no_events", query("profile", "no_events"))
    if "transactions" not in present:
        conversions = f"event IN ({text_list(parameters.conversion_events)})"
        engine.view("transactions", query("profile", "purchases_of_events", is_conversion=conversions))


def _last_day(engine: Engine, cal: Calendar, parameters: Parameters) -> int:
    if parameters.as_of is not None:
        return cal.period_of(cal.moment(parameters.as_of))
    latest = engine.collect(query("staging", "latest", relation="profile_times")).to_pylist()[0]["latest"]
    return 0 if latest is None else cal.period_of(latest)


def _activity(engine: Engine, parameters: Parameters, present: Present, until: int) -> None:
    visits = "profile_no_events"
    if "events" in present:
        visits = "profile_sessions"
        asked = sessions.Parameters(
            timeout=parameters.timeout,
            own_hosts=parameters.own_hosts,
            conversion_events=parameters.conversion_events,
            to=max(until, 1),
        )
        made = sessions.as_relation(engine, asked, present)
        engine.materialize(visits, f"SELECT user_id, session_index, channel FROM {made}")  # noqa: S608 - a relation of ours
    engine.view("profile_visits", query("profile", "visits", sessions=visits))


def _aliases(engine: Engine, parameters: Parameters, present: Present) -> None:
    if IDENTITY_EDGES.name not in present or parameters.stitch == "none":
        engine.view("profile_aliases", query("profile", "no_aliases"))
        return
    joined = engine.dialect.ordered_concat("id", ",", "id")
    engine.view("profile_aliases", query("profile", "aliases", joined=joined, max_aliases=literal(_ALIASES)))


def _money(engine: Engine, parameters: Parameters, present: Present, day_start: int, until: int) -> None:
    engine.view("profile_money", query("profile", "money", until=literal(until)))
    given = present if "transactions" in present else {**present, "transactions": frozenset[str]()}
    rfm.compute(
        engine,
        rfm.Parameters(as_of=day_start, zone=parameters.zone, buckets=parameters.buckets),
        given,
    )
    clv.compute(
        engine,
        clv.Parameters(model=parameters.model, end=day_start, zone=parameters.zone, horizon=_YEAR),
        given,
    )


ANALYSIS = Analysis(
    name="profile",
    version=2,
    summary="one row for each customer: activity, money, channels, scores, and what to expect",
    inputs=(
        dataclasses.replace(EVENTS, required=False),
        dataclasses.replace(TRANSACTIONS, required=False),
        CHANNEL_SOURCES,
        RFM_SEGMENTS,
        IDENTITY_EDGES,
    ),
    outputs=(
        OutputTable(
            "profile",
            (
                varchar("customer_id"),
                varchar("aliases", "ids mapped to this one, joined by commas; empty: none"),
                bigint("first_seen", unit="Unix seconds"),
                bigint("last_seen", unit="Unix seconds"),
                bigint("sessions"),
                bigint("events"),
                bigint("orders", "purchases"),
                bigint("net_minor", "purchases less refunds", unit="minor currency units"),
                double("aov_minor", "net_minor / orders", nullable=True, unit="minor currency units"),
                varchar("first_channel", "of the first session", nullable=True),
                varchar("last_channel", "of the last session", nullable=True),
                integer_column("r", nullable=True),
                integer_column("f", nullable=True),
                integer_column("m", nullable=True),
                varchar("segment", nullable=True),
                double("p_alive", nullable=True, unit="fraction"),
                double("clv_12m_minor", nullable=True, unit="minor currency units"),
                varchar("top_event", nullable=True),
                bigint("days_since_last", unit="days"),
            ),
            key=("customer_id",),
            order="customer_id",
        ),
        clv.ANALYSIS.output("clv_models"),
    ),
    parameters=Parameters,
    compute=compute,
    check_inputs=_check_inputs,
)
