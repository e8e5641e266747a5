"""Router lines to columns: the usual order of keys by one regular expression, the rest line by line."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from addon.ingest import log_lines
from addon.ingest.log_tables import LOG_TABLES, ROUTER_FIELDS
from addon.warehouse.schema import ARROW_TYPES

_USUAL = (
    r"^at=(?P<at>[a-z]+) (?:code=(?P<code>[A-Z]\d+) desc=\"(?P<desc>[^\"\\]*)\" )?"
    r"method=(?P<method>[^\s\"=]*) path=\"(?P<path>[^\"\\]*)\" host=(?P<host>[^\s\"=]*) "
    r"request_id=(?P<request_id>[^\s\"=]*) fwd=\"(?P<fwd>[^\"\\]*)\" dyno=(?P<dyno>[^\s\"=]*) "
    r"connect=(?:(?P<connect_ms>\d{1,18})(?:ms)?)? service=(?:(?P<service_ms>\d{1,18})(?:ms)?)? "
    r"status=(?P<status>\d{1,18})? bytes=(?P<bytes>\d{1,18})? protocol=(?P<protocol>[^\s\"=]*)\s*$"
)
_EXTRA = [(name, kind) for name, kind in LOG_TABLES["router"] if name in {"data", "message"}]


def router_table(rows: pa.Table) -> pa.Table:
    """Return the sender's columns of ``rows`` with the fields read from ``message``."""
    if not rows.num_rows:
        return rows
    found = pc.extract_regex(rows["message"], _USUAL).combine_chunks()
    usual = found.is_valid()
    fast = _usual(rows.filter(usual), found.filter(usual))
    if pc.all(usual).as_py():
        return fast
    slow = _unusual(rows.filter(pc.invert(usual)))
    return pa.concat_tables([fast, slow], promote_options="default").sort_by("seq")


def _usual(rows: pa.Table, found: pa.StructArray) -> pa.Table:
    columns: dict[str, Any] = {
        name: rows[name] for name in rows.column_names if name not in {"message", "body"}
    }
    for name, kind in ROUTER_FIELDS:
        text = found.field(name)
        text = pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)
        columns[name] = text.cast(ARROW_TYPES[kind])
    return pa.table(columns)


def _unusual(rows: pa.Table) -> pa.Table:
    found = [log_lines.router_fields(text) for text in rows["message"].to_pylist()]
    rows = rows.drop_columns(["message", "body"])
    for name, kind in (*ROUTER_FIELDS, *_EXTRA):
        rows = rows.append_column(name, pa.array([fields.get(name) for fields in found], ARROW_TYPES[kind]))
    return rows
