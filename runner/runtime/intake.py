"""Taking runs into the queue: everything that can be wrong with them is told before, nothing is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from runner.core.commands import Json
from runner.core.model import Flow
from runner.core.scope import Scope
from runner.core.template import compile_template
from runner.errors import FlowError, Problem, StepError, SurroundingsError
from runner.runtime.bundle import collect, load_bundle
from runner.runtime.loading import LoadSettings
from runner.runtime.queue import Queue
from runner.runtime.run import Run, RunSettings
from runner.runtime.state import given_of, new_row
from runner.runtime.store import RunRow, Store


class BacklogError(SurroundingsError):
    """More runs wait than are allowed to."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """A run that was taken in; `is_new` is False when there was one with that id already.

    `warnings` are the env values that it lacks, which a worker has to give.
    """

    row: RunRow
    is_new: bool
    warnings: Sequence[Problem] = ()


class Intake:
    """A flow with all its files, of which any number of runs may be taken in.

    `along` are files whose names only the runs know. Raises FlowError with every Problem of the flow:
    also when it is switched off, unless `inactive` allows that.
    """

    def __init__(
        self,
        path: str,
        limits: LoadSettings | None = None,
        along: Sequence[str] = (),
        *,
        inactive: bool = False,
    ) -> None:
        found = limits or LoadSettings()
        self.files = collect(path, found, along)
        self.main = next(iter(self.files))
        self.flow, self.limits = load_bundle(self.files, self.main, found)
        self._inactive = inactive
        refuse_inactive(self.flow, allowed=inactive)

    def checked(self, inputs: Mapping[str, Json], settings: RunSettings) -> Run:
        """Return the run that would be taken in; raises FlowError with every Problem of what it is given."""
        return Run(self.flow, inputs, replace(settings, load=self.limits, trigger="queue", env_later=True))

    def take(
        self,
        store: Store,
        queue: Queue,
        inputs: Mapping[str, Json],
        settings: RunSettings,
        *,
        priority: int = 0,
        delay: float | None = None,
        max_queued: int | None = None,
    ) -> Submitted:
        """Take in one run; once this returns it will be run, whoever dies. The same id is taken once.

        Raises FlowError with every Problem of what it is given, BacklogError when `max_queued` runs wait
        already, and SurroundingsError when the database cannot do it; then nothing was taken in.
        """
        known = store.get(settings.run_id) if settings.run_id is not None else None
        if known is not None:
            return Submitted(known, is_new=False)
        run = self.checked(inputs, settings)
        row = new_row(settings.run_id, run.plan.flow.label, settings.traceparent)
        row.priority = priority
        key = _key_of(run)
        if key is not None:
            row.concurrency_key = store.vault.fingerprint(key)
            row.concurrency_limit = self.flow.config.max_concurrency_per_key
            row.admitted = False
            row.not_before = row.created + int(delay * 1e9) if delay else None
        given = given_of(inputs, run.settings, self.main) | {"inactive": self._inactive}
        with store.begin() as connection:
            if max_queued is not None and (waiting := store.count_in(connection, "queued")) >= max_queued:
                what = f"{waiting} runs wait already (--max-queued {max_queued}); try again later"
                raise BacklogError(f"the run was not taken in: {what}")
            if store.add_in(connection, row, given, self.files):
                queue.put_in(connection, row, delay)
                lacks = [one for one in run.warnings if one.code == "env.missing"]
                return Submitted(row, is_new=True, warnings=lacks)
        found = store.get(row.id)
        return Submitted(found or row, is_new=False)


def _key_of(run: Run) -> str | None:
    """Return the concurrency key of a run; raises FlowError when it cannot be made."""
    source = run.plan.flow.config.concurrency_key
    if source is None:
        return None
    try:
        return compile_template(source).text(Scope(**run.scope_parts()))
    except StepError as error:
        raise FlowError([Problem(error.code, "config.concurrencyKey", error.message)]) from error


def refuse_inactive(flow: Flow, *, allowed: bool) -> None:
    """Raise FlowError for a flow that is switched off, unless that is allowed."""
    if not flow.is_active and not allowed:
        what = "the flow is not active; --inactive runs it all the same"
        raise FlowError([Problem("flow.inactive", "is_active", what)])
