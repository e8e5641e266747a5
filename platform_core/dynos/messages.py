"""The lines that the dyno manager writes into an app's log, byte for byte as tools parse them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from platform_core.wire.codes import error_text

if TYPE_CHECKING:
    from platform_core.models.runtime import DynoState

_MIB = 1 << 20
STOPPING = "Stopping all processes with SIGTERM"
KILLING = "Stopping process with SIGKILL"
KILLING_REST = "Stopping remaining processes with SIGKILL"
R14 = error_text("R14")
R15 = error_text("R15")


def starting(command: str) -> str:
    """Tell which command starts."""
    return f"Starting process with command `{command}`"


def state_changed(before: DynoState, after: DynoState) -> str:
    """Tell of a change of state."""
    return f"State changed from {before} to {after}"


def exited(code: int) -> str:
    """Tell of the end."""
    return f"Process exited with status {code}"


def boot_timeout(seconds: float) -> str:
    """R10: a web process did not listen in time."""
    return (
        f"{error_text('R10')} -> Web process failed to bind to $PORT within {seconds:.0f} seconds of launch"
    )


def exit_timeout(seconds: float) -> str:
    """R12: it did not end in time after SIGTERM."""
    return f"{error_text('R12')} -> Process failed to exit within {seconds:.0f} seconds of SIGTERM"


def memory_in_use(used: int, quota: int) -> str:
    """Tell of memory over the quota; both in bytes."""
    return f"Process running mem={used // _MIB}M({100 * used / quota:.1f}%)"


def start_failed(reason: str) -> str:
    """Tell the app's owner why the platform could not start a process."""
    return f"{error_text('R99')} -> {reason}"
