"""How a command fails: the exit codes, and errors that say what, why and what to type next."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """The exit codes of every ``sluice`` command; stable, so that scripts may rely on them."""

    OK = 0
    ERROR = 1
    USAGE = 2
    NOT_FOUND = 3
    AUTH = 4
    CONFLICT = 5
    JOB_FAILED = 6
    JOB_KILLED = 7
    TIMEOUT = 8
    REJECTED = 9
    """All is done, but some rows became dead letters."""
    INTERRUPTED = 130


class Failure(Exception):  # a command's outcome, read as "raise Failure"
    """A command cannot go on."""

    def __init__(self, what: str, why: str, do_next: str, code: Exit = Exit.ERROR) -> None:
        """Take what failed, why, the next thing to do, and the exit code."""
        self.what, self.why, self.do_next, self.code = what, why.strip(), do_next, code
        super().__init__(f"{what}: {why}")

    def text(self) -> str:
        """Return the message for stderr."""
        why = f"\n  why:  {self.why.replace(chr(10), chr(10) + '        ')}" if self.why else ""
        return f"sluice: {self.what}{why}\n  next: {self.do_next}"
