"""The tables that ordinary log lines become; columns set from the start: no first value bends them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

Columns = tuple[tuple[str, str], ...]

SENDER: Columns = (
    ("app", "string"),
    ("source", "string"),
    ("process", "string"),
    ("severity", "string"),
    ("timestamp_us", "long"),
    ("drain", "string"),
    ("seq", "long"),
)
"""What every log line has: sender, time, and ``seq``, strictly rising among the lines of a drain."""

ROUTER_FIELDS: Columns = (
    ("at", "string"),
    ("code", "string"),
    ("desc", "string"),
    ("method", "string"),
    ("path", "string"),
    ("host", "string"),
    ("request_id", "string"),
    ("fwd", "string"),
    ("dyno", "string"),
    ("connect_ms", "long"),
    ("service_ms", "long"),
    ("status", "long"),
    ("bytes", "long"),
    ("protocol", "string"),
)
DYNO_FIELDS: Columns = (
    ("event", "string"),
    ("state_from", "string"),
    ("state_to", "string"),
    ("code", "string"),
    ("exit_status", "long"),
    ("message", "string"),
)
METRIC_FIELDS: Columns = (
    ("kind", "string"),
    ("metric", "string"),
    ("value", "double"),
    ("unit", "string"),
    ("data", "json"),
)

SYSLOG_FIELDS: Columns = (
    ("host", "string"),
    ("msgid", "string"),
    ("structured_data", "json"),
)
"""What only syslog has; a table gets these columns with its first line from a syslog sender."""

LOG_TABLES: Mapping[str, Columns] = {
    "app": (*SENDER, ("message", "string"), ("data", "json")),
    "router": (*SENDER, *ROUTER_FIELDS, ("data", "json"), ("message", "string")),
    "dyno": (*SENDER, *DYNO_FIELDS),
    "metrics": (*SENDER, *METRIC_FIELDS),
}
"""Tables of the database ``logs``. ``data`` is the parsed line, or what no column of its own has.

``message`` of the router is set for lines that could not be read.
"""

SEVERITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
"""RFC 5424's severities by number; the priority's lowest three bits."""
