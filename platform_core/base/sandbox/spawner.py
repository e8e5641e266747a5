"""The spawner: a small process with one thread that starts, signals and reaps sandboxed processes.

Started by the library as ``python -m platform_core.base.sandbox.spawner DRIVER FD``; speaks `messages` over
the Unix socket FD. It may be root while its parent is not. When the parent goes, it kills everything and
ends. It imports next to nothing, so that a fork is cheap and safe.
"""

from __future__ import annotations

import contextlib
import gc
import os
import selectors
import signal
import socket
import sys
import tempfile
from pathlib import Path

from platform_core.base.sandbox import kernel
from platform_core.base.sandbox.cgroups import NoCgroups, open_cgroups
from platform_core.base.sandbox.children import Child, Children
from platform_core.base.sandbox.drivers import BubblewrapDriver, Driver, ProcessDriver
from platform_core.base.sandbox.etc import build_etc
from platform_core.base.sandbox.messages import Message, close_all, pack, receive, spec_from_wire
from platform_core.base.sandbox.netsockets import listening, unconnected
from platform_core.base.sandbox.staging import Staging

_AGAIN_S = 0.01
"""How soon what could not be finished is tried again: for a few ms around a start or an end."""


class Spawner:
    """Serves one library over one socket until it closes."""

    def __init__(self, control: socket.socket, driver: Driver, children: Children) -> None:
        """Watch ``control``, the parent's life and the children's ends."""
        self._control = control
        self._driver = driver
        self._children = children
        self._selector = selectors.DefaultSelector()
        self._running = True

    def run(self) -> None:
        """Serve until the parent goes."""
        wake, wake_end = socket.socketpair()
        for end in (wake, wake_end):
            end.setblocking(False)
        signal.set_wakeup_fd(wake_end.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        parent = os.pidfd_open(os.getppid())
        self._selector.register(self._control, selectors.EVENT_READ, self._on_request)
        self._selector.register(parent, selectors.EVENT_READ, self._stop)
        self._selector.register(wake, selectors.EVENT_READ, lambda: self._on_children(wake))
        while self._running:
            for key, _events in self._selector.select(_AGAIN_S if self._children.unfinished else None):
                key.data()
            self._children.finish()
        self._children.kill_all()

    def _stop(self) -> None:
        self._running = False

    def _on_children(self, wake: socket.socket) -> None:
        wake.recv(4096)
        for child, code, oom in self._children.reap():
            self._on_status(child)  # its last words, if the child could not exec
            self._close_status(child)
            if child.request is not None:
                self._answer(child.request, error=f"it ended with status {code} before the sandbox stood")
                child.request = None
            else:
                self._send({"event": "exit", "pid": child.pid, "code": code, "oom": oom})

    def _on_request(self) -> None:
        try:
            received = receive(self._control)
        except ConnectionResetError:
            received = None
        if received is None:
            self._stop()
            return
        message, descriptors = received
        try:
            self._handle(message, descriptors)
        except Exception as error:  # noqa: BLE001  # the library gets it; the spawner must live on
            self._answer(message["id"], error=str(error) or type(error).__name__)
        finally:
            close_all(descriptors)

    def _handle(self, message: Message, descriptors: list[int]) -> None:
        match message["op"]:
            case "spawn":
                self._spawn(message, descriptors)
            case "signal":
                self._children.signal(message["pid"], message["number"])
            case "kill":
                self._children.kill(message["pid"])
            case "sockets":
                self._give_sockets(message, unconnected(self._namespace(message), message["count"]))
            case "listen":
                self._give_sockets(message, [listening(self._namespace(message), message["port"])])

    def _namespace(self, message: Message) -> int:
        child = self._children.get(message["pid"])
        if child is None or child.network is None:
            raise ProcessLookupError("the process has ended")
        return child.network

    def _spawn(self, message: Message, descriptors: list[int]) -> None:
        spec = spec_from_wire(message["spec"])
        child = self._children.start(self._driver, spec, message["std"], descriptors)
        child.request = message["id"]
        assert child.status is not None  # noqa: S101  # set by start, cleared by _on_status
        self._selector.register(child.status, selectors.EVENT_READ, lambda: self._on_status(child))

    def _on_status(self, child: Child) -> None:
        """Read the status pipe: an error, bubblewrap's child pid, or (plain process) its end at exec."""
        if not child.watched or child.status is None:
            return
        if not child.read_status():
            return
        self._selector.unregister(child.status)
        child.watched = False
        if child.request is None:
            return
        if child.error:
            self._answer(child.request, error=child.error)
        elif child.ready:
            memory = None if child.group.memory is None else str(child.group.memory)
            self._answer(child.request, pid=child.pid, cgroup=memory, network=child.own_network)
        else:
            return
        child.request = None

    def _close_status(self, child: Child) -> None:
        if child.status is not None:
            if child.watched:
                self._selector.unregister(child.status)
            os.close(child.status)
            child.status = None

    def _answer(self, request: int, **fields: object) -> None:
        self._send({"id": request, **fields})

    def _give_sockets(self, message: Message, made: list[socket.socket]) -> None:
        try:
            socket.send_fds(self._control, [pack({"id": message["id"]})], [one.fileno() for one in made])
        finally:
            for one in made:
                one.close()

    def _send(self, message: Message) -> None:
        try:
            self._control.sendall(pack(message))
        except OSError:
            self._stop()


def main() -> None:
    """Set the spawner up as its arguments say and serve."""
    kind, descriptor = sys.argv[1], int(sys.argv[2])
    control = socket.socket(fileno=descriptor)
    control.set_inheritable(False)
    os.chdir("/")
    kernel.become_subreaper()
    root = os.geteuid() == 0
    with contextlib.ExitStack() as stack:
        driver = _bubblewrap(root, stack) if kind == "bwrap" else ProcessDriver(drop_uid=root)
        cgroups = open_cgroups(str(os.getpid())) if root else NoCgroups("needs root")
        stack.callback(cgroups.close)
        gc.freeze()
        Spawner(control, driver, Children(cgroups)).run()


def _bubblewrap(root: bool, stack: contextlib.ExitStack) -> Driver:
    if root:
        staging = Staging()
        etc = staging.folder / "etc"  # goes with our mount namespace
        build_etc(etc)
        return BubblewrapDriver(staging, etc)
    etc = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sluice-etc-"))) / "etc"
    build_etc(etc)
    return BubblewrapDriver(None, etc)


if __name__ == "__main__":
    main()
