"""Spark behind the engine port: local by default, a cluster where SLUICE_SPARK_MASTER names one."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyspark
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from pyspark.sql.pandas.types import from_arrow_schema

from jobs.contracts.errors import EngineError, InputError
from jobs.engine.port import Kind, SourceColumn
from jobs.engine.text import text_literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

#: What a failing statement raises: some errors reach Python as they came from Java.
_FAILURES = (PySparkException, Py4JError)

MASTER_VARIABLE = "SLUICE_SPARK_MASTER"
_DEFAULT_MASTER = "local[2]"
_CONF = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.shuffle.partitions": "4",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.sql.catalogImplementation": "in-memory",
    # Spark writes each plan down for its web page; those of nested windows would fill the memory.
    "spark.sql.maxPlanStringLength": "8192",
    # Nothing is stored there, but Spark makes the folder: not in the caller's working folder, please.
    "spark.sql.warehouse.dir": str(Path(tempfile.gettempdir()) / "sluice-spark-warehouse"),
}
_INTEGERS = {"tinyint", "smallint", "int", "bigint"}


def _kind(native: str) -> Kind:
    if native in _INTEGERS:
        return Kind.INTEGER
    if native in {"double", "float"}:
        return Kind.FLOAT
    if native.startswith("decimal"):
        return Kind.DECIMAL
    if native == "boolean":
        return Kind.BOOLEAN
    return Kind.TEXT if native == "string" else Kind.OTHER


def start_session() -> SparkSession:
    """The process's Spark session, started on the first call (4 to 6 seconds).

    The environment is set for the Java process that Spark's launcher starts: quiet logs from our own
    configuration folder, and this very Python for its workers. Values that the caller has set already win.
    """
    os.environ.setdefault("SPARK_CONF_DIR", str(Path(__file__).with_name("spark_conf")))
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    master = os.environ.get(MASTER_VARIABLE) or _DEFAULT_MASTER
    builder = SparkSession.builder.master(master).appName("sluice")
    for key, value in _CONF.items():
        builder = builder.config(key, value)
    try:
        return builder.getOrCreate()
    except _FAILURES as error:
        raise EngineError(
            f"Spark does not start with {MASTER_VARIABLE}={master} (Java 17 or later is needed):"
            f" {_first_line(error)}"
        ) from error


class SparkDialect:
    """Spark's spelling of what differs."""

    has_asof_join = False

    def identifier(self, name: str) -> str:
        """A quoted name."""
        return "`" + name.replace("`", "``") + "`"

    def ordered_concat(self, expression: str, separator: str, order: str) -> str:
        """Join strings in order."""
        return f"listagg({expression}, {text_literal(separator)}) WITHIN GROUP (ORDER BY {order})"

    def split_table(self, relation: str, expression: str, separator: str) -> str:
        """One row for each part, with its place from 1; the brackets are for a regular expression."""
        parts = f"split({expression}, {text_literal('[' + separator + ']')})"
        return (
            f"SELECT {relation}.*, part, place0 + 1 AS place FROM {relation}"  # noqa: S608 - quoted literals only
            f" LATERAL VIEW posexplode({parts}) parts AS place0, part"
        )

    def replace_all(self, expression: str, pattern: str, replacement: str) -> str:
        """Every match replaced."""
        return f"regexp_replace({expression}, {text_literal(pattern)}, {text_literal(replacement)})"

    def shift_left(self, number: str, places: str) -> str:
        """Bits moved up."""
        return f"shiftleft({number}, CAST({places} AS INT))"

    def shift_right(self, number: str, places: str) -> str:
        """Bits moved down."""
        return f"shiftright({number}, CAST({places} AS INT))"

    def series(self, low: str, high: str) -> str:
        """One row for each integer of low..high; Spark's sequence would count down from an empty range."""
        return f"explode(CASE WHEN {low} <= {high} THEN sequence({low}, {high}) ELSE array() END)"

    def month_index(self, day: str) -> str:
        """Months since year 0."""
        date = f"date_add(DATE'1970-01-01', CAST({day} AS INT))"
        return f"CAST(year({date}) * 12 + month({date}) - 1 AS BIGINT)"

    def month_start(self, index: str) -> str:
        """Day number of a month's first day."""
        year, month = f"CAST(FLOOR({index} / 12) AS INT)", f"CAST({index} % 12 + 1 AS INT)"
        return f"CAST(unix_date(make_date({year}, {month}, 1)) AS BIGINT)"

    def increases(self, column: str) -> str | None:  # noqa: ARG002 - rows have no order to compare in
        """Not to be had: rows lie in partitions."""
        return None

    def bitmap_count(self, column: str, low: int, high: int) -> str | None:  # noqa: ARG002 - for all engines
        """Not over any range of integers."""
        return None

    def row_hash(self, columns: Sequence[str]) -> str:
        """Spark's 64-bit hash."""
        return f"xxhash64({', '.join(columns)})"

    def surrogate(self, key: str) -> str:
        """The key itself: numbering all rows would bring them to one partition."""
        return key

    def try_cast(self, expression: str, type_name: str) -> str:
        """NULL where the text cannot be read."""
        return f"TRY_CAST({expression} AS {'STRING' if type_name == 'VARCHAR' else type_name})"


