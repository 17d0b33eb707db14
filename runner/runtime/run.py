"""Puts a run together: everything that was given is checked at once, then the engine runs it."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import anyio

from runner.core.actions import Interruption
from runner.core.answers import Answers, flaws, steps_of, unanswered
from runner.core.commands import Headers, Json, Outcome
from runner.core.compiled import HttpWork, Plan
from runner.core.inputs import check_inputs
from runner.core.integration_flow import BinaryOut, IntegrationFlow
from runner.core.integration_flow import read as read_integration_flow
from runner.core.model import Flow
from runner.core.plan import located
from runner.core.progress import Progress
from runner.core.redact import Masker, secret_name
from runner.core.request import RunTerms, learn_credentials
from runner.core.result import RunResult, run_status
from runner.core.scope import RunValues, Scope, SecretNames
from runner.core.template import Tree
from runner.core.text import MAX_TEXT, close_match
from runner.core.trace import new_ulid
from runner.errors import FencedError, FlowError, Problem, errors_of
from runner.runtime.engine import Engine, EngineOptions
from runner.runtime.files import FileReader, FileSource
from runner.runtime.http import HttpClient, HttpSettings, Transport
from runner.runtime.loading import LoadSettings, in_order, load, plan_of
from runner.runtime.policy import Router
from runner.runtime.router import HostRouter, HostRules, read_rules
from runner.runtime.tracing import Listener, Recorder

if TYPE_CHECKING:  # what a run without a state database does without
    from runner.runtime.journal import RunJournal
    from runner.runtime.pace import Pace

INSTALL_ENGINE = "pip install 'flowspan-runner[js]'"
RUN_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """What a run is given besides its flow and inputs.

    `env` is all that `{{env.X}}` can see; `secret_env` names values in it that are secret whatever
    they are called. `text_inputs` are inputs that came as text and are read as their type, and
    `input_files` the names of the files that inputs were read from. `timeout` is seconds for the whole
    run. `answers`, `stubs` and `recorded` say how nodes end that only their platform can run:
    `runner.core.answers`. `transport` shares connections with other runs of the same event loop, `pace`
    the rates of hosts; `journal` is that of a run in the state database. `map_hosts`
    (``HOST[:PORT]=HOST[:PORT]``),
    `allow_hosts` (patterns) and `deny_private` say where requests may go, as the flags do:
    `runner.runtime.router`. With `env_later` whoever carries the run on may give env values that are missing.
    """

    run_id: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    secret_env: frozenset[str] = frozenset()
    text_inputs: frozenset[str] = frozenset()
    input_files: Mapping[str, str] = field(default_factory=dict)
    base_url: str | None = None
    timeout: float | None = None
    step_budget: int | None = None
    max_text: int = MAX_TEXT
    load: LoadSettings = field(default_factory=LoadSettings)
    http: HttpSettings = field(default_factory=HttpSettings)
    transport: Transport | None = None
    pace: Pace | None = None
    map_hosts: Sequence[str] = ()
    allow_hosts: Sequence[str] = ()
    deny_private: bool = False
    traceparent: str | None = None
    tracestate: str = ""
    trigger: str = "library"
    outputs: bool = True
    capture_bodies: bool = False
    journal: RunJournal | None = None
    rounds: Mapping[str, int] = field(default_factory=dict)
    answers: Mapping[str, Json] = field(default_factory=dict)
    stubs: Mapping[str, Json] = field(default_factory=dict)
    recorded: bool = False
    env_later: bool = False
    listeners: Sequence[Listener] = ()


class Run:
    """One run, checked and ready. `recorder` holds its trace, before, while and after it runs.

    Raises FlowError with every problem of the flow, its inputs, its env and its headers.
    """

    def __init__(self, flow: Flow, inputs: Mapping[str, Json], settings: RunSettings) -> None:
        self.settings = settings
        self.plan = plan_of(flow, settings.load)
        self.inputs, problems = _checked(self.plan, inputs, settings)
        self.rules, wrong = read_rules(
            settings.map_hosts,
            settings.allow_hosts,
            deny_private=settings.deny_private,
            proxies=(settings.transport.settings if settings.transport else settings.http).proxies,
        )
        problems += wrong
        if errors_of(problems):
            raise FlowError(in_order(errors_of(problems)))
        self.warnings = in_order([one for one in (*self.plan.problems, *problems) if not one.is_error])
        self.run_id = settings.run_id or new_ulid(
            time.time_ns() // 1_000_000, int.from_bytes(os.urandom(10), "big")
        )
        self.masker = Masker()
        self._secret = _learn_secrets(self.plan, self.inputs, settings, self.masker)
        row = settings.journal.row if settings.journal is not None else None
        self._origin = self.run_id if row is None else row.origin
        self.recorder = Recorder(
            self.run_id,
            masker=self.masker,
            parent=settings.traceparent,
            tracestate=settings.tracestate,
            trace_id=int(row.trace, 16) if row is not None else None,
            execution=row.execution if row is not None else None,
            listeners=settings.listeners,
        )
        self._started = self.recorder.now() if row is None or row.started is None else row.started
        self._progress = Progress(
            self.plan, Scope(**self.scope_parts()), self.terms, step_budget=settings.step_budget
        )
        self._engine: Engine | None = None

    @property
    def terms(self) -> RunTerms:
        """What every step of the run shares."""
        settings = self.settings
        scripted = _scripted(settings)
        return RunTerms(self._origin, self.masker, settings.base_url, settings.rounds, scripted)

    def scope_parts(self) -> dict[str, Any]:
        """Return what the scope of the run is made of, as the arguments of `Scope`."""
        return {
            "inputs": self.inputs,
            "env": self.settings.env,
            "headers": self.settings.headers,
            "run": RunValues(self._origin, self._started / 1e9, self.settings.max_text),
            "secret": self._secret,
        }

    def files(self) -> FileSource | None:
        """Return what the flow reads files from, None for a flow without a folder."""
        home = self.plan.flow.home
        if self.settings.load.files is None and home:
            return FileReader(Path(home), self.settings.load.allow_files)
        return self.settings.load.files

    def router(self, transport: Transport) -> Router:
        """Return what decides where requests go."""
        return transport.router if self.rules == HostRules() else HostRouter(self.rules, transport.router)

    async def execute(self) -> RunResult:
        """Run to the end and return what came of it."""
        settings = self.settings
        async with AsyncExitStack() as stack:
            transport = settings.transport
            if transport is None:
                transport = await stack.enter_async_context(Transport(settings.http))
            client = HttpClient(transport, router=self.router(transport))
            engine = self._engine = self._make_engine(client)
            outcome = await engine.run()
        result = self._result(engine, outcome)
        await engine.conclude(result)
        return result

    def replay(self) -> list[str]:
        """Bring the trace to where the journal ends, without running anything; returns what would be next."""
        starts = self._make_engine(HttpClient(Transport(self.settings.http))).replay()
        return [start.spot.path for start in starts]

    def _make_engine(self, client: HttpClient) -> Engine:
        settings, files = self.settings, self.files()
        options = EngineOptions(
            trigger=settings.trigger,
            timeout=settings.timeout,
            outputs=settings.outputs,
            capture_bodies=settings.capture_bodies,
            pace=settings.pace,
        )
        if settings.journal is None:
            return Engine(self._progress, self.recorder, client, files, options)
        from runner.runtime.journalled import JournalledEngine

        return JournalledEngine(self._progress, self.recorder, client, files, options, settings.journal)

    def _result(self, engine: Engine, outcome: Outcome) -> RunResult:
        root = engine.root
        return RunResult(
            run_id=self.run_id,
            flow=self.plan.flow.label,
            status=run_status(outcome),
            start=root.start,
            end=root.end or root.start,
            trace_id=f"{root.trace_id:032x}",
            inputs=self.inputs,
            secret_inputs=self.plan.secret_inputs,
            steps=engine.results,
            outputs=outcome.outputs,
            failure=outcome.failure,
            masker=self.masker,
            trace=self,
        )

    def interrupt(self, by: Interruption = "cancelled") -> None:
        """End the run as soon as it can be, with its trace; call it from the run's event loop."""
        if self._engine is not None:
            self._engine.interrupt(by)

    def give_up(self, why: FencedError) -> None:
        """Stop at once and leave the run to somebody else; call it from the run's event loop."""
        if self._engine is not None:
            self._engine.give_up(why)

    def write_trace(self, file: BinaryOut, name: str | None = None, description: str | None = None) -> None:
        """Write the trace as an IntegrationFlow document, span by span."""
        flow = self.plan.flow
        self.recorder.write(
            file,
            flow.label if name is None else name,
            flow.description if description is None else description,
        )

    def integration_flow(self, name: str | None = None, description: str | None = None) -> IntegrationFlow:
        """Return the trace as an IntegrationFlow."""
        flow = self.plan.flow
        return read_integration_flow(
            {
                "name": self.masker.mask(flow.label if name is None else name),
                "description": self.masker.mask(flow.description if description is None else description),
                "spans": list(self.recorder.spans()),
            }
        )


