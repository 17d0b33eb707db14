"""What came of a run: the value that the library returns and `--json` prints."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, overload

from runner.core.actions import Spot, step_path
from runner.core.commands import Json, Outcome, SkipReason, StepFailure, StepStatus
from runner.core.compiled import StepPlan
from runner.core.integration_flow import BinaryOut, IntegrationFlow
from runner.core.redact import MASK, Masker
from runner.core.trace import iso_time
from runner.errors import RunFailed

RunStatus = Literal["succeeded", "failed", "cancelled", "timed_out"]


@dataclass(slots=True)
class StepResult:
    """How one step, iteration, poll or sub-flow ended. `path` is unique in the run, `id` is not.

    `order` sorts results as the document lists the steps.
    """

    path: str
    id: str
    name: str
    type: str
    status: StepStatus
    reason: SkipReason | None = None
    attempts: int = 0
    duration_ms: float = 0.0
    outputs: Mapping[str, Json] = field(default_factory=dict)
    error: StepFailure | None = None
    visit: int = 1
    detail: str = ""
    handled: bool = False
    tainted: frozenset[str] = frozenset()
    order: tuple[int, ...] = ()

    def to_json(self, masker: Masker) -> dict[str, Json]:
        """Return the entry of `RunResult` JSON, masked."""
        entry: dict[str, Json] = {
            "path": self.path,
            "id": self.id,
            "name": masker.mask(self.name),
            "type": self.type,
            "visit": self.visit,
            "status": self.status,
            "reason": self.reason,
            "attempts": self.attempts,
            "durationMs": self.duration_ms,
            "outputs": shown_outputs(self.outputs, self.tainted, masker),
            "error": None,
        }
        if self.detail:
            entry["detail"] = masker.mask(self.detail)
        if self.error is not None:
            message = masker.mask(self.error.message)
            entry["error"] = {"code": self.error.code, "message": message, "place": self.error.where}
            entry["handled"] = self.handled
        return entry


class StepResults(Sequence[StepResult]):
    """How the steps of a flow ended, as it lists them; a result is made when it is asked for.

    There may be 100 000 of them. Of one that is plain, what the plan tells of its step is not kept again.
    """

    __slots__ = ("_attempts", "_durations", "_listed", "_others", "_outputs", "_steps")

    def __init__(self, steps: Sequence[StepPlan]) -> None:
        self._steps = steps
        self._outputs: list[Mapping[str, Json] | None] = [None] * len(steps)  # of plain ones
        self._durations = array("d", [0.0]) * len(steps)
        self._attempts = array("L", [0]) * len(steps)
        self._others: list[StepResult] = []
        self._listed: array[int] | None = None  # positions of plain ones, and of others, those inverted

    def add(self, spot: Spot, outcome: Outcome, duration_ms: float) -> None:
        """Keep how something ended."""
        self._listed = None
        if not self._is_plain(spot, outcome):
            self._others.append(_result(spot, outcome, duration_ms))
            return
        index = spot.order[0]
        self._outputs[index] = outcome.outputs
        self._durations[index] = duration_ms
        self._attempts[index] = outcome.attempts

    def _is_plain(self, spot: Spot, outcome: Outcome) -> bool:
        """Whether it is the first visit of one of the flow's own steps, and just succeeded."""
        own = len(spot.order) == 2 and spot.visit == 1 and spot.type == self._steps[spot.order[0]].kind
        return own and outcome.status == "succeeded" and not outcome.tainted

    def _list(self) -> array[int]:
        self._others.sort(key=lambda result: result.order)
        listed = array("q")
        rest = 0
        for index, outputs in enumerate(self._outputs):
            if outputs is not None:
                listed.append(index)
            while rest < len(self._others) and self._others[rest].order[0] == index:
                listed.append(~rest)
                rest += 1
        return listed

    def __len__(self) -> int:
        if self._listed is None:
            self._listed = self._list()
        return len(self._listed)

    @overload
    def __getitem__(self, position: int) -> StepResult: ...

    @overload
    def __getitem__(self, position: slice) -> Sequence[StepResult]: ...

    def __getitem__(self, position: int | slice) -> StepResult | Sequence[StepResult]:
        found = range(len(self))[position]
        return tuple(map(self._at, found)) if isinstance(found, range) else self._at(found)

    def __iter__(self) -> Iterator[StepResult]:
        return map(self._at, range(len(self)))

    def _at(self, position: int) -> StepResult:
        assert self._listed is not None
        index = self._listed[position]
        if index < 0:
            return self._others[~index]
        plan = self._steps[index]
        spot = Spot(step_path("", plan.id), "", plan.kind, plan.id, plan.label, order=(index, 1))
        outcome = Outcome("succeeded", self._outputs[index] or {}, attempts=self._attempts[index])
        return _result(spot, outcome, self._durations[index])


