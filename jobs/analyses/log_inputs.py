"""The input contracts of what the add-on knows: the tables of its database `logs`, and its meters."""

from __future__ import annotations

from jobs.contracts.tables import InputTable, bigint, double, seconds, varchar

ROUTER = InputTable(
    "router",
    (
        seconds("time"),
        varchar("app", "NULL or absent: (none)", nullable=True, required=False),
        varchar("path", "with or without a query string", nullable=True, required=False),
        bigint("status", "of HTTP; NULL for a line that could not be read", nullable=True),
        varchar("code", "H code", nullable=True, required=False),
        bigint("connect_ms", nullable=True, required=False, unit="milliseconds"),
        bigint("service_ms", nullable=True, required=False, unit="milliseconds"),
        bigint("bytes", "of the response", nullable=True, required=False),
    ),
    required=False,
    doc="the router's lines, one for each request: table `router` of the database `logs`",
)
APP_LOG = InputTable(
    "app",
    (
        seconds("time"),
        varchar("app", "NULL or absent: (none)", nullable=True, required=False),
        varchar("severity", nullable=True, required=False),
        varchar("message", nullable=True),
    ),
    required=False,
    doc="what apps print, and the log router's L codes among it: table `app` of the database `logs`",
)
DYNO = InputTable(
    "dyno",
    (
        seconds("time"),
        varchar("app", "NULL or absent: (none)", nullable=True, required=False),
        varchar("process", "web.1", nullable=True, required=False),
        varchar("event", "state, error, exit, starting, stopping", nullable=True),
        varchar("state_from", nullable=True, required=False),
        varchar("state_to", nullable=True, required=False),
        varchar("code", "R code", nullable=True, required=False),
        bigint("exit_status", nullable=True, required=False),
    ),
    required=False,
    doc="the dyno manager's lines: table `dyno` of the database `logs`",
)
METRICS = InputTable(
    "metrics",
    (
        seconds("time"),
        varchar("app", "NULL or absent: (none)", nullable=True, required=False),
        varchar("process", nullable=True, required=False),
        varchar("kind", "sample, measure, count", nullable=True, required=False),
        varchar("metric"),
        double("value", "NULL for what is no number", nullable=True),
        varchar("unit", nullable=True, required=False),
    ),
    required=False,
    doc="what apps and the platform measure: table `metrics` of the database `logs`",
)
INGESTED = InputTable(
    "ingested",
    (
        seconds("time"),
        varchar("database"),
        varchar("table_name", aliases=("table",)),
        bigint("rows_in"),
        bigint("bytes_in", "as sent, before compression", unit="bytes"),
    ),
    required=False,
    doc="what came in: one row for each commit of a table, or for any sum of them within a day",
)
STORED = InputTable(
    "stored",
    (
        seconds("time", "when it was measured"),
        varchar("database"),
        varchar("table_name", aliases=("table",)),
        bigint("bytes_stored", "of the table's live files", unit="bytes"),
    ),
    unique=("database", "table_name", "time"),
    required=False,
    doc="how large the tables are, measured at any time; a size stands until the next measurement",
)
QUERIED = InputTable(
    "queried",
    (
        varchar("query_id"),
        seconds("time", "when it ended"),
        varchar("database", "NULL: the query read no table", nullable=True),
        varchar("table_name", "NULL: the query read no table", nullable=True, aliases=("table",)),
        bigint("bytes_scanned", "of this table", nullable=True, unit="bytes"),
        double("cpu_s", "of the whole query, the same in all its rows", nullable=True, unit="seconds"),
    ),
    unique=("query_id", "database", "table_name"),
    required=False,
    doc="what was asked: one row for each query and table that it read",
)
