"""Performs what the core asks for, and puts every thing that happens on a span. It decides nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf
from traceback import format_exc
from typing import TYPE_CHECKING, Final, assert_never

import anyio
from anyio.abc import TaskGroup

from runner.core import names, spans
from runner.core.actions import Action, Close, Finish, Interruption, Open, Spot, Start
from runner.core.commands import (
    Command,
    Emit,
    FileContent,
    GetToken,
    Headers,
    Json,
    Outcome,
    ReadFile,
    Refused,
    Reply,
    Response,
    RunScript,
    SendRequest,
    StepFailure,
    Token,
    TokenSpec,
    Wait,
    Waited,
    header,
)
from runner.core.program import failed, token_program
from runner.core.progress import Progress
from runner.core.redact import mask_fields
from runner.core.request import FORM
from runner.core.result import RunResult, StepResults
from runner.core.trace import SpanRecord
from runner.errors import FencedError, StepError
from runner.runtime.files import FileSource
from runner.runtime.http import HttpClient
from runner.runtime.tracing import Recorder, current

if TYPE_CHECKING:  # what a run without rates does without
    from runner.runtime.pace import Pace

MAX_FILE: Final = 20 * 1024 * 1024
TEXT_TYPES: Final = ("text/", "application/json", "application/xml", "application/x-www-form-urlencoded")

_LOOKED_AT: Final = 1024 * 1024  # characters of a body in which fields are looked for by their names

log = logging.getLogger(__name__)


@dataclass(slots=True)
class CachedToken:
    """One token of the run, asked for by one step at a time."""

    lock: anyio.Lock = field(default_factory=anyio.Lock)
    value: str | None = None
    refused: Refused | None = None
    fetches: int = 0


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What a run may do besides running. `timeout` is seconds for the whole run."""

    trigger: str = "library"
    timeout: float | None = None
    outputs: bool = True
    capture_bodies: bool = False
    pace: Pace | None = None


