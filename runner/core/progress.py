"""Where a run stands: which steps may start, and what follows when one has ended.

A synchronous tree. The run, each sub-flow, forEach and until is a container with children made only
when they may start; leaves are the generators of `runner.core.program`. `start()` and `done()`
return actions for the engine: open or close a span, start a program, finish.
"""

from __future__ import annotations

import heapq
from array import array
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from runner.core.actions import (
    Action,
    Close,
    Container,
    Finish,
    Interruption,
    Open,
    Slots,
    Spot,
    Start,
    step_path,
)
from runner.core.commands import Json, Outcome, StepFailure
from runner.core.compiled import FlowWork, Plan, StepPlan
from runner.core.graph import NOWHERE, Arc, is_taken
from runner.core.inputs import check_inputs
from runner.core.loops import begin_step, condition_outcome, is_final
from runner.core.program import failed, step_program
from runner.core.reference import Missing, walk
from runner.core.request import RunTerms
from runner.core.scope import Scope, SecretNames
from runner.errors import StepError, errors_of, located

DEFAULT_STEP_BUDGET = 10_000
UNDECIDED, RUNNING, SUCCEEDED, OTHERWISE = range(4)


@dataclass(slots=True)
class Leaf:
    """A leaf that is running."""

    owner: Container
    key: int
    spot: Spot
    slots: Slots


class Interrupted(NamedTuple):
    """What an interruption asks for: the paths of the leaves to end, and what has followed at once."""

    leaves: list[str]
    actions: list[Action]


class Progress:
    """The run as a whole; see the module. `step_budget` bounds the leaves that are ever started."""

    def __init__(self, plan: Plan, scope: Scope, terms: RunTerms, *, step_budget: int | None = None) -> None:
        self.terms = terms
        self.budget = step_budget or max(DEFAULT_STEP_BUDGET, 2 * len(plan.steps))
        self.actions: list[Action] = []
        self.leaves: dict[str, Leaf] = {}
        self.ended: deque[tuple[Container, int, Spot, Outcome]] = deque()
        self.waiting: dict[FlowRun, None] = {}
        self.flows: dict[str, FlowRun] = {}
        self.asked: dict[str, int] = {}  # how often a step with a scripted outcome was started
        label = plan.flow.label
        self.root = FlowRun(self, plan, scope, Spot("", "", "flow", label, label))

    def start(self) -> list[Action]:
        """Start the first steps."""
        self.root.begin()
        return self._settle()

    def done(self, path: str, outcome: Outcome) -> list[Action]:
        """Take the outcome of the leaf at `path` and return what follows from it."""
        leaf = self.leaves.pop(path)
        leaf.slots.give_back()
        self.ended.append((leaf.owner, leaf.key, leaf.spot, outcome))
        return self._settle()

    def interrupt(self, path: str, by: Interruption) -> Interrupted:
        """Let nothing start any more in the flow at `path`, nor in those that it runs."""
        if path not in self.flows:
            return Interrupted([], [])
        self.flows[path].interrupted = self.flows[path].interrupted or by
        below = [flow for other, flow in self.flows.items() if _is_below(other, path)]
        for flow in reversed(below):  # a flow that runs nothing any more ends, and reports to those around it
            flow.withdraw()
        actions = self._settle()
        return Interrupted([leaf for leaf in self.leaves if _is_below(leaf, path)], actions)

    def withheld(self, path: str) -> Outcome | None:
        """Return the outcome of a step that was started, waits for its turn, and is not to begin any more."""
        stopped = self.leaves[path].owner.stopped
        return Outcome("skipped", reason="unreached", detail=stopped) if stopped else None

    def start_leaf(self, leaf: Leaf, plan: StepPlan, scope: Scope, after: float, spacing: float) -> None:
        """Start a leaf that has its slots."""
        path = leaf.spot.path
        self.leaves[path] = leaf
        visit = 1
        if plan.external is not None:
            visit = self.asked[plan.id] = self.asked.get(plan.id, 0) + 1
        program = step_program(plan, scope.at(path), self.terms, path, visit)
        self.actions.append(Start(leaf.spot, program, after, spacing))

    def _settle(self) -> list[Action]:
        while True:
            while self.ended:
                owner, key, spot, outcome = self.ended.popleft()
                owner.child_done(key, spot, outcome)
            started = [flow.pump() for flow in list(self.waiting)]
            if not self.ended and not any(started):
                break
        actions, self.actions = self.actions, []
        return actions


