"""A step with everything compiled that can be compiled once: what the plan is made of."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

from runner.core.commands import Json, Outcome, Program
from runner.core.condition import Condition
from runner.core.graph import Graph
from runner.core.model import External, Flow, StepKind
from runner.core.output import Output
from runner.core.reference import Reference
from runner.core.retry import RetryPolicy
from runner.core.scope import Scope
from runner.core.template import Template, Tree
from runner.errors import Problem, errors_of

Outputs: TypeAlias = Mapping[str, Output]

NO_OUTPUTS: Final[Outputs] = {}


@dataclass(slots=True)
class FormWork:
    """A body of form fields."""

    fields: Tree


@dataclass(slots=True)
class FileWork:
    """A body that is read from a file."""

    path: Template


@dataclass(slots=True)
class PartWork:
    """One part of a multipart body: a text, or a file."""

    text: Template | None = None
    file: Template | None = None
    filename: Template | None = None
    content_type: str | None = None


@dataclass(slots=True)
class MultipartWork:
    """A body of several parts, each with its name."""

    parts: tuple[tuple[str, PartWork], ...]


# A tree is a body of JSON, a template one of text.
BodyWork: TypeAlias = Tree | Template | FormWork | FileWork | MultipartWork | None


@dataclass(frozen=True, slots=True)
class HttpTerms:
    """How requests are sent, and what is success; steps with equal terms share them. `timeout` is seconds."""

    method: str
    policy: RetryPolicy
    timeout: float
    accepted: tuple[range, ...]
    expected: str
    keyed: bool
    follow_redirects: bool
    base_url: Template | None
    folder: str


@dataclass(slots=True)
class AuthWork:
    """Credentials, and the ``url.template`` of the request for a token where one is needed."""

    settings: Tree
    token_template: str | None = None


@dataclass(slots=True)
class HttpWork:
    """What an HTTP step sends, and what it reads from the answer.

    `rendered` are the parts of the request that are not constant.
    """

    terms: HttpTerms
    url: Template
    path_template: str | None
    headers: Tree | None = None
    query: Tree | None = None
    body: BodyWork = None
    auth: AuthWork | None = None
    assertions: tuple[Condition, ...] = ()
    outputs: Outputs = field(default_factory=lambda: NO_OUTPUTS)
    until: UntilWork | None = None
    rendered: tuple[Template | Tree, ...] = ()


@dataclass(slots=True)
class UntilWork:
    """When an HTTP step is sent again: every `interval` seconds, `bound` times at most."""

    condition: Condition
    interval: float
    bound: int


@dataclass(slots=True)
class ConditionWork:
    """A condition step, with the labels of its branches."""

    condition: Condition
    true_label: str
    false_label: str


@dataclass(slots=True)
class FlowWork:
    """A flow run as a step; `outputs` are (name, place among the flow's outputs).

    `ends` makes the step's outcome of the flow's, its scope and the step's id, where a platform has its way.
    """

    plan: Plan
    inputs: Given | None
    outputs: tuple[tuple[str, Reference], ...]
    ends: Callable[[Outcome, Scope, str], Outcome] | None = None


class Given(Protocol):
    """What a flow step gives to its flow; a `Tree` in our own format."""

    def render(self, scope: Scope, where: str) -> Json:
        """Return the inputs by name; raises StepError."""

    def secret_keys(self, scope: Scope) -> frozenset[str]:
        """Return the names of those that are made from a secret."""


@dataclass(frozen=True, slots=True)
class ForeignWork:
    """What a node of another platform does: `program(plan, scope, terms, path, visit)`, made by its reader.

    `external` is given for a node that needs a scripted outcome, `env` are the env values that it uses;
    `leading` is the reference that the url of an HTTP node begins with.
    One that runs a flow of the bundle has `given` and `ends` instead of a program.
    """

    kind: StepKind
    program: Callable[..., Program] | None = None
    external: External | None = None
    env: tuple[str, ...] = ()
    leading: str = ""
    given: Given | None = None
    ends: Callable[[Outcome, Scope, str], Outcome] | None = None


# A tree is a set step: its variables; an object is one whose variables are constant.
Work: TypeAlias = HttpWork | ConditionWork | FlowWork | ForeignWork | External | Tree | dict[str, Json] | None


@dataclass(frozen=True, slots=True)
class Extras:
    """What few steps ask for; all others share `NONE`.

    `secret` are the outputs that are masked, `limit` the items of a forEach at once; `continues` tells
    that a failure is handled. `delay` is seconds.
    """

    for_each: Tree | None = None
    limit: int = 1
    condition_per_item: bool = False
    delay: float = 0.0
    secret: frozenset[str] = frozenset()
    continues: bool = False


NONE: Final = Extras()


@dataclass(slots=True)
class StepPlan:
    """A compiled step; it does not hold on to the document, and there may be 100 000 of them.

    `needs` are the positions of the steps whose outputs it must have.
    """

    index: int
    id: str
    label: str
    kind: StepKind
    work: Work = None
    condition: Condition | None = None
    needs: tuple[int, ...] = ()
    extras: Extras = NONE

    @property
    def where(self) -> str:
        """The step's place in the document."""
        return f"steps[{self.index}]"

    @property
    def is_polling(self) -> bool:
        """Whether the step is sent until a condition holds."""
        return isinstance(self.work, HttpWork) and self.work.until is not None

    @property
    def external(self) -> External | None:
        """What the step needs a scripted outcome for."""
        if isinstance(self.work, ForeignWork):
            return self.work.external
        return self.work if isinstance(self.work, External) else None

    @property
    def output_names(self) -> Collection[str] | None:
        """The names of the outputs that the step promises, None when only the run tells."""
        match self.work:
            case HttpWork(outputs=outputs):
                return outputs.keys()
            case ConditionWork():
                return ("result", "label")
            case FlowWork(outputs=outputs) if outputs:
                return tuple(name for name, _ in outputs)
            case FlowWork(plan):
                return tuple(step.id for step in plan.steps)
            case Tree(value=names) | dict(names):
                return tuple(names)
            case _:
                return () if self.kind == "delay" else None


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
    """A checked flow, without its steps as they are written. It may run when `errors` is empty."""

    flow: Flow
    steps: tuple[StepPlan, ...]
    graph: Graph
    needs: Needs
    problems: tuple[Problem, ...] = ()

    def with_inner(self) -> tuple[Plan, ...]:
        """Return this plan and those of the flows that it runs, each once."""
        found: dict[int, Plan] = {}
        todo = [self]
        while todo:
            plan = todo.pop(0)
            if id(plan) not in found:
                found[id(plan)] = plan
                todo += [step.work.plan for step in plan.steps if isinstance(step.work, FlowWork)]
        return tuple(found.values())

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that forbid a run."""
        return errors_of(self.problems)

    @property
    def secret_inputs(self) -> frozenset[str]:
        """The inputs that are masked everywhere."""
        return frozenset(one.name for one in self.flow.inputs or () if one.type == "password")
