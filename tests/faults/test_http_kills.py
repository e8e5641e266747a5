"""The real server, killed while clients write to it over HTTP: nothing acknowledged is lost or doubled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.http_kills import run

if TYPE_CHECKING:
    from pathlib import Path


def test_two_kills_of_the_server_lose_and_double_nothing(tmp_path: Path) -> None:
    line, good = run(tmp_path / "home", kills=2, seed=5)
    print(line)  # noqa: T201 - the figures are the result
    assert good, line


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_forty_kills_of_the_server_lose_and_double_nothing(tmp_path: Path) -> None:
    line, good = run(tmp_path / "home", kills=40, seed=6)
    print(line)  # noqa: T201 - the figures are the result
    assert good, line
