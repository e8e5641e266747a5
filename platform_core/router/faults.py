"""Why a request did not get its dyno's answer, and the page that its sender gets instead."""

from __future__ import annotations

import html
from http import HTTPStatus

from platform_core.wire.codes import H_CODES

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>body{{font-family:sans-serif;margin:15vh auto;max-width:36em;color:#333}}small{{color:#888}}</style>
</head><body><h1>{title}</h1><p>{text}</p><p><small>{code}</small></p></body></html>
"""
_HINTS = {
    "H10": "The app crashed. Its owner finds the reason in the app's log: heroku logs --dyno web",
    "H14": "The app runs no web dyno. Its owner can start one: heroku ps:scale web=1",
    "H80": "The app is down for maintenance. Please try again later.",
    "H81": "There is nothing here yet. The app's owner can push code to it with git.",
}
_GENERAL = "The app could not answer this request. Its owner finds the details in the app's log."


class Fault(Exception):
    """A request that ends with one of the router's codes."""

    def __init__(self, code: str, *, status: int | None = None, sock: str | None = None) -> None:
        """``status`` overrides the code's own; ``sock`` is the side that hung up."""
        super().__init__(f"{code} {H_CODES[code].text}")
        self.code = code
        self.status = status or H_CODES[code].status or HTTPStatus.SERVICE_UNAVAILABLE
        self.sock = sock

    def page(self) -> bytes:
        """Return the body for the client."""
        return page(self.status, _HINTS.get(self.code, _GENERAL), self.code)


class Refused(Exception):
    """A request that cannot be understood or belongs to no app: answered, but in nobody's log."""

    def __init__(self, status: int, text: str) -> None:
        """Answer ``status`` with a page saying ``text``."""
        super().__init__(text)
        self.status = status
        self.text = text

    def page(self) -> bytes:
        """Return the body for the client."""
        return page(self.status, self.text, "")


def page(status: int, text: str, code: str) -> bytes:
    """Return a small HTML page."""
    title = html.escape(HTTPStatus(status).phrase if status in set(HTTPStatus) else "Error")
    return _PAGE.format(title=title, text=html.escape(text), code=html.escape(code)).encode()
