"""The notebook, run as a script against an installation, with nothing but the recipe's variables."""

from __future__ import annotations

import contextlib
import gzip
import io
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgpack
import pytest
import tdclient
from deltalake import DeltaTable

if TYPE_CHECKING:
    from tests.e2e.conftest import Sluice

pytestmark = [pytest.mark.serial, pytest.mark.timeout(120)]

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "first_look.py"
START = 1_767_225_600


def visitor(number: int, source: str, *, buys: bool) -> list[dict[str, Any]]:
    """Return a landing, and an order ten minutes later if he buys."""
    common = {"user_id": f"v{number}", "seq": number * 10}
    events = [{**common, "time": START + number, "event": "landing", "utm_source": source}]
    if buys:
        order = {"order_id": f"o{number}", "value_minor": 1_000}
        events.append(
            {**common, **order, "time": START + 600 + number, "event": "purchase", "seq": number * 10 + 1}
        )
    return events


@pytest.fixture(scope="module")
def imported(sluice: Sluice) -> None:
    """40 visitors: one in four from `google` buys, one in two from `newsletter`, none without a tag."""
    events = [
        event
        for number in range(40)
        for event in (
            visitor(number, "google", buys=number % 4 == 0)
            if number < 20
            else visitor(number, "newsletter", buys=number % 2 == 0)
            if number < 30
            else visitor(number, "", buys=False)
        )
    ]
    body = gzip.compress(b"".join(msgpack.packb(event) for event in events))
    with contextlib.closing(
        tdclient.Client(apikey=sluice.env["TD_API_KEY"], endpoint=sluice.env["TD_API_SERVER"])
    ) as td:
        td.create_database("shop")
        td.create_log_table("shop", "events")
        td.import_data("shop", "events", "msgpack.gz", io.BytesIO(body), len(body))


def run_notebook(sluice: Sluice, out: Path, **changed: str) -> subprocess.CompletedProcess[str]:
    recipe = {name: sluice.env[name] for name in ("TD_API_SERVER", "TD_API_KEY")}
    env = sluice.clean_env() | recipe | {"SLUICE_NOTEBOOK_OUT": str(out)} | changed
    return subprocess.run(
        [sys.executable, str(NOTEBOOK)],
        env=env,
        cwd=out,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_notebook_shows_rates_and_repeats_its_report(
    sluice: Sluice, imported: None, tmp_path: Path
) -> None:
    assert imported is None
    done = run_notebook(sluice, tmp_path)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["shop.events:", "50", "rows"] in lines
    assert [str(START + 628), "purchase", "v28"] in lines
    assert ["google", "20", "5", "25.0%"] in lines
    assert ["newsletter", "10", "5", "50.0%"] in lines
    assert ["(none)", "10", "0", "0.0%"] in lines
    assert ["last", "newsletter", "5.0", "50.0%"] in lines
    assert any(line[:4] == ["The", "same", "result", "twice:"] for line in lines)
    assert {path.name for path in (tmp_path / "again").iterdir()} >= {"attribution.parquet", "manifest.json"}


def test_the_notebook_says_what_is_wrong_with_a_database_that_is_not_there(
    sluice: Sluice, imported: None, tmp_path: Path
) -> None:
    assert imported is None
    done = run_notebook(sluice, tmp_path, SLUICE_NOTEBOOK_DATABASE="nowhere")
    assert done.returncode != 0
    assert "nowhere" in done.stderr


def test_the_tables_are_open_to_a_delta_reader_without_sluice(sluice: Sluice, imported: None) -> None:
    assert imported is None
    with contextlib.closing(
        tdclient.Client(apikey=sluice.env["TD_API_KEY"], endpoint=sluice.env["TD_API_SERVER"])
    ) as td:
        job = td.query("shop", "SELECT time, user_id, value_minor FROM events ORDER BY 1, 2", type="presto")
        job.wait()
        ours = [tuple(row) for row in job.result()]
    (folder,) = (sluice.home / "addon" / "warehouse").glob("*/shop/events")
    foreign = DeltaTable(folder).to_pyarrow_table(columns=["time", "user_id", "value_minor"])
    assert len(ours) == 50
    assert sorted(zip(*foreign.to_pydict().values(), strict=True)) == ours
