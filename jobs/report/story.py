"""A report as it is told: sections with their drawings, what changed since the last, and what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from jobs.report.comparison import Change, compare
from jobs.report.drawing import Drawing, draw_charts
from jobs.report.sections import build, provenance

if TYPE_CHECKING:
    from jobs.report.model import Chart, Section
    from jobs.report.runs import RunFolder

#: Figures without a group that head a section, and members of lists whose change is told.
_CARDS, _MOVED = 4, 6


@dataclass(frozen=True, slots=True)
class Frame:
    """What surrounds the sections.

    Attributes:
        title: of the report, plain text.
        currency: the unit of amounts; empty when nobody said.
        window: the time that the report is about, in words; empty for all there is.
        made: when it was made, in words.
        missing: why data may be incomplete, a sentence each; empty when nothing is known to be missing.
        since: which report the changes are against, in words; empty without one.
        before: that report's figures by section key.
        link: where the whole report is; empty when nowhere.
    """

    title: str
    currency: str = ""
    window: str = ""
    made: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"))
    missing: tuple[str, ...] = ()
    since: str = ""
    before: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    link: str = ""


@dataclass(frozen=True, slots=True)
class Plate:
    """A chart with its drawings; `name` is unique in the report and fit for a file's name."""

    name: str
    chart: Chart
    drawing: Drawing


@dataclass(frozen=True, slots=True)
class Told:
    """A section, drawn and compared.

    Attributes:
        key: names it among the report's sections, the same in every run.
        section: what is said.
        plates: its charts.
        origin: where it comes from, as label and value.
        changes: its figures held against the last report's; empty without one.
    """

    key: str
    section: Section
    plates: tuple[Plate, ...]
    origin: tuple[tuple[str, str], ...]
    changes: tuple[Change, ...]

    @property
    def cards(self) -> tuple[Change, ...]:
        """The totals and rates to head the section."""
        return tuple(one for one in self.changes if not one.group and one.value is not None)[:_CARDS]

    @property
    def arrivals(self) -> tuple[Change, ...]:
        """Members of lists that are new."""
        return tuple(one for one in self.changes if one.status == "new")[:_MOVED]

    @property
    def departures(self) -> tuple[Change, ...]:
        """Members of lists that are gone."""
        return tuple(one for one in self.changes if one.status == "gone")[:_MOVED]

    @property
    def movers(self) -> tuple[Change, ...]:
        """Members of lists that changed most, by the size of the change."""
        moved = [one for one in self.changes if one.group and one.status in {"up", "down"}]
        moved.sort(key=lambda one: (-abs((one.value or 0) - (one.previous or 0)), one.key))
        return tuple(moved[:_MOVED])


@dataclass(frozen=True, slots=True)
class Story:
    """The whole report."""

    frame: Frame
    sections: tuple[Told, ...]
    notes: tuple[str, ...]


def tell(runs: Sequence[RunFolder], frame: Frame, *, as_given: bool = False, pictures: bool = False) -> Story:
    """Build, draw and compare.

    Args:
        runs: finished runs; the name of a run's folder is the key of its sections.
        frame: what surrounds them.
        as_given: keep the order of the runs instead of the report's own.
        pictures: draw PNG, too.

    Raises:
        InputError: an output cannot be read.
        JobsError: the charts could not be drawn.
    """
    report = build(runs, as_given=as_given)
    charts = [chart for section in report.sections for chart in section.charts]
    drawings = iter(draw_charts(charts, pictures=pictures))
    keys = _keys(report.sections)
    told = tuple(
        _told(key, section, [next(drawings) for _ in section.charts], frame)
        for key, section in zip(keys, report.sections, strict=True)
    )
    return Story(frame, told, report.notes)


def _keys(sections: Sequence[Section]) -> list[str]:
    """The folder's name; with the section's number behind it where a run has several."""
    keys: list[str] = []
    for section in sections:
        name = section.run.path.name
        keys.append(name if name not in keys else f"{name}-{len(keys) + 1}")
    return keys


def _told(key: str, section: Section, drawings: Sequence[Drawing], frame: Frame) -> Told:
    plates = tuple(
        Plate(f"{key}-{number}", chart, drawing)
        for number, (chart, drawing) in enumerate(zip(section.charts, drawings, strict=True), 1)
    )
    changes = compare(section.figures, frame.before.get(key, ())) if frame.since else _alone(section)
    return Told(key, section, plates, tuple(provenance(section.run)), tuple(changes))


def _alone(section: Section) -> list[Change]:
    """Figures without anything to hold them against."""
    return [
        Change(one.key, one.label, one.form, one.group, one.value, None, "unknown") for one in section.figures
    ]
