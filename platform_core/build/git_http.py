"""git's smart HTTP: a raw ASGI app in front of `git http-backend`, streaming both ways, nothing buffered.

The build log is the user's progress bar, so each piece that git writes goes out at once.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Any

from platform_core.base.errors import NotFound, SluiceError, Unauthenticated, UserError
from platform_core.base.logs import get_logger
from platform_core.build.cgi import CgiProcess
from platform_core.build.pushes import Push

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from platform_core.build.pushes import PushServer
    from platform_core.build.repos import Repositories
    from platform_core.models.apps import App

    Scope = Mapping[str, Any]
    Receive = Callable[[], Awaitable[Mapping[str, Any]]]
    Send = Callable[[dict[str, Any]], Awaitable[None]]
    Authorize = Callable[[str, str, str], Awaitable[App]]

_log = get_logger(__name__)
_ROUTE = re.compile(r"/([a-z][a-z0-9-]{0,62})\.git/(info/refs|git-receive-pack|git-upload-pack)")
_SERVICES = frozenset({"git-receive-pack", "git-upload-pack"})
_CHALLENGE = [(b"www-authenticate", b'Basic realm="Sluice git"')]


class GitHttp:
    """The ASGI app. Mount it at the root of the git host."""

    def __init__(self, repos: Repositories, pushes: PushServer, authorize: Authorize) -> None:
        """Ask ``authorize(app_name, username, password)`` for the app.

        It raises Unauthenticated for a wrong key, NotFound for an app that is not there or not theirs.
        """
        self._repos = repos
        self._pushes = pushes
        self._authorize = authorize

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        try:
            await self._serve(scope, receive, send)
        except Unauthenticated as error:
            await _refuse(send, 401, error, _CHALLENGE)
        except NotFound as error:
            await _refuse(send, 404, error)
        except UserError as error:
            await _refuse(send, 422, error)
        except SluiceError as error:
            _log.exception("git_request_failed", path=scope["path"])
            await _refuse(send, 503, error)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = _ROUTE.fullmatch(scope["path"])
        query = scope["query_string"].decode("ascii", "replace")
        if found is None or not _known_service(found[2], scope["method"], query):
            raise NotFound("There is no git repository here.", hint="Its address ends in /<app>.git.")
        username, password = _credentials(scope["headers"])
        app = await self._authorize(found[1], username, password)
        push = Push(app.id, app.name, app.owner.email, app.stack, await self._repos.ensure(app.id))
        with self._pushes.expect(push) as extra:
            env = {**self._repos.git_env(), **_cgi_env(scope, query), **extra}
            env |= {
                "GIT_PROJECT_ROOT": str(self._repos.root),
                "PATH_INFO": f"/{app.id}.git/{found[2]}",
                "REMOTE_USER": app.owner.email,
            }
            await CgiProcess(["git", "http-backend"], env).run(receive, send)


def _known_service(path: str, method: str, query: str) -> bool:
    if path == "info/refs":
        return method == "GET" and query.removeprefix("service=") in _SERVICES
    return method == "POST"


def _credentials(headers: list[tuple[bytes, bytes]]) -> tuple[str, str]:
    value = dict(headers).get(b"authorization", b"")
    scheme, _, encoded = value.partition(b" ")
    try:
        if scheme.lower() != b"basic":
            raise Unauthenticated("Credentials are needed.", hint="Log in with `heroku login`.")
        username, colon, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        colon = ""
    if not colon:
        raise Unauthenticated("The credentials are malformed.", hint="Log in with `heroku login`.")
    return username, password


def _cgi_env(scope: Scope, query: str) -> dict[str, str]:
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    env = {
        "GIT_HTTP_EXPORT_ALL": "1",
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_PROTOCOL": f"HTTP/{scope.get('http_version', '1.1')}",
        "REQUEST_METHOD": scope["method"],
        "QUERY_STRING": query,
        "CONTENT_TYPE": headers.get(b"content-type", ""),
        "REMOTE_ADDR": (scope.get("client") or ("",))[0],
    }
    for name, variable in (
        (b"content-length", "CONTENT_LENGTH"),
        (b"content-encoding", "HTTP_CONTENT_ENCODING"),
        (b"git-protocol", "HTTP_GIT_PROTOCOL"),
    ):
        if name in headers:
            env[variable] = headers[name]
    if "HTTP_GIT_PROTOCOL" in env:
        env["GIT_PROTOCOL"] = env["HTTP_GIT_PROTOCOL"]
    return env


async def _refuse(
    send: Send, status: int, error: SluiceError, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    """Answer in plain text: git shows it to the user, each line behind ``remote:``."""
    body = "".join(f"!     {line}\n" for line in (error.message, error.hint) if line).encode()
    fields = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": [*fields, *(headers or [])]})
    await send({"type": "http.response.body", "body": body})
