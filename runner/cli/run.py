"""`runner run`: one run from its flags to its exit code."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Final, NoReturn

import anyio

from runner.cli import leave_at_once
from runner.cli.check import problems_of
from runner.cli.given import Given, gather, load_settings
from runner.cli.options import Options
from runner.cli.output import Output, once, outputs, problem_line
from runner.cli.summary import summary
from runner.cli.watch import View, Watch
from runner.core.result import RunResult
from runner.core.text import MAX_TEXT
from runner.core.trace import SpanRecord, to_bytes
from runner.errors import FlowError, Problem, RunnerError, SurroundingsError, errors_of
from runner.runtime.files import write_atomically
from runner.runtime.http import HttpSettings
from runner.runtime.loading import LoadSettings, load
from runner.runtime.policy import ProxyRules
from runner.runtime.run import Run, RunSettings
from runner.runtime.tls import TlsOptions
from runner.runtime.tracing import Listener

EXITS: Final = {"succeeded": 0, "failed": 1, "cancelled": 4, "timed_out": 4}
_WRONG: Final = 2
_AROUND: Final = 3
_HURRY: Final = 1.0  # seconds for delivering spans once the user wants to leave


def main(options: Options, environ: Mapping[str, str]) -> int:
    """Run a flow and return the exit code (SEMANTICS, Command line).

    Raises FlowError for everything that is found to be wrong before anything is sent.
    """
    out, err = outputs(environ, color=not options.no_color)
    _hush()
    command = RunCommand(options, environ, out, err)
    return command.go(command.prepare())


def _hush() -> None:
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
        if options.trace_out is not None:
            given.problems += trace_file_flaws(options.trace_out, options.flow)
        if given.problems:
            raise FlowError([*given.problems, *_flow_problems(options.flow, limits)])
        if options.otlp or options.otlp_endpoint is not None:
            try:
                self.delivery = Delivery(self.environ, options.otlp_endpoint)
            except SurroundingsError as error:
                raise FlowError([Problem("usage.otlp", "--otlp", str(error))]) from error
        return Run(load(options.flow, limits), given.inputs, self._settings(given, limits))

    def _settings(self, given: Given, limits: LoadSettings) -> RunSettings:
        options = self.options
        return RunSettings(
            run_id=options.run_id,
            env=given.env,
            headers=given.headers,
            secret_env=given.secret,
            text_inputs=frozenset(given.text),
            input_files=given.files,
            base_url=options.base_url,
            timeout=options.timeout,
            step_budget=options.max_steps,
            max_text=options.max_text or MAX_TEXT,
            load=limits,
            http=http_settings(options, self.environ),
            traceparent=self.environ.get("TRACEPARENT"),
            tracestate=self.environ.get("TRACESTATE", ""),
            trigger="cli",
            outputs=not options.no_outputs,
            capture_bodies=options.capture_bodies,
            listeners=[self.watch] if self.delivery is None else [self.watch, self.delivery],
        )

    # --- while

    def go(self, run: Run) -> int:
        """Run to the end and report; returns the exit code."""
        if signal.getsignal(signal.SIGINT) is leave_at_once:
            signal.signal(signal.SIGINT, self._leave_at_once)  # which knows about the screen
        if not self.options.quiet:
            for problem in once(run.warnings):
                self.err.line(problem_line(problem))
        return anyio.run(self._go, run)

    async def _go(self, run: Run) -> int:
        view = self._view(run)
        try:
            ended = await self._attended(run, view)
        except BaseException as error:
            if view is not None:
                view.close([])  # gives the cursor back
            if isinstance(error, Exception) and (trouble := self._write_trace(run)):
                self.err.line(trouble)  # a fault of ours: what there is may tell of it
            raise
        if isinstance(ended, RunnerError):
            if view is not None:
                view.close([])
            self.err.line(str(ended))
            return _WRONG
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
            if threading.current_thread() is threading.main_thread():
                group.start_soon(self._obey_signals, run)
            if view is not None:
                group.start_soon(view.keep_drawing)
            ended: RunResult | RunnerError
            try:
                ended = await run.execute()
            except RunnerError as error:  # a certificate that cannot be used: nothing was sent
                ended = error
            group.cancel_scope.cancel()
        return ended

    async def _obey_signals(self, run: Run) -> None:
        """End the run on the first signal; the second one ends the process."""
        # A job in the background of a script is started with the interrupt ignored, and is to stay so.
        numbers = [
            number
            for number in (signal.SIGINT, signal.SIGTERM)
            if signal.getsignal(number) is not signal.SIG_IGN
        ]
        with anyio.open_signal_receiver(*numbers) as received:
            async for _ in received:
                break
        for number in numbers:
            signal.signal(number, self._leave_at_once)
        if self.screen is None and not self.options.quiet:
            self.err.line("stopping; once more to leave at once")
        while True:
            run.interrupt("cancelled")
            await anyio.sleep(0.1)

    def _leave_at_once(self, *_: object) -> NoReturn:
        if self.screen is not None:
            self.screen.write("\x1b[?25h\n")  # the live picture hides the cursor
        os._exit(EXITS["cancelled"])

    # --- after

    def _finish(self, run: Run, result: RunResult, view: View | None) -> int:
        trouble = self._write_trace(run)
        self._report(run, result, view, trace_file=None if trouble else self.options.trace_out)
        code = EXITS[result.status]
        if self.delivery is not None:
            hurry = _HURRY if result.status == "cancelled" else None
            if undelivered := self.delivery.finish(hurry):
                self.err.line(run.masker.mask(undelivered))
        if self.out.trouble:
            trouble = f"{trouble}\n" * bool(trouble) + f"cannot write standard output: {self.out.trouble}"
        for line in trouble.splitlines():
            self.err.line(line)
        return code or (_AROUND if trouble else 0)

    def _write_trace(self, run: Run) -> str:
        """Write the trace if it was asked for; returns what went wrong."""
        options = self.options
        if options.trace_out is None:
            return ""
        try:
            write = partial(run.write_trace, name=options.name, description=options.description)
            write_atomically(Path(options.trace_out), write)
        except SurroundingsError as error:
            return str(error)
        return ""

    def _report(self, run: Run, result: RunResult, view: View | None, *, trace_file: str | None) -> None:
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
            target.rows(summary(result, waterfall, run.plan, target.signs, trace_file))


class Delivery(Listener):
    """Sends the spans of the run to OpenTelemetry, unless the standard switches say that it is not wanted.

    Raises SurroundingsError when they make no sense.
    """

    def __init__(self, environ: Mapping[str, str], endpoint: str | None) -> None:
        from runner.runtime.otlp import OtlpDelivery

        self._environ = environ
        self._delivery = OtlpDelivery(endpoint=endpoint)
        self._wanted: bool | None = None

    def sealed(self, record: SpanRecord) -> None:
        """Queue the span."""
        if self._wanted is None:
            self._wanted = self._is_wanted(record.trace_id)
        if self._wanted:
            self._delivery.sealed(record)

    def _is_wanted(self, trace_id: int) -> bool:
        from runner.core.trace import parse_traceparent
        from runner.runtime.otlp import wanted

        parent = parse_traceparent(self._environ.get("TRACEPARENT"))
        return wanted(self._environ, trace_id, parent_sampled=parent.sampled if parent else None)

    def finish(self, timeout: float | None) -> str:
        """Deliver what is queued; returns one line when not everything arrived.

        A signal ends the waiting. It does not change how the run went.
        """
        from runner.runtime.otlp import TIMEOUT

        try:
            with _raised(signal.SIGTERM):
                delivered, failed = self._delivery.close(TIMEOUT if timeout is None else timeout)
        except KeyboardInterrupt:
            self._delivery.reason = self._delivery.reason or "interrupted"
            delivered, failed = self._delivery.close(0)
        if not failed:
            return ""
        return f"{failed} of {delivered + failed} spans were not delivered: {self._delivery.reason}"


@contextmanager
def _raised(number: signal.Signals) -> Iterator[None]:
    """Let a signal that would end the process raise KeyboardInterrupt, as SIGINT does."""
    if threading.current_thread() is not threading.main_thread() or (
        signal.getsignal(number) is not signal.SIG_DFL  # somebody takes it, or it is ignored
    ):
        yield
        return
    signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(number, signal.SIG_DFL)


def http_settings(options: Options, environ: Mapping[str, str]) -> HttpSettings:
    """Return how to reach servers, as the flags and the proxy variables say."""

    def path(given: str | None) -> Path | None:
        return None if given is None else Path(given)

    settings = HttpSettings()
    return HttpSettings(
        tls=TlsOptions(path(options.cacert), options.insecure, path(options.cert), path(options.key)),
        proxies=ProxyRules.from_environment(environ),
        max_response=options.max_response or settings.max_response,
    )


def trace_file_flaws(trace_out: str, flow: str) -> list[Problem]:
    """Return why a trace cannot be written there; told before anything is sent."""
    path = Path(trace_out)
    try:
        if flow != "-" and path.exists() and path.samefile(flow):
            return [Problem("usage.trace_out", "--trace-out", f"{trace_out!r} is the flow itself")]
        if trace_out == "-" or path.is_dir():
            reason = "a folder" if path.is_dir() else "no file; for standard output name /dev/stdout"
            return [Problem("usage.trace_out", "--trace-out", f"{trace_out!r} is {reason}")]
        if path.exists() and not path.is_file():
            return []
        target = path.resolve()
        trial = target.with_name(f".{target.name[:40]}.{token_hex(4)}.tmp")
        trial.touch(exist_ok=False)
        trial.unlink()
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or "it is no usable path").lower()
        what = f"cannot write {trace_out!r}: {reason}"
        return [Problem("usage.trace_out", "--trace-out", what)]
    return []


def _flow_problems(flow: str, limits: LoadSettings) -> tuple[Problem, ...]:
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
