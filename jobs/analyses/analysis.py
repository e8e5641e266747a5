"""What an analysis is: a name, contracts for what goes in and comes out, and a function over an engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jobs.contracts.errors import ParameterError
from jobs.contracts.parameters import instant, optional, parameter

if TYPE_CHECKING:
    from jobs.contracts.tables import Column, InputTable, OutputTable
    from jobs.engine.batches import Made
    from jobs.engine.port import Engine

#: Input table name to the contract columns that were given.
Present = Mapping[str, frozenset[str]]

SECONDS_PER_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Analysis:
    """An analysis that the registry knows.

    Attributes:
        version: goes up whenever the same input and parameters may give another result.
        parameters: the frozen dataclass of its parameters.
        check_inputs: raises InputError when the set of given tables cannot be used.
        more_columns: by input, the columns beyond the contract's that the parameters ask for.
        compute: reads the staged inputs by their contract names and returns, for each output it makes, the
            relation that holds it, or its rows in batches.
        count_excluded: rows of the staged inputs that the parameters make unusable, by table and reason; for
            the manifest, beside what staging has excluded.
    """

    name: str
    version: int
    summary: str
    inputs: tuple[InputTable, ...]
    outputs: tuple[OutputTable, ...]
    parameters: type[Any]
    compute: Callable[[Engine, Any, Present], Mapping[str, Made]]
    check_inputs: Callable[[frozenset[str]], None] = lambda _given: None
    count_excluded: Callable[[Engine, Any, Present], Mapping[str, Mapping[str, int]]] = (
        lambda _engine, _parameters, _present: {}
    )
    more_columns: Callable[[Any], Mapping[str, tuple[Column, ...]]] = lambda _parameters: {}

    @property
    def description(self) -> str:
        """The module's own words: ties, edges, units."""
        return (self.compute.__doc__ or self.summary).strip()

    def output(self, name: str) -> OutputTable:
        """The contract of one output."""
        return next(output for output in self.outputs if output.name == name)


@dataclass(frozen=True, kw_only=True)
class ReportRange:
    """The half-open report range [from, to) that analyses of events share."""

    from_: int | None = parameter(
        None, optional(instant()), "first second of the report range", unit="Unix seconds"
    )
    to: int | None = parameter(
        None, optional(instant()), "first second after the report range", unit="Unix seconds"
    )

    def __post_init__(self) -> None:
        """Refuse a range that holds nothing."""
        if self.from_ is not None and self.to is not None and self.from_ >= self.to:
            raise ParameterError(f"parameters from and to: {self.from_}..{self.to} is empty; give from < to")

    def covers(self, column: str = "time") -> str:
        """The SQL predicate of a time inside the range."""
        bounds = []
        if self.from_ is not None:
            bounds.append(f"{column} >= {self.from_}")
        if self.to is not None:
            bounds.append(f"{column} < {self.to}")
        return " AND ".join(bounds) or "TRUE"
