"""From a flow to a plan that can run, and everything that is wrong with it, all at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TypeAlias

from runner.core.commands import Json
from runner.core.compile import Compiler
from runner.core.compiled import FlowWork, Needs, Plan, StepPlan
from runner.core.graph import Graph, build_graph
from runner.core.inputs import check_fields
from runner.core.model import UNSET, Flow
from runner.core.reference import RUN_VALUES, Reference
from runner.core.scope import BUILT_IN_ENV, RESERVED
from runner.core.text import close_match
from runner.errors import FlowError, Problem, StepError

STEP_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_$-]*")
MAX_NESTED_FLOWS = 20

ReadFlow: TypeAlias = Callable[[str, Flow], Flow]
"""Reads the flow at a path (first argument) that another flow names; raises FlowError or StepError."""


def build_plan(flow: Flow, read: ReadFlow | None = None) -> Plan:
    """Compile and check a flow; `read` resolves the flows that it runs as steps."""
    return _build(flow, read, {}, ())


def _build(flow: Flow, read: ReadFlow | None, known: dict[str, Plan], inside: tuple[str, ...]) -> Plan:
    compiler = Compiler(flow)
    positions = _positions(flow, compiler.problems)
    steps = tuple(compiler.compile(index, step) for index, step in enumerate(flow.steps))
    _resolve_flows(flow, steps, compiler, read, known, (*inside, flow.source))
    needs = Needs()
    checker = ReferenceCheck(flow, steps, positions, needs, compiler.problems)
    data: dict[int, list[int]] = {}
    for index, references in compiler.references.items():
        data[index] = checker.check(index, references)
    graph = build_graph(flow, positions, data, compiler.problems)
    problems = [*flow.problems, *compiler.problems]
    problems += check_fields(flow.inputs or ())
    problems += _of_the_whole(flow, steps, graph, needs)
    for step, written in zip(steps, flow.steps, strict=True):
        if isinstance(step.work, FlowWork):
            _inherit(needs, step.work.plan.needs, written.inputs or {}, step.where)
    located = dict.fromkeys(_located(flow, problems))  # a flow that is run twice tells its problems once
    return Plan(replace(flow, steps=()), steps, graph, needs, tuple(located))


def _positions(flow: Flow, problems: list[Problem]) -> dict[str, int]:
    positions: dict[str, int] = {}
    for index, step in enumerate(flow.steps):
        where = f"steps[{index}]"
        if not step.id:
            problems.append(Problem("step.required", where, "Step missing required field 'id'"))
        elif not STEP_ID.fullmatch(step.id):
            what = f"{step.id!r} is no step id; use letters, digits, '_' and '-'"
            problems.append(Problem("step.id", f"{where}.id", what))
        elif step.id in RESERVED:
            what = f"the id {step.id!r} is reserved for references; choose another"
            problems.append(Problem("step.reserved_id", f"{where}.id", what))
        elif step.id in positions:
            what = f"the id {step.id!r} is taken by steps[{positions[step.id]}]; ids must be unique"
            problems.append(Problem("step.duplicate_id", f"{where}.id", what))
            continue
        positions.setdefault(step.id, index)
    return positions


def _resolve_flows(
    flow: Flow, steps: Iterable[StepPlan], compiler: Compiler, read: ReadFlow | None, known: dict[str, Plan],
    inside: tuple[str, ...],
) -> None:  # fmt: skip
    for step, written in zip(steps, flow.steps, strict=True):
        if written.flow is None:
            continue
        inputs, outputs = compiler.flow_work(step.index, written)
        try:
            plan = _inner_plan(flow, written.flow, read, known, inside)
        except StepError as error:
            compiler.problems.append(Problem(error.code, f"{step.where}.flow", error.message))
        except FlowError as error:
            compiler.problems.extend(error.problems)
        else:
            compiler.problems.extend(plan.problems)
            step.work = FlowWork(plan, inputs, outputs)
            compiler.problems.extend(_interface(step, step.work, written.inputs or {}))


def _inner_plan(
    flow: Flow, path: str, read: ReadFlow | None, known: dict[str, Plan], inside: tuple[str, ...]
) -> Plan:
    if read is None or not flow.home:
        raise StepError("flow.unreadable", "a flow that names other flows must be loaded from a file")
    inner = read(path, flow)
    if inner.source in inside:
        loop = " -> ".join((*inside[inside.index(inner.source) :], inner.source))
        raise StepError("flow.cycle", f"the flow runs itself: {loop}")
    if len(inside) > MAX_NESTED_FLOWS:
        raise StepError("flow.depth", f"flows are nested deeper than {MAX_NESTED_FLOWS}")
    if inner.source not in known:
        known[inner.source] = _build(inner, read, known, inside)
    return known[inner.source]


class ReferenceCheck:
    """Checks what the steps refer to, and notes what the flow needs from outside."""

    def __init__(
        self, flow: Flow, steps: tuple[StepPlan, ...], positions: Mapping[str, int], needs: Needs,
        problems: list[Problem],
    ) -> None:  # fmt: skip
        self.steps, self.positions, self.needs, self.problems = steps, positions, needs, problems
        self.declared = None if flow.inputs is None else [one.name for one in flow.inputs]
        self.promised: dict[int, tuple[str, ...] | None] = {}
        self.in_list_order = not flow.config.parallel and not flow.edges

    def check(self, index: int, references: Iterable[tuple[str, Reference]]) -> list[int]:
        """Check the references of one step; returns the positions of the steps that it waits for."""
        sources: dict[int, None] = {}
        needed: dict[int, None] = {}
        for where, reference in references:
            source = self._check_one(index, where, reference)
            if source is not None:
                sources[source] = None
                if not reference.soft:
                    needed[source] = None
        self.steps[index].needs = tuple(needed)
        return list(sources)

    def _check_one(self, index: int, where: str, reference: Reference) -> int | None:
        root = reference.root
        if root in self.positions:
            return self._step(index, where, reference)
        match root:
            case "input":
                self._input(where, reference)
            case "env" | "headers":
                self._from_outside(where, reference)
            case "item" | "index" | "response":
                self._local(index, where, root)
            case _ if root not in RUN_VALUES:
                self._other(where, reference)
        return None

    def _from_outside(self, where: str, reference: Reference) -> None:
        name = str(reference.path[0]) if reference.path else ""
        if not name or reference.soft:
            return
        if reference.root == "headers":
            self.needs.headers.setdefault(name.lower(), where)
        elif name not in BUILT_IN_ENV:
            self.needs.env.setdefault(name, where)

    def _local(self, index: int, where: str, root: str) -> None:
        if root == "response":
            if not where.endswith(".until.condition") and ".assert[" not in where:
                what = "'response' exists only in 'assert' and 'until'; elsewhere declare an output"
                self._problem("reference.no_response", where, what)
        elif self.steps[index].for_each is None:
            self._problem("reference.no_item", where, f"{root!r} exists only on a step with 'forEach'")

    def _input(self, where: str, reference: Reference) -> None:
        first = str(reference.path[0]) if reference.path else ""
        if self.declared is None:
            if first and not reference.soft:
                self.needs.inputs.setdefault(first, where)
        elif first and first not in self.declared:
            hint = close_match(first, self.declared) or "; declare it in flow_inputs"
            self._problem("reference.unknown_input", where, f"no input {first!r}{hint}")

    def _other(self, where: str, reference: Reference) -> None:
        root = reference.root
        if root in RESERVED:
            self._problem("reference.unsupported", where, f"{root!r} has no values here")
        elif reference.path:
            known = [*self.positions, "input", "env", "headers", *RUN_VALUES]
            self._problem("reference.unknown_step", where, f"no step {root!r}{close_match(root, known)}")
        elif (self.declared is None or root not in self.declared) and not reference.soft:
            self.needs.flat.setdefault(root, where)

    def _step(self, index: int, where: str, reference: Reference) -> int | None:
        root, path = reference.root, reference.path
        source = self.positions[root]
        if source == index:
            self._problem("reference.itself", where, f"step {root!r} refers to its own outputs")
            return None
        if self.in_list_order and source > index:
            what = f"step {root!r} runs after this one; move it up, or set config.parallel"
            self._problem("reference.forward", where, what)
            return None
        if source not in self.promised:
            self.promised[source] = self.steps[source].output_names
        names = self.promised[source]
        if path and names is not None and str(path[0]) not in names:
            hint = close_match(str(path[0]), names) or "; declare it in the step's 'outputs'"
            self._problem("reference.unknown_output", where, f"no output {path[0]!r} on step {root!r}{hint}")
        return source

    def _problem(self, code: str, where: str, what: str) -> None:
        self.problems.append(Problem(code, where, what))


def _of_the_whole(flow: Flow, steps: Iterable[StepPlan], graph: Graph, needs: Needs) -> Iterable[Problem]:
    if not flow.has_steps:
        what = "the document has no steps: it is a patch, which can be pushed and not run"
        yield Problem("flow.patch", "", what)
    if flow.inputs is None and (needs.inputs or needs.flat):
        what = "flow_inputs is not declared: any input is accepted, untyped"
        yield Problem("flow.open_inputs", "", what, "warning")
    if not flow.is_active:
        what = "the flow is not active; submit and worker refuse it without --inactive"
        yield Problem("flow.inactive", "is_active", what, "warning")
    entered = {edge.target for edge in flow.edges}
    for step, written in zip(steps, flow.steps, strict=True):
        branches = any(arc.declared for arc in graph.arcs.get(step.index, ()))
        if step.kind == "condition" and not branches:
            what = "the condition has no edges: it only outputs 'result' and 'label', and both neighbours run"
            yield Problem("condition.no_edges", step.where, what, "warning")
        if written.max_visits is not None and step.index not in graph.each:
            what = "'maxVisits' needs join 'each' and an edge that enters the step"
            yield Problem("step.ignored_key", f"{step.where}.maxVisits", what, "warning")
        if written.join is not None and written.id not in entered:
            what = f"'join' needs an edge that enters step {written.id!r}"
            yield Problem("step.ignored_key", f"{step.where}.join", what, "warning")


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
        needs.env.setdefault(name, f"{where}.flow")
    for name in inner.headers:
        needs.headers.setdefault(name, f"{where}.flow")
    for name in inner.flat.keys() - given.keys():
        needs.env.setdefault(name, f"{where}.flow")


def _located(flow: Flow, problems: Iterable[Problem]) -> Iterable[Problem]:
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
    return [one.at(found.place) for one, found in zip(kept, places, strict=True)]
