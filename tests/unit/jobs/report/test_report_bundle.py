"""A report as a bundle: what changed, what is missing, the mail and its pictures; nothing from outside."""

from __future__ import annotations

import json
import re
import struct
from dataclasses import replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.report import main
from jobs.report.comparison import compare
from jobs.report.drawing import Drawing
from jobs.report.figures import Figure
from jobs.report.html import mail
from jobs.report.runs import RunFolder
from jobs.report.sections import build
from jobs.report.story import Frame, Plate, Story, Told

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = "</td><script>alert(1)</script><img src=https://evil.example/x.png>"
FLOW = {
    "breakdown": "(all)", "conversion_from_previous": None, "dropped": 0, "ttc_p50_s": None,
}  # fmt: skip


def description(tmp_path: Path, **frame: Any) -> Path:
    """A run of a funnel, and what surrounds it."""
    run = tmp_path / "checkout"
    run.mkdir()
    rows = [
        {**FLOW, "step": 1, "step_name": HOSTILE, "entities": 200, "conversion_from_start": 1.0},
        {**FLOW, "step": 2, "step_name": "purchase", "entities": 50, "conversion_from_start": 0.25},
    ]
    pq.write_table(pa.Table.from_pylist(rows), run / "funnel.parquet")
    (run / "manifest.json").write_text(json.dumps({"analysis": "funnel", "version": 2, "params": {}}))
    asked = {"frame": {"title": "Week 47", **frame}, "runs": [{"folder": str(run), "title": "Checkout"}]}
    file = tmp_path / "report.json"
    file.write_text(json.dumps(asked))
    return file


