"""Where Spark runs, and what we set of it; everything else is Spark's own configuration folder's.

`SLUICE_SPARK_MASTER` is a master in Spark's notation, or the address of a Spark Connect server. What
`spark-defaults.conf` of `SPARK_CONF_DIR` sets wins over our choices, except for those that results depend on.
"""

from __future__ import annotations

import re
import socket
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jobs.contracts.errors import EngineError, UserError

MASTER_VARIABLE = "SLUICE_SPARK_MASTER"
SHARED_VARIABLE = "SLUICE_SPARK_SHARED"
WAIT_VARIABLE = "SLUICE_SPARK_WAIT_S"
DEFAULT_MASTER = "local[2]"
CONFIGURATION = Path(__file__).with_name("spark_conf")
_DEFAULT_WAIT_S = 120.0
_CONNECT_S = 5.0
_LOCAL = re.compile(r"local(\[(\*|\d+)(,\d+)?\])?")
_STANDALONE = re.compile(r"spark://[^/,\s]+:\d+(,[^/,\s]+:\d+)*")
_KUBERNETES = re.compile(r"k8s://\S+")
_CONNECT = re.compile(r"sc://[^/;\s]+(/?;\S*)?/?")
_CONNECT_PORT, _TLS_PORT, _HTTP_PORT = 15_002, 443, 80
_FORMS = "local[N], spark://HOST:PORT, yarn, k8s://https://HOST:PORT or sc://HOST:PORT"

#: Equal rows on both engines rest on these.
FIXED = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
}
_QUIET = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.sql.catalogImplementation": "in-memory",
    # Spark writes each plan down for its web page; those of nested windows would fill the memory.
    "spark.sql.maxPlanStringLength": "8192",
    # Nothing is stored there, but Spark makes the folder: not in the caller's working folder, please.
    "spark.sql.warehouse.dir": str(Path(tempfile.gettempdir()) / "sluice-spark-warehouse"),
}
_LOOPBACK = {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
#: Tasks per core after a shuffle: sorts that fit into a small executor's memory; Spark merges small tasks.
_PARTITIONS_PER_CORE = 4
_LOCAL_PARTITIONS, _CLUSTER_PARTITIONS = 4, 16


@dataclass(frozen=True, slots=True)
class Master:
    """Where Spark runs.

    Attributes:
        url: as given; may hold a token, so show `shown` instead.
        shared: folders that the executors see under the same paths as we do.
        wait_s: seconds that the cluster may take to give a first executor.
    """

    url: str
    shared: tuple[Path, ...] = ()
    wait_s: float = _DEFAULT_WAIT_S

    @property
    def is_local(self) -> bool:
        """Whether everything runs in one process here."""
        return _LOCAL.fullmatch(self.url) is not None

    @property
    def is_connect(self) -> bool:
        """Whether it is a Spark Connect server."""
        return self.url.startswith("sc://")

    @property
    def shown(self) -> str:
        """The address without what may be secret in it."""
        return self.url.partition(";")[0]

    def sees(self, file: Path) -> bool:
        """Whether the executors can open a file of ours by its path."""
        return self.is_local or any(file.absolute().is_relative_to(folder) for folder in self.shared)

    def addresses(self) -> list[tuple[str, int]]:
        """Return host and port of each place where the master may listen; none where that is not known."""
        kind, _, rest = self.url.partition("://")
        if kind == "spark":
            return [_host_and_port(one, 0) for one in rest.split(",")]
        if kind == "sc":
            return [_host_and_port(rest.partition("/")[0].partition(";")[0], _CONNECT_PORT)]
        if kind == "k8s":
            default = _HTTP_PORT if rest.startswith("http://") else _TLS_PORT
            return [_host_and_port(rest.partition("://")[2] or rest, default)]
        return []

    def reach(self) -> str | None:
        """Return our own address towards the master; None where any will do.

        Spark itself would try again for minutes, without a word.

        Raises:
            EngineError: nobody listens there.
        """
        failures = []
        for address in self.addresses():
            try:
                with socket.create_connection(address, _CONNECT_S) as connection:
                    return str(connection.getsockname()[0])
            except OSError as error:
                failures.append(f"{address[0]}:{address[1]}: {error.strerror or error}")
        if failures:
            raise EngineError(
                f"the Spark master {self.shown} cannot be reached ({'; '.join(failures)}): start it, or"
                f" correct {MASTER_VARIABLE}, or use the engine duckdb"
            )
        return None


def master(environment: Mapping[str, str]) -> Master:
    """Return where Spark runs by the environment.

    Raises:
        UserError: a variable has an impossible value.
    """
    url = environment.get(MASTER_VARIABLE) or DEFAULT_MASTER
    if url != "yarn" and not any(
        form.fullmatch(url) for form in (_LOCAL, _STANDALONE, _KUBERNETES, _CONNECT)
    ):
        raise UserError(f"{MASTER_VARIABLE}={url.partition(';')[0]} is no Spark master: give {_FORMS}")
    shared = tuple(Path(one) for one in environment.get(SHARED_VARIABLE, "").split(":") if one)
    if any(not folder.is_absolute() for folder in shared):
        raise UserError(f"{SHARED_VARIABLE}: give absolute paths, separated by colons")
    return Master(url, shared, _seconds(environment.get(WAIT_VARIABLE)))


def _seconds(given: str | None) -> float:
    if not given:
        return _DEFAULT_WAIT_S
    if not given.isdecimal() or int(given) == 0:
        raise UserError(f"{WAIT_VARIABLE}={given}: give whole seconds, at least 1")
    return float(given)


def _host_and_port(given: str, default: int) -> tuple[str, int]:
    host, _, port = given.partition("/")[0].rpartition(":")
    return (host.strip("[]"), int(port)) if port.isdecimal() and host else (given.partition("/")[0], default)


def settings(chosen: Master, own_address: str | None, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of a new session, without those that the configuration folder has itself."""
    ours = dict(_QUIET)
    if chosen.is_local:
        ours |= _LOOPBACK
    elif own_address is not None:
        ours["spark.driver.host"] = own_address
        if own_address == "127.0.0.1":
            ours["spark.driver.bindAddress"] = own_address
    own = own_settings(environment)
    return {key: value for key, value in ours.items() if key not in own} | FIXED


def partitions(cores: int, *, local: bool) -> int:
    """Return into how many tasks a shuffle goes at most; Spark puts small ones together again."""
    return max(_LOCAL_PARTITIONS, cores) if local else max(_CLUSTER_PARTITIONS, _PARTITIONS_PER_CORE * cores)


def own_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what `spark-defaults.conf` of the caller's configuration folder says."""
    folder = environment.get("SPARK_CONF_DIR")
    file = Path(folder) / "spark-defaults.conf" if folder else CONFIGURATION / "spark-defaults.conf"
    if not file.is_file():
        return {}
    lines = (line.strip() for line in file.read_text(encoding="utf-8").splitlines())
    pairs = (re.split(r"[\s=:]+", line, maxsplit=1) for line in lines if line and not line.startswith("#"))
    return {pair[0]: pair[-1] for pair in pairs if len(pair) > 1}
