"""`runner run`: one run from its flags to its exit code."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, BinaryIO, Final, NoReturn

import anyio

from runner.cli import leave_at_once
from runner.cli.artefacts import flaws, make_all, wanted
from runner.cli.check import problems_of
from runner.cli.given import Given, gather, http_settings, load_settings, pace_of
from runner.cli.interrupts import Interrupts
from runner.cli.options import Options
from runner.cli.output import Output, once, outputs, problem_line
from runner.cli.summary import place_of, summary
from runner.cli.watch import View, Watch
from runner.core.result import RunResult
from runner.core.text import MAX_TEXT
from runner.core.trace import SpanRecord, to_bytes
from runner.errors import FencedError, FlowError, Problem, RunnerError, errors_of
from runner.runtime.loading import LoadSettings, in_order, load, remarks
from runner.runtime.run import Run, RunSettings
from runner.runtime.tracing import Listener

if TYPE_CHECKING:  # what not every run needs
    from runner.cli.delivery import Delivery
    from runner.cli.upload import Upload
    from runner.core.trace_document import TraceDocument
    from runner.runtime.state import LocalState

EXITS: Final = {"succeeded": 0, "failed": 1, "cancelled": 4, "timed_out": 4}
_METRICS: Final = frozenset(("OTEL_METRICS_EXPORTER", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"))
_WRONG: Final = 2
_AROUND: Final = 3


def main(options: Options, environ: Mapping[str, str]) -> int:
    """Run a flow and return the exit code (SEMANTICS, Command line).

    Raises FlowError for everything that is found to be wrong before anything is sent.
    """
    out, err = outputs(environ, color=not options.no_color)
    hush()
    return RunCommand(options, environ, out, err).main()


def hush() -> None:
    """Keep what the engine logs about its own faults off the screen; the step's error tells of them."""
    import logging

    if os.environ.get("RUNNER_DEBUG") != "1":
        logging.getLogger("runner").addHandler(logging.NullHandler())


