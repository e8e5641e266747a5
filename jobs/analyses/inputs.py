"""The input contracts that analyses share, and the small tables that ship with them."""

from __future__ import annotations

import csv
from importlib.resources import files
from typing import TYPE_CHECKING

from jobs.contracts.errors import InputError
from jobs.contracts.tables import (
    Column,
    ColumnType,
    InputTable,
    bigint,
    double,
    integer,
    seconds,
    varchar,
)
from jobs.engine.text import query, text_list, text_literal

if TYPE_CHECKING:
    from jobs.engine.port import Engine

#: What §2.2 of the definitions derives a channel from.
CAMPAIGN_COLUMNS = ("utm_source", "utm_medium", "utm_campaign", "gclid", "msclkid", "fbclid", "referrer")
_CAMPAIGN = tuple(varchar(name, nullable=True, required=False) for name in CAMPAIGN_COLUMNS)

EVENTS = InputTable(
    "events",
    (
        varchar("user_id"),
        seconds("time"),
        bigint("seq", "ingest order, unique for a user and second; breaks ties of time"),
        varchar("event"),
        varchar(
            "channel",
            "channel group; derived from the columns below where NULL",
            nullable=True,
            required=False,
        ),
        *_CAMPAIGN,
        bigint(
            "value_minor",
            "value of a conversion event",
            nullable=True,
            required=False,
            unit="minor currency units",
        ),
        varchar("breakdown", "a property to break the result down by", nullable=True, required=False),
    ),
    unique=("user_id", "time", "seq"),
)
TOUCHES = InputTable(
    "touches",
    (
        varchar("user_id"),
        seconds("time"),
        bigint("seq", "breaks ties of time"),
        varchar("channel", "empty or NULL: not a touch", nullable=True),
    ),
    unique=("user_id", "time", "seq"),
    required=False,
)
CONVERSIONS = InputTable(
    "conversions",
    (
        varchar("conversion_id"),
        varchar("user_id"),
        seconds("time"),
        bigint("value_minor", nullable=True, required=False, unit="minor currency units"),
    ),
    unique=("conversion_id",),
    required=False,
)
PATHS = InputTable(
    "paths",
    (
        varchar("path", "channels joined by >; empty: no touch", nullable=True),
        bigint("conversions", "how many conversions took this path"),
        Column(
            "value_minor",
            ColumnType.NUMBER,
            nullable=True,
            required=False,
            unit="minor currency units",
            doc="their total value; a fraction is allowed here",
        ),
        bigint("nulls", "how many such paths ended without a conversion", nullable=True, required=False),
    ),
    required=False,
)
SPEND = InputTable(
    "spend",
    (
        varchar("channel"),
        bigint("spend_minor", "rows of one channel add up", unit="minor currency units"),
    ),
    required=False,
    doc="what the channels cost in the report range",
)
TRANSACTIONS = InputTable(
    "transactions",
    (
        varchar("customer_id"),
        seconds("time"),
        bigint("amount_minor", "negative: a refund", unit="minor currency units"),
    ),
)
CUSTOMER_SUMMARY = InputTable(
    "customer_summary",
    (
        varchar("customer_id"),
        bigint("frequency", "repeat purchase periods"),
        double("recency", "from the first purchase to the last", unit="model periods"),
        double("T", "from the first purchase to the end of the observation", unit="model periods"),
        double(
            "monetary_minor",
            "mean value of the repeat purchases",
            nullable=True,
            required=False,
            unit="minor currency units",
        ),
    ),
    unique=("customer_id",),
    required=False,
    doc="as the analysis of that name makes it",
)
ITEMS = InputTable(
    "items",
    (
        varchar("item"),
        varchar("segment", "NULL or absent: (all)", nullable=True, required=False),
        seconds(
            "period_start",
            "any second of the row's period, its first where period is null",
            nullable=True,
            required=False,
        ),
        Column(
            "value",
            ColumnType.NUMBER,
            nullable=True,
            required=False,
            doc="what sum and last work on; also called metric",
            aliases=("metric",),
        ),
        varchar("user_id", "what count_distinct counts", nullable=True, required=False),
        seconds(
            "time",
            "what last orders by and decay ages; also the period where period_start is absent",
            nullable=True,
            required=False,
        ),
        bigint("ups", "votes for it, for scores", nullable=True, required=False),
        bigint("downs", "votes against it, for scores", nullable=True, required=False),
        seconds("created", "when the item came up, for scores", nullable=True, required=False),
    ),
)
CHANNEL_SOURCES = InputTable(
    "channel_sources",
    (
        varchar("host", "a source name or a domain with all below it"),
        varchar("kind", "search, shopping, social, video"),
    ),
    unique=("host", "kind"),
    required=False,
    doc="replaces the list that ships",
)
RFM_SEGMENTS = InputTable(
    "rfm_segments",
    (integer("r_lo"), integer("r_hi"), integer("f_lo"), integer("f_hi"), varchar("name")),
    required=False,
    doc="replaces the segments that ship; where two overlap, r_lo, f_lo, then name decide",
)


def refuse_names(engine: Engine, relation: str, column: str, names: tuple[str, ...], meaning: str) -> None:
    """Refuse rows that carry a name which the result uses for something else.

    Raises:
        InputError: there are such rows; two rows of the result would have one key.
    """
    places = {"relation": relation, "column": column, "names": text_list(names)}
    found = engine.collect(query("staging", "named", **places)).to_pylist()[0]["name"]
    if found is not None:
        raise reserved(column, found, meaning)


def reserved(column: str, name: str, meaning: str) -> InputError:
    """The refusal of a name."""
    return InputError(f"{column} {name!r} is the name of {meaning}; rename it in the input")


def shipped(engine: Engine, table: InputTable) -> None:
    """Put the table that ships in `jobs/analyses/data/` in place of an input that was not given."""
    text = files("jobs.analyses").joinpath("data", f"{table.name}.csv").read_text(encoding="utf-8")
    header, *rows = list(csv.reader(text.splitlines()))
    kinds = {column.name: column.type for column in table.columns}
    values = [
        ", ".join(_value(cell, kinds[name]) for name, cell in zip(header, row, strict=True)) for row in rows
    ]
    engine.view(
        table.name,
        query("staging", "shipped", rows=", ".join(f"({row})" for row in values), columns=", ".join(header)),
    )


def _value(cell: str, kind: ColumnType) -> str:
    return text_literal(cell) if kind is ColumnType.VARCHAR else str(int(cell))
