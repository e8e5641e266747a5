"""The plain ordered funnel where the engine hands over batches: filtered in SQL, then the kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs.analyses.funnel_kernel import plan, reach
from jobs.engine.text import query, text_list, text_literal

if TYPE_CHECKING:
    from jobs.analyses.funnel_parameters import Parameters
    from jobs.analyses.predicates import Predicate
    from jobs.engine.port import Engine

#: So many rows are fetched at once, by all threads; more come in batches, which one thread computes.
_ROWS_AT_ONCE = 16_000_000
#: In front of an entity's name it makes the second hash another one.
_SALT = "'another '"


def reached_by_kernel(engine: Engine, parameters: Parameters) -> None:
    """Make `funnel_reached` of `funnel_source`; `funnel_kernel_named` names its entities.

    Entities go by the top bits of their hash, and by another hash of 64 bits where these are shared: that
    two entities share both has a chance of about n * n / 2**105. Where their names are asked for they are
    numbered, which takes a join.
    """
    steps = parameters.predicates()
    places = {"matters": _matters(steps), "step": _step(steps), "named": "", "check": ""}
    places["seq"] = "seq" if parameters.ties == "seq" else "0"
    measures = engine.collect(query("funnel", "kernel_measures")).to_pylist()[0]
    rows = int(measures["n"]) * (1 if _disjoint(steps) else len(steps))
    entity_bits = None
    if parameters.with_entities:
        engine.materialize(
            "funnel_kernel_numbers", query("funnel", "kernel_numbers", matters=places["matters"])
        )
        counted = engine.collect(query("staging", "count", relation="funnel_kernel_numbers")).to_pylist()[0]
        entity_bits = (counted["n"] + 1).bit_length()
        places |= {"named": "INNER JOIN funnel_kernel_numbers USING (entity_id)", "number": "number"}
    else:
        places |= {"number": "hash(entity_id)", "check": f"hash({_SALT} || entity_id) AS check,"}
    layout = plan(
        steps=len(steps),
        window=parameters.window,
        ties=parameters.ties,
        first=measures["first_time"],
        last=measures["last_time"],
        rows=rows,
        entity_bits=entity_bits,
    )
    sql = query("funnel", "kernel_rows", **places)
    batches = engine.collect(sql).to_batches() if rows <= _ROWS_AT_ONCE else engine.stream(sql)
    engine.register_arrow("funnel_kernel", reach(batches, layout))
    engine.view("funnel_reached", query("funnel", "kernel_reached"))
    if parameters.with_entities:
        engine.view("funnel_kernel_named", query("funnel", "kernel_entities"))


def _disjoint(steps: tuple[Predicate, ...]) -> bool:
    """Whether an event can match one step only: plain names that no two steps share."""
    names = [event for step in steps for event in step.events]
    return not any(step.conditions for step in steps) and len(set(names)) == len(names)


def _matters(steps: tuple[Predicate, ...]) -> str:
    if any(step.conditions for step in steps):
        return " OR ".join(step.sql() for step in steps)
    names = tuple(dict.fromkeys(event for step in steps for event in step.events))
    return f"event IN ({text_list(names)})"


def _step(steps: tuple[Predicate, ...]) -> str:
    """The step of an event; once for each where it matches several."""
    cases = [f"WHEN {step.sql()} THEN {index}" for index, step in enumerate(steps, 1)]
    if _disjoint(steps):
        names = [(event, index) for index, step in enumerate(steps, 1) for event in step.events]
        return (
            f"CASE event {' '.join(f'WHEN {text_literal(event)} THEN {index}' for event, index in names)} END"
        )
    listed = ", ".join(f"CASE {case} END" for case in cases)
    return f"unnest(list_filter([{listed}], lambda step: step IS NOT NULL))"
