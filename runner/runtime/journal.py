"""Writing the journal: what many runs have to write goes to the database in one transaction."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from typing import Final, TypeVar

import anyio
from anyio import to_thread

from runner.core.commands import Json
from runner.core.journal import Kept, Row
from runner.core.result import RunResult
from runner.errors import FencedError
from runner.runtime.store import Claim, Part, RunRow, StateError, Store

MOST_ROWS: Final = 512  # in one transaction
_FIRST_WAIT: Final = 0.1
_LONGEST_WAIT: Final = 2.0

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Entry:
    run: str
    epoch: int
    row: Row
    written: bool = False


@dataclass(slots=True)
class Journal:
    """The journal of every run of this process; group commit without a task of its own.

    Whoever comes first writes what all have brought; the others wait for it. A database that cannot
    write just now is asked again until it can: no step fails because of it.
    """

    store: Store
    _waiting: list[_Entry] = field(default_factory=list)
    _stale: set[tuple[str, int]] = field(default_factory=set)
    _turn: anyio.Lock = field(default_factory=anyio.Lock)

    async def put(self, run: str, epoch: int, rows: Sequence[Row]) -> None:
        """Return once the rows are written; raises FencedError when the epoch is over."""
        mine = [_Entry(run, epoch, row) for row in rows]
        self._waiting += mine
        while not all(entry.written for entry in mine):
            async with self._turn:
                if not all(entry.written for entry in mine):
                    await self._write()
        if (run, epoch) in self._stale:
            raise FencedError(f"run {run!r} was taken over")

    async def _write(self) -> None:
        batch, self._waiting = self._waiting[:MOST_ROWS], self._waiting[MOST_ROWS:]
        try:
            rows = [(entry.run, entry.epoch, entry.row) for entry in batch]
            stale = await insist(partial(self.store.put, rows))
        except BaseException:
            self._waiting[:0] = batch  # for the next in turn
            raise
        for entry in batch:
            entry.written = True
            if entry.run in stale:
                self._stale.add((entry.run, entry.epoch))


async def insist(call: Callable[[], T]) -> T:
    """Do something with the database in a thread, again and again until it can."""
    wait = _FIRST_WAIT
    while True:
        try:
            return await to_thread.run_sync(call)
        except StateError as error:
            if wait == _FIRST_WAIT:
                log.warning("%s; trying again until it works", error)
        await anyio.sleep(wait)
        wait = min(wait * 2, _LONGEST_WAIT)


@dataclass(slots=True)
class RunJournal:
    """The journal of one run that this process has claimed.

    `permit` returns once the process may act for the run: while its lease is in doubt, it may not.
    With `upload` the trace is due to be uploaded in the end.
    """

    journal: Journal
    claim: Claim
    permit: Callable[[], Awaitable[None]] | None = None
    upload: bool = False
    next_seq: int = field(init=False)

    def __post_init__(self) -> None:
        self.next_seq = 1 + max((kept.seq for kept in self.claim.kept), default=-1)

    @property
    def row(self) -> RunRow:
        """The run as it was claimed."""
        return self.claim.row

    @property
    def given(self) -> dict[str, Json]:
        """What the run was given."""
        return self.claim.given

    @property
    def parts(self) -> Sequence[Part]:
        """What each process had of the run, this one last."""
        return self.claim.parts

    @property
    def kept(self) -> Sequence[Kept]:
        """The rows of those who had the run before."""
        return self.claim.kept

    def number(self, rows: Sequence[Row]) -> None:
        """Give the rows their numbers, in this order."""
        for row in rows:
            row.seq = self.next_seq
            self.next_seq += 1

    async def put(self, rows: Sequence[Row]) -> None:
        """Return once the rows are written; raises FencedError when somebody else has the run."""
        await self.journal.put(self.row.id, self.row.epoch, rows)

    async def finish(self, result: RunResult) -> None:
        """Write how the run ended, with its whole trace; raises FencedError when somebody else has it."""
        trace = BytesIO()
        result.write_trace(trace)
        row, store = self.row, self.journal.store
        shown = result.to_json()
        write = partial(
            store.finish, row.id, row.epoch, result.status, shown, trace.getvalue(), upload=self.upload
        )
        if not await insist(write):
            raise FencedError(f"run {row.id!r} was taken over")
