"""Channel grouping: which channel brought a visitor, from utm tags, click ids and the referrer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs.analyses.inputs import CHANNEL_SOURCES, shipped
from jobs.engine.text import query, text_list

if TYPE_CHECKING:
    from jobs.analyses.analysis import Present
    from jobs.engine.port import Engine


def add_channels(engine: Engine, relation: str, present: Present, own_hosts: tuple[str, ...]) -> str:
    """Name the channel of every row of a relation that has CAMPAIGN_COLUMNS.

    Returns the relation (user_id, time, seq, channel).

    Tags are lower-cased and trimmed, and empty is missing. utm tags win over a click id, and that over a
    referrer; then the first rule that matches decides, so no row has two channels. Paid or not, shopping is
    a shopping source or a campaign that has "shop"; organic_video is a video source or medium. A source is
    listed when `channel_sources` holds it or a domain above it. A channel that the row already carries is
    kept. Hosts in `own_hosts` are no referrers.
    """
    if "channel_sources" not in present:
        shipped(engine, CHANNEL_SOURCES)
    hosts = text_list(tuple(host.lower().removeprefix("www.") for host in own_hosts))
    engine.view("channel_normalized", query("channels", "normalized", relation=relation, own_hosts=hosts))
    engine.view("channel_sourced", query("channels", "sourced"))
    engine.materialize("channel_kinds", query("channels", "kinds"))
    engine.view("channel_grouped", query("channels", "grouped"))
    return "channel_grouped"
