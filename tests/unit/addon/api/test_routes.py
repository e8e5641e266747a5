"""Every route says who may call it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from fastapi.routing import APIRoute

from addon.api.app import build_api
from addon.api.auth import AUTH_MARK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastapi.dependencies.models import Dependant

    from addon.api.services import Services


def _calls(dependant: Dependant) -> Iterator[Any]:
    for dependency in dependant.dependencies:
        yield dependency.call
        yield from _calls(dependency)


def _routes(routes: Any) -> Iterator[APIRoute]:
    for route in routes:
        if isinstance(route, APIRoute):
            yield route
        else:
            yield from _routes(getattr(route, "routes", []) or getattr(route.original_router, "routes", []))


def test_no_route_is_without_a_decision_about_access() -> None:
    app = build_api(cast("Services", None))
    found = list(_routes(app.routes))
    assert len(found) > 40
    for route in found:
        marks = [getattr(call, AUTH_MARK, False) for call in _calls(route.dependant)]
        assert any(marks), f"{route.methods} {route.path} is open by mistake"
