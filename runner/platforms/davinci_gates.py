"""Which node follows which, and when: DaVinci's evaluators, jumps and calls as edges of ours (facts A3).

A gate asks for each node behind it whether all or any of the nodes before it have succeeded, failed or
ended. A jump to a start node is an edge; one with edges of its own is a call: what stands behind those
follows each return that the jump can lead to, and only the return to that call.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from runner.core.commands import Json
from runner.core.model import Edge, Join
from runner.platforms.davinci_graph import START_NODE, Gate, Graph, Node
from runner.platforms.davinci_values import decode, unwrapped

JUMP: Final = "nodeConnector/goToNode"
RETURN: Final = "nodeConnector/returnBackToCallingNode"
SWITCH: Final = "functionsConnector/AEqualsMultipleB"
OTHERWISE: Final = "-1"


class Rule(NamedTuple):
    """Whether all or any of the nodes before a gate must have ended so: well, badly, or in any way."""

    join: Join
    ended: str


RULES: Final[Mapping[Json, Rule]] = {
    None: Rule("all", "true"),
    "allTriggersTrue": Rule("all", "true"),
    "anyTriggersTrue": Rule("any", "true"),
    "allTriggersFalse": Rule("all", "false"),
    "anyTriggersFalse": Rule("any", "false"),
    "always": Rule("any", "done"),
    "allTriggersComplete": Rule("all", "done"),
}
WHENS: Final = {"true": "success", "false": "failure", "done": "done"}


def target_of(jump: Node) -> str:
    """Return the id of the node that a jump leads to."""
    found = unwrapped(jump.properties.get("nodeInstanceId"))
    if not isinstance(found, str):
        return ""
    template = decode(found).template
    return "".join(template.source if template.constant else "").strip()


def is_comparison(node: Node) -> bool:
    """Whether a node compares; false is no failure of it."""
    name = node.type.partition("/")[2]
    return node.connector == "functionsConnector" and name in COMPARISONS


COMPARISONS: Final = frozenset(
    {
        "AEqualsB", "ANotEqualsB", "AIsEmpty", "ALessThanB", "ALessThanEqualToB", "AGreaterThanB",
        "AGreaterThanEqualToB", "stringAContainsB", "arrayOfAIncludesB", "AEqualsMultipleB",
    }
)  # fmt: skip


def choices(node: Node) -> list[tuple[str, Json]]:
    """Return the branches of a switch: id and value of each that it lists."""
    listed = unwrapped(node.properties.get("rightValueMultiple"))
    rows = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    return [(str(one["id"]), one.get("value")) for one in rows if isinstance(one.get("id"), str | int)]


class Wires:
    """Makes the edges of one graph. `calls` are the jumps that are returned to, and from where."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.jumps = self._jumps()
        self.behind: dict[str, list[Gate]] = {}
        for gate in graph.gates.values():
            for source in dict.fromkeys(name for name, _ in gate.sources):
                self.behind.setdefault(source, []).append(gate)
        called = {jump: start for jump, start in self.jumps.items() if jump in self.behind}
        returns = {start: self._returns(start) for start in dict.fromkeys(called.values())}
        self.calls = {jump: returns[start] for jump, start in called.items()}

    def _jumps(self) -> dict[str, str]:
        """Return the start node of each jump that leads to one."""
        nodes = self.graph.nodes
        jumps = [(node.id, nodes.get(target_of(node))) for node in nodes.values() if node.type == JUMP]
        return {name: to.id for name, to in jumps if to is not None and to.type == START_NODE}

    def _returns(self, start: str) -> list[str]:
        """Return the nodes that return from what begins at a start node."""
        seen = self.reached(start)
        return [name for name in seen if self.graph.nodes[name].type == RETURN]

    def reached(self, start: str) -> dict[str, None]:
        """Return every node that can follow a node, itself included; what it calls too."""
        seen: dict[str, None] = {}
        passed: set[str] = set()
        todo = [start]
        while todo:
            name = todo.pop()
            if name in seen:
                continue
            seen[name] = None
            gates = [gate for gate in self.behind.get(name, ()) if gate.id not in passed]
            passed.update(gate.id for gate in gates)
            todo += [target for gate in gates for target in gate.targets]
            todo += [self.jumps[name]] if name in self.jumps else []
        return seen

    def edges(self) -> Iterator[Edge]:
        """Yield the edges between nodes."""
        for jump, start in self.jumps.items():
            yield Edge(source=jump, target=start)
        for gate in self.graph.gates.values():
            for target in gate.targets:
                yield from self._into(gate, target)

    def _into(self, gate: Gate, target: str) -> Iterator[Edge]:
        held = gate.operators.get(target)
        operator = held.get("value") if isinstance(held, dict) else held
        rule = RULES.get(operator) if isinstance(operator, str | None) else None
        if rule is None:
            what = (
                f"evaluator {gate.id!r} asks for {operator!r} before {target!r}; what that means is not known"
            )
            self.graph.problem("davinci.unknown_eval", gate.where, what)
            return
        found = [
            (source, when)
            for name, branch in gate.sources
            for source, when in self._whens(self.graph.nodes[name], branch, rule.ended)
        ]
        is_joint = len({name for name, _ in gate.sources}) > 1
        for source, when in dict.fromkeys(found):
            joined = {"join": rule.join, "gate": gate.id} if is_joint else {}
            yield Edge(source=source, target=target, when=when, **joined)  # type: ignore[arg-type]

    def _whens(self, node: Node, branch: str, ended: str) -> Iterator[tuple[str, str]]:
        """Yield from where, and when, an edge is taken that stands for the end of a node."""
        if node.id in self.calls:
            yield from ((name, f"case:{node.id}") for name in self.calls[node.id])
        elif node.connector == "nodeConnector":
            yield node.id, "done"
        elif node.type == SWITCH and branch:
            yield node.id, f"case:{branch}"
        elif node.type == SWITCH and ended != "done":
            listed = [name for name, _ in choices(node)] if ended == "true" else [OTHERWISE]
            yield from ((node.id, f"case:{name}") for name in listed)
        elif is_comparison(node):
            yield node.id, ended
        else:
            yield node.id, WHENS[ended]
