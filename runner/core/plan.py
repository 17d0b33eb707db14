"""From a flow to a plan that can run, and everything that is wrong with it, all at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Final, TypeAlias

from runner.core.commands import Json
from runner.core.compile import BASE_URL, UNTIL, Compiler, Use
from runner.core.compiled import FlowWork, ForeignWork, Needs, Plan, StepPlan
from runner.core.condition import Condition
from runner.core.graph import Graph, Wiring, build_graph
from runner.core.inputs import check_fields
from runner.core.model import UNSET, Flow, Step, stream
from runner.core.redact import secret_header
from runner.core.reference import RUN_VALUES, Reference, spell
from runner.core.scope import BUILT_IN_ENV, RESERVED
from runner.core.template import Template, TemplateError, compile_template
from runner.core.text import close_match
from runner.errors import FlowError, Problem, StepError

STEP_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_$-]*")
MAX_NESTED_FLOWS = 20
WIRING: Final = frozenset(("depends_on", "join", "max_visits"))  # keys that say more of a step's edges

CARRYING: Final = frozenset(("auth", "forEach", "headers", "inputs", "set"))

ReadFlow: TypeAlias = Callable[[str, Flow], Flow]
"""Reads the flow at a path (first argument) that another flow names; raises FlowError or StepError."""


def build_plan(flow: Flow, read: ReadFlow | None = None) -> Plan:
    """Compile and check a flow; `read` resolves the flows that it runs as steps."""
    return _Planner(flow, read, {}, ()).plan()


KNOWN_BEFORE: Final = frozenset(("input", "env", "headers"))


class _Planner:
    """Plans one flow, one step after the other: all steps of a large one take more room than its plan."""

    def __init__(
        self, flow: Flow, read: ReadFlow | None, known: dict[str, Plan], inside: tuple[str, ...]
    ) -> None:
        self.flow, self.read, self.known, self.inside = flow, read, known, (*inside, flow.source)
        self.compiler = Compiler(flow)
        self.problems = self.compiler.problems
        self.steps: list[StepPlan] = []
        self.positions: dict[str, int] = {}
        self.written: dict[int, Step] = {}
        self.inherited: dict[int, tuple[Needs, Mapping[str, Json]]] = {}
        self.references = ReferenceCheck(flow, self.steps, self.positions, self.problems)

    def plan(self) -> Plan:
        flow, needs, problems = self.flow, self.references.needs, self.problems
        for index, step in enumerate(stream(flow.steps, problems)):
            self._note_id(index, step.id)
            plan = self.compiler.compile(index, step)
            self.steps.append(plan)
            if not WIRING.isdisjoint(vars(step)):
                self.written[index] = step
            if step.flow is not None:
                self._resolve(plan, step, step.flow)
            elif isinstance(plan.work, ForeignWork):
                for name in plan.work.env:
                    self.references.needs.env.setdefault(name, plan.where)
            if self.compiler.uses:
                self.references.check(plan, self.compiler.uses)
        self.references.finish()
        self._mark_credentials()
        wiring = Wiring(flow, self.steps, self.written, self.positions, self.references.data, problems)
        graph = build_graph(wiring)
        problems[:0] = flow.problems
        problems += check_fields(flow.inputs or ())
        problems += _of_the_whole(wiring, graph, needs)
        for index, (inner, given) in self.inherited.items():
            _inherit(needs, inner, given, f"steps[{index}].flow")
        once = dict.fromkeys(located(flow, problems))  # a flow that is run twice tells its problems once
        return Plan(replace(flow, steps=()), tuple(self.steps), graph, needs, tuple(once))

    def _note_id(self, index: int, name: str) -> None:
        where = f"steps[{index}].id"
        if not name:
            self._problem("step.required", where[:-3], "Step missing required field 'id'")
        elif not STEP_ID.fullmatch(name):
            self._problem("step.id", where, f"{name!r} is no step id; use letters, digits, '_' and '-'")
        elif name in RESERVED:
            self._problem(
                "step.reserved_id", where, f"the id {name!r} is reserved for references; choose another"
            )
        elif name in self.positions:
            what = f"the id {name!r} is taken by steps[{self.positions[name]}]; ids must be unique"
            self._problem("step.duplicate_id", where, what)
        self.positions.setdefault(name, index)

    def _resolve(self, step: StepPlan, written: Step, path: str) -> None:
        """Plan the flow that a step runs, and compare what the two give each other."""
        foreign = step.work if isinstance(step.work, ForeignWork) else None
        inputs, outputs = self.compiler.flow_work(written) if foreign is None else (foreign.given, ())
        try:
            plan = self._inner(path)
        except StepError as error:
            self._problem(error.code, f"{step.where}.flow", error.message)
        except FlowError as error:
            self.problems.extend(error.problems)
        else:
            given = written.inputs or {}
            step.work = FlowWork(plan, inputs, outputs, foreign.ends if foreign is not None else None)
            self.problems.extend(plan.problems)
            self.problems.extend(_interface(step, step.work, given))
            self.inherited[step.index] = plan.needs, given

    def _inner(self, path: str) -> Plan:
        inner = self.flow.bundle.get(path)
        if inner is None and (self.read is None or not self.flow.home):
            raise StepError("flow.unreadable", "a flow that names other flows must be loaded from a file")
        if inner is None:
            assert self.read is not None
            inner = self.read(path, self.flow)
        if inner.source in self.inside:
            loop = " -> ".join((*self.inside[self.inside.index(inner.source) :], inner.source))
            raise StepError("flow.cycle", f"the flow runs itself: {loop}")
        if len(self.inside) > MAX_NESTED_FLOWS:
            raise StepError("flow.depth", f"flows are nested deeper than {MAX_NESTED_FLOWS}")
        if inner.source not in self.known:
            self.known[inner.source] = _Planner(inner, self.read, self.known, self.inside).plan()
        return self.known[inner.source]

    def _mark_credentials(self) -> None:
        """Make the outputs secret that a later step uses as credentials, so that no earlier span shows them.

        What a flow step keeps secret is secret in its flow too.
        """
        carried = self.references.carried
        for index in sorted({*carried, *self.inherited}, reverse=True):
            step, found = self.steps[index], carried.get(index, [])
            for name in step.extras.secret:
                _mark(step, name)
            used = [one for at, one in found if _is_credential(at)]
            if any(one.root == "item" for one in used):
                used += [one for (_, (key, _, _), _), one in found if key == "forEach"]
            for one in used:
                if one.root in self.positions and one.path:
                    _mark(self.steps[self.positions[one.root]], str(one.path[0]))

    def _problem(self, code: str, where: str, what: str) -> None:
        self.problems.append(Problem(code, where, what))


def _mark(step: StepPlan, name: str) -> None:
    """Make an output secret, and what it is made from in the flow of a flow step."""
    step.extras = replace(step.extras, secret=step.extras.secret | {name})
    if isinstance(step.work, FlowWork):
        for output, source in step.work.outputs:
            inside = [one for one in step.work.plan.steps if one.id == source.root]
            if output == name and inside and source.path:
                _mark(inside[0], str(source.path[0]))


def _is_credential(at: At) -> bool:
    step, (key, _, tree), number = at
    if key == "auth":
        return True
    place = tree.place(number) if tree is not None else ()
    if not place:
        return False
    name = str(place[0])
    match key:
        case "headers":
            return secret_header(name)
        case "inputs":
            return isinstance(step.work, FlowWork) and name in step.work.plan.secret_inputs
        case _:
            return key == "set" and name in step.extras.secret


At: TypeAlias = tuple[StepPlan, Use, int]
"""Where a template or a condition stands: its step, its use, its number among what is used there."""


class ReferenceCheck:
    """Checks what the steps refer to, one after the other, and notes what the flow needs from outside.

    `steps` and `positions` are those known so far; `data` are the steps whose outputs a step uses.
    `carried` are the references, by step, that may carry something secret on.
    """

    def __init__(
        self, flow: Flow, steps: Sequence[StepPlan], positions: Mapping[str, int], problems: list[Problem]
    ) -> None:
        self.steps, self.positions, self.problems = steps, positions, problems
        self.declared = None if flow.inputs is None else [one.name for one in flow.inputs]
        self.in_list_order = not flow.config.parallel and not flow.edges
        self.needs = Needs()
        self.data: dict[int, list[int]] = {}
        self.carried: dict[int, list[tuple[At, Reference]]] = {}
        self._later: list[tuple[At, Reference]] = []
        self._sources: dict[int, None] = {}  # of the step that is being checked
        self._needed: dict[int, None] = {}
        self._settled: set[Template | Condition] = set()  # fine wherever they stand

    def check(self, step: StepPlan, uses: Iterable[Use]) -> None:
        """Check a step's references; those to names that are not known yet wait for `finish`."""
        for use in uses:
            for number, part in enumerate(use[1]):
                if part not in self._settled:
                    at = (step, use, number)
                    sound = [self._check_one(at, reference) for reference in part.references]
                    if all(sound):
                        self._settled.add(part)
        self._connect(step)

    def finish(self) -> None:
        """Check what had to wait until all steps are known."""
        for step, waiting in groupby(self._later, key=lambda one: one[0][0]):
            for at, reference in waiting:
                if reference.root in self.positions:
                    self._step(at, reference)
                else:
                    self._other(at, reference)
            self._connect(step)

    def _connect(self, step: StepPlan) -> None:
        if not self._sources:
            return
        step.needs = tuple(dict.fromkeys((*step.needs, *self._needed)))
        if not self.in_list_order:
            known = self.data.setdefault(step.index, [])
            known += [one for one in self._sources if one not in known]
        self._sources, self._needed = {}, {}

    def _check_one(self, at: At, reference: Reference) -> bool:
        """Check one reference; returns whether it is sound wherever else it may stand."""
        root = reference.root
        if root in self.positions:
            self._step(at, reference)
            return False
        match root:
            case "input":
                return self._input(at, reference)
            case "env" | "headers":
                self._from_outside(at, reference)
            case "item" | "index" | "response":
                self._local(at, reference)
                return False
            case _ if root not in RUN_VALUES:
                self._later.append((at, reference))
                return False
        return True

    def _from_outside(self, at: At, reference: Reference) -> None:
        name = str(reference.path[0]) if reference.path else ""
        if not name or reference.soft:
            return
        if reference.root == "headers":
            self._need(self.needs.headers, name.lower(), at)
        elif name not in BUILT_IN_ENV:
            self._need(self.needs.env, name, at)

    def _need(self, needs: dict[str, str], name: str, at: At) -> None:
        if name not in needs:
            needs[name] = _where(at)

    def _local(self, at: At, reference: Reference) -> None:
        step, (key, _, _), _ = at
        root = reference.root
        self._carry(at, reference)
        if root == "response":
            if not key.startswith(UNTIL) and not key.startswith("assert["):
                what = "'response' exists only in 'assert' and 'until'; elsewhere declare an output"
                self._problem("reference.no_response", at, what)
        elif step.extras.for_each is None:
            self._problem("reference.no_item", at, f"{root!r} exists only on a step with 'forEach'")

    def _input(self, at: At, reference: Reference) -> bool:
        first = str(reference.path[0]) if reference.path else ""
        if self.declared is None:
            if first and not reference.soft:
                self._need(self.needs.inputs, first, at)
        elif first and first not in self.declared:
            hint = close_match(first, self.declared) or "; declare it in flow_inputs"
            self._problem("reference.unknown_input", at, f"no input {first!r}{hint}")
            return False
        return True

    def _other(self, at: At, reference: Reference) -> None:
        root = reference.root
        if root in RESERVED:
            self._problem("reference.unsupported", at, f"{root!r} has no values here")
        elif reference.path:
            known = [*self.positions, "input", "env", "headers", *RUN_VALUES]
            self._problem("reference.unknown_step", at, f"no step {root!r}{close_match(root, known)}")
        elif (self.declared is None or root not in self.declared) and not reference.soft:
            self._need(self.needs.flat, root, at)

    def _step(self, at: At, reference: Reference) -> None:
        step, root, path = at[0], reference.root, reference.path
        source = self.positions[root]
        if source == step.index:
            self._problem("reference.itself", at, f"step {root!r} refers to its own outputs")
            return
        if self.in_list_order and source > step.index:
            what = f"step {root!r} runs after this one; move it up, or set config.parallel"
            self._problem("reference.forward", at, what)
            return
        names = self.steps[source].output_names
        if path and names is not None and str(path[0]) not in names:
            hint = close_match(str(path[0]), names) or "; declare it in the step's 'outputs'"
            self._problem("reference.unknown_output", at, f"no output {path[0]!r} on step {root!r}{hint}")
        self._carry(at, reference)
        self._sources[source] = None
        if not reference.soft:
            self._needed[source] = None

    def _carry(self, at: At, reference: Reference) -> None:
        step, (key, _, _), _ = at
        if key in CARRYING:
            self.carried.setdefault(step.index, []).append((at, reference))

    def _problem(self, code: str, at: At, what: str) -> None:
        self.problems.append(Problem(code, _where(at), what))


