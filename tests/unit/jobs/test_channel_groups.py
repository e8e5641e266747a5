"""Channel groups: the rules in their order, told once more in Python, over every mix of some values."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.unit.jobs.conftest import Run

SOURCES = (
    None,
    "",
    " Google ",
    "bing.com",
    "facebook",
    "youtube.com",
    "amazon",
    "newsletter",
    "E-Mail",
    "sms",
)
MEDIA = (
    None, "CPC ", "cpm", "retargeting", "paid-x", "banner", "social-network", "promo-video", "organic",
    "link", "e mail", "affiliates", "audio", "sms", "web-push", "mobile-app", "odd",
)  # fmt: skip
CAMPAIGNS = (None, "EU Cross-Network 1", "spring-Shop", "plain")
CLICKS = (None, "gclid", "msclkid", "fbclid")
REFERRERS = (
    None,
    "https://www.google.com:443/search?q=a",
    "https://m.facebook.com/x",
    "http://shop.example/cart",
    "https://Blog.example.org",
)
KINDS = {
    "search": {"google", "google.com", "bing", "bing.com"},
    "social": {"facebook", "facebook.com"},
    "video": {"youtube", "youtube.com"},
    "shopping": {"amazon", "amazon.com"},
}
OWN = "shop.example"


def host_of(referrer: str | None) -> str | None:
    if not referrer:
        return None
    host = referrer.lower().split("://")[1].split("/")[0].split(":")[0].removeprefix("www.")
    return None if host == OWN else host


def is_a(kind: str, source: str | None) -> bool:
    """Listed, or below a domain that is."""
    parts = (source or "").split(".")
    above = {".".join(parts[place:]) for place in range(len(parts) - 1)} | {source}
    return bool(above & KINDS[kind])


def evidence(
    source: str | None, medium: str | None, click: str | None, host: str | None
) -> tuple[str | None, str | None]:
    """Source and medium: tags, else a click id, else a referrer, else direct."""
    if source or medium:
        return source, medium
    if click:
        return {"gclid": "google", "msclkid": "bing", "fbclid": "facebook"}[click], "cpc"
    if host:
        return host, "organic" if is_a("search", host) else "referral"
    return "(direct)", "(none)"


def channel(row: dict[str, Any]) -> str:  # noqa: C901, PLR0911, PLR0912 - the rules, in their order
    tags = [
        (row.get(f"utm_{name}") or "").strip().lower() or None for name in ("source", "medium", "campaign")
    ]
    click = next((name for name in CLICKS if name and row.get(name)), None)
    source, medium = evidence(tags[0], tags[1], click, host_of(row.get("referrer")))
    campaign, medium = tags[2] or "", medium or ""
    paid = re.fullmatch(r"(.*cp.*|ppc|retargeting|paid.*)", medium) is not None
    shop = is_a("shopping", source) or "shop" in campaign
    if "cross-network" in campaign:
        return "cross_network"
    if paid and shop:
        return "paid_shopping"
    if (paid and is_a("search", source)) or click in {"gclid", "msclkid"}:
        return "paid_search"
    if paid and is_a("social", source):
        return "paid_social"
    if paid and is_a("video", source):
        return "paid_video"
    if medium in {"display", "banner", "expandable", "interstitial", "cpm"}:
        return "display"
    if paid:
        return "paid_other"
    if shop:
        return "organic_shopping"
    if is_a("social", source) or medium in {"social", "social-network", "social-media", "sm"}:
        return "organic_social"
    if is_a("video", source) or "video" in medium:
        return "organic_video"
    if is_a("search", source) or medium == "organic":
        return "organic_search"
    if medium in {"referral", "app", "link"}:
        return "referral"
    if {source, medium} & {"email", "e-mail", "e_mail", "e mail"}:
        return "email"
    if medium in {"affiliate", "affiliates"}:
        return "affiliates"
    if medium == "audio":
        return "audio"
    if "sms" in {source, medium}:
        return "sms"
    if medium.endswith("push") or "mobile" in medium or "notification" in medium:
        return "push"
    return "direct" if source == "(direct)" else "unassigned"


def test_every_combination_of_tags_click_ids_and_referrers_is_named_by_the_first_rule_that_matches(
    run: Run,
) -> None:
    rows = [
        {
            "user_id": f"u{number:05}", "time": 1, "seq": 1, "event": "landing",
            "utm_source": source, "utm_medium": medium, "utm_campaign": campaign, "referrer": referrer,
            **{name: "abc" if name == click else None for name in CLICKS if name},
        }
        for number, (source, medium, campaign, click, referrer) in enumerate(
            itertools.product(SOURCES, MEDIA, CAMPAIGNS, CLICKS, REFERRERS)
        )
    ]  # fmt: skip
    listed = [{"host": host, "kind": kind} for kind, hosts in KINDS.items() for host in sorted(hosts)]
    found = run("sessions", {"events": rows, "channel_sources": listed}, {"own_hosts": [OWN]}).tables[
        "sessions"
    ]
    named = dict(zip(found["user_id"].to_pylist(), found["channel"].to_pylist(), strict=True))
    wrong = [
        (row, named[row["user_id"]], channel(row)) for row in rows if named[row["user_id"]] != channel(row)
    ]
    assert wrong == []
    assert len(set(named.values())) == 19
    shipped = run("sessions", {"events": rows}, {"own_hosts": [OWN]}).tables["sessions"]
    assert shipped["channel"].to_pylist() == found["channel"].to_pylist()


@pytest.mark.parametrize(
    "referrer",
    [
        "https://www.google.com/search?q=a",
        "//google.com/search",
        "https://google.com?q=a/b",
        "https://google.com#top",
        "HTTP://me:secret@Google.com:8080/x@y",
        "google.com",
    ],
)
def test_a_referrer_s_host_is_found_in_every_form_of_an_address(run: Run, referrer: str) -> None:
    events = [{"user_id": "u", "time": 1, "seq": 1, "event": "landing", "referrer": referrer}]
    tables = run("sessions", {"events": events}, {}).tables
    assert tables["sessions"]["channel"].to_pylist() == ["organic_search"]
