"""From files to contract tables: check the columns, cast, exclude and count what is not allowed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jobs.contracts.errors import EngineError, InputError
from jobs.contracts.tables import MAX_TIME, Column, ColumnType, InputTable
from jobs.engine.csv_rows import refuse_ragged
from jobs.engine.pinned import register_pinned
from jobs.engine.port import Engine, Kind, SourceColumn
from jobs.engine.text import query
from jobs.engine.uniqueness import distinct_keys

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

    from jobs.contracts.pinned import Pinned

#: What may be read as what. Text is allowed everywhere only for CSV, where everything is text.
_ACCEPTED = {
    ColumnType.BIGINT: {Kind.INTEGER},
    ColumnType.INTEGER: {Kind.INTEGER},
    ColumnType.DOUBLE: {Kind.INTEGER, Kind.FLOAT, Kind.DECIMAL},
    ColumnType.NUMBER: {Kind.INTEGER, Kind.FLOAT, Kind.DECIMAL},
    ColumnType.VARCHAR: {Kind.TEXT, Kind.INTEGER},
    ColumnType.BOOLEAN: {Kind.BOOLEAN},
}


#: Integers that a cast to BIGINT may refuse, by DuckDB's names; Spark reads them as decimals.
_WIDER_THAN_BIGINT = {"UBIGINT", "HUGEINT"}


@dataclass(frozen=True, slots=True)
class Source:
    """Where an input table comes from: files of one format, or an Arrow table.

    Attributes:
        files: read as one table; the suffix says how (`.csv`, else Parquet).
        table: rows in memory, instead of files.
        names: contract column name to the name in the file.
        snapshot: the warehouse's version of the table, for the manifest.
        pinned: a version of a warehouse table, as the document in `files` names its files.
    """

    files: tuple[Path, ...] = ()
    table: pa.Table | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    snapshot: str | None = None
    pinned: Pinned | None = None

    @property
    def is_csv(self) -> bool:
        """Whether the files are CSV."""
        return bool(self.files) and _is_csv(self.files[0])


@dataclass(frozen=True, slots=True)
class Staged:
    """What staging an input found.

    Attributes:
        relation: the name under which the analysis reads it: the contract's columns, all present.
        under: the relation that this one reads, for a step that puts another one in its place.
        present: the contract's columns that the file has.
        rows_in: rows in the file.
        excluded: rows left out, by reason.
    """

    relation: str
    under: str
    present: frozenset[str]
    rows_in: int
    excluded: Mapping[str, int]


def stage(engine: Engine, contract: InputTable, source: Source) -> Staged:
    """Register a source and turn it into a relation that is the contract's table, under its name.

    Raises:
        InputError: a missing column, a type that does not fit, a text that is not a number, a CSV row with
            more or fewer fields than the header, or nothing but times out of range (most often
            milliseconds).
    """
    try:
        return _stage(engine, contract, source)
    except (EngineError, InputError):
        if source.is_csv:
            refuse_ragged((file for file in source.files if _is_csv(file)), _delimiter)
        raise


def _stage(engine: Engine, contract: InputTable, source: Source) -> Staged:
    raw = f"{contract.name}__raw"
    _register(engine, raw, source, contract)
    found = _locate(engine.columns(raw), contract, source)
    typed = f"{contract.name}__typed"
    if source.is_csv:
        _check_texts(engine, raw, contract, found)
    items = ", ".join(_item(column, found, source.is_csv, engine, raw) for column in contract.columns)
    engine.view(typed, query("staging", "typed", items=items, relation=raw))
    return _exclude(engine, contract, typed, frozenset(found))


def _register(engine: Engine, name: str, source: Source, contract: InputTable) -> None:
    if source.table is not None:
        engine.register_arrow(name, source.table)
        return
    for file in source.files:
        if not file.is_file():
            raise InputError(f"no such file: {file}")
    forms = {_delimiter(file) if _is_csv(file) else "Parquet" for file in source.files}
    if len(forms) > 1:
        raise InputError(
            f"{contract.name}: its files are of different forms; give Parquet files only, or CSV files with"
            " one separator"
        )
    if source.pinned is not None:
        # Only what the contract can use: a column of a remote store costs time even where nobody looks at it.
        spelt = {name for column in contract.columns for name in (column.name, *column.aliases)}
        register_pinned(engine, name, source.pinned.only(spelt | set(source.names.values())))
    elif source.is_csv:
        engine.register_csv(name, source.files, _delimiter(source.files[0]))
    else:
        engine.register_parquet(name, source.files)


def _is_csv(file: Path) -> bool:
    return file.suffix.lower() == ".csv"


def _delimiter(file: Path) -> str:
    """A comma, unless the header has none but has semicolons or tabs."""
    with file.open(encoding="utf-8", errors="replace") as stream:
        header = stream.readline()
    return next((mark for mark in ",;\t" if mark in header), ",")


def _locate(
    columns: Mapping[str, SourceColumn], contract: InputTable, source: Source
) -> dict[str, tuple[str, SourceColumn]]:
    """Contract column to (its name in the file, what it is there); optional columns may be missing."""
    unknown = sorted(set(source.names) - {column.name for column in contract.columns})
    if unknown:
        known = ", ".join(column.name for column in contract.columns)
        raise InputError(
            f"--map {contract.name}.{unknown[0]}: {contract.name} has no such column; it has {known}"
        )
    found: dict[str, tuple[str, SourceColumn]] = {}
    for column in contract.columns:
        spelt = next((name for name in (column.name, *column.aliases) if name in columns), column.name)
        name = source.names.get(column.name, spelt)
        if name in columns:
            found[column.name] = (name, columns[name])
            _check_type(contract, column, name, columns[name], is_csv=source.is_csv)
        elif column.required or column.name in source.names:
            there = columns if source.pinned is None else [one.name for one in source.pinned.columns]
            raise InputError(
                f"{contract.name}: column {name} ({column.type}) is missing;"
                f" the file has {', '.join(there)}"
                f" (rename with --map {contract.name}.{column.name}=NAME)"
            )
    return found


def _check_type(
    contract: InputTable, column: Column, name: str, source: SourceColumn, *, is_csv: bool
) -> None:
    if is_csv or source.kind is Kind.NOTHING or source.kind in _ACCEPTED[column.type]:
        return
    unit = f" of {column.unit}" if column.unit else ""
    raise InputError(
        f"{contract.name}: column {name} is {source.native}; {column.name} must be {column.type}{unit}"
    )


def _check_texts(
    engine: Engine, raw: str, contract: InputTable, found: Mapping[str, tuple[str, SourceColumn]]
) -> None:
    """A CSV text that does not read as its column's type is refused with the text, not turned into NULL."""
    for column in contract.columns:
        if column.name not in found or column.type is ColumnType.VARCHAR:
            continue
        name = engine.dialect.identifier(found[column.name][0])
        target = "DOUBLE" if column.type is ColumnType.NUMBER else column.type.value
        cast = engine.dialect.try_cast(f"TRIM({name})", target)
        texts = query("staging", "misread", name=name, relation=raw, misread=_misread(cast, name, column))
        bad = engine.collect(texts).to_pylist()[0]
        if bad["n"]:
            raise InputError(
                f"{contract.name}: {bad['n']} values of column {found[column.name][0]} are not {column.type},"
                f" for example {bad['example']!r}"
            )