async def run(
    flow: Flow | str | Path | Mapping[str, Json],
    inputs: Mapping[str, Json] | None = None,
    *,
    env: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    settings: RunSettings | None = None,
) -> RunResult:
    """Check a flow with what it is given, run it, and return its result.

    `env` and `headers` win over those in `settings`. Inside an application with a tracer of its own
    the run becomes a child of the current span. Raises FlowError, with every Problem, before
    anything is sent. A run that fails returns a result all the same: see `raise_for_failure`.
    """
    chosen = settings or RunSettings()
    changes: dict[str, Any] = {}
    if chosen.traceparent is None:
        changes["traceparent"], changes["tracestate"] = current_traceparent()
    if env is not None:
        changes["env"] = env
    if headers is not None:
        changes["headers"] = headers
    chosen = replace(chosen, **changes)
    ready = Run(flow if isinstance(flow, Flow) else load(flow, chosen.load), inputs or {}, chosen)
    return await ready.execute()


def run_sync(
    flow: Flow | str | Path | Mapping[str, Json],
    inputs: Mapping[str, Json] | None = None,
    *,
    env: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    settings: RunSettings | None = None,
) -> RunResult:
    """Do as `run` does, from code that has no event loop."""
    return anyio.run(partial(run, flow, inputs, env=env, headers=headers, settings=settings))


