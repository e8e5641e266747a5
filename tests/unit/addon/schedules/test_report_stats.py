"""Counters of reports: how runs ended, as Prometheus reads it."""

from __future__ import annotations

from addon.api.health import report_lines
from addon.schedules.reports.stats import LATE_S, ReportStats


def test_runs_are_counted_by_how_late_they_were_and_whether_they_are_final() -> None:
    stats = ReportStats()
    stats.rendered(LATE_S, complete=True)
    stats.rendered(LATE_S + 1, complete=False)
    stats.rendered(1.0, complete=False)
    stats.runs["failed"] += 1
    lines = report_lines(stats)
    assert [line for line in lines if line.startswith("sluice_report_runs")] == [
        'sluice_report_runs_total{outcome="on_time"} 2',
        'sluice_report_runs_total{outcome="late"} 1',
        'sluice_report_runs_total{outcome="failed"} 1',
        "sluice_report_runs_incomplete_total 2",
    ]
    assert len(lines) == 4 + 2 + 4, "the types of the metrics, and no delivery yet"
