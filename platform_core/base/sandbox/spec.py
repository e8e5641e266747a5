"""What a sandboxed process is asked for, and what is known of it: the port that drivers implement."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import signal
    import socket
    from collections.abc import Mapping, Sequence
    from pathlib import Path


class Network(StrEnum):
    """What a sandboxed process can reach."""

    NONE = "none"
    """Its own namespace with only a loopback; the host may still make sockets inside it."""
    HOST = "host"
    """The host's network: for builds, which must fetch packages."""


@dataclass(frozen=True, slots=True)
class Bind:
    """A host folder or file shown inside the sandbox."""

    source: Path
    target: str
    writable: bool = False


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """One process to start.

    The system's own tree (``/usr``, ``/bin``, ``/lib*``, ``/etc`` in parts) is always there read-only;
    nothing else of the host is unless it is bound. The environment is exactly ``env``.
    """

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str
    uid: int
    """Host uid and gid to drop to; ignored (with one loud warning at start-up) when we are not root."""
    binds: Sequence[Bind] = ()
    hostname: str = "sandbox"
    network: Network = Network.NONE
    memory_bytes: int | None = None
    """Hard limit; beyond it the kernel kills."""
    max_pids: int | None = None
    cpu_cores: float | None = None
    tmp_bytes: int = 64 << 20
    """Size of the private, in-memory ``/tmp``."""


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """How a sandboxed process ended."""

    code: int
    """The exit code; 128 + signal number when a signal ended it."""
    out_of_memory: bool = False
    """The kernel killed something in its cgroup for memory."""


class SandboxProcess(Protocol):
    """A running sandbox."""

    @property
    def pid(self) -> int:
        """The host pid of the outermost process."""

    async def wait(self) -> ExitStatus:
        """Wait for the end; may be called by several tasks and after it."""

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to every process of the payload (not to the sandbox's own)."""

    def kill(self) -> None:
        """End everything inside at once."""

    def memory_usage(self) -> int | None:
        """Bytes of memory in use now, or None where it cannot be measured."""

    async def connect(self, port: int) -> socket.socket:
        """Return a socket connected to 127.0.0.1:``port`` as the process sees it.

        Raises:
            ConnectionRefusedError: nothing listens there (yet).
        """

    async def listen(self, port: int) -> socket.socket:
        """Return a listening socket on 127.0.0.1:``port`` inside the process's network."""


class Sandbox(Protocol):
    """Starts sandboxed processes; the single-threaded, privileged spawner process behind it does the work."""

    @property
    def isolation(self) -> Isolation:
        """What this sandbox enforces; callers must look at ``own_files`` and ``own_network``."""

    async def start(self) -> None:
        """Start the spawner."""

    async def spawn(
        self,
        spec: SandboxSpec,
        *,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        pass_fds: Sequence[int] = (),
    ) -> SandboxProcess:
        """Start one process with these host descriptors (None is ``/dev/null``).

        ``pass_fds`` are inherited as descriptors 3, 4, … in the given order.

        Raises:
            Unavailable: the process could not be started; the message says why.
        """

    async def close(self) -> None:
        """Kill what still runs and end the spawner."""


@dataclass(frozen=True, slots=True)
class Isolation:
    """What this machine can enforce; ``missing`` says in words what it cannot, for `sluice doctor`."""

    driver: str
    missing: tuple[str, ...] = field(default=())
    own_files: bool = True
    """Binds are honoured. When False the process sees the host's own tree: use real paths."""
    own_network: bool = True
    """`Network.NONE` is honoured. When False two processes cannot listen on the same port."""
    own_uid: bool = True
    """The process drops to ``spec.uid``. When False it runs as we do."""
    limits: bool = True
    """Memory, process and CPU limits are enforced by cgroups and memory use can be read."""
