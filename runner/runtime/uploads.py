"""Giving the traces of runs that have ended to somebody, again and again until they are taken.

What is due stands in the database, so that it outlives the worker that ended the run.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Final, TypeAlias

import anyio
from anyio import CapacityLimiter, to_thread

from runner.errors import SurroundingsError
from runner.runtime.groups import insist
from runner.runtime.store import RunRow, Store

# Called in a thread with a run and its IntegrationFlow document; returns why it was not taken, else "".
Upload: TypeAlias = Callable[[RunRow, bytes], str]

MOST_TRIES: Final = 12  # the last one about two hours after the first
LOOK: Final = 1.0
_AT_ONCE: Final = 4
_LEASE: Final = 300 * 10**9  # for so long nobody else tries what one has begun, ns
_FIRST_WAIT: Final = 2 * 10**9
_LONGEST_WAIT: Final = 1200 * 10**9

log = logging.getLogger(__name__)


class Uploads:
    """Uploads what is due in a database."""

    def __init__(self, store: Store, upload: Upload) -> None:
        self._store, self._upload = store, upload
        self._threads = CapacityLimiter(_AT_ONCE)
        self._turn = anyio.Lock()

    async def keep(self) -> None:
        """Upload what becomes due, until cancelled."""
        while True:
            await self.once()
            await anyio.sleep(LOOK)

    async def once(self) -> None:
        """Try everything that is due now, and return when what was under way has come to its end too."""
        async with self._turn:
            due = await insist(partial(self.due, time.time_ns()))
            async with anyio.create_task_group() as group:
                for run_id, at, tries in due:
                    group.start_soon(self._try, run_id, at, tries)

    async def _try(self, run_id: str, at: int, tries: int) -> None:
        async with self._threads:
            if not await insist(partial(self._move, run_id, at, time.time_ns() + _LEASE, tries)):
                return  # somebody else does it
            trouble = await to_thread.run_sync(self._send, run_id, abandon_on_cancel=True)
        if trouble:
            tries += 1
            wait = min(_FIRST_WAIT * 2**tries, _LONGEST_WAIT)
            again = time.time_ns() + wait if tries < MOST_TRIES else None
            then = "it is tried again" if again else f"given up; 'runner runs trace {run_id}' has it"
            log.warning("the trace of run %s was not taken: %s; %s", run_id, trouble, then)
            await insist(partial(self._settle, run_id, again, tries))
        else:
            await insist(partial(self._settle, run_id, None, tries))

    def _send(self, run_id: str) -> str:
        try:
            row = self._store.get(run_id)
            trace = None if row is None else self._store.trace(run_id)
            return "" if row is None or trace is None else self._upload(row, trace)
        except SurroundingsError as error:  # the database is away, or its key is
            return str(error)
        except Exception as error:  # a fault of whoever takes it is no reason to end the worker
            log.exception("uploading the trace of run %s broke", run_id)
            return f"a fault of the upload itself: {type(error).__name__}"

    def due(self, now: int, limit: int = 32) -> list[tuple[str, int, int]]:
        """Return (run, due, tries) of the traces that are to be uploaded by now; times in ns."""
        runs = self._store.tables.runs
        query = self._store.tables.select(runs.c.id, runs.c.upload_due, runs.c.upload_tries)
        query = query.where(runs.c.upload_due <= now).order_by(runs.c.upload_due).limit(limit)
        with self._store.told(), self._store.engine.connect() as connection:
            return [(one.id, one.upload_due, one.upload_tries) for one in connection.execute(query)]

    def _move(self, run_id: str, due: int, again: int, tries: int) -> bool:
        """Put an upload off until `again`; False when somebody else has done so."""
        runs = self._store.tables.runs
        this = (runs.c.id == run_id) & (runs.c.upload_due == due)
        with self._store.begin() as connection:
            done = connection.execute(runs.update().where(this).values(upload_due=again, upload_tries=tries))
            return bool(done.rowcount)

    def _settle(self, run_id: str, again: int | None, tries: int) -> None:
        """Say that an upload is due `again`, None when it was taken or is given up."""
        runs = self._store.tables.runs
        with self._store.begin() as connection:
            change = runs.update().where(runs.c.id == run_id).values(upload_due=again, upload_tries=tries)
            connection.execute(change)
