"""The report's charts as Vega and Vega-Lite specifications with their data inline.

Text and rules are `currentColor`, marks are of middle tones: readable on light and dark. Names from the
data are values of fixed fields, never parts of an expression.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from jobs.report.wording import count, shorten

if TYPE_CHECKING:
    from jobs.report.sankey import Layout

WIDTH = 640
#: The breadth of a drawing for a phone, and for a mail, where a phone scales what is broader down.
NARROW = 400
ACCENT = "#4c78a8"
PALETTE = ("#4c78a8", "#f58518", "#54a24b", "#b279a2", "#e45756", "#72b7b2", "#9d755d", "#a0a0a0")
_SCHEMA = "https://vega.github.io/schema/{}.json"
_INK = "currentColor"
#: The drawing process measures texts in a face of these widths, so the page should show them in one.
_FONT = "Arial, Liberation Sans, Helvetica, sans-serif"
_PADDING = {"left": 24, "top": 8, "right": 40, "bottom": 8}
_AXIS = {
    "labelColor": _INK,
    "titleColor": _INK,
    "domainColor": _INK,
    "tickColor": _INK,
    "gridColor": _INK,
    "gridOpacity": 0.15,
    "domainOpacity": 0.4,
    "tickOpacity": 0.4,
    "labelFont": _FONT,
    "titleFont": _FONT,
    "labelFontSize": 12,
    "titleFontSize": 12,
    "titleFontWeight": "normal",
}
_CONFIG = {
    "axis": _AXIS,
    "legend": {
        "labelColor": _INK,
        "titleColor": _INK,
        "labelFont": _FONT,
        "titleFont": _FONT,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
    },
    "view": {"stroke": None},
    "text": {"font": _FONT, "fontSize": 12, "color": _INK},
}
Datum = dict[str, Any]
#: What to sort or compare names by.
Key = Callable[[str], float]


def _lite(data: Sequence[Datum], **parts: Any) -> dict[str, Any]:
    return {
        "$schema": _SCHEMA.format("vega-lite/v6"),
        "background": None,
        "config": _CONFIG,
        "data": {"values": list(data)},
        "width": WIDTH - 40,
        "padding": _PADDING,
        **parts,
    }


def narrowed(spec: dict[str, Any]) -> dict[str, Any]:
    """The same Vega-Lite chart for a phone: less breadth, shorter names."""
    labels = spec["config"]["axis"] | {"labelLimit": 120}
    found: dict[str, Any] = _with_limits(spec) | {
        "width": NARROW - 150,
        "padding": {**_PADDING, "left": 6, "right": 8},
    }
    return found | {"config": {**spec["config"], "axis": labels}}


def _with_limits(part: Any) -> Any:
    if isinstance(part, dict):
        return {key: 120 if key == "labelLimit" else _with_limits(value) for key, value in part.items()}
    return [_with_limits(item) for item in part] if isinstance(part, list) else part


def bars(data: Sequence[Datum], axis: str) -> dict[str, Any]:
    """Level bars in the given order, each with its text at the end. Data: `label`, `value`, `text`."""
    y = {
        "field": "label",
        "type": "nominal",
        "sort": None,
        "title": None,
        "axis": {"labelLimit": 190, "ticks": False, "domain": False},
    }
    x = {
        "field": "value",
        "type": "quantitative",
        "title": axis,
        "axis": {"labels": False, "ticks": False, "grid": False, "domain": False},
    }
    return _lite(
        data,
        height={"step": 26},
        encoding={"y": y, "x": x},
        layer=[
            {"mark": {"type": "bar", "color": ACCENT, "cornerRadiusEnd": 3, "height": {"band": 0.72}}},
            {"mark": {"type": "text", "align": "left", "dx": 6}, "encoding": {"text": {"field": "text"}}},
        ],
    )


def columns(data: Sequence[Datum], x_title: str, y_title: str) -> dict[str, Any]:
    """Upright bars in the given order with their text on top. Data: `label`, `value`, `text`."""
    x = {
        "field": "label",
        "type": "nominal",
        "sort": None,
        "title": x_title,
        "axis": {"labelAngle": 0, "ticks": False},
    }
    y = {
        "field": "value",
        "type": "quantitative",
        "title": y_title,
        "axis": {"tickCount": 4, "format": ",d", "domain": False},
    }
    return _lite(
        data,
        height=220,
        encoding={"x": x, "y": y},
        layer=[
            {"mark": {"type": "bar", "color": ACCENT, "cornerRadiusEnd": 3, "width": {"band": 0.8}}},
            {"mark": {"type": "text", "dy": -8}, "encoding": {"text": {"field": "text"}}},
        ],
    )


def grouped_bars(data: Sequence[Datum], series: Sequence[str], axis: str) -> dict[str, Any]:
    """Level bars, one for each series within a label. Data: `label`, `series`, `value` (a fraction)."""
    y = {
        "field": "label",
        "type": "nominal",
        "sort": None,
        "title": None,
        "axis": {"labelLimit": 190, "ticks": False},
        "scale": {"paddingInner": 0.25},
    }
    x = {
        "field": "value",
        "type": "quantitative",
        "title": axis,
        "axis": {"format": ".0%", "tickCount": 6, "domain": False},
    }
    offset = {"field": "series", "type": "nominal", "sort": list(series)}
    return _lite(
        data,
        height={"step": 10, "for": "offset"},
        mark={"type": "bar", "cornerRadiusEnd": 2},
        encoding={"y": y, "yOffset": offset, "x": x, "color": _series(series)},
    )


def heat(
    data: Sequence[Datum], x_title: str, y_title: str, *, step: int = 28, width: float = WIDTH - 40
) -> dict[str, Any]:
    """Cells, darker for more, with the number in each. Data: `x`, `y`, `value` (0..1 of ink), `text`."""
    x = {
        "field": "x",
        "type": "ordinal",
        "sort": None,
        "title": x_title,
        "axis": {"labelAngle": 0, "orient": "top", "ticks": False, "domain": False},
    }
    y = {
        "field": "y",
        "type": "nominal",
        "sort": None,
        "title": y_title,
        "axis": {"labelLimit": 190, "ticks": False, "domain": False},
    }
    ink = {
        "field": "value",
        "type": "quantitative",
        "scale": {"domain": [0, 1], "range": [0.04, 0.7]},
        "legend": None,
    }
    return _lite(
        data,
        height={"step": step},
        width=width,
        encoding={"x": x, "y": y},
        layer=[
            {
                "mark": {
                    "type": "rect",
                    "color": ACCENT,
                    "cornerRadius": 2,
                    "stroke": _INK,
                    "strokeOpacity": 0.12,
                },
                "encoding": {"fillOpacity": ink},
            },
            {"mark": {"type": "text", "fontSize": 11}, "encoding": {"text": {"field": "text"}}},
        ],
    )


def lines(
    data: Sequence[Datum], series: Sequence[str], axis: str, *, form: str = "~s", points: bool = False
) -> dict[str, Any]:
    """Lines over UTC time, one for each series. Data: `at` (milliseconds), `series`, `value`.

    `form` is a d3 number format: `~s`, `.0%`.
    """
    x = {
        "field": "at",
        "type": "temporal",
        "scale": {"type": "utc"},
        "title": None,
        "axis": {"grid": False, "labelAngle": 0, "labelOverlap": True, "tickCount": 6},
    }
    y = {
        "field": "value",
        "type": "quantitative",
        "title": axis,
        "axis": {"format": form, "tickCount": 5, "domain": False},
        "scale": {"zero": True},
    }
    return _lite(
        data,
        height=220,
        mark={"type": "line", "strokeWidth": 2, "point": points},
        encoding={"x": x, "y": y, "color": _series(series)},
    )


def stacks(data: Sequence[Datum], series: Sequence[str], x_title: str, y_title: str) -> dict[str, Any]:
    """Upright bars of stacked parts, below the line for negative ones. Data: `label`, `series`, `value`."""
    x = {
        "field": "label",
        "type": "ordinal",
        "sort": None,
        "title": x_title,
        "axis": {"labelAngle": 0, "labelOverlap": True, "ticks": False},
    }
    y = {
        "field": "value",
        "type": "quantitative",
        "title": y_title,
        "axis": {"tickCount": 5, "format": "~s", "domain": False},
    }
    order = {"field": "order", "type": "quantitative"}
    return _lite(
        data,
        height=240,
        mark={"type": "bar", "width": {"band": 0.8}},
        encoding={"x": x, "y": y, "color": _series(series), "order": order},
    )


def _series(names: Sequence[str]) -> dict[str, Any]:
    """The colours of series, with a legend where there are several."""
    legend = {"orient": "top", "title": None, "symbolType": "square", "columnPadding": 18, "columns": 4}
    return {
        "field": "series",
        "type": "nominal",
        "sort": None,
        "scale": {"domain": list(names), "range": list(PALETTE)},
        "legend": legend if len(names) > 1 else None,
    }


def sankey(
    drawn: Layout, headings: Sequence[str], height: float, *, width: float = WIDTH, letters: int = 20
) -> dict[str, Any]:
    """A laid-out Sankey as a plain Vega specification; `headings` name the columns, `letters` cut names."""
    names = sorted({node.name for node in drawn.nodes}, key=lambda name: (-_total(drawn, name), name))
    colors = {name: PALETTE[min(index, len(PALETTE) - 1)] for index, name in enumerate(names)}
    nodes = [
        {
            "x": node.x0,
            "x2": node.x1,
            "y": node.y0,
            "y2": max(node.y1, node.y0 + 1),
            "fill": colors[node.name],
            "label": f"{shorten(node.name, letters)}  {count(node.value)}",
            "middle": (node.y0 + node.y1) / 2,
        }
        for node in drawn.nodes
    ]
    links = [{"path": link.ribbon(), "fill": colors[link.source[1]]} for link in drawn.links]
    lefts = sorted({node.x0 for node in drawn.nodes})
    heads = [{"x": x, "text": text} for x, text in zip(lefts, headings, strict=True)]
    return {
        "$schema": _SCHEMA.format("vega/v6"),
        "background": None,
        "width": width,
        "height": height,
        "padding": {"left": 4, "top": 26, "right": 4, "bottom": 8},
        "data": [
            {"name": "nodes", "values": nodes},
            {"name": "links", "values": links},
            {"name": "heads", "values": heads},
        ],
        "marks": [
            _mark("path", "links", path="path", fill="fill", constants={"fillOpacity": 0.32}),
            _mark("rect", "nodes", x="x", x2="x2", y="y", y2="y2", fill="fill", constants={}),
            _mark(
                "text", "nodes", x="x2", y="middle", text="label", constants=_TEXT | {"baseline": "middle"}
            ),
            _mark(
                "text",
                "heads",
                x="x",
                text="text",
                constants=_TEXT | {"y": -12, "dx": 0, "fontWeight": "bold"},
            ),
        ],
    }


_TEXT = {"font": _FONT, "fontSize": 12, "fill": _INK, "dx": 5}


def _mark(kind: str, data: str, *, constants: dict[str, Any], **fields: str) -> dict[str, Any]:
    enter = {channel: {"field": name} for channel, name in fields.items()}
    return {
        "type": kind,
        "from": {"data": data},
        "encode": {"enter": enter | {channel: {"value": value} for channel, value in constants.items()}},
    }


def _total(drawn: Layout, name: str) -> float:
    return sum(node.value for node in drawn.nodes if node.name == name)
