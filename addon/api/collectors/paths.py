"""Which collector a path belongs to. Nothing but the path decides: no host name, and a header only for ``/``.

``/js/v3/event/DB/TABLE`` and ``/postback/vN/event/DB/TABLE`` are plain. ``/DB/TABLE`` of td-js-sdk 4 is any
path of two names, so the first names of all other routes are kept: an event for a database of such a name
is sent to ``/collect/DB/TABLE``, which works for every database.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from addon.models.tables import NAME

if TYPE_CHECKING:
    from addon.api.raw import Scope

PREFIX = "collect"
RESERVED = frozenset(
    {
        *(
            "account",
            "accounts",
            "api",
            "assets",
            "catalog",
            "collect",
            "console",
            "docs",
            "favicon",
            "health",
        ),
        *("healthz", "heroku", "login", "logout", "logplex", "metrics", "oauth", "postback", "ready"),
        *("readyz", "sluice", "spec", "sso", "static", "status", "sync", "tables", "trino", "version"),
    }
)
"""First names of paths that no collector takes; those under 3 characters (v1, v3, js) are no database's."""


_SDK = b"application/vnd.treasuredata."


class Form(StrEnum):
    """How a collector's request looks."""

    EVENTS = "events"
    """td-js-sdk 4: a JSON envelope of records."""
    JSONP = "jsonp"
    """td-js-sdk 1 and 2: one record in the query."""
    POSTBACK = "postback"
    """A flat JSON object from a server."""
    GLOBAL_ID = "global_id"
    """td-js-sdk asks for the browser's id."""
    SITE_ID = "site_id"
    """td-js-sdk asks for the id in a site's own cookie."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a collector's request goes; names are not checked yet, except in the two-name form."""

    form: Form
    database: str
    table: str
    version: str = ""
    """Of the postback: v1, v2 or v3."""


_METHODS = {
    Form.EVENTS: frozenset({"POST", "OPTIONS"}),
    Form.JSONP: frozenset({"GET", "POST", "OPTIONS"}),
    Form.POSTBACK: frozenset({"POST", "OPTIONS"}),
    Form.GLOBAL_ID: frozenset({"GET", "OPTIONS"}),
    Form.SITE_ID: frozenset({"GET", "OPTIONS"}),
}


_IDS = {"/": Form.GLOBAL_ID, "/get_cookie_id": Form.SITE_ID}


def target_of(scope: Scope) -> Target | None:
    """Return the collector that a request is for, None when it is for another route."""
    if scope["path"] == "/" and not _asks_for_id(scope):
        return None
    found = _by_path(scope["path"])
    return found if found is not None and scope["method"] in _METHODS[found.form] else None


def _by_path(path: str) -> Target | None:
    if path in _IDS:
        return Target(_IDS[path], "", "")
    match path[1:].split("/"):
        case [database, table] if database not in RESERVED and NAME.match(database) and NAME.match(table):
            return Target(Form.EVENTS, database, table)
        case [first, database, table] if first == PREFIX:
            return Target(Form.EVENTS, database, table)
        case ["js", "v3", "event", database, table]:
            return Target(Form.JSONP, database, table)
        case ["postback", ("v1" | "v2" | "v3") as version, "event", database, table]:
            return Target(Form.POSTBACK, database, table, version)
        case _:
            return None


def _asks_for_id(scope: Scope) -> bool:
    """Tell the SDK's request for its id, or the preflight of that, from one for the start page."""
    headers = dict(scope["headers"])
    return scope["method"] == "OPTIONS" or _SDK in headers.get(b"accept", b"")
