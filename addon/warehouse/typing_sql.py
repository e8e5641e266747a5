"""The SQL of the two-tier typing: a fast query that never says "ok" wrongly, a slow one that places misfits.

Both read the registered Arrow table ``lt(rn, rt, l)``: row number, receipt time, JSON text; the slow one also
``d``, the earlier values of duplicate keys. Columns are named by position (``c0``...), since a sender may
call a column anything.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from addon.warehouse.names import json_pointer, literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from addon.models.tables import Column

MIN_TIME, MAX_TIME = -62_135_596_800, 253_402_300_799
"""Unix seconds of the years 1 to 9999; beyond lie milliseconds and mistakes."""
_EXACT = 9_007_199_254_740_992
_CHECKED = frozenset({"long", "double", "boolean"})
_POINTER = "'/' || replace(replace(k, '~', '~0'), '/', '~1')"


def _key(column: Column) -> str:
    return column.original or column.name


def stored_kind(column: Column) -> str:
    """Return the type of the physical column that takes a logical column's new values."""
    return column.stored[-1][1] if column.stored else column.type


def _spec(columns: Sequence[Column]) -> str:
    """Return json_transform's structure: checked columns as their own text, the others as they are."""
    forms = {_key(column): "VARCHAR" if stored_kind(column) == "string" else "JSON" for column in columns}
    return literal(msgspec.json.encode(forms).decode())


def _text(column: Column) -> str:
    return f"(struct_extract(r, {literal(_key(column))})::varchar)"


def _null_count(columns: Sequence[Column]) -> str:
    """Return the SQL of how many of the columns' keys are there with null; ``time`` may not be."""
    pointers = ", ".join(literal(json_pointer(_key(column))) for column in columns[1:])
    return f"len(list_filter(json_type(l, [{pointers}]), lambda kind: kind = 'NULL'))"


def _checked(kind: str, n: int) -> tuple[str, str]:
    """Return the SQL of a column's value out of its JSON text ``x{n}``, and the test that it fits exactly."""
    if kind == "long":
        return f"try_cast(x{n} as bigint) as c{n}", f"(x{n} is null or c{n}::varchar = x{n})"
    if kind == "double":
        fits = f"(x{n} is null or (abs(c{n}) < {_EXACT} and x{n}[1] <> '\"'))"
        return f"try_cast(x{n} as double) as c{n}", fits
    value = f"case x{n} when 'true' then true when 'false' then false end as c{n}"
    return value, f"(x{n} is null or c{n} is not null)"


class Keys(StrEnum):
    """How the fast query makes sure that a row has no key but those that found a column."""

    COUNTED = "counted"
    """It only returns ``present``, how many found one; ``key_count`` compares that with the bytes."""
    PARSED = "parsed"
    """By a second parse of each line."""
    NULLS = "nulls"
    """Likewise, and keys that are there with null count as found, which costs a quarter of the speed."""


def fast(columns: Sequence[Column], keys: Keys = Keys.PARSED) -> str:
    """Return the query for all rows: rn, ok, c0 (time), c1...; only the values of ok rows count.

    A row is ok when each value fits its column exactly, and it has as many keys as found a column: an unknown
    key, or one that is there twice, makes the sum too small. So does a null, unless they are counted as well.
    With ``Keys.COUNTED`` the sum is ``present`` and not compared.
    """
    inner, values, checks = ["rn", "rt", "d"], [], []
    for n, column in enumerate(columns):
        inner.append(f"{_text(column)} as x{n}")
        kind = stored_kind(column)
        if kind in _CHECKED:
            value, test = _checked(kind, n)
            values.append(value)
            checks.append(test)
        else:
            values.append(f"x{n} as c{n}")
    present = " + ".join(f"(x{n} is not null)::usmallint" for n in range(len(columns)))
    if keys is not Keys.COUNTED:
        number = "len(json_keys(l))"
        if keys is Keys.NULLS and len(columns) > 1:
            number += f" - {_null_count(columns)}"
        inner.append(f"{number} as lk")
        checks.append(f"lk = {present}")
    checks += [f"(c0 is null or c0 between {MIN_TIME} and {MAX_TIME})", "d is null"]
    test = " and ".join(checks)
    shown = "".join(f", c{n}" for n in range(1, len(columns)))
    extra = f", {present} as present" if keys is Keys.COUNTED else ""
    return (
        f"select rn, coalesce({test}, false) as ok, coalesce(c0, rt) as c0{shown}{extra} "  # noqa: S608 - built from quoted literals and numbered names
        f"from (select *, {', '.join(values)} from (select {', '.join(inner)} "
        f"from (select rn, rt, d, l, json_transform(l, {_spec(columns)}) as r from lt)))"
    )


def _is_double(text: str) -> str:
    """Return the test that a JSON text is a number that binary64 keeps as exactly as its spelling allows."""
    value = f"try_cast({text} as double)"
    return (
        f"coalesce({text}[1] <> '\"' and isfinite({value}) and (abs({value}) < {_EXACT} "
        f"or contains({text}, '.') "
        f"or contains(lower({text}), 'e') or try_cast({value} as hugeint)::varchar = {text}), false)"
    )


def _exact_long(text: str) -> str:
    return f"case when try_cast({text} as bigint)::varchar = {text} then try_cast({text} as bigint) end"


