"""system, user and account calls."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends

from addon.api.auth import Anyone, Master, Rooms, public
from addon.api.td.params import Parameters
from addon.api.td.serializers import account_json, user_json
from addon.models.accounts import Right
from platform_core.base.errors import NotFound, Unauthenticated

router = APIRouter(prefix="/v3")


@router.get("/system/server_status", dependencies=[Depends(public)])
def server_status() -> dict[str, Any]:
    """Say that we are there."""
    return {"status": "ok"}


@router.post("/user/authenticate", dependencies=[Depends(public)])
def authenticate() -> dict[str, Any]:
    """Refuse: accounts come from the add-on and have API keys, no passwords."""
    raise Unauthenticated(
        "There are no passwords here.",
        hint="Use the API key in TREASURE_DATA_API_KEY (td -k, or td apikey:set).",
    )


@router.get("/user/list")
def list_users(identity: Anyone) -> dict[str, Any]:
    """List the account's one user."""
    return {"users": [user_json(identity.account)]}


@router.get("/user/show")
@router.get("/user/apikey/validate")
def show_user(identity: Anyone) -> dict[str, Any]:
    """Show the user whom the key belongs to."""
    return user_json(identity.account)


@router.get("/user/apikey/list/{name}")
def list_keys(name: str, identity: Master, rooms: Rooms) -> dict[str, Any]:
    """List the shown parts of the keys; the keys themselves are not known to us."""
    _check_user(name, identity.account.name)
    return {
        "apikeys": [f"{prefix}… ({right})" for prefix, right in rooms.accounts.list_keys(identity.account.id)]
    }


@router.post("/user/apikey/add/{name}")
def add_key(name: str, identity: Master, rooms: Rooms, params: Parameters) -> dict[str, Any]:
    """Make a key, with the ``right`` master (default), write or read; it is shown this once."""
    _check_user(name, identity.account.name)
    wanted = params.text("right", Right.MASTER.value)
    if wanted not in set(Right):
        raise NotFound(f"There is no right {wanted[:40]!r}.", hint="Use master, write or read.")
    return {"apikey": rooms.accounts.add_key(identity.account.id, Right(wanted)), "right": wanted}


@router.post("/user/apikey/remove/{name}")
def remove_key(name: str, identity: Master, rooms: Rooms, params: Parameters) -> dict[str, Any]:
    """Revoke a key; it is dead at once."""
    _check_user(name, identity.account.name)
    if not rooms.accounts.revoke_key(identity.account.id, params.text("apikey")):
        raise NotFound("This is not a key of the account.")
    return {"user": name}


@router.get("/account/show")
def show_account(identity: Anyone, rooms: Rooms) -> dict[str, Any]:
    """Show the account with what it stores."""
    snapshots = (rooms.warehouse.snapshot(ref) for ref in rooms.catalog.table_refs(identity.account.id))
    return account_json(identity.account, sum(one.bytes for one in snapshots if one is not None))


def _check_user(name: str, expected: str) -> None:
    if name != expected:
        raise NotFound(f"There is no user {name[:140]!r}.")
