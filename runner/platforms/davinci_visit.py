"""One visit of a DaVinci node: what its program is given, and the payload that it leaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from runner.core.commands import Json, Outcome
from runner.core.compiled import StepPlan
from runner.core.model import UNSET
from runner.core.request import RunTerms
from runner.core.scope import Scope
from runner.platforms.davinci_forms import Variable
from runner.platforms.davinci_graph import Node
from runner.platforms.davinci_values import LOCAL, Values, unwrapped


@dataclass(frozen=True, slots=True)
class About:
    """What the nodes of one flow share.

    `calls` are the jumps that are returned to, and from which nodes; `starts` the start node of each jump.
    """

    variables: Mapping[str, Variable]
    known: Mapping[str, Json]
    calls: Mapping[str, list[str]]
    starts: Mapping[str, str]
    timeout: float
    keeps_braces: bool = False

    def values(self, scope: Scope) -> Values:
        """Return what renders properties in the scope of a step."""
        return Values(scope, self.variables, self.known, kept=self.keeps_braces)


@dataclass(slots=True)
class Visit:
    """One visit of a node."""

    node: Node
    about: About
    plan: StepPlan
    scope: Scope
    terms: RunTerms
    path: str
    values: Values

    def of(self, name: str) -> Json:
        """Return a property, rendered."""
        return self.values.of(self.node.properties.get(name))

    def text(self, name: str) -> str:
        """Return a property as text."""
        return self.values.text(self.node.properties.get(name))

    def rows(self, name: str) -> list[Mapping[str, Json]]:
        """Return the objects of a property that is a list, not rendered yet."""
        listed = unwrapped(self.node.properties.get(name))
        return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []


def with_payload(
    name: str, outcome: Outcome, output: Json = UNSET, error: Mapping[str, Json] | None = None
) -> Outcome:
    """Return an outcome that leaves the payload of a node: `output` (the outputs), success, error."""
    if f"{LOCAL}{name}" in outcome.left:
        return outcome
    payload: dict[str, Json] = {
        "output": dict(outcome.outputs) if output is UNSET else output,
        "success": outcome.status == "succeeded",
    }
    if outcome.failure is not None:
        payload["error"] = {"message": outcome.failure.message, "code": outcome.failure.code, **(error or {})}
    return replace(outcome, left={**outcome.left, f"{LOCAL}{name}": payload})
