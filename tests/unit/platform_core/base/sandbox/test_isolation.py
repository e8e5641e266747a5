"""What the machine enforces, in words and in flags."""

from __future__ import annotations

import os

from platform_core.base.sandbox.isolation import Findings, describe, detect_isolation


def test_a_root_machine_with_everything_misses_nothing() -> None:
    found = describe(Findings(root=True, bwrap_error=None, cgroups="v1"))
    assert (found.driver, found.missing) == ("bwrap", ())
    assert (found.own_files, found.own_network, found.own_uid, found.limits) == (True,) * 4


def test_without_root_the_uid_and_the_limits_are_missed() -> None:
    found = describe(Findings(root=False, bwrap_error=None, cgroups="none", cgroups_error="needs root"))
    assert found.driver == "bwrap"
    assert (found.own_files, found.own_network, found.own_uid, found.limits) == (True, True, False, False)
    assert any("own uid" in text for text in found.missing)
    assert any("needs root" in text for text in found.missing)


def test_without_bubblewrap_it_is_a_plain_process_and_says_why() -> None:
    found = describe(Findings(root=True, bwrap_error="bwrap is not installed", cgroups="v2"))
    assert (found.driver, found.own_files, found.own_network, found.limits) == ("process", False, False, True)
    assert "bwrap is not installed" in found.missing[0]


def test_this_machine_is_found_out_by_trying() -> None:
    found = detect_isolation()
    assert found.own_uid == (os.geteuid() == 0)
    assert detect_isolation("process").driver == "process"
