"""The plain ordered funnel where the engine hands over batches: filtered in SQL, then the kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs.analyses.funnel_kernel import Layout, Reached, plan, reach
from jobs.engine.text import query, text_list, text_literal

if TYPE_CHECKING:
    from jobs.analyses.funnel_parameters import Parameters
    from jobs.analyses.predicates import Predicate
    from jobs.engine.port import Engine

#: Hashes of so many more bits than pairs of entities collide once in 64 runs; then entities are numbered.
_SPARE_BITS = 5
_HASH_BITS = 63
#: So many rows are fetched at once, by all threads; more come in batches, which one thread computes.
_ROWS_AT_ONCE = 8_000_000


def reached_by_kernel(engine: Engine, parameters: Parameters) -> None:
    """Make `funnel_reached` of `funnel_source`; `funnel_kernel_named` names its entities.

    Entities go by the top bits of their hash. Whether no two share them is checked on the way: as many
    numbers as entities; else entities are numbered, which takes a join.
    """
    steps = parameters.predicates()
    places = {"matters": _matters(steps), "step": _step(steps), "named": ""}
    places["seq"] = "seq" if parameters.ties == "seq" else "0"
    measures = engine.collect(query("funnel", "kernel_measures", matters=places["matters"])).to_pylist()[0]
    entities, rows = int(measures["entities"]), int(measures["n"])
    rows *= 1 if _disjoint(steps) else len(steps)

    def layout(bits: int) -> Layout:
        return plan(
            steps=len(steps),
            window=parameters.window,
            ties=parameters.ties,
            first=measures["first_time"],
            last=measures["last_time"],
            rows=rows,
            entity_bits=bits,
        )

    bits = min(2 * entities.bit_length() + _SPARE_BITS, _HASH_BITS)
    hashed = layout(bits)
    found = _run(engine, places | {"number": "hash(entity_id)"}, hashed, rows) if hashed.fits else None
    number = f"hash(entity_id) >> {64 - bits}"
    if found is None or found.entities != entities:
        engine.materialize(
            "funnel_kernel_numbers", query("funnel", "kernel_numbers", matters=places["matters"])
        )
        places["named"], number = "INNER JOIN funnel_kernel_numbers USING (entity_id)", "number"
        found = _run(engine, places | {"number": number}, layout((entities + 1).bit_length()), rows)
    engine.register_arrow("funnel_kernel", found.table)
    engine.view("funnel_reached", query("funnel", "kernel_reached"))
    engine.view(
        "funnel_kernel_named",
        query("funnel", "kernel_entities", number=number, named=places["named"], matters=places["matters"]),
    )


def _run(engine: Engine, places: dict[str, str], layout: Layout, rows: int) -> Reached:
    sql = query("funnel", "kernel_rows", **places)
    return reach(engine.collect(sql).to_batches() if rows <= _ROWS_AT_ONCE else engine.stream(sql), layout)


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
