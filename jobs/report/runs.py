"""A run folder as `python -m jobs run` leaves it: a manifest and one Parquet file for each output."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.contracts.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST = "manifest.json"
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One finished run on disk.

    Attributes:
        path: the folder.
        manifest: what `manifest.json` holds.
        currency: the unit of its amounts, such as `USD`; empty when nobody said.
        title: what the reader shall call it; empty for the section's own heading.
    """

    path: Path
    manifest: dict[str, Any]
    currency: str = ""
    title: str = ""

    @classmethod
    def open(cls, path: Path, currency: str = "", title: str = "") -> RunFolder:
        """Read the manifest of a folder.

        Raises:
            InputError: there is no manifest, or it is no JSON object.
        """
        file = path / MANIFEST
        try:
            manifest = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InputError(
                f"{file} is missing; give a folder that `python -m jobs run --out` wrote"
            ) from None
        except (OSError, ValueError) as error:
            raise InputError(f"{file} cannot be read ({error}); run the analysis again") from error
        if not isinstance(manifest, dict):
            raise InputError(f"{file} holds no JSON object; run the analysis again")
        return cls(path, manifest, currency, title)

    @property
    def analysis(self) -> str:
        """The analysis's name, such as `ranking`."""
        return str(self.manifest.get("analysis", self.path.name))

    def amount(self, name: str) -> str:
        """A heading of amounts with their unit: `Value, USD`."""
        return f"{name}, {self.currency}" if self.currency else name

    def param(self, name: str, default: Any = None) -> Any:
        """A parameter of the run."""
        params = self.manifest.get("params")
        return params.get(name, default) if isinstance(params, dict) else default

    def rows(self, output: str) -> list[Row] | None:
        """The rows of an output in their stored order; `None` when the run has no such output.

        Raises:
            InputError: the file is there but is no Parquet.
        """
        file = self.path / f"{output}.parquet"
        if not file.is_file():
            return None
        try:
            rows: list[Row] = pq.read_table(file, partitioning=None).to_pylist()
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{file} cannot be read ({error}); run the analysis again") from error
        return rows
