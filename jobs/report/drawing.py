"""Charts drawn to SVG by Vega in a process of its own, with a time limit and no way to load remote data.

Colours of text and rules are `currentColor`, so one drawing serves the light page, the dark page and print.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any

from jobs.contracts.errors import JobsError
from jobs.report.wording import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

TIMEOUT_SECONDS = 60
_ID = re.compile(r'(\bid="|url\(#|href="#)')
_FORBIDDEN = frozenset({"script", "foreignObject", "image", "use", "a", "iframe", "style"})


def draw(specs: Sequence[dict[str, Any]]) -> list[str]:
    """Draw specifications, all in one worker process.

    Returns:
        SVG elements to put inline, with ids that are unique among them.

    Raises:
        JobsError: the worker failed or took too long, or a drawing holds what a drawing must not hold.
    """
    if not specs:
        return []
    command = [sys.executable, "-m", "jobs.report.drawing"]
    try:
        done = subprocess.run(
            command,
            input=json.dumps([_cleaned(spec) for spec in specs]),
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
    return [_inline(svg, f"c{number}-") for number, svg in enumerate(json.loads(done.stdout))]


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
    for spec in json.load(sys.stdin):
        lite = "vega-lite" in spec.get("$schema", "")
        convert = vl_convert.vegalite_to_svg if lite else vl_convert.vega_to_svg
        drawings.append(convert(spec, allowed_base_urls=[]))
    json.dump(drawings, sys.stdout)


if __name__ == "__main__":
    _work()
