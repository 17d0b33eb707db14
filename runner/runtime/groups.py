"""Doing for many at once what each would do by itself, when that costs the same: a transaction."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Generic, TypeVar

import anyio
from anyio import to_thread

from runner.runtime.database import StateError

_FIRST_WAIT: Final = 0.1
_LONGEST_WAIT: Final = 2.0

T = TypeVar("T")
R = TypeVar("R")

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Wish(Generic[T]):
    item: T
    done: bool = False
    result: Any = None


@dataclass(slots=True)
class Group(Generic[T, R]):
    """Calls `call` with the items that many tasks have brought; it returns a result for each.

    Whoever comes first has it done for all; the others wait for it, so that it needs no task of its
    own. A database that cannot do it just now is asked again until it can.
    """

    call: Callable[[Sequence[T]], Sequence[R]]
    most: int = 512
    _waiting: list[_Wish[T]] = field(default_factory=list)
    _turn: anyio.Lock = field(default_factory=anyio.Lock)

    async def do(self, items: Sequence[T]) -> list[R]:
        """Return the results of these items, once they are there."""
        mine = [_Wish(item) for item in items]
        self._waiting += mine
        while not all(wish.done for wish in mine):
            async with self._turn:
                if not all(wish.done for wish in mine):
                    await self._do_some()
        return [wish.result for wish in mine]

    async def _do_some(self) -> None:
        batch, self._waiting = self._waiting[: self.most], self._waiting[self.most :]
        try:
            results = await insist(partial(self.call, [wish.item for wish in batch]))
        except BaseException:
            self._waiting[:0] = batch  # for the next in turn
            raise
        for wish, result in zip(batch, results, strict=True):
            wish.done, wish.result = True, result


class Outage:
    """Tells once that the database cannot do something, and once that it can again."""

    def __init__(self) -> None:
        self._wait = 0.0

    def wait(self, error: StateError) -> float:
        """Return the seconds to wait before the next try: twice as many each time, up to 2."""
        if not self._wait:
            log.warning("%s; trying again until it works", error)
        self._wait = min(self._wait * 2 or _FIRST_WAIT, _LONGEST_WAIT)
        return self._wait

    def over(self) -> None:
        """Note that it can."""
        if self._wait:
            log.warning("the state database works again")
        self._wait = 0.0


async def insist(call: Callable[[], T]) -> T:
    """Do something with the database in a thread, again and again until it can.

    A database that hangs holds up nobody who is cancelled: the thread is left behind, and what it still
    does may come to pass, so that `call` is to bear being done twice.
    """
    wait = _FIRST_WAIT
    while True:
        try:
            return await to_thread.run_sync(call, abandon_on_cancel=True)
        except StateError as error:
            if wait == _FIRST_WAIT:
                log.warning("%s; trying again until it works", error)
        await anyio.sleep(wait)
        wait = min(wait * 2, _LONGEST_WAIT)
