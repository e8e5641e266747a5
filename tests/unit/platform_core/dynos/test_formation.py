"""From a formation to what must be done."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from platform_core.dynos.formation import Plan, plan, select, sort_key, wanted_dynos
from platform_core.models.apps import Process
from platform_core.models.runtime import RunSpec

SPEC = RunSpec("a", "shop", 1, "r1", "0", "c", Path("/s"), {}, (), False, 20_000)


def release(version: int = 1, **quantities: int) -> RunSpec:
    processes = [
        Process("a", kind, f"run {kind}", quantity, "Basic") for kind, quantity in quantities.items()
    ]
    return replace(SPEC, release_version=version, release_id=f"r{version}", processes=processes)


def test_names_count_from_one_and_the_release_process_is_none() -> None:
    assert list(wanted_dynos(release(web=2, worker=1, idle=0, release=1))) == ["web.1", "web.2", "worker.1"]


def test_the_same_release_again_changes_nothing() -> None:
    dynos = wanted_dynos(release(web=2))
    assert plan(dynos, wanted_dynos(release(web=2))) == Plan([], [], [])


def test_scaling_touches_only_the_difference() -> None:
    now = wanted_dynos(release(web=2, worker=1))
    assert plan(now, wanted_dynos(release(web=3))) == Plan(["web.3"], [], ["worker.1"])


def test_a_new_release_replaces_everything() -> None:
    now = wanted_dynos(release(1, web=2))
    assert plan(now, wanted_dynos(release(2, web=1))) == Plan([], ["web.1"], ["web.2"])


def test_a_new_size_or_command_replaces_that_type() -> None:
    now = wanted_dynos(release(web=1, worker=1))
    for change in ({"size": "Standard-2X"}, {"command": "other"}):
        changed = release(web=1, worker=1)
        processes = [replace(one, **change) if one.type == "web" else one for one in changed.processes]  # type: ignore[arg-type]
        assert plan(now, wanted_dynos(replace(changed, processes=processes))).replace == ["web.1"]


def test_an_unknown_size_counts_as_basic() -> None:
    odd = replace(SPEC, processes=[Process("a", "web", "x", 1, "Huge")])
    assert wanted_dynos(odd)["web.1"].size.name == "Basic"


def test_selectors() -> None:
    names = ["web.1", "web.10", "webby.1"]
    assert select(names, None) == names
    assert select(names, "web") == ["web.1", "web.10"]
    assert select(names, "web.1") == ["web.1"]
    assert select(names, "we") == []


def test_numbers_sort_as_numbers() -> None:
    assert sorted(["web.10", "a.1", "web.9"], key=sort_key) == ["a.1", "web.9", "web.10"]
