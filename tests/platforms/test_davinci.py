"""DaVinci documents: the five shapes, what is wrong with a graph, and when a gate lets through (facts A2, A3, A7)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.core.answers import Answers, unanswered
from runner.core.document import Document, parse
from runner.core.plan import build_plan
from runner.errors import FlowError
from runner.platforms import convert, dialect_of, read
from runner.platforms.davinci_forms import admin_form
from tests.davinci import Drawing, edge, gate, node, note, slate, variable
from tests.play import Stage

REST = "httpConnector/makeRestApiCall"
SERVICE = "pingOneSSOConnector/readUser"
GOOD, BAD = {"output": {"ok": True}}, {"error": {"code": "no"}}


def flow_of(drawing, **more):
    return read(Document.of(drawing.export(**more)))


def stage(drawing, outcomes=None, *, inputs=None, env=None, answers=None, **more):
    """Run a drawing in memory; service nodes end as `outcomes` say, all others well."""
    flow = flow_of(drawing, **more)
    stubs = {SERVICE: GOOD, **(outcomes or {})}
    return Stage(flow, answers or {}, inputs or {}, env or {}, given=Answers(stubs=stubs)).run()


def problems(document, *, severity="error"):
    plan = build_plan(read(document if isinstance(document, Document) else Document.of(document)))
    return [(one.code, one.where, one.what) for one in plan.problems if one.severity == severity]


# --- the five shapes -----------------------------------------------------------------------------


def small():
    return Drawing().add("n1", SERVICE, nodeTitle="Read").add("n2", SERVICE).then("n1", "n2")


def shapes():
    drawing, export = small(), small().export()
    yield "export", export
    yield "bundle", {"flows": [export], "companyId": "c", "customerId": "c"}
    yield "legacy", {"flowInfo": export}
    yield "nodes", {"clonedNodes": drawing.nodes, "clonedEdges": drawing.edges}
    yield "admin", admin_form(export)
    yield "admin that is written", {"name": "x", "graphData": drawing.graph}
    yield "old export", {**export, "orx": {}, "enabledGraphData": drawing.graph, "connections": []}


@pytest.mark.parametrize("shape", dict(shapes()))
def test_each_shape_of_a_document_is_recognised_and_read(shape):
    document = dict(shapes())[shape]
    assert dialect_of(Document.of(document)) == "davinci"
    flow = read(Document.of(document))
    assert [(step.id, step.name) for step in flow.steps] == [("n1", "Read"), ("n2", "pingOneSSOConnector")]
    assert not build_plan(flow).errors
    ran = Stage(flow, given=Answers(stubs={SERVICE: GOOD})).run()
    assert ran.statuses == {"n1": "succeeded", "n2": "succeeded"}


@pytest.mark.parametrize(
    "other", [{"name": "x", "steps": []}, {"flow_data": {}, "graphData": {}}, {"spans": []}, {"a": 1}]
)
def test_what_has_another_shape_is_not_davinci(other):
    with pytest.raises(FlowError):
        read(Document.of(other), "davinci")


def test_places_of_problems_are_those_of_the_document():
    text = b'{"flows": [{"flowId": "f", "graphData": {"elements": {"nodes": [\n{"data": {"id": "a"}}]}}}]}'
    [first, second] = build_plan(read(parse(text, name="f.json"))).errors
    assert (first.where, str(first.place)) == ("flows[0].graphData.elements.nodes[0].data", "f.json:2:10")
    assert "no node begins the flow" in second.what


def test_the_flow_that_no_other_runs_is_the_one_that_is_run():
    inner = Drawing().add("i1", SERVICE).export("Inner", "f2")
    outer = Drawing().add(
        "o1", "flowConnector/startUiSubFlow", subFlowId={"value": {"value": "f2", "label": "Inner"}}
    )
    for flows in ([inner, outer.export("Outer")], [outer.export("Outer"), inner]):
        assert read(Document.of({"flows": flows})).name == "Outer"
    both = Drawing().add("x", "flowConnector/startSubFlow", subFlowId="f1").export("Itself", "f1")
    assert [one[0] for one in problems({"flows": [both]})] == ["flow.cycle"]
    one, other = (
        Drawing().add("a", SERVICE).export("One", "f1"),
        Drawing().add("b", SERVICE).export("Other", "f1"),
    )
    assert read(Document.of({"flows": [one, other]})).name == "One"
    assert problems({"flows": []}) == [("davinci.graph", "flows", "there is no flow in the list")]


@pytest.mark.parametrize(
    ("title", "name"), [("Plain", "Plain"), (slate("Drawn"), "Drawn"), (" ", "x"), (7, "x"), (None, "x")]
)
def test_a_step_has_the_title_of_its_node(title, name):
    assert flow_of(Drawing().add("n1", "x/y", nodeTitle=title)).steps[0].name == name


def test_what_a_flow_says_of_itself_is_read():
    flow = flow_of(
        small(),
        name="Named",
        description="D",
        flowStatus="disabled",
        settings={"flowTimeoutInSeconds": {"value": "7"}},
        inputSchema=[
            {"propertyName": "who", "preferredDataType": "string", "required": True, "description": "d"},
            {"propertyName": "odd", "preferredDataType": "stone"}, {"propertyName": ""}, "text",
        ],
    )  # fmt: skip
    assert (flow.name, flow.description, flow.is_active) == ("Named", "D", False)
    assert flow.config.flow_timeout == 7000
    assert [(one.name, one.type, one.required) for one in flow.inputs] == [
        ("who", "string", True),
        ("odd", "json", False),
    ]
    assert flow_of(small(), inputSchema="none").inputs is None
    assert flow_of(small(), settings=None).config.flow_timeout == 300_000
    assert read(Document.of({**admin_form(small().export()), "enabled": False})).is_active is False


# --- what is wrong with a graph ------------------------------------------------------------------


def broken(*, nodes=(), edges=()):
    drawing = small()
    drawing.nodes += nodes
    drawing.edges += edges
    return drawing.export()


@pytest.mark.parametrize(
    ("document", "where", "told"),
    [
        (broken(edges=[edge("n1", "n2")]), "edges[2].data", "an edge goes from a node to an evaluator or back"),
        (broken(edges=[edge("gate1", "n3")]), "edges[2].data", "edge gate1-n3-None: there is no node 'n3'"),
        (broken(edges=[{"data": {}}]), "edges[2].data", "edge without id: there is no node ''"),
        (broken(edges=["x"]), "edges[2].data", "must be an object with 'id'"),
        (broken(nodes=[node("n1", SERVICE)]), "nodes[3].data", "the id 'n1' is taken by graphData.elements.nodes[0].data"),
        (broken(nodes=[{"data": {"nodeType": "EVAL"}}]), "nodes[3].data", "the node has no id"),
        (broken(nodes=[{"data": {"id": "x", "nodeType": "MAGIC"}}]), "nodes[3].data", "node 'x' is of the type 'MAGIC'"),
        (broken(nodes=[7]), "nodes[3].data", "must be an object with 'id'"),
        (broken(nodes=[node("n3", SERVICE)]), "nodes", "several nodes begin the flow: 'n1', 'n3'"),
        (small().then("n2", "n1").export(), "nodes", "no node begins the flow"),
        (
            small().add("j", "nodeConnector/goToNode", nodeInstanceId="n2").then("n2", "j").export(),
            "nodes[3].data", "node 'j' jumps to 'n2', which is no start node of this flow",
        ),
        (
            small().add("j", "nodeConnector/goToNode", nodeInstanceId=7).then("n2", "j").export(),
            "nodes[3].data", "jumps to '', which is no start node",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_graph_is_told_with_its_place(document, where, told):
    found = problems(document)
    assert found[0][:2] == ("davinci.graph", f"graphData.elements.{where}")
    assert told in found[0][2]


@pytest.mark.parametrize(
    ("graph", "where"),
    [
        (None, "graphData"), ({"elements": []}, "graphData"),
        ({"elements": {"nodes": {}}}, "graphData.elements.nodes"),
        ({"elements": {"edges": 1, "nodes": []}}, "graphData.elements.edges"),
    ],
)  # fmt: skip
def test_a_flow_without_a_graph_says_so(graph, where):
    found = problems({"flowId": "f", "graphData": graph})
    assert found[0][:2] == ("davinci.graph", where)


def test_gates_that_connect_too_many_nodes_are_a_problem_and_take_no_time():
    half = 400
    before, behind = [f"a{one}" for one in range(half)], [f"b{one}" for one in range(half)]
    found = broken(
        nodes=[gate("wide"), *(node(one, SERVICE) for one in (*before, *behind))],
        edges=[
            *(edge("gate1", one) for one in before),
            *(edge(one, "wide") for one in before),
            *(edge("wide", one) for one in behind),
        ],
    )
    [problem] = [one for one in read(Document.of(found)).problems if "pairs of nodes" in one.what]
    assert problem.code == "davinci.graph"
    assert problem.where == "graphData.elements"
    assert "more than 50,000 pairs" in problem.what


def test_what_does_nothing_is_a_warning():
    drawing = small()
    drawing.nodes += [gate("g8"), gate("g9"), note("remark"), node("lost", "nodeConnector/startNode")]
    drawing.edges += [edge("n2", "g8"), edge("g9", "lost")]
    assert problems(drawing.export()) == []
    told = [what for _, _, what in problems(drawing.export(), severity="warning")]
    assert told == [
        "evaluator 'g8' has no edge to a node, so it does nothing",
        "evaluator 'g9' has no edge from a node, so it does nothing",
        "no run comes to 'lost'; left out",
    ]
    many = small()
    many.nodes += [node(f"lost{number}", "nodeConnector/startNode") for number in range(12)]
    assert problems(many.export(), severity="warning")[0][2].endswith("'lost9' …; left out")


def test_a_node_that_is_disabled_or_routes_in_an_unknown_way_is_refused():
    drawing = small()
    drawing.nodes[0]["data"]["isDisabled"] = True
    drawing.nodes[1]["data"]["outcomes"] = [{"id": "1", "result": "x"}]
    assert [(code, where) for code, where, _ in problems(drawing.export())] == [
        ("davinci.unsupported_node", "graphData.elements.nodes[0].data"),
        ("davinci.unknown_eval", "graphData.elements.nodes[1].data.outcomes"),
    ]


@pytest.mark.parametrize("operator", ["someTriggersTrue", 7, ["x"]])
def test_an_unknown_operator_is_named(operator):
    drawing = Drawing().add("n1", SERVICE).add("n2", SERVICE).then("n1", "n2", operator)
    [(code, where, what)] = problems(drawing.export())
    assert (code, where) == ("davinci.unknown_eval", "graphData.elements.nodes[2].data")
    assert f"evaluator 'gate1' asks for {operator!r} before 'n2'" in what


def test_times_above_the_limits_are_held_to_them_and_told():
    drawing = Drawing().add("n1", REST, url="http://h.example", timeout="300000")
    held = {"flowHttpTimeoutInSeconds": 300, "flowTimeoutInSeconds": 10**6}
    document = drawing.export(settings=held)
    assert [(code, where) for code, where, _ in problems(document, severity="warning")] == [
        ("davinci.timeout_clamped", "settings.flowHttpTimeoutInSeconds"),
        ("davinci.timeout_clamped", "graphData.elements.nodes[0].data.properties.timeout"),
        ("davinci.timeout_clamped", "settings.flowTimeoutInSeconds"),
    ]
    assert read(Document.of(document)).config.flow_timeout == 172_800_000
    assert problems(drawing.export(settings={"flowTimeoutInSeconds": -1}), severity="warning") == [
        problems(document, severity="warning")[1]
    ]


def test_an_editors_text_that_cannot_be_read_is_a_warning():
    drawing = Drawing().add("n1", SERVICE, body='[{"children":[{"text":"broken \\q"}]}]')
    [(code, where, _)] = problems(drawing.export(), severity="warning")
    assert (code, where) == ("davinci.bad_value", "graphData.elements.nodes[0].data.properties.body")


def test_a_variable_of_the_user_cannot_be_set():
    drawing = Drawing().add("n1", "variablesConnector/saveValue", saveVariables=[{"name": "mood"}, 7])
    drawing.add("n2", "variablesConnector/incrementByN", variable="mood").then("n1", "n2")
    document = drawing.export(variables=[variable("mood", "user")])
    assert [one[0] for one in problems(document)] == ["davinci.user_variable"] * 2


def test_a_flow_that_does_not_stand_in_the_document_is_named():
    drawing = Drawing().add(
        "n1", "flowConnector/startUiSubFlow", subFlowId={"value": {"value": "f9", "label": "Consent"}}
    )
    plan = build_plan(flow_of(drawing))
    [(_, problem)] = unanswered(Answers(), plan)
    assert problem.code == "davinci.subflow_missing"
    assert "(subflow Consent, f9)" in problem.what
    assert not list(unanswered(Answers(stubs={"flowConnector/startUiSubFlow": GOOD}), plan))


# --- gates ---------------------------------------------------------------------------------------

ONE = {
    None: "T", "allTriggersTrue": "T", "anyTriggersTrue": "T", "allTriggersFalse": "F", "anyTriggersFalse": "F",
    "always": "TF", "allTriggersComplete": "TF",
}  # fmt: skip
TWO = {
    None: ["TT"], "allTriggersTrue": ["TT"], "anyTriggersTrue": ["TT", "TF", "FT"],
    "allTriggersFalse": ["FF"], "anyTriggersFalse": ["FF", "TF", "FT"],
    "always": ["TT", "TF", "FT", "FF"], "allTriggersComplete": ["TT", "TF", "FT", "FF"],
}  # fmt: skip


def ends(ran, name):
    return [path for path in ran.started if path.partition("#")[0] == name]


@pytest.mark.parametrize("operator", list(ONE))
@pytest.mark.parametrize("ended", "TF")
def test_a_gate_behind_one_node_lets_through_what_it_asks_for(operator, ended):
    drawing = Drawing().add("a", SERVICE).add("t", SERVICE).then("a", "t", operator)
    ran = stage(drawing, {"a": GOOD if ended == "T" else BAD})
    assert len(ends(ran, "t")) == (ended in ONE[operator])


@pytest.mark.parametrize("operator", list(TWO))
@pytest.mark.parametrize("ended", ["TT", "TF", "FT", "FF"])
def test_a_gate_behind_two_nodes_lets_through_once_what_it_asks_for(operator, ended):
    drawing = Drawing().add("s", SERVICE).add("a", SERVICE).add("b", SERVICE).add("t", SERVICE)
    drawing.then("s", "a b").then("a b", "t", operator)
    outcomes = {name: GOOD if end == "T" else BAD for name, end in zip("ab", ended, strict=True)}
    ran = stage(drawing, outcomes)
    assert len(ends(ran, "t")) == (ended in TWO[operator])


@pytest.mark.parametrize("operator", list(ONE))
@pytest.mark.parametrize("ended", "TF")
def test_a_comparison_lets_through_by_its_result_and_false_is_no_failure(operator, ended):
    drawing = Drawing().add(
        "a", "functionsConnector/AEqualsB", leftValueA=ended, rightValueB="T", type="string"
    )
    ran = stage(drawing.add("t", SERVICE).then("a", "t", operator))
    assert len(ends(ran, "t")) == (ended in ONE[operator])
    assert (ran.status("a"), ran.outcome.status) == ("succeeded", "succeeded")


def test_operators_of_nodes_that_do_not_follow_are_ignored():
    drawing = Drawing().add("a", SERVICE).add("t", SERVICE).then("a", "t")
    drawing.nodes[2]["data"]["properties"] = {"gone": {"value": "allTriggersFalse"}, "undefined": {}, "t": {}}
    assert ends(stage(drawing), "t") == ["t"]


def test_several_nodes_behind_one_gate_run_at_once():
    drawing = Drawing().add("s", SERVICE)
    for name in "abc":
        drawing.add(name, SERVICE)
    ran = stage(drawing.then("s", "a b c"))
    assert (sorted(ran.started), ran.peak) == (["a", "b", "c", "s"], 3)


def test_an_edge_that_stands_twice_counts_once():
    drawing = Drawing().add("a", SERVICE).add("t", SERVICE).then("a", "t")
    drawing.edges *= 2
    assert stage(drawing).started == ["a", "t"]


def test_a_node_behind_several_gates_runs_for_each_that_lets_through():
    drawing = Drawing().add("s", SERVICE).add("a", SERVICE).add("b", SERVICE).add("t", SERVICE)
    ran = stage(drawing.then("s", "a b").then("a", "t").then("b", "t"))
    assert ends(ran, "t") == ["t", "t#2"]


SWITCH = "functionsConnector/AEqualsMultipleB"
CHOICES = [{"id": "1", "value": "red"}, {"id": 2, "value": slate("green")}, {"value": "no id"}, "odd"]


@pytest.mark.parametrize(("given", "came"), [("red", "r"), ("green", "g"), ("blue", "o"), ("", "o")])
def test_a_switch_leads_to_the_branch_of_the_value_and_else_to_the_other(given, came):
    drawing = Drawing().add("sw", SWITCH, leftValueA=given, rightValueMultiple=CHOICES)
    for name in "rgo":
        drawing.add(name, SERVICE)
    drawing.then("sw", "o", branch="-1").then("sw", "r", branch="1").then("sw", "g", branch="2")
    assert stage(drawing).started == ["sw", came]


@pytest.mark.parametrize(("given", "came"), [("red", ["any", "nomatter"]), ("blue", ["none", "nomatter"])])
def test_a_switch_without_branches_is_true_for_any_of_its_values(given, came):
    drawing = Drawing().add("sw", SWITCH, leftValueA=given, rightValueMultiple=CHOICES)
    drawing.add("any", SERVICE).add("none", SERVICE).add("nomatter", SERVICE)
    drawing.then("sw", "any").then("sw", "none", "anyTriggersFalse")
    drawing.number += 1
    drawing.nodes.append(gate("ga", nomatter="always"))
    drawing.edges += [edge("sw", "ga"), edge("ga", "nomatter")]
    assert sorted(stage(drawing).started) == sorted(["sw", *came])


def test_a_start_of_the_newer_builder_begins_the_flow():
    drawing = Drawing().add("begin", "x/y").add("a", SERVICE).add("spare", SERVICE).then("begin", "a")
    drawing.nodes[0]["data"]["nodeType"] = "START"
    assert problems(drawing.export()) == []


def test_a_start_node_that_no_jump_leads_to_begins_a_block():
    drawing = Drawing().add("s", "nodeConnector/startNode").add("a", SERVICE).then("s", "a")
    assert stage(drawing).started == ["s", "a"]


def test_what_no_run_comes_to_may_be_wrong_and_a_comparison_may_lead_nowhere():
    drawing = Drawing().add("c", "functionsConnector/AIsEmpty", leftValueA="")
    drawing.add("g", "nodeConnector/startNode").add(
        "j", "nodeConnector/goToNode", nodeInstanceId="gone"
    ).then("g", "j")
    assert problems(drawing.export()) == []
    told = [what for _, _, what in problems(drawing.export(), severity="warning")]
    assert told == ["no run comes to 'g', 'j'; left out"]


# --- jumps and calls -----------------------------------------------------------------------------


def jump(name, start, **given):
    return name, "nodeConnector/goToNode", {"nodeInstanceId": start, **given}


def add(drawing, *several):
    for name, kind, properties in several:
        drawing.add(name, kind, **properties)
    return drawing


def test_a_jump_hands_its_inputs_to_the_start_node():
    drawing = Drawing().add("a", SERVICE).add("s", "nodeConnector/startNode", inputSchema="{}")
    add(drawing, jump("j", slate("s"), code="{{local.a.payload.output.ok}}", nodeTitle="Jump"))
    drawing.add(
        "end",
        "variablesConnector/saveValue",
        saveVariables=[{"name": "x", "value": "{{local.s.payload.output.code}}"}],
    )
    ran = stage(drawing.then("a", "j").then("s", "end"))
    assert ran.started == ["a", "j", "s", "end"]
    assert ran.closed["end"].outputs == {"x": True}
    assert ran.closed["s"].outputs == {"code": True}


def test_a_loop_of_jumps_stops_at_twenty_visits_with_the_named_error():
    drawing = Drawing().add("a", SERVICE).add("s", "nodeConnector/startNode").add("b", SERVICE)
    add(drawing, jump("j", "s"), jump("again", "s"))
    ran = stage(drawing.then("a", "j").then("s", "b").then("b", "again"))
    assert len(ends(ran, "s")) == len(ends(ran, "b")) == 20
    assert (ran.outcome.status, ran.outcome.failure.code) == ("failed", "limit.visits")
    assert "'s' would run more than 20 times" in ran.outcome.failure.message


def subroutine():
    drawing = Drawing().add("a", SERVICE).add("s", "nodeConnector/startNode").add("work", SERVICE)
    drawing.add("back", "nodeConnector/returnBackToCallingNode", sum="{{local.s.payload.output.n}}")
    return drawing.then("s", "work").then("work", "back")


def test_a_jump_with_edges_is_a_call_that_goes_on_at_the_return():
    drawing = add(subroutine(), jump("call1", "s", n=1), jump("call2", "s", n=2))
    drawing.add("end", SERVICE)
    ran = stage(drawing.then("a", "call1").then("call1", "call2").then("call2", "end", "anyTriggersFalse"))
    assert ran.started == ["a", "call1", "s", "work", "back", "call2", "s#2", "work#2", "back#2", "end"]
    assert [ran.closed[path].outputs for path in ("back", "back#2")] == [{"sum": 1}, {"sum": 2}]
    left = ran.progress.root.scope.left
    assert left["local.call2"] == {"output": {"sum": 2}, "success": True}
    assert not [key for key in left if key.startswith("call.")]


def test_two_calls_at_once_both_return():
    drawing = add(subroutine(), jump("call1", "s", n=1), jump("call2", "s", n=2))
    drawing.add("e1", SERVICE).add("e2", SERVICE)
    ran = stage(drawing.then("a", "call1 call2").then("call1", "e1").then("call2", "e2"))
    assert {"e1", "e2"} <= set(ran.started)


def test_a_call_within_a_call_returns_to_the_inner_one_first():
    drawing = add(subroutine(), jump("outer", "s2"), jump("inner", "s"))
    drawing.add("s2", "nodeConnector/startNode").add("back2", "nodeConnector/returnBackToCallingNode").add(
        "end", SERVICE
    )
    drawing.then("a", "outer").then("s2", "inner").then("inner", "back2").then("outer", "end")
    ran = stage(drawing)
    assert ran.started == ["a", "outer", "s2", "inner", "s", "work", "back", "back2", "end"]


def test_a_return_that_nobody_waits_for_ends_the_way():
    ran = stage(add(subroutine(), jump("j", "s")).then("a", "j"))
    assert (ran.started[-1], ran.outcome.status) == ("back", "succeeded")


# --- whatever comes ------------------------------------------------------------------------------

WORDS = st.sampled_from(
    [
        "a",
        "b",
        "EVAL",
        "CONNECTION",
        "START",
        "n1",
        "n2",
        "{{local.n1.payload.output}}",
        slate("x"),
        "",
        "-1",
        "always",
    ]
)
KEYS = st.sampled_from(
    ["id", "nodeType", "properties", "value", "connectorId", "capabilityName", "source", "target", "data", "nodes",
     "edges", "elements", "graphData", "flows", "flowInfo", "clonedNodes", "clonedEdges", "flowId", "settings",
     "inputSchema", "variables", "name", "nodeInstanceId", "subFlowId", "rightValueMultiple", "propertyName",
     "saveVariables", "environment", "connectors", "outcomes", "fields"]
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=30,
)
TYPES = st.sampled_from(
    [REST, SERVICE, SWITCH, "functionsConnector/AEqualsB", "functionsConnector/customFunction", "nodeConnector/goToNode",
     "nodeConnector/startNode", "nodeConnector/returnBackToCallingNode", "variablesConnector/saveValue",
     "variablesConnector/incrementByN", "httpConnector/createSuccessResponse", "httpConnector/createErrorResponse",
     "httpConnector/createUnwrappedResponse", "httpConnector/customHTMLTemplate", "flowConnector/startSubFlow",
     "errorConnector/customErrorMessage", "analyticsConnector/logOutcome"]
)  # fmt: skip
PROPERTIES = st.sampled_from(
    ["url", "headers", "httpBody", "bodyParams", "raw", "timeout", "leftValueA", "rightValueB", "type", "code",
     "rightValueMultiple", "nodeInstanceId", "subFlowId", "claimsNameValuePairs", "saveVariables", "variable",
     "incrementCounter", "variableInputList", "errorMessage", "jsonString", "formFieldsList", "nodeTitle"]
)  # fmt: skip
NAMES = st.sampled_from(["n1", "n2", "n3", "n4"])
DATA = st.builds(
    lambda name, kind, held: {"data": {**node(name, kind)["data"], "properties": held}},
    NAMES, TYPES, st.dictionaries(PROPERTIES, JSON, max_size=4) | JSON,
)  # fmt: skip
GRAPHS = st.builds(
    lambda nodes, gates, ends, settings: {
        "flowId": "f", "settings": settings,
        "graphData": {"elements": {"nodes": nodes + gates, "edges": [edge(*one) for one in ends]}},
    },
    st.lists(DATA, max_size=4),
    st.lists(st.sampled_from([gate("g1"), gate("g2", n2="always"), gate("g3", n1="anyTriggersFalse")]), max_size=3),
    st.lists(
        st.tuples(st.sampled_from(["n1", "n2", "n3", "g1", "g2", "g3"]), st.sampled_from(["n1", "n2", "n3", "n4", "g1", "g2", "g3"])),
        max_size=6,
    ),
    JSON,
)  # fmt: skip


def reads_and_runs(value):
    """Read, plan and run a document; whatever it is, there are only problems."""
    try:
        plan = build_plan(read(Document.of(value), "davinci"))
    except FlowError:
        return
    if plan.errors:
        return
    Stage(plan.flow if plan.flow.steps else read(Document.of(value)), given=Answers(stubs={"x": GOOD})).run()


@given(GRAPHS)
@settings(max_examples=100)
def test_whatever_becomes_steps_goes_back_as_it_was(value):
    try:
        made, _ = convert(Document.of(value), "steps")
    except FlowError:
        return
    assert convert(Document.of(made), "davinci")[0] == value


@given(st.dictionaries(KEYS, JSON, max_size=6) | GRAPHS)
@settings(max_examples=200)
def test_whatever_stands_in_a_document_only_problems_come_of_it(value):
    reads_and_runs(value)


@pytest.mark.soak
@given(st.dictionaries(KEYS, JSON, max_size=6) | GRAPHS)
@settings(max_examples=10_000)
def test_whatever_stands_in_many_documents_only_problems_come_of_it(value):
    reads_and_runs(value)
