"""Workflows of Nected: what is wrong with them, the steps they stand for, and the way back into them."""

import copy
import json

import pytest

from runner.core.commands import Computed, RunScript
from runner.core.document import Document, parse
from runner.core.plan import build_plan
from runner.errors import FlowError, errors_of
from runner.platforms import convert, dialect_of, read
from runner.platforms.aids import Aids
from runner.platforms.nected import problems_of
from runner.platforms.nected_code import filled
from tests.platforms.nected_samples import BINDINGS, edge, field, node, orders, trigger, workflow
from tests.play import Stage, answer

KINDS = ["codeNode", "ruleNode", "connectorNode", "workflowNode", "delayNode", "slackNode"]


def told(value, bindings=None):
    """Return place and text of everything that is wrong with a workflow as it is planned."""
    aids = None if bindings is None else Aids(Document.of(bindings))
    plan = build_plan(read(Document.of(value), "nected", aids))
    return [(one.where, one.what) for one in plan.problems]


def without(value, name):
    return {key: one for key, one in value.items() if key != name}


def plain(*nodes, fields=(), **more):
    return {**workflow(*(nodes or (node("2", "mergeNode", "A"),)), fields=fields), **more}


def turned(value, bindings=None, *, recorded=False):
    """Return the steps of a workflow by their ids, and its edges as pairs with `when`."""
    aids = Aids(None if bindings is None else Document.of(bindings), recorded)
    made, _ = convert(Document.of(value), "steps", "nected", aids)
    data = made["flow_data"]
    steps = {step["id"]: without(step, "id") for step in data["steps"]}
    return steps, [(one["from"], one["to"], one["when"]) for one in data.get("edges", ())]


# --- recognised


@pytest.mark.parametrize(
    "value",
    [
        plain(),
        {"code": "success", "message": "ok", "data": plain()},
        without(plain(), "startNode"),
        without(without(plain(), "startNode"), "trigger"),
        {"nodes": [], "startNode": "2"},
    ],
)
def test_a_workflow_is_recognised_alone_and_in_the_envelope_of_an_answer(value):
    assert dialect_of(Document.of(value)) == "nected"


@pytest.mark.parametrize(
    "value",
    [
        {"nodes": [{"id": "a", "data": {"url": "/"}}], "edges": []},
        {"nodes": ["x"], "edges": []},
        {"name": "x", "nodes": {}, "startNode": "2"},
        {"steps": [], "nodes": [], "startNode": "2"},
        {"nodes": [], "trigger": {"type": "x"}},
    ],
)
def test_documents_of_others_are_not_taken_for_workflows(value):
    with pytest.raises(FlowError, match="no flow of the dialect nected"):
        dialect_of(Document.of(value), "nected")


# --- what is wrong with the graph


