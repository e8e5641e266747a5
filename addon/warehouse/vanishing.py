"""A log that goes while it is used: what delta-rs says of that, and the reading anew that it calls for.

A table may be dropped, or its log shortened, between any two requests of another node. delta-rs has no class
for what it then finds, and it reads some of a version only when it is asked for it: a handle that was good a
moment ago fails in the middle of a question.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

_TRIES = 3
_GONE = re.compile(
    r"File not found:"
    r"|Object at location .+ not found"
    r"|No files in log segment"
    r"|No commits found in log directory"
    # The entries from the first one on are deleted one after another; a reader may list what is left.
    r"|commits exist but version 0 is missing"
    r"|Expected contiguous commit files"
    r"|Gap between checkpoint version"
    r"|didn't find any checkpoints"
    # A commit lost its version to another one, whose entry then was gone when it was looked at.
    r"|Invalid table version:"
    # A commit was made, and its entry was gone when its version was to be read.
    r"|Requested snapshot version \d+ is not available"
)


class Rereadable(Protocol):
    """A log whose handle can be let go."""

    def forget(self) -> None:
        """Let the handle go; the next call reads the log anew."""

    def failure(self, error: Exception) -> Exception:
        """Return what delta-rs raised as the store's error, where it is one."""


_P = ParamSpec("_P")
_T = TypeVar("_T")
_Log = TypeVar("_Log", bound=Rereadable)


def vanished(error: Exception) -> bool:
    """Tell whether the log, or a part of it, was deleted while it was being used."""
    return isinstance(error, TableNotFoundError) or _GONE.search(str(error)) is not None


def lost_race(error: Exception) -> bool:
    """Tell whether another commit came first, or the table was deleted in the middle of ours."""
    return isinstance(error, CommitFailedError) or vanished(error)


def rereading(method: Callable[Concatenate[_Log, _P], _T]) -> Callable[Concatenate[_Log, _P], _T]:
    """Have a method that changes nothing begin anew when the log goes meanwhile, a few times at most.

    Raises:
        DeltaError: the log cannot be read; in place of it the store's own error, where it is one.
        OSError: likewise.
    """

    @wraps(method)
    def again(log: _Log, /, *args: _P.args, **named: _P.kwargs) -> _T:
        for left in reversed(range(_TRIES)):
            try:
                return method(log, *args, **named)
            except (DeltaError, OSError) as error:
                log.forget()
                if not left or not vanished(error):
                    raise log.failure(error) from error
        raise AssertionError

    return again


@contextmanager
def until_gone(log: Rereadable) -> Iterator[None]:
    """Break the block off when the log goes meanwhile, and let the handle go; the caller goes on after it.

    Raises:
        DeltaError: the log cannot be read; in place of it the store's own error, where it is one.
        OSError: likewise.
    """
    try:
        yield
    except (DeltaError, OSError) as error:
        log.forget()
        if not vanished(error):
            raise log.failure(error) from error
