"""How the catalog's rows hold schemas: as JSON text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from addon.models.catalog import DeclaredColumn, TableInfo
from addon.models.tables import Column

if TYPE_CHECKING:
    from collections.abc import Sequence


def declared_text(columns: Sequence[DeclaredColumn]) -> str:
    """Return a declared schema as it is stored."""
    return json.dumps([[column.name, column.type, column.alias] for column in columns])


def columns_text(columns: Sequence[Column]) -> str:
    """Return detected columns as they are stored."""
    return json.dumps([[column.name, column.type, column.original] for column in columns])


def table_info(row: Any) -> TableInfo:
    """Build a table's description from a row of the tables table."""
    return TableInfo(
        id=row.id,
        database=row.database_name,
        name=row.name,
        rows=row.row_count,
        declared=[DeclaredColumn(*entry) for entry in json.loads(row.declared_schema)],
        detected=[Column(*entry) for entry in json.loads(row.detected_schema)],
        detect_schema=row.detect_schema,
        include_v=row.include_v,
        delete_protected=row.delete_protected,
        expire_days=row.expire_days,
        last_log_time=row.last_log_time,
        imported_at=row.imported_at,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