ON = {"name": "x", "data": {"nodeType": "mergeNode"}}
WRONG = [
    (without(plain(), "name"), "name", "a workflow needs a name"),
    (plain(name=""), "name", "a workflow needs a name"),
    (plain(name=1), "name", "must be a text, not a number"),
    (plain(description=[]), "description", "must be a text, not a list"),
    (plain(isEnabled=1), "isEnabled", "must be true or false, not a number"),
    (plain(dependencyMap={}), "dependencyMap", "must be a list, not an object"),
    (plain(nodes=[]), "nodes", "must be a list of nodes, not an empty list"),
    (plain(edges={}), "edges", "must be a list of edges, not an object"),
    (plain(nodes=[trigger(), 7]), "nodes[1]", "must be an object, not a number"),
    (plain(nodes=[trigger(), {"type": "codeNode"}]), "nodes[1].id", "a node needs an id, a text"),
    (plain(nodes=[trigger(), {"id": 2}]), "nodes[1].id", "a node needs an id, a text"),
    (plain(node("2", "mergeNode", "A"), node("2", "mergeNode", "B")), "nodes[2].id", "the id '2' is taken by nodes[1]; ids must be unique"),
    (plain(node("2", "mergeNode", "A B"), node("3", "mergeNode", "A_B")), "nodes[2].data.name", "the name 'A_B' is taken by nodes[1]; tokens name nodes, so it must be unique"),
    (plain(node("2", "mergeNode", "globalVar")), "nodes[1].data.name", "the name 'globalVar' has another meaning in tokens; choose another"),
    (plain(node("2", "mergeNode", "Trigger")), "nodes[1].data.name", "the name 'Trigger' has another meaning in tokens; choose another"),
    (plain(nodes=[node("2", "mergeNode", "A")], edges=[]), "nodes", "there is no trigger: a node of the type 'trigger'"),
    (plain(trigger() | {"id": "7"}), "nodes[1]", "there is a trigger already, nodes[0]; a workflow has one"),
    (plain(nodes=[trigger() | {"id": "7"}, node("2", "mergeNode", "A")], edges=[edge("7", "2")]), "nodes[0].id", "the trigger's id must be '1', not '7'"),
    (plain(nodes=[trigger() | {"data": {"nodeType": "trigger"}}, node("2", "mergeNode", "A")]), "nodes[0].data.nodeType", "the trigger must be an 'apiTrigger', not 'trigger'"),
    (plain(trigger={"apiNode": "2"}), "trigger.apiNode", "must be '1', the id of the trigger"),
    (without(plain(), "trigger"), "trigger.apiNode", "must be '1', the id of the trigger"),
    (plain(startNode=""), "startNode", "is missing; it is the id of the first node that runs"),
    (plain(startNode="22"), "startNode", "no node '22'; did you mean '2'?"),
    (plain(startNode="1"), "startNode", "the node '1' is a trigger; give the first one that runs"),
    (plain(node("2", "addNode"), node("3", "mergeNode", "A")), "startNode", "the node '2' is a placeholder; give the first one that runs"),
    (plain(node("2", "mergeNode", "A"), node("3", "mergeNode", "B"), edges=[edge("1", "3"), edge("3", "2")]), "startNode", "the trigger leads to '3' and not to this node"),
    (plain(edges=[edge("1", "2"), 5]), "edges[1]", "must be an object, not a number"),
    (plain(edges=[edge("1", "2"), edge("2", "9")]), "edges[1].target", "no node '9'"),
    (plain(edges=[edge("1", "2"), {"id": "x", "target": "2"}]), "edges[1].source", "is missing"),
    (plain(edges=[without(edge("1", "2"), "id"), edge("2", "9")]), "edges[1].target", "no node '9'"),
    (plain(edges=[edge("1", "2"), edge("1", "2")]), "edges[1].id", "the id 'e1-2-then' is taken by edges[0]; ids must be unique"),
    (plain(edges=[edge("1", "2"), edge("2", "1")]), "edges[1].target", "nothing can lead to the trigger"),
    (plain(node("2", "mergeNode", "A"), node("3", "mergeNode", "B"), edges=[edge("1", "2")]), "nodes[2]", "no edge leads to the node '3'; add one or remove it"),
    (plain(settings={"timezone": "Asia/Kolkatta"}), "settings.timezone", "'Asia/Kolkatta' is no IANA time zone; did you mean 'Asia/Kolkata'?"),
    (plain(settings={"timezone": "+05:30"}), "settings.timezone", "'+05:30' is no IANA time zone; such as 'Asia/Kolkata'"),
    (plain(settings={"auditIO": "yes"}), "settings.auditIO", "must be true or false, not a text"),
    (plain(settings={"dateFormat": 1}), "settings.dateFormat", "must be a text, not a number"),
    (plain(node("2", "mergeNode", "A") | {"sourcePosition": "left"}), "nodes[1].sourcePosition", "must be one of 'bottom', 'right', not 'left'"),
    (plain(node("2", "mergeNode", "A") | {"targetPosition": "right"}), "nodes[1].targetPosition", "must be one of 'top', 'left', not 'right'"),
    (plain(node("2", "mergeNode", "A") | {"position": {"x": "1"}}), "nodes[1].position.x", "must be a number, not a text"),
    (plain(node("2", "mergeNode", "A") | {"draggable": 1}), "nodes[1].draggable", "must be true or false, not a number"),
    (plain(node("2", "mergeNode", "A") | {"data": 7}), "nodes[1].data", "must be an object, not a number"),
    (plain(node("2", "mergeNode", "A", isMergeNode=1)), "nodes[1].data.isMergeNode", "must be true or false, not a number"),
    (plain(node("2", "mergeNode", "A", runInLoop={"status": 1})), "nodes[1].data.runInLoop.status", "must be true or false, not a number"),
    (plain(node("2", "setVariableNode", "A", input={"x": 1})), "nodes[1].data.input.x", "must be an object, not a number"),
    (plain(node("2", "setVariableNode", "A", input={"x": {"value": 1, "order": True}})), "nodes[1].data.input.x.order", "must be a whole number, not a boolean"),
    (plain(edges=[edge("1", "2") | {"animated": "no"}]), "edges[0].animated", "must be true or false, not a text"),
    (plain(edges=[edge("1", "2") | {"style": {"strokeWidth": "2"}}]), "edges[0].style.strokeWidth", "must be a number, not a text"),
    (plain(node("2", "setVariableNode", "A", input={"x": field("x")})), "nodes[1].data.input.x", "the field 'x' has no value; give 'value', or 'source' and 'attribute', or set isOptional or sendNull"),
    (plain(node("2", "setVariableNode", "A", input={"x": field("x", "numeric", "5x")})), "nodes[1].data.input.x.value", "the text is no numeric; correct it, or the dataType"),
    (plain(node("2", "setVariableNode", "A", input={"x": field("x", "boolean", "yes")})), "nodes[1].data.input.x.value", "the text is no boolean; correct it, or the dataType"),
    (plain(node("2", "setVariableNode", "A", input={"x": field("x", "list", '{"a": 1}')})), "nodes[1].data.input.x.value", "the text is no list; correct it, or the dataType"),
    (plain(node("2", "setVariableNode", "A", input={"x": field("x", "json", "{a}")})), "nodes[1].data.input.x.value", "the text is no json; correct it, or the dataType"),
    (plain(node("2", "setVariableNode", "A", input={"x": field("x", value="{{.Nope.x}}")})), "nodes[1].data.input.x.value", "{{.Nope.x}}: no node 'Nope'; a token begins with the name of a node that runs before"),
    (plain(node("2", "setVariableNode", "A", input={"x": field("x", source="9", attribute="y")})), "nodes[1].data.input.x", "{{.9.y}}: no node '9'; a token begins with the name of a node that runs before"),
    (plain(node("2", "setVariableNode", "A", input={"x": field("x", value="{{.B.y}}")}), node("3", "mergeNode", "B")), "nodes[1].data.input.x.value", "{{.B.y}}: the node 'B' does not run before this one"),
    (plain(node("2", "setVariableNode", "A", input={"x": field("x", value="{{.dataSet.rate}}")})), "nodes[1]", 'only the platform knows {{.dataSet.rate}}; give --bindings FILE with ".dataSet.rate": "…"'),
    (plain(node("2", "loopNode", "A")), "nodes[1]", "a loop over several nodes is run only by the platform; give its node 'runInLoop' instead"),
]  # fmt: skip
ODD = [
    (plain(edges=[edge("1", "2", "maybe")]), "edges[0].data.edgeType", "'maybe' is neither 'then' nor 'else'; read as 'then'"),
    (plain(edges=[without(edge("1", "2"), "data")]), "edges[0].data.edgeType", "is missing; read as 'then'"),
    (plain(node("2", "setVariableNode", "A", input={"x": field("x", "strin", "1")})), "nodes[1].data.input.x.dataType", "no type 'strin'; did you mean 'string'?"),
    (plain(node("2", "setVariableNode", "A", input={"x": field("x", "money", "1")})), "nodes[1].data.input.x.dataType", "no type 'money'; known are string, numeric, boolean, json, list, date, dateTime"),
    (plain(node("2", "connectorNode", "A", input={"x": field("x")})), "nodes[1].data.input.x", "the field 'x' has no value; give 'value', or 'source' and 'attribute', or set isOptional or sendNull"),
    (plain(isEnabled=False), "isEnabled", "the flow is not active; submit and worker refuse it without --inactive"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "where", "what"), WRONG)
