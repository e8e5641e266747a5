"""A collector takes no path that is another route's, whatever routes there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest
from fastapi.routing import APIRoute

from addon.api import drain, imports, uploads
from addon.api.app import build_api
from addon.api.collectors.paths import RESERVED, Form, Target, target_of
from addon.models.tables import NAME
from platform_core.base.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator

    from addon.api.services import Services


def _target(path: str, method: str = "POST") -> Target | None:
    return target_of({"path": path, "method": method, "headers": []})


def _paths(routes: Any) -> Iterator[str]:
    for route in routes:
        if isinstance(route, APIRoute):
            yield route.path
        else:
            yield from _paths(getattr(route, "routes", []) or getattr(route.original_router, "routes", []))


def test_no_route_of_the_framework_begins_with_a_name_that_a_collector_would_take() -> None:
    paths = [*_paths(build_api(cast("Services", None)).routes), drain.PREFIX, imports.PREFIX, uploads.PREFIX]
    assert len(paths) > 40
    firsts = {path.split("/")[1] for path in paths}
    assert {first for first in firsts if NAME.match(first) and first not in RESERVED} == set()


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/v3/database",
            "/v1/statement",
            "/api/import",
            "/api/import/db/tbl",
            "/logplex/some",
            "/sso/login",
        ),
        *("/heroku/resources", "/console/x_y", "/sluice/v1", "/abc", "/abc/def/ghi", "/Abc/defg", "/abc/de"),
        *("/", "//", "", "/postback/v4/event/abc/def", "/js/v3/events/abc/def", "/collect/abc"),
    ],
)
def test_other_paths_are_left_alone(path: str) -> None:
    assert _target(path) is None


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/web_shop/events", Target(Form.EVENTS, "web_shop", "events")),
        ("/collect/web_shop/events", Target(Form.EVENTS, "web_shop", "events")),
        ("/collect/console/events", Target(Form.EVENTS, "console", "events")),
        ("/js/v3/event/web_shop/events", Target(Form.JSONP, "web_shop", "events")),
        ("/postback/v3/event/web_shop/events", Target(Form.POSTBACK, "web_shop", "events", "v3")),
    ],
)
def test_collectors_have_their_paths(path: str, expected: Target) -> None:
    assert _target(path) == _target(path, "OPTIONS") == expected
    assert (_target(path, "GET") is not None) is (expected.form is Form.JSONP)
    assert _target(path, "DELETE") is None


def test_the_start_page_stays_the_start_page_unless_the_sdk_asks() -> None:
    scope = {"path": "/", "method": "GET", "headers": [(b"accept", b"text/html,*/*")]}
    assert target_of(scope) is None
    sdk = [(b"accept", b"application/vnd.treasuredata.v1.js+json")]
    assert target_of({**scope, "headers": sdk}) == Target(Form.GLOBAL_ID, "", "")
    assert target_of({**scope, "headers": sdk, "method": "POST"}) is None
    assert _target("/get_cookie_id", "GET") == Target(Form.SITE_ID, "", "")


def test_upload_options_say_what_is_wrong_with_them() -> None:
    for query, told in (
        ({"format": "xls"}, "format 'xls' is not known"),
        ({}, "format '' is not known"),
        ({"format": "csv", "delimiter": '"'}, "delimiter is not valid"),
        ({"format": "csv", "delimiter": "ab"}, "delimiter is not valid"),
        ({"format": "csv", "time_format": "julian"}, "time_format 'julian'"),
        ({"format": "csv", "header": "no"}, "no parameter 'header'"),
    ):
        with pytest.raises(InvalidInput, match=told):
            uploads.options_of(query, {})
    read = uploads.options_of({}, {b"content-type": b"text/tab-separated-values; charset=utf-8"})
    assert (read.format, read.delimiter) == ("csv", "\t")
