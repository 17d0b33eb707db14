"""DaVinci's flows as Steps, and what was changed there back into the document that they came from.

Requests, comparisons of texts and responses have a form in Steps; every other node is an `external` step
that carries it. The whole document stays beside the steps under `davinci`: it is patched, never rebuilt.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from typing import Any, Final

from runner.core.commands import Json
from runner.core.compile import METHOD
from runner.core.document import Document
from runner.core.model import Flow
from runner.core.reference import Reference, parse_path, spell
from runner.core.template import Template
from runner.errors import FlowError, Problem
from runner.platforms.davinci_gates import is_comparison
from runner.platforms.davinci_graph import Graph, Node, parts_of
from runner.platforms.davinci_http import MAX_TIMEOUT
from runner.platforms.davinci_nodes import external_of
from runner.platforms.davinci_values import decode, number_of, typed, unwrapped

Data = dict[str, Json]

BESIDE: Final = "davinci"
REQUEST: Final = "httpConnector/makeRestApiCall"
RESPONSE: Final = "httpConnector/createSuccessResponse"
OUTPUTS: Final = {"body": "response.body", "status": "response.status", "headers": "response.headers"}
PARTS: Final = {"body": "body", "statusCode": "status", "headers": "headers"}
_TYPES: Final = ("number", "integer", "boolean", "object", "array", "json")
_BRACES: Final = re.compile(r"\{\{\s*(.*?)\s*\}\}", re.DOTALL)


class Inexpressible(Exception):  # noqa: N818 - caught here, and reads as a sentence
    """A node uses something that Steps have no form for."""


def step_id(name: str) -> str:
    """Return the id of the step that a node becomes: references cannot begin with a digit."""
    return f"n{name}" if name[:1].isdigit() or name[:1] == "-" else name


class Steps:
    """Makes the steps of one flow."""

    def __init__(self, flow: Flow, nodes: Mapping[str, Node], timeout: float) -> None:
        self.flow, self.nodes, self.timeout = flow, nodes, timeout
        self.requests = {name for name, node in nodes.items() if node.type == REQUEST and self._made(node)}
        self.problems: list[Problem] = []

    def document(self, source: Json) -> Data:
        """Return the Steps document, with the document that it comes from beside it."""
        flow = self.flow
        config = {
            "parallel": True, "maxConcurrency": flow.config.max_concurrency, "stopOnError": False,
            "flowTimeout": flow.config.flow_timeout,
        }  # fmt: skip
        made: Data = {"name": flow.name, "description": flow.description}
        if flow.inputs is not None:
            made["flow_inputs"] = [
                {"name": one.name, "type": one.type, "required": one.required, "description": one.description}
                for one in flow.inputs
            ]
        steps = [self._step(step.id) for step in flow.steps]
        edges = list(self._edges())
        made["flow_data"] = {"version": "1.0", "steps": steps, "edges": edges, "config": config}
        return made | {BESIDE: source}

    def _step(self, name: str) -> Data:
        node = self.nodes[name]
        made: Data = {"id": step_id(name), "name": node.title}
        if any(edge.target == name for edge in self.flow.edges):
            made |= {"join": "each", "maxVisits": 20}
        keys = self._made(node)
        if keys is not None:
            return made | keys
        external = external_of(node)
        what = f"node {name!r} ({node.type}) has no form in Steps; it is an external step"
        self.problems.append(Problem("node.type", node.where, what, "warning"))
        kept: Data = {"platform": BESIDE, "type": node.type, "ask": external.ask, "source": node.data}
        return made | {"external": kept | ({"fields": list(external.fields)} if external.fields else {})}

    def _edges(self) -> Iterator[Data]:
        for edge in self.flow.edges:
            made: Data = {"from": step_id(edge.source), "to": step_id(edge.target), "when": edge.when}
            yield made | ({"join": edge.join, "gate": edge.gate} if edge.gate is not None else {})

    def _made(self, node: Node) -> Data | None:
        """Return the keys of the step that does what a node does, None when there are none."""
        try:
            if node.type == REQUEST:
                return self._request(node)
            if node.type == RESPONSE:
                return self._response(node)
            return self._comparison(node) if is_comparison(node) else None
        except Inexpressible:
            return None

    def _request(self, node: Node) -> Data:
        made: Data = {
            "method": self._text(node, "httpMethod").upper() or "GET",
            "url": self._text(node, "url"),
        }
        headers = self._rows(node, "headers")
        if headers:
            made["headers"] = headers
        kind = self._text(node, "httpBody")
        if kind == "raw":
            made["body"] = self._text(node, "raw")
            made["headers"] = {
                "Content-Type": self._text(node, "contentType") or "application/json",
                **headers,
            }
        elif kind == "xwwwFormUrlEncoded":
            made["form"] = self._rows(node, "bodyParams")
        elif kind == "formData":
            made["multipart"] = self._rows(node, "bodyParams")
        made["timeout"] = self._timeout(node)
        return made | {"outputs": dict(OUTPUTS)}

    def _timeout(self, node: Node) -> int:
        """Return the milliseconds that a run gives the request."""
        held = self._render(node.properties.get("timeout"))
        if isinstance(held, str) and "{{" in held:
            raise Inexpressible
        given = number_of(held)
        seconds = self.timeout if given is None or given <= 0 else min(given / 1000, MAX_TIMEOUT)
        return max(1, round(seconds * 1000))

    def _response(self, node: Node) -> Data:
        listed = unwrapped(node.properties.get("claimsNameValuePairs"))
        rows = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
        claims = {str(row.get("name") or row.get("key") or ""): self._claim(node, row) for row in rows}
        return {"set": {name: value for name, value in claims.items() if name}}

    def _claim(self, node: Node, row: Mapping[str, Json]) -> Json:
        """Return what a claim says, as its type; Steps have no way to give a reference another type."""
        value, kind = self._render(row.get("value")), row.get("type")
        if not isinstance(value, str) or "{{" not in value:
            return typed(value, kind)
        if kind in _TYPES or (kind == "string" and _BRACES.fullmatch(value)):
            where = f"{node.where}.properties.claimsNameValuePairs"
            what = f"{value} keeps the type of its value; a run of the node makes it one of type {kind!r}"
            self.problems.append(Problem("davinci.bad_value", where, what, "warning"))
        return value

    def _comparison(self, node: Node) -> Data:
        name = node.type.partition("/")[2]
        told = {key: unwrapped(node.properties.get(key)) for key in ("type", "caseSensitive")}
        if name not in ("AEqualsB", "ANotEqualsB") or told["type"] not in (None, "string"):
            raise Inexpressible
        if told["caseSensitive"] in (False, "false"):
            raise Inexpressible
        sides = [self._text(node, key) for key in ("leftValueA", "rightValueB")]
        left, right = ("'" + side.replace("\\", "\\\\").replace("'", "\\'") + "'" for side in sides)
        return {"condition": f"{left} {'===' if name == 'AEqualsB' else '!=='} {right}"}

    def _rows(self, node: Node, name: str) -> dict[str, str]:
        listed = unwrapped(node.properties.get(name))
        made: dict[str, str] = {}
        for row in listed if isinstance(listed, list) else ():
            if isinstance(row, dict) and isinstance(row.get("key"), str) and row["key"].strip():
                if row["key"].strip() in made:
                    raise Inexpressible  # a key that stands twice is sent twice
                made[row["key"].strip()] = str(self._render(row.get("value")))
        return made

    def _text(self, node: Node, name: str) -> str:
        value = unwrapped(node.properties.get(name))
        if value is not None and not isinstance(value, str):
            raise Inexpressible
        return str(self._render(value))

    def _render(self, value: Json) -> Json:
        held = unwrapped(value)
        if not isinstance(held, str):
            return "" if held is None else held
        template = decode(held).template
        if "{{" in template.source and len(template.references) != template.source.count("{{"):
            raise Inexpressible
        return self._spelled(template)

    def _spelled(self, template: Template) -> str:
        found = iter(template.references)
        return _BRACES.sub(lambda _: f"{{{{{self._path(next(found))}}}}}", template.source)

    def _path(self, reference: Reference) -> str:
        path = reference.path
        if reference.root == "global" and path[:1] == ("parameters",) and len(path) > 1:
            return spell("input", path[1:])
        if reference.root != "local" or path[1:3] != ("payload", "output") or str(path[0]) not in self.nodes:
            raise Inexpressible
        name, rest = str(path[0]), path[3:]
        if self.nodes[name].type != REQUEST:
            return spell(step_id(name), rest)
        if rest[:1] != ("rawResponse",) or str(rest[1:2][0] if rest[1:2] else "") not in PARTS:
            raise Inexpressible
        return spell(step_id(name), (PARTS[str(rest[1])], *rest[2:]))


def to_steps(document: Document, flow: Flow, timeout: float) -> tuple[Data, tuple[Problem, ...]]:
    """Return the first flow of a document as Steps, with a warning for each node that only stays as it is.

    `timeout` are the seconds that the flow gives a request whose node says nothing of it.
    """
    errors = [problem for problem in flow.problems if problem.is_error]
    if errors:
        raise FlowError(document.located(errors))
    nodes = Graph(parts_of(document.value)[0]).nodes
    made = Steps(flow, nodes, timeout)
    value = made.document(document.value)
    return value, document.located(made.problems)


# --- and back


def from_steps(document: Document, original: Mapping[str, Json], before: Mapping[str, Json]) -> Data:
    """Return the original document with what was changed in the steps made of it (`before`).

    Raises FlowError with everything that was changed and that the document has no place for.
    """
    patched = deepcopy(dict(original))
    part = parts_of(patched)[0]
    target: Any = patched
    for key in re.findall(r"\w+", part.path):
        target = target[int(key)] if key.isdigit() else target[key]
    nodes = {step_id(name): node for name, node in Graph(part).nodes.items()}
    flaws = [*_of_the_flow(document.value, before, target), *_of_the_steps(document.value, before, nodes)]
    if flaws:
        raise FlowError(document.located(flaws))
    return patched


def refused(document: Document) -> FlowError:
    """Return the error for a document that came from elsewhere: every step has no node to be patched."""
    data = document.value.get("flow_data", document.value)
    steps = data.get("steps") if isinstance(data, dict) else None
    found = [
        Problem("davinci.no_source", f"steps[{index}]", "the step has no node of DaVinci that it came from")
        for index, _ in enumerate(steps if isinstance(steps, list) else ())
    ]
    what = f"only a document that was made from one of DaVinci's can go back: there is none under {BESIDE!r}"
    return FlowError(document.located([Problem("davinci.no_source", "", what), *found]))


def _of_the_flow(now: Mapping[str, Json], before: Mapping[str, Json], target: Data) -> Iterator[Problem]:
    for key in ("name", "description"):
        if now.get(key) != before.get(key):
            target[key] = now.get(key)
    keys = dict.fromkeys((*now, *before))
    yield from _unlike(
        (key for key in keys if key not in ("name", "description", "flow_data", BESIDE)), now, before, ""
    )
    data, old = now.get("flow_data"), before["flow_data"]
    if not isinstance(data, dict):
        yield Problem("davinci.no_source", "flow_data", "the steps are missing")
        return
    rest = (key for key in dict.fromkeys((*data, *old)) if key != "steps")
    yield from _unlike(rest, data, old, "flow_data.")


def _of_the_steps(
    now: Mapping[str, Json], before: Mapping[str, Json], nodes: Mapping[str, Node]
) -> Iterator[Problem]:
    data = now.get("flow_data")
    listed = data.get("steps") if isinstance(data, dict) else None
    steps = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    old = {one["id"]: one for one in before["flow_data"]["steps"]}
    gone = old.keys() - {step.get("id") for step in steps}
    for name in sorted(gone):
        yield Problem(
            "davinci.no_source", "flow_data.steps", f"step {name!r} is gone; remove its node in DaVinci"
        )
    for index, step in enumerate(steps):
        where, name = f"flow_data.steps[{index}]", step.get("id")
        if not isinstance(name, str) or name not in old:
            yield Problem("davinci.no_source", where, f"there is no node that step {name!r} came from")
            continue
        changed = [key for key in dict.fromkeys((*step, *old[name])) if step.get(key) != old[name].get(key)]
        for key in changed:
            if not _patched(nodes[name], key, step.get(key), old[name], nodes):
                yield _no_place(f"{where}.{key}", key)


def _patched(node: Node, key: str, value: Json, old: Mapping[str, Json], nodes: Mapping[str, Node]) -> bool:
    """Write a changed key of a step into its node; returns whether there is a place for it."""
    places = {
        "name": "nodeTitle",
        **({"url": "url", "method": "httpMethod", "timeout": "timeout"} if "url" in old else {}),
    }
    if key not in places or not _fits(key, value):
        return False
    text = str(value)
    if key == "url":
        found = [parse_path(inside) for inside in _BRACES.findall(text)]
        spelled = [_original(one, nodes) for one in found if one is not None]
        if None in spelled or len(spelled) != len(found):
            return False
        paths = iter(spelled)
        text = _BRACES.sub(lambda _: f"{{{{{next(paths)}}}}}", text)
    node.data.setdefault("properties", {})[places[key]] = {"value": text}
    return True


def _fits(key: str, value: Json) -> bool:
    """Tell whether a key of a step has a value that its node would run with as it is."""
    if key == "timeout":
        is_number = isinstance(value, int) and not isinstance(value, bool)
        return is_number and 1 <= value <= MAX_TIMEOUT * 1000
    return isinstance(value, str) and (key != "method" or METHOD.fullmatch(value) is not None)


def _original(reference: Reference, nodes: Mapping[str, Node]) -> str | None:
    """Return how DaVinci spells a reference of the steps, None when it has no way to."""
    if reference.root == "input":
        return spell("global", ("parameters", *reference.path))
    node = nodes.get(reference.root)
    if node is None:
        return None
    path = reference.path
    if node.type == REQUEST:
        back = {ours: theirs for theirs, ours in PARTS.items()}
        if not path or path[0] not in back:
            return None
        path = ("rawResponse", back[str(path[0])], *path[1:])
    return spell("local", (node.id, "payload", "output", *path))


def _unlike(
    keys: Iterable[str], now: Mapping[str, Json], before: Mapping[str, Json], prefix: str
) -> Iterator[Problem]:
    return (_no_place(f"{prefix}{key}", key) for key in keys if now.get(key) != before.get(key))


def _no_place(where: str, key: str) -> Problem:
    what = f"{key!r} was changed, and cannot be written back into DaVinci's document; change it there"
    return Problem("davinci.no_source", where, what)
