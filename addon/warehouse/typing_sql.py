"""The SQL of the two-tier typing: the texts of all columns, and a slow query that places misfits.

All read the registered Arrow table ``lt(rn, rt, l, d)``: row number, receipt time, JSON text, and the
earlier values of duplicate keys. Columns are named by position (``c0``...), since a sender may call a column
anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from addon.warehouse.names import DUPLICATES, json_pointer, literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from addon.models.tables import Column

MIN_TIME, MAX_TIME = -62_135_596_800, 253_402_300_799
"""Unix seconds of the years 1 to 9999; beyond lie milliseconds and mistakes."""
EXACT = 9_007_199_254_740_992
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


def texts(columns: Sequence[Column]) -> str:
    """Return the query for all lines, in their order: r, a struct of the columns' texts (see ``_spec``)."""
    return f"select json_transform(l, {_spec(columns)}) as r from lt"  # noqa: S608 - a quoted literal


def key_numbers(columns: Sequence[Column] = ()) -> str:
    """Return the query for how many keys each line has (k), in the lines' order.

    The given columns' keys that are there with null are not counted; ``time`` may not be null.
    """
    nulls = ""
    if len(columns) > 1:
        pointers = ", ".join(literal(json_pointer(_key(column))) for column in columns[1:])
        nulls = f" - len(list_filter(json_type(l, [{pointers}]), lambda kind: kind = 'NULL'))"
    return f"select len(json_keys(l)){nulls} as k from lt"  # noqa: S608 - quoted literals


def misfits() -> str:
    """Return the query for how often each key is in the overflow texts ``lt(o)``: k, n."""
    return "select k, count(*) as n from (select unnest(json_keys(o)) as k from lt) group by k"


def keys() -> str:
    """Return the query for the distinct keys of the lines (k)."""
    return "select distinct unnest(json_keys(l)) as k from lt"


def _is_double(text: str) -> str:
    """Return the test that a JSON text is a number that binary64 keeps as exactly as its spelling allows."""
    value = f"try_cast({text} as double)"
    return (
        f"coalesce({text}[1] <> '\"' and isfinite({value}) and (abs({value}) < {EXACT} "
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


def is_widened(column: Column) -> bool:
    """Tell whether a column is a double one that began as long: whole numbers may go to the long part."""
    return [kind for _, kind in column.stored] == ["long", "double"]


def slow(columns: Sequence[Column], *, unknown: bool) -> str:
    """Return the query for the remaining lines, each key once: rn, reason, c0 (time), c1, w1..., _overflow.

    ``columns`` are those that the lines have keys for; ``unknown``: there are keys for none, named in the
    registered table ``unknown(k)``. A widened column ``c3`` has its long part beside it as ``w3``: it takes
    the whole numbers that binary64 would round. ``reason`` is set where the row cannot be kept as one: its
    time is no time. Each layer names what the next one uses several times; planning would take long
    otherwise.
    """
    names = range(1, len(columns))
    shown_texts = ", ".join(f"{_text(column)} as x{n}" for n, column in enumerate(columns))
    placed = [f"{_placed(stored_kind(column), f'x{n}')} as c{n}" for n, column in enumerate(columns) if n]
    wide = [n for n in names if is_widened(columns[n])]
    placed += [f"case when not {_is_double(f'x{n}')} then {_exact_long(f'x{n}')} end as w{n}" for n in wide]
    parts = []
    for n, column in enumerate(columns[1:], start=1):
        if stored_kind(column) in _CHECKED:
            named = literal(msgspec.json.encode(_key(column)).decode() + ":")
            missed = f"c{n} is null and w{n} is null" if n in wide else f"c{n} is null"
            parts.append(f"case when x{n} is not null and {missed} then {named} || x{n} end")
    parts += ["others" if unknown else "null", f"'\"{DUPLICATES}\":' || d"]
    shown = "".join([*(f", c{n}" for n in names), *(f", w{n}" for n in wide)])
    return (
        "select rn, reason, case when has_time then moment else rt end as c0"  # noqa: S608 - quoted parts only
        f"{shown}, case when misfits <> '' then '{{' || misfits || '}}' end as _overflow from ("
        f"select rn, rt, has_time, moment, {_REASON} as reason{shown}, "
        f"concat_ws(',', {', '.join(parts)}) as misfits "
        f"from (select *, {_MOMENT} as moment{''.join(f', {value}' for value in placed)} "
        f"from (select rn, rt, l, d{', others' if unknown else ''}, has_time, {shown_texts} "
        f"from (select *, json_exists(l, '/time') as has_time, json_transform(l, {_spec(columns)}) as r "
        f"from lt{_OTHERS if unknown else ''}))))"
    )


_OTHERS = (
    " left join (select rn, string_agg(to_json(key)::varchar || ':' || value::varchar, ',' order by place)"
    " as others from (select rn, key, value, type, j.rowid as place from lt, json_each(l) j)"
    " where type <> 'NULL' and key in (select k from unknown) group by rn) using (rn)"
)
"""The members that no column takes, as JSON text without braces."""
_MOMENT = (
    f"coalesce({_exact_long('x0')}, "
    "case when x0[1] <> '\"' then try_cast(floor(try_cast(x0 as double)) as bigint) end)"
)
_REASON = (
    "case when not has_time then null when x0 is null then 'time_is_null' "
    "when x0[1] = '\"' or try_cast(x0 as double) is null then 'time_is_not_a_number' "
    f"when moment is null or moment not between {MIN_TIME} and {MAX_TIME} then 'time_is_out_of_range' end"
)


def doubled_keys() -> str:
    """Return the query for the row numbers whose JSON has a key twice."""
    return "select rn from (select rn, json_keys(l) as ks from lt) where len(list_distinct(ks)) <> len(ks)"


def first_values() -> str:
    """Return the query about the keys in ``unknown(k)``: k, first value's text, whether any is a fraction."""
    return (
        "select key as k, arg_min(value::varchar, rn) as first, bool_or(type = 'DOUBLE') as fraction, "
        "min((rn, place)) as seen from "
        "(select rn, key, value, type, j.rowid as place from lt, json_each(l) j) "
        "where type <> 'NULL' and key in (select k from unknown) group by key order by seen"
    )


def widenings(columns: Sequence[Column]) -> str | None:
    """Return the query for the keys of long columns that meet a double (k); None without long columns."""
    longs = [column for column in columns if column.name != "time" and stored_kind(column) == "long"]
    if not longs:
        return None
    listed = ", ".join(literal(_key(column)) for column in longs)
    return (
        "select k from (select key as k, value::varchar as x from lt, json_each(l)) "  # noqa: S608 - quoted literals
        f"where k in ({listed}) group by k "
        f"having bool_or(({_exact_long('x')}) is null and {_is_double('x')})"
    )