def current_traceparent() -> tuple[str | None, str]:
    """Return the host application's current span as traceparent and tracestate, if it has one."""
    if "opentelemetry.trace" not in sys.modules:
        return None, ""
    from opentelemetry.trace import get_current_span

    context = get_current_span().get_span_context()
    if not context.is_valid:
        return None, ""
    flags = int(context.trace_flags) & 1
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{flags:02x}", context.trace_state.to_header()


def _checked(
    plan: Plan, given: Mapping[str, Json], settings: RunSettings
) -> tuple[dict[str, Json], list[Problem]]:
    """Check the flow and everything that was given for it; returns the input values and all problems."""
    declared = plan.flow.inputs
    values, problems = check_inputs(
        declared or (), given,
        text=settings.text_inputs, open_inputs=declared is None, files=settings.input_files,
    )  # fmt: skip
    problems += plan.errors
    problems += run_id_flaws(settings.run_id)
    needs, headers = plan.needs, {name.lower() for name in settings.headers}
    for name, where in needs.env.items():
        if name not in settings.env:
            problems.append(_missing_env(plan, name, where, settings))
    for name, where in needs.headers.items():
        if name not in headers:
            what = f"no header {name!r}; give it with --header '{name}: …'"
            problems.append(_at(plan, "header.missing", where, what))
    for name, where in needs.inputs.items():
        if name not in values:
            what = f"no input {name!r}; give it with -i {name}=…"
            problems.append(_at(plan, "input.missing", where, what))
    for name, where in needs.flat.items():
        if name not in values and name not in settings.env:
            what = f"{name!r} is no step; as an input give -i {name}=…, as an env value -e {name}=…"
            problems.append(_at(plan, "reference.unknown", where, what))
    problems += _unscripted(plan, settings)
    return values, problems


