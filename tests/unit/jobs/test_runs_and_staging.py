"""Running from files: contracts kept or refused, manifests that repeat, and the command line's manners."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.contracts.errors import EngineError, InputError, UnknownAnalysisError
from jobs.engine.staging import Source
from jobs.engines.duck import DuckEngine
from jobs.registry import find, names
from jobs.run import results
from jobs.run.cli import main
from jobs.run.hashing import OutputHash, hash_outputs, hash_tables
from jobs.run.runner import run_analysis

ROOT = Path(__file__).parents[3]
ENGINES = {"duckdb": DuckEngine, "spark": DuckEngine}
CSV = 'client,when,cents,note\n1,1000,5,"a,b"\n2,2000,-7,\n,3000,1,x\n3,,1,x\n4,99999999999999,1,x\n'
MAPPING = [
    "--map",
    "transactions.customer_id=client",
    "--map",
    "transactions.time=when",
    "--map",
    "transactions.amount_minor=cents",
]


@pytest.fixture
def purchases(tmp_path: Path) -> Path:
    file = tmp_path / "purchases.csv"
    file.write_text(CSV, encoding="utf-8")
    return file


def cli(*arguments: str | Path) -> int:
    return main([str(argument) for argument in arguments], ENGINES)


def test_a_run_writes_parquet_and_a_manifest_that_repeats(
    purchases: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, again = tmp_path / "first", tmp_path / "again"
    arguments = [
        "run",
        "rfm",
        "--input",
        f"transactions={purchases}",
        *MAPPING,
        "--snapshot",
        "transactions=7",
    ]
    assert cli(*arguments, "--params", '{"buckets": 2}', "--out", first) == 0
    manifest = json.loads((first / "manifest.json").read_text())
    assert manifest["rows_in"] == {"transactions": 5}
    assert manifest["rows_excluded"] == {
        "transactions": {"null_customer_id": 1, "null_time": 1, "time_out_of_range": 1}
    }
    assert (manifest["analysis"], manifest["engine"], manifest["params"]["buckets"]) == ("rfm", "duckdb", 2)
    assert manifest["inputs"]["transactions"]["snapshot"] == "7"
    assert pq.read_table(first / "rfm.parquet").column("customer_id").to_pylist() == ["1"]
    assert cli("run", "--from-manifest", first / "manifest.json", "--out", again) == 0
    repeated = json.loads((again / "manifest.json").read_text())
    assert {key: repeated[key] for key in ("result_hash", "params", "inputs", "rows_in")} == {
        key: manifest[key] for key in ("result_hash", "params", "inputs", "rows_in")
    }
    assert "rfm.parquet  1 rows" in capsys.readouterr().out


def test_a_run_tells_how_far_it_has_come(purchases: Path, tmp_path: Path, duck: DuckEngine) -> None:
    told: list[tuple[str, int]] = []
    names = {"customer_id": "client", "time": "when", "amount_minor": "cents"}
    source = Source(files=(purchases,), names=names)
    run_analysis("rfm", duck, {"transactions": source}, progress=lambda *word: told.append(word))
    assert [stage for stage, _ in told[:2]] == ["staging", "computing"]
    assert told[-1] == ("writing", 90)
    assert [percent for _, percent in told] == sorted(percent for _, percent in told)
    assert cli(
        "run", "rfm", "--input", f"transactions={purchases}", *MAPPING,
        "--out", tmp_path / "out", "--progress", tmp_path / "progress.json",
    ) == 0  # fmt: skip
    assert json.loads((tmp_path / "progress.json").read_text()) == {"stage": "writing", "percent": 90}


def test_a_manifest_with_relative_inputs_repeats_from_another_folder(
    purchases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(purchases.parent)
    given = ["run", "rfm", "--input", f"transactions={purchases.name}", *MAPPING]
    assert cli(*given, "--out", tmp_path / "first") == 0
    monkeypatch.chdir(tmp_path)
    assert cli("run", "--from-manifest", "first/manifest.json", "--out", tmp_path / "again") == 0


def test_a_manifest_whose_input_changed_is_not_repeated(
    purchases: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli("run", "rfm", "--input", f"transactions={purchases}", *MAPPING, "--out", tmp_path / "o")
    purchases.write_text(CSV + "9,9,9,\n", encoding="utf-8")
    assert cli("run", "--from-manifest", tmp_path / "o" / "manifest.json", "--out", tmp_path / "p") == 2
    assert "changed since the manifest was written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nope", "--out", "x"], "no analysis 'nope'; there are sessions"),
        (["run", "rfm", "--out", "x"], "give --input transactions=FILE"),
        (["run", "rfm", "--input", "transactions=none.csv", "--out", "x"], "no such file: none.csv"),
        (["run", "rfm", "--input", "orders=none.csv", "--out", "x"], "rfm has no input orders; it reads"),
        (["run", "rfm", "--input", "transactions", "--out", "x"], "write TABLE=FILE"),
        (["run", "rfm", "--params", "{", "--out", "x"], "--params is not JSON"),
        (["run", "rfm", "--params", "[]", "--out", "x"], "--params must be a JSON object"),
        (["run", "rfm", "--map", "a.b=c", "--out", "x"], "write TABLE.COLUMN=NAME"),
        (["run", "rfm", "--engine", "hive", "--out", "x"], "invalid choice: 'hive'"),
        (["run", "--from-manifest", "none.json", "--out", "x"], "none.json: No such file"),
        (["describe", "nope"], "no analysis 'nope'"),
        ([], "arguments are required: command"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli(*arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("name", names())
def test_every_analysis_describes_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli("describe", name, "--json") == 0
    described = json.loads(capsys.readouterr().out)
    assert described["inputs"]
    assert described["parameters"]
    assert all(output["key"] for output in described["outputs"])
    assert cli("describe", name) == 0
    text = capsys.readouterr().out
    assert all(f"{parameter['name']}: " in text for parameter in described["parameters"])


def events(**columns: Any) -> pa.Table:
    base = {"user_id": ["u", "u"], "time": [1, 2], "seq": [1, 2], "event": ["a", "b"]}
    return pa.table({key: value for key, value in (base | columns).items() if value is not None})


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (events(seq=None), r"events: column seq \(BIGINT\) is missing; the file has user_id, time, event"),
        (events(time=[1.5, 2.5]), "column time is DOUBLE; time must be BIGINT of Unix seconds"),
        (events(event=[True, False]), "column event is BOOLEAN"),
        (events(time=[1_700_000_000_000, 1_700_000_000_001]), "are these milliseconds"),
    ],
)
def test_a_broken_contract_is_refused_with_its_column(
    duck: DuckEngine, table: pa.Table, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        run_analysis("sessions", duck, {"events": table})


@pytest.mark.parametrize("text", ["1.5", "1_000", "0x10", "1e3", "abc"])
def test_csv_texts_that_are_no_integers_are_refused(duck: DuckEngine, tmp_path: Path, text: str) -> None:
    file = tmp_path / "t.csv"
    file.write_text(f"customer_id,time,amount_minor\na,5,7\nb,6,{text}\n", encoding="utf-8")
    with pytest.raises(
        InputError, match=f"1 values of column amount_minor are not BIGINT, for example '{text}'"
    ):
        run_analysis("rfm", duck, {"transactions": file})


def test_repeated_events_count_once_and_are_reported(duck: DuckEngine) -> None:
    table = events(user_id=["u", "u"], time=[5, 5], seq=[1, 1], event=["b", "a"])
    result = run_analysis("sessions", duck, {"events": table})
    assert result.tables["sessions"].column("entry_event").to_pylist() == ["a"]
    assert result.manifest["rows_excluded"] == {"events": {"duplicate": 1}}


def test_integers_may_name_users_and_other_columns_are_ignored(duck: DuckEngine) -> None:
    table = events(user_id=[7, 8], other=[[1], [2]])
    sessions = run_analysis("sessions", duck, {"events": table}).tables["sessions"]
    assert sessions.column("user_id").to_pylist() == ["7", "8"]


def test_a_renamed_column_must_exist(duck: DuckEngine) -> None:
    with pytest.raises(InputError, match="column visitor"):
        run_analysis("sessions", duck, {"events": Source(table=events(), names={"user_id": "visitor"})})
    with pytest.raises(InputError, match="events has no such column"):
        run_analysis("sessions", duck, {"events": Source(table=events(), names={"uid": "user_id"})})


def test_unknown_names_are_refused_before_anything_is_read() -> None:
    with pytest.raises(UnknownAnalysisError, match="forecast"):
        find("forecast")


def test_the_hash_sees_values_not_row_order_nor_last_bits() -> None:
    one = pa.table({"k": ["a", "b"], "x": [0.1 + 0.2, None]})
    other = pa.table({"k": ["b", "a"], "x": [None, 0.3]})
    changed = pa.table({"k": ["b", "a"], "x": [None, 0.300001]})

    def digest(table: pa.Table) -> str:
        return hash_tables({"t": (table, ["k"])})

    assert digest(one) == digest(other)
    assert digest(one) != digest(changed)
    assert digest(pa.table({"k": ["ab", "c"]})) != digest(pa.table({"k": ["a", "bc"]}))


@pytest.mark.xdist_group("spark")
def test_the_program_gives_the_same_hash_on_both_engines(purchases: Path, tmp_path: Path) -> None:
    hashes = []
    for engine in ("duckdb", "spark"):
        out = tmp_path / engine
        command = [
            sys.executable,
            "-m",
            "jobs",
            "run",
            "customer_summary",
            "--engine",
            engine,
            "--out",
            str(out),
        ]
        done = subprocess.run(
            [*command, "--input", f"transactions={purchases}", *MAPPING],
            cwd=ROOT,
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        hashes.append(json.loads((out / "manifest.json").read_text())["result_hash"])
    assert hashes[0] == hashes[1]


def test_duckdb_runs_without_loading_spark() -> None:
    code = "import sys, jobs.__main__ as m; m.ENGINES['duckdb'](); print('pyspark' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"


@given(st.integers(100_000_000, 999_999_999), st.integers(-12, 2), st.sampled_from([-3, -1, 0, 1, 3]))
def test_noise_in_the_last_bits_does_not_decide_how_a_nine_digit_tie_is_hashed(
    digits: int, exponent: int, ulps: int
) -> None:
    tie = (digits + 0.5) * 10.0**exponent
    noisy = tie + ulps * math.ulp(tie)
    one, other = (hash_tables({"t": (pa.table({"x": [value]}), [])}) for value in (tie, noisy))
    assert one == other


def test_what_cancels_out_is_hashed_as_zero_and_small_numbers_are_not() -> None:
    def hashed(value: float) -> str:
        return hash_tables({"t": (pa.table({"x": [value]}), [])})

    assert hashed(0.1 + 0.2 - 0.3) == hashed(0.0) == hashed(-0.0)
    assert hashed(1e-9) != hashed(0.0)
    assert hashed(1.00000001) != hashed(1.00000002)


def test_times_beyond_every_integer_are_out_of_range(duck: DuckEngine) -> None:
    table = events(time=pa.array([5, 2**64 - 1], pa.uint64()))
    result = run_analysis("sessions", duck, {"events": table})
    assert result.tables["sessions"].num_rows == 1
    assert result.manifest["rows_excluded"] == {"events": {"time_out_of_range": 1}}


def test_an_output_that_is_not_asked_for_any_more_does_not_stay(duck: DuckEngine, tmp_path: Path) -> None:
    params: dict[str, Any] = {"steps": ["x"]}
    run_analysis("funnel", duck, {"events": events()}, params | {"with_entities": True}, tmp_path)
    assert (tmp_path / "funnel_entities.parquet").exists()
    kept = tmp_path / "notes.parquet"
    kept.write_bytes(b"mine")
    result = run_analysis("funnel", duck, {"events": events()}, params, tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"funnel.parquet", "manifest.json", "notes.parquet"}
    assert set(result.manifest["outputs"]) == {"funnel"}


def test_a_breakdown_without_its_column_is_refused(duck: DuckEngine) -> None:
    with pytest.raises(InputError, match=r"column breakdown is missing; .* --map events\.breakdown=NAME"):
        run_analysis("funnel", duck, {"events": events()}, {"steps": ["x"], "breakdown": "first"})


def test_names_that_results_keep_for_themselves_are_refused(duck: DuckEngine) -> None:
    """Else two rows of a result would have one key."""
    touches = pa.table({"user_id": ["u"], "time": [1], "seq": [1], "channel": ["(unattributed)"]})
    conversions = pa.table({"conversion_id": ["c"], "user_id": ["u"], "time": [2]})
    inputs = {"touches": touches, "conversions": conversions}
    reserved = r"channel '\(unattributed\)' is the name of conversions without a touch; rename it"
    for name in ("attribution", "paths"):
        with pytest.raises(InputError, match=reserved):
            run_analysis(name, duck, inputs)
    aggregated = pa.table({"path": ["a > (unattributed)"], "conversions": [1]})
    with pytest.raises(InputError, match=reserved):
        run_analysis("attribution", duck, {"paths": aggregated})
    paid = pa.table({"channel": ["(unattributed)"], "spend_minor": [1]})
    with pytest.raises(InputError, match=reserved):
        run_analysis("attribution", duck, {"paths": aggregated.slice(0, 0), "spend": paid})
    items = pa.table({"item": ["(other)", "a"], "value": [1, 2]})
    with pytest.raises(InputError, match=r"item '\(other\)' is the name of what the cut leaves out"):
        run_analysis("ranking", duck, {"items": items}, {"top": 1, "other": True})
    assert run_analysis("ranking", duck, {"items": items}).tables["ranking"].num_rows == 2
    for name, params in (("path_end", {}), ("path_start", {"start": "x"})):
        ended = events(event=["x", name])
        with pytest.raises(InputError, match=f"event '{name}' is the name of the ends of a path; rename it"):
            run_analysis("paths", duck, {"events": ended}, params)


def test_the_files_of_an_input_are_of_one_form(duck: DuckEngine, tmp_path: Path) -> None:
    header = ["user_id", "time", "seq", "event"]
    for name, mark in (("a", ","), ("b", ";"), ("c", ",")):
        (tmp_path / f"{name}.csv").write_text(f"{mark.join(header)}\n{mark.join([name, '1', '1', 'x'])}\n")
    pq.write_table(events(), tmp_path / "d.parquet")
    for other in ("b.csv", "d.parquet"):
        files = (tmp_path / "a.csv", tmp_path / other)
        with pytest.raises(InputError, match="events: its files are of different forms"):
            run_analysis("sessions", duck, {"events": Source(files=files)})
    both = Source(files=(tmp_path / "a.csv", tmp_path / "c.csv"))
    found = run_analysis("sessions", duck, {"events": both}).tables["sessions"]
    assert found["user_id"].to_pylist() == ["a", "c"]


def test_a_result_is_hashed_the_same_in_pieces_of_any_size() -> None:
    table = pa.table(
        {
            "k": ["a", "b", None, "ä", ""],
            "n": [1, None, 3, 4, -5],
            "x": [0.1, float("nan"), float("-inf"), None, -1e300],
            "b": [True, False, None, True, False],
        }
    )
    whole = hash_tables({"t": (table, [])})
    for size in (1, 2, 3):
        pieces = OutputHash(table.column_names)
        for start in range(0, table.num_rows, size):
            pieces.update(table.slice(start, size))
        assert hash_outputs({"t": pieces}) == whole


def test_written_outputs_hash_like_those_in_memory_whoever_sorts_them(tmp_path: Path) -> None:
    engine = DuckEngine(threads=1)
    inputs = {"events": events()}
    in_memory = run_analysis("paths", engine, inputs)
    with mock.patch.object(results, "_SORTED_HERE", 0), mock.patch.object(results, "_ROW_GROUP", 1):
        written = run_analysis("paths", engine, inputs, out=tmp_path)
    engine.close()
    assert written.manifest["result_hash"] == in_memory.manifest["result_hash"]
    assert {name: written.tables[name] for name in written.tables} == dict(in_memory.tables)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "manifest.json",
        "paths.parquet",
        "step_matrix.parquet",
        "transitions.parquet",
    ]


def test_a_run_that_fails_leaves_no_half_written_output(tmp_path: Path) -> None:
    engine = DuckEngine(threads=1)
    with (
        mock.patch.object(results.Result, "_checked", side_effect=EngineError("the disk is gone")),
        pytest.raises(EngineError, match="disk"),
    ):
        run_analysis("paths", engine, {"events": events()}, out=tmp_path)
    engine.close()
    assert not list(tmp_path.iterdir())


def test_a_sum_beyond_64_bits_says_where_to_look(run: Any) -> None:
    rows = [{"customer_id": "c", "time": time, "amount_minor": (1 << 63) - 1} for time in (0, 1)]
    with pytest.raises(EngineError, match=r"does not fit into 64 bits .*: look for wrong values"):
        run("rfm", {"transactions": rows})
