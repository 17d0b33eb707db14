"""A workflow of Nected as the steps that it stands for.

Each node is a step, the trigger too. What a node does is run where the document says it (variables,
responses, merges) or a binding does; all else is an `external` step. A binding is the keys of a step in
which tokens may stand, under the name or the id of its node.
"""

from __future__ import annotations

import heapq
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from runner.core.commands import Json
from runner.core.document import Document, join, split
from runner.core.model import Step
from runner.core.reference import Missing, walk
from runner.core.scope import RESERVED
from runner.core.text import close_match, kind_of
from runner.errors import Problem
from runner.platforms.aids import Aids
from runner.platforms.nected_graph import (
    DATA_TYPES,
    FROM_FIELDS,
    Data,
    Edge,
    Node,
    Workflow,
    is_loop,
    parse,
    token_of,
    workflow_in,
)
from runner.platforms.nected_tokens import (
    INPUTS,
    SYSTEM,
    VALUES,
    VARIABLES,
    Token,
    Unreadable,
    inside_of,
    operand,
    pieces,
    replaced,
    spelled,
    with_texts,
)
from runner.platforms.steps import wire_names

KEPT: Final = "nected"  # where Steps carry the workflow that they came from
OUTPUTS: Final = {"output": "response.body", "statusCode": "response.status"}  # of a request, unless it says
CODE: Final = "code_path"
PATHS: Final = "paths"
NOT_BOUND: Final = (
    "id",
    "name",
    "external",
    "dependsOn",
    "join",
    "maxVisits",
    "endpoint",
    "endpointId",
    "tests",
)
LOOP: Final = "a loop over several nodes is run only by the platform; give its node 'runInLoop' instead"

_ODD: Final = re.compile(r"\W+", re.ASCII)
_BRACES: Final = re.compile(r"\{[{%#]")


@dataclass(slots=True)
class Script:
    """The JavaScript of a node: its text, and our paths for the tokens in it."""

    node: Node
    code: str
    paths: Mapping[str, str]


@dataclass(slots=True)
class Turned:
    """The steps of a workflow, the node of each, its inputs, and the scripts by the id of their steps."""

    steps: list[Data] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    edges: list[Data] = field(default_factory=list)
    arcs: list[Edge] = field(default_factory=list)
    inputs: list[Data] = field(default_factory=list)
    scripts: dict[str, Script] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def turn(workflow: Workflow, aids: Aids) -> Turned:
    """Return the steps of what can be used of a workflow."""
    return _Turning(workflow, aids).turn()


def turned_value(document: Document, aids: Aids) -> tuple[Data, Turned]:
    """Return the Steps of a workflow and what they were made of, with the problems of the workflow."""
    value = workflow_in(document)[0]
    workflow = parse(value)
    turned = turn(workflow, aids)
    turned.problems[:0] = workflow.problems
    return _steps_value(value, turned), turned


def _steps_value(value: Mapping[str, Json], turned: Turned) -> Data:
    texts = {name: value[name] for name in ("name", "description") if isinstance(value.get(name), str)}
    made: Data = {**texts, "flow_inputs": turned.inputs}
    if value.get("isEnabled") is False:
        made["is_active"] = False
    data: Data = {"version": "1.0", "steps": turned.steps}
    return {**made, "flow_data": {**data, "edges": turned.edges} if turned.edges else data}


