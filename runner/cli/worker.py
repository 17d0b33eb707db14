"""`runner worker`: takes runs out of the queue until it is asked to stop."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import anyio

from runner.cli.delivery import Delivery
from runner.cli.given import http_settings, rate_flaws, read_env, tls_flaws, url_flaws
from runner.cli.options import Options
from runner.cli.output import Output, outputs
from runner.cli.resume import state_url
from runner.cli.show import FileSource
from runner.cli.upload import Upload
from runner.core.trace_document import read_traces
from runner.errors import FlowError, Problem, SurroundingsError
from runner.runtime.lease import LostError
from runner.runtime.store import RunRow
from runner.runtime.worker import Worker, WorkerSettings

if TYPE_CHECKING:
    from runner.runtime.health import Health

START_AGAIN: Final = 75  # EX_TEMPFAIL of sysexits.h
_LEFT: Final = 4


def main(options: Options, environ: Mapping[str, str]) -> int:
    """Work, and return the exit code; raises FlowError and SurroundingsError."""
    out, err = outputs(environ, color=not options.no_color)
    if options.new_key:
        return _print_key(out)
    problems: list[Problem] = [
        *url_flaws({"--otlp-endpoint": options.otlp_endpoint}),
        *tls_flaws(options),
        *rate_flaws(options),
    ]
    env = read_env(options.env, options.env_file, environ, problems)
    upload = None if options.push is None else Pusher(options, environ, out, err, problems)
    if problems:
        raise FlowError(problems)
    delivery = Delivery.asked_for(options, environ)
    logging.getLogger("runner").addHandler(Lines(err, logging.WARNING if options.quiet else logging.INFO))
    logging.getLogger("runner").setLevel(logging.INFO)
    settings = WorkerSettings(
        concurrency=options.concurrency,
        global_concurrency=options.global_concurrency,
        drain=options.drain,
        max_deaths=options.max_deaths,
        inactive=options.inactive,
        env=env,
        http=http_settings(options, environ),
        rates=options.rate,
        listeners=() if delivery is None else (delivery,),
        upload=upload,
        environ=environ,
    )
    watch = Watch(None if options.quiet else out)
    worker = Worker(state_url(options, environ), settings, ended=watch.ended)
    if delivery is not None:
        delivery.keep_for(worker.owner)
    if options.http is not None:
        from runner.runtime.health import Health

        watch.health = Health(worker)
    try:
        anyio.run(_serve, worker, watch, options, err)
    except LostError as error:
        err.line(f"{error}; others may have its runs by now")
        return START_AGAIN
    finally:
        for told in delivery.finish() if delivery is not None else ():
            err.line(told.text)
    if worker.is_cut_short:  # a thread may wait for the database without end, and Python for it
        os._exit(0)
    return 0


class Pusher:
    """Pushes traces to a platform; what is wrong with the flags goes to `problems`."""

    def __init__(
        self, options: Options, environ: Mapping[str, str], out: Output, err: Output, problems: list[Problem]
    ) -> None:
        self._options, self._environ, self._out, self._err = options, environ, out, err
        Upload(options, environ, err, problems)

    def __call__(self, row: RunRow, trace: bytes) -> str:
        """Push the trace of a run; returns why it was not taken."""
        problems: list[Problem] = []
        upload = Upload(self._options, self._environ, self._err, problems)
        try:
            done, troubles = upload.push(FileSource(read_traces(trace, row.id)))
        except (FlowError, SurroundingsError) as error:
            return str(error)
        if not done:
            return "; ".join(troubles)
        if not self._options.quiet:
            for line in (f"{row.id} pushed: {done}", *troubles):
                self._out.line(line)
        return ""


@dataclass(slots=True)
class Watch:
    """Whoever is told that a run has ended: the screen, and those who count."""

    out: Output | None
    health: Health | None = None

    def ended(self, run_id: str, state: str, seconds: float) -> None:
        """Tell them."""
        if self.out is not None:
            self.out.line(f"{run_id} {state}")
        if self.health is not None:
            self.health.ended(state, seconds)


def _print_key(out: Output) -> int:
    from runner.runtime.vault import new_key

    out.line(new_key())
    return 0


async def _serve(worker: Worker, watch: Watch, options: Options, err: Output) -> None:
    if not options.quiet:
        where = worker.store.shown_url
        err.line(f"working on {where}, at most {options.concurrency} runs at once; Ctrl-C stops")
    lost: SurroundingsError | None = None
    async with anyio.create_task_group() as group:
        group.start_soon(_obey_signals, worker, err)
        try:
            if watch.health is not None and options.http is not None:
                from runner.runtime.health import Probes

                probes = await Probes.listen(watch.health, options.http)
                group.start_soon(probes.serve)
                if not options.quiet:
                    err.line(f"probes: http://{probes.place}/healthz, /readyz, /metrics")
            await worker.serve()
        except SurroundingsError as error:
            lost = error  # raised here it would come out of the group as one
        group.cancel_scope.cancel()
    if lost is not None:
        raise lost


async def _obey_signals(worker: Worker, err: Output) -> None:
    """Stop on the first signal, at once on the second; the third leaves everything to the others."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
        count = 0
        async for _ in received:
            count += 1
            if count > 2:
                os._exit(_LEFT)
            if count == 1:
                waits = f"up to {worker.settings.drain:g} s for {len(worker.active)} runs"
                err.line(f"stopping: waiting {waits}; once more to hand them over now")
            worker.stop()


class Lines(logging.Handler):
    """Shows what the worker logs, a line each."""

    def __init__(self, err: Output, level: int) -> None:
        super().__init__(level)
        self._err = err

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        self._err.line(record.getMessage())
