"""Pages of lists by the ``Range`` header: ``version ..; max=10, order=desc``, as Heroku has them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi.responses import JSONResponse

from platform_core.base.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastapi import Request

_SHAPE = re.compile(
    r"(?P<field>[a-z_]+)?\s*(?P<behind>\])?(?P<start>[^\].;\s]*)\.\.(?P<end>[^\[.;\s]*)(?P<before>\[)?"
    r"\s*(?:;\s*(?P<options>.*))?",
)
_PAGE = 200
_MAX_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Range:
    """A wanted part of a list."""

    field: str | None = None
    start: str = ""
    behind: bool = False
    """Whether ``start`` itself is left out."""
    end: str = ""
    before: bool = False
    size: int = _PAGE
    descending: bool = False


def parse_range(header: str | None) -> Range:
    """Read a Range header; an empty one (the CLI sends it) is as good as none.

    Raises:
        InvalidInput: it is not a range.
    """
    text = (header or "").strip()
    # The CLI also sends bare options: ``order=desc,max=1``.
    if re.match(r"(max|order)\s*=", text):
        text = f"..; {text}"
    match = _SHAPE.fullmatch(text or "..")
    if match is None:
        raise InvalidInput(f"Range {text!r} is not understood.", hint="Write e.g. `version ..; max=10`.")
    options = dict(re.findall(r"(max|order)\s*=\s*(\w+)", match["options"] or ""))
    size = options.get("max", str(_PAGE))
    if not size.isdigit() or not 1 <= int(size) <= _MAX_PAGE:
        raise InvalidInput(f"Range max={size} is not between 1 and {_MAX_PAGE}.")
    return Range(
        field=match["field"],
        start=match["start"] or "",
        behind=match["behind"] is not None,
        end=match["end"] or "",
        before=match["before"] is not None,
        size=int(size),
        descending=options.get("order") == "desc",
    )


def paged(request: Request, rows: Sequence[dict[str, Any]], field: str) -> JSONResponse:
    """Answer with the wanted part of ``rows``: 200, or 206 with ``Next-Range`` when there is more.

    ``field`` is what the list is sorted and cut by unless the client names another field of the rows.
    """
    wanted = parse_range(request.headers.get("range"))
    key = wanted.field if wanted.field and rows and wanted.field in rows[0] else field
    ordered = sorted(rows, key=lambda row: row[key], reverse=wanted.descending)
    chosen = [row for row in ordered if _inside(row[key], wanted)]
    page = chosen[: wanted.size]
    headers = {"Accept-Ranges": ", ".join(dict.fromkeys((field, "id")))}
    if page:
        headers["Content-Range"] = f"{key} {page[0][key]}..{page[-1][key]}"
    if len(chosen) == len(page):
        return JSONResponse(page, headers=headers)
    order = ", order=desc" if wanted.descending else ""
    closing = f"{wanted.end}{'[' if wanted.before else ''}"
    headers["Next-Range"] = f"{key} ]{page[-1][key]}..{closing}; max={wanted.size}{order}"
    return JSONResponse(page, status_code=206, headers=headers)


def _inside(value: Any, wanted: Range) -> bool:
    sign = -1 if wanted.descending else 1
    if wanted.start:
        place = sign * _compare(value, wanted.start)
        if place < 0 or (place == 0 and wanted.behind):
            return False
    if wanted.end:
        place = sign * _compare(value, wanted.end)
        if place > 0 or (place == 0 and wanted.before):
            return False
    return True


def _compare(value: Any, bound: str) -> int:
    if isinstance(value, int):
        if not bound.isdigit():
            raise InvalidInput(f"Range bound {bound!r} is not a number.")
        return (value > int(bound)) - (value < int(bound))
    return (str(value) > bound) - (str(value) < bound)
