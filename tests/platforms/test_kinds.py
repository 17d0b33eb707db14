"""What the reference says of each kind of step, node and edge is what becomes of it."""

from dataclasses import replace
from typing import get_args

import pytest

from runner.core.document import Document
from runner.core.kinds import KINDS
from runner.core.model import StepKind
from runner.core.plan import build_plan
from runner.platforms import DIALECTS, convert, nected_graph, read
from runner.platforms.react_flow import KNOWN_TYPES

REQUEST = {"method": "GET", "url": "http://h.example/"}
STEPS = {
    "http": REQUEST,
    "condition": {"condition": "true"},
    "delay": {"delay": 1},
    "set": {"set": {"x": 1}},
    "flow": {"flow": "other.json"},
    "external": {"external": {"type": "shop/pay"}},
    "endpoint": {"endpointId": 7},
    "tests": {**REQUEST, "tests": ["pm.test('x')"]},
}
NODES = {
    "apiCall": REQUEST,
    "condition": {"condition": "true"},
    "delay": {"duration": 1},
    "set": {"set": {"x": 1}},
    "flow": {"flow": "other.json"},
    "http_request": {**REQUEST, "headers": '{"A": "b"}'},
    "variable_set": {"variable": "x", "value": 1},
    "any other type": {"status": 200},
}
EDGES = {
    "edge": {},
    "edge with true or false": {"data": {"condition": "true"}},
    "edge with a condition": {"data": {"condition": "1 === 1"}},
    "edge of type success, error or always": {"type": "success"},
}


FIELDS = {"x": {"name": "x", "dataType": "string", "value": "1"}}
NECTED_NODES = {
    "trigger": {},
    "setVariableNode": {"input": FIELDS},
    "responseNode": {"input": FIELDS},
    "mergeNode": {},
    "addNode": {},
    "switchNode": {},
    "codeNode": {"settings": {"snippet": "1"}},
    "connectorNode": {},
    "ruleNode": {"entityId": "r"},
    "workflowNode": {"entityId": "w"},
    "delayNode": {},
    "any other type": {},
    "loopNode": {},
    "runInLoop": {"input": FIELDS, "runInLoop": {"status": True, "value": "{{.Trigger}}"}},
}
NECTED_EDGES = {
    "edge of type then": "then",
    "edge of type else": "else",
    "edge of any other type": "maybe",
}
SAID_BY_THE_SEED = {"trigger", "code", "add", "rule", "connector", "response", "setVariable"}


def documents():
    for name, step in STEPS.items():
        yield "steps", name, {"version": "1.0", "steps": [{"id": "a", **step}]}
    for name, data in NODES.items():
        yield "react-flow", name, {"nodes": [{"id": "a", "type": name, "data": data}], "edges": []}
    for name, said in EDGES.items():
        nodes = [
            {"id": "a", "type": "condition", "data": {"condition": "true"}},
            {"id": "b", "data": REQUEST},
        ]
        yield "react-flow", name, {"nodes": nodes, "edges": [{"source": "a", "target": "b", **said}]}


def workflows():
    """Yield for each kind of the table a workflow with one such node, or such an edge."""
    for name, data in NECTED_NODES.items():
        kind = {"any other type": "slackNode", "runInLoop": "setVariableNode", "trigger": "mergeNode"}.get(
            name, name
        )
        yield name, workflow({"id": "2", "type": kind, "data": {"nodeType": kind, "name": "A", **data}})
    for name, said in NECTED_EDGES.items():
        node = {"id": "2", "type": "mergeNode", "data": {"nodeType": "mergeNode", "name": "A"}}
        yield name, workflow(node, said)


def workflow(node, said="then"):
    placeholder = node["type"] == "addNode"
    last = {"id": "9", "type": "mergeNode", "data": {"nodeType": "mergeNode", "name": "Last"}}
    return {
        "name": "w",
        "startNode": "9" if placeholder else "2",
        "trigger": {"apiNode": "1"},
        "nodes": [
            {
                "id": "1",
                "type": "trigger",
                "data": {"nodeType": "apiTrigger", "name": "Trigger", "input": {}},
            },
            node,
            last,
        ],
        "edges": [
            {"id": "a", "source": "1", "target": "2", "data": {"edgeType": "then"}},
            {"id": "b", "source": "2", "target": "9", "data": {"edgeType": said}},
        ],
    }


@pytest.mark.parametrize(("name", "document"), list(workflows()), ids=str)
def test_what_the_table_says_of_a_node_of_nected_is_what_becomes_of_it(name, document):
    plan = build_plan(read(Document.of(document), "nected"))
    given = [step.id for step in plan.steps if step.external is not None]
    found = "refused" if plan.errors else "given" if given else "kept" if plan.problems else "run"
    assert found == KINDS["nected"][name].fate
    made, problems = convert(Document.of(document), "steps")
    assert bool(problems) == (found != "run")
    assert convert(Document.of(made), "nected")[0] == document


def inner(path, by):
    """Return the flow that a flow step runs."""
    flow = read(Document.of({"name": "other", "version": "1.0", "steps": [], "flow_inputs": []}))
    return replace(flow, home="/", source=path)


@pytest.mark.parametrize(("dialect", "name", "document"), list(documents()), ids=str)
def test_what_the_table_says_of_a_kind_is_what_becomes_of_it(dialect, name, document):
    flow = replace(read(Document.of(document), dialect), home="/", source="this.json")
    plan = build_plan(flow, inner)
    fates = {"run": (False, False), "kept": (False, True), "refused": (True, True)}
    is_told = any("only outputs" not in problem.what for problem in plan.problems)
    assert (bool(plan.errors), is_told) == fates[KINDS[dialect][name].fate]
    made, problems = convert(Document.of(document), "steps")
    assert bool(problems) == (dialect == "react-flow" and KINDS[dialect][name].fate == "refused")
    assert convert(Document.of(made), dialect)[0] == document


def test_no_kind_is_missing_from_the_table():
    assert set(KINDS) <= set(DIALECTS)
    assert {(dialect, name) for dialect, name, _ in documents()} == {
        (dialect, name) for dialect in ("steps", "react-flow") for name in KINDS[dialect]
    }
    assert {name for name, _ in workflows()} == set(KINDS["nected"])
    assert {spelling.removesuffix("Node") for spelling in NECTED_NODES} >= SAID_BY_THE_SEED
    rows = {name.removesuffix("Node").lower() for name in KINDS["nected"]}
    assert nected_graph.KINDS.keys() - {"apitrigger"} <= rows
    assert set(get_args(StepKind)) - {"script"} <= set(KINDS["steps"])
    assert set(KNOWN_TYPES) <= set(KINDS["react-flow"])
