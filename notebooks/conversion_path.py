import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Conversion paths")


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    # Conversion paths: which channels bring the orders?

    **The question.** People see an advertisement, read a review, open a newsletter, and some day they
    buy. Which of these brought the order? There is no single answer: it depends on the rule by which
    the credit is shared. This notebook shows the paths themselves, then several rules side by side.

    **The data.** The demo's disc shop ([quick start](quick_start.html)). A *touch* is a landing with
    its channel; a *conversion* is a purchase with its value in cents. Purchases are real, channels are
    drawn at random, so do not look for truths about advertising in them.
    """)
    return


@app.cell
def _():
    import altair as alt
    import marimo as mo
    from sluice_api import connect

    shop = connect()

    TOUCHES = """
        SELECT user_id, time, seq,
            CASE
                WHEN utm_medium = 'email' THEN 'newsletter'
                WHEN utm_medium = 'cpc' THEN 'search ads'
                WHEN utm_medium = 'paid_social' THEN 'social ads'
                WHEN utm_medium = 'affiliate' THEN 'affiliates'
                WHEN utm_medium = 'display' THEN 'banners'
                WHEN referrer LIKE '%google.%' THEN 'search'
                WHEN referrer IS NOT NULL THEN 'other sites'
                ELSE 'direct'
            END AS channel
        FROM events WHERE event = 'landing'
    """
    CONVERSIONS = """
        SELECT order_id AS conversion_id, user_id, time, value_minor
        FROM events WHERE event = 'purchase'
    """
    DAY = 86_400
    return CONVERSIONS, DAY, TOUCHES, alt, mo, shop


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    ## What the paths look like

    The analysis `paths` puts the touches of the last 30 days before each purchase in order and counts
    equal ones. A channel that comes twice in a row counts as one step (`collapse`).
    """)
    return


@app.cell
def _(CONVERSIONS, DAY, TOUCHES, shop):
    journeys = shop.analyze(
        "paths", {"touches": TOUCHES, "conversions": CONVERSIONS}, lookback=30 * DAY, collapse="consecutive"
    )
    top_paths = journeys.tables["paths"].head(10)[["path", "length", "entities", "share", "value_minor"]]
    top_paths
    return journeys, top_paths


@app.cell
def _(alt, top_paths):
    alt.Chart(top_paths, title="The ten most frequent paths to a purchase").mark_bar().encode(
        x=alt.X("entities:Q", title="purchases"), y=alt.Y("path:N", sort=None, title=None)
    )
    return


@app.cell(hide_code=True)
def _(journeys, mo):
    _paths = journeys.tables["paths"]
    _single = _paths.loc[_paths["length"] == 1, "entities"].sum()
    mo.md(f"""
    **How to read it.** {_single:,} of {_paths["entities"].sum():,} purchases
    ({_single / _paths["entities"].sum():.0%}) saw one channel only. For those all rules agree. The
    rules differ over the rest, and that rest is what is argued about.
    """)
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    ## What follows what

    `transitions` counts the steps from one channel to the next. `p_out` is the share of all steps out
    of the source; the darker, the more often.
    """)
    return


@app.cell
def _(journeys):
    moves = journeys.tables["transitions"]
    between = moves[~moves["source"].eq("path_start") & ~moves["target"].eq("path_end")]
    between = between[["source", "target", "count", "p_out", "median_s"]]
    between.head(8)
    return (between,)


@app.cell
def _(alt, between):
    alt.Chart(between, title="Where a path goes on, when it does").mark_rect().encode(
        x=alt.X("target:N", title="next"),
        y=alt.Y("source:N", title="channel"),
        color=alt.Color("p_out:Q", title="share", scale=alt.Scale(scheme="blues")),
    )
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    ## Who gets the credit

    | rule | who gets it |
    | --- | --- |
    | `first` | the first touch: who introduced the shop? |
    | `last` | the last touch: who closed the sale? |
    | `linear` | all touches alike |
    | `position` | 40 % to the first, 40 % to the last, the rest to the middle |
    | `time_decay` | the nearer to the purchase, the more; half after each week |
    | `markov` | what would be lost if the channel were not there, in a model of the paths |

    Every rule hands out each purchase exactly once. A purchase without a touch in the 30 days before it
    goes to `(unattributed)`: here there is none, as each purchase starts with a landing.
    """)
    return


@app.cell
def _(CONVERSIONS, DAY, TOUCHES, shop):
    credit = shop.analyze(
        "attribution",
        {"touches": TOUCHES, "conversions": CONVERSIONS},
        models=["first", "last", "linear", "position", "time_decay", "markov"],
        lookback=30 * DAY,
        nulls="users",
    )
    shares = credit.tables["attribution"][["model", "channel", "conversions", "value_minor", "share"]]
    wide = shares.pivot_table(index="channel", columns="model", values="conversions", sort=False)
    wide = wide.round(1).reset_index()
    wide
    return credit, shares, wide


@app.cell
def _(alt, shares):
    alt.Chart(shares, title="Purchases credited to each channel, by rule").mark_bar().encode(
        x=alt.X("conversions:Q", title="purchases"),
        y=alt.Y("channel:N", sort="-x", title=None),
        yOffset=alt.YOffset("model:N", sort=None),
        color=alt.Color("model:N", sort=None, title="rule"),
    ).properties(height=420)
    return


@app.cell(hide_code=True)
def _(shares, mo):
    _totals = shares.groupby("model")["conversions"].sum()
    _by = shares.pivot_table(index="channel", columns="model", values="conversions")
    _gap = (_by["last"] - _by["first"]).sort_values()
    mo.md(f"""
    **How to read it.** Look for channels whose bars differ. *{_gap.index[-1]}* gets
    {_gap.iloc[-1]:,.0f} purchases more as the last touch than as the first: it closes sales.
    *{_gap.index[0]}* is the other way round: it introduces people. Judge the first by `last` and the
    second by `first`, and you flatter both; `linear` and `markov` lie between.

    **A check that always holds:** each rule hands out the same total, here {_totals.iloc[0]:,.0f}
    purchases (the smallest sum is {_totals.min():,.4f}, the largest {_totals.max():,.4f}).
    """)
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    ## What to try next

    - `lookback=7 * DAY`: a shorter memory moves credit to the newsletter.
    - `touch_reuse="since_previous"`: a touch counts for one purchase only.
    - `models=["markov"], intervals=True`: error bars (`ci_low`, `ci_high`) from 200 redrawn sets of
      paths. Channels whose bars overlap cannot be told apart.
    - A third input, `spend`, with `channel` and `spend_minor`, adds `roas`, the return on what a
      channel cost.
    - `python -m jobs describe attribution` states every rule, edge and unit.
    """)
    return


if __name__ == "__main__":
    app.run()