class FlowRun:
    """A flow that runs: the whole run, or the flow of a flow step (then with an `owner`)."""

    __slots__ = (
        "all_left", "any_left", "any_taken", "around", "busy", "children", "decided", "each_taken",
        "failure", "fired", "held", "interrupted", "key", "missed", "nodes", "open", "owner", "plan",
        "released", "run", "running", "scope", "slots", "spot", "state", "step", "stopped", "visits",
    )  # fmt: skip

    def __init__(
        self, run: Progress, plan: Plan, scope: Scope, spot: Spot, *, owner: Container | None = None,
        key: int = 0, around: FlowRun | None = None, step: StepPlan | None = None,
    ) -> None:  # fmt: skip
        self.run, self.plan, self.scope, self.spot = run, plan, scope, spot
        self.owner, self.key, self.around, self.step = owner, key, around, step
        config = plan.flow.config
        self.slots: Slots = Slots(config.max_concurrency, around.slots if around else None)
        self.nodes: list[int] = []  # heap of ready steps, by their position in the list
        self.busy: set[int] = set()  # steps that were started
        self.children: deque[tuple[Container, int]] = deque()
        self.state = bytearray(len(plan.steps))
        self.open = len(plan.steps)  # steps that are undecided
        self.running = 0
        self.released = 0
        self.visits: dict[int, int] = {}
        self.all_left = array("i", plan.graph.all_in)
        self.any_left = dict(plan.graph.any_in)
        self.missed: set[int] = set()
        self.any_taken: set[int] = set()
        self.each_taken: deque[int] = deque()
        self.decided: set[tuple[int, int]] = set()  # edges out of steps that may run several times
        self.held: dict[
            int, dict[int, int]
        ] = {}  # by gate: the sources whose edge is taken, and their visits
        self.fired: dict[int, int] = {}  # by gate: the last visit that it has fired for
        self.failure: StepFailure | None = None
        self.stopped = ""
        self.interrupted: Interruption | None = None

    def begin(self) -> None:
        """Open the flow's span and start its first steps."""
        timeout = self.plan.flow.config.flow_timeout
        self.run.flows[self.spot.path] = self
        self.act(Open(self.spot, timeout / 1000 if timeout else None))
        for node in self.plan.graph.roots():
            self._activate(node)
        self._rest()

    @property
    def interruption(self) -> Interruption | None:
        """What interrupted this flow or one around it."""
        flow: FlowRun | None = self
        while flow is not None:
            if flow.interrupted:
                return flow.interrupted
            flow = flow.around
        return None

    @property
    def halted(self) -> bool:
        """Whether this flow or one around it was interrupted."""
        return self.interruption is not None

    def act(self, action: Action) -> None:
        """Hand an action to the engine."""
        self.run.actions.append(action)

    def end(self, owner: Container, key: int, spot: Spot, outcome: Outcome) -> None:
        """Report to `owner`, after the current call, that its child under `key` has ended."""
        self.run.ended.append((owner, key, spot, outcome))

    def queue(self, owner: Container, key: int) -> None:
        """Call `owner.launch(key)` as soon as there is a slot."""
        self.children.append((owner, key))
        self.run.waiting[self] = None

    def start_leaf(
        self, owner: Container, key: int, spot: Spot, plan: StepPlan, scope: Scope, *, after: float = 0
    ) -> None:
        """Start a leaf that has its slot; `config.delay` spaces the starts, but for polls."""
        if self.halted or self.run.budget <= 0:
            self.slots.give_back()
            what = "the run has started as many steps as it may; see --max-steps"
            spent = failed("limit.steps", what, plan.where)
            self.end(owner, key, spot, self.interrupted_outcome() if self.halted else spent)
            return
        self.run.budget -= 1
        spacing = 0.0 if after else self.plan.flow.config.delay / 1000
        self.run.start_leaf(Leaf(owner, key, spot, self.slots), plan, scope, after, spacing)

    def begin_flow(self, owner: Container, key: int, spot: Spot, plan: StepPlan, scope: Scope) -> None:
        """Start the flow of a flow step."""
        work = plan.work
        assert isinstance(work, FlowWork)
        try:
            inside = self._scope_inside(work, plan, scope)
        except StepError as error:
            self.end(owner, key, spot, failed(error.code, error.message, error.where))
            return
        FlowRun(self.run, work.plan, inside, spot, owner=owner, key=key, around=self, step=plan).begin()

    def withdraw(self) -> None:
        """Let the steps and items that are ready and wait for a slot not start, nor, interrupted, polls."""
        for node in self.nodes:
            self.state[node] = UNDECIDED
        self.running -= len(self.nodes)
        self.open += len(self.nodes)
        self.nodes.clear()
        children, self.children = self.children, deque()
        for owner, key in children:
            owner.withdraw_child(key)
        if self.halted:
            self._rest()

    def withdraw_child(self, key: int) -> None:
        """Do nothing: steps do not stand in the queue of children."""

    def interrupted_outcome(self) -> Outcome:
        """Return the outcome of something that was not let go on."""
        by = self.interruption or "cancelled"
        return Outcome("failed", failure=StepFailure(f"run.{by}", by.replace("_", " ")), ended_by=by)

    def pump(self) -> bool:
        """Start what is ready as far as the slots go; returns whether anything was started.

        Children of containers come first, then steps in list order. Without `config.parallel` one
        step at a time; the items of its loop may still run together.
        """
        started = False
        while self._start_child() or self._start_step():
            started = True
        if not self.children and not self.nodes:
            self.run.waiting.pop(self, None)
        return started

    def _start_child(self) -> bool:
        if not self.children or not self.slots.take():
            return False
        owner, key = self.children.popleft()
        owner.launch(key)
        return True

    def _start_step(self) -> bool:
        if not self.nodes or (self.busy and not self.plan.flow.config.parallel):
            return False
        plan = self.plan.steps[self.nodes[0]]
        is_leaf = plan.extras.for_each is None and not isinstance(plan.work, FlowWork) and not plan.is_polling
        if is_leaf and not self.slots.take():
            return False
        self.busy.add(heapq.heappop(self.nodes))
        if is_leaf:
            self.launch(plan.index)
        else:
            begin_step(self, self, plan.index, self._spot_of(plan), plan, self.scope)
        return True

    def launch(self, key: int) -> None:
        """Start the program of a leaf step, which has its slot."""
        plan = self.plan.steps[key]
        self.start_leaf(self, key, self._spot_of(plan), plan, self.scope)

    def child_done(self, key: int, spot: Spot, outcome: Outcome) -> None:
        """Decide the edges that leave a step which has ended."""
        plan = self.plan.steps[key]
        if outcome.status == "failed":
            outcome = self._failed(plan, outcome)
        self.act(Close(spot, outcome))
        self.running -= 1
        self.busy.discard(key)
        self.state[key] = SUCCEEDED if outcome.status == "succeeded" else OTHERWISE
        if outcome.status == "succeeded" and outcome.outputs:
            self.scope.outputs[plan.id] = outcome.outputs
            self.scope.secret.outputs.update((plan.id, name) for name in outcome.tainted)
        self.scope.leave(outcome.left)
        self._decide(key, outcome)
        self._rest()

    def _scope_inside(self, work: FlowWork, plan: StepPlan, scope: Scope) -> Scope:
        inner, where = work.plan, f"{plan.where}.inputs"
        given: Mapping[str, Json] = {}
        tainted: frozenset[str] = frozenset()
        if work.inputs is not None:
            with located(where):
                given, tainted = work.inputs.render(scope, where), work.inputs.secret_keys(scope)
        declared = inner.flow.inputs
        values, problems = check_inputs(declared or (), given, open_inputs=declared is None)
        errors = errors_of(problems)
        if errors:
            raise StepError("flow.inputs", "; ".join(problem.what for problem in errors), where)
        secret = SecretNames(inner.secret_inputs | tainted, scope.secret.env, set())
        for name in secret.inputs & values.keys():
            self.run.terms.masker.add(values[name])
        return Scope(
            inputs=values, env=scope.env, headers=scope.headers, outputs={}, run=scope.run, secret=secret
        )

    def _failed(self, plan: StepPlan, outcome: Outcome) -> Outcome:
        if outcome.ended_by:
            return outcome
        handles = plan.extras.continues or self.plan.graph.handles_failure(plan.index)
        if handles and not is_final(outcome):
            return replace(outcome, handled=True)
        self.failure = self.failure or outcome.failure
        if self.plan.flow.config.stop_on_error or is_final(outcome):
            self.stopped = self.stopped or f"step {plan.id!r} failed before"
            self.withdraw()
        return outcome

    def _decide(self, source: int, outcome: Outcome) -> None:
        graph = self.plan.graph
        todo = deque([(source, outcome)])
        while todo:
            node, ended = todo.popleft()
            may_return = node in graph.each and self.visits.get(node, 0) < graph.max_visits[node]
            for number, arc in enumerate(graph.leaving(node)):
                taken = is_taken(arc.when, ended)
                if arc.gate != NOWHERE:
                    taken = self._opens(arc.gate, node, taken=taken)
                if not taken and may_return and ended.reason != "unreached":
                    continue  # a later visit may still take it
                if node in graph.each and arc.group != "each":
                    if (node, number) in self.decided:
                        continue  # an earlier visit has decided it
                    self.decided.add((node, number))
                unreached = self._edge_decided(arc, taken=taken)
                if unreached is not None:
                    todo.append((arc.target, unreached))

    def _opens(self, gate: int, source: int, *, taken: bool) -> bool:
        """Note whether an edge into a gate is taken; returns whether that opens it.

        It opens once for what a visit of each source brings, and again when one of them has run again.
        """
        held = self.held.setdefault(gate, {})
        visit = self.visits.get(source, 1)
        if not taken:
            if held.get(source) != visit:  # else another edge of the same source was taken just now
                held.pop(source, None)
            return False
        held[source] = visit
        rule = self.plan.graph.gates[gate]
        newest = max(held.values())
        if newest <= self.fired.get(gate, 0) or (rule.join == "all" and len(held) < len(rule.sources)):
            return False
        self.fired[gate] = newest
        return True

    def _edge_decided(self, arc: Arc, *, taken: bool) -> Outcome | None:
        """Count an edge into its target; returns the target's outcome when that is never reached now."""
        node = arc.target
        if arc.group == "each":
            if taken:
                self._activate(node)
            return None
        if self.state[node] != UNDECIDED:
            return None
        if arc.group == "all":
            self.all_left[node] -= 1
            if not taken:
                self.missed.add(node)
        else:
            self.any_left[node] -= 1
            if taken:
                self.any_taken.add(node)
        if self.all_left[node] or self.any_left.get(node):
            return None
        if node not in self.missed and (node not in self.any_left or node in self.any_taken):
            self._activate(node)
            return None
        return self._unreached(node, "no edge that leads to it was taken")

    def _unreached(self, node: int, why: str) -> Outcome:
        by = self.interruption
        interrupted = f"the run was {by.replace('_', ' ')} before" if by else ""
        outcome = Outcome("skipped", reason="unreached", detail=self.stopped or interrupted or why)
        self.state[node] = OTHERWISE
        self.open -= 1
        self.act(Close(self._spot_of(self.plan.steps[node]), outcome))
        return outcome

    def _activate(self, node: int) -> None:
        """Start a step, or end it at once: skipped, out of visits, its condition in error."""
        if self.stopped or self.halted:
            return
        if self.state[node] == RUNNING:
            self.each_taken.append(node)  # taken again while it runs: its next visit follows this one
            return
        if self.state[node] == UNDECIDED:
            self.open -= 1
        plan = self.plan.steps[node]
        self.state[node] = RUNNING
        self.running += 1
        if node in self.plan.graph.each:
            self.visits[node] = self.visits.get(node, 0) + 1
        outcome = self._ended_before_start(node, plan)
        if outcome is not None:
            self.end(self, node, self._spot_of(plan), outcome)
        else:
            heapq.heappush(self.nodes, node)
            self.run.waiting[self] = None

    def _ended_before_start(self, node: int, plan: StepPlan) -> Outcome | None:
        bound = self.plan.graph.max_visits.get(node, 1)
        if self.visits.get(node, 1) > bound:
            told = (
                "which its platform forbids" if self.plan.flow.works else "raise maxVisits if that is meant"
            )
            what = f"step {plan.id!r} would run more than {bound} times; {told}"
            return failed("limit.visits", what, plan.where)
        for source in plan.needs:
            if self.state[source] != SUCCEEDED:
                name = self.plan.steps[source].id
                return Outcome("skipped", reason="upstream", detail=f"step {name!r} did not succeed")
        if plan.condition is None or plan.extras.condition_per_item:
            return None
        return condition_outcome(plan, self.scope)

    def _spot_of(self, plan: StepPlan) -> Spot:
        visit = max(self.visits.get(plan.index, 1), 1)
        path = step_path(self.spot.path, plan.id, visit)
        kind = "forEach" if plan.extras.for_each is not None else "until" if plan.is_polling else plan.kind
        order = (*self.spot.order, plan.index, visit)
        return Spot(path, self.spot.path, kind, plan.id, plan.label, visit=visit, order=order)

    def _rest(self) -> None:
        """Finish when nothing runs any more; before that, free what waits for an edge that never comes."""
        while not self.running:
            stopped = bool(self.stopped) or self.halted
            if self.each_taken and not stopped:
                self._activate(self.each_taken.popleft())
            elif not self.open:
                self._finish()
                return
            else:
                self._release_stuck(stopped=stopped)

    def _release_stuck(self, *, stopped: bool) -> None:
        for node in range(0 if stopped else self.released, len(self.state)):
            if self.state[node] == UNDECIDED:
                outcome = self._unreached(node, "nothing that leads to it runs any more")
                if not stopped:
                    self.released = node + 1  # what stands before it is decided, and stays so
                    self._decide(node, outcome)
                    return

    def _finish(self) -> None:
        by = self.interruption
        outcome = Outcome(
            "failed" if self.failure or by else "succeeded",
            self.scope.outputs,
            failure=self.failure,
            ended_by=by,
        )
        del self.run.flows[self.spot.path]
        if self.owner is None:
            self.act(Close(self.spot, outcome))
            self.act(Finish(outcome))
        else:
            work = self.step.work if self.step is not None else None
            ended = self._as_step(outcome)
            if isinstance(work, FlowWork) and work.ends is not None:
                ended = work.ends(ended, self.scope, self.spot.id)
            self.end(self.owner, self.key, self.spot, ended)

    def _as_step(self, outcome: Outcome) -> Outcome:
        """Turn the outcome of the flow into that of the flow step."""
        if self.interrupted and self.around is not None and not self.around.halted:
            return failed(
                "flow.timeout", f"flow {self.plan.flow.label!r} took longer than its flowTimeout", ""
            )
        if outcome.status == "failed":
            failure = outcome.failure
            if failure is not None:
                failure = replace(failure, message=f"in flow {self.plan.flow.label!r}: {failure.message}")
            return replace(outcome, failure=failure, outputs={})
        return self._own_outputs(outcome)

    def _own_outputs(self, outcome: Outcome) -> Outcome:
        """Pick the outputs that the flow step declares, or all of them by step id."""
        secret = self.scope.secret.outputs
        if self.step is None or not isinstance(self.step.work, FlowWork) or not self.step.work.outputs:
            return replace(outcome, tainted=frozenset(step for step, _ in secret))
        outputs: dict[str, Json] = {}
        tainted: set[str] = set()
        missing: list[str] = []
        for name, source in self.step.work.outputs:
            try:
                outputs[name] = walk(outcome.outputs, (source.root, *source.path))
            except Missing:
                missing.append(f"no {source.text} for output {name!r}")
                continue
            if (source.root, source.path[0] if source.path else "") in secret:
                tainted.add(name)
        return replace(outcome, outputs=outputs, tainted=frozenset(tainted), missing=tuple(missing))


def _is_below(path: str, flow: str) -> bool:
    return not flow or path == flow or path.startswith(f"{flow}/")
