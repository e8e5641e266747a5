"""Attribution beside ChannelAttribution (C++ behind Python, in the peers' environment), on the same paths.

Both read the paths before the clock starts, in the form each is made for: a Parquet file on disk for ours, a
frame in memory for the peer. Ours also checks the input and hashes the file and the result for the manifest.
Results are compared before any time is reported. The peer simulates Markov walks where ours solves, so these
agree within its error. Its default stops at an error of 5 % and cuts walks at the longest path seen; its
tight run stops at 0.5 % and lets them end.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jobs.engines.duck import DuckEngine
from jobs.run.runner import run_analysis
from tests.benchmarks.figures import Figure, interleaved, timed

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = "attribution"
ROWS: Final = 1_000_000
SMALL: Final = 10_000
ROUNDS: Final = 3
PEERS: Final = Path(__file__).parents[2] / ".venv" / "peers" / "bin" / "python"
HEURISTICS: Final = ("first", "last", "linear")
CHANNELS: Final = 12
#: Which part of all conversions a channel's simulated credit may be off.
CLOSE: Final = {"default": 0.03, "tight": 0.004}

PEER: Final = """
import importlib.metadata, json, sys, time
import pyarrow.parquet
from ChannelAttribution import heuristic_models, markov_model
data = pyarrow.parquet.read_table(sys.argv[1]).to_pandas()
begun = time.perf_counter()
if sys.argv[2] == "heuristics":
    found = heuristic_models(data, "path", "conversions", var_value="value_minor", flg_pro=False)
else:
    more = {"conv_par": 0.005, "max_step": 1000} if sys.argv[2] == "tight" else {}
    found = markov_model(
        data, "path", "conversions", var_value="value_minor", var_null="nulls", flg_pro=False, **more
    )
seconds = time.perf_counter() - begun
version = importlib.metadata.version("ChannelAttribution")
print("RESULT" + json.dumps([seconds, version, found.to_dict("records")]))
"""


def figures() -> list[Figure]:
    """Measure the heuristics and Markov on a million paths, and Markov on ten thousand."""
    with tempfile.TemporaryDirectory() as folder:
        large = _write(Path(folder) / "large.parquet", ROWS, longest=9)
        small = _write(Path(folder) / "small.parquet", SMALL, longest=12)
        return [
            _beside("heuristics_1m", large, list(HEURISTICS), "heuristics", "<= 0.4 x peer"),
            _beside("markov_1m", large, ["markov"], "default", "<= 1 x peer"),
            _beside("markov_10k", small, ["markov"], "tight", "<= 0.01 x peer"),
        ]


def _write(file: Path, rows: int, *, longest: int) -> Path:
    """Aggregated paths of 1 to `longest` touches, some channels rare, from one seed."""
    rng = np.random.default_rng(2026)
    lengths = rng.integers(1, longest + 1, rows)
    weights = 0.7 ** np.arange(CHANNELS)
    drawn = rng.choice(CHANNELS, int(lengths.sum()), p=weights / weights.sum())
    names = [f"channel {number}" for number in range(CHANNELS)]
    touches = [names[number] for number in drawn]
    ends = np.cumsum(lengths).tolist()
    conversions = rng.poisson(0.6, rows)
    columns: dict[str, Any] = {
        "path": [" > ".join(touches[begin:end]) for begin, end in zip([0, *ends[:-1]], ends, strict=True)],
        "conversions": conversions,
        "value_minor": conversions * rng.integers(100, 9_000, rows),
        "nulls": rng.poisson(2, rows),
    }
    pq.write_table(pa.table(columns), file)
    return file


def _beside(label: str, file: Path, models: list[str], mode: str, bar: str) -> Figure:
    engine = DuckEngine()

    def ours() -> list[dict[str, Any]]:
        result = run_analysis("attribution", engine, {"paths": file}, {"models": models})
        found: list[dict[str, Any]] = result.tables["attribution"].to_pylist()
        return found

    mine, (first, version, theirs) = ours(), _peer(file, mode)
    _compare(mine, theirs, mode)
    # The tight run takes minutes: that of the comparison is its measurement.
    again = (lambda: first) if mode == "tight" else (lambda: _peer(file, mode)[0])
    variants: dict[str, Callable[[], float]] = {"ours": timed(ours), "peer": again}
    medians = interleaved(variants, ROUNDS)
    engine.close()
    return Figure.measured(
        f"attribution.{label}",
        medians["ours"],
        "s",
        bar=bar,
        peer=f"ChannelAttribution {version} {mode}",
        peer_value=medians["peer"],
    )


def _peer(file: Path, mode: str) -> tuple[float, str, list[dict[str, Any]]]:
    """The peer's own seconds, its version and its rows."""
    if not PEERS.exists():
        raise RuntimeError("the peers are missing: `make bench` installs them")
    done = subprocess.run(
        [str(PEERS), "-c", PEER, str(file), mode], capture_output=True, text=True, check=True, timeout=600
    )
    seconds, version, rows = json.loads(done.stdout.partition("RESULT")[2])
    return seconds, version, rows


def _compare(mine: list[dict[str, Any]], theirs: list[dict[str, Any]], mode: str) -> None:
    """Refuse to report times of different results."""
    found = {(row["model"], row["channel"]): row["conversions"] for row in mine}
    for row in theirs:
        channel = row["channel_name"]
        if mode == "heuristics":
            pairs = [(found[model, channel], row[f"{model}_touch_conversions"]) for model in HEURISTICS]
            allowed = 1e-9 * sum(found.values())
        else:
            pairs = [(found["markov", channel], row["total_conversions"])]
            allowed = CLOSE[mode] * sum(found.values())
        for ours, peers in pairs:
            if abs(ours - peers) > allowed:
                raise RuntimeError(f"{mode}: the credits of {channel} differ: {ours} is not {peers}")
