"""Where analyses run Spark, as far as the add-on must know: what their sandbox is shown of a cluster."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from addon.query.whole_table import pinned_table
from jobs.contracts.errors import UserError
from jobs.engines.spark_settings import (
    MASTER_VARIABLE,
    SHARED_VARIABLE,
    WAIT_VARIABLE,
    Master,
    master,
)
from platform_core.base.errors import InvalidInput
from platform_core.base.sandbox.spec import Bind, Network

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from addon.models.ingest import Warehouse
    from addon.query.service import Prepared

_FOLDERS = ("SPARK_CONF_DIR", "HADOOP_CONF_DIR", "YARN_CONF_DIR")
_PASSED = (MASTER_VARIABLE, SHARED_VARIABLE, WAIT_VARIABLE, "PYSPARK_PYTHON", "SPARK_LOCAL_IP", "KUBECONFIG")
_MARGIN_S = 3_600.0
_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io")


@dataclass(frozen=True, slots=True)
class SparkPlace:
    """A cluster. The driver needs the host's network: master and executors talk with it."""

    master: Master
    environment: Mapping[str, str]
    binds: tuple[Bind, ...]
    network: Network = Network.HOST

    @property
    def hostname(self) -> str:
        """The host's own name: Java looks up its address."""
        return socket.gethostname()


def spark_place(environment: Mapping[str, str] = os.environ) -> SparkPlace | None:
    """Return the cluster that the environment names; None where Spark runs in the analysis' own sandbox.

    Raises:
        InvalidInput: it names none that there can be.
    """
    try:
        chosen = master(environment)
    except UserError as error:
        raise InvalidInput(f"{error}.", hint="This is a setting of the service.") from error
    if chosen.is_local:
        return None
    passed = {name: environment[name] for name in (*_PASSED, *_FOLDERS) if environment.get(name)}
    shown = [Path(passed[name]).absolute() for name in (*_FOLDERS, "KUBECONFIG") if name in passed]
    shown += [_SERVICE_ACCOUNT] if _SERVICE_ACCOUNT.is_dir() else []
    return SparkPlace(chosen, passed, tuple(Bind(path, str(path)) for path in dict.fromkeys(shown)))


def write_pinned(
    prepared: Prepared, warehouse: Warehouse, place: SparkPlace, file: Path, seconds: float
) -> tuple[list[Bind], int] | None:
    """Write which files an input stands for, where the executors can read them; None where they cannot.

    Returns what the driver's sandbox must be shown for it, which is nothing where the files are in an object
    store, and the files' bytes. Signed addresses work for ``seconds`` and some more.

    Raises:
        Unavailable: the files cannot be had.
    """
    folders: set[Path] = set()

    def links(files: Sequence[Path]) -> Sequence[str]:
        found = warehouse.links(files, seconds + _MARGIN_S)
        local = [path for path, link in zip(files, found, strict=True) if link.startswith("file:")]
        folders.update(path.parent for path in local)
        if all(map(place.master.sees, folders)):
            with warehouse.reading() as lease:
                lease.fetch(local)  # which finds damaged ones
        return found

    pinned = pinned_table(prepared, links)
    if pinned is None or not all(map(place.master.sees, folders)):
        return None
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as target:
        json.dump(pinned.to_json(), target)
    binds = [Bind(folder, str(folder)) for folder in sorted(folders)]
    return binds, sum(one.size for one in pinned.files)