class _Turning:
    """Turns one workflow."""

    def __init__(self, workflow: Workflow, aids: Aids) -> None:
        self.workflow, self.aids = workflow, aids
        self.made = Turned()
        self.given: Data = {}  # values of tokens that only the platform knows
        self.bound: dict[str, tuple[str, Data]] = {}  # by node: the key of its binding, and what it says
        self.ids = {**_step_ids(workflow), **aids.ids}
        self.used: dict[str, dict[str, Json]] = {}
        self.exits: dict[str, dict[str, tuple[str, str]]] = {}  # of a switch: by path, a step and `when`
        self.node: Node | None = None

    def turn(self) -> Turned:
        made, workflow = self.made, self.workflow
        if self.aids.bindings is not None:
            self._read_bindings(self.aids.bindings)
        if workflow.trigger is not None:
            made.inputs = [*self._inputs(workflow.trigger)]
        for node in _ordered(workflow):
            self.node = node
            for step in self._steps(node):
                made.steps.append(step)
                made.nodes.append(node)
        self._edges()
        if workflow.trigger is not None and self.used:
            first = made.nodes.index(workflow.trigger)
            made.steps[first]["set"] = dict(self.used)
        return made

    # --- bindings

    def _read_bindings(self, bindings: Document) -> None:
        nodes = self.workflow.executable
        named = {name: node for node in nodes for name in (node.name, spelled(node.name)) if name}
        known = {**{node.id: node for node in nodes}, **named}
        for key, value in bindings.value.items():
            if key.startswith("."):
                self._give(key, value)
                continue
            node = known.get(key)
            if node is None or node.kind == "trigger":
                what = f"there is no node {key!r}{close_match(key, known)}"
                self._misbound(key, what if node is None else "the trigger is given its inputs with -i")
            elif not isinstance(value, dict):
                self._misbound(key, f"must be an object with the keys of a step, not {kind_of(value)}")
            elif node.id in self.bound:
                self._misbound(key, f"the node is bound already, as {self.bound[node.id][0]!r}")
            else:
                self.bound[node.id] = key, self._checked(key, node, value)

    def _give(self, key: str, value: Json) -> None:
        """Take the value of a token that is no node's."""
        token = self.workflow.tokens.read(key)
        if isinstance(token, Unreadable) or token.name not in VALUES or len(token.path) != 1:
            known = ", ".join(f".{name}.NAME" for name in VALUES)
            what = f"is no token that can be given a value; such are {known}"
            self._misbound(key, what)
        else:
            self.given.setdefault(token.name, {})[str(token.path[0])] = value

    def _checked(self, key: str, node: Node, value: Data) -> Data:
        """Return a binding as far as it can be used."""
        keys = [name for name in wire_names(Step) if name not in NOT_BOUND]
        special = {CODE: node.kind == "code", PATHS: node.kind == "switch"}
        for name in value:
            if special.get(name) or (name in keys and not any(one in value for one in special)):
                continue
            allowed = [one for one, fits in special.items() if fits] + keys
            hint = close_match(name, allowed) or f"; known are {', '.join(allowed)}"
            self._misbound(join(key, name), f"the node cannot have the key {name!r}{hint}")
        paths = value.get(PATHS, {})
        if isinstance(paths, dict) and all(isinstance(one, str) for one in paths.values()):
            return value
        self._misbound(join(key, PATHS), "must be an object: the id of each path to a condition")
        return {**value, PATHS: {}}

    def _misbound(self, where: str, what: str) -> None:
        assert self.aids.bindings is not None
        problem = Problem("nected.binding", where, what)
        self.made.problems += self.aids.bindings.located([problem])

    # --- inputs

    def _inputs(self, trigger: Node) -> Iterator[Data]:
        for name, one in trigger.fields.items():
            kind = one.get("dataType")
            made: Data = {"name": name, "type": DATA_TYPES.get(kind if isinstance(kind, str) else "", "json")}
            made["required"] = not (one.get("isOptional") or one.get("isNullable"))
            sample = one.get("executedValue") if self.aids.recorded else None
            if (value := one.get("value") if sample is None else sample) is not None:
                made |= {"default": value, "required": False}
            yield made

    # --- nodes

    def _steps(self, node: Node) -> Iterator[Data]:
        step: Data = {"id": self.ids[node.id]}
        if node.name:
            step["name"] = node.name
        key, bound = self.bound.get(node.id, ("", None))
        if node.kind in ("trigger", "merge"):
            yield {**step, "set": {}}
        elif node.kind == "switch" and (bound is None or PATHS in bound):
            yield from self._switch(node, step, None if bound is None else bound[PATHS])
        elif bound is not None and CODE in bound:
            yield {**step, **self._code(key, node, bound[CODE])}
        elif bound is not None:
            made = {name: with_texts(one, self._bound_text) for name, one in bound.items()}
            is_request = made.get("url") is not None and "outputs" not in made
            yield {**step, **self._looped(node), **made, **({"outputs": dict(OUTPUTS)} if is_request else {})}
        elif node.kind in FROM_FIELDS:
            yield {**step, **self._looped(node), "set": {**dict(self._fields(node))}}
        else:
            yield {**step, **self._external(node, ("output",)), **({"join": "each"} if is_loop(node) else {})}

    def _external(self, node: Node, fields: tuple[str, ...]) -> Data:
        if node.kind == "loop":
            self._problem("nected.unsupported_node", node.where, LOOP)
        said = node.data.get("nodeType") or "node"
        made: Data = {"platform": "nected", "type": said, "fields": [*fields], "source": node.data}
        if (recorded := _recorded(node, fields[0])) is not None:
            made["recorded"] = recorded
        return {"external": made}

    def _switch(self, node: Node, step: Data, conditions: Mapping[str, str] | None) -> Iterator[Data]:
        """Yield a condition for each path, the next one tried where one is false; without conditions ask."""
        paths = [arc.path for arc in self.workflow.arcs if arc.source == node.id and not arc.is_else]
        names = [*dict.fromkeys(paths)] if conditions is None else [*conditions]
        for path in dict.fromkeys(path for path in paths if path not in names):
            what = f'the path {path!r} has no condition; add to its "{PATHS}": "{path}": "…"'
            self._problem("nected.binding", node.where, what)
        said = {} if conditions is None else conditions
        if conditions is None:
            yield {**step, **self._external(node, ("path",))}
        previous = (step["id"], "success") if conditions is None else None
        exits = self.exits.setdefault(node.id, {})
        for number, path in enumerate(names, 1):
            name = step["id"] if previous is None else f"{step['id']}__{number}"
            condition = (
                self._bound_text(said[path])
                if path in said
                else f"{{{{{step['id']}.path}}}} === '{_quoted(path)}'"
            )
            yield {
                "id": name,
                "name": step.get("name", name),
                "condition": condition,
                "trueLabel": path or "then",
                "falseLabel": "else",
            }
            if previous is not None:
                self.made.edges.append({"from": previous[0], "to": name, "when": previous[1]})
                self.made.arcs.append(Edge(-1, node.id, node.id, is_else=False, path=path))
            previous = name, "false"
            exits[f"={path}"] = name, "true"
        if conditions is not None and previous is None:
            yield {**step, "set": {}}
        exits[""] = previous or (step["id"], "success")

    def _code(self, key: str, node: Node, path: Json) -> Data:
        value: Json = None
        with suppress(Missing):
            value = walk({"data": node.data}, split(path) if isinstance(path, str) else ())
        if not isinstance(value, str):
            what = "must be the path to the text of the code in the node, such as 'data.settings.code'"
            self._misbound(join(key, CODE), what)
            return {"set": {}}
        paths: dict[str, str] = {}
        for inside in inside_of(value):
            paths[inside] = self._operand(inside)
        self.made.scripts[self.ids[node.id]] = Script(node, value, paths)
        return self._external(node, ("output",))

    def _looped(self, node: Node) -> Data:
        loop = node.data.get("runInLoop")
        if not isinstance(loop, dict) or loop.get("status") is not True:
            return {}
        found = self._value(loop, f"{node.where}.data.runInLoop")
        return {"forEach": found}

    def _fields(self, node: Node) -> Iterator[tuple[str, Json]]:
        """Yield what the fields of a node are set to, as their flags say."""
        for name, one in node.fields.items():
            value = self._value(one, join(f"{node.where}.data.input", name))
            is_sent = value is not None or one.get("sendNull") or one.get("isNullable")
            if is_sent and not one.get("notSend"):
                yield name, value

    def _value(self, one: Data, where: str) -> Json:
        """Return the value of a field as a template: given, or taken from elsewhere."""
        value = one.get("value")
        if value is None and (token := token_of(self.workflow, one)):
            return self._text(token)
        if isinstance(value, str) and "{{" not in value:
            value = self._typed(value, one.get("dataType"), f"{where}.value")
        return with_texts(value, self._text)

    def _typed(self, text: str, kind: Json, where: str) -> Json:
        """Return a static text as the type that its field has."""
        if kind in (None, "string", "date", "dateTime"):
            return text
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = None
        fits = {
            "numeric": isinstance(value, int | float) and not isinstance(value, bool),
            "boolean": isinstance(value, bool),
            "list": isinstance(value, list),
            "json": value is not None or text.strip() == "null",
        }
        if not fits.get(str(kind), True):
            self._problem("nected.structure", where, f"the text is no {kind}; correct it, or the dataType")
        return value if fits.get(str(kind)) else text

    # --- tokens

    def _text(self, text: str) -> str:
        """Return a text of the document as a template: braces that are no token are just braces."""
        return "".join(
            _literal(before) + (f"{{{{{self._operand(inside)}}}}}" if inside else "")
            for before, inside in pieces(text)
        )

    def _bound_text(self, text: str) -> str:
        """Return a text of a binding as a template: what is no token is our own."""
        return replaced(text, lambda inside: f"{{{{{self._operand(inside)}}}}}")

    def _operand(self, inside: str) -> str:
        """Return what a token is in a template; one that leads nowhere is told here only of bindings."""
        token = self.workflow.tokens.read(inside)
        node = self.node
        assert node is not None
        if isinstance(token, Unreadable):
            if node.id in self.bound:
                self._misbound(self.bound[node.id][0], token.what)
            return "none"
        if token.name in INPUTS or self.workflow.by_name.get(token.name) is self.workflow.trigger is not None:
            return operand("input", token.path)
        if token.name == VARIABLES:
            return operand("env", token.path)
        if token.name in VALUES:
            return self._given(token, inside)
        return self._of_node(token, node)

    def _of_node(self, token: Token, node: Node) -> str:
        source = self.workflow.by_name[token.name]
        path = token.path
        is_plain = source.kind in FROM_FIELDS and source.id not in self.bound
        if is_plain and path[:1] == ("output",) and "output" not in source.fields:
            path = path[1:]
        found = operand(self.ids[source.id], path)
        is_there = self.workflow.is_unavoidable(source.id, node.id)
        return found if is_there else f" {found} | default(none) "

    def _given(self, token: Token, inside: str) -> str:
        """Return where the value of a token stands that only the platform knows: with the trigger."""
        name = str(token.path[0]) if token.path else ""
        values = {**(SYSTEM if token.name == "systemVar" else {}), **self.given.get(token.name, {})}
        trigger = self.workflow.trigger
        if name not in values or trigger is None:
            assert self.node is not None
            key = f'".{token.name}.{name}": "…"'
            what = f"only the platform knows {{{{{inside}}}}}; give --bindings FILE with {key}"
            self._problem("nected.bad_reference", self.node.where, what)
            return "none"
        self.used.setdefault(token.name, {})[name] = values[name]
        return operand(self.ids[trigger.id], (token.name, *token.path))

    # --- edges

    def _edges(self) -> None:
        for arc in self.workflow.arcs:
            source, when = self.ids[arc.source], "failure" if arc.is_else else "success"
            exits = self.exits.get(arc.source)
            if exits is not None:
                source, when = exits.get("" if arc.is_else else f"={arc.path}", exits[""])
            elif arc.source in self.bound and _is_condition(self.bound[arc.source][1]):
                when = "false" if arc.is_else else "true"
            self.made.edges.append({"from": source, "to": self.ids[arc.target], "when": when})
            self.made.arcs.append(arc)

    def _problem(self, code: str, where: str, what: str) -> None:
        self.made.problems.append(Problem(code, where, what))


