"""Analyses by way of a Spark Connect server, which sees neither our disk nor our credentials."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.contracts import test_engines_agree_customers as customers_agree
from tests.contracts import test_journeys_agree as journeys_agree
from tests.contracts.pinned_tables import as_files, as_objects, aws
from tests.contracts.spark_driver import CONFIGURATION, QUICK, SparkDriver
from tests.contracts.test_spark_cluster import SECRETS, agree
from tests.object_servers import ObjectServer, moto
from tests.ports import free_base
from tests.spark_cluster import SPARK_HOME

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jobs.engines.duck import DuckEngine

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("spark"), pytest.mark.timeout(600)]

TOKEN = "l3t-me-in"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A server's port. It asks for a token, as one that others can reach must."""
    if importlib.util.find_spec("grpc") is None:
        pytest.fail("the client of Spark Connect is not installed: `make test-all` does it")
    folder, port = tmp_path_factory.mktemp("connect"), free_base()
    settings = {
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.connect.grpc.binding.port": str(port),
        "spark.connect.authenticate.token": TOKEN,
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
    }
    argv = [str(SPARK_HOME / "bin" / "spark-submit"), "--master", "local[2]"]
    argv += ["--class", "org.apache.spark.sql.connect.service.SparkConnectServer"]
    for key, value in settings.items():
        argv += ["--conf", f"{key}={value}"]
    environment = os.environ | {
        "SPARK_HOME": str(SPARK_HOME),
        "SPARK_CONF_DIR": str(CONFIGURATION),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_SUBMIT_OPTS": QUICK,
        "PYSPARK_PYTHON": sys.executable,
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*argv, "spark-internal"], env=environment, stdout=log, stderr=log, cwd=folder
        )
    try:
        deadline = time.monotonic() + 180
        while not listens(port):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)  # nothing tells us when it listens
        yield port
    finally:
        process.terminate()
        try:
            process.wait(30)
        finally:
            process.kill()


def listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1):
            return True
    except OSError:
        return False


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectServer]:
    with moto(free_base()) as running:
        yield running


@pytest.fixture(scope="module")
def driver(
    server: int, store: ObjectServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SparkDriver]:
    # Spelled localhost: a token makes the client ask for TLS of every other host.
    url = f"sc://localhost:{server}/;token={TOKEN}"
    with SparkDriver(tmp_path_factory.mktemp("driver"), {}, SLUICE_SPARK_MASTER=url, **aws(store)) as running:
        yield running


def test_files_of_the_client_and_a_pinned_version_in_a_bucket_give_what_duckdb_gives(
    duck: DuckEngine, driver: SparkDriver, store: ObjectServer, tmp_path: Path
) -> None:
    for name, tables, params in (
        ("rfm", {"transactions": customers_agree.tables("rfm")["transactions"]}, {}),
        ("funnel", journeys_agree.tables(), {"steps": ["view", "cart"], "window": 86_400, "stitch": "graph"}),
    ):
        for inputs in (as_files(tables, tmp_path / name), as_objects(tables, store, tmp_path / f"s3-{name}")):
            agree(duck, driver.run(name, inputs, params), name, tables, params)
    assert [secret for secret in (*SECRETS, TOKEN) if secret in driver.said()] == []


def test_a_server_that_is_away_is_an_error_at_once_that_shows_no_token(tmp_path: Path) -> None:
    url = f"sc://localhost:{free_base()}/;token={TOKEN}"
    items = as_files({"transactions": customers_agree.tables("rfm")["transactions"]}, tmp_path / "in")
    with SparkDriver(tmp_path, {}, SLUICE_SPARK_MASTER=url) as alone:
        begun = time.monotonic()
        found = alone.run("rfm", items, {})
        assert time.monotonic() - begun < 60
    assert "cannot be reached" in found.error
    assert TOKEN not in found.error