def _where(at: At) -> str:
    step, (key, _, tree), number = at
    if key == BASE_URL:
        return key
    where = f"{step.where}.{key}"
    return where if tree is None else spell(where, tree.place(number))


def _of_the_key(source: str | None) -> Iterable[Problem]:
    """Yield what is wrong with the key that limits how many runs are at work at once."""
    where = "config.concurrencyKey"
    try:
        template = compile_template(source or "")
    except TemplateError as error:
        yield Problem(error.code, where, error.message)
        return
    for one in template.references:
        if one.root not in KNOWN_BEFORE:
            what = f"{one.root!r} is not known before the run; refer to input, env and headers"
            yield Problem("flow.concurrency_key", where, what)


def _of_the_whole(wiring: Wiring, graph: Graph, needs: Needs) -> Iterable[Problem]:
    flow = wiring.flow
    if not flow.has_steps:
        what = "the document has no steps: it is a patch, which can be pushed and not run"
        yield Problem("flow.patch", "", what)
    if flow.inputs is None and (needs.inputs or needs.flat):
        what = "flow_inputs is not declared: any input is accepted, untyped"
        yield Problem("flow.open_inputs", "", what, "warning")
    if not flow.is_active:
        what = "the flow is not active; submit and worker refuse it without --inactive"
        yield Problem("flow.inactive", "is_active", what, "warning")
    yield from _of_the_key(flow.config.concurrency_key)
    for index, step in enumerate(wiring.steps):
        if (
            step.kind == "condition"
            and not flow.works
            and not any(arc.declared for arc in graph.arcs.get(index, ()))
        ):
            what = "the condition has no edges: it only outputs 'result' and 'label', and both neighbours run"
            yield Problem("condition.no_edges", f"steps[{index}]", what, "warning")
    entered = {edge.target for edge in flow.edges}
    for index, written in wiring.written.items():
        if written.max_visits is not None and index not in graph.each:
            what = "'maxVisits' needs join 'each' and an edge that enters the step"
            yield Problem("step.ignored_key", f"steps[{index}].maxVisits", what, "warning")
        if written.join is not None and written.id not in entered:
            what = f"'join' needs an edge that enters step {written.id!r}"
            yield Problem("step.ignored_key", f"steps[{index}].join", what, "warning")


