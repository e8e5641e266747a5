"""Browser and operating system out of a user agent text, for the columns that the collector fills in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

_MAX_AGENT = 1_024

_BROWSERS = tuple(
    (name, re.compile(pattern))
    for name, pattern in (
        # Those that also call themselves Chrome or Safari come first.
        ("Googlebot", r"Googlebot(?:-\w+)?/?([\d.]*)"),
        ("Bingbot", r"bingbot/([\d.]+)"),
        ("Edge", r"Edg(?:e|A|iOS)?/([\d.]+)"),
        ("Opera", r"(?:OPR|OPiOS)/([\d.]+)"),
        ("Opera", r"^Opera.*(?:Version)/([\d.]+)"),
        ("Samsung Internet", r"SamsungBrowser/([\d.]+)"),
        ("Yandex Browser", r"YaBrowser/([\d.]+)"),
        ("Vivaldi", r"Vivaldi/([\d.]+)"),
        ("UC Browser", r"UC ?Browser/([\d.]+)"),
        ("Firefox", r"(?:Firefox|FxiOS)/([\d.]+)"),
        ("Chrome", r"(?:HeadlessChrome|Chrome|CriOS)/([\d.]+)"),
        ("Safari", r"Version/([\d.]+).*Safari/"),
        ("Internet Explorer", r"MSIE ([\d.]+)"),
        ("Internet Explorer", r"Trident/.*rv:([\d.]+)"),
    )
)
_SYSTEMS = tuple(
    (name, re.compile(pattern))
    for name, pattern in (
        ("Windows Phone", r"Windows Phone(?: OS)? ([\d.]+)"),
        ("Windows", r"Windows NT ([\d.]+)"),
        ("iOS", r"(?:iPhone|iPad|iPod).*? OS ([\d_]+)"),
        ("Mac OS X", r"Mac OS X ([\d_.]+)"),
        ("Android", r"Android ?([\d.]*)"),
        ("ChromeOS", r"CrOS \S+ ([\d.]+)"),
        ("Linux", r"Linux()"),
    )
)


@dataclass(frozen=True, slots=True)
class Agent:
    """What a user agent text says; empty where it says nothing."""

    browser: str = ""
    browser_version: str = ""
    system: str = ""
    system_version: str = ""


def _first(table: tuple[tuple[str, re.Pattern[str]], ...], text: str) -> tuple[str, str]:
    for name, pattern in table:
        found = pattern.search(text)
        if found is not None:
            return name, found[1].replace("_", ".")
    return "", ""


@lru_cache(maxsize=2_048)
def parse_agent(text: str) -> Agent:
    """Return browser and system of a user agent text, of which only the first 1,024 characters count."""
    text = text[:_MAX_AGENT]
    return Agent(*_first(_BROWSERS, text), *_first(_SYSTEMS, text))
