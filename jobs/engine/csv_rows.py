"""Finds the row of a CSV file that is not one: both engines only say that there is such a row."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from pathlib import Path

from jobs.contracts.errors import InputError


def refuse_ragged(files: Iterable[Path], delimiter_of: Callable[[Path], str]) -> None:
    """Look for the first row with more or fewer fields than the header; empty lines are no rows.

    Raises:
        InputError: there is one.
    """
    for file in files:
        try:
            _refuse_ragged(file, delimiter_of(file))
        except (UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"cannot read {file} as CSV in UTF-8: {error}") from error
        except OSError:
            return  # who looks for it has said so already


def _refuse_ragged(file: Path, delimiter: str) -> None:
    with file.open(encoding="utf-8-sig", newline="") as stream:
        rows = csv.reader(stream, delimiter=delimiter, strict=True)
        width = len(next(rows, ()))
        for row in rows:
            if row and len(row) != width:
                raise InputError(
                    f"{file}: the row that ends in line {rows.line_num} has {len(row)} fields,"
                    f" the header has {width}; put texts that hold the separator in double quotes"
                )
