"""Files of this machine on their way to executors that do not see its disk: Parquet, in types Spark knows."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from jobs.contracts.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_UNSIGNED = {
    pa.uint8(): pa.int16(),
    pa.uint16(): pa.int32(),
    pa.uint32(): pa.int64(),
    pa.uint64(): pa.decimal128(20, 0),
}


def plain(field: pa.Field) -> pa.Field:
    """A column as Spark has it: no dictionaries, no unsigned integers."""
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    return field.with_type(_UNSIGNED.get(kind, kind))


def one_schema(files: Sequence[Path]) -> pa.Schema:
    """The columns of several Parquet files together.

    Raises:
        InputError: one is no Parquet file, or they do not go together.
    """
    try:
        return pa.unify_schemas([pq.read_schema(file) for file in files], promote_options="permissive")
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"cannot read {', '.join(map(str, files))}: {error}") from error


def csv_as_parquet(file: Path, delimiter: str, target: Path) -> Path:
    """Write a CSV file with a header as Parquet, all columns text, and return where.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            header = next(csv.reader(stream, delimiter=delimiter), [])
        table = pc.read_csv(
            file,
            parse_options=pc.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=pc.ConvertOptions(column_types=dict.fromkeys(header, pa.string())),
        )
        pq.write_table(table, target)
    except (pa.ArrowException, OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot read {file}: {error}") from error
    return target
