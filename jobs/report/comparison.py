"""Two runs of the same report held against each other: each figure's change, and who is new or gone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jobs.report.wording import written

if TYPE_CHECKING:
    from jobs.report.figures import Figure

#: Lists are compared by their first members, so that one at their end is not called new or gone by chance.
_COMPARED = 20
_LEAST_CHANGE = 0.0005


@dataclass(frozen=True, slots=True)
class Change:
    """A figure now and before.

    Attributes:
        status: `up`, `down`, `same`, `new`, `gone`, or `unknown` where one of the values does not exist.
        relative: the change as a fraction of the value before; `None` where that is 0 or unknown.
    """

    key: str
    label: str
    form: str
    group: str
    value: float | None
    previous: float | None
    status: str

    @property
    def relative(self) -> float | None:
        """The change as a part of the value before."""
        if self.value is None or not self.previous or self.status in {"new", "gone"}:
            return None
        return (self.value - self.previous) / abs(self.previous)

    @property
    def shown(self) -> str:
        """The value as text; for what is gone, the value before."""
        return written(self.previous if self.status == "gone" else self.value, self.form)

    @property
    def words(self) -> str:
        """The change as text: `▲ 12 %`, `▼ 1.5 points`, `new`, `gone`, `=`; empty where none can be told."""
        if self.status in {"new", "gone"}:
            return self.status
        if self.status == "same":
            return "="
        if self.value is None or self.previous is None:
            return ""
        arrow = "▲" if self.status == "up" else "▼"
        if self.form == "percent":
            return f"{arrow} {abs(self.value - self.previous) * 100:.1f} points"
        if self.relative is None:
            return f"{arrow} from {written(self.previous, self.form)}"
        return f"{arrow} {written(abs(self.relative), 'percent')}"

    def to_json(self) -> dict[str, Any]:
        """The change as a JSON object."""
        return {
            "key": self.key,
            "label": self.label,
            "form": self.form,
            "group": self.group,
            "value": self.value,
            "previous": self.previous,
            "status": self.status,
            "relative": self.relative,
            "text": self.shown,
            "change": self.words,
        }


def compare(now: Sequence[Figure], before: Sequence[Mapping[str, Any]]) -> list[Change]:
    """Hold figures against those of an earlier run, as their JSON says them.

    A member is `new` when it is among the first now and the list before did not hold it, `gone` the other
    way round.
    """
    old = {str(one["key"]): one for one in before}
    found = []
    seen: dict[str, int] = {}
    for figure in now:
        place = seen[figure.group] = seen.get(figure.group, 0) + 1
        if figure.group and place > _COMPARED:
            continue
        known = old.get(figure.key)
        previous = None if known is None else known.get("value")
        status = "new" if figure.group and known is None else _status(figure.value, previous)
        found.append(
            Change(figure.key, figure.label, figure.form, figure.group, figure.value, previous, status)
        )
    return [*found, *_gone(now, before)]


def _gone(now: Sequence[Figure], before: Sequence[Mapping[str, Any]]) -> list[Change]:
    """Members that were among the first before, and are nowhere now."""
    there = {figure.key for figure in now}
    seen: dict[str, int] = {}
    gone = []
    for one in before:
        group = str(one.get("group") or "")
        place = seen[group] = seen.get(group, 0) + 1
        if group and place <= _COMPARED and one["key"] not in there:
            words = str(one["label"]), str(one["form"]), group
            gone.append(Change(str(one["key"]), *words, None, one.get("value"), "gone"))
    return gone


def _status(value: float | None, previous: float | None) -> str:
    if value is None or previous is None:
        return "unknown"
    if abs(value - previous) <= _LEAST_CHANGE * abs(previous):
        return "same"
    return "up" if value > previous else "down"
