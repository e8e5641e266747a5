"""The platform's end of the pre-receive hook: decides what a push means and runs the build."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from platform_core.base.ids import new_secret
from platform_core.base.logs import get_logger
from platform_core.build.builder import BuildRequest
from platform_core.build.hook import QUARANTINE, SOCKET, TOKEN
from platform_core.build.output import BuildOutput

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from platform_core.build.builder import Builder
    from platform_core.build.repos import Repositories

_log = get_logger(__name__)
_DEPLOYED = ("refs/heads/main", "refs/heads/master")
_MAX_REQUEST = 16 << 20
_UPDATE_FIELDS = 3


@dataclass(frozen=True, slots=True)
class Push:
    """A push under way: which app, by whom, to which repository."""

    app_id: str
    app_name: str
    user_email: str
    stack: str
    repo: Path


class _Turn:
    """A push's turn at its repository: from its hook until git has moved the refs, or has given up."""

    def __init__(self, lock: asyncio.Lock) -> None:
        self._lock = lock
        self._taken = False
        self._over = False

    async def take(self) -> bool:
        """Wait for the pushes before; False when our own git has ended meanwhile."""
        await self._lock.acquire()
        if self._over:
            self._lock.release()
            return False
        self._taken = True
        return True

    @property
    def must_wait(self) -> bool:
        return self._lock.locked()

    def end(self) -> None:
        """Let the next one in."""
        self._over = True
        if self._taken:
            self._taken = False
            self._lock.release()


class PushServer:
    """Listens on a Unix socket for the hooks of the pushes that we have let in."""

    def __init__(self, socket_path: Path, repos: Repositories, builder: Builder) -> None:
        """Listen at ``socket_path``, at most about 100 characters long."""
        self._socket_path = socket_path
        self._repos = repos
        self._builder = builder
        self._pushes: dict[str, tuple[Push, _Turn]] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """By app: of two pushes at once both would be released, and one refused by git only after that."""
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Begin to listen; only our own user may connect."""
        with contextlib.suppress(FileNotFoundError):
            self._socket_path.unlink()
        self._server = await asyncio.start_unix_server(self._serve, self._socket_path, limit=_MAX_REQUEST)
        self._socket_path.chmod(0o600)

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
            with contextlib.suppress(FileNotFoundError):
                self._socket_path.unlink()

    @contextlib.contextmanager
    def expect(self, push: Push) -> Any:
        """Let one push in; yields what its git process needs in the environment."""
        token = new_secret()
        turn = _Turn(self._locks.setdefault(push.app_id, asyncio.Lock()))
        self._pushes[token] = push, turn
        try:
            yield {SOCKET: str(self._socket_path), TOKEN: token}
        finally:
            self._pushes.pop(token, None)
            turn.end()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def send(event: dict[str, object]) -> None:
            writer.write(json.dumps(event).encode() + b"\n")

        try:
            request = json.loads(await reader.readline())
            push, turn = self._pushes.pop(request["token"], (None, None))
            if push is None or turn is None:
                return
            work = asyncio.ensure_future(self._in_turn(push, turn, request, lambda text: send({"out": text})))
            gone = asyncio.ensure_future(reader.read(1))  # the hook sends no more: a byte or EOF is its end
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            gone.cancel()
            if not work.done():
                work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                send({"exit": 0 if await work else 1})
            await writer.drain()
        except (ValueError, KeyError, TypeError, OSError) as error:
            _log.warning("hook_failed", error=str(error))
        finally:
            writer.close()

    async def _in_turn(
        self, push: Push, turn: _Turn, request: dict[str, Any], emit: Callable[[str], None]
    ) -> bool:
        out = BuildOutput(emit)
        if turn.must_wait:
            out.step("Waiting for another push to this app to end")
        if not await turn.take():
            return False
        for update in request["updates"]:
            if len(update) == _UPDATE_FIELDS and update[2] in _DEPLOYED:
                old, _new, ref = update
                if await self._repos.current(push.repo, ref) != (old if old.strip("0") else None):
                    branch = ref.rpartition("/")[2]
                    out.error(f"{branch} has changed since this push began.", "Fetch it, then push again.")
                    return False
        return await self._receive(push, request, emit)

    async def _receive(self, push: Push, request: dict[str, Any], emit: Callable[[str], None]) -> bool:
        """Judge the updates of a push; True accepts all of them, as git does."""
        updates = [update for update in request["updates"] if len(update) == _UPDATE_FIELDS]
        out = BuildOutput(emit)
        commit = _commit_to_deploy(updates)
        for _old, new, ref in updates:
            if ref in _DEPLOYED and not new.strip("0"):
                out.error(f"{ref.rpartition('/')[2]} cannot be deleted.", "Destroy the app instead.")
                return False
            if ref not in _DEPLOYED and commit is None:
                branch = ref.removeprefix("refs/heads/")
                out.step(f"Pushed to {branch}, which is neither main nor master: not built.")
        if commit is None:
            return True
        env = {name: str(request["env"][name]) for name in QUARANTINE if name in request["env"]}
        return await self._builder.build(
            BuildRequest(
                app_id=push.app_id,
                app_name=push.app_name,
                user_email=push.user_email,
                repo=push.repo,
                commit=commit,
                git_env={**self._repos.git_env(), **env},
                stack=push.stack,
            ),
            emit,
        )


def _commit_to_deploy(updates: Sequence[Sequence[str]]) -> str | None:
    pushed = {ref: new for _old, new, ref in updates if new.strip("0")}
    return next((pushed[ref] for ref in _DEPLOYED if ref in pushed), None)
