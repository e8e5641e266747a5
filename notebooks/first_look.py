# %% [markdown]
# # A first look at an app's events
#
# Open this file as a notebook (VS Code, PyCharm, Spyder, Jupyter with jupytext know `# %%` cells), or run it:
#
#     eval "$(sluice env)"
#     export TD_API_KEY=$(heroku config:get TREASURE_DATA_API_KEY --app shop)
#     python notebooks/first_look.py
#
# It is a customer like any other: two public clients, and the command line of the analyses. It needs
# `pip install td-client httpx pyarrow`. Without the `export`, it reads the local development account.
#
# | variable | meaning |
# | --- | --- |
# | `TD_API_SERVER`, `TD_API_KEY` | where the add-on is, and the key of an account (set by `sluice env`) |
# | `SLUICE_NOTEBOOK_DATABASE` | the database to look at; `shop` unless set |
# | `SLUICE_NOTEBOOK_OUT` | where files go; a new temporary folder unless set |

# %%
from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import tdclient

SERVER, KEY = os.environ["TD_API_SERVER"], os.environ["TD_API_KEY"]
DATABASE = os.environ.get("SLUICE_NOTEBOOK_DATABASE", "shop")
OUT = Path(os.environ.get("SLUICE_NOTEBOOK_OUT") or tempfile.mkdtemp(prefix="first-look-"))
OUT.mkdir(parents=True, exist_ok=True)

# %% [markdown]
# ## What is there
#
# Treasure Data's own client, unmodified: the newest events as rows, then databases and tables.

# %%
with tdclient.Client(apikey=KEY, endpoint=SERVER) as td:
    newest = "SELECT time, event, user_id FROM events ORDER BY time DESC LIMIT 5"
    job = td.query(DATABASE, newest, type="presto")
    job.wait()
    if not job.success():
        sys.exit(f"The query failed: {job.debug['stderr']}")
    print("The newest events:")
    for row in job.result():
        print(*row, sep="\t")
    print()
    for database in td.databases():
        for table in database.tables():
            print(f"{database.name}.{table.name}: {table.count:,} rows")


# %% [markdown]
# ## A table in one call
#
# The same SQL over HTTP answers as an Arrow stream, which pyarrow, pandas, polars and DuckDB read with types.
# `table(…).to_pandas()` makes a data frame where pandas is installed.


# %%
def table(sql: str) -> pa.Table:
    """Run SQL on the database and return its rows, typed."""
    answer = httpx.post(
        f"{SERVER}/sluice/v1/query",
        json={"sql": sql, "database": DATABASE},
        headers={"Authorization": f"TD1 {KEY}", "Accept": "application/vnd.apache.arrow.stream"},
        timeout=600,
    )
    if answer.is_error:
        sys.exit(f"The query failed: {answer.text}")
    return pa.ipc.open_stream(answer.content).read_all()


# %% [markdown]
# ## Conversion rate by source
#
# A visitor belongs to the source of his first landing, and converts when he buys at least once.

# %%
rates = table("""
    SELECT source, COUNT(*) AS visitors, SUM(bought) AS buyers, CAST(SUM(bought) AS DOUBLE) / COUNT(*) AS rate
    FROM (
        SELECT user_id,
            COALESCE(
                NULLIF(MIN_BY(utm_source, time) FILTER (WHERE event = 'landing'), ''), '(none)'
            ) AS source,
            MAX(CASE WHEN event = 'purchase' THEN 1 ELSE 0 END) AS bought
        FROM events GROUP BY user_id
    ) visitors
    GROUP BY source ORDER BY visitors DESC, source
""")
print(f"\n{'source':<16}{'visitors':>10}{'buyers':>10}{'rate':>9}")
for line in rates.to_pylist():
    print(f"{line['source']:<16}{line['visitors']:>10,}{line['buyers']:>10,}{line['rate']:>9.1%}")

# %% [markdown]
# ## A report, and the same report again
#
# An analysis takes tables and gives tables. Its inputs are frozen as Parquet files here, and it runs on this
# machine. It leaves its results and a manifest: the definition's version, every parameter, and the SHA-256 of
# every input.

# %%
INPUTS = {
    "touches": """
        SELECT user_id, time, seq, COALESCE(NULLIF(utm_source, ''), 'direct') AS channel
        FROM events WHERE event = 'landing'""",
    "conversions": """
        SELECT order_id AS conversion_id, user_id, time, value_minor
        FROM events WHERE event = 'purchase'""",
}
for name, sql in INPUTS.items():
    pq.write_table(table(sql), OUT / f"{name}.parquet")


COMMAND = [sys.executable, "-m", "jobs", "run"]


def jobs_run(*arguments: str) -> dict[str, object]:
    """Run an analysis by its command line; return the manifest that it leaves."""
    out = arguments[-1].removeprefix("--out=")
    done = subprocess.run(COMMAND + list(arguments), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(done.stderr)
    return json.loads(Path(out, "manifest.json").read_text())


inputs = [f"--input={name}={OUT / name}.parquet" for name in INPUTS]
params = json.dumps({"models": ["first", "last", "linear"], "lookback": 30 * 86_400})
first = jobs_run("attribution", *inputs, f"--params={params}", f"--out={OUT / 'run'}")

shares = pq.read_table(OUT / "run" / "attribution.parquet")
print(f"\n{'model':<10}{'channel':<16}{'conversions':>12}{'share':>9}")
for line in shares.to_pylist():
    share = "" if line["share"] is None else f"{line['share']:.1%}"
    print(f"{line['model']:<10}{line['channel']:<16}{line['conversions']:>12,.1f}{share:>9}")

# %% [markdown]
# Whoever has the folder can make the report again. The command refuses inputs that have changed, and fails
# when the result is another one.

# %%
again = jobs_run(f"--from-manifest={OUT / 'run' / 'manifest.json'}", f"--out={OUT / 'again'}")
if again["result_hash"] != first["result_hash"]:
    sys.exit("The second run differs from the first.")
print(f"\nThe same result twice: {first['result_hash']}")
print(f"Files: {OUT}")
