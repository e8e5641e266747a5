"""What counts as a log that went, and how often it is read anew."""

from __future__ import annotations

import pytest
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from addon.warehouse.vanishing import lost_race, rereading, until_gone, vanished
from platform_core.base.errors import Unavailable

ENTRY = "7/shop/events/_delta_log/00000000000000000003.checkpoint.parquet"
GONE = [
    DeltaError("Kernel error: File not found: " + ENTRY),
    DeltaError(
        f"Kernel error: Arrow error: External: Object at location {ENTRY} not found: Error performing GET"
    ),
    DeltaError("Kernel error: Generic delta kernel error: No files in log segment"),
    DeltaError("Invalid table version: 1"),
    DeltaError("Requested snapshot version 2 is not available: no new commits were found after version 1"),
    TableNotFoundError("no log"),
]


class Log:
    """Fails with one error after the other, then answers."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.forgotten = 0

    def forget(self) -> None:
        self.forgotten += 1

    def failure(self, error: Exception) -> Exception:
        return Unavailable("The store failed.", hint="Wait.") if "503" in str(error) else error

    @rereading
    def version(self, add: int = 0) -> int:
        """Answer with how often it was let go."""
        if self.errors:
            raise self.errors.pop(0)
        return self.forgotten + add


def _fail(error: Exception) -> None:
    raise error


@pytest.mark.parametrize("error", GONE, ids=range(len(GONE)))
def test_a_log_that_went_is_read_anew(error: Exception) -> None:
    assert vanished(error)
    assert lost_race(error)
    assert Log(error, error).version(add=10) == 12


def test_reading_anew_ends_with_the_error_itself() -> None:
    log = Log(*[GONE[0]] * 3)
    with pytest.raises(DeltaError, match="File not found"):
        log.version()
    assert log.forgotten == 3


def test_another_error_is_not_tried_again_and_is_the_stores_where_it_is_one() -> None:
    log = Log(DeltaError("Invalid JSON in log record"))
    with pytest.raises(DeltaError, match="Invalid JSON"):
        log.version()
    assert log.forgotten == 1
    with pytest.raises(Unavailable, match="store failed"):
        Log(OSError("HTTP error 503")).version()


def test_a_block_is_broken_off_only_when_the_log_went() -> None:
    log = Log()
    with until_gone(log):
        _fail(GONE[0])
    assert log.forgotten == 1
    with pytest.raises(Unavailable), until_gone(log):
        raise DeltaError("HTTP error 503")
    with pytest.raises(CommitFailedError), until_gone(log):
        raise CommitFailedError("a conflict")