def _misread(cast: str, name: str, column: Column) -> str:
    """Plain numbers only: 1.5, 1_000, 0x10 or nan are integers or numbers to one engine, not to the other."""
    if column.type in {ColumnType.BIGINT, ColumnType.INTEGER}:
        return f"{cast} IS NULL OR TRANSLATE(TRIM({name}), '0123456789', '') NOT IN ('', '-', '+')"
    if column.type is ColumnType.BOOLEAN:
        return f"{cast} IS NULL"
    return f"{cast} IS NULL OR TRANSLATE(LOWER(TRIM({name})), '0123456789.e+-', '') <> ''"


def _item(
    column: Column, found: Mapping[str, tuple[str, SourceColumn]], is_csv: bool, engine: Engine, raw: str
) -> str:
    if column.name not in found:
        return f"CAST(NULL AS {_sql_type(column.type, Kind.INTEGER)}) AS {column.name}"
    name, source = found[column.name]
    text = engine.dialect.identifier(name)
    if is_csv:
        text = f"NULLIF({text if column.type is ColumnType.VARCHAR else f'TRIM({text})'}, '')"
    kind = _number_kind(engine, raw, text) if is_csv and column.type is ColumnType.NUMBER else source.kind
    if not is_csv and kind is Kind.FLOAT:
        text = f"CASE WHEN {text} - {text} = 0 THEN {text} END"  # NaN and infinities are no values
    if column.is_time and source.native in _WIDER_THAN_BIGINT:
        text = f"LEAST({text}, {MAX_TIME + 1})"  # out of range, and counted so, instead of a failed cast
    return f"CAST({text} AS {_sql_type(column.type, kind)}) AS {column.name}"


