"""Named points where tests make the program fail."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from platform_core.base import failpoints

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    failpoints.arm("")


def test_nothing_happens_at_a_point_that_is_not_armed() -> None:
    failpoints.arm("other:error")
    failpoints.hit("wal.write")
    assert not failpoints.armed("wal.write")
    assert failpoints.armed("other")


@pytest.mark.parametrize(("action", "code"), [("error", errno.EIO), ("enospc", errno.ENOSPC)])
def test_an_armed_point_raises_its_error(action: str, code: int) -> None:
    failpoints.arm(f"wal.write:{action}")
    with pytest.raises(OSError, match="failpoint wal") as caught:
        failpoints.hit("wal.write")
    assert caught.value.errno == code


def test_only_the_nth_pass_acts() -> None:
    failpoints.arm("a:error@2, b:enospc")
    failpoints.hit("a")
    with pytest.raises(OSError, match="failpoint a"):
        failpoints.hit("a")
    failpoints.hit("a")


@pytest.mark.parametrize("text", ["a", "a:explode", "a:error@x", ":"])
def test_a_malformed_variable_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not name:action"):
        failpoints.parse(text)
