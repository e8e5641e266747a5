"""Single sign-on and the signed-in page."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from addon.api.auth import Rooms, marked, public
from addon.api.reports import page_of
from addon.api.services import Services
from addon.api.td.params import Parameters
from addon.models.reports import ReportRun
from addon.models.resources import Resource
from addon.provisioning.manifest import limits_text
from addon.provisioning.sso import SESSION_S
from platform_core.base.errors import NotFound
from platform_core.base.ids import new_secret

router = APIRouter()
_COOKIE = "sluice-session"
_NAV_COOKIE = "heroku-nav-data"
_MAX_NAV = 3_000
_MAX_NUMBER = 18
_MOST_REPORTS, _MOST_RUNS = 50, 10
_NOWHERE_ELSE = "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
_PAGE = Environment(
    loader=PackageLoader("addon.api"), autoescape=True, undefined=StrictUndefined
).get_template("account.html")
_FIELDS = (
    "resource_id", "resource_token", "user_scoped_resource_token", "user_id", "email", "timestamp", "id",
    "token",
)  # fmt: skip


@router.post("/sso/login", dependencies=[Depends(public)])
async def login(request: Request, rooms: Rooms, params: Parameters) -> Response:
    """Open a session for a good sign-on form, and go to the page."""
    form = {name: params.text(name) for name in _FIELDS}
    resource = await asyncio.to_thread(rooms.sign_on.login, form)
    answer = RedirectResponse("/account", status_code=302)
    secure = request.url.scheme == "https"
    session = rooms.sign_on.open_session(resource)
    answer.set_cookie(_COOKIE, session, max_age=SESSION_S, httponly=True, secure=secure, samesite="lax")
    navigation = params.text("nav-data")[:_MAX_NAV]
    if navigation.isascii() and navigation.isprintable():
        answer.set_cookie(_NAV_COOKIE, navigation, secure=secure, samesite="lax")
    return answer


@marked
async def signed_in(request: Request, rooms: Rooms) -> Resource:
    """Let in who has a session."""
    return await asyncio.to_thread(rooms.sign_on.session, request.cookies.get(_COOKIE, ""))


@router.get("/account")
def account_page(rooms: Rooms, resource: Annotated[Resource, Depends(signed_in)]) -> Response:
    """Show the account: plan, limits, usage, tables, reports with their newest runs, how to connect."""
    nonce = new_secret(16)
    account = resource.account
    page = _PAGE.render(
        nonce=nonce,
        resource=resource,
        app="",
        plan=account.plan,
        limits=limits_text(account.plan),
        usage=rooms.quotas.usage(account),
        server=rooms.public_url,
        tables=_tables(rooms, account.id),
        reports=_reports(rooms, account.id),
    )
    policy = f"default-src 'none'; style-src 'nonce-{nonce}'; {_NOWHERE_ELSE}"
    return HTMLResponse(page, headers={"content-security-policy": policy})


@router.get("/account/reports/{name}/runs/{run_id}")
def report_page(
    name: str, run_id: str, rooms: Rooms, resource: Annotated[Resource, Depends(signed_in)]
) -> Response:
    """Show a kept run of a report: the page that its mail brought."""
    if not (run_id.isascii() and run_id.isdigit()) or len(run_id) > _MAX_NUMBER:
        raise NotFound(f"There is no run {run_id[:40]!r}.", hint="The page /account lists those there are.")
    return page_of(rooms.reports.store.run(resource.account.id, name, int(run_id)), rooms)


def _reports(rooms: Services, account_id: int) -> list[dict[str, Any]]:
    """Return the reports, each with its newest runs."""
    store = rooms.reports.store
    return [
        {"name": one.name, "runs": [_run(run) for run in store.runs(account_id, one.name, _MOST_RUNS)]}
        for one in store.list(account_id)[:_MOST_REPORTS]
    ]


def _run(run: ReportRun) -> dict[str, Any]:
    slot = datetime.fromtimestamp(run.slot, UTC).strftime("%Y-%m-%d %H:%M UTC")
    state = run.state.value if run.folder is None else "not final" if run.facts.get("incomplete") else "final"
    link = None if run.folder is None else f"/account/reports/{run.report}/runs/{run.id}"
    return {"id": run.id, "words": run.window.words or slot, "state": state, "link": link}


def _tables(rooms: Services, account_id: int) -> list[dict[str, Any]]:
    shown = []
    for database in rooms.catalog.databases(account_id):
        for table in rooms.catalog.tables(account_id, database.name):
            newest = table.last_log_time
            stamp = None if newest is None else datetime.fromtimestamp(newest, UTC).isoformat(" ")
            shown.append({"database": database.name, "name": table.name, "rows": table.rows, "newest": stamp})
    return shown