class RunCommand:
    """One call of `runner run`."""

    def __init__(self, options: Options, environ: Mapping[str, str], out: Output, err: Output) -> None:
        self.options, self.environ, self.out, self.err = options, environ, out, err
        target = self._screen()
        lines = err if target is None and not options.quiet else None
        self.screen = target
        self.watch = Watch(lines)
        self.delivery: Delivery | None = None
        self.artefacts = wanted(options)
        self.state: LocalState | None = None
        self.upload: Upload | None = None
        self.interrupts = Interrupts(self._leave_at_once)

    def main(self) -> int:
        """Do it all; returns the exit code."""
        try:
            run = self.prepare()
            return self.rehearse(run) if self.options.dry_run else self.go(run)
        finally:
            if self.state is not None:
                self.state.close()

    def _screen(self) -> Output | None:
        """Return the terminal that the run is to be seen on while it goes on."""
        if self.options.quiet:
            return None
        if self.out.is_terminal and not self.options.json:
            return self.out
        return self.err if self.err.is_terminal else None

    # --- before

    def prepare(self) -> Run:
        """Check everything that was given; raises FlowError with all that is wrong."""
        options = self.options
        given = gather(options, self.environ)
        limits = load_settings(options)
        given.problems += flaws(self.artefacts, [options.flow])
        self.make_upload(given.problems)
        if given.problems:
            raise FlowError([*given.problems, *flow_problems(options.flow, limits)])
        if not options.dry_run:
            self.make_delivery()
        settings = replace(
            run_settings(options, given, limits, self.environ), trigger="cli", listeners=self.listeners
        )
        if options.state is None or options.dry_run:
            return Run(load(options.flow, limits), given.inputs, replace(settings, pace=pace_of(options)))
        state = self.open_state(options.state)
        settings = replace(settings, pace=pace_of(options, state.store))
        return state.take_in(options.flow, given.inputs, settings, options.take)

    def open_state(self, url: str) -> LocalState:
        """Return the state database; imports it."""
        from runner.runtime.state import LocalState

        self.state = LocalState(url, self.environ)
        return self.state

    def make_upload(self, problems: list[Problem]) -> None:
        """Make what pushes the trace, if that is wanted; what is wrong with its flags goes to `problems`."""
        if self.options.push is not None:
            from runner.cli.upload import Upload

            self.upload = Upload(self.options, self.environ, self.err, problems)

    def make_delivery(self) -> None:
        """Make what sends spans and metrics to a collector, if that is wanted; raises FlowError."""
        options = self.options
        if options.otlp or options.otlp_endpoint is not None or not _METRICS.isdisjoint(self.environ):
            from runner.cli.delivery import Delivery

            self.delivery = Delivery.asked_for(options, self.environ)

    @property
    def listeners(self) -> list[Listener]:
        """Who is told about the spans."""
        return [self.watch] if self.delivery is None else [self.watch, self.delivery]

    # --- while

    def go(self, run: Run) -> int:
        """Run to the end and report; returns the exit code."""
        if self.delivery is not None:
            self.delivery.keep_for(run.run_id)
        with self.interrupts:
            self._warn(run)
            return anyio.run(self._go, run)

    def _warn(self, run: Run) -> None:
        if not self.options.quiet:
            for problem in once(in_order([*remarks(run.plan, run.files()), *run.warnings])):
                self.err.line(problem_line(problem))

    def rehearse(self, run: Run) -> int:
        """Print what a run would send; returns the exit code."""
        from runner.cli.dry_run import show

        options = self.options
        self._warn(run)
        unused = [artefact.flag for artefact in self.artefacts]
        unused += ["--otlp"] * (options.otlp or options.otlp_endpoint is not None)
        unused += ["--state"] * (options.state is not None) + ["--push"] * (options.push is not None)
        if unused and not options.quiet:
            self.err.line(f"a dry run makes no trace and keeps nothing; {', '.join(unused)}: not done")
        return show(run, self.out, as_json=options.json, quiet=options.quiet)

    async def _go(self, run: Run) -> int:
        if self.interrupts.asked:
            self._leave_at_once()  # nothing has been sent yet
        view = self._view(run)
        try:
            ended = await self._attended(run, view)
        except BaseException as error:
            if view is not None:
                view.close([])  # gives the cursor back
            if isinstance(error, Exception):  # a fault of ours: what there is may tell of it
                for trouble in make_all(self.artefacts, RunSource(run, self.options)).troubles:
                    self.err.line(trouble)
            raise
        if isinstance(ended, RunnerError):
            if view is not None:
                view.close([])
            self.err.line(str(ended))
            return _AROUND if isinstance(ended, FencedError) else _WRONG
        code = self._finish(run, ended, view)
        if ended.status in ("cancelled", "timed_out"):
            _leave_threads(code)
        return code

    def _view(self, run: Run) -> View | None:
        if self.screen is None:
            return None
        from runner.cli.live import LiveWaterfall

        return LiveWaterfall(self.screen, self.watch.waterfall, run.recorder.now)

    async def _attended(self, run: Run, view: View | None) -> RunResult | RunnerError:
        """Run while somebody listens to signals and the picture moves."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._obey_signals, run)
            if view is not None:
                group.start_soon(view.keep_drawing)
            if self.state is not None:
                group.start_soon(self.state.keep_alive)
            ended: RunResult | RunnerError
            try:
                ended = await run.execute()
            except RunnerError as error:  # a certificate that cannot be used: nothing was sent
                ended = error
            group.cancel_scope.cancel()
        return ended

    async def _obey_signals(self, run: Run) -> None:
        """End the run on the first signal."""
        await self.interrupts.wait()
        if self.screen is None and not self.options.quiet:
            self.err.line("stopping; once more to leave at once")
        while True:
            run.interrupt("cancelled")
            await anyio.sleep(0.1)

    def _leave_at_once(self) -> NoReturn:
        if self.screen is not None:
            self.screen.write("\x1b[?25h\n")  # the live picture hides the cursor
        leave_at_once()

    # --- after

    def _finish(self, run: Run, result: RunResult, view: View | None) -> int:
        source = RunSource(run, self.options)
        made = make_all(self.artefacts, source)
        self._report(run, result, view, made.told)
        self.interrupts.stand_down()
        if self.delivery is not None:  # before the upload: spans are kept once this has ended
            for told in self.delivery.finish(hurry=self.interrupts.asked or result.status == "cancelled"):
                text = run.masker.mask(told.text)
                if told.lost:
                    made.troubles.append(text)
                elif not (told.minor and self.options.quiet):
                    self.err.line(text)
        if self.upload is not None:
            out = self.err if self.options.json else self.out
            made.troubles += self.upload.finish(source, result.status, out)
        if self.out.trouble:
            made.troubles.append(f"cannot write standard output: {self.out.trouble}")
        for line in made.troubles:
            self.err.line(line)
        return EXITS[result.status] or (_AROUND if made.troubles else 0)

    def _report(self, run: Run, result: RunResult, view: View | None, told: Sequence[str]) -> None:
        options, waterfall, now = self.options, self.watch.waterfall, run.recorder.now()
        if view is not None and self.screen is not None:
            view.close(waterfall.rows(self.screen.width, now, self.screen.signs))
        target = self.out
        if options.json:
            self.out.write(json_text(result, self.out))
            target = self.err
        elif not options.quiet and self.screen is not self.out:
            self.out.rows(waterfall.rows(self.out.width, now, self.out.signs))
        if not options.quiet or not (result.ok or options.json):
            target.rows(summary(result, waterfall, run.plan, target.signs, told))


class RunSource:
    """The trace of a run, for the files that are made of it."""

    def __init__(self, run: Run, options: Options) -> None:
        self._run = run
        self._name, self._description = options.name, options.description

    @property
    def title(self) -> str:
        """The name of the flow, or the one that was given."""
        return self._run.masker.mask(self._run.plan.flow.label if self._name is None else self._name)

    def traces(self) -> Sequence[TraceDocument]:
        """Return it alone; it is read anew from what the run has kept of it."""
        return [self._trace]

    def records(self) -> Sequence[SpanRecord]:
        """Return its spans."""
        return self._trace.records

    @cached_property
    def _trace(self) -> TraceDocument:
        from runner.core.trace_document import TraceDocument

        flow = self._run.integration_flow(self._name, self._description)
        return TraceDocument(flow.name, flow.description, flow.spans, "integration-flow")

    def write_integration_flow(self, file: BinaryIO) -> None:
        """Write the trace span by span."""
        self._run.write_trace(file, self._name, self._description)

    def locate(self, path: str, where: str) -> str:
        """Return where in its file something stands."""
        return str(place_of(self._run.plan, path, where) or "")


def run_settings(
    options: Options, given: Given, limits: LoadSettings, environ: Mapping[str, str]
) -> RunSettings:
    """Return what the flags give a run."""
    return RunSettings(
        run_id=options.run_id,
        env=given.env,
        headers=given.headers,
        answers=given.answers,
        stubs=given.stubs,
        recorded=options.recorded,
        secret_env=given.secret,
        text_inputs=frozenset(given.text),
        input_files=given.files,
        base_url=options.base_url,
        timeout=options.timeout,
        step_budget=options.max_steps,
        max_text=options.max_text or MAX_TEXT,
        load=limits,
        http=http_settings(options, environ),
        map_hosts=options.map,
        allow_hosts=options.allow_host,
        deny_private=options.deny_private,
        traceparent=environ.get("TRACEPARENT"),
        tracestate=environ.get("TRACESTATE", ""),
        outputs=not options.no_outputs,
        capture_bodies=options.capture_bodies,
    )


def flow_problems(flow: str, limits: LoadSettings) -> tuple[Problem, ...]:
    """Return what is wrong with the flow too, so that all is told at once."""
    try:
        return errors_of(problems_of(load(flow, limits), limits))
    except FlowError as error:
        return error.problems


def json_text(result: RunResult, out: Output) -> str:
    """Return the result as one JSON object: in one line for programs, in many for people."""
    indent = 2 if out.is_terminal else None
    text = json.dumps(result.to_json(), ensure_ascii=out.signs.ascii, indent=indent)
    return to_bytes(text).decode("utf-8") + "\n"


def _leave_threads(code: int) -> None:
    """Leave now if a thread is left that cannot be stopped, such as one that waits for a name server."""
    left = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
    if any(not thread.daemon for thread in left):
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                with suppress(OSError):
                    stream.flush()
        os._exit(code)
