"""React Flow data, in which GASSAPI draws a flow, and Steps data: each from the other, nothing lost.

A node is a step and holds its keys in `data`. Plain edges that only repeat the order of the list (or,
with `parallel`, the references) are drawn and not listed; all others stand in `edges` of the Steps.
What one form cannot say is carried by the other: `settings` of a drawing has what `flow_data` holds
besides steps and edges, `order` its order when the edges do not tell it, `ui_data` of a Steps document
the drawing that it came from. What a node or an edge would not give back as it was is kept in it whole.
"""

from __future__ import annotations

import heapq
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Final

from runner.core.commands import Json
from runner.core.scope import RESERVED
from runner.core.text import close_match, kind_of
from runner.errors import FlowError, Problem

Data = dict[str, Json]

TYPES: Final = {"http": "apiCall", "condition": "condition", "delay": "delay", "set": "set", "flow": "flow"}
OLD_TYPES: Final = ("http_request", "variable_set")
BRANCHES: Final = ("true", "false")
OLD_EDGES: Final = {"success": "success", "error": "failure", "always": "done"}  # types of edges once
NOT_OURS: Final = frozenset({"startNode", "trigger", "elements", "graphData"})  # graphs of other platforms
NO_STEPS: Final = "there is no list of steps, so there is nothing to draw"
PLAIN: Final = "next"

_COLUMN, _ROW, _TOP = 250, 150, 100
_REFERENCE: Final = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_ROOT: Final = re.compile(r"(?<![\w$.'\"-])([A-Za-z0-9_][\w$-]*)(?=[.\[])")
_ODD: Final = re.compile(r"\W+", re.ASCII)


def is_drawing(data: Json) -> bool:
    """Whether a value has the shape of a React Flow document."""
    return (
        isinstance(data, Mapping)
        and data.get("nodes") is not None
        and data.get("edges") is not None
        and "steps" not in data
        and not NOT_OURS & data.keys()
    )


# --- nodes and steps


def kind_of_step(step: Mapping[str, Json]) -> str:
    """Return what a step does, by the keys that it has; the same rule as `Step.kind`."""
    has = {name for name, value in step.items() if value is not None}
    if "flow" in has:
        return "flow"
    if has & {"url", "method", "endpointId", "endpoint"}:
        return "http"
    if "set" in has:
        return "set"
    if has & {"delay", "duration"}:
        return "delay"
    return "condition" if "condition" in has else "http"


def step_of(node: Mapping[str, Json]) -> Data:
    """Return the step that a node stands for."""
    data = _data(node)
    if data.keys() == {"step"} and isinstance(data["step"], dict):
        return {"id": node["id"], **data["step"]}
    fields = {name: value for name, value in data.items() if name != "id"}
    match node.get("type"):
        case "delay":
            fields = _swapped(fields)
        case "http_request" if isinstance(fields.get("headers"), str):
            fields["headers"] = object_in(fields["headers"])
        case "variable_set" if isinstance(fields.get("variable"), str) and "set" not in fields:
            fields["set"] = {fields.pop("variable"): fields.pop("value", None)}
    return {"id": node["id"], **fields}


def node_of(step: Mapping[str, Json], old: Mapping[str, Json] | None = None) -> Data:
    """Return the node that stands for a step; what `old`, the node that it had, says besides is kept."""
    kind = kind_of_step(step)
    node: Data = {"id": step["id"], "type": TYPES[kind], "position": {}, "data": {}}
    if old is not None:
        node = {**old, "type": old.get("type")}
        if kind_of_step(step_of(old)) != kind:
            node["type"] = TYPES[kind]
    fields = {name: value for name, value in step.items() if name != "id"}
    node["data"] = _swapped(fields) if node["type"] == "delay" else fields
    if step_of(node) != step:
        node["data"] = {"step": fields}
    return node


def _swapped(fields: Data) -> Data:
    """Exchange `delay` and `duration`, which is what a delay node calls it."""
    names = {"delay": "duration", "duration": "delay"}
    return {names.get(name, name): value for name, value in fields.items()}


