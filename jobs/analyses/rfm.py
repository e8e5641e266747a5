"""RFM: score every customer by recency, frequency and money, and name the segment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobs.analyses.analysis import Analysis, Present
from jobs.analyses.customer_summary import last_day
from jobs.analyses.identity import IDENTITY_EDGES, StitchParameters
from jobs.analyses.inputs import RFM_SEGMENTS, TRANSACTIONS, shipped
from jobs.analyses.zones import calendar
from jobs.contracts.errors import ParameterError
from jobs.contracts.parameters import choice, integer, listing, moment, number, optional, parameter, zone
from jobs.contracts.tables import OutputTable, bigint, varchar
from jobs.contracts.tables import integer as integer_column
from jobs.engine.text import literal, query

if TYPE_CHECKING:
    from jobs.engine.port import Engine

_CUTS = optional(listing(number(), low=1, high=8, unique=True))


@dataclass(frozen=True, kw_only=True)
class Parameters(StitchParameters):
    """Parameters of `rfm`."""

    as_of: int | str | None = parameter(
        None,
        optional(moment()),
        "the day to look from, included; the last day with a transaction when null",
        unit="Unix seconds",
        aliases=("A", "end"),
    )
    zone: str = parameter("UTC", zone(), "whose days they are", aliases=("timezone",))
    method: str = parameter(
        "ntile", choice("ntile", "thresholds"), "equal-sized groups, or the cut points below"
    )
    buckets: int = parameter(5, integer(2, 9), "how many scores, with method ntile")
    r_thresholds: tuple[float, ...] | None = parameter(
        None, _CUTS, "ascending days; a customer at or below the first has the best score", unit="days"
    )
    f_thresholds: tuple[float, ...] | None = parameter(
        None, _CUTS, "ascending purchase days; reaching a cut point adds one to the score"
    )
    m_thresholds: tuple[float, ...] | None = parameter(
        None,
        _CUTS,
        "ascending money; reaching a cut point adds one to the score",
        unit="minor currency units",
    )

    def __post_init__(self) -> None:
        """Refuse cut points that are missing, that are out of order, or that nobody would use."""
        for name in ("r_thresholds", "f_thresholds", "m_thresholds"):
            cuts = getattr(self, name)
            if (cuts is not None) != (self.method == "thresholds"):
                raise ParameterError(f"parameter {name}: give it with method thresholds, and only then")
            if cuts is not None and list(cuts) != sorted(cuts):
                raise ParameterError(
                    f"parameter {name}: {list(cuts)} is not allowed; give ascending cut points"
                )


def _steps(column: str, cuts: tuple[float, ...] | None, comparison: str) -> str:
    return " + ".join(
        f"CASE WHEN {column} {comparison} {literal(cut)} THEN 1 ELSE 0 END" for cut in cuts or ()
    )


def compute(engine: Engine, parameters: Parameters, present: Present) -> dict[str, str]:
    """Score customers as of the day `as_of`, included; later transactions are ignored.

    R is the number of days since the last purchase day, F the number of purchase days, M the net sum with
    refunds taken off. A purchase is an amount of at least 0; a customer with refunds only has no row.

    With `ntile` the customers are ordered by (value, customer_id) and cut into equal groups, so equal values
    may get different scores at an edge, but always the same ones. With `thresholds` equal values share a
    score: F and M score 1 + the number of cut points reached, R scores 1 + the number of cut points at or
    above it. 5 (or the number of buckets) is best in each. A segment holds its edges on both sides; outside
    all segments the name is `other`.
    """
    if "rfm_segments" not in present:
        shipped(engine, RFM_SEGMENTS)
    cal = calendar(engine, "day", parameters.zone, "transactions", parameters.as_of)
    last = literal(last_day(engine, cal, parameters.as_of))
    engine.materialize("rfm_values", query("customers", "rfm_values", day=cal.day("time"), last_day=last))
    if parameters.method == "ntile":
        scored = query("customers", "rfm_ntile", buckets=str(parameters.buckets))
    else:
        scored = query(
            "customers",
            "rfm_thresholds",
            r_steps=_steps("recency_days", parameters.r_thresholds, "<="),
            f_steps=_steps("frequency", parameters.f_thresholds, ">="),
            m_steps=_steps("monetary_minor", parameters.m_thresholds, ">="),
        )
    engine.view("rfm_scored", scored)
    engine.view("rfm", query("customers", "rfm_segmented"))
    return {"rfm": "rfm"}


ANALYSIS = Analysis(
    name="rfm",
    version=2,
    summary="recency, frequency and money scores of every customer, with a named segment",
    inputs=(TRANSACTIONS, RFM_SEGMENTS, IDENTITY_EDGES),
    outputs=(
        OutputTable(
            "rfm",
            (
                varchar("customer_id"),
                bigint("recency_days", unit="days"),
                bigint("frequency", "purchase days"),
                bigint("monetary_minor", "net sum", unit="minor currency units"),
                integer_column("r"),
                integer_column("f"),
                integer_column("m"),
                varchar("rfm", "the three digits"),
                varchar("segment"),
            ),
            key=("customer_id",),
            order="customer_id",
        ),
    ),
    parameters=Parameters,
    compute=compute,
)
