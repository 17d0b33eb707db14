"""The runs of a state database, for programs: submitted, waited for, looked at, ended, done again."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import anyio
from anyio import to_thread

from runner.core.commands import Json
from runner.core.integration_flow import IntegrationFlow, read
from runner.errors import FlowError, Problem
from runner.runtime.intake import Intake, Submitted
from runner.runtime.loading import LoadSettings
from runner.runtime.queue import Queue
from runner.runtime.run import RunSettings, current_traceparent
from runner.runtime.state import Again, retry
from runner.runtime.store import DEFAULT_URL, ENDED, RunRow, Store

_FIRST_LOOK: Final = 0.05
_LONGEST_LOOK: Final = 1.0

T = TypeVar("T")


class Runs:
    """The runs of the state database at a url; use it as an async context manager, on asyncio or trio.

    `environ` is where the key of the database is looked for. Every method raises SurroundingsError when
    the database cannot do it.
    """

    def __init__(self, url: str = DEFAULT_URL, *, environ: Mapping[str, str] | None = None) -> None:
        self._url, self._environ = url, os.environ if environ is None else environ
        self._store: Store | None = None
        self._made_queue: Queue | None = None
        self._intakes: dict[tuple[str, LoadSettings, bool], Intake] = {}

    async def __aenter__(self) -> Self:
        self._store = await to_thread.run_sync(Store, self._url, self._environ)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()

    @property
    def _held(self) -> Store:
        assert self._store is not None, "use it as: async with Runs(url) as runs"
        return self._store

    def _queue(self) -> Queue:
        if self._made_queue is None:
            self._made_queue = Queue(self._held)
        return self._made_queue

    async def submit(
        self,
        flow: str | Path,
        inputs: Mapping[str, Json] | None = None,
        *,
        settings: RunSettings | None = None,
        priority: int = 0,
        delay: float | None = None,
        max_queued: int | None = None,
        inactive: bool = False,
        **changes: Json,
    ) -> Submitted:
        """Put a run of the flow in a file into the queue; once this returns it will be run, whoever dies.

        `changes` are fields of RunSettings, such as `run_id` and `env`. The file is read once, whatever
        becomes of it. Raises FlowError with every Problem, and BacklogError when as many wait as
        `max_queued` allows; then nothing was taken in.
        """
        chosen = settings or RunSettings()
        if chosen.traceparent is None:
            parent, state = current_traceparent()
            chosen = replace(chosen, traceparent=parent, tracestate=state)
        chosen = replace(chosen, **changes)

        def take() -> Submitted:
            place = (str(flow), chosen.load, inactive)
            if place not in self._intakes:
                self._intakes[place] = Intake(str(flow), chosen.load, inactive=inactive)
            return self._intakes[place].take(
                self._held, self._queue(), inputs or {}, chosen, priority=priority, delay=delay,
                max_queued=max_queued,
            )  # fmt: skip

        return await to_thread.run_sync(take)

    async def wait(self, run_id: str) -> RunRow:
        """Return a run once it has ended; raises FlowError when there is no such run."""
        look = _FIRST_LOOK
        while (row := await self.get(run_id)).state not in ENDED:
            await anyio.sleep(look)
            look = min(look * 1.5, _LONGEST_LOOK)
        return row

    async def get(self, run_id: str) -> RunRow:
        """Return a run; raises FlowError when there is none."""
        row = await to_thread.run_sync(self._held.get, run_id)
        if row is None:
            raise FlowError(
                [Problem("run.unknown", run_id, f"there is no such run in {self._held.shown_url}")]
            )
        return row

    async def list(
        self,
        *,
        states: Collection[str] = (),
        flow: str | None = None,
        before: str | None = None,
        limit: int = 50,
    ) -> list[RunRow]:
        """Return runs, the newest first; `before` is the id of the last one on the page before.

        Raises FlowError when there is no run `before`.
        """
        if before is not None:
            await self.get(before)
        return await self._do(partial(self._held.runs, states=states, flow=flow, before=before, limit=limit))

    async def counts(self) -> dict[str, int]:
        """Return how many runs there are in each state."""
        return await self._do(self._held.counts)

    async def result(self, run_id: str) -> dict[str, Json] | None:
        """Return what came of a run, as `RunResult.to_json` has it; None until it has ended."""
        await self.get(run_id)
        found: dict[str, Json] | None = await self._do(partial(self._held.result, run_id))
        return found

    async def trace(self, run_id: str) -> IntegrationFlow | None:
        """Return the trace of a run that has ended, None before."""
        await self.get(run_id)
        data = await self._do(partial(self._held.trace, run_id))
        return None if data is None else read(json.loads(data))

    async def cancel(self, run_id: str) -> str:
        """Ask for the end of a run; returns its state: one that waited is ``cancelled`` at once."""
        await self.get(run_id)
        return str(await self._do(partial(self._held.cancel, run_id)))

    async def retry(self, run_id: str, again: Again) -> RunRow:
        """Put a new run into the queue that does a part of an ended one again and keeps the rest."""
        return await self._do(lambda: retry(self._held, self._queue(), run_id, again, LoadSettings()))

    async def delete(self, ids: Sequence[str]) -> Sequence[str]:
        """Delete ended runs with all they have; returns those that were there and had ended."""
        return await self._do(partial(self._held.delete, ids))

    async def _do(self, call: Callable[[], T]) -> T:
        return await to_thread.run_sync(call)


async def submit(
    flow: str | Path,
    inputs: Mapping[str, Json] | None = None,
    *,
    state: str = DEFAULT_URL,
    **more: Any,  # noqa: ANN401
) -> Submitted:
    """Do as `Runs.submit` does, for one run."""
    async with Runs(state) as runs:
        return await runs.submit(flow, inputs, **more)
