"""The report: finished runs rendered to one self-contained HTML file, and to the terminal.

It reads run folders (`<output>.parquet` and `manifest.json`) and nothing else: no engine, no server.
"""

from __future__ import annotations

from jobs.report.cli import main
from jobs.report.html import render_html
from jobs.report.runs import RunFolder
from jobs.report.terminal import render_terminal

__all__ = ["RunFolder", "main", "render_html", "render_terminal"]
