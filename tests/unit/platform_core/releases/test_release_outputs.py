"""Release output, background work, descriptions and config rules."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_core.base.errors import InvalidInput
from platform_core.models.logs import PRI_APP
from platform_core.releases import descriptions
from platform_core.releases.background import Background
from platform_core.releases.config_rules import MAX_CONFIG_BYTES, check_change, check_size
from platform_core.releases.output import ReleaseOutputs

if TYPE_CHECKING:
    from collections.abc import Sequence


class Lines:
    """A log writer that keeps what it gets."""

    def __init__(self) -> None:
        self.written: list[tuple[str, str, str, list[bytes]]] = []

    def write(
        self,
        app_id: str,
        source: str,
        process: str,
        lines: Sequence[bytes],
        *,
        pri: int = PRI_APP,
        at: float | None = None,
    ) -> None:
        del pri, at
        self.written.append((app_id, source, process, list(lines)))


def test_only_the_release_process_of_the_app_is_kept_and_all_is_passed_on() -> None:
    logs = Lines()
    outputs = ReleaseOutputs(logs)
    heard: list[str] = []
    outputs.write("a", "app", "release.1", [b"before"])
    outputs.begin("a", heard.append)
    outputs.write("a", "app", "release.1", [b"one", b"two \xff"])
    outputs.write("a", "app", "web.1", [b"web"])
    outputs.write("a", "heroku", "release.1", [b"State changed"])
    outputs.write("b", "app", "release.1", [b"other"])
    assert outputs.end("a") == "one\ntwo \ufffd\n"
    assert heard == ["one", "two \ufffd"]
    assert [lines for *_, lines in logs.written] == [
        [b"before"], [b"one", b"two \xff"], [b"web"], [b"State changed"], [b"other"],
    ]  # fmt: skip


def test_a_stream_follows_from_the_start_to_the_end() -> None:
    async def follow() -> str:
        outputs = ReleaseOutputs(Lines())
        outputs.begin("a")
        outputs.write("a", "app", "release.1", [b"one"])
        seen: list[str] = []

        async def read() -> None:
            async for piece in outputs.stream("a"):
                seen.append(piece)
                if len(seen) == 1:
                    outputs.write("a", "app", "release.1", [b"two"])
                else:
                    outputs.end("a")

        async with asyncio.timeout(5):
            await read()
        return "".join(seen)

    assert asyncio.run(follow()) == "one\ntwo\n"


def test_a_stream_of_nothing_that_runs_is_empty() -> None:
    async def follow() -> list[str]:
        return [piece async for piece in ReleaseOutputs(Lines()).stream("a")]

    assert asyncio.run(follow()) == []


def test_background_work_that_fails_stops_nothing_else() -> None:
    async def run() -> list[str]:
        done: list[str] = []
        background = Background()

        async def fail() -> None:
            raise ValueError("broken")

        async def more() -> None:
            done.append("second")

        async def work() -> None:
            done.append("first")
            background.start("more", more())

        background.start("fail", fail())
        background.start("work", work())
        await background.drain()
        return done

    assert asyncio.run(run()) == ["first", "second"]


def test_closing_cancels_what_does_not_end() -> None:
    async def run() -> bool:
        cancelled = False

        async def endless() -> None:
            nonlocal cancelled
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled = True
                raise

        background = Background()
        background.start("endless", endless())
        async with asyncio.timeout(5):
            await background.close(grace=0.01)
        return cancelled

    assert asyncio.run(run())


def test_descriptions_are_worded_as_heroku_words_them() -> None:
    assert descriptions.deploy("1a2b3c4d5e6f7890") == "Deploy 1a2b3c4d"
    assert descriptions.config_change({"A": "1", "B": "2"}) == "Set A, B config vars"
    assert descriptions.config_change({"A": None}) == "Remove A config vars"
    assert descriptions.config_change({"A": "1", "B": None}) == "Set A, Remove B config vars"
    assert descriptions.attach("DATABASE", "pg-1") == "Attach DATABASE (@ref:pg-1)"
    assert descriptions.rollback(3) == "Rollback to v3"


@given(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,30}", fullmatch=True), st.text(max_size=50))
def test_every_shell_name_is_a_config_var(name: str, value: str) -> None:
    if "\0" not in value:
        check_change({name: value}, ())
    with pytest.raises(InvalidInput, match="attachment values"):
        check_change({name: value.replace("\0", "")}, {name})


@given(st.text(max_size=20).filter(lambda name: not name.isidentifier() or not name.isascii()))
def test_nothing_else_is(name: str) -> None:
    with pytest.raises(InvalidInput, match="not valid"):
        check_change({name: "x"}, ())


def test_the_size_limit_counts_names_and_values_in_bytes() -> None:
    check_size({"A": "x" * (MAX_CONFIG_BYTES - 1)})
    with pytest.raises(InvalidInput, match="65537 bytes"):
        check_size({"A": "x" * MAX_CONFIG_BYTES})
    with pytest.raises(InvalidInput):
        check_size({"A": "é" * (MAX_CONFIG_BYTES // 2)})