def _number_kind(engine: Engine, raw: str, text: str) -> Kind:
    """Whether every number of a CSV column is an integer."""
    fractions = engine.collect(query("staging", "fractions", name=text, relation=raw))
    return Kind.FLOAT if fractions.to_pylist()[0]["n"] else Kind.INTEGER


def _sql_type(column_type: ColumnType, kind: Kind) -> str:
    if column_type is ColumnType.NUMBER:
        return "BIGINT" if kind is Kind.INTEGER else "DOUBLE"
    # Spark's VARCHAR wants a length; both engines know STRING.
    return "STRING" if column_type is ColumnType.VARCHAR else column_type.value


def _exclude(engine: Engine, contract: InputTable, typed: str, present: frozenset[str]) -> Staged:
    """Drop and count rows with NULL keys, then times out of range, then repeats of the unique key."""
    present_columns = [column for column in contract.columns if column.name in present]
    reasons = [
        (f"null_{column.name}", f"{column.name} IS NULL") for column in present_columns if not column.nullable
    ]
    reasons += [
        (f"{column.name}_out_of_range", f"{column.name} < 0 OR {column.name} > {MAX_TIME}")
        for column in present_columns
        if column.is_time
    ]
    facts, counts = _count(engine, contract, typed, reasons, present_columns)
    under = typed
    if any(counts.values()):
        under = f"{contract.name}__kept"
        refused = " OR ".join(f"({condition})" for reason, condition in reasons if counts[reason])
        engine.view(under, query("staging", "kept", relation=typed, refused=refused))
    if contract.unique:
        expected = facts.rows - sum(counts.values())
        counts["duplicate"] = expected - distinct_keys(engine, under, contract.unique, expected, facts.bounds)
        if counts["duplicate"]:
            deduplicated = _deduplicated(contract, under)
            under = f"{contract.name}__unique"
            engine.view(under, deduplicated)
    engine.view(contract.name, query("staging", "typed", items="*", relation=under))
    excluded = {reason: count for reason, count in counts.items() if count}
    return Staged(contract.name, under, present, facts.rows, excluded)


def _clean(columns: Sequence[Column]) -> str:
    """The aggregate that is TRUE of a table without any row to exclude."""
    tests = [f"COUNT({column.name}) = COUNT(*)" for column in columns if not column.nullable]
    tests += [
        f"COALESCE(MIN({column.name}) >= 0 AND MAX({column.name}) <= {MAX_TIME}, TRUE)"
        for column in columns
        if column.is_time
    ]
    return " AND ".join(tests) or "TRUE"


@dataclass(frozen=True, slots=True)
class _Facts:
    """How many rows there are, and where all are kept the range of the key's last column, an integer."""

    rows: int
    bounds: tuple[int, int] | None = None


def _count(
    engine: Engine,
    contract: InputTable,
    typed: str,
    reasons: Sequence[tuple[str, str]],
    present: Sequence[Column],
) -> tuple[_Facts, dict[str, int]]:
    """Rows, and rows for each reason. A row with several reasons counts under the first.

    That there is no such row at all is far cheaper to see, so that is asked first.
    """
    keys = [one.name for one in present if one.name in contract.unique[-1:] and one.type is ColumnType.BIGINT]
    last = keys[0] if keys else "CAST(NULL AS BIGINT)"
    asked = query("staging", "facts", clean=_clean(present), last=last, relation=typed)
    facts = engine.collect(asked).to_pylist()[0]
    if facts["clean"]:
        bounds = None if facts["low"] is None else (facts["low"], facts["high"])
        return _Facts(facts["n"], bounds), {name: 0 for name, _ in reasons}
    cases = " ".join(f"WHEN {condition} THEN {index}" for index, (_, condition) in enumerate(reasons))
    rows = engine.collect(query("staging", "reasons", cases=cases, relation=typed)).to_pylist()
    by_index = {row["reason"]: row["n"] for row in rows}
    counts = {name: by_index.get(index, 0) for index, (name, _) in enumerate(reasons)}
    rows_in = sum(by_index.values())
    beyond = sum(count for name, count in counts.items() if name.endswith("_out_of_range"))
    if rows_in and beyond == rows_in:
        raise InputError(
            f"{contract.name}: every time is outside 0..{MAX_TIME} seconds;"
            " are these milliseconds or microseconds?"
        )
    return _Facts(rows_in), counts


def _deduplicated(contract: InputTable, kept: str) -> str:
    names = [column.name for column in contract.columns]
    return query(
        "staging",
        "deduplicated",
        columns=", ".join(names),
        keys=", ".join(contract.unique),
        order=", ".join(f"{name} NULLS LAST" for name in names),
        relation=kept,
    )
