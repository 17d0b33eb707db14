"""Workflows of Nected for tests, all our own: of the shapes that its public schema and its pages have."""

import copy
from itertools import pairwise


def node(name, kind, called=None, **data):
    """Return a node; it is called by its id when no name is given."""
    said = {"nodeType": kind, "name": called or f"N{name}"}
    return {"id": name, "type": kind, "position": {"x": 0, "y": int(name) * 80}, "data": {**said, **data}}


def edge(source, target, kind="then", path=None):
    """Return an edge of a path, or of none."""
    data = {"edgeType": kind} | ({} if path is None else {"pathId": path})
    return {
        "id": f"e{source}-{target}-{kind}",
        "source": source,
        "target": target,
        "type": "smoothstep",
        "data": data,
    }


def field(name, kind="string", value=None, **flags):
    """Return a field of a node."""
    return {"name": name, "dataType": kind, "value": value, **flags}


def trigger(*fields):
    """Return the trigger."""
    made = node("1", "trigger", "Trigger", input={one["name"]: one for one in fields})
    made["data"]["nodeType"] = "apiTrigger"
    return made


def workflow(*nodes, edges=(), fields=(), **more):
    """Return a workflow whose nodes follow each other unless there are edges."""
    every = [trigger(*fields), *nodes]
    names = [one["id"] for one in every]
    drawn = list(edges) or [edge(*pair) for pair in pairwise(names)]
    start = names[1] if len(names) > 1 else ""
    return {
        "name": "A workflow", "description": "", "startNode": start, "trigger": {"apiNode": "1"},
        "isEnabled": True, "nodes": every, "edges": drawn, **more,
    }  # fmt: skip


ORDERS = workflow(
    node("2", "connectorNode", "Get customer", executedValue={"output": {"id": 7, "tier": "gold"}}),
    node("3", "switchNode", "Amount", executedValue={"pathId": "high"}, conditions=[{"a": 1}], switcher={"x": []}),
    node("4", "setVariableNode", "Review", input={
        "by": field("by", value="ada", order=2),
        "limit": field("limit", "numeric", "5.5", order=1),
        "order": field("order", source="1", attribute="orderId", order=3),
    }),
    node("5", "codeNode", "Score", settings={"lang": "js", "code": "var t = {{.Trigger.total}}; ({half: t / 2, of: '{{.Get_customer.output.tier}}'})"}),
    node("6", "addNode", "Join", isMergeNode=True),
    node("7", "responseNode", "Answer", input={
        "id": field("id", value="{{.Trigger.orderId}}"),
        "by": field("by", value="{{.Review.by}}", isNullable=True),
        "text": field("text", value="Order {{.Trigger.orderId}} of {{.Get_customer.output.tier}}"),
    }),
    node("8", "addNodeMd"),
    edges=(
        edge("1", "2"), edge("2", "3"), edge("3", "4", path="high"), edge("3", "5", "else"), edge("4", "6"),
        edge("5", "6"), edge("6", "7"), edge("7", "8"),
    ),
    fields=(
        field("orderId", order=1, executedValue="o-1"),
        field("total", "numeric", order=2, executedValue=120),
        field("note", order=3, isOptional=True),
    ),
    comment="drawn by hand",
    settings={"auditIO": True, "dateFormat": "in", "timezone": "Asia/Kolkata"},
    dependencyMap=[{"entity": "connector", "ids": ["c-1"]}],
    additional={"kept": [1, None]},
)  # fmt: skip
BINDINGS = {
    "Get customer": {"method": "GET", "url": "{{env.API}}/customers/{{.Trigger.orderId}}"},
    "Amount": {"paths": {"high": "{{.Trigger.total}} > 100"}},
    "Score": {"code_path": "data.settings.code"},
}


def orders(**more):
    """Return the sample that has something of everything, with other values at its top."""
    return {**copy.deepcopy(ORDERS), **more}
