"""How a worker stays alive for the others, and how it learns that one of them is gone (SEMANTICS, Liveness).

A worker acts only while it holds its lease. When the database does not answer it waits with what it
would send; when it was frozen so long that others may have its runs, it ends.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, TypeVar

import anyio
from anyio import CapacityLimiter, to_thread

from runner.runtime.database import StateError
from runner.runtime.lease import LEASE_TTL, DatabaseLease, FileLease, LostError, take_lease
from runner.runtime.store import Store

BEAT: Final = 1.0
PATIENCE: Final = 60.0  # seconds without the database, longer than it takes to start again
_MARGIN: Final = 0.8  # of the time to live: a request is not sent in its last part
_AGAIN: Final = 0.25
_CLOSING: Final = 1.0  # seconds to give a lease up

T = TypeVar("T")

log = logging.getLogger(__name__)


class Liveness:
    """The lease of a worker. `ttl` is the seconds after which others take a silent one for dead."""

    def __init__(self, store: Store, owner: str, ttl: float = LEASE_TTL) -> None:
        self._store, self._owner, self._ttl = store, owner, ttl
        self._lease: FileLease | DatabaseLease | None = None
        self._thread = CapacityLimiter(1)
        self._heard = 0.0  # when the last beat that arrived was begun
        self._lenient_until = 0.0
        self._back = anyio.Event()
        self._suspects: dict[str, int] = {}

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Hold a lease; raises SurroundingsError when there is none to be had."""
        self._heard = time.monotonic()
        lease = self._lease = await self._in_thread(
            partial(take_lease, self._store.engine, self._owner, self._ttl)
        )
        try:
            yield
        finally:
            with anyio.move_on_after(_CLOSING, shield=True):  # a server that hangs finds out by itself
                await to_thread.run_sync(lease.close, abandon_on_cancel=True)

    @property
    def _held_lease(self) -> FileLease | DatabaseLease:
        assert self._lease is not None
        return self._lease

    async def _in_thread(self, call: Callable[[], T]) -> T:
        """Call something in a thread that waits for nobody else's."""
        return await to_thread.run_sync(call, limiter=self._thread, abandon_on_cancel=True)

    @property
    def is_sure(self) -> bool:
        """Whether the lease is not in doubt."""
        return time.monotonic() <= self._heard + self._ttl * _MARGIN

    async def permit(self) -> None:
        """Return once the lease is not in doubt."""
        while not self.is_sure:
            if self._back.is_set():  # else others wait for this one already
                self._back = anyio.Event()
            await self._back.wait()

    async def keep(self, renewed: Callable[[], Awaitable[None]]) -> None:
        """Keep the lease until cancelled; `renewed` is called when it was lost and taken anew.

        Raises LostError when this process was frozen for longer than the time to live, and when the
        database was away for longer than `PATIENCE`.
        """
        while True:
            before = time.monotonic()
            await anyio.sleep(BEAT)
            frozen = time.monotonic() - before - BEAT
            if frozen > self._ttl - BEAT:
                raise LostError(f"the lease is gone: this process stood still for {frozen:.0f} s")
            begun = time.monotonic()
            try:
                await self._in_thread(self._held_lease.ping)
            except LostError as error:
                log.warning("%s", error)
                begun = await self._take_anew()
                await renewed()
                self._lenient_until = time.monotonic() + self._ttl
            self._heard = begun
            self._back.set()

    async def _take_anew(self) -> float:
        """Take the lease again as soon as the database answers; returns when that was begun."""
        until = time.monotonic() + PATIENCE
        while isinstance(self._held_lease, DatabaseLease):
            begun = time.monotonic()
            try:
                await self._in_thread(self._held_lease.renew)
            except LostError:
                if begun > until:
                    raise
                await anyio.sleep(_AGAIN)
            else:
                return begun
        raise LostError("the lease is gone: its file was taken away")

    async def dead_among(self, owners: set[str]) -> list[str]:
        """Return those that are certainly gone. Whoever only has lost touch for a moment is not.

        A server that was started anew knows of no lease, so that everybody gets the time to live first.
        """
        if time.monotonic() < self._lenient_until:
            return []
        for owner in {*self._suspects} - owners:
            del self._suspects[owner]
        return [owner for owner in sorted(owners - {self._owner}) if await self._is_dead(owner)]

    def is_gone(self, owner: str) -> bool:
        """Tell, from any thread, whether somebody's lease is free; raises StateError."""
        try:
            return self._held_lease.is_dead(owner)
        except LostError as error:
            raise StateError(str(error)) from error

    async def _is_dead(self, owner: str) -> bool:
        try:
            is_dead = await self._in_thread(partial(self._held_lease.is_dead, owner))
        except LostError:
            return False
        if not is_dead:
            self._suspects.pop(owner, None)
            return False
        self._suspects[owner] = self._suspects.get(owner, 0) + 1
        # The lock of a file falls only with its process; a session may just be on its way back.
        return isinstance(self._held_lease, FileLease) or self._suspects[owner] > 1
