"""The port: how a finished report is handed to the ways out, and what they may say of an attempt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from jobs.contracts.errors import ParameterError
from jobs.contracts.parameters import parse
from platform_core.base.errors import InvalidInput, SluiceError, Unavailable

if TYPE_CHECKING:
    from pathlib import Path

    from addon.models.accounts import Account
    from addon.models.reports import ReportRun

P = TypeVar("P")
MASK = "********"
"""What is shown in a secret's place; sent back, it stands for the secret that is kept already."""


class Refused(SluiceError):
    """The receiver says no, and would say it again: before something changes, another attempt is in vain."""


class NotDelivered(Unavailable):
    """The receiver was not reached, or is busy: another attempt may succeed."""

    def __init__(self, message: str, *, after_s: float = 0.0) -> None:
        """Take what happened, and how many seconds the receiver asks to be left alone."""
        super().__init__(message)
        self.after_s = after_s


@dataclass(frozen=True, slots=True)
class Parcel:
    """A finished report of a run, on its way."""

    account: Account
    title: str
    run: ReportRun
    folder: Path
    """The run's files: ``report.html``, ``mail.html``, ``mail.txt``, ``report.json``, pictures, outputs."""
    facts: Mapping[str, Any] = field(repr=False)
    """What ``report.json`` holds."""
    key: str = ""
    """The same for every attempt of this delivery: by it, a receiver knows a repeat."""
    link: str = ""
    """Where the account's users find the whole report."""

    def keyed(self, key: str) -> Parcel:
        """Return the same for one delivery."""
        return replace(self, key=key)

    @property
    def final(self) -> bool:
        """Whether nothing is known to be missing in the data."""
        return not self.facts.get("incomplete")


class Delivery(Protocol):
    """One way out. Deliveries are made at least once: a repeat of one that succeeded must do no harm."""

    type: ClassVar[str]
    """How a definition names it."""
    secrets: ClassVar[frozenset[str]]
    """Its parameters that nobody is shown, and that are sealed in the database."""

    def check(self, settings: Mapping[str, Any]) -> None:
        """Check a delivery's settings.

        Raises:
            InvalidInput: one is not allowed; it says which, what was given, and what is allowed.
        """

    def target(self, settings: Mapping[str, Any]) -> str:
        """Return in words where it goes, without secrets."""

    async def deliver(self, parcel: Parcel, settings: Mapping[str, Any]) -> None:
        """Make one attempt.

        Raises:
            Refused: another attempt would be refused, too.
            NotDelivered: another one may succeed.
            UserError: as ``Refused``.
        """


def settings_as(kind: type[P], settings: Mapping[str, Any]) -> P:
    """Return settings as an object, checked.

    Raises:
        InvalidInput: one is not allowed.
    """
    try:
        return parse(kind, settings)
    except ParameterError as error:
        text = str(error).replace("this analysis takes", "this delivery takes")
        raise InvalidInput(f"{text}.") from error
