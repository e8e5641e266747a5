"""Which analyses there are, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs.analyses import (
    attribution,
    churn,
    clv,
    customer_summary,
    funnel,
    operations,
    paths,
    profile,
    ranking,
    retention,
    rfm,
    sessions,
    usage,
)
from jobs.contracts.errors import UnknownAnalysisError

if TYPE_CHECKING:
    from jobs.analyses.analysis import Analysis

_ANALYSES: tuple[Analysis, ...] = (
    sessions.ANALYSIS,
    funnel.ANALYSIS,
    paths.ANALYSIS,
    attribution.ANALYSIS,
    ranking.ANALYSIS,
    customer_summary.ANALYSIS,
    rfm.ANALYSIS,
    retention.ANALYSIS,
    churn.ANALYSIS,
    clv.ANALYSIS,
    profile.ANALYSIS,
    usage.ANALYSIS,
    operations.ANALYSIS,
)


def names() -> tuple[str, ...]:
    """The names, in the order of a customer's journey."""
    return tuple(analysis.name for analysis in _ANALYSES)


def find(name: str) -> Analysis:
    """An analysis by name. Raises UnknownAnalysisError with the names that exist."""
    for analysis in _ANALYSES:
        if analysis.name == name:
            return analysis
    raise UnknownAnalysisError(f"no analysis {name!r}; there are {', '.join(names())}")
