"""Which ports a process opens, and where."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from addon.__main__ import _listen_to_ways
from addon.receivers.service import Way
from addon.settings import Settings
from tests.ports import free_base

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("given", "tls", "ways"),
    [
        ({}, True, {Way.SYSLOG: 6, Way.SYSLOG_TLS: 7, Way.FORWARD: 8}),
        ({}, False, {Way.SYSLOG: 6, Way.FORWARD: 8}),
        ({"forward_local": True}, False, {Way.SYSLOG: 6, Way.FORWARD: 8, Way.FORWARD_LOCAL: 9}),
        ({"receivers": False, "forward_local": True}, True, {}),
    ],
)
def test_only_what_is_asked_for_is_opened(
    tmp_path: Path, given: dict[str, bool], tls: bool, ways: dict[Way, int]
) -> None:
    settings = Settings(home=tmp_path, port_base=free_base(), **given)  # type: ignore[arg-type]
    opened = _listen_to_ways(settings, tls)
    try:
        assert {
            way: listener.getsockname()[1] - settings.port_base for way, listener in opened.items()
        } == ways
    finally:
        for listener in opened.values():
            listener.close()


def test_what_asks_for_no_key_stays_on_this_machine(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, port_base=free_base(), host="0.0.0.0", forward_local=True)
    opened = _listen_to_ways(settings, tls=False)
    try:
        assert opened[Way.FORWARD].getsockname()[0] == "0.0.0.0"
        assert opened[Way.FORWARD_LOCAL].getsockname()[0] == "127.0.0.1"
    finally:
        for listener in opened.values():
            listener.close()
