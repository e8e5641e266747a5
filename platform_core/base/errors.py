"""The errors both programs raise, and the one question that retry code asks of them.

::

    SluiceError
    ├── UserError            the caller can mend it; never retried as it is
    │   ├── InvalidInput     malformed or out of range                     (HTTP 400/422)
    │   ├── Unauthenticated  no key, or a wrong one                        (HTTP 401)
    │   ├── Forbidden        a good key without the right                  (HTTP 403)
    │   ├── NotFound         no such thing, or not yours                   (HTTP 404)
    │   ├── Conflict         it exists already, or was changed meanwhile   (HTTP 409)
    │   └── TooLarge         over a stated limit                           (HTTP 413)
    └── Unavailable          ours to mend; the same call may work later    (HTTP 503)
        └── OutOfSpace       the disk is full; nothing was acknowledged    (HTTP 507)

``transient`` is the second axis: retry code reads it instead of keeping a list of classes.
"""

from __future__ import annotations

from typing import ClassVar


class SluiceError(Exception):
    """Something went wrong inside Sluice."""

    transient: ClassVar[bool] = False
    """Whether the same call may succeed later without a change by the caller."""

    def __init__(self, message: str | None = None, *, hint: str | None = None) -> None:
        """Take what happened and, as ``hint``, what the caller can do next."""
        self.message = message or (type(self).__doc__ or "").strip().partition("\n")[0]
        self.hint = hint
        super().__init__(self.message if hint is None else f"{self.message} {hint}")


class UserError(SluiceError):
    """The request cannot be carried out as it is."""


class InvalidInput(UserError):
    """The input is malformed or out of range."""


class Unauthenticated(UserError):
    """The credentials are missing or wrong."""


class Forbidden(UserError):
    """These credentials do not carry the right to do this."""


class NotFound(UserError):
    """There is no such thing here."""


class Conflict(UserError):
    """It exists already, or it was changed meanwhile."""


class TooLarge(UserError):
    """The input is over a stated limit."""


class Unavailable(SluiceError):
    """The service cannot do this now; try again later."""

    transient = True


class OutOfSpace(Unavailable):
    """The disk is full; nothing was acknowledged."""