class Engine:
    """Runs one `Progress`. `results` are those of its steps so far, as the document lists them."""

    def __init__(
        self,
        progress: Progress,
        recorder: Recorder,
        client: HttpClient,
        files: FileSource | None = None,
        options: EngineOptions | None = None,
    ) -> None:
        self.progress = progress
        self.recorder = recorder
        self.client = client
        self.files = files
        self.options = options or EngineOptions()
        self.outcome: Outcome | None = None
        self.results = StepResults(progress.root.plan.steps)
        self._spans: dict[str, SpanRecord] = {}
        self._leaves: dict[str, anyio.CancelScope] = {}
        self._unbegun: set[str] = set()
        self._timers: dict[str, anyio.CancelScope] = {}
        self._run_timer = anyio.CancelScope()
        self._tokens: dict[TokenSpec, CachedToken] = {}
        self._next_start = -inf
        self._group: TaskGroup | None = None
        self._root: SpanRecord | None = None

    @property
    def root(self) -> SpanRecord:
        """The flow span; it exists once the run has begun."""
        assert self._root is not None
        return self._root

    async def run(self) -> Outcome:
        """Run to the end. Cancelled from outside, it ends every span and lets the cancellation go on."""
        before = current.set(None)
        try:
            async with anyio.create_task_group() as group:
                self._group = group
                first = self._begin()
                if self.options.timeout is not None and self.outcome is None:
                    group.start_soon(self._end_in_time, self.options.timeout)
                if first is not None:
                    await self._leaf(first)
        finally:
            self._group = None
            if self.outcome is None:
                self._abandon("cancelled")
            current.reset(before)
        assert self.outcome is not None
        return self.outcome

    def _begin(self) -> Start | None:
        return self._follow(self.progress.start())

    def replay(self) -> list[Start]:
        """Bring the run to where its journal ends; without a journal that is its beginning."""
        return []

    async def conclude(self, result: RunResult) -> None:
        """Keep how the run ended, where that is kept."""

    def give_up(self, why: FencedError) -> None:  # noqa: ARG002 - for a journal
        """Stop at once; a run that is kept is left to somebody else."""
        self.interrupt("cancelled")

    def interrupt(self, by: Interruption, path: str = "") -> None:
        """Start nothing new at `path` and below, and end what runs there."""
        leaves, actions = self.progress.interrupt(path, by)
        start = self._follow(actions)
        if start is not None and self._group is not None:
            self._group.start_soon(self._leaf, start)
        for leaf in leaves:
            if (scope := self._leaves.get(leaf)) is not None:
                scope.cancel()
            else:  # its task is made and has not begun
                self._unbegun.add(leaf)

    def _abandon(self, by: Interruption) -> None:
        """End everything without waiting: the tasks are gone."""
        leaves, actions = self.progress.interrupt("", by)
        self._follow(actions)
        for leaf in leaves:
            self._follow(self.progress.done(leaf, _interrupted(by)))
        self.recorder.cut_off(by, f"the run was {by.replace('_', ' ')}")

    # --- actions

    def _follow(self, actions: Iterable[Action]) -> Start | None:
        """Carry out actions; returns one start for the calling task to go on with."""
        mine: Start | None = None
        for action in actions:
            match action:
                case Start():
                    if mine is None:
                        mine = action
                    elif self._group is not None:
                        self._group.start_soon(self._leaf, action)
                case Open(spot, timeout):
                    self._open(spot)
                    if timeout is not None and self._group is not None:
                        self._group.start_soon(self._expire, spot.path, timeout)
                case Close(spot, outcome):
                    self._close(spot, outcome)
                case Finish(outcome):
                    self.outcome = outcome
                    for timer in (*self._timers.values(), self._run_timer):
                        timer.cancel()
                case other:
                    assert_never(other)
        return mine

    async def _expire(self, path: str, seconds: float) -> None:
        """End the flow at `path` when its own time is up."""
        if path not in self._spans:
            return  # it has ended before this task began
        with anyio.CancelScope() as self._timers[path]:
            await anyio.sleep(seconds)
            self.interrupt("timed_out", path)

    async def _end_in_time(self, seconds: float) -> None:
        with self._run_timer:
            await anyio.sleep(seconds)
            self.interrupt("timed_out")

    async def _leaf(self, start: Start) -> None:
        """Run a leaf, and then whatever it makes ready first, in the same task."""
        going: Start | None = start
        while going is not None:
            outcome = await self._run_leaf(going)
            going = self._follow(self.progress.done(going.spot.path, outcome))

    async def _run_leaf(self, start: Start) -> Outcome:
        path = start.spot.path
        with anyio.CancelScope() as scope:
            self._leaves[path] = scope
            if path in self._unbegun:
                scope.cancel()
            try:
                await anyio.lowlevel.checkpoint_if_cancelled()
                await self._await_turn(start)
                withheld = self.progress.withheld(path) if start.spacing else None
                if withheld is not None:
                    return withheld
                return await self._drive(start)
            finally:
                del self._leaves[path]
                start.program.close()
        flow = self.progress.root
        return _interrupted(flow.interruption or "timed_out")

    async def _await_turn(self, start: Start) -> None:
        now = anyio.current_time()
        begin = now + start.after
        if start.after:
            waited = {names.DELAY_MS: round(start.after * 1000)}
            self.recorder.event(self._spans[start.spot.parent], names.EVENT_POLL_WAIT, waited)
        if start.spacing:
            begin = max(begin, self._next_start)
            self._next_start = begin + start.spacing
        if begin > now:
            await anyio.sleep_until(begin)

    async def _drive(self, start: Start) -> Outcome:
        span = self._open(start.spot)
        current.set((self.recorder.run_id, span))
        program = start.program
        try:
            command = next(program)
            while True:
                command = program.send(await self._perform(command, span, start.spot))
        except StopIteration as stop:
            outcome: Outcome = stop.value
            return outcome
        except StepError as error:
            return failed(error.code, error.message, error.where)
        except Exception as error:  # noqa: BLE001 - a fault of ours fails the step, and not the run
            told = self.recorder.masker.mask(format_exc())
            log.error("step %r broke the runner\n%s", start.spot.path, told)  # noqa: TRY400 - masked
            return failed("internal", f"a fault of the runner itself: {type(error).__name__}", "")

    # --- commands

    async def _perform(self, command: Command, span: SpanRecord, spot: Spot) -> Reply:
        match command:
            case SendRequest():
                return await self._send(command, span, spot.id, spot.type)
            case Wait(seconds):
                await anyio.sleep(seconds)
                return Waited(self._now())
            case GetToken(spec, rejected):
                return await self._token(spec, rejected, span, spot)
            case ReadFile(path):
                return await self._read(path)
            case RunScript():
                from runner.runtime.script import run_script

                return await run_script(command)
            case Emit(name, attributes):
                self.recorder.event(span, name, attributes)
                return Waited(self._now())
            case other:
                assert_never(other)

    async def _send(self, command: SendRequest, parent: SpanRecord, task_id: str, task_type: str) -> Reply:
        request = command.request
        await self._await_rate(request.url, parent)
        span = self.recorder.open(
            names.attempt_span_name(request.method, command.template),
            "client",
            parent,
            spans.request_attributes(command, task_id, task_type),
        )
        context = [("traceparent", self.recorder.traceparent(span))]
        if self.recorder.tracestate:
            context.append(("tracestate", self.recorder.tracestate))
        before = current.set((self.recorder.run_id, span))
        try:
            reply = await self.client.send(command, tuple(context))
        except BaseException:
            by = spans.INTERRUPTED[self.progress.root.interruption or "cancelled"]
            self.recorder.end(span, "error", attributes={names.ERROR_TYPE: by}, hold=True)
            raise
        finally:
            current.reset(before)
        attributes = spans.reply_attributes(command, reply)
        if self.options.capture_bodies and command.capture:
            attributes |= _bodies(command, reply)
        status = spans.reply_status(command, reply)
        self.recorder.end(span, status, attributes=attributes, hold=True)
        return reply

    async def _await_rate(self, url: str, span: SpanRecord) -> None:
        """Wait until the host's rate allows one more request; that is no part of the request's own time."""
        wait = 0.0 if self.options.pace is None else await self.options.pace.turn(url)
        if wait:
            self.recorder.event(span, names.EVENT_RATE_WAIT, {names.DELAY_MS: round(wait * 1000)})
            await anyio.sleep(wait)

    async def _token(self, spec: TokenSpec, rejected: str | None, parent: SpanRecord, spot: Spot) -> Reply:
        cached = self._tokens.setdefault(spec, CachedToken())
        asked = cached.fetches
        async with cached.lock:
            if cached.value is not None and cached.value != rejected:
                return Token(cached.value, self._now())
            if cached.refused is not None and (cached.refused.final or cached.fetches > asked):
                return cached.refused  # asked for in vain, once and for all or while this step waited
            if rejected is not None:
                self.recorder.event(parent, names.EVENT_TOKEN_REFRESHED)
            answer = await self._fetch_token(spec, parent, spot)
            cached.fetches += 1
            if isinstance(answer, Refused):
                cached.refused = answer
                return answer
            self.recorder.masker.add(answer.value)
            cached.value, cached.refused = answer.value, None
            return Token(answer.value, self._now())

    async def _fetch_token(self, spec: TokenSpec, parent: SpanRecord, spot: Spot) -> Token | Refused:
        task_id = names.token_task_id(spot.id)
        attributes: dict[str, Json] = {names.TASK_ID: task_id, names.TASK_TYPE: "http"}
        span = self.recorder.open(names.step_span_name("http", task_id), parent=parent, attributes=attributes)
        program = token_program(spec, self.progress.terms.origin)
        try:
            command = next(program)
            while True:
                if isinstance(command, SendRequest):
                    command = program.send(await self._send(command, span, task_id, "http"))
                else:
                    command = program.send(await self._perform(command, span, spot))
        except StopIteration as stop:
            answer: Token | Refused = stop.value
            if isinstance(answer, Refused):
                failure = {names.ERROR_TYPE: answer.code, names.ERROR_MESSAGE: answer.message}
                self.recorder.end(span, "error", answer.message, failure, hold=True)
            self.recorder.end(span, hold=True)
            return answer
        except BaseException:
            by = spans.INTERRUPTED[self.progress.root.interruption or "cancelled"]
            self.recorder.end(span, "error", attributes={names.ERROR_TYPE: by}, hold=True)
            raise

    async def _read(self, path: str) -> Reply:
        if self.files is None:
            return Refused("file.outside", "this flow was not loaded from a folder, so it may read no files")
        try:
            return FileContent(await self.files.read(path, MAX_FILE), self._now())
        except StepError as error:
            return Refused(error.code, error.message, self._now())

    # --- spans

    def _identity(self, spot: Spot) -> tuple[int | None, int | None]:  # noqa: ARG002 - for a journal
        """Return the id and the start of a span, None for what the recorder gives it."""
        return None, None

    def _open(self, spot: Spot) -> SpanRecord:
        if not spot.path:
            name, parent = names.flow_span_name(spot.id), None
            attributes = spans.flow_attributes(spot.id, self.options.trigger)
        else:
            name, parent = spans.spot_name(spot), self._spans[spot.parent]
            attributes = spans.spot_attributes(spot)
        identity, start = self._identity(spot)
        span = self.recorder.open(name, "internal", parent, attributes, start=start, span_id=identity)
        self._root = self._root or span
        self._spans[spot.path] = span
        return span

    def _close(self, spot: Spot, outcome: Outcome, at: int | None = None) -> None:
        span = self._spans.pop(spot.path, None)
        if span is None:
            span = self._open(spot)
            del self._spans[spot.path]
            at = span.start
        timer = self._timers.pop(spot.path, None)
        if timer is not None:
            timer.cancel()
        is_leaf = spot.type not in ("flow", "forEach", "until")
        if outcome.failure is not None and is_leaf:
            self.recorder.event(span, names.EVENT_EXCEPTION, spans.failure_event(outcome), at=at)
        for what in outcome.missing:
            self.recorder.event(span, names.EVENT_OUTPUT_MISSING, {names.REASON: what}, at=at)
        description = outcome.failure.message if outcome.failure is not None else ""
        attributes = spans.outcome_attributes(outcome, outputs=self.options.outputs and bool(spot.path))
        self.recorder.end(span, spans.outcome_status(outcome), description, attributes, at=at)
        if spot.path:
            self.results.add(spot, outcome, span.duration_ms)

    def _now(self) -> float:
        return self.recorder.now() / 1e9


