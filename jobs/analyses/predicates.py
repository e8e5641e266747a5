"""Which events match: by name, by properties, or both, as an analysis's parameters write it.

A plain name or a list of names stands for events of these names. An object may ask for more:
`{"event": "view", "where": {"country": "DE", "price": {">=": 10}, "plan": ["pro", "team"]}, "name": "…"}`.
All conditions must hold; a property that is NULL fulfils none but `null`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jobs.contracts.parameters import refuse
from jobs.contracts.tables import Column, ColumnType
from jobs.engine.text import literal, text_list, text_literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jobs.contracts.tables import InputTable

ALLOWED = (
    "an event name, a list of names that count alike,"
    ' or {"event": name or names, "where": {property: value, list, null or {operator: value}}, "name": label}'
)
OPERATORS = ("=", "!=", "<", "<=", ">", ">=", "in", "not in", "contains")
_KEYS = frozenset({"event", "where", "name"})
Scalar = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Condition:
    """One test of one property; operator `null` has no operands."""

    column: str
    operator: str
    operands: tuple[Scalar, ...]

    def sql(self) -> str:
        """The test as SQL that both engines read; NULL counts as not fulfilled."""
        if self.operator == "null":
            return f"{self.column} IS NULL"
        if self.operator in {"in", "not in"}:
            tests = " OR ".join(f"{self.column} = {_value(operand)}" for operand in self.operands)
            return f"({tests})" if self.operator == "in" else f"NOT ({tests})"
        if self.operator == "contains":
            return f"POSITION({_value(self.operands[0])} IN {self.column}) > 0"
        return f"{self.column} {'<>' if self.operator == '!=' else self.operator} {_value(self.operands[0])}"

    def __str__(self) -> str:
        """As people read it in a step's name."""
        shown = ", ".join(str(operand) for operand in self.operands)
        return f"{self.column} {self.operator} {shown}" if self.operands else f"{self.column} is null"


@dataclass(frozen=True, slots=True)
class Predicate:
    """Events of any of these names (of any name when empty) that meet all conditions."""

    events: tuple[str, ...]
    conditions: tuple[Condition, ...] = ()
    label: str | None = None

    @property
    def name(self) -> str:
        """What the result calls it."""
        if self.label is not None:
            return self.label
        named = " | ".join(self.events) or "any event"
        return f"{named} ({' and '.join(map(str, self.conditions))})" if self.conditions else named

    def sql(self) -> str:
        """TRUE for events that match, FALSE for all others."""
        tests = [f"event IN ({text_list(self.events)})"] if self.events else []
        tests += [test.sql() for test in self.conditions]
        return f"COALESCE({' AND '.join(tests)}, FALSE)"


def _value(operand: Scalar) -> str:
    return text_literal(operand) if isinstance(operand, str) else literal(operand)


def read(name: str, value: Any, extra: frozenset[str] = frozenset()) -> Predicate:
    """A predicate from its JSON form; `extra` names keys that the caller reads itself.

    Raises:
        ParameterError: naming the parameter, what was given and what is allowed.
    """
    if isinstance(value, str | list | tuple):
        return Predicate(_names(name, value))
    if not isinstance(value, Mapping) or set(value) - _KEYS - extra or not {"event", "where"} & set(value):
        raise refuse(name, value, ALLOWED)
    events = _names(f"{name}.event", value["event"]) if value.get("event") is not None else ()
    where = value.get("where", {})
    if not isinstance(where, Mapping) or not all(
        isinstance(key, str) and key.isidentifier() for key in where
    ):
        raise refuse(f"{name}.where", where, "an object from property names to what they must be")
    conditions = tuple(
        condition
        for column, asked in where.items()
        for condition in _conditions(f"{name}.where", column, asked)
    )
    label = value.get("name")
    if label is not None and (not isinstance(label, str) or not label.strip()):
        raise refuse(f"{name}.name", label, "a string that is not empty")
    return Predicate(events, conditions, label)


def _names(name: str, value: Any) -> tuple[str, ...]:
    names = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list | tuple) else ()
    if not names or not all(isinstance(event, str) and event for event in names):
        raise refuse(name, value, ALLOWED)
    if len(set(names)) != len(names):
        raise refuse(name, value, "each event name once")
    return names


def _conditions(name: str, column: str, asked: Any) -> list[Condition]:
    where = f"{name}.{column}"
    if asked is None:
        return [Condition(column, "null", ())]
    if not isinstance(asked, Mapping):
        operator = "in" if isinstance(asked, list | tuple) else "="
        return [Condition(column, operator, _operands(where, operator, asked))]
    if not asked or set(asked) - set(OPERATORS):
        raise refuse(where, dict(asked), "an object with the operators " + ", ".join(OPERATORS))
    return [
        Condition(column, operator, _operands(where, operator, value)) for operator, value in asked.items()
    ]


def _operands(where: str, operator: str, value: Any) -> tuple[Scalar, ...]:
    many = operator in {"in", "not in"}
    values = tuple(value) if many and isinstance(value, list | tuple) else (value,)
    kinds = {_kind(entry) for entry in values}
    if len(kinds) != 1 or None in kinds or (operator == "contains" and kinds != {ColumnType.VARCHAR}):
        raise refuse(where, value, f"strings, numbers or booleans of one kind to compare by {operator}")
    return values


def _kind(value: Any) -> ColumnType | None:
    if isinstance(value, bool):
        return ColumnType.BOOLEAN
    if isinstance(value, int | float):
        return ColumnType.NUMBER if math.isfinite(value) else None
    return ColumnType.VARCHAR if isinstance(value, str) else None


def properties(name: str, predicates: Iterable[Predicate], table: InputTable) -> tuple[Column, ...]:
    """The columns that the predicates read beyond the contract's, typed by what they are compared with.

    Raises:
        ParameterError: one property compared with values of two kinds.
    """
    own = {column.name: column.type for column in table.columns}
    found: dict[str, ColumnType | None] = {}
    for condition in (condition for predicate in predicates for condition in predicate.conditions):
        kind = _kind(condition.operands[0]) if condition.operands else None
        known = _comparable(own[condition.column]) if condition.column in own else found.get(condition.column)
        if kind is not None and known is not None and kind is not known:
            raise refuse(
                f"{name}: {condition.column}", condition.operands[0], f"a {known} to compare it with"
            )
        if condition.column not in own:
            found[condition.column] = kind or known
    return tuple(
        Column(
            column,
            kind or ColumnType.VARCHAR,
            nullable=True,
            required=True,
            doc="a property that a step reads",
        )
        for column, kind in found.items()
    )


def _comparable(kind: ColumnType) -> ColumnType:
    return ColumnType.NUMBER if kind in {ColumnType.BIGINT, ColumnType.INTEGER, ColumnType.DOUBLE} else kind
