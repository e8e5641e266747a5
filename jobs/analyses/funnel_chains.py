"""Every kind of funnel in text that both engines read: ordered, strict, unordered, by entity or by entry.

Each kind makes one row for an entity (or entry) and a step that it reached: the first chain, its latest
start, and the places of the events whose values a breakdown asks for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobs.engine.text import query

if TYPE_CHECKING:
    from jobs.analyses.funnel_parameters import Exclusion, Parameters
    from jobs.engine.port import Engine

#: Window order by tie rule; pos counts an entity's events by (time, seq). Within one event the higher step
#: comes first, so that no event fills two steps; with `step` the lower one does, so that it can.
_ORDERS = {"seq": "pos, step DESC", "step": "time, step", "increase": "time, step DESC"}
#: Before every place, also when places are counted backwards.
_NOWHERE = "CAST(-4611686018427387904 AS BIGINT)"


@dataclass(frozen=True, slots=True)
class _Shape:
    """What the texts of one funnel have in common."""

    parameters: Parameters
    steps: int
    exclusions: tuple[Exclusion, ...]

    @property
    def in_window(self) -> str:
        window = self.parameters.window
        return "TRUE" if window is None else f"time - start <= {window}"

    @property
    def members(self) -> tuple[int, ...]:
        """The steps whose events a breakdown has to find again, besides the last."""
        every = {"step": self.steps, "first": 1}
        return tuple(range(1, every.get(self.parameters.breakdown or "", 0) + 1))

    @property
    def more(self) -> str:
        """Columns of exclusions: whether the event is one, and where the last one before it is."""
        names = [f"{name}_{index}" for index in range(len(self.exclusions)) for name in ("void", "passed")]
        return "".join(f", {name}" for name in names)


def reached_by_chains(engine: Engine, parameters: Parameters) -> None:
    """Make `funnel_reached` of `funnel_source`, and `funnel_chains` on the way."""
    steps = parameters.predicates()
    shape = _Shape(parameters, len(steps), parameters.excluded())
    flags = [f"{step.sql()} AS is_{index}" for index, step in enumerate(steps, 1)]
    flags += [f"{entry.event.sql()} AS void_{index}" for index, entry in enumerate(shape.exclusions)]
    value = "COALESCE(breakdown, '(none)')" if parameters.breakdown else "'(all)'"
    events = [*steps, *(entry.event for entry in shape.exclusions)]
    placed = query(
        "funnel",
        "placed",
        part=value if parameters.breakdown == "all" else "'(all)'",
        value=value,
        flags=", ".join(flags),
        passed="".join(_passed(shape, index) for index in range(len(shape.exclusions))),
        matters=" OR ".join(event.sql() for event in events),
    )
    engine.materialize("funnel_placed", placed)
    engine.view("funnel_rows", _rows(shape))
    makers = {"strict": _strict, "unordered": _unordered, "ordered": _ordered}
    if parameters.count == "entry" and parameters.mode == "ordered":
        chains = " UNION ALL ".join(_backward(shape, length) for length in range(1, shape.steps + 1))
    else:
        chains = makers[parameters.mode](engine, shape)
    engine.materialize("funnel_chains", query("funnel", "earliest", chains=chains))
    engine.view("funnel_reached", _valued(shape))


def _passed(shape: _Shape, index: int) -> str:
    """The place of the last exclusion before an event; to look backwards, of the next one, negative."""
    event = shape.exclusions[index].event.sql()
    found, frame = "MAX", "BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING"
    if shape.parameters.count == "entry":
        found, frame = "-MIN", "BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING"
    over = f"OVER (PARTITION BY entity_id ORDER BY pos ROWS {frame})"
    return f", COALESCE({found}(CASE WHEN {event} THEN pos END) {over}, {_NOWHERE}) AS passed_{index}"


def _rows(shape: _Shape) -> str:
    numbers = range(1, shape.steps + 1)
    return query(
        "funnel",
        "rows",
        steps=", ".join(f"({number})" for number in numbers),
        matches=" ".join(f"WHEN {number} THEN is_{number}" for number in numbers),
        more=shape.more,
    )


def _levels(shape: _Shape, relation: str, length: int, members: tuple[int, ...], *, backward: bool) -> str:
    """Chains of up to `length` steps, ending at each row: nested running maxima.

    Of the rows that a chain may go on from, the latest has the latest start and the fewest exclusions after
    it, so it alone is looked at. A row that is an exclusion itself, inside the range, is none of them.
    """
    first = "".join(f", CASE WHEN step = {member} THEN pos END AS at_{member}" for member in members)
    levels = query("funnel", "first_level", relation=relation, more=shape.more, members=first)
    exclusions = [_turned(entry, length) for entry in shape.exclusions] if backward else shape.exclusions
    for step in range(2, length + 1):
        below = [member for member in members if member < step]
        crossed = [index for index, entry in enumerate(exclusions) if entry and entry.crosses(step - 1)]
        inside = [index for index, entry in enumerate(exclusions) if entry and entry.inside(step - 1)]
        candidate = f"step = {step - 1} AND start IS NOT NULL" + "".join(
            f" AND NOT void_{index}" for index in inside
        )
        follows = _in_window(shape) + "".join(f" AND passed_{index} <= before_pos" for index in crossed)
        levels = query(
            "funnel",
            "next_level",
            step=str(step),
            follows=f"before_start IS NOT NULL AND {follows}",
            candidate=candidate,
            more=shape.more,
            members="".join(
                f", CASE WHEN step = {step} THEN before_at_{member} ELSE at_{member} END AS at_{member}"
                if member in below
                else f", at_{member}"
                for member in members
            ),
            before="".join(
                f", MAX(CASE WHEN {candidate} THEN at_{member} END) OVER chains AS before_at_{member}"
                for member in below
            ),
            order=_ORDERS[shape.parameters.ties],
            previous=levels,
        )
    return levels


def _in_window(shape: _Shape) -> str:
    window = shape.parameters.window
    return "TRUE" if window is None else f"time - before_start <= {window}"


def _turned(entry: Exclusion, length: int) -> Exclusion | None:
    """An exclusion as a chain of this many steps meets it from its end; None for one that ends before it."""
    if entry.first >= length:
        return None
    last = min(entry.last, length)
    return type(entry)(entry.event, length + 1 - last, length + 1 - entry.first)


def _ordered(_engine: Engine, shape: _Shape) -> str:
    levels = _levels(shape, "funnel_rows", shape.steps, shape.members, backward=False)
    places = "".join(f", at_{member}" for member in shape.members)
    return query("funnel", "forward_chains", levels=levels, places=places)


def _backward(shape: _Shape, length: int) -> str:
    """Chains of exactly `length` steps from every event of step 1, found from their ends."""
    rows = query("funnel", "reversed", length=str(length), more=shape.more)
    wanted = {length + 1 - member for member in shape.members if member <= length} | {1}
    members = tuple(sorted(wanted))
    levels = _levels(shape, f"({rows}) AS turned", length, members, backward=True)
    places = "".join(
        f", -at_{length + 1 - member} AS at_{member}"
        if member <= length
        else f", CAST(NULL AS BIGINT) AS at_{member}"
        for member in shape.members
    )
    return query("funnel", "backward_chains", length=str(length), last="-at_1", levels=levels, places=places)


def _strict(_engine: Engine, shape: _Shape) -> str:
    voids = [
        f", MAX(CASE WHEN void_{index} AND step > {entry.first} AND step < {entry.last} THEN 1 ELSE 0 END)"
        " OVER (PARTITION BY entity_id, part, pos - step ORDER BY step"
        f" ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS broken_{index}"
        for index, entry in enumerate(shape.exclusions)
    ]
    return query(
        "funnel",
        "strict_chains",
        entry="pos - step + 1" if shape.parameters.count == "entry" else "CAST(0 AS BIGINT)",
        places="".join(f", pos - step + {member} AS at_{member}" for member in shape.members),
        voids="".join(voids),
        in_window=shape.in_window,
        not_void="".join(f" AND COALESCE(broken_{index}, 0) = 0" for index in range(len(voids))),
    )


def _unordered(engine: Engine, shape: _Shape) -> str:
    numbers = range(1, shape.steps + 1)
    nexts = ", ".join(
        f"MIN(CASE WHEN is_{number} THEN {column} END) OVER ahead AS next_{column}_{number}"
        for number in numbers
        for column in ("pos", "time")
    )
    engine.materialize("funnel_nexts", query("funnel", "unordered_nexts", nexts=nexts))
    seen = " UNION ALL ".join(
        query(
            "funnel",
            "unordered_next",
            step=str(number),
            in_window=shape.in_window.replace("time", f"next_time_{number}"),
        )
        for number in numbers
    )
    # The event that was seen as the m-th, for chains that have one.
    places = "".join(
        f", MAX(CASE WHEN step = {member} THEN pos END) OVER (PARTITION BY entity_id, part, start)"
        f" AS at_{member}"
        for member in shape.members
    )
    return query("funnel", "unordered_chains", nexts=seen, places=places)


def _valued(shape: _Shape) -> str:
    """Chains under their breakdown value."""
    rule = shape.parameters.breakdown
    if rule in {None, "all"}:
        return query("funnel", "unbroken")
    position = {"first": "used.at_1", "last": "used.last_pos"}.get(str(rule))
    if position is None:
        cases = " ".join(f"WHEN {member} THEN used.at_{member}" for member in shape.members)
        position = f"CASE chains.step {cases} END"
    return query("funnel", "broken_down", position=position)
