import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Quick start")


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    # Quick start: from events to a data frame, a chart and a report

    An app prints events, the add-on stores them as rows, and this notebook asks questions about them.
    By the end you will have read a table into a data frame in one call, drawn a chart, run an analysis,
    and run it a second time with the same result.

    **The data.** A shop that sells compact discs. Its purchases are real: the CDNOW sample, 2,357
    customers who first bought in the first quarter of 1997, followed to June 1998. Each purchase is
    played as a visit to the demo's shop: a `landing`, some `product_view`s, an `add_to_cart`, a
    `purchase`. If the account has no database `shop` yet, the first cell below makes it.

    **To follow along** you need a running add-on: `sluice up`, then `eval "$(sluice env)"` in the shell
    that starts the notebook: `marimo edit notebooks/quick_start.py`.
    """)
    return


@app.cell
def _():
    import altair as alt
    import marimo as mo
    import pandas as pd
    import tdclient
    from sluice_api import connect

    shop = connect()  # TREASURE_DATA_API_SERVER and TREASURE_DATA_API_KEY say where and who
    return alt, mo, pd, shop, tdclient


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    ## What is there

    Treasure Data's own Python client works as it is. It lists the account's databases and tables.
    """)
    return


@app.cell
def _(pd, shop, tdclient):
    with tdclient.Client(apikey=shop.key, endpoint=shop.server) as td:
        tables = pd.DataFrame(
            [
                {"database": database.name, "table": table.name, "rows": table.count}
                for database in td.databases()
                for table in database.tables()
            ]
        )
    tables
    return (tables,)


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    ## A data frame in one call

    There are three ways; all give the same rows. `frame` sends one HTTP request and reads an Arrow
    stream: the fastest, and every column keeps its type. It is twenty lines in `sluice_api.py`, and
    `shop.arrow(…)` gives the Arrow table itself, for polars or DuckDB.
    """)
    return


@app.cell
def _(shop):
    newest = shop.frame("""
        SELECT time, user_id, event, product FROM events ORDER BY time DESC, seq DESC LIMIT 5
    """)
    newest
    return (newest,)


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    With `pytd`, Treasure Data's client for data frames, it is one call, too. `force_tdclient=True`
    sends the query as a job over the REST API.
    """)
    return


@app.cell
def _(pd, shop):
    import pytd

    with pytd.Client(apikey=shop.key, endpoint=shop.server, database=shop.database) as warehouse:
        by_pytd = pd.DataFrame(
            **warehouse.query(
                "SELECT event, COUNT(*) AS events FROM events GROUP BY event ORDER BY events DESC, event",
                force_tdclient=True,
            )
        )
    by_pytd
    return (by_pytd,)


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    And with `td-client` alone, a job whose rows come as lists:
    """)
    return


@app.cell
def _(pd, shop, tdclient):
    with tdclient.Client(apikey=shop.key, endpoint=shop.server) as client:
        job = client.query(shop.database, "SELECT COUNT(DISTINCT user_id) AS customers FROM events")
        job.wait()
        by_td_client = pd.DataFrame(job.result(), columns=[name for name, _ in job.result_schema])
    by_td_client
    return (by_td_client,)


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    ## A first chart

    What did the shop take each month? Amounts are in cents (`value_minor`), so that they add up
    exactly; divide only to show them.
    """)
    return


@app.cell
def _(shop):
    months = shop.frame("""
        SELECT date_format(from_unixtime(time), '%Y-%m') AS month, COUNT(*) AS orders,
            SUM(value_minor) AS value_minor
        FROM events WHERE event = 'purchase'
        GROUP BY 1 ORDER BY 1
    """)
    months["dollars"] = months["value_minor"] / 100
    months
    return (months,)


@app.cell
def _(alt, months):
    alt.Chart(months, title="Orders by month, US dollars").mark_bar().encode(
        x=alt.X("month:O", title=None), y=alt.Y("dollars:Q", title="dollars")
    )
    return


@app.cell(hide_code=True)
def _(mo, months):
    _best = months.loc[months["value_minor"].idxmax()]
    _last = months.iloc[-1]
    mo.md(f"""
    **How to read it.** The best month is {_best["month"]} with {_best["orders"]:,} orders; in
    {_last["month"]} there were {_last["orders"]:,}. That is no collapse of the shop: everybody in these
    data first came in the first quarter of 1997, and nobody new was added later. Who is looked at
    matters as much as what is counted. The notebook `customer_report` follows these customers over
    time.
    """)
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    ## A first analysis

    SQL counts; an *analysis* answers a question that is hard to put in SQL. `funnel` tells how many
    visits reach each step, in order. Its inputs are `SELECT`s, its parameters have units and ranges:
    `python -m jobs describe funnel` prints them.
    """)
    return


@app.cell
def _(shop):
    run = shop.analyze(
        "funnel",
        {"events": "SELECT user_id, time, seq, event FROM events"},
        steps=["landing", "product_view", "add_to_cart", "purchase"],
        entity="session",
    )
    funnel = run.tables["funnel"][["step_name", "entities", "conversion_from_start", "ttc_p50_s"]]
    funnel
    return funnel, run


@app.cell
def _(alt, funnel):
    alt.Chart(funnel, title="Visits that reach each step").mark_bar().encode(
        x=alt.X("entities:Q", title="visits"), y=alt.Y("step_name:N", sort=None, title=None)
    )
    return


@app.cell(hide_code=True)
def _(funnel, mo):
    _visits, _bought = funnel["entities"].iloc[0], funnel["entities"].iloc[-1]
    mo.md(f"""
    **How to read it.** Of {_visits:,} visits {_bought:,} end with a purchase: {_bought / _visits:.1%}.
    That is far more than a real shop sees, because the data hold nearly only the visits of people who
    bought. `ttc_p50_s` is the median time from the landing to the step, in seconds.
    """)
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    The result stays on the add-on for 90 days, as tables that SQL reads like any other: select from it, join
    it, let a dashboard show it.
    """)
    return


@app.cell
def _(run, shop):
    from_the_run = shop.frame(f"""
        SELECT step_name, entities FROM runs.run_{run.number}.funnel WHERE step > 1 ORDER BY step
    """)
    from_the_run
    return (from_the_run,)


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    ## The same report again

    Each run leaves a *manifest*: what ran, with which parameters, on which versions of which tables,
    how many rows went in and how many were left out, and a hash of the result. Whoever has it can run
    the same again, also after new events have come in.
    """)
    return


@app.cell
def _(pd, run, shop):
    repeated = shop.again("funnel", run.manifest)
    hashes = pd.DataFrame(
        {
            "run": ["first", "again"],
            "result_hash": [run.manifest["result_hash"], repeated.manifest["result_hash"]],
        }
    )
    hashes
    return hashes, repeated


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    ## What to try next

    - Change the month query: one line for each `genre`, or the mean order.
    - Add `window=60` to the funnel: how many visits buy within a minute?
    - `conversion_path.py`: which channels bring the orders?
    - `ranking.py`: what sells best, and what is on its way up?
    - `customer_report.py`: who comes back, and what are they worth?
    - `clickstream.py`: how do people move through the shop?

    Your own data: `SLUICE_NOTEBOOK_DATABASE=mine marimo edit notebooks/quick_start.py` looks at the
    database `mine` instead of `shop`.
    """)
    return


if __name__ == "__main__":
    app.run()
