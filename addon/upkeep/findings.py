"""What a check found, and what to do about it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum


class Severity(StrEnum):
    """How bad a finding is: an error is lost or wrong data; a warning wants somebody to look."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be."""

    severity: Severity
    where: str
    """A file, a table, or another place, relative to the add-on's folder."""
    what: str
    do_next: str = ""


@dataclass(slots=True)
class Report:
    """The findings of a check, and what was looked at."""

    findings: list[Finding] = field(default_factory=list)
    looked_at: dict[str, int] = field(default_factory=dict)

    def add(self, severity: Severity, where: str, what: str, do_next: str = "") -> None:
        """Note a finding."""
        self.findings.append(Finding(severity, where, what, do_next))

    def error(self, where: str, what: str, do_next: str) -> None:
        """Note an error; there is always something to do about it."""
        self.add(Severity.ERROR, where, what, do_next)

    def count(self, what: str, number: int = 1) -> None:
        """Count things looked at."""
        self.looked_at[what] = self.looked_at.get(what, 0) + number

    @property
    def sound(self) -> bool:
        """Whether there is no error."""
        return not any(one.severity is Severity.ERROR for one in self.findings)

    def as_json(self) -> dict[str, object]:
        """Return the report for machines."""
        return {
            "sound": self.sound,
            "looked_at": self.looked_at,
            "findings": [asdict(one) for one in self.findings],
        }

    def lines(self) -> list[str]:
        """Return the report for people."""
        found = []
        for one in self.findings:
            found.append(f"{one.severity}: {one.where}: {one.what}")
            if one.do_next:
                found.append(f"  next: {one.do_next}")
        looked = ", ".join(f"{number} {what}" for what, number in self.looked_at.items())
        verdict = "sound" if self.sound else "NOT sound"
        return [*found, f"{verdict}: looked at {looked or 'nothing'}"]
