"""An analysis described for people and programs, from its contracts alone."""

from __future__ import annotations

import dataclasses
import inspect
from typing import TYPE_CHECKING, Any

from jobs.contracts.parameters import external_name, spec_of

if TYPE_CHECKING:
    from jobs.analyses.analysis import Analysis
    from jobs.contracts.tables import Column


def describe(analysis: Analysis) -> dict[str, Any]:
    """Everything a caller needs to know, as JSON values."""
    return {
        "name": analysis.name,
        "version": analysis.version,
        "summary": analysis.summary,
        "description": inspect.cleandoc(analysis.description),
        "inputs": [
            {
                "name": table.name,
                "required": table.required,
                "doc": table.doc,
                "unique": list(table.unique),
                "columns": [{**_column(column), "required": column.required} for column in table.columns],
            }
            for table in analysis.inputs
        ],
        "parameters": [_parameter(field) for field in dataclasses.fields(analysis.parameters)],
        "outputs": [
            {
                "name": table.name,
                "file": f"{table.name}.parquet",
                "doc": table.doc,
                "key": list(table.key),
                "order": table.order,
                "columns": [_column(column) for column in table.columns],
            }
            for table in analysis.outputs
        ],
    }


def _column(column: Column) -> dict[str, Any]:
    return {
        "name": column.name,
        "type": column.type.value,
        "nullable": column.nullable,
        "unit": column.unit,
        "doc": column.doc,
    }


def _parameter(field: dataclasses.Field[Any]) -> dict[str, Any]:
    spec = spec_of(field)
    required = field.default is dataclasses.MISSING
    described = {"name": external_name(field.name), "required": required}
    if not required:
        described["default"] = field.default
    return described | {
        "allowed": spec.allowed,
        "unit": spec.unit,
        "doc": spec.doc,
        "aliases": list(spec.aliases),
    }


def render(description: dict[str, Any]) -> str:
    """The description as text for a terminal."""
    lines = [f"{description['name']} (version {description['version']}): {description['summary']}", ""]
    lines += [description["description"], ""]
    for table in description["inputs"]:
        lines.append(f"input {table['name']}" + ("" if table["required"] else " (optional)"))
        lines += [
            f"  {_text(column)}" + ("" if column["required"] else ", optional") for column in table["columns"]
        ]
    lines += ["", "parameters"]
    for entry in description["parameters"]:
        default = "required" if entry["required"] else f"default {entry['default']!r}"
        unit = f", {entry['unit']}" if entry["unit"] else ""
        aliases = f"; also called {', '.join(entry['aliases'])}" if entry["aliases"] else ""
        lines.append(f"  {entry['name']}: {entry['doc']} ({entry['allowed']}{unit}; {default}{aliases})")
    for table in description["outputs"]:
        lines += [
            "",
            f"output {table['file']}, unique by {', '.join(table['key'])}, ordered by {table['order']}",
        ]
        lines += [f"  {_text(column)}" for column in table["columns"]]
    return "\n".join(lines) + "\n"


def _text(column: dict[str, Any]) -> str:
    parts = [f"{column['name']} {column['type']}"]
    if column["unit"]:
        parts.append(f"[{column['unit']}]")
    if column["nullable"]:
        parts.append("nullable")
    text = " ".join(parts)
    return f"{text}: {column['doc']}" if column["doc"] else text
