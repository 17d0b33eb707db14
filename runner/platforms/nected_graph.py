"""A workflow of Nected as it is drawn: what of it can be used, and everything that is wrong with it.

The platform's own schema requires nothing at all, so the rules are those that its pages state (facts B4).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Final, NamedTuple

from runner.core.commands import Json
from runner.core.document import Document, join
from runner.core.text import close_match, kind_of
from runner.errors import Problem, Severity
from runner.platforms.dominators import spans_of
from runner.platforms.nected_tokens import NOT_NODES, Tokens, Unreadable, inside_of, spelled, texts_in
from runner.platforms.time_zones import TIME_ZONES

Data = dict[str, Json]

ENVELOPE: Final = frozenset({"code", "message", "data"})
KINDS: Final = {
    "trigger": "trigger",
    "apitrigger": "trigger",
    "code": "code",
    "rule": "rule",
    "connector": "connector",
    "workflow": "workflow",
    "response": "response",
    "setvariable": "set",
    "switch": "switch",
    "loop": "loop",
    "delay": "delay",
    "merge": "merge",
    "add": "placeholder",
}
FROM_FIELDS: Final = ("set", "response")  # kinds whose fields say all that they do
SERVER_ONLY: Final = (
    "id", "checksum", "version", "status", "staticUrl", "versionInfo", "createdAt", "updatedAt",
    "publishedAt", "testedAt", "isLive",
)  # fmt: skip
DATA_TYPES: Final = {
    "string": "string",
    "numeric": "number",
    "boolean": "boolean",
    "json": "json",
    "list": "array",
    "date": "date",
    "dateTime": "string",
}
NOT_RUN: Final = ("executedValue", "output")  # of a node: what came of its last test

_SUFFIX: Final = re.compile(r"(node|block|md)+$")
_TYPES: Final[Mapping[str, tuple[tuple[type, ...], str]]] = {
    "text": ((str,), "a text"),
    "number": ((int, float), "a number"),
    "whole": ((int,), "a whole number"),
    "truth": ((bool,), "true or false"),
    "object": ((dict,), "an object"),
    "list": ((list,), "a list"),
}
_WORKFLOW: Final = {
    "name": "text", "description": "text", "comment": "text", "startNode": "text", "checksum": "text",
    "isEnabled": "truth", "trigger": "object", "settings": "object", "dependencyMap": "list",
}  # fmt: skip
_SETTINGS: Final = {"auditIO": "truth", "dateFormat": "text", "timezone": "text"}
_NODE: Final = {
    "type": "text", "position": "object", "sourcePosition": "text", "targetPosition": "text",
    "draggable": "truth", "data": "object",
}  # fmt: skip
_POSITION: Final = {"x": "number", "y": "number"}
_DATA: Final = {
    "nodeType": "text", "name": "text", "entity": "text", "entityId": "text", "pluginName": "text",
    "status": "text", "rootId": "text", "isMergeNode": "truth", "blockName": "text", "input": "object",
    "settings": "object", "runInLoop": "object",
}  # fmt: skip
_LOOP: Final = {"status": "truth", "source": "text", "attribute": "text"}
_FIELD: Final = {
    "name": "text", "dataType": "text", "isCaseSensitive": "truth", "isNullable": "truth",
    "isOptional": "truth", "keyAttribute": "text", "keySource": "text", "mapping": "truth",
    "notSend": "truth", "order": "whole", "schemaId": "text", "sendNull": "truth", "source": "text",
    "attribute": "text",
}  # fmt: skip
_EDGE: Final = {
    "id": "text", "source": "text", "target": "text", "type": "text", "animated": "truth", "label": "text",
    "markerEnd": "text", "sourceHandle": "text", "style": "object", "data": "object",
}  # fmt: skip
_STYLE: Final = {"stroke": "text", "strokeWidth": "number"}
_EDGE_DATA: Final = {"edgeType": "text", "pathId": "text"}
_SIDES: Final = {"sourcePosition": ("bottom", "right"), "targetPosition": ("top", "left")}


class Node(NamedTuple):
    """A node: its place in the list, its id, its kind (``""``: of none that is known), its name, its data."""

    number: int
    id: str
    kind: str
    name: str
    data: Data

    @property
    def where(self) -> str:
        """The node's path in the document."""
        return f"nodes[{self.number}]"

    @property
    def fields(self) -> Data:
        """The declared fields of the node, in their order."""
        fields = _objects(self.data.get("input"))
        return dict(sorted(fields.items(), key=lambda one: _order(one[1])))


