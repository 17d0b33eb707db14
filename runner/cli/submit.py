"""`runner submit`: puts a run into the queue, and waits for its end if that is wanted."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, NoReturn

from runner.cli import leave_at_once
from runner.cli.given import Given, gather, load_settings
from runner.cli.options import Options
from runner.cli.output import Output, once, outputs, problem_line
from runner.cli.resume import state_url
from runner.cli.run import EXITS, flow_problems, hush, run_settings
from runner.cli.runs import run_json, show_runs
from runner.core.trace import parse_traceparent
from runner.errors import FlowError, Problem, SurroundingsError
from runner.runtime.database import StateError
from runner.runtime.intake import Intake, Submitted
from runner.runtime.loading import check
from runner.runtime.queue import Queue
from runner.runtime.run import RunSettings, run_id_flaws
from runner.runtime.store import ENDED, RunRow, Store

_LOOK: Final = 0.1  # seconds between two looks, at first
_LONGEST_LOOK: Final = 1.0


def main(options: Options, environ: Mapping[str, str]) -> int:
    """Submit, and return the exit code; raises FlowError and SurroundingsError."""
    out, err = outputs(environ, color=not options.no_color)
    hush()
    given, limits = gather(options, environ), load_settings(options)
    wrong = _traceparent_flaws(options)
    flaws = [*wrong, *run_id_flaws(options.run_id), *given.problems]
    if given.problems:
        raise FlowError([*flaws, *flow_problems(options.flow, limits)])
    try:
        intake = Intake(options.flow, limits, options.take, inactive=options.inactive)
    except FlowError as error:
        raise FlowError([*flaws, *error.problems]) from error
    settings = run_settings(options, given, limits, environ)
    if wrong:
        _refuse(wrong, intake, given, settings)
    if not options.quiet:
        for problem in once(check(intake.flow, intake.limits)):
            if problem.code != "flow.inactive":
                err.line(problem_line(problem))
    if options.traceparent is not None:
        settings = replace(settings, traceparent=options.traceparent)
    store = Store(state_url(options, environ), environ)
    try:
        submitted = intake.take(
            store, Queue(store), given.inputs, settings, priority=options.priority, delay=options.delay,
            max_queued=options.max_queued,
        )  # fmt: skip
        return _told(submitted, store, options, out, err)
    finally:
        store.close()


def _traceparent_flaws(options: Options) -> list[Problem]:
    if options.traceparent is None or parse_traceparent(options.traceparent) is not None:
        return []
    what = "is no W3C traceparent: 00-<32 hex digits>-<16 hex digits>-01"
    return [Problem("usage.traceparent", "--traceparent", what)]


def _refuse(wrong: Sequence[Problem], intake: Intake, given: Given, settings: RunSettings) -> NoReturn:
    """Raise FlowError with what is wrong already, and with all that is wrong with what the run is given."""
    try:
        intake.checked(given.inputs, settings)
    except FlowError as error:
        raise FlowError([*wrong, *error.problems]) from error
    raise FlowError(wrong)


def _told(submitted: Submitted, store: Store, options: Options, out: Output, err: Output) -> int:
    row = submitted.row
    for problem in () if options.quiet else submitted.warnings:
        err.line(problem_line(problem))
    if not submitted.is_new:
        err.line(f"there is a run {row.id!r} already ({row.state}); nothing was put into the queue")
    if not options.wait:
        out.line(json.dumps(run_json(row) | {"isNew": submitted.is_new}) if options.json else row.id)
        return 0
    if not options.quiet and row.state not in ENDED:
        where = "is in the queue" if row.state == "queued" else "is at work"
        err.line(f"run {row.id} {where}; Ctrl-C leaves it there")
    if signal.getsignal(signal.SIGINT) is leave_at_once:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        ended = _wait(store, row.id, err)
    except KeyboardInterrupt:
        where = "" if options.state is None else f" --state {store.shown_url}"
        err.line(f"the run goes on; look at it: runner runs show {row.id}{where}")
        err.line(f"           or end it: runner runs cancel {row.id}{where}")
        return EXITS["cancelled"]
    return _ended(ended, store, options, out)


def _wait(store: Store, run_id: str, err: Output) -> RunRow:
    look, is_away = _LOOK, False
    while True:
        try:
            row = store.get(run_id)
        except StateError as error:
            if not is_away:
                err.line(f"{error}; the run goes on, looking for it until the database answers")
            is_away = True
            look = _pause(look, 2)
            continue
        is_away = False
        if row is None:
            raise SurroundingsError(f"run {run_id!r} was deleted while it was waited for")
        if row.state in ENDED:
            return row
        look = _pause(look, 1.2)


def _pause(look: float, longer: float) -> float:
    """Wait, and return for how long the next time."""
    time.sleep(look)
    return min(look * longer, _LONGEST_LOOK)


def _ended(row: RunRow, store: Store, options: Options, out: Output) -> int:
    if options.json:
        result = store.result(row.id) or run_json(row)
        out.write(json.dumps(result, ensure_ascii=out.signs.ascii) + "\n")
    elif not options.quiet:
        show_runs(store, [row], options, out)
    return EXITS[row.state]
