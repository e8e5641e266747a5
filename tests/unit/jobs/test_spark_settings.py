"""Which Spark masters there are, what is set of them, what is said when one is away; without Spark itself."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jobs.contracts.errors import EngineError, UserError
from jobs.engines.spark_settings import master, own_settings, partitions, settings

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def of(url: str, **more: str) -> dict[str, str]:
    return {"SLUICE_SPARK_MASTER": url, **more}


@pytest.mark.parametrize("url", ["", "local", "local[3]", "local[*]", "local[2,4]"])
def test_local_masters_see_every_file(url: str) -> None:
    chosen = master(of(url))
    assert chosen.is_local
    assert chosen.addresses() == []
    assert chosen.sees(Path("/anywhere"))


@pytest.mark.parametrize(
    ("url", "addresses"),
    [
        ("spark://one:7077", [("one", 7077)]),
        ("spark://one:7077,two:7078", [("one", 7077), ("two", 7078)]),
        ("yarn", []),
        ("k8s://https://kube:6443", [("kube", 6443)]),
        ("k8s://https://kube", [("kube", 443)]),
        ("k8s://http://kube", [("kube", 80)]),
        ("sc://host", [("host", 15002)]),
        ("sc://host:99/;token=abc;use_ssl=true", [("host", 99)]),
        ("sc://[::1]:99", [("::1", 99)]),
    ],
)
def test_clusters_are_asked_where_they_listen(url: str, addresses: list[tuple[str, int]]) -> None:
    chosen = master(of(url))
    assert not chosen.is_local
    assert chosen.addresses() == addresses
    assert not chosen.sees(Path("/mnt/shared/x"))


@pytest.mark.parametrize(
    "url", ["flink://x", "spark://", "spark://host", "local[]", "sc://", "yarn-client", "k8s://"]
)
def test_what_is_no_master_is_refused_with_the_forms_there_are(url: str) -> None:
    with pytest.raises(UserError, match=r"is no Spark master: give local\[N\], spark://HOST:PORT"):
        master(of(url))


def test_a_token_is_not_shown() -> None:
    assert master(of("sc://host:1/;token=s3cret")).shown == "sc://host:1/"
    with pytest.raises(UserError) as caught:
        master(of("sx://host;token=s3cret"))
    assert "s3cret" not in str(caught.value)


def test_shared_folders_are_seen_under_their_own_paths() -> None:
    chosen = master(of("spark://one:1", SLUICE_SPARK_SHARED="/mnt/a:/mnt/b"))
    assert chosen.sees(Path("/mnt/a/x.parquet"))
    assert chosen.sees(Path("/mnt/b"))
    assert not chosen.sees(Path("/mnt/ab/x.parquet"))
    with pytest.raises(UserError, match="SLUICE_SPARK_SHARED: give absolute paths"):
        master(of("spark://one:1", SLUICE_SPARK_SHARED="data"))


@pytest.mark.parametrize("given", ["0", "-1", "soon", "1.5"])
def test_the_wait_is_whole_seconds(given: str) -> None:
    with pytest.raises(UserError, match="SLUICE_SPARK_WAIT_S"):
        master({"SLUICE_SPARK_WAIT_S": given})


def test_our_own_address_is_the_one_towards_the_master(listening: int) -> None:
    assert master(of(f"spark://127.0.0.1:{listening}")).reach() == "127.0.0.1"
    assert master(of("yarn")).reach() is None


def test_of_several_masters_one_is_enough(listening: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert master(of(f"spark://127.0.0.1:{port},127.0.0.1:{listening}")).reach() == "127.0.0.1"


def test_a_master_that_is_away_is_said_at_once_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(EngineError) as caught:
        master(of(f"spark://127.0.0.1:{port}")).reach()
    said = str(caught.value)
    assert f"the Spark master spark://127.0.0.1:{port} cannot be reached" in said
    assert "SLUICE_SPARK_MASTER" in said
    assert "engine duckdb" in said


def test_the_configuration_folder_wins_but_not_over_what_results_rest_on(tmp_path: Path) -> None:
    text = (
        "# a comment\nspark.executor.memory 3g\nspark.ui.enabled=true\n\nspark.driver.host: me\n"
        "spark.sql.ansi.enabled false\n"
    )
    (tmp_path / "spark-defaults.conf").write_text(text)
    environment = of("spark://one:1", SPARK_CONF_DIR=str(tmp_path))
    assert own_settings(environment)["spark.executor.memory"] == "3g"
    chosen = settings(master(environment), "10.0.0.7", environment)
    assert "spark.ui.enabled" not in chosen
    assert "spark.driver.host" not in chosen
    assert chosen["spark.sql.ansi.enabled"] == "true"


def test_a_driver_is_on_the_loopback_only_for_what_is_there() -> None:
    assert settings(master({}), None, {})["spark.driver.bindAddress"] == "127.0.0.1"
    near = settings(master(of("spark://127.0.0.1:1")), "127.0.0.1", {})
    assert (near["spark.driver.host"], near["spark.driver.bindAddress"]) == ("127.0.0.1", "127.0.0.1")
    far = settings(master(of("spark://one:1")), "10.0.0.7", {})
    assert far["spark.driver.host"] == "10.0.0.7"
    assert "spark.driver.bindAddress" not in far
    assert "spark.driver.host" not in settings(master(of("yarn")), None, {})


def test_spark_has_no_web_page_unless_it_is_asked_for() -> None:
    assert settings(master(of("spark://one:1")), None, {})["spark.ui.enabled"] == "false"


def test_a_cluster_gets_more_tasks_for_a_shuffle_than_a_machine() -> None:
    assert partitions(2, local=True) == 4
    assert partitions(8, local=True) == 8
    assert partitions(2, local=False) == 16
    assert partitions(100, local=False) == 400
