"""Writing the journal: what many runs have to write goes to the database in one transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Final, TypeAlias

from runner.core.commands import Json
from runner.core.journal import Kept, Row
from runner.core.result import RunResult
from runner.errors import FencedError
from runner.runtime.groups import Group
from runner.runtime.store import Claim, End, Part, RunRow, Store

if TYPE_CHECKING:  # the core install does not have it
    from sqlalchemy import Connection

_MOST_ENDS: Final = 64  # in one transaction: each has a whole trace

Forget: TypeAlias = Callable[["Connection", Collection[str]], None]


class Journal:
    """The journals of all runs of this process; what they have to write is written together.

    `forget` is told, in the same transaction, which runs have ended.
    """

    def __init__(self, store: Store, forget: Forget | None = None) -> None:
        self.store = store
        self._rows: Group[tuple[str, int, Row], bool] = Group(store.put)
        self._ends: Group[End, bool] = Group(partial(store.finish_all, also=forget), _MOST_ENDS)

    async def put(self, run: str, epoch: int, rows: Sequence[Row]) -> None:
        """Return once the rows are written; raises FencedError when the epoch is over."""
        if not all(await self._rows.do([(run, epoch, row) for row in rows])):
            raise FencedError(f"run {run!r} was taken over")

    async def finish(self, end: End) -> None:
        """Return once it is written how a run ended; raises FencedError when its epoch is over."""
        if not all(await self._ends.do([end])):
            raise FencedError(f"run {end.run!r} was taken over")


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
        row = self.row
        await self.journal.finish(
            End(row.id, row.epoch, result.status, result.to_json(), trace.getvalue(), upload=self.upload)
        )
