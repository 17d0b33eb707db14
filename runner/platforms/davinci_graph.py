"""The five shapes in which DaVinci's flows are seen, and the graph in each: nodes, gates, what is wrong.

One flow as the console exports it, several (`flows`), an older API's (`flowInfo`), nodes on the clipboard
(`clonedNodes`), and the admin API's. In all of them a graph has nodes and evaluators (gates) in turns
(facts A2, A3).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from runner.core.commands import Json
from runner.core.text import close_match, kind_of
from runner.errors import Problem
from runner.platforms.davinci_forms import is_admin, is_export
from runner.platforms.davinci_values import decode, unwrapped

Data = dict[str, Json]
Shape = Literal["export", "bundle", "legacy", "nodes", "admin"]

NOTES: Final = ("ANNOTATION",)
GATE: Final = "EVAL"
NODES: Final = ("CONNECTION", "START")
START_NODE: Final = "nodeConnector/startNode"


class Part(NamedTuple):
    """One flow of a document, and its path there (empty, or ending with a dot)."""

    flow: Data
    path: str
    elements: str = "graphData.elements"


def shape_of(value: Mapping[str, Json]) -> Shape | None:
    """Return which of the shapes an object has, None for none of them."""
    if "flow_data" in value or "steps" in value:
        return None
    if isinstance(value.get("clonedNodes"), list):
        return "nodes"
    if isinstance(value.get("flowInfo"), dict):
        return "legacy"
    if isinstance(value.get("flows"), list):
        return "bundle"
    if is_export(value):
        return "export"
    return "admin" if is_admin(value) else None


def parts_of(value: Mapping[str, Json]) -> list[Part]:
    """Return the flows of a document, the one that none of the others runs first."""
    match shape_of(value):
        case "nodes":
            elements = {"nodes": value.get("clonedNodes"), "edges": value.get("clonedEdges")}
            return [Part({"graphData": {"elements": elements}}, "", "")]
        case "legacy":
            return [Part(value["flowInfo"], "flowInfo.")]
        case "bundle":
            found = [
                Part(flow, f"flows[{index}].")
                for index, flow in enumerate(value["flows"])
                if isinstance(flow, dict)
            ]
            called = {target for part in found for target in _called(part.flow)}
            first = next((part for part in found if flow_id(part.flow) not in called), None)
            return found if first is None else [first, *(part for part in found if part is not first)]
        case _:
            return [Part(dict(value), "")]


def flow_id(flow: Mapping[str, Json]) -> str:
    """Return the id of a flow in either form."""
    found = flow.get("flowId", flow.get("id"))
    return found if isinstance(found, str) else ""


def subflow_of(node: Node) -> tuple[str, str]:
    """Return id and label of the flow that a node runs."""
    target = unwrapped(node.properties.get("subFlowId"))
    if isinstance(target, dict):
        found, label = target.get("value"), target.get("label")
        return (found if isinstance(found, str) else ""), (label if isinstance(label, str) else "")
    return (target if isinstance(target, str) else ""), ""


def _called(flow: Mapping[str, Json]) -> Iterator[str]:
    graph = Graph(Part(dict(flow), ""))
    yield from (subflow_of(node)[0] for node in graph.nodes.values() if node.connector == "flowConnector")


@dataclass(frozen=True, slots=True)
class Node:
    """A node: its `data`, and where that stands in the document."""

    data: Data
    where: str

    @property
    def id(self) -> str:
        """The id that references use."""
        return str(self.data["id"])

    @property
    def connector(self) -> str:
        """What the node connects to, such as ``httpConnector``."""
        return _text(self.data.get("connectorId"))

    @property
    def type(self) -> str:
        """Connector and capability, such as ``httpConnector/makeRestApiCall``."""
        return f"{self.connector}/{_text(self.data.get('capabilityName'))}"

    @property
    def properties(self) -> Data:
        """The settings of the node, by name."""
        held = self.data.get("properties")
        return held if isinstance(held, dict) else {}

    @property
    def title(self) -> str:
        """What people call the node."""
        given = decode(_text(unwrapped(self.properties.get("nodeTitle")))).template.source
        return given.strip() or _text(self.data.get("name")) or self.id

    @property
    def is_disabled(self) -> bool:
        """Whether the node is switched off."""
        return self.data.get("isDisabled") is True


@dataclass(frozen=True, slots=True)
class Gate:
    """An evaluator: what leads to it (node, branch of it or an empty text), and to which nodes it leads."""

    id: str
    where: str
    operators: Data
    sources: dict[tuple[str, str], None] = field(default_factory=dict)
    targets: dict[str, None] = field(default_factory=dict)


class Graph:
    """The graph of one flow; `problems` are those of its shape, with their places in the document."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.nodes: dict[str, Node] = {}
        self.gates: dict[str, Gate] = {}
        self.problems: list[Problem] = []
        self._known: dict[str, str] = {}
        elements = self._elements()
        for where, data in self._data(elements, "nodes" if part.elements else "clonedNodes"):
            self._add(where, data)
        for where, data in self._data(elements, "edges" if part.elements else "clonedEdges"):
            self._connect(where, data)
        self._check_gates()

    def problem(self, code: str, where: str, what: str) -> None:
        """Note what is wrong."""
        self.problems.append(Problem(code, where, what))

    def _place(self, rest: str) -> str:
        return ".".join(filter(None, (f"{self.part.path}{self.part.elements}".rstrip("."), rest)))

    def _elements(self) -> Data:
        graph = self.part.flow.get("graphData")
        if isinstance(graph, dict):
            elements = graph.get("elements")
            if isinstance(elements, dict):
                return elements
        self.problem(
            "davinci.graph", f"{self.part.path}graphData", "there is no graph: no 'elements' with 'nodes'"
        )
        return {}

    def _data(self, elements: Data, name: str) -> Iterator[tuple[str, Data]]:
        listed = elements.get(name.replace("cloned", "").lower())
        if listed is not None and not isinstance(listed, list):
            self.problem("davinci.graph", self._place(name), f"must be a list, not {kind_of(listed)}")
        for index, one in enumerate(listed if isinstance(listed, list) else ()):
            where = self._place(f"{name}[{index}].data")
            data = one.get("data") if isinstance(one, dict) else None
            if not isinstance(data, dict):
                self.problem("davinci.graph", where, "must be an object with 'id'")
                continue
            yield where, data

    def _add(self, where: str, data: Data) -> None:
        name, kind = data.get("id"), data.get("nodeType")
        if not isinstance(name, str) or not name:
            self.problem("davinci.graph", where, "the node has no id")
        elif name in self._known:
            self.problem("davinci.graph", where, f"the id {name!r} is taken by {self._known[name]}")
        elif kind in NOTES:
            self._known[name] = where
        elif kind == GATE:
            self._known[name] = where
            held = data.get("properties")
            self.gates[name] = Gate(name, where, held if isinstance(held, dict) else {})
        elif kind in NODES:
            self._known[name] = where
            self.nodes[name] = Node(data, where)
        else:
            known = ", ".join((*NODES, GATE, *NOTES))
            self.problem("davinci.graph", where, f"node {name!r} is of the type {kind!r}; known are {known}")

    def _connect(self, where: str, data: Data) -> None:
        name = _text(data.get("id")) or "without id"
        ends = [_text(data.get(side)) for side in ("source", "target")]
        missing = [end for end in ends if end not in self._known]
        for end in missing:
            hint = close_match(end, self._known)
            self.problem("davinci.graph", where, f"edge {name}: there is no node {end!r}{hint}")
        if missing:
            return
        source, target = ends
        branch = data.get("multiValueSourceId")
        if source in self.nodes and target in self.gates:
            self.gates[target].sources[source, branch if isinstance(branch, str) else ""] = None
        elif source in self.gates and target in self.nodes:
            self.gates[source].targets[target] = None
        else:
            what = (
                f"edge {name} from {source!r} to {target!r}: an edge goes from a node to an evaluator or back"
            )
            self.problem("davinci.graph", where, what)

    def _check_gates(self) -> None:
        for gate in self.gates.values():
            if not gate.targets or not gate.sources:
                side = "to" if not gate.targets else "from"
                what = f"evaluator {gate.id!r} has no edge {side} a node, so it does nothing"
                self.problems.append(Problem("davinci.graph", gate.where, what, "warning"))

    def entry(self, jumped: Collection[str]) -> str | None:
        """Return the node that a run begins with; none or several is a problem.

        `jumped` are the start nodes that jumps lead to; one that none does may begin a block of nodes.
        """
        entered = {target for gate in self.gates.values() for target in gate.targets}
        roots = [
            node.id for node in self.nodes.values() if node.id not in entered and node.type != START_NODE
        ]
        marked = [name for name in roots if self.nodes[name].data.get("nodeType") == "START"]
        spare = [node.id for node in self.nodes.values() if node.type == START_NODE and node.id not in jumped]
        found = marked or roots or spare
        if len(found) == 1:
            return found[0]
        where = self._place("nodes" if self.part.elements else "clonedNodes")
        if not found:
            self.problem(
                "davinci.graph", where, "no node begins the flow: each is led to, or is the start of a jump"
            )
        else:
            several = ", ".join(map(repr, found[:10]))
            self.problem(
                "davinci.graph", where, f"several nodes begin the flow: {several}; connect all but one"
            )
        return None


def _text(value: Json) -> str:
    return value if isinstance(value, str) else ""