def test_each_rule_is_told_with_its_place(value, where, what):
    assert (where, what) in told(value)
    assert errors_of(build_plan(read(Document.of(value), "nected")).problems)


@pytest.mark.parametrize(("value", "where", "what"), ODD)
def test_what_can_be_run_all_the_same_is_a_warning(value, where, what):
    plan = build_plan(read(Document.of(value), "nected"))
    assert [(one.where, one.what, one.severity) for one in plan.problems] == [(where, what, "warning")]


def test_everything_that_is_wrong_is_told_at_once():
    value = plain(name="", startNode="9", trigger={}, settings={"timezone": "x"})
    assert [where for where, _ in told(value)] == [
        "name",
        "settings.timezone",
        "startNode",
        "trigger.apiNode",
    ] or {where for where, _ in told(value)} == {"name", "settings.timezone", "startNode", "trigger.apiNode"}


def test_places_are_those_of_the_file():
    value = {"code": "success", "message": "", "data": plain(startNode="9")}
    [problem] = read(parse(json.dumps(value, indent=1).encode(), name="w.json")).problems
    assert (problem.where, str(problem.place).rpartition(":")[0]) == ("data.startNode", "w.json:7")


def test_what_is_wrong_with_the_steps_stands_where_the_workflow_says_it():
    fields = {"x": field("x", value="{{.dataSet.a}}"), "y": field("y", value="1")}
    made = node("2", "setVariableNode", "A", input=fields)
    value = {"data": {**plain(made, fields=[field("order-id"), field("n", "numeric", "x")]), "edges": []}}
    found = {one.where: one.what for one in build_plan(read(Document.of(value))).problems}
    assert found["data.nodes[0].data.input.order-id.name"].startswith("Input order-id:")
    assert found["data.nodes[0].data.input.n.default"].startswith("Input n:")
    assert "data.nodes[1]" in found


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("flow_data.steps[1].set.x", "nodes[1].data.input.x"),
        ("flow_data.steps[1].id", "nodes[1]"),
        ("flow_data.steps[1].condition", "nodes[1].condition"),
        ("flow_data.steps[9].url", "steps[9].url"),
        ("flow_data.edges[0].when", "edges"),
        ("flow_data.edges[1].when", "edges[0]"),
        ("flow_data.edges[9].when", "edges[9].when"),
        ("flow_inputs[0].type", "nodes[0].data.input.a.type"),
        ("flow_inputs[9].type", "flow_inputs[9].type"),
        ("is_active", "isEnabled"),
        ("flow_data.version", "version"),
    ],
)
def test_paths_of_the_steps_are_those_of_the_workflow(path, where):
    nodes = [
        node("2", "setVariableNode", "A", input={"x": field("x", value="1")}),
        node("3", "mergeNode", "B"),
    ]
    document = read(Document.of(workflow(*nodes, edges=[edge("2", "3")], fields=[field("a")]))).document
    assert document.spell(path) == where


@pytest.mark.parametrize("kind", ["loopNode", "ruleNode"])
def test_only_a_loop_may_lead_back(kind):
    loop = {} if kind == "loopNode" else {"runInLoop": {"status": True, "value": "{{.Trigger.x}}"}}
    nodes = [node("2", "mergeNode", "A"), node("3", kind, "B", **loop), node("4", "mergeNode", "C")]
    edges = [edge("1", "2"), edge("2", "3"), edge("3", "4"), edge("4", "3")]
    circle = "wait for each other"
    assert not any(circle in what for _, what in told(workflow(*nodes, edges=edges)))
    nodes[1]["data"] = {"nodeType": "ruleNode", "name": "B"}
    found = [one for one in told(workflow(*nodes, edges=edges)) if circle in one[1]]
    assert found == [("nodes[2]", "the steps B -> C -> B wait for each other; a loop needs join 'each' and maxVisits on its first step")]  # fmt: skip
    with pytest.raises(FlowError, match=r"nodes 4 -> 3 -> 4 wait for each other; only a loop may lead back"):
        convert(Document.of(workflow(*nodes, edges=edges)), "steps")


def test_before_it_is_stored_tokens_are_only_warned_of():
    value = plain(node("2", "setVariableNode", "A", input={"x": field("x", value="{{.Nope.x}}")}))
    assert [(one.code, one.severity) for one in problems_of(Document.of(value))] == [
        ("nected.bad_reference", "warning")
    ]
    [problem] = problems_of(Document.of({"data": plain(startNode="9")}))
    assert (problem.where, problem.severity) == ("data.startNode", "error")


def test_a_workflow_without_anything_usable_is_told_and_not_turned():
    assert told({"nodes": [3], "edges": [4], "startNode": "2"})


# --- the steps


def test_each_node_is_a_step_called_by_the_name_of_its_node():
    steps, edges = turned(orders(), BINDINGS)
    assert list(steps) == ["Trigger", "Get_customer", "Amount", "Review", "Score", "Join", "Answer"]
    assert steps["Get_customer"] == {
        "name": "Get customer",
        "method": "GET",
        "url": "{{env.API}}/customers/{{input.orderId}}",
        "outputs": {"output": "response.body", "statusCode": "response.status"},
    }
    assert edges == [
        ("Trigger", "Get_customer", "success"),
        ("Get_customer", "Amount", "success"),
        ("Amount", "Review", "true"),
        ("Amount", "Score", "false"),
        ("Review", "Join", "success"),
        ("Score", "Join", "success"),
        ("Join", "Answer", "success"),
    ]


