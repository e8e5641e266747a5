"""pytd's ``load_table_from_dataframe`` with its default writer, bulk import, as it is."""

from __future__ import annotations

import uuid
import warnings
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from tests.clients.td_addon import Running, start, stop
from tests.ports import free_base

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import pytd

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
"""pytd leaves its temporary files to the garbage collector."""
NOW = 1_764_000_000


@pytest.fixture(scope="module")
def addon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = start(tmp_path_factory.mktemp("home"), free_base())
    yield running
    stop(running)


@pytest.fixture
def database(addon: Running) -> str:
    name = f"pytd_{uuid.uuid4().hex[:10]}"
    with addon.client() as client:
        client.create_database(name)
    return name


@pytest.fixture
def client(addon: Running, database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytd.Client]:
    monkeypatch.setenv("TD_PRESTO_API", addon.url)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = pytd.Client(apikey=addon.keys["td_api_key"], endpoint=addon.url, database=database)
    yield made
    made.close()


def selected(addon: Running, database: str, sql: str) -> list[Any]:
    with addon.http() as client:
        answer = client.post("/sluice/v1/query", json={"sql": sql, "database": database})
    assert answer.status_code == 200, answer.text
    rows: list[Any] = answer.json()["rows"]
    return rows


def columns(addon: Running, database: str, table: str) -> dict[str, str]:
    with addon.client() as client:
        return {name: kind for name, kind, *_ in client.api.list_tables(database)[table]["schema"]}


def test_a_frame_is_loaded_as_csv_without_its_index(
    addon: Running, client: pytd.Client, database: str
) -> None:
    frame = pd.DataFrame(
        {
            "time": [NOW, NOW + 1, NOW + 2],
            "n": [1, 2, 3],
            "d": [0.5, None, 2.5],
            "text": ["a", None, "caf\u00e9"],
            "flag": [True, False, True],
            "maybe": pd.array([7, None, 9], dtype="Int64"),
        }
    )
    client.load_table_from_dataframe(frame, f"{database}.loaded", if_exists="overwrite")
    assert "" not in columns(addon, database, "loaded")
    assert set(columns(addon, database, "loaded")) == {"n", "d", "text", "flag", "maybe"}
    rows = selected(addon, database, "SELECT time, n, d, text, flag, maybe FROM loaded ORDER BY time")
    assert [row[:2] for row in rows] == [[NOW, 1], [NOW + 1, 2], [NOW + 2, 3]]
    assert [row[2] or None for row in rows] == [0.5, None, 2.5]
    assert [row[3] or None for row in rows] == ["a", None, "caf\u00e9"]
    assert [str(row[4]).lower() for row in rows] == ["true", "false", "true"]
    assert [row[5] and float(row[5]) for row in rows] in ([7, None, 9], [7, "", 9])


@pytest.mark.slow
def test_a_frame_is_appended_as_msgpack_in_parts(addon: Running, client: pytd.Client, database: str) -> None:
    def frame(first: int) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "time": range(NOW + first, NOW + first + 500),
                "n": range(first, first + 500),
                "maybe": pd.array([None, 1] * 250, dtype="Int64"),
                "many": [[1, 2]] * 500,
            }
        )

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for first in (0, 500):
            client.load_table_from_dataframe(
                frame(first), f"{database}.parts", if_exists="append", fmt="msgpack", chunk_record_size=100,
                keep_list=True,
            )  # fmt: skip
    sql = "SELECT count(*), sum(n), sum(maybe), count(DISTINCT time) FROM parts"
    assert selected(addon, database, sql) == [[1000, 499_500, 500, 1000]]
    with addon.client() as td:
        assert td.bulk_imports() == [], "pytd deletes its sessions"


def test_a_frame_without_rows_is_an_error_as_pytd_makes_it(client: pytd.Client, database: str) -> None:
    frame = pd.DataFrame({"time": pd.array([], dtype="int64"), "n": pd.array([], dtype="int64")})
    with pytest.raises(RuntimeError, match="no records have been imported"):
        client.load_table_from_dataframe(frame, f"{database}.empty", if_exists="overwrite")
