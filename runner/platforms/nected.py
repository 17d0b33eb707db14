"""Documents of Nected, a workflow alone or in the envelope of the API: read, turned to Steps, and patched.

What the nodes do beyond the public envelope is known to the platform alone; it is kept as it is and never
made up. So Steps that came from a workflow carry it, and only that workflow can be made of them again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Final

from runner.core.commands import Json
from runner.core.document import Document, join
from runner.core.model import Flow
from runner.errors import FlowError, Problem, errors_of
from runner.platforms import steps
from runner.platforms.aids import Aids
from runner.platforms.nected_graph import Data, Node, parse, workflow_in
from runner.platforms.nected_patch import patched
from runner.platforms.nected_steps import KEPT, Turned, turned_value

EXAMPLES: Final = {
    "connector": '{"method": "GET", "url": "…"}',
    "code": '{"code_path": "data.…"}',
    "delay": '{"delay": 1000}',
}
_STEP: Final = re.compile(r"steps\[([0-9]+)\](.*)", re.DOTALL)
_INPUT: Final = re.compile(r"flow_inputs\[([0-9]+)\](.*)", re.DOTALL)
_EDGE: Final = re.compile(r"edges\[([0-9]+)\]")


def recognises(document: Document) -> bool:
    """Whether the document is a workflow, alone or in the envelope of an answer."""
    value = workflow_in(document)[0]
    if not isinstance(value.get("nodes"), list) or {"steps", "flow_data", "graphData"} & value.keys():
        return False
    trigger = value.get("trigger")
    is_trigger = isinstance(trigger, dict) and "apiNode" in trigger
    return "startNode" in value or is_trigger or any(map(_is_ours, value["nodes"]))


def _is_ours(node: Json) -> bool:
    data = node.get("data") if isinstance(node, dict) else None
    return isinstance(data, dict) and "nodeType" in data


def problems_of(document: Document) -> tuple[Problem, ...]:
    """Return what is wrong with a workflow that is to be stored: what a token names is left to a run."""
    value, prefix = workflow_in(document)
    found = (
        replace(one, severity="warning") if one.code == "nected.bad_reference" else one
        for one in parse(value).problems
    )
    return document.located(_prefixed(found, prefix))


def _prefixed(problems: Iterable[Problem], prefix: str) -> list[Problem]:
    return [replace(one, where=_under(prefix, one.where)) for one in problems]


def _under(prefix: str, path: str) -> str:
    return f"{prefix}.{path}" if prefix and path else prefix or path


def read(document: Document, aids: Aids | None = None) -> Flow:
    """Read a workflow as the flow that it stands for; what is wrong with either stands in `Flow.problems`."""
    from runner.core.compiled import ForeignWork
    from runner.platforms.nected_code import Code

    prefix = workflow_in(document)[1]
    made, turned = turned_value(document, aids or Aids())
    # A circle is one of the steps too, and told when they are planned.
    told = _told(document, prefix, [one for one in turned.problems if one.code != "graph.cycle"])
    spell = partial(_spelled, turned, prefix, frozenset(one.where for one in told))
    flow = steps.read(replace(document, value=made, spell=spell))
    works = {
        name: ForeignWork(kind="script", program=Code.of(script).program)
        for name, script in turned.scripts.items()
    }
    return replace(flow, works=works, hints=_hints(turned), problems=(*told, *flow.problems))


def _hints(turned: Turned) -> dict[str, str]:
    """Return for each node that only the platform runs the exact key of a binding that runs it here."""
    found = {}
    for step, node in zip(turned.steps, turned.nodes, strict=True):
        if "external" in step and step["id"] not in turned.scripts:
            key = json.dumps(node.name or node.id, ensure_ascii=False)
            found[step["id"]] = f"--bindings FILE with bindings.json: {key}: {_example(node, turned)}; or "
    return found


def _example(node: Node, turned: Turned) -> str:
    if node.kind == "switch":
        paths = [
            step["trueLabel"]
            for step, one in zip(turned.steps, turned.nodes, strict=True)
            if one is node and "condition" in step
        ]
        return json.dumps({"paths": dict.fromkeys(paths, "…")}, ensure_ascii=False)
    return EXAMPLES.get(node.kind, EXAMPLES["connector"])


def to_steps(document: Document, aids: Aids | None = None) -> tuple[Data, tuple[Problem, ...]]:
    """Return a workflow in the Steps format, and a warning for each node that only the platform runs.

    Raises FlowError with all that is wrong with the graph or the bindings.
    """
    prefix = workflow_in(document)[1]
    bindings = aids.bindings.value if aids is not None and aids.bindings is not None else {}
    made, turned = turned_value(document, aids or Aids())
    wrong = [one for one in turned.problems if one.code != "nected.unsupported_node"]
    if errors_of(wrong):
        raise FlowError(_told(document, prefix, errors_of(wrong)))
    kept: Data = {"workflow": document.value, **({"bindings": bindings} if bindings else {})}
    return {**made, KEPT: kept}, _told(document, prefix, [*wrong, *_unknown(turned)])


def from_steps(document: Document) -> tuple[Data, tuple[Problem, ...]]:
    """Return the workflow that Steps came from, changed as they were; raises FlowError for the rest."""
    return patched(document), ()


def _told(document: Document, prefix: str, problems: Iterable[Problem]) -> tuple[Problem, ...]:
    kept = list(problems)
    of_document = document.located(_prefixed([one for one in kept if one.place is None], prefix))
    return (*of_document, *(one for one in kept if one.place is not None))


def _unknown(turned: Turned) -> Iterator[Problem]:
    for step, node in zip(turned.steps, turned.nodes, strict=True):
        if "external" in step:
            kind = step["external"]["type"]
            what = f"only the platform runs {step['id']!r} ({kind}); it is kept as an external step"
            yield Problem("nected.unknown_settings", node.where, what, "warning")


def _spelled(turned: Turned, prefix: str, told: frozenset[str], path: str) -> str:
    """Return where in a workflow stands what has a path in the Steps made of it; `told` are its own."""
    inner = path.removeprefix("flow_data.")
    if inner in told:
        return inner
    if (match := _STEP.fullmatch(inner)) and int(match[1]) < len(turned.nodes):
        node, rest = turned.nodes[int(match[1])], match[2]
        if rest.startswith(".set") and "set" in turned.steps[int(match[1])]:
            rest = f".data.input{rest[4:]}"
        place = node.where if rest in (".id", ".external") else f"{node.where}{rest}"
        return _under(prefix, place)
    if (match := _EDGE.match(inner)) and int(match[1]) < len(turned.arcs):
        number = turned.arcs[int(match[1])].number
        return _under(prefix, f"edges[{number}]" if number >= 0 else "edges")
    if (match := _INPUT.fullmatch(inner)) and int(match[1]) < len(turned.inputs):
        name = turned.inputs[int(match[1])]["name"]
        first = next((node.where for node in turned.nodes if node.kind == "trigger"), "nodes")
        return _under(prefix, f"{join(f'{first}.data.input', name)}{match[2]}")
    return _under(prefix, "isEnabled" if inner == "is_active" else inner)
