"""The ids that the SDK asks for: one of the browser for all sites, and one for a site's own domain.

Both live in cookies of this server and are made when they are not there. The first is told to pages with a
good key only, for it follows a browser from site to site.
"""

from __future__ import annotations

import re
import uuid
from http.cookies import CookieError, SimpleCookie

GLOBAL_ID, SITE_ID = "td_global_id", "_td_ssc_id"
_TWO_YEARS_S = 63_072_000
_DOMAIN = re.compile(r"[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63})+", re.ASCII)


def id_of(cookies: str, name: str) -> str:
    """Return the id in a Cookie header, a new one when there is none or no id."""
    jar = SimpleCookie()
    try:
        jar.load(cookies)
        return str(uuid.UUID(jar[name].value))
    except (CookieError, KeyError, ValueError):
        return str(uuid.uuid4())


def global_cookie(known: str) -> str:
    """Return the Set-Cookie header of a browser's id: sent from pages of every site."""
    return f"{GLOBAL_ID}={known}; Path=/; Max-Age={_TWO_YEARS_S}; SameSite=None; Secure; HttpOnly"


def site_cookie(known: str, host: str, domain: str) -> str:
    """Return the Set-Cookie header of a site's id.

    ``domain`` is what the page asks for; it counts only when ``host``, which the request went to, lies in it.
    """
    name, domain = host.rpartition(":")[0] or host, domain.lower().lstrip(".")
    inside = _DOMAIN.fullmatch(domain) is not None and f".{name.lower()}".endswith(f".{domain}")
    scope = f"; Domain={domain}" if inside else ""
    return f"{SITE_ID}={known}; Path=/; Max-Age={_TWO_YEARS_S}; SameSite=Lax; Secure{scope}"