class Edge(NamedTuple):
    """An edge between two nodes: its place in the list, its ends, whether it is an `else`, its path."""

    number: int
    source: str
    target: str
    is_else: bool
    path: str


@dataclass(slots=True)
class Workflow:
    """What of a document can be used; `problems` is what is wrong with the rest.

    `nodes` are by id. `arcs` are the edges with the placeholders between nodes left out, `before` has the
    sources of those into a node. `spans` number the nodes that are reached: those that are reached over a
    node alone are numbered within its span.
    """

    nodes: dict[str, Node] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)
    arcs: list[Edge] = field(default_factory=list)
    trigger: Node | None = None
    start: str = ""
    problems: list[Problem] = field(default_factory=list)
    tokens: Tokens = field(default_factory=lambda: Tokens.of(()))
    by_name: dict[str, Node] = field(default_factory=dict)
    edge_ids: dict[str, int] = field(default_factory=dict)
    before: dict[str, list[str]] = field(default_factory=dict)
    spans: dict[str, tuple[int, int]] = field(default_factory=dict)

    def refuse(self, code: str, where: str, what: str, severity: Severity = "error") -> None:
        """Note what is wrong."""
        self.problems.append(Problem(code, where, what, severity))

    @property
    def executable(self) -> list[Node]:
        """The nodes that do something, in the order of the list."""
        return [node for node in self.nodes.values() if node.kind != "placeholder"]

    def leading_to(self, name: str) -> set[str]:
        """Return all nodes from which a node is reached."""
        return _reached([*self.before.get(name, ())], self.before)

    def is_unavoidable(self, source: str, name: str) -> bool:
        """Whether every way from the beginning to a node leads over another one."""
        first, last = self.spans.get(source, (0, -1))
        return first <= self.spans.get(name, (-1, -1))[0] <= last


def _reached(begin: list[str], following: Mapping[str, Iterable[str]]) -> set[str]:
    found, todo = set(begin), begin
    while todo:
        for one in following.get(todo.pop(), ()):
            if one not in found:
                found.add(one)
                todo.append(one)
    return found


def workflow_in(document: Document) -> tuple[Data, str]:
    """Return the workflow in a document and the path to it, empty when it is the document."""
    value: Data = document.value
    inner = value.get("data")
    if value.keys() <= ENVELOPE and isinstance(inner, dict):
        return inner, "data"
    return value, ""


def kind_of_node(node: Mapping[str, Json]) -> str:
    """Return what kind a node is of, by `data.nodeType` and else `type`; ``""`` when of none known."""
    data = _object(node.get("data"))
    for given in (data.get("nodeType"), node.get("type")):
        if isinstance(given, str) and (kind := KINDS.get(_SUFFIX.sub("", given.lower()))):
            return "merge" if kind == "placeholder" and data.get("isMergeNode") is True else kind
    return ""


def parse(value: Mapping[str, Json]) -> Workflow:
    """Read a workflow; everything that is wrong with it stands in its `problems`."""
    workflow = Workflow()
    _check_shapes(workflow, "", value, _WORKFLOW)
    _check_settings(workflow, _object(value.get("settings")))
    if not value.get("name"):
        workflow.refuse("nected.structure", "name", "a workflow needs a name")
    for index, node in _listed(workflow, value, "nodes"):
        _add_node(workflow, index, node)
    for index, edge in _listed(workflow, value, "edges"):
        _add_edge(workflow, index, edge)
    _name(workflow)
    _find_trigger(workflow, value)
    _find_start(workflow, value)
    workflow.arcs = list(_contracted(workflow))
    _check_graph(workflow)
    _check_tokens(workflow)
    return workflow


def _object(value: Json) -> Data:
    return value if isinstance(value, dict) else {}


def _objects(value: Json) -> Data:
    return {name: one for name, one in _object(value).items() if isinstance(one, dict)}


def _order(one: Mapping[str, Json]) -> int:
    order = one.get("order")
    return order if isinstance(order, int) else 0


# --- the parts


def _check_shapes(
    workflow: Workflow, path: str, value: Mapping[str, Json], shapes: Mapping[str, str]
) -> None:
    for name, shape in shapes.items():
        one, (types, told) = value.get(name), _TYPES[shape]
        if one is None or (isinstance(one, types) and (bool in types or not isinstance(one, bool))):
            continue
        what = f"must be {told}, not {kind_of(one)}"
        workflow.refuse("document.type", join(path, name), what)


