"""`runner runs`: what is in the state database, looked at and changed from outside."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final

import anyio

from runner.cli.options import Options
from runner.cli.output import Output, outputs
from runner.cli.resume import state_url
from runner.core.commands import Json
from runner.core.trace import iso_time
from runner.errors import FlowError, Problem
from runner.report.waterfall import duration
from runner.runtime.files import write_atomically
from runner.runtime.http import HttpSettings
from runner.runtime.journal import Journal
from runner.runtime.loading import LoadSettings
from runner.runtime.queue import Queue
from runner.runtime.state import Again, Surroundings, restored, retry
from runner.runtime.store import ENDED, Claim, RunRow, Store


def main(options: Options, environ: Mapping[str, str]) -> int:
    """Do what the action says and return the exit code; raises FlowError and SurroundingsError."""
    out, _ = outputs(environ, color=not options.no_color)
    store = Store(state_url(options, environ), environ)
    try:
        return ACTIONS[options.action](store, options, out)
    finally:
        store.close()


# --- looking


def _list(store: Store, options: Options, out: Output) -> int:
    if options.before is not None:
        _rows(store, [options.before])
    rows = store.runs(states=options.status, flow=options.of_flow, before=options.before, limit=options.limit)
    if options.json:
        _print_json([run_json(row) for row in rows], out)
        return 0
    width = max((len(row.id) for row in rows), default=0)
    for row in rows:
        spent = duration((row.ended - row.started) / 1e6) if row.ended and row.started else ""
        previous = f" (again {row.previous})" if row.previous else ""
        reason = f": {row.reason}" if row.reason else ""
        line = f"{row.id:{width}}  {row.state:9}  {iso_time(row.created)[:19]}Z  {spent:>8}  {row.flow}"
        out.line(f"{line}{previous}{reason}")
    if len(rows) == options.limit:
        out.line(f"for the runs before: --before {rows[-1].id}")
    return 0


def run_json(row: RunRow) -> dict[str, Json]:
    """Return a run as JSON: times as RFC 3339, durations in ms."""
    times = {"created": row.created, "started": row.started, "ended": row.ended}
    return {
        "runId": row.id,
        "flow": row.flow,
        "status": row.state,
        **{name: None if at is None else iso_time(at) for name, at in times.items()},
        "traceId": row.trace,
        "executionId": row.execution,
        "previousRunId": row.previous,
        "priority": row.priority,
        "owner": row.owner or None,
        "claims": row.epoch,
        "reason": row.reason or None,
        "cancelAsked": row.cancelled,
    }


def _show(store: Store, options: Options, out: Output) -> int:
    show_runs(store, _rows(store, options.ids), options, out)
    return 0


def show_runs(store: Store, rows: Sequence[RunRow], options: Options, out: Output) -> None:
    """Print the traces of runs as they are by now."""
    from runner.cli.show import Found, present
    from runner.core.trace_document import read_traces

    found: list[Found] = []
    for row in rows:
        [trace] = read_traces(_trace_of(store, row), row.id)
        found.append(Found(f"run {row.id} ({row.state})", trace))
    present(found, options, out)


def _trace_of(store: Store, row: RunRow) -> bytes:
    """Return the trace of a run as it is by now."""
    trace = store.trace(row.id)
    if trace is not None:
        return trace
    return anyio.run(_replayed, store, row)


async def _replayed(store: Store, row: RunRow) -> bytes:
    claim = Claim(row, store.given(row.id), store.kept(row.id), store.files(row.id), store.parts(row.id))
    run = restored(Journal(store), claim, Surroundings(HttpSettings()))
    run.replay()
    file = BytesIO()
    run.write_trace(file)
    return file.getvalue()


def _trace(store: Store, options: Options, out: Output) -> int:
    [row] = _rows(store, options.ids)
    data = _trace_of(store, row)
    if options.output is None:
        out.write(data.decode("utf-8"))
    else:
        write_atomically(Path(options.output), partial(_put, data))
    return 0


def _put(data: bytes, file: BinaryIO) -> None:
    file.write(data)


def _stats(store: Store, options: Options, out: Output) -> int:
    counts = store.counts()
    if options.json:
        _print_json(counts, out)
        return 0
    for state in sorted(counts):
        out.line(f"{state:9}  {counts[state]}")
    return 0


# --- changing


def _cancel(store: Store, options: Options, out: Output) -> int:
    rows = _rows(store, options.ids)
    states = [store.cancel(row.id) for row in rows]
    if options.json:
        _print_json([run_json(row) for row in _rows(store, options.ids)], out)
        return 0
    for row, state in zip(rows, states, strict=True):
        told = {"cancelled": "cancelled", "running": "is asked to end"}
        what = told.get(str(state), f"has ended already: {state}") if row.state not in ENDED else None
        out.line(f"{row.id} {what or f'has ended already: {row.state}'}")
    return 0


def _delete(store: Store, options: Options, out: Output) -> int:
    if bool(options.ids) == (options.older_than is not None):
        raise FlowError([Problem("usage.runs", "", "name runs, or give --older-than")])
    if options.older_than is not None:
        ids = store.ended_before(time.time_ns() - int(options.older_than * 1e9))
    else:
        going = [row.id for row in _rows(store, options.ids) if row.state not in ENDED]
        if going:
            what = "the run has not ended; cancel it first"
            raise FlowError([Problem("run.not_ended", name, what) for name in going])
        ids = options.ids
    deleted = store.delete(ids)
    if options.json:
        _print_json({"deleted": deleted}, out)
        return 0
    out.line(f"deleted {len(deleted)} run{'' if len(deleted) == 1 else 's'}")
    return 0


def _retry(store: Store, options: Options, out: Output) -> int:
    [run_id] = options.ids
    again = Again(
        start=options.start, failed=options.failed, from_step=options.from_step, flow=options.edited,
        run_id=options.new_id,
    )  # fmt: skip
    row = retry(store, Queue(store), run_id, again, LoadSettings())
    if options.json:
        _print_json(run_json(row), out)
    else:
        out.line(f"{row.id}: a worker takes it, or: runner resume {row.id}")
    return 0


def _rows(store: Store, ids: Sequence[str]) -> list[RunRow]:
    """Return the runs; raises FlowError naming every id that there is no run of."""
    found = [(run_id, store.get(run_id)) for run_id in dict.fromkeys(ids)]
    missing = [run_id for run_id, row in found if row is None]
    if missing:
        what = f"there is no such run in {store.shown_url}"
        raise FlowError([Problem("run.unknown", run_id, what) for run_id in missing])
    return [row for _, row in found if row is not None]


def _print_json(value: Json, out: Output) -> None:
    out.write(json.dumps(value, ensure_ascii=out.signs.ascii, indent=2) + "\n")


ACTIONS: Final[Mapping[str, Callable[[Store, Options, Output], int]]] = {
    "list": _list,
    "show": _show,
    "trace": _trace,
    "cancel": _cancel,
    "retry": _retry,
    "delete": _delete,
    "stats": _stats,
}
