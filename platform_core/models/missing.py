"""Things that are not there, by the name of their kind as the Platform API tells clients."""

from __future__ import annotations

from platform_core.base.errors import NotFound


class Missing(NotFound):
    """There is no such thing here."""

    def __init__(self, resource: str, message: str) -> None:
        """``resource`` is the Platform API's word for the kind: ``app``, ``add_on``, ``release``, …."""
        self.resource = resource
        super().__init__(message)