class Links(HTMLParser):
    """Collects what a page would load or run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.tags: set[str] = set()
        self.alts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        found = dict(attrs)
        self.loads += [str(found[name]) for name in ("src", "background", "poster") if found.get(name)]
        self.loads += [str(found["href"])] if tag == "link" else []
        if tag == "img":
            self.alts.append(str(found.get("alt")))


def test_a_bundle_holds_a_report_in_every_form_and_says_what_is_missing(tmp_path: Path) -> None:
    before = [
        Figure("started", "Started", 100).to_json(),
        Figure("conversion", "Conversion", 0.2, "percent").to_json(),
        Figure("step:cart", "cart", 70, "count", "step").to_json(),
    ]
    file = description(
        tmp_path,
        missing=["The newest row is old."],
        since="the report on week 46",
        before={"checkout": before},
        window="16 to 22 Nov",
        link="https://sluice.example/report.html",
    )
    out = tmp_path / "out"
    assert main(["--bundle", str(file), "--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "chart-checkout-1.png", "mail.html", "mail.txt", "report.html", "report.json",
    ]  # fmt: skip
    _look_at_picture((out / "chart-checkout-1.png").read_bytes())
    body, page = ((out / name).read_text() for name in ("mail.html", "report.html"))
    for text in (body, page):
        found = Links(text)
        assert found.tags.isdisjoint({"script", "iframe", "object", "embed", "link", "form"})
        assert [load for load in found.loads if not load.startswith("cid:")] == []
        assert "These numbers are not final." in text
        assert "Changes are against <bdi>the report on week 46</bdi>." in text
        assert re.search(r"Gone:</b> *<bdi>cart</bdi>", text)
        assert "▲ 100 %" in text
        assert "▲ 5.0 points" in text
    assert "<style" not in body
    assert Links(body).loads == ["cid:checkout-1"]
    assert Links(body).alts[0].startswith("Bars of how many reach each of 2 steps.")
    _look_at_facts(json.loads((out / "report.json").read_text()))
    plain = (out / "mail.txt").read_text()
    assert "THESE NUMBERS ARE NOT FINAL" in plain
    assert "  Conversion: 25 %  (▲ 5.0 points)\n" in plain
    assert "The whole report: https://sluice.example/report.html" in plain


def _look_at_picture(png: bytes) -> None:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", png[16:24])
    assert 600 < width < 1_000  # sharp on a phone
    assert height > 100


def _look_at_facts(facts: dict[str, Any]) -> None:
    (section,) = facts["sections"]
    assert (section["key"], section["analysis"], section["heading"]) == ("checkout", "funnel", "Checkout")
    assert facts["incomplete"] == ["The newest row is old."]
    by_label = {change["label"]: change for change in section["changes"]}
    assert by_label["Started"]["relative"] == 1.0
    assert by_label["cart"]["status"] == "gone"
    assert by_label["purchase"]["status"] == "new"
    (chart,) = section["charts"]
    assert chart["name"] == "checkout-1"
    assert chart["summary"]
    assert len(chart["data"]["rows"]) == 2


@pytest.mark.parametrize(("sections", "rows"), [(4, 8), (12, 5), (25, 0)])
def test_a_long_mail_keeps_below_what_mail_services_cut_off(tmp_path: Path, sections: int, rows: int) -> None:
    runs = []
    for number in range(sections):
        run = tmp_path / f"funnel_{number}"
        run.mkdir()
        steps = [
            {**FLOW, "step": step, "step_name": f"step {step}", "entities": 99, "conversion_from_start": 1.0}
            for step in range(1, 20)
        ]
        pq.write_table(pa.Table.from_pylist(steps), run / "funnel.parquet")
        (run / "manifest.json").write_text(json.dumps({"analysis": "funnel", "version": 2, "params": {}}))
        runs.append(RunFolder.open(run))
    body, _ = mail(_undrawn(runs))
    assert len(body.encode()) <= 98_000
    assert body.count("<img") == sections
    assert body.count("<bdi>(all)</bdi>") == sections * rows


def _undrawn(runs: list[RunFolder]) -> Story:
    sections = build(runs).sections
    plain = Drawing("", "", b"")
    told = [
        Told(f"s{number}", one, tuple(Plate("c", chart, plain) for chart in one.charts), (), ())
        for number, one in enumerate(sections)
    ]
    return Story(Frame("Long"), tuple(told), ())


def test_a_report_of_nothing_says_so(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    file.write_text(json.dumps({"frame": {"title": "Empty"}, "runs": []}))
    assert main(["--bundle", str(file), "--out", str(tmp_path / "out")]) == 0
    assert "There is nothing to report" in (tmp_path / "out" / "mail.txt").read_text()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"frame": {"colour": 1}, "runs": []}', '{"frame": 1}'])
def test_a_description_that_is_none_is_the_callers_mistake(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "report.json"
    file.write_text(text)
    assert main(["--bundle", str(file), "--out", str(tmp_path / "out")]) == 2
    assert "describes no report" in capsys.readouterr().err


MEMBERS = st.dictionaries(st.sampled_from([f"p{n}" for n in range(40)]), st.integers(1, 99), max_size=40)


@given(MEMBERS, MEMBERS)
def test_each_member_is_new_gone_or_compared_with_itself(now: dict[str, int], before: dict[str, int]) -> None:
    def listed(sizes: dict[str, int]) -> list[Figure]:
        return [
            Figure(f"item:{name}", name, size, "count", "item")
            for name, size in sorted(sizes.items(), key=lambda pair: (-pair[1], pair[0]))
        ]

    current, earlier = listed(now), [figure.to_json() for figure in listed(before)]
    found = {change.label: change for change in compare(current, earlier)}
    for name, change in found.items():
        assert (change.status == "new") == (name in now and name not in before)
        assert (change.status == "gone") == (name in before and name not in now)
        assert change.previous == before.get(name)
    first = [figure.label for figure in current[:20]]
    assert set(first) <= set(found)
    assert {figure["label"] for figure in earlier[:20]} - set(now) <= set(found)


@pytest.mark.parametrize(
    ("value", "previous", "form", "words"),
    [
        (110.0, 100.0, "count", "▲ 10 %"),
        (50.0, 100.0, "money", "▼ 50 %"),
        (0.2, 0.25, "percent", "▼ 5.0 points"),
        (100.0, 100.0, "count", "="),
        (5.0, 0.0, "count", "▲ from 0"),
        (None, 3.0, "count", ""),
        (3.0, None, "count", ""),
        (-50.0, -100.0, "money", "▲ 50 %"),
    ],
)
def test_a_change_is_told_in_words(
    value: float | None, previous: float | None, form: str, words: str
) -> None:
    figure = Figure("x", "X", value, form)
    (change,) = compare([figure], [replace(figure, value=previous).to_json()])
    assert change.words == words
