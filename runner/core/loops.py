"""The loops of a running flow: forEach over a list, until a condition holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from runner.core.actions import Close, Container, Flowing, Open, Spot
from runner.core.commands import Json, Outcome
from runner.core.compiled import FlowWork, HttpWork, StepPlan, UntilWork
from runner.core.program import failed
from runner.core.scope import Scope
from runner.core.text import kind_of
from runner.errors import StepError


def begin_step(flow: Flowing, owner: Container, key: int, spot: Spot, plan: StepPlan, scope: Scope) -> None:
    """Start a step that is a container of some kind."""
    if plan.extras.for_each is None:
        begin_item(flow, owner, key, spot, plan, scope)
        return
    try:
        items = _items(plan, scope)
    except StepError as error:
        flow.end(owner, key, spot, failed(error.code, error.message, error.where or plan.where))
        return
    ForEachRun(flow, owner, key, spot, plan, scope, items).begin()


def begin_item(flow: Flowing, owner: Container, key: int, spot: Spot, plan: StepPlan, scope: Scope) -> None:
    """Start what a step does once: polls, a flow, or a leaf."""
    if isinstance(plan.work, HttpWork) and plan.work.until is not None:
        UntilRun(flow, owner, key, spot, plan, scope, plan.work.until).begin()
    elif isinstance(plan.work, FlowWork):
        flow.begin_flow(owner, key, spot, plan, scope)
    else:
        flow.queue(owner, key)


def condition_outcome(plan: StepPlan, scope: Scope) -> Outcome | None:
    """Return how a step ends by its own condition, None when it is to run."""
    assert plan.condition is not None
    try:
        if plan.condition.holds(scope):
            return None
    except StepError as error:
        return failed(error.code, error.message, error.where or f"{plan.where}.condition")
    return Outcome("skipped", reason="condition", detail=f"{plan.condition.shown} is false")


def is_final(outcome: Outcome) -> bool:
    """Whether nothing may handle the failure: an interruption, or the end of a bound on the run.

    A bound that an edge could handle would be none: two steps could pass it to each other for ever.
    """
    spent = outcome.failure is not None and outcome.failure.code in ("limit.steps", "limit.visits")
    return spent or outcome.ended_by is not None


def _items(plan: StepPlan, scope: Scope) -> list[Json]:
    where = f"{plan.where}.forEach"
    assert plan.extras.for_each is not None
    value = plan.extras.for_each.render(scope, where)
    if not isinstance(value, list):
        raise StepError("forEach.not_a_list", f"forEach needs a list, not {kind_of(value)}", where)
    return value


class ForEachRun:
    """A forEach: its step once per item, `maxConcurrency` items at once, results in order."""

    __slots__ = (
        "active", "failure", "flow", "items", "key", "limit", "next", "owner", "plan", "results", "scope",
        "spot", "tainted", "withdrawn",
    )  # fmt: skip

    def __init__(
        self, flow: Flowing, owner: Container, key: int, spot: Spot, plan: StepPlan, scope: Scope,
        items: list[Json],
    ) -> None:  # fmt: skip
        self.flow, self.owner, self.key, self.spot = flow, owner, key, spot
        self.plan, self.scope = plan, scope
        self.items = items
        self.results: list[Mapping[str, Json] | None] = [None] * len(items)
        self.limit = plan.extras.limit
        self.active = 0
        self.next = 0
        self.withdrawn = 0
        self.failure: Outcome | None = None
        self.tainted: frozenset[str] = frozenset()

    def begin(self) -> None:
        """Open the span and start the first items."""
        self.flow.act(Open(self.spot))
        self._fill()

    @property
    def stopped(self) -> str:
        """Why no item may start any more."""
        return self.flow.stopped

    def child_done(self, key: int, spot: Spot, outcome: Outcome) -> None:
        """Keep an item's outputs and start the next one."""
        if outcome.status == "failed" and not is_final(outcome) and self.plan.extras.continues:
            outcome = replace(outcome, handled=True)
        self.flow.act(Close(spot, outcome))
        self.active -= 1
        if outcome.status == "succeeded":
            self.results[key] = outcome.outputs
            self.tainted |= outcome.tainted
        elif outcome.status == "failed" and not outcome.handled:
            self.failure = self.failure or outcome
        self.withdrawn += outcome.reason == "unreached"
        self._fill()

    def launch(self, key: int) -> None:
        """Start the leaf of an item."""
        self.flow.start_leaf(self, key, self._spot(key), self.plan, self._scope(key))

    def withdraw_child(self, key: int) -> None:
        """End an item that waits for a slot as interrupted, or leave it to the rest that is not started."""
        if self.flow.halted:
            self.flow.end(self, key, self._spot(key), self.flow.interrupted_outcome())
            return
        self.active -= 1
        self.withdrawn += 1
        self._fill()

    def _fill(self) -> None:
        while self.next < len(self.items) and self.active < self.limit and self._goes_on():
            key = self.next
            self.next += 1
            self.active += 1
            self._start(key)
        if not self.active and (self.next >= len(self.items) or not self._goes_on()):
            self.flow.end(self.owner, self.key, self.spot, self._outcome())
            self.next = len(self.items) + 1  # ended: a late call must not end it twice

    def _goes_on(self) -> bool:
        if self.failure is not None or self.flow.halted or self.flow.stopped:
            return False
        return self.next <= len(self.items)

    def _start(self, key: int) -> None:
        scope, spot = self._scope(key), self._spot(key)
        outcome = condition_outcome(self.plan, scope) if self.plan.extras.condition_per_item else None
        if outcome is not None:
            self.flow.end(self, key, spot, outcome)
        else:
            begin_item(self.flow, self, key, spot, self.plan, scope)

    def _scope(self, key: int) -> Scope:
        return self.scope.child(item=self.items[key], index=key)

    def _spot(self, key: int) -> Spot:
        path, order = f"{self.spot.path}[{key}]", (*self.spot.order, key)
        return Spot(path, self.spot.path, "iteration", self.plan.id, self.plan.label, index=key, order=order)

    def _outcome(self) -> Outcome:
        if self.failure is not None:
            failure = self.failure.failure
            return Outcome("failed", failure=failure, ended_by=self.failure.ended_by)
        if self.flow.halted and self.next < len(self.items):
            return self.flow.interrupted_outcome()
        made = {name for result in self.results for name in result or ()}
        names = self.plan.output_names or sorted(made)
        outputs = {name: [result.get(name) if result else None for result in self.results] for name in names}
        rest = len(self.items) - self.next + self.withdrawn
        if rest:
            why = f"{self.flow.stopped}; {rest} of {len(self.items)} items were not started"
            return Outcome("skipped", outputs, reason="unreached", detail=why, tainted=self.tainted)
        return Outcome("succeeded", outputs, tainted=self.tainted)


