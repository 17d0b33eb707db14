"""Steps that came from a workflow of Nected, put back into it: names, switches, values, what was removed.

What can be said of a workflow is changed in it and then turned to Steps again; all that still differs
cannot be said, and is refused. Nothing of the workflow is written anew.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from runner.core.commands import Json
from runner.core.document import Document
from runner.core.reference import parse_path
from runner.errors import FlowError, Problem
from runner.platforms.aids import Aids
from runner.platforms.differences import shown, unlike
from runner.platforms.nected_graph import NOT_RUN, Data, Node, Workflow, parse, workflow_in
from runner.platforms.nected_steps import KEPT, Turned, turned_value
from runner.platforms.nected_tokens import operand, pieces, spelled, with_texts

_BRACES: Final = re.compile(r"\{\{\s*(.*?)\s*\}\}", re.DOTALL)
_LITERAL: Final = re.compile(r"'(\{[{%#])'")
_SOFT: Final = re.compile(r"\s*\|\s*default\(none\)$")


def patched(document: Document) -> Data:
    """Return the workflow that a Steps document came from, changed as the Steps were.

    Raises FlowError with all that a workflow cannot be made of, or cannot say.
    """
    kept = document.value.get(KEPT)
    source = kept.get("workflow") if isinstance(kept, dict) else None
    if not isinstance(source, dict):
        raise FlowError(document.located(_foreign(document.value)))
    bound = kept.get("bindings")
    aids = Aids(Document.of(bound) if isinstance(bound, dict) and bound else None)
    patch = _Patch(copy.deepcopy(source), document.value, aids)
    if wrong := _wrong(patch.turned):
        raise FlowError(wrong)
    patch.apply()
    made, again = turned_value(Document.of(patch.source), replace(aids, ids=patch.ids))
    rest = {name: one for name, one in document.value.items() if name != KEPT}
    before, after = _sources(patch.base), _sources(rest)
    sources = {name: one for name, one in before.items() if name in after}
    found = [
        Problem("nected.unknown_settings", at, f"a workflow cannot say this: {shown(old)} -> {shown(new)}")
        for at, old, new in (
            *unlike(sources, after, "steps"),
            *unlike(_comparable(made), _comparable(rest), ""),
        )
    ]
    if wrong := [*_wrong(again), *found]:
        raise FlowError(document.located(wrong))
    return patch.source


def _wrong(turned: Turned) -> list[Problem]:
    """Return what is wrong with a workflow, but for what no run could do with it."""
    return [one for one in turned.problems if one.is_error and one.code != "nected.unsupported_node"]


def _foreign(value: Mapping[str, Json]) -> Iterator[Problem]:
    """Yield why no workflow can be made of Steps that did not come from one: a problem for each step."""
    what = "only Steps that came from a workflow can be one again: what a node needs is known to Nected alone"
    yield Problem("nected.unknown_settings", "", what)
    data = value.get("flow_data", value)
    listed = data.get("steps") if isinstance(data, dict) else None
    prefix = "flow_data." if "flow_data" in value else ""
    for index, step in enumerate(listed if isinstance(listed, list) else ()):
        name = step.get("id") if isinstance(step, dict) else None
        yield Problem(
            "nected.unknown_settings", f"{prefix}steps[{index}]", f"the step {name!r} cannot be a node"
        )


def _sources(value: Mapping[str, Json]) -> Data:
    """Return what the external steps carry of their nodes: by their ids, at its place in the step."""
    steps = _objects(value.get("flow_data"), "steps", "id")
    externals = {name: step.get("external") for name, step in steps.items()}
    return {
        name: {"external": {"source": one.get("source")}}
        for name, one in externals.items()
        if isinstance(one, dict)
    }


def _comparable(value: Mapping[str, Json]) -> Data:
    """Return Steps with their parts by name, so that what differs is told by its name.

    What a step carries of its node, and whether a reference may be without value, follow from the rest.
    """
    data = value.get("flow_data")
    inside = data if isinstance(data, dict) else {}
    steps = _objects(data, "steps", "id")
    for name, one in steps.items():
        if isinstance(one.get("external"), dict):
            steps[name] = {**one, "external": {**one["external"], "source": None}}
    edges = inside.get("edges")
    rest: Data = {
        **value,
        "flow_inputs": _objects(value, "flow_inputs", "name"),
        "steps": steps,
        "flow_data": {**inside, "steps": None, "edges": None},
        "edges": {shown(one): one for one in (edges if isinstance(edges, list) else ())},
    }
    made: Data = with_texts(
        rest, lambda text: _BRACES.sub(lambda match: f"{{{{{_SOFT.sub('', match[1])}}}}}", text)
    )
    return made


def _objects(owner: Json, name: str, key: str) -> dict[str, Data]:
    """Return the objects of a list by one of their texts."""
    listed = owner.get(name) if isinstance(owner, dict) else None
    found = listed if isinstance(listed, list) else ()
    return {one[key]: one for one in found if isinstance(one, dict) and isinstance(one.get(key), str)}


class _Patch:
    """Changes one workflow as its Steps were changed, as far as it can say that."""

    def __init__(self, source: Data, given: Mapping[str, Json], aids: Aids) -> None:
        self.source, self.given = source, given
        self.document = Document.of(source)
        self.value: Data = workflow_in(self.document)[0]
        # What the steps carry of their nodes is to stay as it was.
        self.base, self.turned = turned_value(Document.of(copy.deepcopy(source)), aids)
        self.workflow: Workflow = parse(self.value)
        data = given.get("flow_data")
        self.data: Data = data if isinstance(data, dict) else {}
        self.drawn: list[Json] = [*(self.value.get("edges") or ())]
        self.ids = {node.id: step["id"] for step, node in self._first_steps()}

    def _first_steps(self) -> Iterator[tuple[Data, Node]]:
        """Yield each node with the first of its steps."""
        seen: set[str] = set()
        for step, node in zip(self.turned.steps, self.turned.nodes, strict=True):
            if node.id not in seen:
                seen.add(node.id)
                yield step, node

    def apply(self) -> None:
        """Change all that can be said; the rest is found by comparing."""
        for name in ("name", "description"):
            if isinstance(self.given.get(name), str) and self.given[name] != self.base.get(name):
                self.value[name] = self.given[name]
        active = self.given.get("is_active", True)
        if isinstance(active, bool) and active != self.base.get("is_active", True):
            self.value["isEnabled"] = active
        self._inputs()
        given = _objects(self.data, "steps", "id")
        for step, node in self._first_steps():
            if step["id"] not in given:
                self._remove(node)
            elif step != given[step["id"]]:
                self._change(node, step, given[step["id"]])
        self._edges()

    def _inputs(self) -> None:
        given = _objects(self.given, "flow_inputs", "name")
        fields = self._node(self.workflow.trigger).get("input") or {}
        for one in self.turned.inputs:
            name, new = one["name"], given.get(one["name"])
            if new is None or new == one:
                continue
            if new.get("default") != one.get("default"):
                fields[name]["value"] = new.get("default")
            if new.get("required") != one.get("required"):
                fields[name]["isOptional"] = not new.get("required")

    def _node(self, node: Node | None) -> Data:
        """Return the data of a node in the workflow that is changed."""
        return {} if node is None else _data(self.value["nodes"][node.number])

    def _remove(self, node: Node) -> None:
        self.value["nodes"] = [one for one in self.value["nodes"] if not _is(one, node.id)]
        self.value["edges"] = [
            one for one in self.value["edges"] if node.id not in (one.get("source"), one.get("target"))
        ]

    def _change(self, node: Node, old: Data, new: Data) -> None:
        data = next(_data(one) for one in self.value["nodes"] if _is(one, node.id))
        if isinstance(new.get("name"), str) and new["name"] != old.get("name"):
            self._rename(node, new["name"])
        fields = data.get("input") or {}
        before, after = old.get("set"), new.get("set")
        if isinstance(before, dict) and isinstance(after, dict) and node.kind != "trigger":
            for name, value in after.items():
                if name in fields and before.get(name) != value:
                    fields[name]["value"] = with_texts(value, self._tokens)

    def _rename(self, node: Node, name: str) -> None:
        """Call a node so, and in every token too."""
        old, new = spelled(node.name), spelled(name)

        def renamed(text: str) -> str:
            return "".join(
                before + (f"{{{{{self._renamed(inside, old, new)}}}}}" if inside else "")
                for before, inside in pieces(text)
            )

        for one in self.value["nodes"]:
            data = one.get("data") or {}
            for key, value in data.items():
                data[key] = value if key in NOT_RUN else with_texts(value, renamed)
            if _is(one, node.id):
                _data(one)["name"] = name

    def _renamed(self, inside: str, old: str, new: str) -> str:
        rest = inside.removeprefix(".")
        token = self.workflow.tokens.read(inside)
        is_it = getattr(token, "name", None) == old
        return f".{new}{rest[len(old) :]}" if is_it else inside

    def _tokens(self, text: str) -> str:
        """Return a template as a text of the workflow."""
        return _BRACES.sub(self._token, text)

    def _token(self, match: re.Match[str]) -> str:
        if literal := _LITERAL.fullmatch(match[1]):
            return literal[1]
        reference = parse_path(_SOFT.sub("", match[1]))
        if reference is None:
            return match[0]
        names = {step: spelled(self.workflow.nodes[node].name) for node, step in self.ids.items()}
        names |= {"input": "Trigger", "env": "globalVar"}
        root = names.get(reference.root)
        return match[0] if not root else f"{{{{{operand(f'.{root}', reference.path)}}}}}"

    def _edges(self) -> None:
        listed = self.data.get("edges")
        left = [*listed] if isinstance(listed, list) else []
        gone: set[int] = set()
        for edge, arc in zip(self.turned.edges, self.turned.arcs, strict=True):
            if edge in left:
                left.remove(edge)
            else:
                gone.add(arc.number)
        ends = [self.drawn[number] for number in gone if number >= 0]
        self.value["edges"] = [one for one in self.value["edges"] if not any(one is other for other in ends)]


def _data(node: Data) -> Data:
    """Return what a node holds; it may have been nothing."""
    if not isinstance(node.get("data"), dict):
        node["data"] = {}
    data: Data = node["data"]
    return data


def _is(node: Data, name: str) -> bool:
    return node.get("id") == name