def _check_settings(workflow: Workflow, settings: Data) -> None:
    _check_shapes(workflow, "settings", settings, _SETTINGS)
    zone = settings.get("timezone")
    if isinstance(zone, str) and zone and zone not in TIME_ZONES:
        hint = close_match(zone, TIME_ZONES) or "; such as 'Asia/Kolkata'"
        workflow.refuse("nected.structure", "settings.timezone", f"{zone!r} is no IANA time zone{hint}")


def _listed(workflow: Workflow, value: Mapping[str, Json], name: str) -> Iterator[tuple[int, Data]]:
    parts = value.get(name)
    if not isinstance(parts, list) or (name == "nodes" and not parts):
        found = "an empty list" if parts == [] else kind_of(parts)
        workflow.refuse("nected.structure", name, f"must be a list of {name}, not {found}")
        return
    for index, part in enumerate(parts):
        if isinstance(part, dict):
            yield index, part
        else:
            workflow.refuse("document.type", f"{name}[{index}]", f"must be an object, not {kind_of(part)}")


def _add_node(workflow: Workflow, index: int, node: Data) -> None:
    where, name = f"nodes[{index}]", node.get("id")
    data = _object(node.get("data"))
    _check_shapes(workflow, where, node, _NODE)
    _check_shapes(workflow, f"{where}.position", _object(node.get("position")), _POSITION)
    _check_shapes(workflow, f"{where}.data", data, _DATA)
    _check_shapes(workflow, f"{where}.data.runInLoop", _object(data.get("runInLoop")), _LOOP)
    for side, allowed in _SIDES.items():
        if isinstance(node.get(side), str) and node[side] not in allowed:
            what = f"must be one of {', '.join(map(repr, allowed))}, not {node[side]!r}"
            workflow.refuse("nected.structure", f"{where}.{side}", what)
    if not isinstance(name, str) or not name:
        workflow.refuse("nected.structure", f"{where}.id", "a node needs an id, a text")
        return
    if name in workflow.nodes:
        what = f"the id {name!r} is taken by {workflow.nodes[name].where}; ids must be unique"
        workflow.refuse("nected.structure", f"{where}.id", what)
        return
    called = data.get("name") if isinstance(data.get("name"), str) else ""
    found = Node(index, name, kind_of_node(node), called or "", data)
    workflow.nodes[name] = found
    _check_fields(workflow, found)


def _check_fields(workflow: Workflow, node: Node) -> None:
    for name, one in _object(node.data.get("input")).items():
        where = join(f"{node.where}.data.input", name)
        if not isinstance(one, dict):
            workflow.refuse("document.type", where, f"must be an object, not {kind_of(one)}")
            continue
        _check_shapes(workflow, where, one, _FIELD)
        kind = one.get("dataType")
        if isinstance(kind, str) and kind not in DATA_TYPES:
            hint = close_match(kind, DATA_TYPES) or f"; known are {', '.join(DATA_TYPES)}"
            workflow.refuse("nected.structure", f"{where}.dataType", f"no type {kind!r}{hint}", "warning")
        if node.kind != "trigger" and lacks_value(one):
            what = "has no value; give 'value', or 'source' and 'attribute', or set isOptional or sendNull"
            severity: Severity = "error" if node.kind in FROM_FIELDS else "warning"
            workflow.refuse("nected.structure", where, f"the field {name!r} {what}", severity)


def lacks_value(one: Mapping[str, Json]) -> bool:
    """Whether a field must have a value and has none."""
    flags = ("isOptional", "isNullable", "sendNull", "notSend")
    return one.get("value") is None and not one.get("source") and not any(map(one.get, flags))