class UntilRun:
    """An until: one poll after the other."""

    __slots__ = ("attempts", "flow", "key", "owner", "plan", "scope", "spot", "until")

    def __init__(
        self, flow: Flowing, owner: Container, key: int, spot: Spot, plan: StepPlan, scope: Scope,
        until: UntilWork,
    ) -> None:  # fmt: skip
        self.flow, self.owner, self.key, self.spot = flow, owner, key, spot
        self.plan, self.scope = plan, scope
        self.until = until
        self.attempts = 0

    def begin(self) -> None:
        """Open the span and queue the first poll."""
        self.flow.act(Open(self.spot))
        self.flow.queue(self, 1)

    @property
    def stopped(self) -> str:
        """Why the first poll may not start any more; those after it belong to what has begun."""
        return self.flow.stopped

    def launch(self, key: int) -> None:
        """Start a poll."""
        after = self.until.interval if key > 1 else 0.0
        plan = self.plan
        if key > 1 and plan.extras.delay:  # it precedes the step, once
            plan = replace(plan, extras=replace(plan.extras, delay=0.0))
        self.flow.start_leaf(self, key, self._spot(key), plan, self.scope, after=after)

    def withdraw_child(self, key: int) -> None:
        """End a poll that waits for a slot; one that is not the first goes on waiting if it may."""
        if self.flow.halted:
            self.flow.end(self, key, self._spot(key), self.flow.interrupted_outcome())
        elif key == 1:
            unreached = Outcome("skipped", reason="unreached", detail=self.flow.stopped)
            self.flow.end(self, key, self._spot(key), unreached)
        else:
            self.flow.queue(self, key)

    def _spot(self, key: int) -> Spot:
        path, order = f"{self.spot.path}~{key}", (*self.spot.order, key)
        return Spot(path, self.spot.path, "http", self.plan.id, self.plan.label, poll=key, order=order)

    def child_done(self, key: int, spot: Spot, outcome: Outcome) -> None:
        """End, or poll again."""
        self.flow.act(Close(spot, outcome))
        self.attempts += outcome.attempts
        if outcome.status == "succeeded" and outcome.taken == "false":
            if self.flow.halted:
                outcome = self.flow.interrupted_outcome()
            elif key < self.until.bound:
                self.flow.queue(self, key + 1)
                return
            else:
                what = f"the condition did not come true in {self.until.bound} polls"
                outcome = failed("until.exhausted", what, f"{self.plan.where}.until")
        ended = replace(outcome, attempts=self.attempts, taken=None)
        self.flow.end(self.owner, self.key, self.spot, ended)
