"""What the manifest tells of the plans."""

from __future__ import annotations

from dataclasses import replace

from addon.models.accounts import PLANS
from addon.provisioning.manifest import limits_text


def test_one_query_is_one_and_several_are_several() -> None:
    plan = PLANS["premium"]
    one, four = (limits_text(replace(plan, concurrent_queries=count)) for count in (1, 4))
    assert ", 1 query at once of " in one
    assert one.endswith(" GiB of memory")
    assert ", 4 queries at once of " in four
    assert four.endswith(" GiB of memory each")