def _add_edge(workflow: Workflow, index: int, edge: Data) -> None:
    where, data = f"edges[{index}]", _object(edge.get("data"))
    _check_shapes(workflow, where, edge, _EDGE)
    _check_shapes(workflow, f"{where}.style", _object(edge.get("style")), _STYLE)
    _check_shapes(workflow, f"{where}.data", data, _EDGE_DATA)
    name = edge.get("id")
    if isinstance(name, str) and name in workflow.edge_ids:
        what = f"the id {name!r} is taken by edges[{workflow.edge_ids[name]}]; ids must be unique"
        workflow.refuse("nected.structure", f"{where}.id", what)
    elif isinstance(name, str):
        workflow.edge_ids[name] = index
    sound = True
    for side in ("source", "target"):
        end = edge.get(side)
        if isinstance(end, str) and end in workflow.nodes:
            continue
        sound = False
        what = "is missing" if end is None else f"no node {end!r}{close_match(str(end), workflow.nodes)}"
        workflow.refuse("nected.structure", f"{where}.{side}", what)
    kind = data.get("edgeType")
    if kind not in ("then", "else"):
        what = (
            f"{kind!r} is neither 'then' nor 'else'; read as 'then'" if kind else "is missing; read as 'then'"
        )
        workflow.refuse("nected.structure", f"{where}.data.edgeType", what, "warning")
    if sound:
        path = data.get("pathId")
        found = Edge(
            index, edge["source"], edge["target"], kind == "else", path if isinstance(path, str) else ""
        )
        workflow.edges.append(found)


# --- names, the trigger, the beginning


def _name(workflow: Workflow) -> None:
    """Note which node a token means by a name; it can mean one only."""
    for node in workflow.executable:
        name = spelled(node.name)
        where = f"{node.where}.data.name"
        if not name or (node.kind == "trigger" and name in NOT_NODES):
            continue
        if name in NOT_NODES:
            what = f"the name {node.name!r} has another meaning in tokens; choose another"
            workflow.refuse("nected.structure", where, what)
        elif name in workflow.by_name:
            taken = workflow.by_name[name]
            what = (
                f"the name {node.name!r} is taken by {taken.where}; tokens name nodes, so it must be unique"
            )
            workflow.refuse("nected.structure", where, what)
        else:
            workflow.by_name[name] = node
    workflow.tokens = Tokens.of(workflow.by_name)


def _find_trigger(workflow: Workflow, value: Mapping[str, Json]) -> None:
    triggers = [node for node in workflow.nodes.values() if node.kind == "trigger"]
    if not triggers:
        workflow.refuse("nected.structure", "nodes", "there is no trigger: a node of the type 'trigger'")
    for node in triggers[1:]:
        what = f"there is a trigger already, {triggers[0].where}; a workflow has one"
        workflow.refuse("nected.structure", node.where, what)
    if triggers:
        workflow.trigger = node = triggers[0]
        if node.id != "1":
            workflow.refuse(
                "nected.structure", f"{node.where}.id", f"the trigger's id must be '1', not {node.id!r}"
            )
        if node.data.get("nodeType") != "apiTrigger":
            what = f"the trigger must be an 'apiTrigger', not {node.data.get('nodeType')!r}"
            workflow.refuse("nected.structure", f"{node.where}.data.nodeType", what)
    if not isinstance(trigger := value.get("trigger"), dict) or trigger.get("apiNode") != "1":
        workflow.refuse("nected.structure", "trigger.apiNode", "must be '1', the id of the trigger")


def _find_start(workflow: Workflow, value: Mapping[str, Json]) -> None:
    start = value.get("startNode")
    if not isinstance(start, str) or not start:
        workflow.refuse(
            "nected.structure", "startNode", "is missing; it is the id of the first node that runs"
        )
    elif start not in workflow.nodes:
        hint = close_match(start, workflow.nodes)
        workflow.refuse("nected.structure", "startNode", f"no node {start!r}{hint}")
    elif (kind := workflow.nodes[start].kind) in ("trigger", "placeholder"):
        what = f"the node {start!r} is a {kind}; give the first one that runs"
        workflow.refuse("nected.structure", "startNode", what)
    else:
        workflow.start = start


# --- the graph


def _contracted(workflow: Workflow) -> Iterator[Edge]:
    """Yield the edges between nodes that do something; a placeholder leads on to where its edges lead."""
    leaving: dict[str, list[Edge]] = {}
    for edge in workflow.edges:
        leaving.setdefault(edge.source, []).append(edge)
    for edge in workflow.edges:
        if workflow.nodes[edge.source].kind == "placeholder":
            continue
        todo, seen = [edge.target], {edge.target}
        while todo:
            name = todo.pop()
            if workflow.nodes[name].kind != "placeholder":
                yield edge._replace(target=name)
                continue
            further = [one.target for one in leaving.get(name, ()) if one.target not in seen]
            seen.update(further)
            todo += further


