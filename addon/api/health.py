"""/healthz, /readyz and a small /metrics."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Depends, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from addon.api.auth import Rooms, public
from platform_core.base.errors import SluiceError

if TYPE_CHECKING:
    from addon.schedules.reports.stats import ReportStats

router = APIRouter(dependencies=[Depends(public)])
_DISK_FLOOR = 256 << 20


@router.get("/healthz")
async def healthz() -> dict[str, Any]:
    """Say that the process lives; looks at nothing."""
    return {"status": "ok"}


@router.get("/readyz")
def readyz(rooms: Rooms) -> Response:
    """Say whether requests can be served, check by check."""
    checks = {"database": _database(rooms), "disk": _disk(rooms)}
    good = all(text == "ok" for text in checks.values())
    return JSONResponse({"ready": good, "checks": checks}, 200 if good else 503)


def _database(rooms: Rooms) -> str:
    try:
        rooms.accounts.active()
    except (SluiceError, OSError) as error:
        return type(error).__name__
    return "ok"


def _disk(rooms: Rooms) -> str:
    free = shutil.disk_usage(rooms.results).free
    return "ok" if free > _DISK_FLOOR else f"only {free >> 20} MiB free"


@router.get("/metrics")
def metrics(rooms: Rooms) -> Response:
    """Return counters in Prometheus' text form, and whether the last round found the audit log unchanged."""
    stats = getattr(rooms.ingestor, "stats", None)
    names = [one.name for one in fields(stats)] if is_dataclass(stats) else []
    lines = []
    for name in names:
        metric, value = f"sluice_ingest_{name}_total", getattr(stats, name)
        lines.append(f"# TYPE {metric} counter")
        lines += _by_reason(metric, value) if isinstance(value, Mapping) else [f"{metric} {value}"]
    for name, value in rooms.ingestor.gauges().items() if hasattr(rooms.ingestor, "gauges") else ():
        metric = f"sluice_ingest_{name}"
        lines += [f"# TYPE {metric} gauge", f"{metric} {value}"]
    lines += _receivers(rooms)
    lines += _scheduler(rooms)
    lines += report_lines(rooms.reports.outbox.stats)
    lines += ["# TYPE sluice_audit_intact gauge", f"sluice_audit_intact {int(rooms.audit.broken is None)}"]
    return PlainTextResponse("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4")


def _scheduler(rooms: Rooms) -> list[str]:
    """Return what this process' scheduler did; all 0 where it runs none."""
    stats = rooms.scheduler.stats
    lines = []
    for name in ("fired", "missed", "failed"):
        metric = f"sluice_schedule_{name}_total"
        lines += [f"# TYPE {metric} counter", f"{metric} {getattr(stats, name)}"]
    return [
        *lines,
        "# TYPE sluice_schedule_late_seconds gauge",
        f"sluice_schedule_late_seconds {stats.late_s:.3f}",
    ]


def report_lines(stats: ReportStats) -> list[str]:
    """Return what this process did for reports; a delivery type appears with its first attempt."""
    outcomes = ("on_time", "late", "failed")
    lines = [
        "# TYPE sluice_report_runs_total counter",
        *(f'sluice_report_runs_total{{outcome="{name}"}} {stats.runs[name]}' for name in outcomes),
        "# TYPE sluice_report_runs_incomplete_total counter",
        f"sluice_report_runs_incomplete_total {stats.incomplete}",
    ]
    types = sorted(stats.attempted)
    for name in ("attempted", "delivered", "failed", "dead"):
        metric, counts = f"sluice_report_deliveries_{name}_total", getattr(stats, name)
        lines.append(f"# TYPE {metric} counter")
        lines += [f'{metric}{{type="{one}"}} {counts[one]}' for one in types]
    return lines


def _by_reason(metric: str, counts: Mapping[str, int]) -> list[str]:
    return [f'{metric}{{reason="{reason}"}} {count}' for reason, count in sorted(counts.items())]


def _receivers(rooms: Rooms) -> list[str]:
    """Return the counters of the TCP receivers, a metric each with the receiver as its label."""
    by_metric: dict[str, list[str]] = {}
    for way, stats in rooms.receivers.items():
        for name, value in asdict(stats).items():
            metric = f"sluice_receiver_{name}_total"
            by_metric.setdefault(metric, [f"# TYPE {metric} counter"])
            by_metric[metric].append(f'{metric}{{receiver="{way}"}} {value}')
    return [line for lines in by_metric.values() for line in lines]