def _is_condition(bound: Mapping[str, Json]) -> bool:
    return "condition" in bound and not {"url", "method", "set", "flow", "delay", "duration"} & bound.keys()


def _recorded(node: Node, name: str) -> Data | None:
    """Return what the last test of a node came to, as an outcome that can be replayed."""
    value = node.data.get("executedValue")
    if node.data.get("status") == "error":
        return {"error": {"code": "nected.recorded_error", "message": "the last test of the node failed"}}
    if value is None:
        return None
    if name == "path":
        path = value.get("pathId") if isinstance(value, dict) else value
        return {"output": {"path": path}} if isinstance(path, str) else None
    return {"output": outputs_of(value)}


def outputs_of(value: Json) -> Data:
    """Return what a node came to as the outputs of its step; a token may name `output`, or go on at once."""
    known = value if isinstance(value, dict) else {}
    return {**known, "output": known.get("output", value)}


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")


def _literal(text: str) -> str:
    return _BRACES.sub(lambda match: f"{{{{ '{match[0]}' }}}}", text)


def _step_ids(workflow: Workflow) -> dict[str, str]:
    """Return the id of the step of each node: its name as far as an id can be that."""
    taken: set[str] = {*RESERVED, "none", "true", "false"}
    ids: dict[str, str] = {}
    for node in workflow.executable:
        base = _ODD.sub("_", spelled(node.name)).strip("_") or _ODD.sub("_", node.id).strip("_") or "node"
        base = f"n{base}" if base[0].isdigit() else base
        name, number = base, 1
        while name in taken:
            number += 1
            name = f"{base}_{number}"
        taken.add(name)
        ids[node.id] = name
    return ids


def _ordered(workflow: Workflow) -> list[Node]:
    """Return the nodes after all that leads to them, and else as they are listed."""
    nodes = {node.number: node for node in workflow.executable}
    waiting = dict.fromkeys((node.id for node in nodes.values()), 0)
    after: dict[str, list[str]] = {}
    for arc in workflow.arcs:
        if not is_loop(workflow.nodes[arc.target]):
            waiting[arc.target] += 1
            after.setdefault(arc.source, []).append(arc.target)
    ready = [number for number, node in nodes.items() if not waiting[node.id]]
    done: dict[int, None] = {}
    while ready:
        number = heapq.heappop(ready)
        done[number] = None
        for target in after.get(nodes[number].id, ()):
            waiting[target] -= 1
            if not waiting[target]:
                heapq.heappush(ready, workflow.nodes[target].number)
    return [nodes[number] for number in [*done, *(one for one in nodes if one not in done)]]
