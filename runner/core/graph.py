"""The edges of a flow, built once: who waits for whom, and when an edge is taken (SEMANTICS, Graph)."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from runner.core.commands import Outcome
from runner.core.model import Flow, Join, Step, StepKind
from runner.core.text import close_match
from runner.errors import Problem

NOWHERE = -1
SHOWN_OF_A_CYCLE = 12


class Arc(NamedTuple):
    """An edge out of a step: to the step `target`, taken `when`, deciding the `group` of its join.

    `when` has two words more than a document: ``decided`` (always, once the source has ended: a
    data edge) and ``depends`` (`dependsOn`). `declared` tells edges of the document from list order;
    `gate` is the gate that an edge into an `each` join helps to open, NOWHERE for one that fires alone.
    """

    target: int
    when: str
    group: Join
    declared: bool
    gate: int = NOWHERE


@dataclass(slots=True)
class Gate:
    """Edges that fire together: when `all` or `any` of their `sources` have taken theirs."""

    join: Join
    sources: set[int] = field(default_factory=set)


@dataclass(slots=True)
class Graph:
    """Edges by step position. List order is implicit in `chain` (the next step, or NOWHERE).

    `all_in` and `any_in` count the edges into each group of a step; `each` are the steps that fire
    on every taken edge.
    """

    size: int
    chain: array[int]
    all_in: array[int]
    any_in: dict[int, int] = field(default_factory=dict)
    arcs: dict[int, list[Arc]] = field(default_factory=dict)
    each: frozenset[int] = frozenset()
    gates: list[Gate] = field(default_factory=list)
    max_visits: dict[int, int] = field(default_factory=dict)

    def add(self, source: int, arc: Arc) -> None:
        """Add an edge that is not there yet."""
        self.arcs.setdefault(source, []).append(arc)
        if arc.group == "all":
            self.all_in[arc.target] += 1
        elif arc.group == "any":
            self.any_in[arc.target] = self.any_in.get(arc.target, 0) + 1

    def leaving(self, source: int) -> Iterable[Arc]:
        """Return every edge out of a step, list order first."""
        following = self.chain[source]
        if following != NOWHERE:
            yield Arc(following, "done", "all", declared=False)
        yield from self.arcs.get(source, ())

    def roots(self) -> list[int]:
        """Return the steps that nothing leads to, in list order."""
        entered = {arc.target for arcs in self.arcs.values() for arc in arcs if arc.group == "each"}
        return [
            node
            for node in range(self.size)
            if not self.all_in[node] and node not in self.any_in and node not in entered
        ]

    def handles_failure(self, source: int) -> bool:
        """Whether an edge of the document leads on from a failure of the step (SEMANTICS, Failure)."""
        return any(arc.declared and arc.when in ("failure", "done") for arc in self.arcs.get(source, ()))


def is_taken(when: str, outcome: Outcome) -> bool:
    """Whether an edge is taken after its source ended so."""
    match when:
        case "decided":
            return True
        case "done" | "next":
            return outcome.reason != "unreached"
        case "success":
            return outcome.status == "succeeded"
        case "failure":
            return outcome.status == "failed"
        case "depends":
            return outcome.status == "succeeded" or outcome.reason == "condition"
        case _:
            return outcome.taken == when


class Node(Protocol):
    """What the graph has to know of a compiled step."""

    id: str
    kind: StepKind


@dataclass(frozen=True, slots=True)
class Wiring:
    """What the edges of a flow follow from, by position: its steps, and those that say more of edges.

    `data` are the steps whose outputs a step uses.
    """

    flow: Flow
    steps: Sequence[Node]
    written: Mapping[int, Step]
    positions: Mapping[str, int]
    data: Mapping[int, Sequence[int]]
    problems: list[Problem]


def build_graph(wiring: Wiring) -> Graph:
    """Build the graph of a flow; unknown ids, edges never taken, cycles, steps never reached are problems."""
    flow, written, positions = wiring.flow, wiring.written, wiring.positions
    size = len(wiring.steps)
    graph = Graph(size, array("i", [NOWHERE]) * size, array("i", [0]) * size)
    listed = {positions[edge.target] for edge in flow.edges if edge.target in positions}
    each = {positions.get(edge.target) for edge in flow.edges if edge.join == "each" and edge.gate is None}
    each |= {node for node, step in written.items() if step.join == "each"}
    graph.each = frozenset(listed & each)
    graph.max_visits = {node: (node in written and written[node].max_visits) or 1 for node in graph.each}
    if not flow.config.parallel:
        _chain(graph, listed)
    _add_edges(graph, wiring)
    _add_dependencies(graph, wiring)
    if flow.config.parallel or listed:
        _add_data(graph, wiring.data)
    if graph.arcs:
        _refuse_cycles(graph, wiring)
        _refuse_unreachable(graph, wiring)
    return graph


def _chain(graph: Graph, listed: set[int]) -> None:
    previous = NOWHERE
    for node in range(graph.size):
        if node in listed:
            continue
        if previous != NOWHERE:
            graph.chain[previous] = node
            graph.all_in[node] += 1
        previous = node


def _add_edges(graph: Graph, wiring: Wiring) -> None:
    known: set[tuple[int, Arc]] = set()
    gates: dict[tuple[int, str], int] = {}
    positions, problems = wiring.positions, wiring.problems
    for number, edge in enumerate(wiring.flow.edges):
        where = f"edges[{number}]"
        ends = [(edge.source, "from"), (edge.target, "to")]
        missing = [(name, side) for name, side in ends if name not in positions]
        for name, side in missing:
            hint = close_match(name, positions)
            problems.append(Problem("edge.unknown_step", f"{where}.{side}", f"no step {name!r}{hint}"))
        if missing:
            continue
        source, target = positions[edge.source], positions[edge.target]
        if edge.when in ("true", "false") and wiring.steps[source].kind not in ("condition", "external"):
            what = f"step {edge.source!r} is not a condition step; take 'success', 'failure' or 'done'"
            problems.append(Problem("edge.when", f"{where}.when", what))
        joined = wiring.written[target].join if target in wiring.written else None
        group: Join = "each" if target in graph.each else edge.join or joined or "any"
        gate = NOWHERE
        if group == "each" and edge.gate is not None:
            gate = gates.setdefault((target, edge.gate), len(gates))
            if gate == len(graph.gates):
                graph.gates.append(Gate(edge.join or "any"))
            graph.gates[gate].sources.add(source)
        arc = Arc(target, edge.when, group, declared=True, gate=gate)
        if (source, arc) not in known:
            known.add((source, arc))
            graph.add(source, arc)


def _add_dependencies(graph: Graph, wiring: Wiring) -> None:
    flow, positions, problems = wiring.flow, wiring.positions, wiring.problems
    for node, step in wiring.written.items():
        for number, name in enumerate(step.needs):
            where = f"steps[{node}].dependsOn[{number}]"
            if isinstance(step.depends_on, str):
                where = f"steps[{node}].dependsOn"
            source = positions.get(name)
            if source is None:
                what = f"no step {name!r}{close_match(name, positions)}"
                problems.append(Problem("depends.unknown_step", where, what))
            elif source == node or (not flow.config.parallel and not flow.edges and source > node):
                what = f"step {name!r} does not run before {step.id!r}; move it up or set config.parallel"
                problems.append(Problem("depends.order", where, what))
            elif step.needs.index(name) == number:
                graph.add(source, Arc(node, "depends", "all", declared=False))


def _add_data(graph: Graph, data: Mapping[int, Sequence[int]]) -> None:
    for node, sources in data.items():
        if node in graph.each:
            continue  # it fires on each edge and sees the newest visit; waiting would stop a loop
        for source in sources:
            graph.add(source, Arc(node, "decided", "all", declared=False))


def _refuse_cycles(graph: Graph, wiring: Wiring) -> None:
    """Report the steps that wait for themselves; an edge into an `each` join waits for nothing."""
    waiting = array("i", [0]) * graph.size
    for node in range(graph.size):
        for arc in graph.leaving(node):
            waiting[arc.target] += arc.group != "each"
    free = [node for node in range(graph.size) if not waiting[node]]
    decided = 0
    while free:
        decided += 1
        for arc in graph.leaving(free.pop()):
            if arc.group != "each":
                waiting[arc.target] -= 1
                if not waiting[arc.target]:
                    free.append(arc.target)
    if decided == graph.size:
        return
    cycle = _on_a_cycle(graph, waiting)
    ids = [wiring.steps[node].id for node in (*cycle, cycle[0])]
    if len(ids) > SHOWN_OF_A_CYCLE:
        ids[SHOWN_OF_A_CYCLE - 2 : -1] = [f"… {len(ids) - SHOWN_OF_A_CYCLE + 1} more …"]
    names = " -> ".join(ids)
    what = f"the steps {names} wait for each other; a loop needs join 'each' and maxVisits on its first step"
    wiring.problems.append(Problem("graph.cycle", f"steps[{cycle[0]}]", what))


def _on_a_cycle(graph: Graph, waiting: Sequence[int]) -> list[int]:
    """Return the steps of one cycle, the first in the list first."""
    before: dict[int, int] = {}
    for node in range(graph.size):
        if waiting[node]:
            for arc in graph.leaving(node):
                if waiting[arc.target] and arc.group != "each":
                    before[arc.target] = node
    node = next(iter(before))
    seen: dict[int, None] = {}
    while node not in seen:
        seen[node] = None
        node = before[node]
    walked = list(seen)
    cycle = walked[walked.index(node) :][::-1]
    lowest = cycle.index(min(cycle))
    return cycle[lowest:] + cycle[:lowest]


def _refuse_unreachable(graph: Graph, wiring: Wiring) -> None:
    missing = array("i", graph.all_in)
    reached = bytearray(graph.size)
    opened = bytearray(graph.size)
    todo = graph.roots()
    while todo:
        node = todo.pop()
        reached[node] = 1
        for arc in graph.leaving(node):
            if arc.group == "all":
                missing[arc.target] -= 1
            else:
                opened[arc.target] = 1
            is_open = opened[arc.target] or arc.target not in graph.any_in
            complete = arc.target in graph.each or (not missing[arc.target] and is_open)
            if complete and not reached[arc.target]:
                reached[arc.target] = 1
                todo.append(arc.target)
    if any(problem.code == "graph.cycle" for problem in wiring.problems):
        return
    for node in range(graph.size):
        if not reached[node]:
            what = f"no edge leads from a first step to step {wiring.steps[node].id!r}"
            wiring.problems.append(Problem("graph.unreachable", f"steps[{node}]", what))
