"""From run folders to sections: which output is told by which builder, and what to say without one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from jobs.contracts.errors import InputError
from jobs.report import activity, customers, journeys, lifetime, service
from jobs.report.attribution import attribution
from jobs.report.condensed import condensed
from jobs.report.figures import figures
from jobs.report.model import Section
from jobs.report.ranking import ranking
from jobs.report.runs import Row, RunFolder

Builder = Callable[[RunFolder, list[Row]], Section]
#: Output to its builder, in the order of the report.
BUILDERS: dict[str, Builder] = {
    "sessions": activity.sessions,
    "paths": journeys.paths,
    "attribution": attribution,
    "funnel": journeys.funnel,
    "ranking": ranking,
    "customer_summary": customers.summary,
    "rfm": customers.rfm,
    "retention": customers.retention,
    "churn": activity.churn,
    "clv": lifetime.clv,
    "profile": lifetime.profile,
    "operations": service.operations,
    "usage": service.usage,
}


@dataclass(frozen=True, slots=True)
class Report:
    """The sections in their order, and a note for every run without one."""

    sections: tuple[Section, ...]
    notes: tuple[str, ...]


def build(runs: Sequence[RunFolder], *, as_given: bool = False) -> Report:
    """Tell every output that has a builder, in the report's own order or in that of the runs.

    Raises:
        InputError: an output's file is unreadable, or lacks a column of its contract.
    """
    sections: list[tuple[int, Section]] = []
    notes = []
    for run in runs:
        known = [name for name in BUILDERS if (run.path / f"{name}.parquet").is_file()]
        if not known:
            notes.append(f"{run.analysis}: left out, the folder {run.path.name} holds no output to report.")
        for name in known:
            rows = _rows(run, name)
            if rows:
                sections.append((list(BUILDERS).index(name), _built(run, name, rows)))
            else:
                notes.append(f"{run.analysis}: left out, {name}.parquet has no rows.")
    ordered = sections if as_given else sorted(sections, key=lambda pair: pair[0])
    return Report(tuple(section for _, section in ordered), tuple(notes))


def _rows(run: RunFolder, name: str) -> list[Row]:
    try:
        return condensed(run, name) or []
    except KeyError as error:
        raise _lacks(run, name, error) from error


def _lacks(run: RunFolder, name: str, error: KeyError) -> InputError:
    return InputError(f"{run.path / name}.parquet lacks the column {error}; run the analysis again")


def _built(run: RunFolder, name: str, rows: list[Row]) -> Section:
    try:
        section = BUILDERS[name](run, rows)
        heading = run.title or section.heading
        return replace(section, heading=heading, figures=figures(run, name, rows))
    except KeyError as error:
        raise _lacks(run, name, error) from error


def provenance(run: RunFolder) -> list[tuple[str, str]]:
    """Where a section comes from, as label and value."""
    manifest = run.manifest
    params = manifest.get("params") or {}
    given = ", ".join(f"{key}={value}" for key, value in params.items() if value is not None) or "defaults"
    pairs = (
        ("analysis", f"{run.analysis} version {manifest.get('version', '?')}"),
        ("parameters", given),
        ("engine", f"{manifest.get('engine', '?')} {manifest.get('engine_version', '')}".strip()),
        ("rows read", _counts(manifest.get("rows_in"))),
        ("rows excluded", _counts(manifest.get("rows_excluded"))),
        ("run at", f"{manifest.get('started_at', '?')}, {manifest.get('seconds', '?')} s"),
        ("result hash", str(manifest.get("result_hash", "?"))),
    )
    return [(name, value) for name, value in pairs if value]


def _counts(counts: object) -> str:
    """`events 6,919`; a table's reasons are added up."""
    if not isinstance(counts, dict):
        return ""
    totals = {table: sum(n.values()) if isinstance(n, dict) else n for table, n in counts.items()}
    return ", ".join(f"{table} {total:,}" for table, total in totals.items())
