"""A worker: takes runs out of the queue and carries them on to their end, whoever had them before.

What it promises is in ARCHITECTURE.md, "The worker". In short: a run belongs to the process whose
epoch the database has; a process is alive as long as it holds its lease; what one leaves behind is
taken over by any other; and whatever comes too late is refused.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import anyio
from anyio import CapacityLimiter, to_thread

from runner.core.commands import Json
from runner.errors import FencedError, FlowError, RunnerError, SurroundingsError
from runner.runtime.database import StateError
from runner.runtime.ending import DeadLetterError, ending_of
from runner.runtime.groups import Outage, insist
from runner.runtime.http import HttpSettings, Transport
from runner.runtime.journal import Journal
from runner.runtime.lease import LEASE_TTL, new_owner
from runner.runtime.liveness import Liveness
from runner.runtime.pace import Pace
from runner.runtime.queue import Queue
from runner.runtime.run import Run
from runner.runtime.state import FlowCache, Surroundings, restored
from runner.runtime.store import ENDED, Claim, RunRow, Store, UnreadableError
from runner.runtime.tracing import Listener
from runner.runtime.uploads import Upload, Uploads

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from anyio.abc import TaskGroup

POLL: Final = 0.1  # seconds between two looks into an empty queue
TICK: Final = 0.5  # seconds between two looks at the other workers
FLOW_TIMEOUT: Final = 3600.0
HANDING_OVER: Final = 3.0  # seconds for what is left when a worker is to leave

T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(slots=True)
class Job:
    """A run that this worker has taken."""

    run_id: str
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    epoch: int | None = None
    run: Run | None = None
    started: int | None = None  # ns since 1970, by whoever was the first

    def drop(self, why: FencedError) -> None:
        """Stop at once, and tell nobody that the run had an end."""
        if self.run is not None:
            self.run.give_up(why)
        self.scope.cancel()


@dataclass(kw_only=True)
class WorkerSettings:
    """What a worker does, and how much of it.

    `concurrency` runs at once here, `global_concurrency` in all workers that say so. `drain` is the
    seconds that runs have to end by themselves when the worker is to stop; after that they are handed
    over. A run that `max_deaths` workers have died of is ended. `env` fills only names that a run has
    no value for. `flow_timeout` is the seconds for a run whose flow has no limit. With `inactive` flows
    that are switched off are run too. `rates` are those of `runner.runtime.pace`. `upload` gets the
    trace of each run that has ended. `environ` is where the key of the database is looked for.
    """

    concurrency: int = 100
    global_concurrency: int | None = None
    drain: float = 30.0
    max_deaths: int = 3
    flow_timeout: float = FLOW_TIMEOUT
    inactive: bool = False
    env: Mapping[str, str] = field(default_factory=dict)
    secret_env: frozenset[str] = frozenset()
    http: HttpSettings = field(default_factory=HttpSettings)
    rates: Sequence[str] = ()
    listeners: Sequence[Listener] = ()
    upload: Upload | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    lease_ttl: float = LEASE_TTL


class Worker:
    """One worker on the state database at a url.

    `ended` is called with (run id, state, seconds) for each run that has ended here. Raises
    SurroundingsError when the database cannot be used.
    """

    def __init__(
        self,
        url: str,
        settings: WorkerSettings | None = None,
        *,
        ended: Callable[[str, str, float], None] | None = None,
        **changes: Json,
    ) -> None:
        self.settings = replace(settings or WorkerSettings(), **changes)
        self.owner = new_owner()
        self.store = Store(url, self.settings.environ)
        try:
            self.queue = Queue(self.store, self.settings.global_concurrency)
        except SurroundingsError:
            self.store.close()
            raise
        self.active: dict[str, Job] = {}
        self._journal = Journal(self.store, self.queue.forget_in)
        upload = self.settings.upload
        self._uploads = Uploads(self.store, upload) if upload is not None else None
        self._told = ended
        self._outage = Outage()
        self._threads = CapacityLimiter(8)
        self._stopping = anyio.Event()
        self._at_once = anyio.Event()
        self.is_cut_short = False  # it has left before the database had taken everything
        self._room = anyio.Event()
        self._group: TaskGroup | None = None
        self._liveness = Liveness(self.store, self.owner, self.settings.lease_ttl)

    # --- from outside

    async def serve(self) -> None:
        """Work until `stop` is called.

        Raises LostError once the lease is gone: what this worker had is somebody else's then.
        """
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._leave_in_time, group.cancel_scope)
                await self._work()
                group.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise _first(group) from group
        finally:
            self.store.close()

    async def _work(self) -> None:
        async with (
            self._liveness.held(),
            self._surroundings() as around,
            anyio.create_task_group() as group,
        ):
            self._group = group
            group.start_soon(self._keep_lease)
            group.start_soon(self._keep_looking)
            if self._uploads is not None:
                group.start_soon(self._uploads.keep)
            await self._take_runs(around)
            await self._drain()
            if self._uploads is not None:
                await self._uploads.once()
            group.cancel_scope.cancel()

    async def _leave_in_time(self, everything: anyio.CancelScope) -> None:
        """End whatever goes on when a stop has had its time, also what waits for a database that is away."""
        await self._stopping.wait()
        with anyio.move_on_after(self.settings.drain):
            await self._at_once.wait()
        await anyio.sleep(HANDING_OVER)
        self.is_cut_short = True
        log.warning("stopped before everything was written down; other workers take up what is left")
        everything.cancel()

    async def _keep_lease(self) -> None:
        try:
            await self._liveness.keep(self._check_epochs)
        finally:
            for job in list(self.active.values()):
                job.drop(FencedError("this worker has ended"))

    def stop(self) -> None:
        """Take no more runs; end when those at work have ended, or at once when called a second time."""
        (self._at_once if self._stopping.is_set() else self._stopping).set()
        self._room.set()

    # --- what it says of itself: runner.runtime.health

    @property
    def at_work(self) -> int:
        """How many runs it carries on."""
        return len(self.active)

    @property
    def room(self) -> int:
        """How many it would at most."""
        return self.settings.concurrency

    def trouble(self) -> str:
        """Return why it takes no runs just now, an empty text when it does."""
        if self._stopping.is_set():
            return "it is stopping"
        return "" if self._liveness.is_sure else "its lease is in doubt"

    def counts(self) -> Mapping[str, int]:
        """Return how many runs wait and are carried on, anywhere. Raises StateError."""
        return self.store.counts(("queued", "running"))

    # --- taking runs

    @asynccontextmanager
    async def _surroundings(self) -> AsyncIterator[Surroundings]:
        settings = self.settings
        async with Transport(settings.http) as transport:
            pace = Pace(settings.rates, self.store) if settings.rates else None
            yield Surroundings(
                settings.http, transport, settings.listeners, pace, settings.env, settings.secret_env,
                timeout=settings.flow_timeout, permit=self._liveness.permit, inactive=settings.inactive,
                upload=self._uploads is not None, flows=FlowCache(),
            )  # fmt: skip

    async def _take_runs(self, around: Surroundings) -> None:
        """Take runs as long as there is room for them, until the worker is to stop."""
        assert self._group is not None
        while not self._stopping.is_set():
            if not self._liveness.is_sure:
                await self._pause(POLL)
                continue
            room = self.settings.concurrency - len(self.active)
            try:
                taken = await self._in_thread(partial(self.queue.take, self.owner, room))
            except StateError as error:
                await self._pause(self._outage.wait(error))
                continue
            self._outage.over()
            if taken:
                await self._start(taken, around)
            if len(taken) == room:
                await self._until_there_is_room()
            else:
                await self._pause(POLL)

    async def _pause(self, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            await self._stopping.wait()

    async def _until_there_is_room(self) -> None:
        while len(self.active) >= self.settings.concurrency and not self._stopping.is_set():
            self._room = anyio.Event()
            await self._room.wait()

    async def _carry_on(self, job: Job, claim: Claim | UnreadableError, around: Surroundings) -> None:
        state: str | None = None
        try:
            with job.scope:
                if isinstance(claim, UnreadableError):
                    state = await self._end_apart(claim.row, claim, None)
                else:
                    state = await self._to_its_end(job, claim, around)
            if state is not None and self._told is not None:
                now = time.time_ns()
                self._told(job.run_id, state, max(0, now - (job.started or now)) / 1e9)
        except FencedError as fenced:
            log.info("%s", fenced)
        finally:
            if self.active.get(job.run_id) is job:
                del self.active[job.run_id]
            self._room.set()

    async def _start(self, ids: Sequence[str], around: Surroundings) -> None:
        """Become the owner of runs, and carry them on; those that need nobody are left."""
        assert self._group is not None
        self.active.update({run_id: Job(run_id) for run_id in ids})
        found = await insist(partial(self._claim, ids))
        for claim in found:
            job = self.active[claim.row.id]
            job.epoch, job.started = claim.row.epoch, claim.row.started
            self._group.start_soon(self._carry_on, job, claim, around)
        if others := {*ids} - {claim.row.id for claim in found}:
            await insist(partial(self._leave, others))
            for run_id in others:
                del self.active[run_id]

    def _claim(self, ids: Sequence[str]) -> list[Claim | UnreadableError]:
        """Become the owner of those runs that need somebody, and do not have one who got them elsewhere."""
        found = self.store.claim_all(ids, self.owner, ["", self.owner])
        if len(found) == len(ids):
            return found
        for row in map(self.store.get, {*ids} - {claim.row.id for claim in found}):
            if row is not None and row.state not in ENDED and self._liveness.is_gone(row.owner):
                found += self.store.claim_all([row.id], self.owner, [row.owner])
        return found

    def _leave(self, ids: Collection[str]) -> None:
        """Forget those of these runs that are over; what 'runner resume' has waits for the end of that."""
        over = []
        for run_id in ids:
            row = self.store.get(run_id)
            if row is None or row.state in ENDED:
                over.append(run_id)
            else:  # `_take_over` looks after it from now on
                self.queue.leave_to(row.owner, [run_id])
        self.queue.forget(over)

    async def _to_its_end(self, job: Job, claim: Claim, around: Surroundings) -> str:
        row = claim.row
        deaths = row.epoch - row.handovers - 1
        try:
            job.run = restored(self._journal, claim, around)
            if deaths >= self.settings.max_deaths:
                return await self._end_apart(row, DeadLetterError(deaths), job.run)
            return (await job.run.execute()).status
        except FencedError:
            raise
        except (FlowError, SurroundingsError) as error:
            return await self._end_apart(row, error, None)
        except Exception as error:  # a fault of ours ends this run, and not the others
            log.exception("run %s broke the runner", row.id)
            what = SurroundingsError(f"a fault of the runner itself: {type(error).__name__}")
            return await self._end_apart(row, what, None)

    async def _end_apart(self, row: RunRow, error: RunnerError, run: Run | None) -> str:
        end = replace(ending_of(row, error, run), upload=self._uploads is not None)
        await self._journal.finish(end)
        return "failed"

    # --- looking around

    async def _keep_looking(self) -> None:
        """Look at the queue and the other workers, twice a second, until cancelled."""
        strays: set[str] = set()
        outage = Outage()
        while True:
            await anyio.sleep(TICK)
            try:
                await self._in_thread(self.queue.wake)
                await self._in_thread(self.queue.admit)
                await self._end_those_asked_to()
                await self._take_over()
                strays = await self._sweep(strays)
            except StateError as error:
                outage.wait(error)
            else:
                outage.over()

    async def _end_those_asked_to(self) -> None:
        for run_id in await self._in_thread(partial(self.store.asked_to_end, list(self.active))):
            job = self.active.get(run_id)
            if job is not None and job.run is not None:
                job.run.interrupt("cancelled")

    async def _take_over(self) -> None:
        """Give what the dead have left behind to whoever is next."""
        owners = await self._in_thread(self.queue.owners)
        for owner in await self._liveness.dead_among(owners):
            left = await self._in_thread(partial(self.queue.taken_by, owner))
            await self._in_thread(partial(self.store.release, owner, left))
            await self._in_thread(partial(self.queue.give_back, owner, left))
            log.info("%d runs of %s are taken over", len(left), owner)

    async def _sweep(self, before: set[str]) -> set[str]:
        """Give back what the queue has given to us without our hearing of it, twice in a row."""
        taken = set(await self._in_thread(partial(self.queue.taken_by, self.owner)))
        strays = taken - set(self.active)
        if lost := strays & before:
            await self._in_thread(partial(self.queue.give_back, self.owner, lost))
        return strays - before

    async def _check_epochs(self) -> None:
        """Drop the runs that somebody else has by now; the lease was lost for a while."""
        epochs = await insist(partial(self.store.epochs, list(self.active)))
        for job in list(self.active.values()):
            if job.epoch is not None and epochs.get(job.run_id) != job.epoch:
                job.drop(FencedError(f"run {job.run_id!r} was taken over"))

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await to_thread.run_sync(call, limiter=self._threads, abandon_on_cancel=True)

    # --- the end

    async def _drain(self) -> None:
        """Let the runs at work end by themselves for a while, and hand over those that have not."""
        with anyio.move_on_after(self.settings.drain):
            while self.active and not self._at_once.is_set():
                self._room = anyio.Event()
                await self._room.wait()
        for job in list(self.active.values()):
            job.drop(FencedError(f"run {job.run_id!r} is handed over"))
            if job.epoch is not None:
                await insist(partial(self.store.hand_over, job.run_id, job.epoch))
            await insist(partial(self.queue.give_back, self.owner, [job.run_id]))


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return what went wrong first, out of all the groups around it."""
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first
