"""How far an analysis has come is read from a file that a sandbox wrote: as if it were an enemy's."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from addon.query.analysis_progress import read_progress, relay
from jobs.run.progress import to_file

if TYPE_CHECKING:
    from pathlib import Path


def test_what_a_run_tells_is_read(tmp_path: Path) -> None:
    file = tmp_path / "progress.json"
    assert read_progress(file) is None
    to_file(file)("computing", 45)
    assert read_progress(file) == ("computing", 45)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '"x"',
        '{"stage": "computing"}',
        '{"stage": "<b>", "percent": 1}',
        '{"stage": ["computing"], "percent": 1}',
        '{"stage": "computing", "percent": 101}',
        '{"stage": "computing", "percent": "9"}',
        '{"stage": "computing", "percent": -1}',
        "9" * 10_000,
    ],
)
def test_anything_else_is_nothing(tmp_path: Path, text: str) -> None:
    file = tmp_path / "progress.json"
    file.write_text(text)
    assert read_progress(file) is None


def test_links_pipes_and_folders_are_nothing_and_nobody_waits_for_them(tmp_path: Path) -> None:
    good = tmp_path / "good.json"
    to_file(good)("computing", 45)
    (tmp_path / "link").symlink_to(good)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    assert [read_progress(tmp_path / name) for name in ("link", "pipe", "folder")] == [None] * 3


def test_each_new_word_is_relayed_once_in_the_percent_of_the_whole_job(tmp_path: Path) -> None:
    file, told = tmp_path / "progress.json", list[tuple[str, int]]()

    async def play() -> None:
        heard = asyncio.Event()

        async def report(stage: str, percent: int) -> None:
            told.append((stage, percent))
            heard.set()

        to_file(file)("staging", 0)
        relaying = asyncio.create_task(relay(file, report, 20, 95))
        for stage, percent in (("computing", 40), ("writing", 100)):
            async with asyncio.timeout(60):
                await heard.wait()
            heard.clear()
            to_file(file)(stage, percent)
        async with asyncio.timeout(60):
            await heard.wait()
        relaying.cancel()
        await asyncio.gather(relaying, return_exceptions=True)

    asyncio.run(play())
    assert told == [("staging", 20), ("computing", 50), ("writing", 95)]
