"""The report over real runs: one file that loads nothing, with twins for every chart, safe with any text."""

from __future__ import annotations

import io
import json
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from jobs.contracts.errors import InputError, JobsError
from jobs.report import RunFolder, main, render_html, render_terminal
from jobs.report.drawing import draw
from jobs.report.sections import build
from jobs.report.terminal import bar

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

HOSTILE = "</script><script>alert(1)</script>"
NASTY = (
    HOSTILE,
    "x" * 3_000,
    "\u202eevil\u202c",
    "عربي",
    "🛒🎉",
    '"onload="alert(2)',
    "[bold red]not markup[/]",
    "\x1b[2J",
    "{{ 7*7 }}",
    "&amp;",
)


class Page(HTMLParser):
    """Collects what matters of a page: tags, attributes, text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


def page_of(runs: Sequence[RunFolder], tmp_path: Path, title: str = "Shop") -> tuple[str, Page]:
    out = tmp_path / "report.html"
    render_html(runs, title, out)
    text = out.read_text(encoding="utf-8")
    return text, Page(text)


@pytest.fixture(scope="module")
def shop(runs: list[RunFolder], tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Page]:
    """The page of all runs, which is drawn once."""
    return page_of(runs, tmp_path_factory.mktemp("shop"))


def terminal_of(runs: Sequence[RunFolder], width: int = 120) -> str:
    stream = io.StringIO()
    render_terminal(runs, Console(file=stream, width=width))
    return stream.getvalue()


def folder(
    path: Path, output: str, rows: pa.Table, analysis: str, params: dict[str, object] | None = None
) -> RunFolder:
    path.mkdir(parents=True)
    pq.write_table(rows, path / f"{output}.parquet")
    manifest = {
        "analysis": analysis,
        "version": 1,
        "params": params or {},
        "engine": "duckdb",
        "inputs": {"touches": {}},
        "result_hash": "abc",
    }
    (path / "manifest.json").write_text(json.dumps(manifest))
    return RunFolder.open(path)


def hostile_runs(tmp_path: Path) -> list[RunFolder]:
    size = len(NASTY)
    ranking = pa.table(
        {
            "period_start": [0] * size,
            "segment": [HOSTILE] * size,
            "rank": list(range(1, size + 1)),
            "item": list(NASTY),
            "metric": [float(size - n) for n in range(size)],
            "share": [0.1] * size,
            "previous_rank": [None] * size,
            "movement": pa.array([None] * size, pa.int32()),
            "status": ["new"] * size,
            "previous_metric": pa.array([None] * size, pa.float64()),
        }
    )
    paths = pa.table(
        {
            "path": [f"{name} > {HOSTILE}" for name in NASTY],
            "length": [2] * size,
            "entities": [3] * size,
            "conversions": [3] * size,
            "value_minor": [100] * size,
            "share": [1 / size] * size,
            "p50_duration_s": [1.0] * size,
        }
    )
    return [
        folder(tmp_path / "ranking", "ranking", ranking, "ranking", {"metric": HOSTILE}),
        folder(tmp_path / "paths", "paths", paths, HOSTILE),
    ]


def test_every_output_has_its_section_and_every_chart_its_twins(
    runs: list[RunFolder], shop: tuple[str, Page]
) -> None:
    _text, page = shop
    headings = [section.heading for section in build(runs).sections]
    assert headings == [
        "Conversion paths",
        "Attribution",
        "Funnel",
        "Ranking",
        "Purchases per customer",
        "Customer segments (RFM)",
        "Retention by cohort",
    ]
    charts = sum(len(section.charts) for section in build(runs).sections)
    assert (
        page.count("figure")
        == page.count("details")
        == sum(tag == "svg" and a.get("class") != "bar" for tag, a in page.tags) / 2  # for screen and phone
        == charts
        == 8
    )
    assert (
        sum(
            attributes.get("role") == "img" and bool(attributes.get("aria-label"))
            for _, attributes in page.tags
        )
        == 2 * charts
    )
    for run in runs:
        assert run.manifest["result_hash"] in page.text


def test_the_page_loads_nothing_and_forbids_loading(shop: tuple[str, Page]) -> None:
    text, page = shop
    policy = next(
        a["content"]
        for tag, a in page.tags
        if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert not {"script", "link", "img", "iframe", "object", "use", "image"} & {tag for tag, _ in page.tags}
    assert set(re.findall(r"https?://[^\"' )]+", text)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert "@import" not in text
    assert all(reference.startswith("#") for reference in re.findall(r"url\(([^)]*)\)", text))
    assert all((attributes.get("href") or "#").startswith("#") for _, attributes in page.tags)


def test_ids_are_unique_in_the_page(shop: tuple[str, Page]) -> None:
    _, page = shop
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_hostile_texts_stay_texts_in_the_page(tmp_path: Path) -> None:
    text, page = page_of(hostile_runs(tmp_path), tmp_path, title=HOSTILE)
    assert page.count("script") == 0
    assert "<script" not in text
    assert HOSTILE in page.text
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert "{{ 7*7 }}" in page.text
    assert "🛒🎉" in page.text
    assert "عربي" in page.text


def test_hostile_texts_do_not_drive_the_terminal(tmp_path: Path) -> None:
    printed = terminal_of(hostile_runs(tmp_path))
    assert "\x1b" not in printed
    assert "\u202e" not in printed
    assert "[bold red]not markup[/]" in printed
    assert max(map(len, printed.splitlines())) <= 120


def test_the_terminal_says_the_same_findings(runs: list[RunFolder]) -> None:
    printed = terminal_of(runs, width=400)
    for section in build(runs).sections:
        assert section.finding in printed
    assert "█" in printed


def test_the_terminal_fits_a_narrow_window(runs: list[RunFolder]) -> None:
    for width in (80, 120):
        lines = terminal_of(runs, width=width).splitlines()
        assert max(map(len, lines)) <= width
        # Only the line that counts the rows left out begins with it: no heading and no value is cut.
        assert [line for line in lines if "…" in line and not line.startswith("… ")] == []


def test_a_table_too_wide_for_the_terminal_says_what_it_leaves_out(runs: list[RunFolder]) -> None:
    attribution = [run for run in runs if run.analysis == "attribution"]
    wide, narrow = terminal_of(attribution, width=120), terminal_of(attribution, width=60)
    assert "more column" not in wide
    assert re.search(r"\d more columns? in a wider terminal", narrow)


def test_amounts_carry_their_currency(runs: list[RunFolder], tmp_path: Path, shop: tuple[str, Page]) -> None:
    text, _ = page_of([RunFolder.open(run.path, "EUR") for run in runs], tmp_path)
    for heading in ("Value, EUR", "Credited value, EUR", "Money, EUR", "Mean repeat purchase, EUR"):
        assert heading in text
    assert "Amounts are in EUR." in text
    assert "EUR" not in shop[0]


def test_the_numbers_of_a_finding_are_those_of_the_data(runs: list[RunFolder]) -> None:
    summary = next(run for run in runs if run.analysis == "customer_summary")
    rows = summary.rows("customer_summary") or []
    once = round(100 * sum(row["frequency"] == 0 for row in rows) / len(rows))
    (section,) = build([summary]).sections
    assert section.finding.startswith(f"{once} % of the {len(rows)} customers bought only once")
    ranking = next(run for run in runs if run.analysis == "ranking")
    latest = [row for row in ranking.rows("ranking") or [] if row["rank"] == 1][-1]
    assert latest["item"] in build([ranking]).sections[0].finding


def test_an_output_without_rows_and_a_folder_without_outputs_are_noted(tmp_path: Path) -> None:
    empty = folder(tmp_path / "empty", "rfm", pa.table({"customer_id": pa.array([], pa.string())}), "rfm")
    other = folder(tmp_path / "other", "transitions", pa.table({"a": [1]}), "transitions")
    text, _ = page_of([empty, other], tmp_path)
    assert "rfm.parquet has no rows" in text
    assert "transitions: left out" in text
    assert "nothing to report" in text
    assert "transitions: left out" in terminal_of([empty, other])


def test_a_table_that_breaks_its_contract_is_the_callers_mistake(tmp_path: Path) -> None:
    run = folder(tmp_path / "broken", "retention", pa.table({"age": [1]}), "retention")
    with pytest.raises(InputError, match="breakdown"):
        build([run])
    (run.path / "retention.parquet").write_bytes(b"no parquet")
    with pytest.raises(InputError, match="cannot be read"):
        build([run])


def test_a_chart_cannot_load_remote_data() -> None:
    spec = {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "data": {"url": "http://127.0.0.1:9/data.json"},
        "mark": "bar",
        "encoding": {"x": {"field": "a"}},
    }
    with pytest.raises(JobsError, match="could not be drawn"):
        draw([spec])


def test_the_command_line_writes_and_prints(
    runs: list[RunFolder], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deep" / "report.html"
    words = [word for run in runs for word in ("--run", str(run.path))]
    assert main([*words, "--out", str(out), "--title", "Q1 <b>"]) == 0
    assert "Q1 &lt;b&gt;" in out.read_text(encoding="utf-8")
    assert capsys.readouterr().out == ""
    assert main([*words, "--terminal"]) == 0
    assert "Retention by cohort" in capsys.readouterr().out


def test_a_folder_without_a_manifest_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--run", str(tmp_path)]) == 2
    assert "manifest.json is missing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("fraction", "drawn"), [(0, "    "), (1, "████"), (0.5, "██  "), (2, "████"), (1 / 32, "▏   ")]
)
def test_a_bar_is_exact_to_an_eighth(fraction: float, drawn: str) -> None:
    assert bar(fraction, 4) == drawn
