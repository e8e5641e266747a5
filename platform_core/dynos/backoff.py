"""When a crashed dyno is started again: at once the first time, then after longer and longer cool-offs."""

from __future__ import annotations

from dataclasses import dataclass

_MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class CrashPolicy:
    """Seconds to wait before each restart in a row; the last one repeats.

    Heroku: the first restart at once, then 10, 20, 40 minutes and so on up to 320.
    """

    delays: tuple[float, ...] = (0.0, *(minutes * _MINUTE for minutes in (10, 20, 40, 80, 160, 320)))
    forgiven_after: float = 10 * _MINUTE
    """A dyno that was up this many seconds starts the row anew."""

    def delay(self, crashes: int) -> float:
        """Return the seconds to wait after the ``crashes``-th crash in a row, counted from 1."""
        return self.delays[min(crashes, len(self.delays)) - 1]

    def crashes_after(self, crashes: int, up_seconds: float) -> int:
        """Return the length of the row after one more crash that followed ``up_seconds`` of being up."""
        return 1 if up_seconds >= self.forgiven_after else crashes + 1
