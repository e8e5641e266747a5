import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Clickstream")


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    # Clickstream: how do people move through the shop?

    **The question.** Where do visits come from, how long do they last, and where do they end without a
    purchase?

    **The data.** The demo's disc shop ([quick start](quick_start.html)): one row for each event with a
    user, a time, and on a landing where it came from (`utm_source`, `utm_medium`, `utm_campaign`,
    `referrer`). Nothing else is needed; any app that prints such rows can be looked at in this way.
    """)
    return


@app.cell
def _():
    import altair as alt
    import marimo as mo
    import pandas as pd
    from sluice_api import connect

    shop = connect()

    EVENTS = """
        SELECT user_id, time, seq, event, utm_source, utm_medium, utm_campaign, referrer, value_minor
        FROM events
    """
    return EVENTS, alt, mo, pd, shop


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    ## From events to visits

    A *session* ends with a pause of more than 30 minutes (`timeout`). Its channel comes from its first
    event: utm tags if there are any, else a click id, else the referrer, else it is `direct`. The
    groups are those that web analytics tools commonly use, and the list of search engines and social
    networks can be replaced (input `channel_sources`).
    """)
    return


@app.cell
def _(EVENTS, shop):
    sessions = shop.analyze("sessions", {"events": EVENTS}, timeout=1800).tables["sessions"]
    channels = (
        sessions.groupby("channel")
        .agg(
            visits=("session_id", "size"),
            visitors=("user_id", "nunique"),
            purchases=("converted", "sum"),
            value_minor=("value_minor", "sum"),
        )
        .reset_index()
        .sort_values(["visits", "channel"], ascending=[False, True])
    )
    channels["rate"] = channels["purchases"] / channels["visits"]
    channels
    return channels, sessions


@app.cell
def _(alt, channels):
    alt.Chart(channels, title="Visits by channel; the darker part bought").mark_bar(opacity=0.35).encode(
        x=alt.X("visits:Q", title="visits"), y=alt.Y("channel:N", sort="-x", title=None)
    ) + alt.Chart(channels).mark_bar().encode(
        x="purchases:Q", y=alt.Y("channel:N", sort=alt.EncodingSortField("visits", order="descending"))
    )
    return


@app.cell(hide_code=True)
def _(channels, mo, sessions):
    _low = channels.sort_values(["rate", "channel"]).iloc[0]
    _high = channels.sort_values(["rate", "channel"]).iloc[-1]
    mo.md(f"""
    **How to read it.** {len(sessions):,} visits by {sessions["user_id"].nunique():,} people. Of 100
    visits from `{_high["channel"]}` {100 * _high["rate"]:.0f} end with a purchase, from
    `{_low["channel"]}` {100 * _low["rate"]:.0f}. Those who come back to buy come by newsletter or by
    themselves, so a lower rate says that a channel brings strangers, not that it is bad.
    """)
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    ## How long a visit lasts

    The duration runs from the first event to the last. A visit with one event lasts 0 seconds.
    """)
    return


@app.cell
def _(pd, sessions):
    _edges = [-1, 0, 60, 120, 180, 300, 900, 1800, float("inf")]
    _labels = ["0 s", "to 1 min", "to 2 min", "to 3 min", "to 5 min", "to 15 min", "to 30 min", "more"]
    lengths = (
        sessions.assign(duration=pd.cut(sessions["duration_s"], _edges, labels=_labels))
        .groupby(["duration", "converted"], observed=True)
        .size()
        .rename("visits")
        .reset_index()
    )
    lengths
    return (lengths,)


@app.cell
def _(alt, lengths):
    alt.Chart(lengths, title="Visits by duration").mark_bar().encode(
        x=alt.X("duration:N", sort=None, title=None, axis=alt.Axis(labelAngle=0)),
        y=alt.Y("visits:Q", title="visits"),
        color=alt.Color("converted:N", title="bought"),
    )
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    ## Step by step

    `paths` on events follows each session from event to event. The *step matrix* says where the visits
    are after so many steps; `path_end` collects those that are over. Each column adds up to 1.
    """)
    return


@app.cell
def _(EVENTS, shop):
    walks = shop.analyze("paths", {"events": EVENTS}, collapse="none", max_length=6).tables
    matrix = walks["step_matrix"]
    wide = matrix.pivot_table(index="event", columns="step", values="share", fill_value=0.0).round(3)
    wide.columns = [f"step {step}" for step in wide.columns]
    wide = wide.reset_index()
    wide
    return matrix, walks, wide


@app.cell
def _(alt, matrix):
    _base = alt.Chart(matrix, title="Where the visits are after each step").encode(
        x=alt.X("step:O", title="step"), y=alt.Y("event:N", title=None)
    )
    _base.mark_rect().encode(
        color=alt.Color("share:Q", title="share", scale=alt.Scale(scheme="blues", domain=[0, 1]))
    ) + _base.mark_text().encode(
        text=alt.Text("share:Q", format=".0%"),
        color=alt.condition(alt.datum.share > 0.6, alt.value("white"), alt.value("#222")),
    )
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    ## What follows what

    `transitions` counts pairs of neighbouring events, with a start and an end. `p_out` is the share of
    all that left the source; `median_s` the usual time between the two.
    """)
    return


@app.cell
def _(walks):
    moves = walks["transitions"][["source", "target", "count", "entities", "p_out", "median_s"]]
    moves
    return (moves,)


@app.cell(hide_code=True)
def _(mo, moves):
    _from_view = moves[moves["source"] == "product_view"].set_index("target")["p_out"]
    mo.md(f"""
    **How to read it.** The row from `product_view` to `path_end` is where visits are lost: after
    {_from_view["path_end"]:.0%} of all product views nothing more happened.
    {_from_view["add_to_cart"]:.0%} went on to the cart, and from there everybody bought, because the
    data hold no abandoned carts. In your own data look there first.
    """)
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    ## What to try next

    - `timeout=300`: do visits fall apart with a shorter pause?
    - `paths` with `end=["purchase"]`: only what leads to a purchase.
    - `funnel` with `mode="strict"`: who went straight from the landing to the purchase, without any
      detour?
    - Your own events: `SLUICE_NOTEBOOK_DATABASE=mine marimo edit notebooks/clickstream.py`, and adapt
      the `SELECT` in the first cell.
    """)
    return


if __name__ == "__main__":
    app.run()
