"""Which output of which analysis a delivery of rows takes, and the rows as it sends them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from addon.schedules.deliveries.port import Refused
from jobs.contracts.parameters import optional, parameter, text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pyarrow as pa

    from addon.schedules.deliveries.port import Parcel

TABLES = "tables"
"""The folder of a run's outputs: ``<analysis key>.<output>.parquet``."""
_BATCH = 10_000
_NAME = re.compile(r"^([a-z0-9_]+)\.([a-z0-9_]+)\.parquet$")
RUN_COLUMNS = (("report", "string"), ("report_run", "long"), ("slot", "long"))
"""What stands before an output's own columns: the report's name, its run's number, the run's slot."""


@dataclass(frozen=True, slots=True)
class OutputChoice:
    """The parameters by which a delivery names an output."""

    analysis: str | None = parameter(
        None, optional(text()), "the analysis' key; the report's first when null"
    )
    output: str | None = parameter(
        None, optional(text()), "its output; the one of the analysis' name when null"
    )


def find_output(parcel: Parcel, analysis: str | None, output: str | None) -> Path:
    """Return the Parquet file of an output.

    Raises:
        Refused: the run has no such output; the text says which there are.
    """
    files = sorted(found for found in (parcel.folder / TABLES).iterdir() if _NAME.match(found.name))
    order = {key: number for number, key in enumerate(parcel.run.facts.get("keys", ()))}
    names = sorted(
        ((*_parts(file), file) for file in files), key=lambda found: (order.get(found[0], 0), found[1])
    )
    wanted = [found for found in names if analysis in {None, found[0]}]
    key = wanted[0][0] if wanted else None
    named = dict(parcel.run.facts.get("analyses", {})).get(key)
    for one, name, file in wanted:
        if one == key and name == (output or named):
            return file
    there = ", ".join(f"{one}.{name}" for one, name, _ in names) or "none"
    asked = ".".join(part for part in (analysis or key, output or named) if part)
    raise Refused(f"The run has no output {asked}; it has {there}.")


def _parts(file: Path) -> tuple[str, str]:
    found = _NAME.match(file.name)
    assert found is not None  # noqa: S101  (files are filtered by it)
    return found[1], found[2]


def output_schema(file: Path) -> pa.Schema:
    """Return an output's columns."""
    return pq.read_schema(file)


def output_rows(parcel: Parcel, file: Path) -> Iterator[dict[str, Any]]:
    """Yield an output's rows with the run's columns before their own; what is not finite is None."""
    head = {"report": parcel.run.report, "report_run": parcel.run.id, "slot": parcel.run.slot}
    with pq.ParquetFile(file) as opened:
        for batch in opened.iter_batches(_BATCH):
            for row in batch.to_pylist():
                yield head | {name: _finite(value) for name, value in row.items()}


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
