"""What progress asks of the engine, and what the parts of a running flow know of each other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias
from urllib.parse import quote

from runner.core.commands import Outcome, Program
from runner.core.compiled import StepPlan
from runner.core.scope import Scope

PLAIN = re.compile(r"[A-Za-z0-9_.~$-]+")


@dataclass(slots=True)
class Spot:
    """One place of a run that has a span: `path` is unique, `parent` the path around it ('' = the run).

    `order` sorts places as the document lists them, a container before what is in it.
    """

    path: str
    parent: str
    type: str
    id: str
    name: str
    index: int | None = None
    poll: int | None = None
    visit: int = 1
    order: tuple[int, ...] = ()


@dataclass(slots=True)
class Open:
    """A container starts; `timeout` seconds from now it is to be expired."""

    spot: Spot
    timeout: float | None = None


@dataclass(slots=True)
class Start:
    """A leaf starts, `after` seconds from now and not before `spacing` seconds after the last start."""

    spot: Spot
    program: Program
    after: float = 0.0
    spacing: float = 0.0


@dataclass(slots=True)
class Close:
    """Something has ended. It may never have been opened: a skipped step, a failure before its start."""

    spot: Spot
    outcome: Outcome


@dataclass(slots=True)
class Finish:
    """The run has ended; `outcome.outputs` are the outputs of each step by its id."""

    outcome: Outcome


Action: TypeAlias = Open | Start | Close | Finish
Interruption: TypeAlias = Literal["cancelled", "timed_out"]


class Container(Protocol):
    """What a child reports to."""

    @property
    def stopped(self) -> str:
        """Why nothing new may start here, empty while it may."""

    def child_done(self, key: int, spot: Spot, outcome: Outcome) -> None:
        """Take note that the child under `key` has ended."""

    def launch(self, key: int) -> None:
        """Start the child under `key`, which has its slots."""

    def withdraw_child(self, key: int) -> None:
        """Take back the child under `key`, which waits for its slots while nothing new may start."""


@dataclass(slots=True)
class Slots:
    """How many leaves of a flow run at once; a leaf takes one of each flow around it."""

    limit: int
    parent: Slots | None = None
    used: int = 0

    def chain(self) -> Iterator[Slots]:
        """Yield these slots and those around them."""
        slots: Slots | None = self
        while slots is not None:
            yield slots
            slots = slots.parent

    def take(self) -> bool:
        """Take one slot of each, all or none."""
        if any(slots.used >= slots.limit for slots in self.chain()):
            return False
        for slots in self.chain():
            slots.used += 1
        return True

    def give_back(self) -> None:
        """Return one slot of each."""
        for slots in self.chain():
            slots.used -= 1


class Flowing(Protocol):
    """The flow around a loop, as the loop sees it."""

    @property
    def halted(self) -> bool:
        """Whether what runs is to end."""

    @property
    def stopped(self) -> str:
        """Why nothing new may start, while what runs may go on; empty without a failure."""

    def act(self, action: Action) -> None:
        """Hand an action to the engine."""

    def end(self, owner: Container, key: int, spot: Spot, outcome: Outcome) -> None:
        """Report to `owner`, after the current call, that its child under `key` has ended."""

    def queue(self, owner: Container, key: int) -> None:
        """Call `owner.launch(key)` as soon as there is a slot."""

    def start_leaf(
        self, owner: Container, key: int, spot: Spot, plan: StepPlan, scope: Scope, *, after: float = 0
    ) -> None:
        """Start a leaf that has its slot."""

    def begin_flow(self, owner: Container, key: int, spot: Spot, plan: StepPlan, scope: Scope) -> None:
        """Start the flow of a flow step."""

    def interrupted_outcome(self) -> Outcome:
        """Return the outcome of something that was not let go on."""


def step_path(prefix: str, step_id: str, visit: int = 1) -> str:
    """Return the path of a step inside a container (SEMANTICS, Journal)."""
    segment = step_id if PLAIN.fullmatch(step_id) else quote(step_id, safe="$")
    if visit > 1:
        segment = f"{segment}#{visit}"
    return f"{prefix}/{segment}" if prefix else segment