def object_in(text: str) -> Json:
    """Return the object that a text holds, or the text."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, dict) else text


# --- edges and links


def link_of(edge: Mapping[str, Json], source: Mapping[str, Json]) -> Data:
    """Return an edge as Steps list it; `when` of a plain one is `next`."""
    data = _data(edge)
    ends = {"from": edge["source"], "to": edge["target"]}
    if isinstance(data.get("edge"), dict):
        return {**data["edge"], **ends}
    join = {"join": data["join"]} if "join" in data else {}
    return {**ends, "when": data["when"] if "when" in data else _mark(edge, source), **join}


def expression_of(edge: Mapping[str, Json]) -> str:
    """Return the condition that an edge carries instead of `true` or `false`, or an empty text."""
    data = _data(edge)
    condition = data.get("condition")
    if not isinstance(condition, str) or {"when", "edge"} & data.keys():
        return ""
    return "" if condition.strip().lower() in BRANCHES else condition.strip()


def _mark(edge: Mapping[str, Json], source: Mapping[str, Json]) -> str:
    """Return what an edge says about when it is taken, in any of the ways that are seen."""
    said = str(_data(edge).get("condition")).strip().lower()
    if said in BRANCHES:
        return said
    if kind_of_step(step_of(source)) == "condition":
        names: dict[str, str] = {branch: branch for branch in BRANCHES}
        names |= {_text(_data(source).get(f"{branch}Label")): branch for branch in BRANCHES}
        for one in map(_text, (edge.get("sourceHandle"), edge.get("label"))):
            if one and (found := names.get(one, names.get(one.lower()))):
                return found
    kind = _text(edge.get("type"))
    return kind if kind in BRANCHES else OLD_EDGES.get(kind, PLAIN)


def _text(value: Json) -> str:
    return value.strip() if isinstance(value, str) else ""


def _data(part: Mapping[str, Json]) -> Data:
    held = part.get("data")
    return held if isinstance(held, dict) else {}


def edge_of(link: Mapping[str, Json], source: Mapping[str, Json], edge: Data) -> Data:
    """Return the drawing of an edge that Steps list; `edge` is its id, its ends and its type."""
    rest = {name: value for name, value in link.items() if name not in ("from", "to")}
    when = link.get("when")
    drawn = {**edge, "data": rest}
    if when in BRANCHES:
        label = _text(_data(source).get(f"{when}Label"))
        drawn = {**edge, **({"label": label} if label else {})}
        drawn["data"] = {"condition": when, **{name: rest[name] for name in rest if name != "when"}}
    if when == PLAIN or link_of(drawn, source) != link:
        drawn["data"] = {"edge": rest}
    return drawn


def is_plain(edge: Mapping[str, Json], source: Mapping[str, Json]) -> bool:
    """Whether an edge only says what comes after what."""
    written = {"when", "edge", "join"} & _data(edge).keys()
    return not written and not expression_of(edge) and _mark(edge, source) == PLAIN


def implied(
    steps: Sequence[Mapping[str, Json]], links: Iterable[Mapping[str, Json]], config: Json
) -> list[tuple[str, str]]:
    """Return the connections that need no listing: list order or, with `parallel`, what refers to what."""
    listed = {link["to"] for link in links}
    left = [step["id"] for step in steps if step["id"] not in listed]
    if not (isinstance(config, Mapping) and config.get("parallel") is True):
        return list(pairwise(left))
    roots = {step["id"]: _roots(step) for step in steps}
    return [(root, name) for name in left for root in roots[name] if root in roots and root != name]


def _roots(step: Mapping[str, Json]) -> dict[str, None]:
    """Return the first names of all references of a step, and its `dependsOn`."""
    needs = step.get("dependsOn")
    found = dict.fromkeys([needs] if isinstance(needs, str) else needs if isinstance(needs, list) else ())
    for inside in _REFERENCE.findall(json.dumps(step, ensure_ascii=False)):
        found |= dict.fromkeys(_ROOT.findall(inside))
    return {name: None for name in found if isinstance(name, str)}


# --- a drawing as it is read


@dataclass(slots=True)
class Drawing:
    """What of a React Flow document can be used, with its place there, and what is wrong with the rest.

    `nodes` are by id, `order` is the order in which they run.
    """

    nodes: dict[str, tuple[int, Data]] = field(default_factory=dict)
    edges: list[tuple[int, Data]] = field(default_factory=list)
    order: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def refuse(self, code: str, where: str, what: str) -> None:
        """Note what is wrong."""
        self.problems.append(Problem(code, where, what))


def parse(value: Mapping[str, Json]) -> Drawing:
    """Read a drawing; nodes without a use of their own, dangling edges and cycles become problems."""
    drawing = Drawing()
    for index, node in _objects(value, "nodes", drawing):
        _add_node(drawing, index, node)
    for index, edge in _objects(value, "edges", drawing):
        _add_edge(drawing, index, edge)
    waiting = _arrange(drawing)
    if waiting:
        cycle = _on_a_cycle(drawing, waiting)
        what = f"the nodes {' -> '.join([*cycle, cycle[0]])} wait for each other; remove an edge"
        drawing.refuse("graph.cycle", f"nodes[{drawing.nodes[cycle[0]][0]}]", what)
        drawing.order += sorted(waiting, key=lambda name: drawing.nodes[name][0])
    given = value.get("order")
    if isinstance(given, list) and all(isinstance(name, str) for name in given):
        drawing.order = given if sorted(given) == sorted(drawing.order) else drawing.order
    return drawing


def _objects(value: Mapping[str, Json], name: str, drawing: Drawing) -> Iterator[tuple[int, Data]]:
    parts = value.get(name)
    if not isinstance(parts, list):
        drawing.refuse("document.type", name, f"must be a list, not {kind_of(parts)}")
        return
    for index, part in enumerate(parts):
        if isinstance(part, dict):
            yield index, part
        else:
            drawing.refuse("document.type", f"{name}[{index}]", f"must be an object, not {kind_of(part)}")


def _add_node(drawing: Drawing, index: int, node: Data) -> None:
    where, name, data = f"nodes[{index}]", node.get("id"), node.get("data")
    if data is not None and not isinstance(data, dict) and data != []:
        drawing.refuse("document.type", f"{where}.data", f"must be an object, not {kind_of(data)}")
    if name is None or name == "":
        drawing.refuse("step.required", where, "Node missing required field 'id'")
    elif not isinstance(name, str):
        drawing.refuse("document.type", f"{where}.id", f"must be a text, not {kind_of(name)}")
    elif name in drawing.nodes:
        what = f"the id {name!r} is taken by nodes[{drawing.nodes[name][0]}]; ids must be unique"
        drawing.refuse("step.duplicate_id", f"{where}.id", what)
    else:
        drawing.nodes[name] = index, node


def _add_edge(drawing: Drawing, index: int, edge: Data) -> None:
    sound = True
    for side in ("source", "target"):
        name = edge.get(side)
        if isinstance(name, str) and name in drawing.nodes:
            continue
        sound = False
        if name is None:
            drawing.refuse("document.type", f"edges[{index}]", f"the key {side!r} is missing")
        else:
            hint = close_match(str(name), drawing.nodes)
            drawing.refuse("edge.unknown_step", f"edges[{index}].{side}", f"no node {name!r}{hint}")
    if sound:
        drawing.edges.append((index, edge))


def _arrange(drawing: Drawing) -> dict[str, int]:
    """Put the nodes in order: after all that leads to them, and else as they are listed; return the rest.

    What leads into a node with the join `each` may come later: that is how a loop is drawn.
    """
    loops = {name for name, (_, node) in drawing.nodes.items() if step_of(node).get("join") == "each"}
    loops |= {edge["target"] for _, edge in drawing.edges if _data(edge).get("join") == "each"}
    waiting = dict.fromkeys(drawing.nodes, 0)
    after: dict[str, list[str]] = {}
    for _, edge in drawing.edges:
        if edge["target"] not in loops:
            waiting[edge["target"]] += 1
            after.setdefault(edge["source"], []).append(edge["target"])
    ready = [index for name, (index, _) in drawing.nodes.items() if not waiting[name]]
    names = {index: name for name, (index, _) in drawing.nodes.items()}
    while ready:
        name = names[heapq.heappop(ready)]
        drawing.order.append(name)
        del waiting[name]
        for target in after.get(name, ()):
            waiting[target] -= 1
            if not waiting[target]:
                heapq.heappush(ready, drawing.nodes[target][0])
    return waiting


def _on_a_cycle(drawing: Drawing, waiting: Mapping[str, int]) -> list[str]:
    """Return the nodes of one cycle, the first in the list first."""
    before = {edge["target"]: edge["source"] for _, edge in drawing.edges if edge["source"] in waiting}
    name, seen = next(iter(waiting)), dict[str, None]()
    while name not in seen:
        seen[name] = None
        name = before[name]
    walked = list(seen)
    cycle = walked[walked.index(name) :][::-1]
    first = min(range(len(cycle)), key=lambda at: drawing.nodes[cycle[at]][0])
    return cycle[first:] + cycle[:first]


# --- from a drawing to steps


@dataclass(slots=True)
class Turned:
    """The `flow_data` made of a drawing; the place in the drawing of each step and of each listed edge.

    `delays` are the steps whose node calls `delay` what they call `duration`.
    """

    data: Data
    steps: list[str] = field(default_factory=list)
    edges: list[str] = field(default_factory=list)
    delays: set[int] = field(default_factory=set)


def turn(value: Mapping[str, Json], drawing: Drawing) -> Turned:
    """Return the Steps form of what can be used of a drawing."""
    settings = value.get("settings")
    turned = Turned(dict(settings) if isinstance(settings, dict) else {"version": "1.0"})
    steps: list[Data] = []
    links: list[tuple[int, Data, Data]] = []
    plain: list[tuple[int, Data, Data]] = []
    for index, edge in drawing.edges:
        source = drawing.nodes[edge["source"]][1]
        (plain if is_plain(edge, source) else links).append((index, edge, link_of(edge, source)))
    between = _conditions(links, drawing)
    for name in drawing.order:
        for index, step in between.get(name, ()):
            steps.append(step)
            turned.steps.append(f"edges[{index}]")
        index, node = drawing.nodes[name]
        if node.get("type") == "delay":
            turned.delays.add(len(steps))
        steps.append(step_of(node))
        turned.steps.append(f"nodes[{index}]")
    by_hand = sorted((link["from"], link["to"]) for _, _, link in plain)
    if by_hand != sorted(implied(steps, [link for _, _, link in links], turned.data.get("config"))):
        links = sorted([*links, *plain], key=lambda one: one[0])
    turned.data["steps"] = steps
    if links:
        turned.data["edges"] = [link for _, _, link in links]
        turned.edges = [f"edges[{index}]" for index, _, _ in links]
    return turned


def _conditions(links: list[tuple[int, Data, Data]], drawing: Drawing) -> dict[str, list[tuple[int, Data]]]:
    """Put a condition step into each edge with an expression; return them by the node that follows."""
    found: dict[str, list[tuple[int, Data]]] = {}
    taken = {*drawing.nodes, *RESERVED}
    for at in reversed(range(len(links))):
        index, edge, link = links[at]
        if not (expression := expression_of(edge)):
            continue
        base = _text(edge.get("id")) or f"{link['from']}_to_{link['to']}"
        name = _new_name(_ODD.sub("_", base), "_", taken)
        found.setdefault(link["to"], []).insert(0, (index, {"id": name, "condition": expression}))
        links[at : at + 1] = [
            (index, edge, {"from": link["from"], "to": name, "when": PLAIN}),
            (index, edge, {**link, "from": name, "when": "true"}),
        ]
    return found


def _new_name(base: str, join: str, taken: set[str]) -> str:
    """Return a name that is not taken, and take it."""
    name, number = base, 1
    while name in taken:
        number += 1
        name = f"{base}{join}{number}"
    taken.add(name)
    return name


# --- from steps to a drawing


def draw(data: Mapping[str, Json], picture: Json = None) -> Data:
    """Return the drawing of a `flow_data`; `picture` is the one that it had, whose looks are kept.

    Raises FlowError with all that cannot be drawn: no steps, steps without a name, loose edges, cycles.
    """
    old = None
    if is_drawing(picture) and not (drawing := parse(picture)).problems:
        old = turn(picture, drawing).data
        if old == data:
            return dict(picture)
    _refuse_undrawable(data)
    drawn = _draw(data, picture, old) if old is not None else _draw(data, {}, {})
    if problems := parse(drawn).problems:
        raise FlowError([_of_steps(problem) for problem in problems])
    return drawn


def _of_steps(cycle: Problem) -> Problem:
    """Return a problem with a node, of which each is one step, as one with that step."""
    return replace(
        cycle, where=cycle.where.replace("nodes", "steps"), what=cycle.what.replace("nodes", "steps")
    )


def _refuse_undrawable(data: Mapping[str, Json]) -> None:
    steps, links = data.get("steps"), data.get("edges")
    if not isinstance(steps, list):
        raise FlowError([Problem("flow.patch" if steps is None else "document.type", "steps", NO_STEPS)])
    problems: list[Problem] = []
    ids: dict[str, int] = {}
    for index, step in enumerate(steps):
        where, name = f"steps[{index}]", step.get("id") if isinstance(step, dict) else None
        if not isinstance(step, dict):
            problems.append(Problem("document.type", where, f"must be an object, not {kind_of(step)}"))
        elif not isinstance(name, str) or not name:
            problems.append(Problem("step.required", where, "Step missing required field 'id'"))
        elif ids.setdefault(name, index) != index:
            what = f"the id {name!r} is taken by steps[{ids[name]}]; ids must be unique"
            problems.append(Problem("step.duplicate_id", f"{where}.id", what))
    problems += _loose_ends(links if isinstance(links, list) else (), ids)
    if problems:
        raise FlowError(problems)


def _loose_ends(links: Iterable[Json], ids: Mapping[str, int]) -> Iterator[Problem]:
    for index, link in enumerate(links):
        for side in ("from", "to"):
            name = link.get(side) if isinstance(link, dict) else None
            if not isinstance(name, str) or name not in ids:
                what = f"no step {name!r}{close_match(str(name), ids)}"
                yield Problem("edge.unknown_step", f"edges[{index}].{side}", what)


def _draw(data: Mapping[str, Json], picture: Mapping[str, Json], old: Mapping[str, Json]) -> Data:
    known = {node["id"]: node for node in picture.get("nodes", ())}
    nodes = {step["id"]: node_of(step, known.get(step["id"])) for step in data["steps"]}
    drawn = {name: value for name, value in picture.items() if name not in ("nodes", "edges", "order")}
    drawn |= {"nodes": list(nodes.values()), "edges": _edges(data, nodes, picture)}
    if not old or _settings(old) != _settings(data):
        drawn["settings"] = _settings(data)
    drawing = parse(drawn)
    if drawing.order != list(nodes):
        drawn["order"] = list(nodes)
    _place(drawing)
    return drawn


def _settings(data: Mapping[str, Json]) -> Data:
    """Return what a `flow_data` holds that is neither a node nor an edge."""
    drawn = ("steps", "edges") if isinstance(data.get("edges"), list) and data["edges"] else ("steps",)
    return {name: value for name, value in data.items() if name not in drawn}


def _edges(data: Mapping[str, Json], nodes: Mapping[str, Data], picture: Mapping[str, Json]) -> list[Data]:
    """Return the edges of a drawing, those of the picture where they say the same."""
    links: list[Data] = data["edges"] if isinstance(data.get("edges"), list) else []
    plain: list[Data] = [
        {"from": one, "to": other, "when": PLAIN}
        for one, other in implied(data["steps"], links, data.get("config"))
    ]
    spare = list(picture.get("edges", ()))
    taken = {_text(edge.get("id")) for edge in spare}
    by_ends: dict[tuple[str, str], list[Data]] = {}
    for edge in spare:
        by_ends.setdefault((edge["source"], edge["target"]), []).append(edge)
    edges = []
    for number, link in enumerate([*plain, *links]):
        source, target = link["from"], link["to"]
        of_order = number < len(plain)
        old = by_ends.get((source, target), [])
        same = [one for one in old if link_of(one, nodes[source]) == link and not expression_of(one)]
        same = [one for one in same if is_plain(one, nodes[source]) == of_order]
        if same:
            old.remove(same[0])
            edges.append(same[0])
            continue
        name = _new_name(f"edge-{source}-{target}", "-", taken)
        new = {"id": name, "source": source, "target": target, "type": "smoothstep"}
        edges.append(new if of_order else edge_of(link, nodes[source], new))
    return edges


def _place(drawing: Drawing) -> None:
    """Give each new node a position: a column for each that leads to it, a row for each beside it."""
    column = dict.fromkeys(drawing.order, 0)
    before: dict[str, list[str]] = {}
    for _, edge in drawing.edges:
        before.setdefault(edge["target"], []).append(edge["source"])
    rows: dict[int, int] = {}
    for name in drawing.order:
        column[name] = max((column[source] + 1 for source in before.get(name, ())), default=0)
        row = rows[column[name]] = rows.get(column[name], -1) + 1
        position = {"x": column[name] * _COLUMN, "y": _TOP + row * _ROW}
        node = drawing.nodes[name][1]
        node["position"] = node.get("position", {}) or position