def test_names_that_no_id_can_be_are_changed_and_stay_apart():
    nodes = [
        node("2", "mergeNode", "MS-SQL(PROD)"),
        node("3", "mergeNode", "MS_SQL_PROD"),
        node("4", "mergeNode", "input"),
    ]
    nodes += [node("5", "mergeNode", "3rd"), node("6", "mergeNode", "("), node("7", "mergeNode", "none")]
    del nodes[4]["data"]["name"]
    assert list(turned(workflow(*nodes))[0])[1:] == [
        "MS_SQL_PROD",
        "MS_SQL_PROD_2",
        "input_2",
        "n3rd",
        "n6",
        "none_2",
    ]


def test_the_fields_of_the_trigger_are_the_inputs_in_their_order():
    fields = [
        field("b", "numeric", order=2), field("a", order=1), field("c", "boolean", order=3, isOptional=True),
        field("d", "json", order=4), field("e", "list", order=5, isNullable=True), field("f", "date", "2024/07/21", order=6),
        field("g", "money", order=7), field("h", order=8, executedValue="x"),
    ]  # fmt: skip
    document = Document.of(plain(fields=fields))
    assert [(one.name, one.type, one.required) for one in read(document).inputs] == [
        ("a", "string", True), ("b", "number", True), ("c", "boolean", False), ("d", "json", True),
        ("e", "array", False), ("f", "date", False), ("g", "json", True), ("h", "string", True),
    ]  # fmt: skip
    assert [one.default for one in read(document).inputs if one.name == "f"] == ["2024/07/21"]
    recorded = read(document, "nected", Aids(recorded=True)).inputs[-1]
    assert (recorded.default, recorded.required) == ("x", False)


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (field("x", value="a"), {"x": "a"}),
        (field("x", value=None, sendNull=True), {"x": None}),
        (field("x", value=None, isNullable=True), {"x": None}),
        (field("x", value=None, isOptional=True), {}),
        (field("x", value=None, isOptional=True, sendNull=True), {"x": None}),
        (field("x", value="a", notSend=True), {}),
        (field("x", value=None, notSend=True), {}),
        (field("x", "numeric", "5"), {"x": 5}),
        (field("x", "numeric", "-5.5"), {"x": -5.5}),
        (field("x", "numeric", 7), {"x": 7}),
        (field("x", "boolean", "true"), {"x": True}),
        (field("x", "list", '["a", 1]'), {"x": ["a", 1]}),
        (field("x", "json", '{"a": [1]}'), {"x": {"a": [1]}}),
        (field("x", "json", "null", sendNull=True), {"x": None}),
        (field("x", "date", "2024/07/21"), {"x": "2024/07/21"}),
        (field("x", "dateTime", "2024-08-07T12:46:00+05:30"), {"x": "2024-08-07T12:46:00+05:30"}),
        (field("x", "string", "5"), {"x": "5"}),
        (field("x", "money", "5"), {"x": "5"}),
        (field("x", "json", {"a": ["{{.Trigger.f}}"]}), {"x": {"a": ["{{input.f}}"]}}),
        (field("x", value="{{.Trigger.f}}"), {"x": "{{input.f}}"}),
        (field("x", "numeric", "{{.Trigger.f}}"), {"x": "{{input.f}}"}),
        (field("x", value="{{.customInput.f}}"), {"x": "{{input.f}}"}),
        (field("x", value="{{.Trigger}}"), {"x": "{{input}}"}),
        (field("x", value="{{.globalVar.rate}}"), {"x": "{{env.rate}}"}),
        (field("x", source="1", attribute="f"), {"x": "{{input.f}}"}),
        (field("x", source="Trigger", attribute="f[0].g"), {"x": "{{input.f[0].g}}"}),
        (field("x", source="B C"), {"x": "{{B_C}}"}),
        (field("x", value="{{.B_C.y}}"), {"x": "{{B_C.y}}"}),
        (field("x", value="{{.B_C.output.y}}"), {"x": "{{B_C.y}}"}),
        (field("x", value="{{.B_C.output}}"), {"x": "{{B_C}}"}),
        (field("x", value="a {{x}} {%  {# }}"), {"x": "a {{ '{{' }}x}} {{ '{%' }}  {{ '{#' }} }}"}),
    ],
)  # fmt: skip
def test_a_field_is_set_as_its_flags_and_its_type_say(one, expected):
    before = node("2", "setVariableNode", "B C", input={"y": field("y", value="1")})
    value = workflow(before, node("3", "responseNode", "A", input={"x": one}), fields=[field("f", "json")])
    assert turned(value)[0]["A"]["set"] == expected


def test_a_field_called_output_is_not_left_out_of_a_token():
    before = node("2", "setVariableNode", "B", input={"output": field("output", value="1")})
    value = workflow(before, node("3", "responseNode", "A", input={"x": field("x", value="{{.B.output}}")}))
    assert turned(value)[0]["A"]["set"] == {"x": "{{B.output}}"}


def test_fields_keep_the_order_that_they_have():
    assert list(turned(orders())[0]["Review"]["set"]) == ["limit", "by", "order"]


def test_a_node_that_a_path_may_leave_out_is_null_for_those_after_it():
    assert turned(orders())[0]["Answer"]["set"]["by"] == "{{ Review.by | default(none) }}"


@pytest.mark.parametrize(
    ("loop", "expected"),
    [
        ({"status": True, "value": "{{.Trigger.f}}"}, "{{input.f}}"),
        ({"status": True, "value": [1, 2]}, [1, 2]),
        ({"status": True, "source": "1", "attribute": "f"}, "{{input.f}}"),
        ({"status": False, "value": [1]}, None),
        ({}, None),
    ],
)
def test_a_node_runs_in_a_loop_over_the_list_it_names(loop, expected):
    made = node("2", "setVariableNode", "A", input={"x": field("x", value="1")}, runInLoop=loop)
    steps, _ = turned(workflow(made, fields=[field("f", "list")]))
    assert steps["A"].get("forEach") == expected


