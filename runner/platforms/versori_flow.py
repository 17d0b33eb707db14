"""The picture of a flow that the Versori platform draws: the file `versori-flow.json` of a project.

Its form is known only from exported projects: nodes and edges in the manner of React Flow, one
column, downwards. The id of a node is the `task.id` of the spans that belong to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from runner.core.commands import Json
from runner.core.compiled import Plan
from runner.core.model import Flow, Step
from runner.core.redact import mask_url

COLUMN: Final = 300
ROW: Final = 100
_ODD: Final = re.compile(r"[^A-Za-z0-9._-]+")


def trigger_id(label: str) -> str:
    """Return the id of what starts a flow, which is a part of the platform's urls too."""
    return _ODD.sub("-", label).strip("-.") or "flow"


def write(flow: Flow, plan: Plan) -> dict[str, Json]:
    """Return the picture of a flow that has no errors; a step is a node, and so is what starts the flow."""
    trigger = trigger_id(flow.label)
    if any(step.id == trigger for step in flow.steps):
        trigger = f"webhook-{trigger}"
    files = [flow.source] if flow.source else []
    inputs = ", ".join(field.name for field in flow.inputs or ())
    taken = [f"Takes {inputs}."] if inputs else []
    nodes = [_node(trigger, flow.label, flow.description, "webhook", files, taken)]
    edges = [_edge(trigger, flow.steps[root].id) for root in plan.graph.roots()]
    entered: dict[int, list[str]] = {}
    for index, step in enumerate(flow.steps):
        targets: dict[int, None] = {}
        for arc in plan.graph.leaving(index):
            targets[arc.target] = None
            if arc.declared and arc.when not in ("done", "next"):
                entered.setdefault(arc.target, []).append(f"After {step.id}: {arc.when}.")
        edges += [_edge(step.id, flow.steps[target].id) for target in targets]
    for index, step in enumerate(flow.steps):
        told = [*entered.get(index, ()), *_told(step)]
        kind = "request" if step.kind == "http" else "action"
        nodes.append(_node(step.id, step.label, step.description or _work(step), kind, files, told))
    for row, node in enumerate(nodes):
        node["position"] = node["data"]["position"] = {"x": COLUMN, "y": row * ROW}
    return {"nodes": nodes, "edges": edges}


def _node(
    node_id: str, label: str, description: str, kind: str, files: list[str], told: list[str]
) -> dict[str, Json]:
    data = {"id": node_id, "label": label, "description": description, "nodeKind": kind, "files": files}
    return {
        "id": node_id,
        "type": "baseNode",
        "position": {},
        "data": {**data, "position": {}, "steps": told},
    }


def _edge(source: str, target: str) -> dict[str, Json]:
    return {"id": f"{source}-to-{target}", "source": source, "target": target}


def _told(step: Step) -> Iterator[str]:
    """Yield what a step does, a sentence each, in the order in which it happens."""
    if step.condition is not None and step.kind != "condition":
        yield f"Runs only if {step.condition}."
    if step.for_each is not None:
        yield f"Runs once per item of {step.for_each}."
    yield _work(step)
    if step.until is not None:
        yield f"Asks again until {step.until.condition}."
    if step.outputs:
        yield f"Keeps {', '.join(step.outputs)}."


def _work(step: Step) -> str:
    match step.kind:
        case "http":
            return f"Sends {(step.method or '').upper()} {mask_url(step.url or '')}."
        case "set":
            return f"Sets {', '.join(step.set or ())}."
        case "flow":
            return f"Runs the flow {step.flow}."
        case "condition":
            return f"Decides whether {step.condition}."
        case _:
            return f"Waits {step.delay_ms} ms."