def _result(spot: Spot, outcome: Outcome, duration_ms: float) -> StepResult:
    return StepResult(
        spot.path, spot.id, spot.name, spot.type, outcome.status, outcome.reason, outcome.attempts,
        duration_ms, outcome.outputs, outcome.failure, spot.visit, outcome.detail, outcome.handled,
        outcome.tainted, spot.order,
    )  # fmt: skip


class Trace(Protocol):
    """The spans of a run."""

    def write_trace(self, file: BinaryOut, name: str | None = None, description: str | None = None) -> None:
        """Write them as an IntegrationFlow document, span by span."""

    def integration_flow(self, name: str | None = None, description: str | None = None) -> IntegrationFlow:
        """Return them as an IntegrationFlow."""


@dataclass(frozen=True, slots=True, repr=False)
class RunResult:
    """A run that has ended. Times are nanoseconds since 1970; `outputs` are raw, by step id.

    Everything that `to_json` returns is masked.
    """

    run_id: str
    flow: str
    status: RunStatus
    start: int
    end: int
    trace_id: str
    inputs: Mapping[str, Json]
    secret_inputs: frozenset[str]
    steps: Sequence[StepResult]
    outputs: Mapping[str, Mapping[str, Json]]
    failure: StepFailure | None = None
    masker: Masker = field(default_factory=Masker, repr=False, compare=False)
    trace: Trace | None = field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        # Short, and without values: event loops print the results of their tasks.
        return f"<RunResult {self.run_id} {self.flow!r} {self.status}, {len(self.steps)} steps>"

    @property
    def ok(self) -> bool:
        """Whether the run succeeded."""
        return self.status == "succeeded"

    @property
    def duration_ms(self) -> float:
        """Milliseconds from start to end."""
        return (self.end - self.start) / 1e6

    def step(self, path: str) -> StepResult:
        """Return the result of the step at a path; raises KeyError."""
        for result in self.steps:
            if result.path == path:
                return result
        raise KeyError(path)

    def raise_for_failure(self) -> None:
        """Raise RunFailed unless the run succeeded."""
        if not self.ok:
            reason = f": {self.failure.message}" if self.failure else ""
            raise RunFailed(self.masker.mask(f"flow {self.flow!r} {self.status}{reason}"), self)

    def integration_flow(self, *, name: str | None = None, description: str | None = None) -> IntegrationFlow:
        """Return the trace as the document that a platform takes; both texts default to the flow's own."""
        assert self.trace is not None
        return self.trace.integration_flow(name, description)

    def write_trace(
        self, file: BinaryOut, *, name: str | None = None, description: str | None = None
    ) -> None:
        """Write the trace as an IntegrationFlow document without having it in memory twice."""
        assert self.trace is not None
        self.trace.write_trace(file, name, description)

    def to_json(self) -> dict[str, Json]:
        """Return the result as JSON values, masked (DESIGN 5)."""
        return {
            "runId": self.run_id,
            "flow": self.masker.mask(self.flow),
            "status": self.status,
            "startTime": iso_time(self.start),
            "endTime": iso_time(self.end),
            "durationMs": self.duration_ms,
            "traceId": self.trace_id,
            "inputs": shown_outputs(self.inputs, self.secret_inputs, self.masker),
            "steps": [step.to_json(self.masker) for step in self.steps],
            "outputs": self._shown_outputs(),
        }

    def _shown_outputs(self) -> dict[str, Json]:
        tainted: dict[str, frozenset[str]] = {}
        for step in self.steps:
            # Every visit has its own path; a path with a slash belongs to another flow's step.
            if step.tainted and "/" not in step.path:
                tainted[step.id] = tainted.get(step.id, frozenset()) | step.tainted
        return {
            name: shown_outputs(values, tainted.get(name, frozenset()), self.masker)
            for name, values in self.outputs.items()
        }


def shown_outputs(values: Mapping[str, Json], secret: frozenset[str], masker: Masker) -> dict[str, Json]:
    """Return named values as they may be shown: secret ones as a mask, whatever their kind."""
    return {name: MASK if name in secret else masker.mask_json(value) for name, value in values.items()}


def run_status(outcome: Outcome) -> RunStatus:
    """Return the status of a run that ended so."""
    if outcome.ended_by is not None:
        return outcome.ended_by
    return "failed" if outcome.status == "failed" else "succeeded"
