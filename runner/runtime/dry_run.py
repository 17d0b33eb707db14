"""What a run would do, without sending anything.

Each step is rehearsed by its own program up to its first request, in a scope that has a stand-in for
every value that only an answer can bring. What follows a request is shown as if the answer were the
expected one; a condition or edge that depends on an answer is told, and both of its ways are shown.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeAlias

from runner.core.actions import step_path
from runner.core.commands import (
    Command,
    Computed,
    Emit,
    FileContent,
    GetToken,
    Json,
    Outcome,
    ReadFile,
    Refused,
    Reply,
    RunScript,
    SendRequest,
    StepFailure,
    Token,
    TokenSpec,
    Wait,
    Waited,
)
from runner.core.compiled import ConditionWork, FlowWork, ForeignWork, HttpWork, Plan, StepPlan
from runner.core.condition import Condition
from runner.core.graph import Arc, Graph
from runner.core.inputs import check_inputs
from runner.core.model import External
from runner.core.names import token_task_id
from runner.core.program import step_program, token_program
from runner.core.redact import MASK
from runner.core.scope import SecretNames
from runner.core.template import Template, Tree, compile_template
from runner.core.text import kind_of
from runner.errors import StepError, errors_of, located
from runner.runtime.engine import MAX_FILE
from runner.runtime.http import Transport
from runner.runtime.run import Run
from runner.runtime.stand_ins import DryScope, StandIns, Undecided
from runner.runtime.wire import Unsendable, escaped, origin_and_target, wire_message

Decision: TypeAlias = Literal["runs", "depends", "skipped", "unreached"]
Taken: TypeAlias = bool | tuple[str, ...]  # for certain or not at all, or on these conditions

_TRACEPARENT: Final = (("traceparent", "00-{trace id}-{span id}-01"),)


@dataclass(slots=True)
class WouldSend:
    """A request as it would go on the wire, masked. `role` is ``token`` for one that fetches a token.

    `body` is None without one, and where it is not text; `size` counts its bytes, and is None where
    that depends. `to` is where the connection would go if that is not the host of the url; `refused`
    says why nothing would be sent.
    """

    method: str
    url: str
    headers: list[tuple[str, str]]
    body: str | None
    size: int | None
    role: str = ""
    to: str = ""
    refused: str = ""


@dataclass(slots=True)
class WouldDo:
    """What one step, item or flow step would do. `reasons` are what a decision depends on, or its cause."""

    path: str
    id: str
    type: str
    name: str
    decision: Decision = "runs"
    reasons: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    requests: list[WouldSend] = field(default_factory=list)
    outputs: Mapping[str, Json] = field(default_factory=dict)
    failure: StepFailure | None = None


@dataclass(slots=True)
class _Verdict:
    """Whether a step runs: what its edges, the outputs that it needs and its own condition depend on."""

    decision: Decision
    edges: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    skip: str = ""
    result: bool | None = None

    @property
    def reasons(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.edges, *self.needs, *self.own)))


async def rehearse(run: Run) -> list[WouldDo]:
    """Return what each step of a run would do, in the order in which they start."""
    rehearsal = _Rehearsal(run)
    parts = run.scope_parts()
    parts["secret"] = replace(parts["secret"], outputs=set())  # the run itself has none yet
    scope = DryScope(rehearsal.stand_ins, **parts)
    rehearsal.flow(run.plan, scope, "", ())
    async with Transport(run.settings.http) as made:
        transport = run.settings.transport or made
        router = run.router(transport)
        for request, step, (scheme, host, port) in rehearsal.places:
            route = await router.route(scheme, host, port)
            if isinstance(route, Refused):
                request.refused = route.message
                step.failure = step.failure or StepFailure(route.code, route.message)
            elif route.proxy is not None:
                request.to = "the proxy"
            elif (route.host, route.port) != (host, port):
                request.to = f"{route.host}:{route.port}"
    shown = rehearsal.stand_ins.shown
    for step in rehearsal.steps:  # a condition may have a secret spelled out in it
        step.reasons, step.notes = tuple(map(shown, step.reasons)), [*map(shown, step.notes)]
        if step.failure is not None:
            step.failure = replace(step.failure, message=shown(step.failure.message))
    return rehearsal.steps


class _Rehearsal:
    def __init__(self, run: Run) -> None:
        self.steps: list[WouldDo] = []
        self.places: list[tuple[WouldSend, WouldDo, tuple[str, str, int]]] = []
        self.stand_ins = StandIns(run.masker)
        self._terms = run.terms
        self._files = run.files()
        self._user_agent = run.settings.http.user_agent
        self._tokens: dict[TokenSpec, str] = {}

    def flow(self, plan: Plan, scope: DryScope, prefix: str, around: tuple[str, ...]) -> None:
        """Rehearse the steps of a flow; `around` is what the flow itself depends on."""
        incoming: dict[int, list[tuple[int, Arc]]] = {}
        for source in range(plan.graph.size):
            for arc in plan.graph.leaving(source):
                incoming.setdefault(arc.target, []).append((source, arc))
        verdicts: dict[int, _Verdict] = {}
        for index in _order(plan.graph):
            step = plan.steps[index]
            shown = WouldDo(step_path(prefix, step.id), step.id, step.kind, step.label)
            self.steps.append(shown)
            verdict = _reached(plan, incoming.get(index, []), verdicts)
            verdicts[index] = verdict = self._decided(plan, step, scope, verdict, verdicts, shown)
            shown.decision = "depends" if verdict.decision == "runs" and around else verdict.decision
            shown.reasons = (verdict.skip,) if verdict.skip else (*around, *verdict.reasons)
            if bound := plan.graph.max_visits.get(index, 1) - 1:
                shown.notes.append(f"each time that an edge leads to it, {bound + 1} times at most")
            if verdict.decision in ("runs", "depends"):
                self._begin(step, scope, shown, verdict)

    def _decided(
        self, plan: Plan, step: StepPlan, scope: DryScope, verdict: _Verdict,
        verdicts: Mapping[int, _Verdict], shown: WouldDo,
    ) -> _Verdict:  # fmt: skip
        """Add to the verdict what the outputs that a step needs, and its own condition, say."""
        if verdict.decision == "unreached":
            return verdict
        for source in step.needs:
            before = verdicts.get(source)
            if before is not None and before.decision in ("skipped", "unreached"):
                what = f"step {plan.steps[source].id!r} does not run"
                return replace(verdict, decision="skipped", skip=f"upstream: {what}")
            if before is not None and before.reasons:
                verdict = replace(verdict, decision="depends", needs=(*verdict.needs, *before.reasons))
        if step.condition is None or step.extras.condition_per_item:
            return verdict
        try:
            if not step.condition.holds(scope.deciding()):
                return replace(verdict, decision="skipped", skip=_is_false(step.condition))
        except Undecided:
            return replace(verdict, decision="depends", own=(step.condition.shown,))
        except StepError as error:
            shown.failure = StepFailure(error.code, error.message, error.where or f"{step.where}.condition")
        return verdict

    # --- one step

    def _begin(self, step: StepPlan, scope: DryScope, shown: WouldDo, verdict: _Verdict) -> None:
        if step.extras.for_each is not None:
            shown.type = "forEach"
            self._items(step, scope, shown)
            outcome = None
        else:
            outcome = self._once(step, scope, shown)
        if outcome is None or outcome.failure is not None or verdict.decision != "runs":
            scope.open.add((step.id, None))
            return
        if isinstance(step.work, ConditionWork):
            verdict.result = bool(outcome.outputs["result"])
        scope.outputs[step.id] = outcome.outputs
        scope.leave(outcome.left)
        later = {name for name, value in outcome.outputs.items() if self.stand_ins.is_one(value)}
        scope.open |= {(step.id, name) for name in later}
        scope.secret.outputs.update((step.id, name) for name in outcome.tainted)

    def _items(self, step: StepPlan, scope: DryScope, shown: WouldDo) -> None:
        assert step.extras.for_each is not None
        where = f"{step.where}.forEach"
        try:
            items = step.extras.for_each.render(scope, where)
        except StepError as error:
            shown.failure = StepFailure(error.code, error.message, error.where or where)
            return
        if not isinstance(items, list) and not self.stand_ins.is_one(items):
            what = f"forEach needs a list, not {kind_of(items)}"
            shown.failure = StepFailure("forEach.not_a_list", what, where)
            return
        if not isinstance(items, list):
            shown.notes.append(f"for each item of {self.stand_ins.shown(items)}")
            inside = scope.child(item="", index=0)
            inside.open = scope.open | {("item", None), ("index", None)}
            self._item(step, inside, f"{shown.path}[…]", shown)
            return
        shown.notes.append(f"{len(items)} items")
        for number, item in enumerate(items):
            self._item(step, scope.child(item=item, index=number), f"{shown.path}[{number}]", shown)

    def _item(self, step: StepPlan, scope: DryScope, path: str, around: WouldDo) -> None:
        shown = WouldDo(path, step.id, step.kind, step.label, around.decision, around.reasons)
        self.steps.append(shown)
        if step.condition is not None and step.extras.condition_per_item:
            try:
                if not step.condition.holds(scope.deciding()):
                    shown.decision, shown.reasons = "skipped", (_is_false(step.condition),)
                    return
            except Undecided:
                shown.decision, shown.reasons = "depends", (*around.reasons, step.condition.shown)
            except StepError as error:
                where = error.where or f"{step.where}.condition"
                shown.failure = StepFailure(error.code, error.message, where)
                return
        self._once(step, scope, shown)

    def _once(self, step: StepPlan, scope: DryScope, shown: WouldDo) -> Outcome | None:
        """Rehearse what a step does once; returns its outcome if no answer has a part in it."""
        if isinstance(step.work, FlowWork):
            self._flow_step(step, step.work, scope, shown)
            return None
        if isinstance(step.work, HttpWork) and step.work.until is not None:
            until = step.work.until
            every = f"every {until.interval:g} s, {until.bound} times at most"
            shown.notes.append(f"until {until.condition.shown}: {every}")
        if step.extras.delay:
            shown.notes.append(f"after {step.extras.delay:g} s")
        scope = _scope_of(step, scope)
        try:
            outcome = self._play(step, scope, shown)
        except Undecided:
            of = step.work.condition.shown if isinstance(step.work, ConditionWork) else step.label
            shown.notes.append(f"decides {of}")
            return None
        except Unsendable as problem:
            outcome = Outcome("failed", failure=StepFailure(problem.code, problem.message, step.where))
        if outcome is not None:
            if outcome.failure is not None and _is_meant(step):
                shown.notes.append(f"ends with an error: {self.stand_ins.shown(outcome.failure.message)}")
            else:
                shown.failure = outcome.failure
            shown.outputs = {
                name: MASK if name in outcome.tainted else self.stand_ins.values(value)
                for name, value in outcome.outputs.items()
            }
        return outcome

    def _flow_step(self, step: StepPlan, work: FlowWork, scope: DryScope, shown: WouldDo) -> None:
        try:
            inside = self._scope_inside(step, work, scope)
        except StepError as error:
            shown.failure = StepFailure(error.code, error.message, error.where)
            return
        self.flow(work.plan, inside, shown.path, shown.reasons if shown.decision == "depends" else ())

    def _scope_inside(self, step: StepPlan, work: FlowWork, scope: DryScope) -> DryScope:
        where, declared = f"{step.where}.inputs", work.plan.flow.inputs
        given: Mapping[str, Json] = {}
        tainted: frozenset[str] = frozenset()
        if work.inputs is not None:
            with located(where):
                given, tainted = work.inputs.render(scope, where), work.inputs.secret_keys(scope)
        later = {name: value for name, value in given.items() if self.stand_ins.within(value)}
        now = {name: value for name, value in given.items() if name not in later}
        values, problems = check_inputs(declared or (), now, open_inputs=declared is None)
        wrong = [one.what for one in errors_of(problems) if one.where.removeprefix("inputs.") not in later]
        if wrong:
            raise StepError("flow.inputs", "; ".join(wrong), where)
        secret = SecretNames(work.plan.secret_inputs | tainted, scope.secret.env)
        self._terms.masker.add([values[name] for name in secret.inputs & values.keys()])
        parts = {"env": scope.env, "headers": scope.headers, "run": scope.run, "secret": secret}
        inside = DryScope(self.stand_ins, inputs={**values, **later}, **parts)
        inside.open = {("input", name) for name, value in later.items() if self.stand_ins.is_one(value)}
        return inside

    # --- the program of a step

    def _play(self, step: StepPlan, scope: DryScope, shown: WouldDo) -> Outcome | None:
        """Run a program to its first request, which ends it with None, or to its outcome."""
        program = step_program(step, scope.at(shown.path), self._terms, shown.path)
        try:
            command = next(program)
            while not isinstance(command, SendRequest):
                command = program.send(self._reply(command, shown))
        except StopIteration as stop:
            outcome: Outcome = stop.value
            return outcome
        finally:
            program.close()
        body = step.work.body if isinstance(step.work, HttpWork) else None
        self._add(command, shown, typed=isinstance(body, Tree) or (isinstance(body, Template) and body.whole))
        return None

    def _reply(self, command: Command, shown: WouldDo) -> Reply:
        match command:
            case GetToken(spec):
                if spec not in self._tokens:
                    self._tokens[spec] = self.stand_ins.of(f"{token_task_id(shown.id)}.access_token")
                    first = next(token_program(spec, self._terms.origin))
                    assert isinstance(first, SendRequest)
                    self._add(first, shown, role="token")
                return Token(self._tokens[spec])
            case ReadFile(path):
                return self._read(path)
            case RunScript():
                return Computed(self.stand_ins.of(f"value of {shown.id}"))
            case Wait() | Emit() | SendRequest():
                return Waited()

    def _read(self, path: str) -> FileContent | Refused:
        if self.stand_ins.within(path):
            return FileContent(self.stand_ins.of(f"contents of {self.stand_ins.shown(path)}").encode())
        if self._files is None:
            return Refused("file.outside", "this flow was not loaded from a folder, so it may read no files")
        try:
            return FileContent(self._files.read_now(path, MAX_FILE))
        except StepError as error:
            return Refused(error.code, error.message)

    def _add(self, command: SendRequest, shown: WouldDo, *, role: str = "", typed: bool = False) -> None:
        request, stand_ins = command.request, self.stand_ins
        origin, _ = origin_and_target(request.url)
        raw, data = wire_message(request, origin, self._user_agent, _TRACEPARENT)
        stand_ins.learn(raw)
        text = _text(data)
        depends = text is not None and stand_ins.within(text)
        headers = [
            (name, stand_ins.header(name, value, depends=depends, alone=stand_ins.is_one(text)))
            for name, value in ((name.decode(), value.decode()) for name, value in raw)
        ]
        headers.sort(key=lambda pair: pair[0].lower() != "host")  # RFC 9110 section 7.2: it is sent first
        body = stand_ins.body(text, headers, typed=typed) if data and text is not None else None
        size = None if depends else len(data)
        url = stand_ins.url(escaped(command.shown_url))
        sent = WouldSend(request.method, url, headers, body, size, role)
        shown.requests.append(sent)
        if not stand_ins.within(origin.host):
            self.places.append((sent, shown, (origin.scheme, origin.host, origin.port)))


def _scope_of(step: StepPlan, scope: DryScope) -> DryScope:
    if step.kind == "condition":
        return scope.deciding()
    if isinstance(step.work, HttpWork):
        return scope.led_by(_leading(step.work))
    if isinstance(step.work, ForeignWork):
        return scope.led_by(frozenset({step.work.leading} - {""}))
    return scope


def _is_meant(step: StepPlan) -> bool:
    """Whether a failure is what a node is there for, or what a file says of it, and no fault."""
    return isinstance(step.work, ForeignWork | External) and step.kind in ("set", "external")


def _is_false(condition: Condition) -> str:
    return f"condition: {condition.shown} is false"


def _text(data: bytes) -> str | None:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _leading(work: HttpWork) -> frozenset[str]:
    """Return the references that a url of the step begins with: they stand for scheme and host too."""
    base, auth = work.terms.base_url, work.auth
    found = {work.url.leading, base.leading if base is not None else ""}
    if auth is not None and "tokenUrl" in auth.settings.value:
        found.add(compile_template(auth.settings.value["tokenUrl"]).leading)
    return frozenset(found - {""})


# --- who runs


def _order(graph: Graph) -> Iterator[int]:
    """Yield the steps as they start: each after those that lead to it, else as the list has them."""
    waits = {node: graph.all_in[node] + graph.any_in.get(node, 0) for node in range(graph.size)}
    ready = [node for node, count in waits.items() if not count]
    while waits:
        node = heapq.heappop(ready) if ready else min(waits)  # none is ready in a circle
        if waits.pop(node, None) is None:
            continue
        yield node
        for arc in graph.leaving(node):
            if arc.group != "each" and arc.target in waits:
                waits[arc.target] -= 1
                if not waits[arc.target]:
                    heapq.heappush(ready, arc.target)


def _reached(plan: Plan, incoming: list[tuple[int, Arc]], verdicts: Mapping[int, _Verdict]) -> _Verdict:
    """Return whether the edges that enter a step are taken; those out of later steps, back, are left out."""
    every: list[Taken] = []
    some: list[Taken] = []
    for source, arc in incoming:
        if source in verdicts:
            taken = _taken(arc.when, verdicts[source], plan.steps[source])
            (every if arc.group == "all" else some).append(taken)
    if some and True not in some:
        ways = [taken for taken in some if isinstance(taken, tuple)]
        if not any((f"{way[0].removesuffix(' is true')} is false",) in ways for way in ways if len(way) == 1):
            every.append((" or ".join(map(" and ".join, ways)),) if ways else False)
    if False in every:
        return _Verdict("unreached", skip="no edge that leads to it is taken")
    reasons = tuple(reason for taken in every if isinstance(taken, tuple) for reason in taken)
    return _Verdict("depends" if reasons else "runs", edges=reasons)


def _taken(when: str, source: _Verdict, step: StepPlan) -> Taken:
    if when == "decided":
        return True
    if source.decision == "unreached" or (source.decision == "skipped" and when not in ("done", "depends")):
        return False
    match when:
        case "done":
            return source.edges or True
        case "depends":
            return not source.skip.startswith("upstream") and ((*source.edges, *source.needs) or True)
        case "success":
            return source.reasons or True
        case "failure":
            return (*source.reasons, f"step {step.id!r} fails")
        case _ if source.result is not None:
            return (source.reasons or True) if source.result == (when == "true") else False
        case _:
            shown = step.work.condition.shown if isinstance(step.work, ConditionWork) else f"step {step.id!r}"
            return (*source.reasons, f"{shown} is {when}")
