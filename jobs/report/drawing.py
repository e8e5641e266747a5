"""Charts drawn to SVG and PNG by Vega in a process of its own, with a time limit and nothing from outside.

Colours of text and rules are `currentColor`, so one drawing serves the light page, the dark page and print.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jobs.contracts.errors import JobsError
from jobs.report.charts import narrowed
from jobs.report.wording import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobs.report.model import Chart

TIMEOUT_SECONDS = 60
_ID = re.compile(r'(\bid="|url\(#|href="#)')
_FORBIDDEN = frozenset({"script", "foreignObject", "image", "use", "a", "iframe", "style"})


#: Colours of a drawing that stands alone, such as a picture in a mail.
_INK, _PAPER = "#1c2430", "#ffffff"
_PNG_SCALE = 1.8


@dataclass(frozen=True, slots=True)
class Drawing:
    """A drawn chart.

    Attributes:
        wide: SVG to put inline, for a screen and for paper.
        narrow: the same for a phone.
        png: the narrow one as a picture on white, sharp on a dense screen;
            empty where nobody asked for it.
    """

    wide: str
    narrow: str
    png: bytes


def draw(specs: Sequence[dict[str, Any]]) -> list[str]:
    """Draw specifications, all in one worker process.

    Returns:
        SVG elements to put inline, with ids that are unique among them.

    Raises:
        JobsError: the worker failed or took too long, or a drawing holds what a drawing must not hold.
    """
    drawn = _drawn([("svg", spec) for spec in specs])
    return [_inline(svg, f"c{number}-") for number, svg in enumerate(drawn)]


def draw_charts(found: Sequence[Chart], *, pictures: bool) -> list[Drawing]:
    """Draw charts in all their forms, `pictures` included or not, in one worker process.

    Raises:
        JobsError: the worker failed or took too long, or a drawing holds what a drawing must not hold.
    """
    asked: list[tuple[str, dict[str, Any]]] = []
    for chart in found:
        slim = chart.narrow or narrowed(chart.spec)
        asked += [("svg", chart.spec), ("svg", slim)]
        if pictures:
            asked.append(("png", _inked(slim) | {"background": _PAPER}))
    drawn = iter(_drawn(asked))
    return [
        Drawing(
            _inline(next(drawn), f"c{number}-"),
            _inline(next(drawn), f"n{number}-"),
            base64.b64decode(next(drawn)) if pictures else b"",
        )
        for number in range(len(found))
    ]


def _inked(part: Any) -> Any:
    """The same specification with the colour of its surroundings made a fixed one: a picture has none."""
    if isinstance(part, dict):
        return {key: value if key == "values" else _inked(value) for key, value in part.items()}
    if isinstance(part, list):
        return [_inked(item) for item in part]
    return _INK if part == "currentColor" else part


def _drawn(asked: Sequence[tuple[str, dict[str, Any]]]) -> list[str]:
    """Have a worker draw; SVG comes as text, PNG as base64."""
    if not asked:
        return []
    command = [sys.executable, "-m", "jobs.report.drawing"]
    try:
        done = subprocess.run(
            command,
            input=json.dumps([(form, _cleaned(spec)) for form, spec in asked]),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=True,
        )
    except subprocess.TimeoutExpired as error:
        raise JobsError(
            f"the charts were not drawn within {TIMEOUT_SECONDS} s; report fewer runs at once"
        ) from error
    except subprocess.CalledProcessError as error:
        last = (error.stderr or "").strip().splitlines()[-1:] or ["no message"]
        raise JobsError(f"the charts could not be drawn: {last[0]}") from error
    drawings: list[str] = json.loads(done.stdout)
    return drawings


def _cleaned(part: Any) -> Any:
    """The same specification with every text made safe to draw."""
    if isinstance(part, str):
        return clean(part)
    if isinstance(part, dict):
        return {key: _cleaned(value) for key, value in part.items()}
    return [_cleaned(item) for item in part] if isinstance(part, list) else part


def _inline(svg: str, prefix: str) -> str:
    """Check a drawing against what may stand in the page, and make its ids its own."""
    for element in ET.fromstring(svg).iter():  # noqa: S314 - Vega's own output, made a moment ago
        name = element.tag.rpartition("}")[2]
        loads = [
            key for key in element.attrib if key.startswith("on") or key.rpartition("}")[2] in {"href", "src"}
        ]
        if name in _FORBIDDEN or loads:
            raise JobsError(f"a chart holds {name} {' '.join(loads)}, which the page does not allow")
    return _ID.sub(rf"\g<1>{prefix}", svg)


def _work() -> None:
    """In the worker: read specifications on stdin, write drawings on stdout."""
    import vl_convert  # noqa: PLC0415 - it embeds a JavaScript engine, which only the worker needs

    drawings = []
    for form, spec in json.load(sys.stdin):
        kind = "vegalite" if "vega-lite" in spec.get("$schema", "") else "vega"
        convert = getattr(vl_convert, f"{kind}_to_{form}")
        if form == "png":
            picture = convert(spec, scale=_PNG_SCALE, allowed_base_urls=[])
            drawings.append(base64.b64encode(picture).decode())
        else:
            drawings.append(convert(spec, allowed_base_urls=[]))
    json.dump(drawings, sys.stdout)


if __name__ == "__main__":
    _work()
