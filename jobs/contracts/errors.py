"""The errors that the jobs library raises.

JobsError
├── UserError              the caller can put it right; a command line ends with 2
│   ├── UnknownAnalysisError
│   ├── InputError         an input file, table or column
│   └── ParameterError     a parameter's name, type or range
└── EngineError            the engine failed; a command line ends with 1
"""

from __future__ import annotations

OVERFLOW = (
    "a number or a sum of numbers does not fit into 64 bits (-9223372036854775808 to 9223372036854775807):"
    " look for wrong values in the inputs' numbers"
)
"""What both engines' words for an overflow mean."""


class JobsError(Exception):
    """An analysis could not be run."""


class UserError(JobsError):
    """The caller asked for something that cannot be done; the message says what to change."""


class UnknownAnalysisError(UserError):
    """There is no analysis of that name."""


class InputError(UserError):
    """An input table is missing, unreadable, or does not keep its contract."""


class ParameterError(UserError):
    """A parameter is unknown, has the wrong type, or is out of its range."""


class EngineError(JobsError):
    """The engine could not run a statement that it should have been able to run."""
