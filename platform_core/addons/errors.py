"""Errors of this room beside the general ones."""

from __future__ import annotations

from platform_core.base.errors import Conflict, InvalidInput, Unavailable


class ConfirmationRequired(Conflict):
    """The request would take something away; it must be repeated with a confirmation."""


class VendorRefused(InvalidInput):
    """The add-on's vendor refused the request; the message is the vendor's."""


class VendorUnavailable(Unavailable):
    """The add-on's vendor does not answer, or answers with an error of its own."""