def _check_graph(workflow: Workflow) -> None:
    first = [arc.target for arc in workflow.arcs if workflow.trigger and arc.source == workflow.trigger.id]
    if workflow.start and first and workflow.start not in first:
        what = f"the trigger leads to {', '.join(map(repr, first))} and not to this node"
        workflow.refuse("nected.structure", "startNode", what)
    if workflow.start and workflow.trigger and not first:
        workflow.arcs.insert(0, Edge(-1, workflow.trigger.id, workflow.start, is_else=False, path=""))
    for arc in workflow.arcs:
        if workflow.nodes[arc.target].kind == "trigger":
            workflow.refuse(
                "nected.structure", f"edges[{arc.number}].target", "nothing can lead to the trigger"
            )
    for arc in workflow.arcs:
        workflow.before.setdefault(arc.target, []).append(arc.source)
    if not workflow.start or workflow.trigger is None:
        return
    workflow.spans = spans_of(workflow.before, workflow.trigger.id)
    for node in workflow.executable:
        if node.id not in workflow.spans:
            workflow.refuse(
                "nected.structure", node.where, f"no edge leads to the node {node.id!r}; add one or remove it"
            )
    _refuse_cycles(workflow)


def _refuse_cycles(workflow: Workflow) -> None:
    """Report nodes that wait for each other; a loop of the platform may lead back to itself."""
    waiting = dict.fromkeys((node.id for node in workflow.executable), 0)
    after: dict[str, list[str]] = {}
    for arc in workflow.arcs:
        if not is_loop(workflow.nodes[arc.target]):
            waiting[arc.target] += 1
            after.setdefault(arc.source, []).append(arc.target)
    ready = [name for name, count in waiting.items() if not count]
    while ready:
        name = ready.pop()
        del waiting[name]
        for target in after.get(name, ()):
            waiting[target] -= 1
            if not waiting[target]:
                ready.append(target)
    if waiting:
        before = {arc.target: arc.source for arc in workflow.arcs if arc.source in waiting}
        name, seen = next(iter(waiting)), dict[str, None]()
        while name not in seen:
            seen[name] = None
            name = before[name]
        walked = list(seen)
        cycle = walked[walked.index(name) :][::-1]
        what = f"the nodes {' -> '.join([*cycle, cycle[0]])} wait for each other; only a loop may lead back"
        workflow.refuse("graph.cycle", workflow.nodes[cycle[0]].where, what)


def is_loop(node: Node) -> bool:
    """Whether a node may be come back to."""
    return node.kind == "loop" or _object(node.data.get("runInLoop")).get("status") is True


# --- the tokens


def token_of(workflow: Workflow, one: Mapping[str, Json]) -> str:
    """Return the token for where a field is taken from, an empty text when it is not."""
    source, attribute = one.get("source"), one.get("attribute")
    if not isinstance(source, str) or not source:
        return ""
    node = workflow.nodes.get(source)
    name = spelled(source) if node is None else "Trigger" if node.kind == "trigger" else spelled(node.name)
    return f"{{{{.{name}{f'.{attribute}' if isinstance(attribute, str) and attribute else ''}}}}}"


def _check_tokens(workflow: Workflow) -> None:
    """Report tokens that lead nowhere, or to a node that does not run before."""
    for node in workflow.executable:
        before: set[str] | None = None
        for where, inside in _tokens(workflow, node):
            token = workflow.tokens.read(inside)
            if isinstance(token, Unreadable):
                workflow.refuse("nected.bad_reference", where, token.what)
            elif source := workflow.by_name.get(token.name):
                if source.id != node.id and workflow.is_unavoidable(source.id, node.id):
                    continue
                before = workflow.leading_to(node.id) if before is None else before
                if source.id not in before:
                    what = f"{{{{{inside}}}}}: the node {source.name!r} does not run before this one"
                    workflow.refuse("nected.bad_reference", where, what)


def _tokens(workflow: Workflow, node: Node) -> Iterator[tuple[str, str]]:
    """Yield every token of a node with its place, those that a field is taken from too."""
    read = {name: one for name, one in node.data.items() if name not in NOT_RUN}
    for path, text in texts_in(read):
        for inside in inside_of(text):
            yield reduce(join, path, f"{node.where}.data"), inside
    loop = _object(node.data.get("runInLoop"))
    taken = {join(f"{node.where}.data.input", name): one for name, one in node.fields.items()}
    if loop.get("status") is True:
        taken[f"{node.where}.data.runInLoop"] = loop
    for where, one in taken.items():
        if one.get("value") is None and node.kind != "trigger":
            yield from ((where, inside) for inside in inside_of(token_of(workflow, one)))
