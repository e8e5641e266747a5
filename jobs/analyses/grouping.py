"""Grouping of path tokens: many names or addresses become one step, by expressions or URL templates."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from jobs.contracts.parameters import refuse
from jobs.engine.text import text_literal

ALLOWED = (
    "a list of rules, each a URL template like /product/{id}, a regular expression (its first group, or the"
    ' whole match, becomes the step), or {"regex": …, "name": step}'
)
#: What stands for one part of an address, and for any number of them.
_PART = re.compile(r"\{\w+\}|\*\*|\*|:\w+(?=/|$)")
#: Allowed by Python but not by both engines: looking around, references back, conditions, named groups.
_FOREIGN = re.compile(r"\(\?(?!:|i\))|\\[1-9]|\(\?i\)(?<!^\(\?i\))|[*+?}]\+")
_HOST, _REST = "^([a-zA-Z][a-zA-Z0-9+.-]*://[^/]*)?", "/?([?#].*)?$"


def check(name: str, value: Any) -> tuple[Any, ...]:
    """The rules in their JSON form.

    Raises:
        ParameterError: a rule that is neither a template nor an expression that both engines know.
    """
    rules = [value] if isinstance(value, str | Mapping) else value
    if not isinstance(rules, list | tuple) or not rules:
        raise refuse(name, value, ALLOWED)
    for index, rule in enumerate(rules):
        _check_rule(f"{name}[{index}]", rule)
    return tuple(dict(rule) if isinstance(rule, Mapping) else rule for rule in rules)


def _check_rule(name: str, rule: Any) -> None:
    if isinstance(rule, Mapping):
        named = set(rule) == {"regex", "name"} and all(
            isinstance(text, str) and text for text in rule.values()
        )
        if not named:
            raise refuse(name, rule, ALLOWED)
        _check_regex(name, rule["regex"])
    elif not isinstance(rule, str) or not rule:
        raise refuse(name, rule, ALLOWED)
    elif not is_template(rule):
        _check_regex(name, rule)


def _check_regex(name: str, expression: str) -> None:
    allowed = "a regular expression of the syntax that both engines share (RE2 without named groups)"
    try:
        re.compile(expression)
    except re.error as error:
        raise refuse(name, expression, f"{allowed}; {error}") from error
    if _FOREIGN.search(expression):
        raise refuse(name, expression, f"{allowed}, without looking around or references")


def is_template(rule: str) -> bool:
    """A URL template starts with a slash or a scheme and has a place to fill in, or is a plain path."""
    plain = rule.startswith("/") and re.fullmatch(r"[\w/.~{}*:-]+", rule) is not None
    return plain or ("://" in rule and _PART.search(rule.split("://", 1)[1]) is not None)


def token_sql(column: str, rules: tuple[Any, ...]) -> str:
    """The step of an event: by the first rule that matches it, else its name."""
    cases = []
    for rule in rules:
        if isinstance(rule, Mapping):
            expression, step = rule["regex"], text_literal(rule["name"])
        elif is_template(rule):
            expression, step = _template(rule), text_literal(rule)
        else:
            expression, group = rule, min(re.compile(rule).groups, 1)
            step = f"COALESCE(NULLIF(regexp_extract({column}, {text_literal(rule)}, {group}), ''), {column})"
        cases.append(f"WHEN regexp_extract({column}, {text_literal(expression)}, 0) <> '' THEN {step}")
    return f"CASE {' '.join(cases)} ELSE {column} END" if cases else column


def _template(rule: str) -> str:
    """A template as an expression; the host is free unless the template names one, and so is a query."""
    body, at = "", 0
    for part in _PART.finditer(rule):
        body += _plain(rule[at : part.start()]) + (".*" if part.group() == "**" else "[^/?#]+")
        at = part.end()
    body += _plain(rule[at:])
    return ("^" if "://" in rule else _HOST) + body.removesuffix("/") + _REST


def _plain(text: str) -> str:
    """Text as it stands, without backslashes, which SQL texts of the two engines read differently."""
    return "".join(letter if letter.isalnum() or letter in "/_-:%=&~ " else f"[{letter}]" for letter in text)
