"""Many callers, one blocking call: what waits while a call is under way goes into the next one together.

The same idea as the log's group commit, for the transactions that settle upload ids.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

from platform_core.base.errors import SluiceError, UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Item = TypeVar("Item")
Answer = TypeVar("Answer")
_MOST = 512


class Grouped(Generic[Item, Answer]):
    """Wraps ``work``, which answers a sequence of items in order, for callers with one item each."""

    def __init__(self, work: Callable[[Sequence[Item]], Sequence[Answer]], most: int = _MOST) -> None:
        """Call ``work`` in a thread with at most ``most`` items at once; call from one event loop only."""
        self._work = work
        self._most = most
        self._waiting: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._task: asyncio.Task[None] | None = None
        self.calls = 0
        """How often ``work`` was called; callers per call is what grouping gives."""

    async def __call__(self, item: Item) -> Answer:
        """Return the item's answer.

        Raises:
            Exception: what ``work`` raised; an item that it refuses fails alone.
        """
        done: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, done))
        if self._task is None:
            self._task = asyncio.create_task(self._drain())
        return await done

    async def _drain(self) -> None:
        try:
            while self._waiting:
                group, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                await self._answer(group)
        finally:
            self._task = None

    async def _answer(self, group: Sequence[tuple[Item, asyncio.Future[Answer]]]) -> None:
        self.calls += 1
        try:
            answers = await asyncio.to_thread(self._work, [item for item, _ in group])
        except UserError as error:
            if len(group) == 1:
                _fail(group[0][1], error)
                return
            for one in group:
                await self._answer([one])
        except Exception as error:  # noqa: BLE001  (handed to those who wait for it)
            for _, done in group:
                _fail(done, error)
        else:
            for (_, done), answer in zip(group, answers, strict=True):
                if not done.done():
                    done.set_result(answer)


def _fail(done: asyncio.Future[Answer], error: Exception) -> None:
    if done.done():
        return
    # An exception of its own for each: a shared one would collect everybody's tracebacks.
    own = type(error)(error.message, hint=error.hint) if isinstance(error, SluiceError) else error
    done.set_exception(own)