def run_id_flaws(run_id: str | None) -> Iterator[Problem]:
    """Yield what is wrong with a run id."""
    if run_id is not None and not RUN_ID.fullmatch(run_id):
        what = "use at most 128 of letters, digits, '.', '_', ':' and '-'"
        yield Problem("run.id", "", f"{run_id!r} is no run id; {what}")


def _missing_env(plan: Plan, name: str, where: str, settings: RunSettings) -> Problem:
    hint = close_match(name, settings.env)
    if settings.env_later:
        what = f"no env value {name!r}{hint}; a worker has to give it: runner worker -e {name}=…"
        return replace(_at(plan, "env.missing", where, what), severity="warning")
    what = f"no env value {name!r}{hint or f'; give it with -e {name}=…'}"
    return _at(plan, "env.missing", where, what)


def _scripted(settings: RunSettings) -> Answers:
    return Answers(settings.answers, settings.stubs, settings.recorded)


def _unscripted(plan: Plan, settings: RunSettings) -> Iterator[Problem]:
    """Yield what is wrong with the scripted outcomes, and each that is missing."""
    given = _scripted(settings)
    wrong = list(flaws(given, plan))
    yield from wrong
    for inner, problem in unanswered(given, plan):
        yield from located(inner.flow, [problem])
    scripts = [(inner, step) for inner, step in steps_of(plan) if step.kind == "script"]
    for inner, step in scripts if scripts and find_spec("quickjs") is None else ():
        if step.id not in settings.stubs:
            what = (
                f"node {step.id!r} is JavaScript, which needs an engine: {INSTALL_ENGINE}; or give it a stub"
            )
            yield from located(inner.flow, [Problem("script.no_engine", step.where, what)])


def _at(plan: Plan, code: str, where: str, what: str) -> Problem:
    [problem] = located(plan.flow, [Problem(code, where, what)])
    return problem


def _learn_secrets(
    plan: Plan, inputs: Mapping[str, Json], settings: RunSettings, masker: Masker
) -> SecretNames:
    """Tell the masker every secret that is known before the run (SEMANTICS, Secrets)."""
    env = frozenset(name for name in settings.env if name in settings.secret_env or secret_name(name))
    for name in env:
        masker.add(settings.env[name])
    for name in plan.secret_inputs:
        masker.add(inputs.get(name))
    learn_credentials(tuple(settings.headers.items()), masker)
    _learn_literals(plan, masker)
    for value in (*settings.env.values(), *inputs.values(), settings.base_url):
        _learn_userinfo(value, masker)
    return SecretNames(plan.secret_inputs, env)


def _learn_literals(plan: Plan, masker: Masker) -> None:
    """Tell the masker which credentials the flow spells out: a server may know them before they are sent."""
    for step in (step for inner in plan.with_inner() for step in inner.steps):
        if isinstance(step.work, HttpWork):
            learn_credentials(_written(step.work.headers), masker)
            auth = dict(_written(step.work.auth.settings if step.work.auth is not None else None))
            for url in (step.work.url.source, auth.get("tokenUrl")):
                _learn_userinfo(url, masker)
            masker.add([auth.get(name) for name in ("password", "token", "clientSecret")])


def _written(tree: Tree | None) -> Headers:
    """Return the fields of an object that have no reference in them."""
    fields = tree.value.items() if tree is not None else ()
    return tuple((name, value) for name, value in fields if isinstance(value, str) and "{{" not in value)


def _learn_userinfo(value: Json, masker: Masker) -> None:
    if not isinstance(value, str) or "@" not in value or "://" not in value:
        return
    try:
        password = urlsplit(value).password
    except ValueError:
        return
    if password and "{{" not in password:
        masker.add(password)
        masker.add(unquote(password))