class SparkEngine:
    """An engine on a session of its own, whose views no other sees, in the shared Spark context.

    Args:
        session: the session to branch from; the process's own is started when None.
        conf: settings of Spark SQL for this engine only; results do not depend on them.
    """

    name = "spark"
    version: str = pyspark.__version__

    def __init__(self, session: SparkSession | None = None, *, conf: Mapping[str, str] | None = None) -> None:
        """Branch a session."""
        self._session: Any = (session or start_session()).newSession()
        for key in ("spark.sql.session.timeZone", "spark.sql.ansi.enabled", "spark.sql.shuffle.partitions"):
            self._session.conf.set(key, _CONF[key])
        for key, value in (conf or {}).items():
            self._session.conf.set(key, value)
        self._dialect = SparkDialect()
        self._cached: dict[str, Any] = {}

    @property
    def dialect(self) -> SparkDialect:
        """Spark's spelling of what differs."""
        return self._dialect

    def register_parquet(self, name: str, files: Sequence[Path]) -> None:
        """Read Parquet files as one table; columns are matched by name.

        The schema is read here, from the files' ends, which saves the Spark job that would find it out.
        """
        schema = _schema(files)

        def load(reader: Any) -> Any:
            known = reader.option("mergeSchema", len(files) > 1) if schema is None else reader.schema(schema)
            return known.parquet(*_names(files))

        self._read(name, files, load)

    def register_csv(self, name: str, files: Sequence[Path], delimiter: str = ",") -> None:
        """Read CSV files with a header as text."""
        options = {
            "header": True,
            "sep": delimiter,
            "inferSchema": False,
            "escape": '"',
            "multiLine": True,
            "encoding": "UTF-8",
        }
        self._read(name, files, lambda reader: reader.options(**options).csv(_names(files)))

    def _read(self, name: str, files: Sequence[Path], load: Any) -> None:
        try:
            load(self._session.read).createOrReplaceTempView(name)
        except _FAILURES as error:
            raise InputError(f"cannot read {', '.join(map(str, files))}: {_first_line(error)}") from error

    def register_arrow(self, name: str, table: pa.Table) -> None:
        """Copy an Arrow table into the Java process."""
        self._session.createDataFrame(table).createOrReplaceTempView(name)

    def columns(self, name: str) -> Mapping[str, SourceColumn]:
        """The columns with Spark's type names."""
        return {
            column: SourceColumn(_kind(native), native) for column, native in self._session.table(name).dtypes
        }

    def view(self, name: str, sql: str) -> None:
        """Name a query."""
        self._sql(sql).createOrReplaceTempView(name)

    def materialize(self, name: str, sql: str) -> None:
        """Keep a query's result in the cache once it has been read."""
        frame = self._sql(sql).cache()
        frame.createOrReplaceTempView(name)
        self._cached[name] = frame

    def collect(self, sql: str) -> pa.Table:
        """Run a query."""
        try:
            return self._sql(sql).toArrow()
        except _FAILURES as error:
            raise EngineError(_first_line(error)) from error

    def stream(self, sql: str) -> Iterator[pa.RecordBatch]:
        """Run a query; its rows come to the driver together."""
        yield from self.collect(sql).to_batches()

    def _sql(self, sql: str) -> Any:
        try:
            return self._session.sql(sql)
        except _FAILURES as error:
            raise EngineError(_first_line(error)) from error

    def close(self) -> None:
        """Drop the cached results and the views; the shared session stays up."""
        # The newest first: dropping one that others stand on would make Spark cache those anew.
        for frame in reversed(self._cached.values()):
            frame.unpersist()
        self._cached.clear()
        for table in self._session.catalog.listTables():
            self._session.catalog.dropTempView(table.name)


def _schema(files: Sequence[Path]) -> Any:
    """The files' columns as Spark knows them, or None where only Spark can tell."""
    try:
        found = pa.unify_schemas([pq.read_schema(file) for file in files], promote_options="permissive")
        plain = [
            field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field
            for field in found
        ]
        if any(pa.types.is_unsigned_integer(field.type) for field in plain):
            return None
        return from_arrow_schema(pa.schema(plain))
    except (pa.ArrowException, OSError, PySparkException):
        return None


def _names(files: Sequence[Path]) -> list[str]:
    return [str(file) for file in files]


def _first_line(error: Exception) -> str:
    """Spark's message without the Java stack."""
    lines = str(error).strip().splitlines()
    return lines[1] if len(lines) > 1 and isinstance(error, Py4JError) else lines[0]