@pytest.mark.parametrize(
    ("kind", "kept"),
    [("addNode", "A"), ("addNodeMd", "A"), ("AddNode", "A")],
)
def test_edges_go_on_through_placeholders(kind, kept):
    nodes = [node("2", "mergeNode", "A"), node("3", kind), node("4", kind), node("5", "mergeNode", "B")]
    edges = [
        edge("1", "2"),
        edge("2", "3", "else"),
        edge("3", "4"),
        edge("4", "3"),
        edge("4", "5"),
        edge("3", "5"),
    ]
    steps, drawn = turned(workflow(*nodes, edges=edges))
    assert list(steps) == ["Trigger", "A", "B"]
    assert set(drawn) == {("Trigger", "A", "success"), ("A", "B", "failure")}


def test_the_start_node_begins_where_no_edge_says_so():
    value = plain(node("2", "mergeNode", "A"), edges=[])
    value["edges"] = []
    assert turned(value)[1] == [("Trigger", "A", "success")]


@pytest.mark.parametrize(
    "spelling", ["responseNode", "response", "ResponseNode", "responseBlock", "responseNodeMd"]
)
def test_kinds_are_known_in_any_spelling(spelling):
    steps, _ = turned(plain(node("2", spelling, "A", input={"x": field("x", value="1")})))
    assert steps["A"]["set"] == {"x": "1"}


def test_the_type_says_the_kind_where_the_data_does_not():
    made = node("2", "responseNode", "A", input={"x": field("x", value="1")})
    made["data"]["nodeType"] = "somethingNew"
    assert turned(plain(made))[0]["A"]["set"] == {"x": "1"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_node_that_only_the_platform_runs_is_external_and_carries_its_source(kind):
    made = node("2", kind, "A", settings={"x": [1]}, executedValue={"y": 2})
    assert turned(plain(made))[0]["A"]["external"] == {
        "platform": "nected",
        "type": kind,
        "fields": ["output"],
        "source": made["data"],
        "recorded": {"output": {"y": 2, "output": {"y": 2}}},
    }
    _, warnings = convert(Document.of(plain(made)), "steps")
    assert [str(one) for one in warnings] == [
        f"nodes[1]: only the platform runs 'A' ({kind}); it is kept as an external step"
    ]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"executedValue": [1]}, {"output": {"output": [1]}}),
        ({"executedValue": {"output": 1, "x": 2}}, {"output": {"output": 1, "x": 2}}),
        ({"executedValue": "{{.x}}"}, {"output": {"output": "{{.x}}"}}),
        ({"executedValue": None}, None),
        ({}, None),
        ({"executedValue": 1, "status": "error"}, {"error": {"code": "nected.recorded_error", "message": "the last test of the node failed"}}),
        ({"executedValue": 1, "status": "success"}, {"output": {"output": 1}}),
    ],
)  # fmt: skip
def test_what_a_node_came_to_is_its_recording(data, expected):
    steps, _ = turned(plain(node("2", "ruleNode", "A", **data)))
    assert steps["A"]["external"].get("recorded") == expected


# --- the switch


def switch(**data):
    nodes = [
        node("2", "switchNode", "S", **data),
        node("3", "mergeNode", "P"),
        node("4", "mergeNode", "Q"),
        node("5", "mergeNode", "R"),
    ]
    edges = [edge("1", "2"), edge("2", "3", path="p'1"), edge("2", "4", path="p2"), edge("2", "5", "else")]
    return workflow(*nodes, edges=edges, fields=[field("x", "numeric")])


def test_a_switch_with_a_binding_tries_its_paths_in_order():
    bindings = {"S": {"paths": {"p2": "{{.Trigger.x}} > 2", "p'1": "{{.Trigger.x}} > 1"}}}
    steps, edges = turned(switch(), bindings)
    assert steps["S"]["condition"] == "{{input.x}} > 2"
    assert steps["S__2"]["condition"] == "{{input.x}} > 1"
    assert set(edges) == {
        ("Trigger", "S", "success"), ("S", "S__2", "false"), ("S__2", "P", "true"), ("S", "Q", "true"), ("S__2", "R", "false"),
    }  # fmt: skip
    for x, taken in ((3, "Q"), (2, "P"), (0, "R")):
        stage = Stage(
            read(Document.of(switch()), "nected", Aids(Document.of(bindings))), inputs={"x": x}
        ).run()
        assert [name for name in "PQR" if stage.statuses[name] == "succeeded"] == [taken]


def test_a_switch_without_a_binding_asks_which_path_it_takes():
    steps, edges = turned(switch(executedValue={"pathId": "p2"}))
    assert steps["S"]["external"]["fields"] == ["path"]
    assert steps["S"]["external"]["recorded"] == {"output": {"path": "p2"}}
    assert steps["S__1"]["condition"] == "{{S.path}} === 'p\\'1'"
    assert ("S", "S__1", "success") in edges
    assert ("S__1", "P", "true") in edges
    assert ("S__2", "R", "false") in edges


@pytest.mark.parametrize(
    ("value", "expected"), [("p2", {"output": {"path": "p2"}}), ({"a": 1}, None), (7, None)]
)
def test_a_switch_is_replayed_where_its_recording_names_a_path(value, expected):
    steps, _ = turned(switch(executedValue=value))
    assert steps["S"]["external"].get("recorded") == expected


def test_a_switch_of_no_path_just_goes_on():
    nodes = [node("2", "switchNode", "S"), node("3", "mergeNode", "P")]
    value = workflow(*nodes, edges=[edge("1", "2"), edge("2", "3", "else")])
    steps, edges = turned(value, {"S": {"paths": {}}})
    assert (steps["S"], edges[1]) == ({"name": "S", "set": {}}, ("S", "P", "success"))


def test_a_switch_that_is_bound_otherwise_goes_on_after_it():
    steps, edges = turned(switch(), {"S": {"condition": "{{.Trigger.x}} > 1"}})
    assert steps["S"] == {"name": "S", "condition": "{{input.x}} > 1"}
    assert edges[1:] == [("S", "P", "true"), ("S", "Q", "true"), ("S", "R", "false")]


# --- bindings


