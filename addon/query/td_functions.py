"""Treasure Data's own SQL functions in DuckDB's words; constants are folded, so that files are pruned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlglot
from sqlglot import exp

from addon.query.times import interval, parse_duration, parse_time, strftime_format, zone_name
from platform_core.base.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_UNITS = frozenset({"minute", "hour", "day", "week", "month", "quarter", "year"})
_CUT = {
    "y": "%Y", "M": "%Y-%m", "w": "%Y-%m-%d", "d": "%Y-%m-%d", "h": "%Y-%m-%d %H", "m": "%Y-%m-%d %H:%M",
    "s": "%Y-%m-%d %H:%M:%S",
}  # fmt: skip
_Node = exp.Expr


@dataclass(frozen=True, slots=True)
class Times:
    """The moments a query may refer to, in Unix seconds."""

    now: int
    scheduled: int
    """TD_SCHEDULED_TIME(): the slot of the schedule, else the time the job was issued."""


def rewrite_td_functions(tree: exp.Query, times: Times) -> exp.Query:
    """Replace every TD_ function, innermost first.

    Raises:
        InvalidInput: an argument is wrong, or the function is not known.
    """
    calls = [call for call in tree.find_all(exp.Anonymous) if _is_ours(call.name.upper())]
    for call in reversed(calls):  # find_all walks breadth first, so inner calls come later
        handler = _HANDLERS.get(call.name.upper())
        if handler is None:
            raise InvalidInput(f"The function {call.name.upper()} is not supported yet.")
        try:
            call.replace(handler(call.expressions, times))
        except IndexError as error:
            raise InvalidInput(f"{call.name.upper()} is missing an argument.") from error
    return tree


def _is_ours(name: str) -> bool:
    return name.startswith("TD_") or name in _HANDLERS


def _build(template: str, **nodes: _Node) -> _Node:
    """Parse DuckDB SQL with ``:name`` placeholders and put ``nodes`` in their places."""
    tree = sqlglot.parse_one(template, read="duckdb")
    copies = {
        name: exp.paren(node.copy()) if isinstance(node, exp.Binary) else node for name, node in nodes.items()
    }
    return exp.replace_placeholders(tree, **copies)


def _text(node: _Node, what: str) -> str:
    if isinstance(node, exp.Literal) and node.is_string:
        return str(node.this)
    raise InvalidInput(f"{what} must be a plain string, not an expression.")


def _zone_at(arguments: Sequence[_Node], index: int) -> str:
    given = len(arguments) > index and not isinstance(arguments[index], exp.Null)
    return _text(arguments[index], "The time zone") if given else "UTC"


def _number(value: int) -> _Node:
    return exp.Literal.number(value) if value >= 0 else exp.Neg(this=exp.Literal.number(-value))


def _moment(node: _Node, zone: str) -> _Node | None:
    """Return a bound of a range as an expression in Unix seconds; None for an open one."""
    if isinstance(node, exp.Null):
        return None
    if isinstance(node, exp.Literal) and node.is_string:
        seconds = parse_time(str(node.this), zone)
        if seconds is None:
            raise InvalidInput(
                f"{str(node.this)[:60]!r} is not a time.", hint="Write it like 2026-01-31 12:00:00."
            )
        return _number(seconds)
    return node


def _between(column: _Node, first: _Node | None, last: _Node | None) -> _Node:
    bounds: list[_Node] = []
    if first is not None:
        bounds.append(_build(":t >= :bound", t=column, bound=first))
    if last is not None:
        bounds.append(_build(":t < :bound", t=column, bound=last))
    if not bounds:
        return _build(":t IS NOT NULL", t=column)
    return exp.paren(exp.and_(*bounds, copy=False))


def _time_range(arguments: Sequence[_Node], _times: Times) -> _Node:
    zone = _zone_at(arguments, 3)
    last = _moment(arguments[2], zone) if len(arguments) > 2 else None  # noqa: PLR2004
    return _between(arguments[0], _moment(arguments[1], zone), last)


def _interval(arguments: Sequence[_Node], times: Times) -> _Node:
    spec = _text(arguments[1], "The interval")
    first, last = interval(spec, _zone_at(arguments, 2), times.scheduled)
    return _between(arguments[0], _number(first), _number(last))


def _time_parse(arguments: Sequence[_Node], _times: Times) -> _Node:
    zone = _zone_at(arguments, 1)
    text = arguments[0]
    if isinstance(text, exp.Literal):
        seconds = parse_time(str(text.this), zone)
        return exp.null() if seconds is None else _number(seconds)
    return _build(
        r"CAST(CASE WHEN regexp_matches(:s, '(Z|[+-]\d\d(:?\d\d)?)$') AND length(:s) > 10"
        " THEN epoch(TRY_CAST(:s AS TIMESTAMPTZ))"
        " ELSE epoch(timezone(:zone, TRY_CAST(:s AS TIMESTAMP))) END AS BIGINT)",
        s=text,
        zone=exp.Literal.string(zone_name(zone)),
    )


def _strftime(column: _Node, pattern: str, zone: str) -> _Node:
    return _build(
        "strftime(timezone(:zone, to_timestamp(:t)), :pattern)",
        t=column,
        zone=exp.Literal.string(zone_name(zone)),
        pattern=exp.Literal.string(pattern),
    )


def _time_format(arguments: Sequence[_Node], _times: Times) -> _Node:
    zone = _zone_at(arguments, 2)
    pattern = strftime_format(_text(arguments[1], "The format"), zone)
    return _strftime(arguments[0], pattern, zone)


def _time_string(arguments: Sequence[_Node], times: Times) -> _Node:
    zone = _zone_at(arguments, 2)
    unit = _text(arguments[1], "The unit")
    letter = unit.removesuffix("!")
    words = {"y": "year", "q": "quarter", "M": "month", "w": "week", "d": "day", "h": "hour", "m": "minute"}
    if letter not in {*words, "s"} or unit == "q!":
        raise InvalidInput(f"The unit {unit[:10]!r} is not supported.", hint="Use y, M, w, d, h, m or s.")
    moment = arguments[0]
    if letter in words:
        moment = _date_trunc([exp.Literal.string(words[letter]), moment, exp.Literal.string(zone)], times)
    pattern = _CUT[letter] if unit.endswith("!") else strftime_format("yyyy-MM-dd HH:mm:ssZ", zone)
    return _strftime(moment, pattern, zone)


def _time_add(arguments: Sequence[_Node], _times: Times) -> _Node:
    seconds = parse_duration(_text(arguments[1], "The duration"))
    start = _moment(arguments[0], _zone_at(arguments, 2))
    if start is None:
        return exp.null()
    if isinstance(start, exp.Literal):
        return _number(int(start.this) + seconds)
    return exp.paren(_build(":t + :s", t=start, s=exp.paren(_number(seconds))))


def _date_trunc(arguments: Sequence[_Node], _times: Times) -> _Node:
    unit = _text(arguments[0], "The unit").lower()
    if unit not in _UNITS:
        raise InvalidInput(
            f"The unit {unit[:20]!r} is not supported.", hint=f"Use one of {', '.join(sorted(_UNITS))}."
        )
    return _build(
        "CAST(epoch(timezone(:zone, date_trunc(:unit, timezone(:zone, to_timestamp(:t))))) AS BIGINT)",
        t=arguments[1],
        unit=exp.Literal.string(unit),
        zone=exp.Literal.string(zone_name(_zone_at(arguments, 2))),
    )


def _scheduled_time(_arguments: Sequence[_Node], times: Times) -> _Node:
    return _number(times.scheduled)


def _template(template: str, *names: str) -> Callable[[Sequence[_Node], Times], _Node]:
    def handle(arguments: Sequence[_Node], _times: Times) -> _Node:
        return _build(template, **{name: arguments[index] for index, name in enumerate(names)})

    return handle


_HANDLERS: dict[str, Callable[[Sequence[_Node], Times], _Node]] = {
    "TD_TIME_RANGE": _time_range,
    "TD_INTERVAL": _interval,
    "TD_TIME_PARSE": _time_parse,
    "TD_TIME_FORMAT": _time_format,
    "TD_TIME_STRING": _time_string,
    "TD_TIME_ADD": _time_add,
    "TD_DATE_TRUNC": _date_trunc,
    "TD_SCHEDULED_TIME": _scheduled_time,
    "NAN": _template("CAST('nan' AS DOUBLE)"),  # Trino's, which sqlglot leaves as they are
    "INFINITY": _template("CAST('infinity' AS DOUBLE)"),
    "TD_MD5": _template("md5(:a)", "a"),
    "TD_URL_DECODE": _template("url_decode(:a)", "a"),
    "TD_URL_ENCODE": _template("url_encode(:a)", "a"),
    "TD_FIRST": _template("arg_min(:a, :b)", "a", "b"),
    "TD_LAST": _template("arg_max(:a, :b)", "a", "b"),
    "TD_AVGIF": _template("avg(:a) FILTER (WHERE :b)", "a", "b"),
    "TD_SUMIF": _template("sum(:a) FILTER (WHERE :b)", "a", "b"),
    "TD_DIVIDE": _template("CASE WHEN :b = 0 THEN 0 ELSE CAST(:a AS DOUBLE) / :b END", "a", "b"),
}
