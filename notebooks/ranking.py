import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Rankings")


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    # Rankings: what sells best, and what is on its way up?

    **The question.** Which discs sold most this month, did they climb or fall, and which product pages
    are really good at selling, rather than lucky?

    **The data.** The demo's disc shop ([quick start](quick_start.html)): every `purchase` with its
    title and number of pieces, every `product_view` and `add_to_cart` with its product.
    """)
    return


@app.cell
def _():
    import altair as alt
    import marimo as mo
    import pandas as pd
    from sluice_api import connect

    shop = connect()
    return alt, mo, pd, shop


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    ## The top five, month by month

    `ranking` sums the pieces of each title in each calendar month. Equal sums share a rank
    (`ties="min"`: two firsts are followed by a third), so a top five can have six rows. `movement`
    compares with the month before: up is positive.
    """)
    return


@app.cell
def _(pd, shop):
    ranked = shop.analyze(
        "ranking",
        {"items": "SELECT title AS item, time, quantity AS value FROM events WHERE event = 'purchase'"},
        period="month",
        top=5,
        ties="min",
    ).tables["ranking"]
    ranked["month"] = pd.to_datetime(ranked["period_start"], unit="s").dt.strftime("%Y-%m")
    latest = ranked[ranked["period_start"] == ranked["period_start"].max()]
    latest[["month", "rank", "item", "metric", "share", "previous_rank", "movement", "status"]]
    return latest, ranked


@app.cell(hide_code=True)
def _(latest, mo):
    _up = latest[latest["status"] == "up"]
    _said = ", ".join(
        f"*{item}* (+{move:.0f})" for item, move in zip(_up["item"], _up["movement"], strict=True)
    )
    mo.md(f"""
    **How to read it.** `status` is one of up, down, same, `new` (not sold in the month before) and
    `dropped` (sold then, not now). Ranks are compared before the list is cut at five, so that an item
    which falls from fourth to sixth is `down` and not gone. Climbers in this list: {_said or "none"}.
    """)
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    ## How the leaders changed

    The lines show the ranks of the titles that were in the top five most often. A gap means: not in the
    top five of that month.
    """)
    return


@app.cell
def _(ranked):
    _seen = ranked[ranked["rank"].notna()]
    _often = _seen.groupby("item").size().sort_values(ascending=False, kind="stable").head(5)
    _leading = _seen[_seen["item"].isin(_often.index)]
    leaders = _leading.pivot_table(index="month", columns="item", values="rank").reindex(
        sorted(ranked["month"].unique())
    )
    leaders.tail(6).reset_index()
    return (leaders,)


@app.cell
def _(alt, leaders):
    _long = leaders.reset_index().melt("month", var_name="item", value_name="rank")
    alt.Chart(_long, title="Ranks of the five titles that were in the top five most often").mark_line(
        point=True
    ).encode(
        x=alt.X("month:O", title=None),
        y=alt.Y("rank:Q", scale=alt.Scale(domain=[1, 5], reverse=True), axis=alt.Axis(tickCount=5)),
        color=alt.Color("item:N", title=None),
    )
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    ## Good, or lucky?

    Which product page sells best? The plain rate, carts for each view, puts pages with few views on
    top: one view and one cart are 100 %. `wilson_low` is the lower end of the 95 % interval of the
    rate: what the page sells *at least*, given how much was seen of it. The less was seen, the further
    it lies below the plain rate.

    To see the difference, the first two weeks only are ranked.
    """)
    return


@app.cell
def _(shop):
    VOTES = """
        SELECT product AS item,
            SUM(CASE WHEN event = 'add_to_cart' THEN 1 ELSE 0 END) AS ups,
            SUM(CASE WHEN event = 'product_view' THEN 1 ELSE 0 END)
                - SUM(CASE WHEN event = 'add_to_cart' THEN 1 ELSE 0 END) AS downs
        FROM events
        WHERE event IN ('product_view', 'add_to_cart') AND time < 853286400
        GROUP BY product
    """
    scored = shop.analyze("ranking", {"items": VOTES}, metric="score", score="wilson_low").tables["ranking"]
    votes = shop.frame(VOTES)
    pages = scored[["rank", "item", "metric"]].merge(votes, on="item")
    pages["views"] = pages["ups"] + pages["downs"]
    pages["rate"] = pages["ups"] / pages["views"]
    pages = pages[["rank", "item", "views", "ups", "rate", "metric"]].rename(
        columns={"ups": "carts", "metric": "at_least"}
    )
    pages.head(8)
    return (pages,)


@app.cell
def _(alt, pages):
    _base = alt.Chart(pages, title="Carts for each view: the rate (dot), and at least (left end)").encode(
        y=alt.Y("item:N", sort=None, title=None)
    )
    _base.mark_rule(strokeWidth=2).encode(
        x=alt.X("at_least:Q", title="carts for each view", scale=alt.Scale(domain=[0, 1])), x2="rate:Q"
    ) + _base.mark_point(filled=True, size=60).encode(x="rate:Q")
    return


@app.cell(hide_code=True)
def _(mo, pages):
    _first = pages.iloc[0]
    _plain = pages.sort_values(["rate", "item"], ascending=[False, True], kind="stable").iloc[0]
    mo.md(f"""
    **How to read it.** By the plain rate *{_plain["item"]}* leads with {_plain["rate"]:.0%} of
    {_plain["views"]} views. By what is certain it is *{_first["item"]}*: {_first["rate"]:.0%} of
    {_first["views"]} views, at least {_first["at_least"]:.0%}. Long lines mean: wait for more data.
    """)
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    ## What to try next

    - `ties="dense"` or `"ordinal"`: other ways to number equal sums; `strict_n=True` never shows more
      than five.
    - A column `segment` in the query, such as `genre`, makes one ranking for each.
    - `metric="count_distinct"` with a column `user_id`: by customers instead of pieces.
    - `metric="score", score="trending", period="week"`: what sells more than its own past would lead
      one to expect.
    - `other=True` adds a row `(other)`, so that the shares add up to 1.
    """)
    return


if __name__ == "__main__":
    app.run()