@pytest.mark.parametrize(
    ("bindings", "what"),
    [
        ({"Get custmer": {}}, "there is no node 'Get custmer'; did you mean 'Get customer'?"),
        ({"Trigger": {}}, "the trigger is given its inputs with -i"),
        ({"Score": 7}, "must be an object with the keys of a step, not a number"),
        ({"Score": {}, "5": {}}, "the node is bound already, as 'Score'"),
        ({"Score": {"id": "x"}}, "the node cannot have the key 'id'"),
        ({"Score": {"methd": "GET"}}, "the node cannot have the key 'methd'; did you mean 'method'?"),
        ({"Score": {"paths": {}}}, "the node cannot have the key 'paths'"),
        ({"Amount": {"code_path": "x"}}, "the node cannot have the key 'code_path'"),
        ({"Score": {"code_path": "data.settings.code", "url": "x"}}, "the node cannot have the key 'url'"),
        ({"Score": {"code_path": "data.settings.nope"}}, "must be the path to the text of the code in the node, such as 'data.settings.code'"),
        ({"Score": {"code_path": 1}}, "must be the path to the text of the code in the node, such as 'data.settings.code'"),
        ({"Amount": {"paths": []}}, "must be an object: the id of each path to a condition"),
        ({"Amount": {"paths": {"high": 1}}}, "must be an object: the id of each path to a condition"),
        ({"Amount": {"paths": {"low": "true"}}}, 'the path \'high\' has no condition; add to its "paths": "high": "…"'),
        ({".systemVar": 1}, "is no token that can be given a value; such are .systemVar.NAME, .dataSet.NAME, .additionalData.NAME"),
        ({".Review.by": 1}, "is no token that can be given a value; such are .systemVar.NAME, .dataSet.NAME, .additionalData.NAME"),
        ({".Nope.by": 1}, "is no token that can be given a value; such are .systemVar.NAME, .dataSet.NAME, .additionalData.NAME"),
        ({"Score": {"url": "{{.Nope.x}}", "method": "GET"}}, "{{.Nope.x}}: no node 'Nope'; a token begins with the name of a node that runs before"),
        ({"Score": {"method": "GET"}}, "Step missing required field 'url'"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_binding_is_told(bindings, what):
    assert any(found.startswith(what) for _, found in told(orders(), bindings))


def test_a_node_is_bound_by_its_name_or_else_by_its_id():
    nodes = [node("2", "ruleNode", "3"), node("3", "ruleNode", "B C"), node("4", "ruleNode")]
    del nodes[2]["data"]["name"]
    bindings = {"3": {"delay": 1}, "B_C": {"delay": 2}, "4": {"delay": 3}}
    steps, _ = turned(workflow(*nodes), bindings)
    assert [step.get("delay") for step in steps.values()] == [None, 1, 2, 3]
    assert any("there is no node ''" in what for _, what in told(workflow(*nodes), {"": {}}))


def test_a_problem_of_a_binding_has_its_place_in_the_file_of_bindings():
    bindings = parse(b"Score:\n  methd: GET\n", name="b.yaml")
    [problem] = read(Document.of(orders()), "nected", Aids(bindings)).problems
    assert str(problem).startswith("b.yaml:2:10 Score.methd: the node cannot have the key 'methd'")


def test_documents_of_others_take_no_bindings():
    with pytest.raises(
        FlowError, match="documents of nected have nodes that can be bound, and this is one of steps"
    ):
        read(Document.of({"steps": []}), None, Aids(Document.of({})))
    assert read(Document.of({"version": "1.0", "steps": []}), None, Aids(recorded=True)).problems == ()


def test_values_that_only_the_platform_knows_are_given_by_their_token():
    fields = {"a": field("a", value="{{.dataSet.rates.eur[0]}}"), "b": field("b", value="{{systemVar.NULL}}", sendNull=True),
              "c": field("c", value="{{.systemVar.Environment}}"), "d": field("d", value="{{systemVar.ExecutionId}}"),
              "e": field("e", value="{{systemVar.ExecutionId}}")}  # fmt: skip
    value = plain(node("2", "setVariableNode", "A", input=fields))
    bindings = {".dataSet.rates": {"eur": [1.5]}, ".systemVar.Environment": "production"}
    steps, _ = turned(value, bindings)
    assert steps["Trigger"]["set"] == {
        "dataSet": {"rates": {"eur": [1.5]}},
        "systemVar": {"NULL": None, "Environment": "production", "ExecutionId": "{{$uuid}}"},
    }
    outputs = (
        Stage(read(Document.of(value), "nected", Aids(Document.of(bindings)))).run().outcome.outputs["A"]
    )
    assert (outputs["a"], outputs["b"], outputs["c"]) == (1.5, None, "production")
    assert outputs["d"] == outputs["e"]


# --- it runs


def test_a_merge_fires_on_any_path():
    for total, expected in ((120, "ada"), (5, None)):
        flow = read(
            Document.of(orders()),
            "nected",
            Aids(Document.of({**BINDINGS, "Score": {"set": {"output": "low"}}})),
        )
        answers = {"Get_customer": answer('{"tier": "gold"}')}
        stage = Stage(
            flow, answers, inputs={"orderId": "o", "total": total, "note": None}, env={"API": "http://h"}
        ).run()
        assert stage.status("Join") == "succeeded"
        assert stage.outcome.outputs["Answer"] == {"id": "o", "by": expected, "text": "Order o of gold"}


def test_an_else_edge_is_taken_after_a_failure_and_then_after_a_success():
    nodes = [node("2", "connectorNode", "A"), node("3", "mergeNode", "Good"), node("4", "mergeNode", "Bad")]
    value = workflow(*nodes, edges=[edge("1", "2"), edge("2", "3"), edge("2", "4", "else")])
    flow = read(Document.of(value), "nected", Aids(Document.of({"A": {"method": "GET", "url": "http://h/"}})))
    for status, expected in (
        (200, ("succeeded", "skipped:unreached")),
        (500, ("skipped:unreached", "succeeded")),
    ):
        stage = Stage(flow, {"A": answer("{}", status)}).run()
        assert (stage.status("Good"), stage.status("Bad")) == expected
        assert stage.outcome.status == "succeeded"


def test_a_failure_without_an_else_edge_fails_the_run():
    value = workflow(node("2", "connectorNode", "A"), node("3", "mergeNode", "B"))
    flow = read(Document.of(value), "nected", Aids(Document.of({"A": {"method": "GET", "url": "http://h/"}})))
    stage = Stage(flow, {"A": answer("{}", 500)}).run()
    assert (stage.outcome.status, stage.status("B")) == ("failed", "skipped:unreached")


def test_what_follows_a_response_runs_on_and_the_response_stands():
    nodes = [
        node("2", "responseNode", "Answer", input={"x": field("x", value="early")}),
        node("3", "delayNode", "Later"),
        node("4", "connectorNode", "Tell"),
    ]
    bindings = {
        "Later": {"delay": 1000},
        "Tell": {"method": "POST", "url": "http://h/", "body": {"was": "{{.Answer.x}}"}},
    }
    flow = read(Document.of(workflow(*nodes)), "nected", Aids(Document.of(bindings)))
    stage = Stage(flow, {"Tell": answer("{}", 500)}).run()
    assert stage.waits == [1.0]
    assert [request.body for request in stage.requests] == [b'{"was":"early"}']
    assert stage.outcome.outputs["Answer"] == {"x": "early"}
    assert stage.outcome.status == "failed"


def test_a_bound_node_runs_once_for_each_item_of_its_loop():
    made = node("2", "connectorNode", "A", runInLoop={"status": True, "source": "1", "attribute": "ids"})
    value = workflow(
        made,
        node("3", "responseNode", "B", input={"x": field("x", value="{{.A.output[1]}}")}),
        fields=[field("ids", "list")],
    )
    bindings = {"A": {"method": "GET", "url": "http://h/{{item}}", "outputs": {"output": "response.body.n"}}}
    flow = read(Document.of(value), "nected", Aids(Document.of(bindings)))
    replies = {"http://h/7": answer('{"n": 70}'), "http://h/8": answer('{"n": 80}')}
    stage = Stage(flow, replies, inputs={"ids": [7, 8]}).run()
    assert stage.outcome.outputs["A"] == {"output": [70, 80]}
    assert stage.outcome.outputs["B"] == {"x": 80}


class Scripted(Stage):
    """A stage on which scripts are noted, and come to what is given."""

    def _reply(self, command, spot):
        if isinstance(command, RunScript):
            self.events.append((spot.path, command.code))
            return Computed({"half": 60})
        return super()._reply(command, spot)


def test_the_code_of_a_node_is_run_with_the_values_of_its_tokens():
    flow = read(Document.of(orders()), "nected", Aids(Document.of(BINDINGS)))
    answers = {"Get_customer": answer('{"tier": "it\'s\\" gold"}')}
    stage = Scripted(
        flow, answers, inputs={"orderId": "o", "total": 50, "note": None}, env={"API": "http://h"}
    ).run()
    assert ("Score", """var t = 50; ({half: t / 2, of: 'it\\'s\\" gold'})""") in stage.events
    assert stage.outcome.outputs["Score"] == {"half": 60, "output": {"half": 60}}


def test_what_a_script_makes_of_a_secret_is_secret():
    value = plain(node("2", "codeNode", "A", settings={"code": "{{.globalVar.apiToken}}"}))
    flow = read(Document.of(value), "nected", Aids(Document.of({"A": {"code_path": "data.settings.code"}})))
    stage = Scripted(flow, env={"apiToken": "t0p"})
    stage.progress.root.scope.secret.__init__(env=frozenset({"apiToken"}))
    assert stage.run().closed["A"].tainted == {"half", "output"}


VALUES = {".a": 7, ".s": "x'y\"z`${1}\n", ".n": None, ".l": [1, "</script>"]}


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("{{.a}} + {{.a}}", "7 + 7"),
        ("f({{.s}})", r"""f("x'y\"z`${1}\n")"""),
        ("'{{.s}}'", r"""'x\'y\"z\`\${1}\n'"""),
        ('"{{.s}}"', r'''"x\'y\"z\`\${1}\n"'''),
        ("`{{.s}} ${ {{.s}} + '{{.a}}' }`", r"""`x\'y\"z\`\${1}\n ${ "x'y\"z`${1}\n" + '7' }`"""),
        ("'{{.n}}' + {{.n}}", "'null' + null"),
        ("{{.l}}; '{{.l}}'", r"""[1,"</script>"]; '[1,\"</script>\"]'"""),
        ("// {{.s}}\n{{.a}} /* {{.s}} */", "// \n7 /*  */"),
        (r"'it\'s {{.a}}' + {{.a}}", r"'it\'s 7' + 7"),
        ("{{x}} '{{y}}'", "{{x}} '{{y}}'"),
    ],
)
def test_a_value_stays_a_value_wherever_its_token_stands(code, expected):
    assert filled(code, VALUES.__getitem__) == expected


# --- there and back


@pytest.mark.parametrize("bindings", [None, BINDINGS])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_workflow_comes_back_from_steps_as_it_was(bindings, wrapped):
    value = orders(id="w", checksum="c", version="draft")
    value = {"code": "success", "message": "", "data": value} if wrapped else value
    aids = Aids(None if bindings is None else Document.of(bindings))
    made, _ = convert(Document.of(copy.deepcopy(value)), "steps", "nected", aids)
    assert convert(Document.of(made), "nected", "steps")[0] == value
    assert convert(Document.of(value), "nected")[0] == value


def back(change, value=None):
    """Return the workflow made of the sample's steps after a change of them."""
    made, _ = convert(Document.of(value or orders()), "steps")
    made = json.loads(json.dumps(made))
    change(made, {step["id"]: step for step in made["flow_data"]["steps"]})
    return convert(Document.of(made), "nected", "steps")[0]


def test_names_switches_and_texts_are_put_back():
    def change(made, steps):
        made |= {"name": "Renamed", "description": "new", "is_active": False}

    assert back(change) == orders(name="Renamed", description="new", isEnabled=False)


def test_a_workflow_is_switched_on_again():
    assert back(lambda made, steps: made.pop("is_active"), orders(isEnabled=False)) == orders(isEnabled=True)


def test_a_new_name_of_a_node_is_put_into_every_token():
    def change(made, steps):
        steps["Get_customer"]["name"] = "Fetch it"

    text = json.dumps(orders()).replace("Get customer", "Fetch it").replace("Get_customer", "Fetch_it")
    assert back(change) == json.loads(text)


def test_a_node_without_data_can_be_named():
    value = workflow(node("2", "mergeNode", "A"), {"id": "3", "type": "mergeNode"})
    changed = back(lambda made, steps: steps["n3"].update(name="B"), value)
    assert changed["nodes"][2] == {"id": "3", "type": "mergeNode", "data": {"name": "B"}}


def test_values_are_put_back_with_their_tokens():
    def change(made, steps):
        steps["Review"]["set"] |= {"by": "{{input.orderId}} {{env.x}}", "limit": 7}
        steps["Answer"]["set"]["text"] = "{{ Review.by | default(none) }} {{ '{{' }}"

    expected = orders()
    expected["nodes"][3]["data"]["input"]["by"]["value"] = "{{.Trigger.orderId}} {{.globalVar.x}}"
    expected["nodes"][3]["data"]["input"]["limit"]["value"] = 7
    expected["nodes"][6]["data"]["input"]["text"]["value"] = "{{.Review.by}} {{"
    assert back(change) == expected


def test_defaults_and_requirements_of_inputs_are_put_back():
    def change(made, steps):
        made["flow_inputs"][0]["required"] = False
        made["flow_inputs"][1] |= {"default": 5, "required": False}

    expected = orders()
    fields = expected["nodes"][0]["data"]["input"]
    fields["orderId"]["isOptional"] = True
    fields["total"] |= {"value": 5, "isOptional": True}
    assert back(change) == expected


def test_what_was_removed_is_removed():
    def change(made, steps):
        data = made["flow_data"]
        data["steps"] = [step for step in data["steps"] if step["id"] != "Score"]
        data["edges"] = [one for one in data["edges"] if "Score" not in (one["from"], one["to"])]

    expected = orders()
    expected["nodes"] = [one for one in expected["nodes"] if one["id"] != "5"]
    expected["edges"] = [one for one in expected["edges"] if "5" not in (one["source"], one["target"])]
    assert back(change) == expected


def test_an_edge_that_was_removed_is_removed():
    def change(made, steps):
        data = made["flow_data"]
        data["edges"] = [one for one in data["edges"] if (one["from"], one["to"]) != ("Amount__1", "Score")]

    with pytest.raises(FlowError, match="no edge leads to the node '5'"):
        back(change)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda made, steps: steps["Get_customer"].update(url="http://h/"), 'steps.Get_customer.url: a workflow cannot say this: nothing -> "http://h/"'),
        (lambda made, steps: made["flow_data"]["steps"].append({"id": "new", "set": {}}), 'steps.new: a workflow cannot say this: nothing -> {"id": "new", "set": {}}'),
        (lambda made, steps: steps["Review"]["set"].update(more=1), "steps.Review.set.more: a workflow cannot say this: nothing -> 1"),
        (lambda made, steps: steps["Review"]["set"].update(by="{{ 1 + 1 }}"), 'steps.Review.set.by: a workflow cannot say this: "{{\'{{\'}} 1 + 1 }}" -> "{{1 + 1}}"'),
        (lambda made, steps: steps["Review"]["set"].update(by="{{nope.x}}"), "steps.Review.set.by: a workflow cannot say this"),
        (lambda made, steps: made["flow_inputs"].append({"name": "q", "type": "string"}), "flow_inputs.q: a workflow cannot say this"),
        (lambda made, steps: made["flow_inputs"][0].update(type="number"), 'flow_inputs.orderId.type: a workflow cannot say this: "string" -> "number"'),
        (lambda made, steps: made["flow_data"].update(config={"delay": 5}), 'flow_data.config: a workflow cannot say this: nothing -> {"delay": 5}'),
        (lambda made, steps: made["flow_data"]["edges"].append({"from": "Review", "to": "Score"}), "a workflow cannot say this: nothing ->"),
        (lambda made, steps: steps["Score"]["external"]["source"].update(name="x"), 'steps.Score.external.source.name: a workflow cannot say this: "Score" -> "x"'),
        (lambda made, steps: steps["Score"]["external"].update(recorded=1), "steps.Score.external.recorded: a workflow cannot say this: nothing -> 1"),
        (lambda made, steps: made.update(name=7), 'name: a workflow cannot say this: "A workflow" -> 7'),
    ],
)  # fmt: skip
def test_what_a_workflow_cannot_say_is_listed_and_nothing_is_made_up(change, what):
    with pytest.raises(FlowError) as caught:
        back(change)
    assert any(what in str(one) for one in caught.value.problems), str(caught.value)


def test_steps_that_did_not_come_from_a_workflow_cannot_be_one():
    steps = [{"id": "a", "method": "GET", "url": "/"}, 7]
    with pytest.raises(FlowError) as caught:
        convert(Document.of({"name": "x", "flow_data": {"version": "1.0", "steps": steps}}), "nected")
    assert [(one.where, one.what) for one in caught.value.problems] == [
        (
            "",
            "only Steps that came from a workflow can be one again: what a node needs is known to Nected alone",
        ),
        ("flow_data.steps[0]", "the step 'a' cannot be a node"),
        ("flow_data.steps[1]", "the step None cannot be a node"),
    ]
    with pytest.raises(FlowError, match="only Steps that came from a workflow"):
        convert(Document.of({"version": "1.0", "steps": None, "nected": 3}), "nected", "steps")


def test_a_kept_workflow_that_was_broken_is_told():
    made, _ = convert(Document.of(orders()), "steps")
    made["nected"]["workflow"]["startNode"] = "99"
    with pytest.raises(FlowError, match="no node '99'"):
        convert(Document.of(made), "nected", "steps")
