"""When a crashed dyno is started again."""

from __future__ import annotations

from platform_core.dynos.backoff import CrashPolicy


def test_the_first_restart_is_at_once_then_cool_offs_double_up_to_a_cap() -> None:
    policy = CrashPolicy()
    minutes = [policy.delay(crashes) / 60 for crashes in range(1, 10)]
    assert minutes == [0, 10, 20, 40, 80, 160, 320, 320, 320]


def test_being_up_for_long_is_forgiven() -> None:
    policy = CrashPolicy(forgiven_after=600)
    assert policy.crashes_after(3, up_seconds=599) == 4
    assert policy.crashes_after(3, up_seconds=600) == 1
    assert policy.crashes_after(0, up_seconds=0) == 1
