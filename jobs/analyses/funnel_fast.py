"""The plain ordered funnel where the engine hands over batches: filtered in SQL, then the compiled kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from jobs.engine.text import query, text_literal
from jobs.native.funnel import FunnelKernel

if TYPE_CHECKING:
    from jobs.analyses.funnel_parameters import Parameters
    from jobs.analyses.predicates import Predicate
    from jobs.engine.port import Engine
    from jobs.native.funnel import Integers

#: Small enough to be in the processor's cache still when the kernel reads what the engine has written.
_BATCH_ROWS = 1 << 15
_PERCENTILES = (25, 50, 75, 90, 95)
_LOW = 32


def counted_by_kernel(engine: Engine, library: Any, parameters: Parameters) -> None:
    """Make `funnel_counts` of `funnel_source`; with entities also `funnel_kernel`, where each one came to."""
    steps = parameters.predicates()
    places = {"seq": ", seq" if parameters.ties == "seq" else ""}
    if any(step.conditions for step in steps):
        sql = query("funnel", "kernel_rows", matters=_matters(steps), steps=_bits(steps), **places)
    else:
        sql = query("funnel", "kernel_named_rows", names=_named(steps), **places)
    with FunnelKernel(library, steps=len(steps), window=parameters.window, ties=parameters.ties) as kernel:
        kernel.add(engine.stream(sql, _BATCH_ROWS, ahead=False))
        engine.register_arrow("funnel_counts", _counts(kernel.compute()))
        if parameters.with_entities:
            engine.register_arrow("funnel_kernel", kernel.chains())


def _matters(steps: tuple[Predicate, ...]) -> str:
    return " OR ".join(step.sql() for step in steps)


def _bits(steps: tuple[Predicate, ...]) -> str:
    """The steps of an event, one bit for each."""
    return " + ".join(
        f"CASE WHEN {step.sql()} THEN {1 << index} ELSE 0 END" for index, step in enumerate(steps)
    )


def _named(steps: tuple[Predicate, ...]) -> str:
    """The names of events, each once, with the bits of its steps."""
    bits: dict[str, int] = {}
    for index, step in enumerate(steps):
        for event in step.events:
            bits[event] = bits.get(event, 0) | 1 << index
    return ", ".join(f"({text_literal(event)}, {found})" for event, found in bits.items())


def _counts(seconds: list[Integers]) -> pa.Table:
    """What the query `counts` finds, of the seconds that the chains to each step took."""
    rows = [_measured(step, found) for step, found in enumerate(seconds, 1)]
    columns = ["entities", *(f"ttc_p{number}_s" for number in _PERCENTILES), "ttc_mean_s"]
    kinds = [("value", pa.string()), ("step", pa.int64()), ("entities", pa.int64())]
    kinds += [(name, pa.float64()) for name in columns[1:]]
    return pa.Table.from_pylist([row for row in rows if row["entities"]], pa.schema(kinds))


def _measured(step: int, seconds: Integers) -> dict[str, Any]:
    count = len(seconds)
    found: dict[str, Any] = {"value": "(all)", "step": step, "entities": count}
    if not count:
        return found
    places = {number: (count - 1) * (number / 100) for number in _PERCENTILES}
    near = {number: (int(np.floor(place)), int(np.ceil(place))) for number, place in places.items()}
    ordered = np.partition(seconds, sorted({place for pair in near.values() for place in pair}))
    for number, (low, high) in near.items():
        below = float(ordered[low])
        found[f"ttc_p{number}_s"] = below + (float(ordered[high]) - below) * (places[number] - low)
    # In two halves, so that no sum leaves 64 bits.
    total = (int(np.sum(seconds >> _LOW)) << _LOW) + int(np.sum(seconds & ((1 << _LOW) - 1)))
    return found | {"ttc_mean_s": total / count}
