"""Clocks, and times as the wire formats write them."""

from __future__ import annotations

import time

from platform_core.base.clock import FixedClock, SystemClock, iso8601, rfc3339_micros


def test_the_system_clock_is_the_machine_s() -> None:
    before = time.time()
    assert before <= SystemClock().now() <= time.time()


def test_a_fixed_clock_moves_only_when_told() -> None:
    clock = FixedClock(10.0)
    assert (clock.now(), clock.now()) == (10.0, 10.0)
    clock.advance(2.5)
    assert clock.now() == 12.5


def test_the_platform_api_s_times() -> None:
    assert iso8601(0) == "1970-01-01T00:00:00Z"
    assert iso8601(1_767_323_045.9) == "2026-01-02T03:04:05Z"


def test_logplex_s_times_have_six_digits_and_an_offset() -> None:
    assert rfc3339_micros(1_767_323_045.0) == "2026-01-02T03:04:05.000000+00:00"
    assert rfc3339_micros(0.123456) == "1970-01-01T00:00:00.123456+00:00"