def _interrupted(by: Interruption) -> Outcome:
    what = "the run was cancelled" if by == "cancelled" else "the time for it ran out"
    return Outcome("failed", failure=StepFailure(f"run.{by}", what), ended_by=by)


def _bodies(command: SendRequest, reply: Reply) -> dict[str, Json]:
    """Return the bodies as text, where they are text. The recorder masks them first and cuts them then."""
    found: dict[str, Json] = {}
    request = command.request
    if request.body is not None:
        found[names.HTTP_REQUEST_BODY_CONTENT] = _body_text(request.headers, request.body)
    if isinstance(reply, Response):
        found[names.HTTP_RESPONSE_BODY_CONTENT] = _body_text(reply.headers, reply.body)
    return {name: text for name, text in found.items() if text is not None}


def _body_text(headers: Headers, body: bytes) -> str | None:
    kind = (header(headers, "content-type") or "").partition(";")[0].strip().lower()
    if not kind.startswith(TEXT_TYPES) and not kind.endswith(("+json", "+xml")):
        return None
    text = body.decode("utf-8", "replace")
    if kind != FORM and "json" not in kind:
        return text
    # What follows is cut off later; it would take longer than the request.
    return mask_fields(text[:_LOOKED_AT], form=kind == FORM) + text[_LOOKED_AT:]