def _placed(kind: str, text: str) -> str:
    """Return the value of a column, NULL when the text does not fit its type."""
    if kind == "long":
        return _exact_long(text)
    if kind == "double":
        return f"case when {_is_double(text)} then try_cast({text} as double) end"
    if kind == "boolean":
        return f"case {text} when 'true' then true when 'false' then false end"
    return text


def _known(columns: Sequence[Column]) -> str:
    return f"[{', '.join(literal(_key(column)) for column in columns)}]"


def is_widened(column: Column) -> bool:
    """Tell whether a column is a double one that began as long: whole numbers may go to the long part."""
    return [kind for _, kind in column.stored] == ["long", "double"]


def slow(columns: Sequence[Column]) -> str:
    """Return the query for the remaining rows: rn, reason, c0 (time), c1..., w1..., _overflow.

    A widened column ``c3`` has its long part beside it as ``w3``: it takes the whole numbers that binary64
    would round. ``reason`` is set where the row cannot be kept as one: its time is no time. Each layer names
    what the next one uses several times; planning wide tables would take seconds otherwise.
    """
    names = range(1, len(columns))
    texts = ", ".join(f"{_text(column)} as x{n}" for n, column in enumerate(columns))
    placed = [f"{_placed(stored_kind(column), f'x{n}')} as c{n}" for n, column in enumerate(columns) if n]
    wide = [n for n in names if is_widened(columns[n])]
    placed += [f"case when not {_is_double(f'x{n}')} then {_exact_long(f'x{n}')} end as w{n}" for n in wide]
    parts = []
    for n, column in enumerate(columns[1:], start=1):
        if stored_kind(column) in _CHECKED:
            named = literal(msgspec.json.encode(_key(column)).decode() + ":")
            missed = f"c{n} is null and w{n} is null" if n in wide else f"c{n} is null"
            parts.append(f"case when x{n} is not null and {missed} then {named} || x{n} end")
    parts += [_unknown_members(columns), "'\"_duplicates\":' || d"]
    shown = "".join([*(f", c{n}" for n in names), *(f", w{n}" for n in wide)])
    return (
        "select rn, reason, case when has_time then moment else rt end as c0"  # noqa: S608 - quoted parts only
        f"{shown}, case when misfits <> '' then '{{' || misfits || '}}' end as _overflow from ("
        f"select rn, rt, has_time, moment, {_REASON} as reason{shown}, "
        f"concat_ws(',', {', '.join(parts)}) as misfits "
        f"from (select *, {_MOMENT} as moment{''.join(f', {value}' for value in placed)} "
        f"from (select rn, rt, l, d, ks, list_contains(ks, 'time') as has_time, {texts} "
        f"from (select rn, rt, l, d, json_keys(l) as ks, json_transform(l, {_spec(columns)}) as r from lt))))"
    )


_MOMENT = (
    f"coalesce({_exact_long('x0')}, "
    "case when x0[1] <> '\"' then try_cast(floor(try_cast(x0 as double)) as bigint) end)"
)
_REASON = (
    "case when not has_time then null when x0 is null then 'time_is_null' "
    "when x0[1] = '\"' or try_cast(x0 as double) is null then 'time_is_not_a_number' "
    f"when moment is null or moment not between {MIN_TIME} and {MAX_TIME} then 'time_is_out_of_range' end"
)


def _unknown_members(columns: Sequence[Column]) -> str:
    """Return the SQL of the members that no column takes: JSON text without braces, or NULL."""
    return (
        "nullif(array_to_string(list_transform("
        f"list_filter(ks, lambda k: not list_contains({_known(columns)}, k)), "
        f"lambda k: case when json_type(l, {_POINTER}) <> 'NULL' "
        f"then to_json(k)::varchar || ':' || json_extract(l, {_POINTER})::varchar end), ','), '')"
    )


def doubled_keys() -> str:
    """Return the query for the row numbers whose JSON has a key twice."""
    return "select rn from (select rn, json_keys(l) as ks from lt) where len(list_distinct(ks)) <> len(ks)"


def unknown_keys(columns: Sequence[Column]) -> str:
    """Return the query for new keys: k, text of the first non-null value, whether any value is a fraction."""
    return (
        "select k, arg_min(v::varchar, rn) as first, "  # noqa: S608 - built from quoted literals
        "bool_or(json_type(v) = 'DOUBLE') as fraction, min((rn, place)) as seen "
        f"from (select rn, k, place, json_extract(l, {_POINTER}) as v from "
        "(select rn, l, unnest(ks) as k, generate_subscripts(ks, 1) as place from (select rn, l, "
        f"list_filter(json_keys(l), lambda k: not list_contains({_known(columns)}, k)) as ks from lt))) "
        "where json_type(v) <> 'NULL' group by k order by seen"
    )


def widenings(columns: Sequence[Column]) -> str | None:
    """Return the query for the keys of long columns that meet a double (k); None without long columns."""
    longs = [column for column in columns[1:] if stored_kind(column) == "long"]
    if not longs:
        return None
    return (
        f"select k from (select k, json_extract(l, {_POINTER})::varchar as x from (select l, "  # noqa: S608 - built from quoted literals
        f"unnest(list_filter(json_keys(l), lambda k: list_contains({_known(longs)}, k))) as k from lt)) "
        f"group by k having bool_or(({_exact_long('x')}) is null and {_is_double('x')})"
    )
