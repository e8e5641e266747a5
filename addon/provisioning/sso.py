"""Single sign-on from the platform's dashboard, and the session that it opens."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from typing import TYPE_CHECKING

from platform_core.base.errors import Forbidden, NotFound
from platform_core.base.ids import is_uuid, new_secret, same_secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from addon.models.resources import Resource
    from addon.provisioning.credentials import Credentials
    from addon.store.audit import AuditLog, SsoTokenStore
    from addon.store.resources import ResourceStore
    from platform_core.base.clock import Clock

_PAST_S, _FUTURE_S = 300, 60
SESSION_S = 12 * 3600
_MAX_DIGITS = 12


class SignOn:
    """Checks sign-on tokens and signs session cookies."""

    def __init__(
        self,
        resources: ResourceStore,
        used: SsoTokenStore,
        audit: AuditLog,
        credentials: Credentials,
        clock: Clock,
    ) -> None:
        """Take the salt and the signing secret from ``credentials``."""
        self._resources = resources
        self._used = used
        self._audit = audit
        self._credentials = credentials
        self._clock = clock

    def login(self, form: Mapping[str, str]) -> Resource:
        """Return the resource that a sign-on form is for. Blocking.

        Raises:
            Forbidden: a token is wrong, too old, from the future, or was used.
            NotFound: there is no such resource.
        """
        uuid = form.get("resource_id") or form.get("id") or ""
        stamp = form.get("timestamp", "")
        tokens = self._checked_tokens(form, uuid, stamp)
        if not tokens or not self._timely(stamp):
            raise Forbidden("The sign-on link is not valid, or no longer.", hint="Open the add-on again.")
        resource = self._resources.get(uuid) if is_uuid(uuid) else None
        if resource is None or resource.deprovisioned:
            raise NotFound("There is no such resource.")
        if not self._used.use(":".join(tokens), keep_s=2 * (_PAST_S + _FUTURE_S)):
            raise Forbidden("The sign-on link was used before.", hint="Open the add-on again.")
        self._audit.record("sso", "login", uuid, resource.account.id)
        return resource

    def _checked_tokens(self, form: Mapping[str, str], uuid: str, stamp: str) -> list[str]:
        """Return the tokens that came, when each is right; an empty list when one is wrong or none came."""
        salt = self._credentials.sso_salt
        simple = f"{uuid}:{salt}:{stamp}"
        scoped = f"{simple}:{form.get('user_id', '')}:{form.get('email', '')}"
        legacy = f"{form.get('id') or uuid}:{salt}:{stamp}"
        expected = {
            "user_scoped_resource_token": hashlib.sha256(scoped.encode()).hexdigest(),
            "resource_token": hashlib.sha1(simple.encode()).hexdigest(),  # noqa: S324  (the protocol's)
            "token": hashlib.sha1(legacy.encode()).hexdigest(),  # noqa: S324  (the protocol's)
        }
        given = {name: form[name] for name in expected if form.get(name)}
        right = all([same_secret(given[name], expected[name]) for name in given])  # noqa: C419  (compare all)
        return list(given.values()) if right else []

    def _timely(self, stamp: str) -> bool:
        if not stamp.isascii() or not stamp.isdigit() or len(stamp) > _MAX_DIGITS:
            return False
        return -_PAST_S <= int(stamp) - self._clock.now() <= _FUTURE_S

    def open_session(self, resource: Resource) -> str:
        """Return the value of a new session's cookie."""
        content = {"uuid": resource.uuid, "until": self._clock.now() + SESSION_S, "nonce": new_secret(8)}
        payload = base64.urlsafe_b64encode(json.dumps(content).encode()).decode()
        return f"{payload}.{self._signature(payload)}"

    def session(self, cookie: str) -> Resource:
        """Return whose session a cookie is. Blocking.

        Raises:
            Forbidden: it is forged, over, or its resource is gone.
        """
        payload, _, signature = cookie.partition(".")
        refused = Forbidden("You are not signed in.", hint="Open the add-on from the platform's dashboard.")
        if not same_secret(signature, self._signature(payload)):
            raise refused
        try:
            content = json.loads(base64.urlsafe_b64decode(payload))
        except (binascii.Error, ValueError) as error:
            raise refused from error
        resource = self._resources.get(content["uuid"])
        if content["until"] < self._clock.now() or resource is None or resource.deprovisioned:
            raise refused
        return resource

    def _signature(self, payload: str) -> str:
        key = self._credentials.derived("session", "cookie").encode()
        return hmac.new(key, payload.encode(), hashlib.sha256).hexdigest()
