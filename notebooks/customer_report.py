import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Customer report")


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    # Customer report: who comes back, and what are they worth?

    **The question.** Some customers buy once, some for years. Who are the good ones, how many come
    back, and what may be expected of each?

    **The data.** The demo's disc shop ([quick start](quick_start.html)). The purchases are real: the
    CDNOW sample, on which the models below were published, so that their figures can be checked against
    the literature.
    """)
    return


@app.cell
def _():
    import altair as alt
    import marimo as mo
    import pandas as pd
    from sluice_api import connect

    shop = connect()

    TRANSACTIONS = """
        SELECT user_id AS customer_id, time, value_minor AS amount_minor
        FROM events WHERE event = 'purchase'
    """
    PURCHASES = "SELECT user_id, time, seq, event FROM events WHERE event = 'purchase'"
    return PURCHASES, TRANSACTIONS, alt, mo, pd, shop


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    ## Segments by recency, frequency and money

    `rfm` gives each customer three scores from 1 to 5: how recently they bought, how often, and for how
    much. Five is best. The scores cut the customers into fifths, and a table of names turns scores into
    segments. The names can be replaced by your own (input `rfm_segments`).
    """)
    return


@app.cell
def _(TRANSACTIONS, shop):
    scores = shop.analyze("rfm", {"transactions": TRANSACTIONS}).tables["rfm"]
    segments = (
        scores.groupby("segment")
        .agg(
            customers=("customer_id", "size"),
            median_days_since=("recency_days", "median"),
            mean_orders=("frequency", "mean"),
            total_minor=("monetary_minor", "sum"),
        )
        .reset_index()
        .sort_values(["total_minor", "segment"], ascending=[False, True])
    )
    segments["dollars"] = segments["total_minor"] / 100
    segments["share"] = segments["total_minor"] / segments["total_minor"].sum()
    segments[["segment", "customers", "median_days_since", "mean_orders", "dollars", "share"]]
    return scores, segments


@app.cell
def _(alt, segments):
    alt.Chart(segments, title="What each segment has spent, US dollars").mark_bar().encode(
        x=alt.X("dollars:Q", title="dollars"), y=alt.Y("segment:N", sort="-x", title=None)
    )
    return


@app.cell(hide_code=True)
def _(mo, segments):
    _top = segments.iloc[0]
    mo.md(f"""
    **How to read it.** *{_top["segment"]}* are {_top["customers"]:,} of {segments["customers"].sum():,}
    customers and {_top["share"]:.0%} of the money. Write to the segments that spent much and have not
    been here for long; leave the rest in peace.
    """)
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    ## Who comes back

    `retention` follows each month's new customers: which share of them buys again one month later, two
    months later, and so on? All of these customers are new in January, February or March of 1997. A
    month that is not over is marked (`mature` is false) and not counted as a loss; a month that has not
    begun has no cell at all.
    """)
    return


@app.cell
def _(PURCHASES, pd, shop):
    cells = shop.analyze("retention", {"events": PURCHASES}, period="month").tables["retention"]
    cells["cohort"] = pd.to_datetime(cells["cohort_start"], unit="s").dt.strftime("%Y-%m")
    cells[cells["age"].isin([0, 1, 2, 3, 6, 12])][["cohort", "cohort_size", "age", "users", "rate", "mature"]]
    return (cells,)


@app.cell
def _(alt, cells):
    alt.Chart(
        cells[cells["age"] > 0], title="Customers who buy again, by months since their first"
    ).mark_rect().encode(
        x=alt.X("age:O", title="months since the first purchase"),
        y=alt.Y("cohort:O", title="first purchase"),
        color=alt.Color("rate:Q", title="share", scale=alt.Scale(scheme="blues")),
    )
    return


@app.cell(hide_code=True)
def _(cells, mo):
    _ages = cells[(cells["age"] == 1) & cells["mature"]]
    _rate = _ages["users"].sum() / _ages["cohort_size"].sum()
    mo.md(f"""
    **How to read it.** Read along a row: of the customers new in a month, how many bought in each month
    after. One month later it is {_rate:.0%} over all cohorts. That rows fade and do not break off is
    good news: those who stay, stay.
    """)
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    ## What they are worth

    Nobody tells a shop that they have left. The BG/NBD model infers it: a customer who bought every
    week and has been silent for two months has probably gone; one who buys once a year has not.
    Together with a model of the order value (Gamma-Gamma) it predicts what each customer will spend.

    To see whether it is right, the model gets only the first 39 weeks (to the end of September 1997)
    and predicts the next 39, which have already happened.
    """)
    return


@app.cell
def _(TRANSACTIONS, shop):
    worth = shop.analyze(
        "clv", {"transactions": TRANSACTIONS}, end="1997-09-30", freq_multiplier=7, horizon=39
    )
    parameters = worth.tables["clv_parameters"]
    parameters
    return parameters, worth


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    Fader, Hardie and Lee published r = 0.243, alpha = 4.414, a = 0.793 and b = 2.426 for these very
    customers (*Marketing Science*, 2005).
    """)
    return


@app.cell
def _(TRANSACTIONS, shop, worth):
    held = shop.analyze(
        "customer_summary",
        {"transactions": TRANSACTIONS},
        end="1998-06-30",
        calibration_end="1997-09-30",
        freq_multiplier=7,
    ).tables["customer_holdout"]
    both = worth.tables["clv"].merge(held[["customer_id", "frequency_holdout"]], on="customer_id")
    both["repeat_purchases"] = both["frequency"].clip(upper=7)
    check = (
        both.groupby("repeat_purchases")
        .agg(
            customers=("customer_id", "size"),
            predicted=("expected_purchases", "mean"),
            happened=("frequency_holdout", "mean"),
        )
        .reset_index()
    )
    check
    return both, check


@app.cell
def _(alt, check):
    _long = check.melt(["repeat_purchases", "customers"], ["predicted", "happened"], "what", "purchases")
    alt.Chart(
        _long, title="Purchases in the next 39 weeks, by repeat purchases before (7 = 7 or more)"
    ).mark_line(point=True).encode(
        x=alt.X("repeat_purchases:O", title="repeat purchases in the first 39 weeks"),
        y=alt.Y("purchases:Q", title="mean purchases"),
        color=alt.Color("what:N", sort=None, title=None),
    )
    return


@app.cell(hide_code=True)
def _(both, mo):
    mo.md(f"""
    **How to read it.** The model expected {both["expected_purchases"].sum():,.0f} purchases in the
    second half, and {both["frequency_holdout"].sum():,} happened. Where the two lines lie close, you
    can plan with it.

    The ten customers worth most from here, in cents. `p_alive` is the chance that they still are
    customers:
    """)
    return


@app.cell
def _(worth):
    best = worth.tables["clv"].sort_values(["clv_minor", "customer_id"], ascending=[False, True]).head(10)
    best = best[
        ["customer_id", "frequency", "p_alive", "expected_purchases", "expected_value_minor", "clv_minor"]
    ]
    best
    return (best,)


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    ## What to try next

    - `model="pareto_nbd"`: customers may leave at any time, not only after a purchase. Do the
      predictions change?
    - `discount=0.002` a week: money later is worth less than money now.
    - `retention` with `mode="unbounded"`: who was last seen at that age *or later*.
    - `churn` counts who is new, who stayed, who came back and who went, month by month.
    - `profile` puts all of it into one row for each customer.
    """)
    return


if __name__ == "__main__":
    app.run()
