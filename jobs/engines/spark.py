"""Spark behind the engine port: local by default, a cluster where SLUICE_SPARK_MASTER names one.

What the executors can open by its path, Spark reads itself. Everything else reaches them as rows of a Python
function: files of an object store by signed addresses, files of this machine as artifacts of the session.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
import uuid
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyspark
from py4j.protocol import Py4JError
from pyspark import SparkFiles, cloudpickle
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from pyspark.sql.pandas.types import from_arrow_schema

from jobs.contracts.errors import OVERFLOW, EngineError, InputError
from jobs.engine.port import BATCH_ROWS, Kind, SourceColumn
from jobs.engines import ranged
from jobs.engines.links import local, readable
from jobs.engines.shipping import csv_as_parquet, one_schema, plain
from jobs.engines.spark_dialect import SparkDialect
from jobs.engines.spark_settings import CONFIGURATION, FIXED, MASTER_VARIABLE, Master, master, own_settings
from jobs.engines.spark_settings import partitions as shuffle_partitions
from jobs.engines.spark_settings import settings as session_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from jobs.contracts.pinned import PinnedFile

#: What a failing statement raises: some errors reach Python as they came from Java.
_FAILURES = (PySparkException, Py4JError)
_PARTITIONS = "spark.sql.shuffle.partitions"
_INTEGERS = {"tinyint", "smallint", "int", "bigint"}
_ARROW = {"BIGINT": pa.int64(), "DOUBLE": pa.float64(), "BOOLEAN": pa.bool_(), "VARCHAR": pa.string()}
_MIN_PART, _MAX_PART = 1 << 20, 64 << 20
_PYTHON_ERROR = re.compile(r"^(?:\w+\.)*\w*(?:Error|Exception): (.+)$", re.MULTILINE)
_CAUSES = (
    ("Cannot run program", "the executors do not find their Python: set PYSPARK_PYTHON to what they have"),
    ("PYTHON_VERSION_MISMATCH", "the executors run another Python: set PYSPARK_PYTHON to the same version"),
    ("No module named 'pyarrow'", "the executors' Python lacks pyarrow: install it there"),
    ("[ARITHMETIC_OVERFLOW]", OVERFLOW),
    ("[CAST_OVERFLOW]", OVERFLOW),
)

_SHIPPED = tempfile.TemporaryDirectory(prefix="sluice-shipped-", ignore_cleanup_errors=True)
"""Kept to the end of the process: a new executor asks for all files that were ever sent along."""

# The executors need not have this library installed.
cloudpickle.register_pickle_by_value(ranged)  # type: ignore[no-untyped-call]


def _kind(native: str) -> Kind:
    if native in _INTEGERS:
        return Kind.INTEGER
    if native in {"double", "float"}:
        return Kind.FLOAT
    if native.startswith("decimal"):
        return Kind.DECIMAL
    if native == "boolean":
        return Kind.BOOLEAN
    if native == "void":
        return Kind.NOTHING
    return Kind.TEXT if native == "string" else Kind.OTHER


def start_session() -> SparkSession:
    """The process's Spark session, started on the first call (4 to 6 seconds, on a cluster some more).

    The environment is set for the Java process that Spark's launcher starts: quiet logs from our own
    configuration folder, and this very Python for its workers. Values that the caller has set already win.

    Raises:
        UserError: a variable has an impossible value.
        EngineError: the master cannot be reached, gives no executor in time, or Spark does not start.
    """
    chosen = master(os.environ)
    active = None if chosen.is_connect else SparkSession.getActiveSession()
    if active is not None and os.environ.get(MASTER_VARIABLE) in {None, "", active.sparkContext.master}:
        return active
    address = chosen.reach()
    if active is not None:
        raise EngineError(
            f"Spark runs on {active.sparkContext.master} in this process, which can have no second one:"
            f" stop that session, or set {MASTER_VARIABLE} to its master"
        )
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
    os.environ.setdefault("SPARK_CONF_DIR", str(CONFIGURATION))
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    if chosen.is_local or address is not None:
        os.environ.setdefault("SPARK_LOCAL_IP", address or "127.0.0.1")
    builder = SparkSession.builder.appName("sluice")
    builder = builder.remote(chosen.url) if chosen.is_connect else builder.master(chosen.url)
    for key, value in session_settings(chosen, address, os.environ).items():
        if not chosen.is_connect:  # the server has its own
            builder = builder.config(key, value)
    try:
        session = builder.getOrCreate()
        if not chosen.is_local:
            _await_executor(session, chosen)
    except _FAILURES as error:
        raise EngineError(
            f"Spark does not start with {MASTER_VARIABLE}={chosen.shown} (Java 17 or later is needed):"
            f" {_first_line(error)}"
        ) from error
    return session


def _await_executor(session: SparkSession, chosen: Master) -> None:
    """Run a first, empty job: Spark waits for executors for ever, and says so in a log that nobody reads."""
    late = threading.Event()
    tag = f"sluice-{uuid.uuid4().hex}"
    # An interrupt by tag does not reach the jobs of a session without Connect.
    context = None if chosen.is_connect else session.sparkContext

    def give_up() -> None:
        late.set()
        if context is None:
            session.interruptTag(tag)
        else:
            context.cancelJobGroup(tag)

    timer = threading.Timer(chosen.wait_s, give_up)
    timer.daemon = True
    if context is None:
        session.addTag(tag)
    else:
        context.setJobGroup(tag, "the first executor", interruptOnCancel=True)
    timer.start()
    try:
        session.range(1).count()
    except _FAILURES as error:
        if not late.is_set():
            raise
        raise EngineError(
            f"the Spark master {chosen.shown} gave no executor within {chosen.wait_s:.0f} s: see that it has"
            " workers with free cores and memory (spark.executor.memory), or raise SLUICE_SPARK_WAIT_S"
        ) from error
    finally:
        timer.cancel()
        if context is None:
            session.removeTag(tag)
        else:
            context.setLocalProperty("spark.jobGroup.id", None)  # type: ignore[arg-type]  # null clears it


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
        session = session or start_session()
        self._master = master(os.environ)
        if not self._master.is_connect:
            self._master = replace(self._master, url=session.sparkContext.master or "")
        self._session: Any = session.newSession()
        self._cores = 1 if self._master.is_connect else self._session.sparkContext.defaultParallelism
        own = own_settings(os.environ)
        if _PARTITIONS not in own and not self._master.is_connect:
            self._session.conf.set(_PARTITIONS, shuffle_partitions(self._cores, local=self._master.is_local))
        for key, value in {**FIXED, **(conf or {})}.items():
            self._session.conf.set(key, value)
        self._dialect = SparkDialect()
        self._cached: dict[str, Any] = {}
        self._read_ahead: list[Any] = []

    @property
    def dialect(self) -> SparkDialect:
        """Spark's spelling of what differs."""
        return self._dialect

    @property
    def spare_memory(self) -> int:
        """Nothing: rows stay where the executors are."""
        return 0

    # Inputs
    # ----------------------------------------------------------------------------------------------------

    def register_parquet(self, name: str, files: Sequence[Path]) -> None:
        """Read Parquet files as one table; columns are matched by name.

        The schema is read here, from the files' ends, which saves the Spark job that would find it out.
        """
        if not all(map(self._master.sees, files)):
            self._ship(name, files)
            return
        schema = _schema(files)

        def load(reader: Any) -> Any:
            known = reader.option("mergeSchema", len(files) > 1) if schema is None else reader.schema(schema)
            return known.parquet(*_names(files))

        self._read(name, files, load)

    def register_csv(self, name: str, files: Sequence[Path], delimiter: str = ",") -> None:
        """Read CSV files with a header as text."""
        if not all(map(self._master.sees, files)):
            self._ship_csv(name, files, delimiter)
            return
        options = {
            "header": True,
            "sep": delimiter,
            "inferSchema": False,
            "escape": '"',
            "multiLine": True,
            "encoding": "UTF-8",
            "mode": "FAILFAST",  # else a row with too many fields loses them, and one with too few gets NULLs
        }
        self._read(name, files, lambda reader: reader.options(**options).csv(_names(files)))

    def _read(self, name: str, files: Sequence[Path], load: Any) -> None:
        try:
            load(self._session.read).createOrReplaceTempView(name)
        except _FAILURES as error:
            raise InputError(f"cannot read {', '.join(map(str, files))}: {_first_line(error)}") from error

    def register_pinned(self, name: str, files: Sequence[PinnedFile], columns: Mapping[str, str]) -> None:
        """Read exactly these files: by path what the executors see, by signed address what a store holds."""
        schema = pa.schema([(column, _ARROW[kind]) for column, kind in columns.items()])
        paths = [path for file in files if (path := local(file.link)) is not None and self._master.sees(path)]
        if len(paths) == len(files) and files:
            for path in paths:
                if not path.is_file():
                    raise InputError(f"no such file: {path}")
            self._read(
                name, paths, lambda reader: reader.schema(from_arrow_schema(schema)).parquet(*_names(paths))
            )
            return
        signed = readable(files)
        if self._master.is_connect and any(local(link) for _, _, link in signed):
            self.register_arrow(name, ranged.whole(signed, schema))
            return
        located = [(title, size, self._located(link)) for title, size, link in signed]
        self._rows_of(name, located, schema)

    def _ship(self, name: str, files: Sequence[Path]) -> None:
        """Send files along with the job, for executors that do not see this machine's disk."""
        schema = pa.schema([field for field in map(plain, one_schema(files)) if _is_known(field)])
        if self._master.is_connect:
            found = [(file.name, file.stat().st_size, file.absolute().as_uri()) for file in files]
            self.register_arrow(name, ranged.whole(found, schema))
            return
        shipped = [
            (file.name, file.stat().st_size, self._located(file.absolute().as_uri())) for file in files
        ]
        self._rows_of(name, shipped, schema)

    def _ship_csv(self, name: str, files: Sequence[Path], delimiter: str) -> None:
        """CSV goes as Parquet, all of it text."""
        folder = Path(_SHIPPED.name)
        copies = [csv_as_parquet(file, delimiter, folder / f"{uuid.uuid4().hex}.csv") for file in files]
        self._ship(name, copies)

    def _located(self, link: str) -> str:
        """A link that works in an executor; a file of this machine is sent along under a name of its own."""
        path = local(link)
        if path is None:
            return link
        if not path.is_file():
            raise InputError(f"no such file: {path}")
        named = Path(_SHIPPED.name) / f"{uuid.uuid4().hex}.parquet"
        named.symlink_to(path)
        # As an address: a path would be followed to the file's own name, which may be another one's, too.
        # Not as an artifact of the session: tasks that fill Spark's cache do not know the session's.
        self._session.sparkContext.addFile(named.as_uri())
        return f"{ranged.SHIPPED}:{named.name}"

    def _rows_of(self, name: str, files: Sequence[tuple[str, int, str]], schema: pa.Schema) -> None:
        """Name the rows that the executors' Python reads, once: what was read stays in Spark's cache."""
        share = sum(size for _, size, _ in files) // max(1, 2 * self._cores)
        groups = ranged.parts(files, min(max(share, _MIN_PART), _MAX_PART))
        read = ranged.reader(groups, schema, SparkFiles.get)
        numbers = self._session.range(0, len(groups), 1, max(1, len(groups)))
        frame = numbers.mapInArrow(read, from_arrow_schema(schema)).cache()
        frame.createOrReplaceTempView(name)
        self._read_ahead.append(frame)

    def register_arrow(self, name: str, table: pa.Table) -> None:
        """Copy an Arrow table into the Java process."""
        try:
            self._session.createDataFrame(table).createOrReplaceTempView(name)
        except _FAILURES as error:
            raise EngineError(_first_line(error)) from error

    # Queries
    # ----------------------------------------------------------------------------------------------------

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

    def stream(self, sql: str, rows: int = BATCH_ROWS, *, ahead: bool = True) -> Iterator[pa.RecordBatch]:  # noqa: ARG002 - they are there by then
        """Run a query; its rows come to the driver together."""
        yield from self.collect(sql).to_batches(max_chunksize=rows)

    def _sql(self, sql: str) -> Any:
        try:
            return self._session.sql(sql)
        except _FAILURES as error:
            raise EngineError(_first_line(error)) from error

    def close(self) -> None:
        """Drop the cached results and the views; the shared session stays up."""
        # The newest first: dropping one that others stand on would make Spark cache those anew.
        for frame in [*reversed(self._cached.values()), *self._read_ahead]:
            frame.unpersist()
        self._cached.clear()
        self._read_ahead.clear()
        for table in self._session.catalog.listTables():
            self._session.catalog.dropTempView(table.name)


def _is_known(field: pa.Field) -> bool:
    try:
        from_arrow_schema(pa.schema([field]))
    except PySparkException:
        return False
    return True


def _schema(files: Sequence[Path]) -> Any:
    """The files' columns as Spark knows them, or None where only Spark can tell."""
    try:
        found = one_schema(files)
        if any(pa.types.is_unsigned_integer(field.type) for field in found):
            return None
        return from_arrow_schema(pa.schema([plain(field) for field in found]))
    except (InputError, PySparkException):
        return None


def _names(files: Sequence[Path]) -> list[str]:
    return [str(file) for file in files]


def _first_line(error: Exception) -> str:
    """Spark's message without the Java stack, and what it means where that is known."""
    text = str(error).strip()
    for sign, meaning in _CAUSES:
        if sign in text:
            return meaning
    in_python = _PYTHON_ERROR.findall(text)
    if in_python:
        return str(in_python[-1])
    lines = text.splitlines() or [type(error).__name__]
    return lines[1] if len(lines) > 1 and isinstance(error, Py4JError) else lines[0]
