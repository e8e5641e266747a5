"""The real server, killed in the middle of forward streams: every acknowledged chunk is there once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.forward_kills import run

if TYPE_CHECKING:
    from pathlib import Path


def test_three_kills_of_the_server_lose_and_double_no_chunk(tmp_path: Path) -> None:
    line, good = run(tmp_path / "home", kills=3, seed=7)
    print(line)  # noqa: T201 - the figures are the result
    assert good, line


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_forty_kills_of_the_server_lose_and_double_no_chunk(tmp_path: Path) -> None:
    line, good = run(tmp_path / "home", kills=40, seed=8)
    print(line)  # noqa: T201 - the figures are the result
    assert good, line
