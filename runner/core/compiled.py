"""A step with everything compiled that can be compiled once: what the plan is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from runner.core.condition import Condition
from runner.core.graph import Graph
from runner.core.model import Flow, Step, StepKind
from runner.core.output import Output
from runner.core.reference import Reference
from runner.core.retry import RetryPolicy
from runner.core.template import Template, Tree
from runner.errors import Problem, errors_of


@dataclass(slots=True)
class PartWork:
    """One part of a multipart body: a text, or a file."""

    text: Template | None = None
    file: Template | None = None
    filename: Template | None = None
    content_type: str | None = None


@dataclass(slots=True)
class HttpWork:
    """What an HTTP step sends, and what it takes for success. `timeout` is seconds."""

    url: Template
    path_template: str | None
    policy: RetryPolicy
    timeout: float
    accepted: tuple[range, ...]
    headers: Tree | None = None
    query: Tree | None = None
    body: Tree | None = None
    body_text: Template | None = None
    form: Tree | None = None
    parts: tuple[tuple[str, PartWork], ...] | None = None
    body_file: Template | None = None
    auth: Tree | None = None
    base_url: Template | None = None
    assertions: tuple[Condition, ...] = ()
    until: Condition | None = None
    folder: str = ""


@dataclass(slots=True)
class SetWork:
    """The variables of a set step."""

    values: Tree


@dataclass(slots=True)
class FlowWork:
    """A flow run as a step; `outputs` are (name, place among the flow's outputs)."""

    plan: Plan
    inputs: Tree | None
    outputs: tuple[tuple[str, Reference], ...]


Work: TypeAlias = HttpWork | SetWork | FlowWork | None


@dataclass(slots=True)
class StepPlan:
    """A compiled step. `needs` are the ids of the steps whose outputs it must have."""

    index: int
    step: Step
    kind: StepKind
    work: Work = None
    condition: Condition | None = None
    condition_per_item: bool = False
    for_each: Tree | None = None
    outputs: tuple[tuple[str, Output], ...] = ()
    needs: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The step's id."""
        return self.step.id

    @property
    def where(self) -> str:
        """The step's place in the document."""
        return f"steps[{self.index}]"

    @property
    def output_names(self) -> tuple[str, ...]:
        """The names of the outputs that the step promises."""
        if self.kind == "set":
            return tuple(self.step.set or ())
        if self.kind == "condition":
            return ("result", "label")
        return tuple(self.step.outputs)


@dataclass(slots=True)
class Needs:
    """What a flow takes from outside: name to the first place that uses it.

    `flat` are names such as `{{baseUrl}}` that may be an input or an env value.
    """

    inputs: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    flat: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Plan:
    """A checked flow. It may run when `errors` is empty."""

    flow: Flow
    steps: tuple[StepPlan, ...]
    positions: dict[str, int]
    graph: Graph
    needs: Needs
    problems: tuple[Problem, ...] = ()

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that forbid a run."""
        return errors_of(self.problems)

    @property
    def secret_inputs(self) -> frozenset[str]:
        """The inputs that are masked everywhere."""
        return frozenset(one.name for one in self.flow.inputs or () if one.type == "password")
