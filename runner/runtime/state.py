"""Runs that are kept: taken into the state database, carried on from it, started again from a part."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

import anyio
from anyio import to_thread

from runner.core.commands import Json
from runner.core.compiled import Plan
from runner.core.journal import Kept, innermost, misfits, remaining, shapes, was_answered
from runner.core.model import Flow
from runner.core.trace import execution_id, new_ulid, parse_traceparent
from runner.errors import FlowError, Problem, SurroundingsError
from runner.platforms.aids import Aids
from runner.runtime.bundle import aids_of, collect, load_bundle
from runner.runtime.http import HttpSettings, Transport
from runner.runtime.journal import Journal, RunJournal
from runner.runtime.lease import LostError, new_owner, take_lease
from runner.runtime.loading import FlowFiles, LoadSettings, plan_of
from runner.runtime.pace import Pace
from runner.runtime.queue import Queue
from runner.runtime.run import Run, RunSettings
from runner.runtime.store import ENDED, Claim, RunRow, Store, UnreadableError
from runner.runtime.tracing import Listener

MOST_FLOWS: Final = 64
# What a run is given that is kept, by the name of the setting.
KEPT: Final = (
    "base_url", "timeout", "step_budget", "max_text", "traceparent", "tracestate", "trigger", "outputs",
    "capture_bodies", "map_hosts", "allow_hosts", "deny_private", "answers", "stubs", "recorded",
)  # fmt: skip


class FlowCache:
    """The flows of the last runs, so that equal ones are read and compiled once."""

    def __init__(self) -> None:
        self._flows: dict[tuple[Json, ...], tuple[Flow, LoadSettings]] = {}

    def load(self, claim: Claim) -> tuple[Flow, LoadSettings]:
        """Return the flow of a run, as `load_bundle` does."""
        given = claim.given
        key = (claim.bundle, given["main"], given["dialect"], bool(given.get("recorded")))
        if key not in self._flows:
            if len(self._flows) >= MOST_FLOWS:
                self._flows.clear()
            self._flows[key] = load_bundle(claim.files, given["main"], _limits(given))
        return self._flows[key]


@dataclass(slots=True)
class Surroundings:
    """What a process gives to every run that it carries on: nothing of it is kept with the run.

    `env` fills only names that the run has no value for (SEMANTICS, Journal). `timeout` is the seconds
    for a run whose flow has no time limit. `permit` is awaited before each request.
    """

    http: HttpSettings
    transport: Transport | None = None
    listeners: Sequence[Listener] = ()
    pace: Pace | None = None
    env: Mapping[str, str] | None = None
    secret_env: frozenset[str] = frozenset()
    timeout: float | None = None
    permit: Callable[[], Awaitable[None]] | None = None
    inactive: bool = True
    upload: bool = False
    flows: FlowCache | None = None


def given_of(inputs: Mapping[str, Json], settings: RunSettings, main: str) -> dict[str, Json]:
    """Return everything that a run was given, as it is kept; `main` is the path of its document."""
    kept: dict[str, Json] = {name: getattr(settings, name) for name in KEPT}
    return kept | {
        "main": main,
        "dialect": settings.load.dialect,
        "inputs": dict(inputs),
        "text_inputs": sorted(settings.text_inputs),
        "input_files": dict(settings.input_files),
        "env": dict(settings.env),
        "secret_env": sorted(settings.secret_env),
        "headers": dict(settings.headers),
        "rounds": dict(settings.rounds),
    }


def new_row(run_id: str | None, flow: str, traceparent: str | None) -> RunRow:
    """Return a new run, with the trace that it will be."""
    now = time.time_ns()
    ms = now // 1_000_000
    name = run_id or new_ulid(ms, int.from_bytes(os.urandom(10), "big"))
    parent = parse_traceparent(traceparent)
    trace = parent.trace_id if parent else int.from_bytes(os.urandom(16), "big") or 1
    return RunRow(
        id=name, flow=flow, origin=name, execution=execution_id(name, ms), trace=f"{trace:032x}", created=now
    )


def restored(journal: Journal, claim: Claim, around: Surroundings) -> Run:
    """Return a claimed run, ready to be carried on.

    Raises FlowError with every Problem that its flow has, and SurroundingsError when the database has
    not all of it.
    """
    given, files = claim.given, claim.files
    if given["main"] not in files:
        raise SurroundingsError(f"run {claim.row.id!r} has no document in the state database")
    if around.flows is None:
        flow, limits = load_bundle(files, given["main"], _limits(given))
    else:
        flow, limits = around.flows.load(claim)
    if not (flow.is_active or around.inactive or given.get("inactive")):
        what = "the flow is not active; 'runner worker --inactive' runs it all the same"
        raise FlowError([Problem("flow.inactive", "is_active", what)])
    timeout = around.timeout if flow.config.flow_timeout is None else None
    settings = RunSettings(
        run_id=claim.row.id,
        env={**(around.env or {}), **given["env"]},
        secret_env=frozenset(given["secret_env"]) | around.secret_env,
        headers=given["headers"],
        text_inputs=frozenset(given["text_inputs"]),
        input_files=given["input_files"],
        rounds=given["rounds"],
        load=limits,
        http=around.http,
        transport=around.transport,
        listeners=around.listeners,
        pace=around.pace,
        journal=RunJournal(journal, claim, around.permit, around.upload),
        **{name: given[name] for name in KEPT} | {"timeout": given["timeout"] or timeout},
    )
    return Run(flow, given["inputs"], settings)


@dataclass(frozen=True, slots=True)
class Again:
    """What of an ended run is done again: from a step on, what failed, or all of it."""

    start: bool = False
    failed: bool = False
    from_step: str | None = None
    flow: str | None = None  # the file of the flow as it was edited
    run_id: str | None = None


def retry(store: Store, queue: Queue, run_id: str, again: Again, limits: LoadSettings) -> RunRow:
    """Put a new run into the queue that keeps what an ended one has done, except what is to be done again.

    The new run has its own id and trace; requests that are repeated carry the idempotency keys of the
    first run unless their final answer had come. Raises FlowError: no such run, not ended, no such step,
    or an edited flow that does not fit, with every misfit.
    """
    row = store.get(run_id)
    if row is None:
        raise FlowError([Problem("run.unknown", "", f"there is no run {run_id!r} in {store.shown_url}")])
    if row.state not in ENDED:
        what = f"run {run_id!r} has not ended ({row.state}); 'runner resume {run_id}' carries it on"
        raise FlowError([Problem("run.not_ended", "", what)])
    given, old_files = store.given(run_id), store.files(run_id)
    if again.flow is not None:
        limits = replace(limits, aids=aids_of(old_files, _limits(given)))
    files = old_files if again.flow is None else collect(again.flow, limits)
    main = given["main"] if again.flow is None else next(iter(files))
    flow, settings = load_bundle(files, main, _limits(given))
    plan = plan_of(flow, settings)
    leaves = [kept for kept in store.kept(run_id) if kept.kind == "leaf"]
    stays = [] if again.start else _kept_paths(plan, leaves, again, store.result(run_id))
    if again.flow is not None:
        _refuse_misfits(stays, given, old_files, flow, settings)
    rounds = dict(given["rounds"])
    for kept in leaves:
        if kept.path not in stays and was_answered(kept.outcome):
            rounds[kept.path] = rounds.get(kept.path, 0) + 1
    new = replace(
        new_row(again.run_id, plan.flow.label, None), origin=row.origin, previous=row.id,
        priority=row.priority, concurrency_key=row.concurrency_key, concurrency_limit=row.concurrency_limit,
        admitted=row.concurrency_key is None,
    )  # fmt: skip
    given |= {"main": main, "rounds": rounds, "traceparent": None, "previous_trace": row.trace}
    with store.begin() as connection:
        if not store.add_in(connection, new, given, files):
            raise FlowError([Problem("run.id", "", f"there is a run {new.id!r} already; choose another id")])
        store.copy_rows_in(connection, run_id, new.id, stays)
        queue.put_in(connection, new)
    return new


def _limits(given: Mapping[str, Json]) -> LoadSettings:
    """Return how the document of a run is read."""
    aids = Aids(recorded=True) if given.get("recorded") else None
    return LoadSettings(dialect=given["dialect"], aids=aids)


def _kept_paths(plan: Plan, leaves: Sequence[Kept], again: Again, result: Json) -> list[str]:
    paths = [kept.path for kept in leaves]
    if again.from_step is not None:
        repeated = [again.from_step]
    else:
        steps = () if result is None else result["steps"]  # None: it was cancelled before it began
        failed = [one["path"] for one in steps if one["status"] == "failed" and not one["handled"]]
        repeated = innermost(failed)
    try:
        return remaining(plan, paths, repeated)
    except KeyError as missing:
        what = f"the flow has no step {missing.args[0]!r}"
        raise FlowError([Problem("run.no_step", "--from", what)]) from missing


def _refuse_misfits(
    stays: Sequence[str], given: Mapping[str, Json], files: Mapping[str, bytes], flow: Flow,
    settings: LoadSettings,
) -> None:  # fmt: skip
    old, old_settings = load_bundle(files, given["main"], _limits(given))
    found = misfits(stays, shapes(old, FlowFiles(old, old_settings)), shapes(flow, FlowFiles(flow, settings)))
    if found:
        raise FlowError([Problem("run.misfit", "", what) for what in found])


class LocalState:
    """The state database of a process that carries one run on by itself.

    Raises SurroundingsError when the database cannot be used.
    """

    def __init__(self, url: str, environ: Mapping[str, str]) -> None:
        self.store = Store(url, environ)
        self._lease = take_lease(self.store.engine, new_owner())
        self._journal = Journal(self.store)

    def take_in(
        self, path: str, inputs: Mapping[str, Json], settings: RunSettings, along: Sequence[str] = ()
    ) -> Run:
        """Take a new run of the flow at `path` into the database, and return it claimed.

        Raises FlowError with every Problem; then nothing was taken in.
        """
        files = collect(path, settings.load, along)
        main = next(iter(files))
        flow, limits = load_bundle(files, main, settings.load)
        label = Run(flow, inputs, replace(settings, load=limits)).plan.flow.label  # checks all that was given
        row = new_row(settings.run_id, label, settings.traceparent)
        if not self.store.add(row, given_of(inputs, settings, main), files):
            what = f"there is a run {row.id!r} already; 'runner resume' carries one on, another id starts one"
            raise FlowError([Problem("run.id", "", what)])
        around = Surroundings(settings.http, settings.transport, settings.listeners, settings.pace)
        return self.claimed(row.id, around)

    def claimed(self, run_id: str, around: Surroundings) -> Run:
        """Return a run of the database that has not ended, claimed.

        Raises FlowError for a run that has ended, or is not there, and SurroundingsError for one that
        somebody else carries on.
        """
        row = self.store.get(run_id)
        if row is None:
            raise FlowError(
                [Problem("run.unknown", "", f"there is no run {run_id!r} in {self.store.shown_url}")]
            )
        if row.state in ENDED:
            what = f"run {run_id!r} has ended: {row.state}; 'runner runs retry {run_id}' starts it again"
            raise FlowError([Problem("run.ended", "", what)])
        if row.owner and not self._is_gone(row.owner):
            raise SurroundingsError(f"run {run_id!r} is carried on by a process that is alive: {row.owner}")
        try:
            claim = self.store.claim(run_id, self._lease.owner)
        except UnreadableError as error:
            self.store.hand_over(run_id, error.row.epoch)
            raise
        if claim is None:
            raise SurroundingsError(f"run {run_id!r} has just ended elsewhere")
        return restored(self._journal, claim, around)

    def _is_gone(self, owner: str) -> bool:
        return self._lease.is_dead(owner)

    async def keep_alive(self) -> None:
        """Keep the lease, once a second, for as long as the run goes on."""
        while True:
            await anyio.sleep(1)
            with suppress(LostError):  # whoever takes the run over fences us
                await to_thread.run_sync(self._lease.ping)

    def close(self) -> None:
        """Give up the lease and the connections."""
        self._lease.close()
        self.store.close()