def _interface(step: StepPlan, work: FlowWork, given: Mapping[str, Json]) -> Iterable[Problem]:
    """Compare what a flow step gives and takes with what the flow asks for and has."""
    inner = work.plan
    where = f"{step.where}.inputs"
    if inner.flow.inputs is None:
        for name in inner.needs.inputs.keys() - given.keys():
            yield Problem("input.missing", where, f"the flow uses input {name!r}; give it in 'inputs'")
    else:
        declared = {field.name: field for field in inner.flow.inputs}
        for name in given.keys() - declared.keys():
            hint = close_match(name, declared)
            yield Problem("input.undeclared", f"{where}.{name}", f"the flow declares no input {name!r}{hint}")
        for name, field in declared.items():
            if field.required and field.default is UNSET and name not in given:
                yield Problem(
                    "input.required", where, f"the flow requires input {name!r}; give it in 'inputs'"
                )
    steps = {one.id: one for one in inner.steps}
    for name, source in work.outputs:
        place = f"{step.where}.outputs.{name}"
        if source.root not in steps:
            hint = close_match(source.root, steps)
            yield Problem("reference.unknown_step", place, f"the flow has no step {source.root!r}{hint}")
            continue
        names = steps[source.root].output_names
        if source.path and names is not None and str(source.path[0]) not in names:
            hint = close_match(str(source.path[0]), names)
            what = f"no output {source.path[0]!r} on step {source.root!r} of the flow{hint}"
            yield Problem("reference.unknown_output", place, what)


def _inherit(needs: Needs, inner: Needs, given: Mapping[str, Json], where: str) -> None:
    for name in inner.env:
        needs.env.setdefault(name, where)
    for name in inner.headers:
        needs.headers.setdefault(name, where)
    for name in inner.flat.keys() - given.keys():
        needs.env.setdefault(name, where)


def located(flow: Flow, problems: Iterable[Problem]) -> Iterable[Problem]:
    """Give each problem its place; one pass over the document for all of them."""
    kept = list(problems)
    if flow.document is None:
        return kept
    of_the_record = ("flow_inputs", "is_active", "name", "description")
    prefixed = [
        one if one.where.startswith(of_the_record) else replace(one, where=flow.prefix + one.where)
        for one in kept
    ]
    places = flow.document.located(prefixed)
    if flow.document.spell is not None:
        return places
    return [one.at(found.place) for one, found in zip(kept, places, strict=True)]
