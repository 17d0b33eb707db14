"""DaVinci's flows as Steps, and back into the document that they came from, patched."""

from copy import deepcopy

import pytest

from runner.core.answers import Answers
from runner.core.document import Document
from runner.core.plan import build_plan
from runner.errors import FlowError
from runner.platforms import convert, read
from tests.davinci import Drawing, edge, gate, slate
from tests.play import Stage, answer

REST = "httpConnector/makeRestApiCall"
SET = "variablesConnector/saveValue"
BODY = "{{local.0get.payload.output.rawResponse.body.id}}"


def drawing():
    made = Drawing().add(
        "0get", REST, nodeTitle="Get", url=slate(("{{global.parameters.base}}",), "/a"), timeout="700"
    )
    made.add("cmp", "functionsConnector/AEqualsB", leftValueA=BODY, rightValueB="it's")
    made.add("post", REST, url="http://h.example/b", httpMethod="post", httpBody="raw", raw=f'{{"id": "{BODY}"}}',
             headers=[{"key": "X-A", "value": "1"}, {"key": ""}, "odd"])  # fmt: skip
    made.add(
        "form",
        REST,
        url="http://h.example/c",
        httpMethod="POST",
        httpBody="xwwwFormUrlEncoded",
        bodyParams=[{"key": "a", "value": BODY}],
    )
    made.add(
        "parts",
        REST,
        url="http://h.example/d",
        httpMethod="POST",
        httpBody="formData",
        bodyParams=[{"key": "a", "value": "1"}],
    )
    made.add(
        "end",
        "httpConnector/createSuccessResponse",
        claimsNameValuePairs=[{"name": "x", "value": BODY}, {"key": "y", "value": 5}, {"name": ""}, 7],
    )
    made.then("0get", "cmp").then("cmp", "post", "allTriggersTrue").then(
        "cmp", "form parts", "allTriggersFalse"
    )
    return made.then("post", "end")


def exported(made=None, **more):
    inputs = [{"propertyName": "base", "preferredDataType": "string", "required": True}]
    return (made or drawing()).export(inputSchema=inputs, **more)


def steps_of(document):
    made, problems = convert(Document.of(document), "steps")
    return made, {step["id"]: step for step in made["flow_data"]["steps"]}, [one.what for one in problems]


def test_what_has_a_form_in_steps_runs_as_steps():
    made, steps, told = steps_of(exported())
    assert told == []
    assert steps["n0get"] == {
        "id": "n0get", "name": "Get", "method": "GET", "url": "{{input.base}}/a", "timeout": 700,
        "outputs": {"body": "response.body", "status": "response.status", "headers": "response.headers"},
    }  # fmt: skip
    plan = build_plan(read(Document.of(made)))
    assert plan.problems == ()
    inputs = {"base": "http://h.example"}
    equal = Stage(read(Document.of(made)), {"n0get": answer('{"id": "it\'s"}')}, inputs).run()
    assert equal.closed["end"].outputs == {"x": "it's", "y": 5}
    assert [(one.method, one.body) for one in equal.requests[1:]] == [("POST", b'{"id": "it\'s"}')]
    other = Stage(read(Document.of(made)), {"n0get": answer('{"id": "b"}')}, inputs).run()
    assert {one.url: one.body for one in other.requests[1:]} == {
        "http://h.example/c": b"a=b",
        "http://h.example/d": None,
    }


@pytest.mark.parametrize(
    ("kind", "properties"),
    [
        (REST, {"url": "{{local.a.payload.error.code}}"}), (REST, {"url": "{{global.variables.x}}"}),
        (REST, {"url": "{{local.a.payload.output.other}}"}), (REST, {"url": "{{local.a.payload.output.rawResponse}}"}),
        (REST, {"url": "{{local.gone.payload.output.x}}"}), (REST, {"url": "{{#if x}}"}), (REST, {"url": 7}),
        ("functionsConnector/AEqualsB", {"leftValueA": "1", "type": "number"}),
        ("functionsConnector/AEqualsB", {"leftValueA": "1", "caseSensitive": False}),
        ("functionsConnector/AIsEmpty", {"leftValueA": "1"}), ("functionsConnector/customFunction", {"code": "x"}),
        ("httpConnector/customHTMLTemplate", {"formFieldsList": [{"propertyName": "who"}]}),
        (REST, {"url": "/x", "httpBody": "xwwwFormUrlEncoded", "bodyParams": [{"key": "a", "value": "1"}, {"key": " a"}]}),
    ],
)  # fmt: skip
def test_every_other_node_is_an_external_step_that_carries_it(kind, properties):
    made = Drawing().add("a", REST, url="http://h.example").add("x", kind, **properties).then("a", "x")
    _, steps, told = steps_of(made.export())
    assert told == [f"node 'x' ({kind}) has no form in Steps; it is an external step"]
    kept = steps["x"]["external"]
    assert kept["source"] == made.nodes[1]["data"]
    assert (kept["platform"], kept["type"]) == ("davinci", kind)
    assert kept["ask"] == ("answers" if "HTML" in kind else "stubs")


def test_what_an_external_step_leaves_is_its_outputs():
    made = (
        Drawing()
        .add("a", SET)
        .add("b", REST, url="http://h.example/{{local.a.payload.output.x}}", headers={"value": None})
    )
    _, steps, _ = steps_of(made.then("a", "b").export())
    assert steps["b"]["url"] == "http://h.example/{{a.x}}"
    made = (
        Drawing()
        .add("a", SET)
        .add("b", "functionsConnector/ANotEqualsB", leftValueA=None, rightValueB="x")
        .then("a", "b")
    )
    _, steps, _ = steps_of(made.export())
    assert steps["b"]["condition"] == "'' !== 'x'"


def test_a_gate_behind_several_nodes_stays_one():
    made = Drawing().add("a", SET).add("b", SET).add("c", SET).add("t", SET)
    made.then("a", "b c").then("b c", "t")
    document, _, _ = steps_of(made.export())
    joined = [one for one in document["flow_data"]["edges"] if one["to"] == "t"]
    assert [(one["from"], one["join"], one["gate"]) for one in joined] == [
        ("b", "all", "gate2"),
        ("c", "all", "gate2"),
    ]
    assert "flow_inputs" not in document


@pytest.mark.parametrize(
    ("settings", "timeout", "expected"),
    [
        ({"flowHttpTimeoutInSeconds": 3}, "", 3_000), ({}, "", 15_000), ({"flowHttpTimeoutInSeconds": 900}, "", 120_000),
        ({}, "700000", 120_000), ({}, 0.2, 1), ({"flowHttpTimeoutInSeconds": 3}, -1, 3_000),
        ({}, "{{global.parameters.base}}", None),
    ],
)  # fmt: skip
def test_a_request_has_the_time_that_a_run_gives_it(settings, timeout, expected):
    made = Drawing().add("a", REST, url="http://h.example", timeout=timeout)
    _, steps, _ = steps_of(exported(made, settings=settings))
    assert steps["a"].get("timeout") == expected


def claimed(value, kind):
    made = Drawing().add("a", REST, url="http://h.example")
    claims = [{"name": "x", "value": value, "type": kind}]
    made.add("end", "httpConnector/createSuccessResponse", claimsNameValuePairs=claims).then("a", "end")
    _, steps, told = steps_of(made.export())
    return steps["end"].get("set"), told


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [("5", "number", 5), ("true", "boolean", True), ('{"a": 1}', "object", {"a": 1}), (5, "string", "5"), ("5", "string", "5")],
)  # fmt: skip
def test_a_claim_has_its_type(value, kind, expected):
    assert claimed(value, kind) == ({"x": expected}, [])


def test_a_claim_whose_type_steps_cannot_give_is_told():
    status = "{{local.a.payload.output.rawResponse.statusCode}}"
    for kind in ("number", "string"):
        made, [told] = claimed(status, kind)
        assert made == {"x": "{{a.status}}"}
        assert (
            told
            == f"{{{{a.status}}}} keeps the type of its value; a run of the node makes it one of type {kind!r}"
        )
    assert claimed(f"s {status}", "string") == ({"x": "s {{a.status}}"}, [])


def shapes():
    export = exported()
    yield export
    yield {"flows": [export, Drawing().add("z", SET).export("Z", "f9")], "companyId": "c"}
    yield {"flowInfo": export}
    yield {"clonedNodes": drawing().nodes, "clonedEdges": drawing().edges}


@pytest.mark.parametrize("document", list(shapes()))
def test_steps_that_nobody_changed_go_back_as_the_document_that_they_came_from(document):
    made, _, _ = steps_of(document)
    assert convert(Document.of(made), "davinci") == (document, ())


def changed(change, document=None):
    document = document or exported()
    made, steps, _ = steps_of(document)
    change(made, steps)
    back, _ = convert(Document.of(deepcopy(made)), "davinci")
    return document, back


def node_of(document, name):
    return next(
        one["data"] for one in document["graphData"]["elements"]["nodes"] if one["data"]["id"] == name
    )


def test_a_changed_title_changes_that_field_only():
    before, after = changed(lambda made, steps: made.update(name="Other"))
    assert after == {**before, "name": "Other"}
    before, after = changed(lambda made, steps: made.update(description="New"), {"flows": [exported()]})
    assert after["flows"][0] == {**before["flows"][0], "description": "New"}


def test_what_a_request_says_is_written_into_its_node():
    def change(made, steps):
        steps["n0get"] |= {
            "url": "{{input.base}}/{{input['odd key']}}",
            "method": "HEAD",
            "timeout": 900,
            "name": "Look",
        }
        steps["post"]["url"] = "http://h.example/{{n0get.body.a[0]}}?s={{n0get.status}}"
        steps["cmp"]["name"] = "Is it?"

    before, after = changed(change)
    held = node_of(after, "0get")["properties"]
    assert held["url"] == {"value": "{{global.parameters.base}}/{{global.parameters['odd key']}}"}
    assert (held["httpMethod"], held["timeout"], held["nodeTitle"]) == (
        {"value": "HEAD"},
        {"value": "900"},
        {"value": "Look"},
    )
    assert node_of(after, "post")["properties"]["url"] == {
        "value": "http://h.example/{{local.0get.payload.output.rawResponse.body.a[0]}}?s={{local.0get.payload.output.rawResponse.statusCode}}"
    }
    assert node_of(after, "form") == node_of(before, "form")
    assert after["graphData"]["elements"]["edges"] == before["graphData"]["elements"]["edges"]


def test_a_reference_to_another_nodes_output_goes_back():
    made = Drawing().add("a", SET).add("b", REST, url="http://h.example").then("a", "b").export()
    _, after = changed(lambda _, steps: steps["b"].update(url="http://h.example/{{a.x}}"), made)
    assert node_of(after, "b")["properties"]["url"] == {
        "value": "http://h.example/{{local.a.payload.output.x}}"
    }


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda made, steps: steps["post"].update(body="x"), "flow_data.steps[2].body"),
        (lambda made, steps: steps["n0get"].update(url="{{env.X}}"), "flow_data.steps[0].url"),
        (lambda made, steps: steps["n0get"].update(url="{{1 + 1}}"), "flow_data.steps[0].url"),
        (lambda made, steps: steps["post"].update(url="{{n0get.other}}"), "flow_data.steps[2].url"),
        (lambda made, steps: steps["post"].update(url="{{n0get}}"), "flow_data.steps[2].url"),
        (lambda made, steps: steps["n0get"].update(timeout=True), "flow_data.steps[0].timeout"),
        (lambda made, steps: steps["n0get"].update(timeout="700"), "flow_data.steps[0].timeout"),
        (lambda made, steps: steps["n0get"].update(timeout=0), "flow_data.steps[0].timeout"),
        (lambda made, steps: steps["n0get"].update(timeout=120_001), "flow_data.steps[0].timeout"),
        (lambda made, steps: steps["n0get"].update(method="BAD METHOD"), "flow_data.steps[0].method"),
        (lambda made, steps: steps["n0get"].update(url=5), "flow_data.steps[0].url"),
        (lambda made, steps: steps["n0get"].update(name=None), "flow_data.steps[0].name"),
        (lambda made, steps: steps["cmp"].update(url="http://h"), "flow_data.steps[1].url"),
        (lambda made, steps: made["flow_data"]["steps"].pop(), "flow_data.steps"),
        (lambda made, steps: made["flow_data"]["steps"].append({"id": "new"}), "flow_data.steps[6]"),
        (lambda made, steps: made["flow_data"]["edges"].pop(), "flow_data.edges"),
        (lambda made, steps: made["flow_data"].update(config={}), "flow_data.config"),
        (lambda made, steps: made.update(flow_inputs=[]), "flow_inputs"),
        (lambda made, steps: made.update(flow_data="text"), "flow_data"),
        (lambda made, steps: made["flow_data"].update(steps="text"), "flow_data.steps"),
    ],
)
def test_a_change_without_a_place_in_the_document_is_refused(change, where):
    with pytest.raises(FlowError) as caught:
        changed(change)
    assert where in [problem.where for problem in caught.value.problems]
    assert {problem.code for problem in caught.value.problems} == {"davinci.no_source"}


@pytest.mark.parametrize("beside", [None, {}, {"a": 1}, "text"])
def test_steps_without_their_document_do_not_go_back(beside):
    value = {"flow_data": {"steps": [{"id": "a"}]}} | ({} if beside is None else {"davinci": beside})
    with pytest.raises(FlowError) as caught:
        convert(Document.of(value), "davinci")
    assert [problem.where for problem in caught.value.problems] == ["", "steps[0]"]
    with pytest.raises(FlowError):
        convert(Document.of({"flow_data": "x"}), "davinci")


def test_a_branch_that_a_file_names_is_taken():
    made = Drawing().add(
        "sw", "functionsConnector/AEqualsMultipleB", rightValueMultiple=[{"id": "1", "value": "a"}]
    )
    made.add("x", SET).add("y", SET)
    made.number = 5
    made.nodes += [gate("g1"), gate("g2")]
    made.edges += [edge("sw", "g1", "1"), edge("g1", "x"), edge("sw", "g2", "-1"), edge("g2", "y")]
    document, _, _ = steps_of(made.export())
    stubs = {"sw": {"output": {}, "branch": "1"}, "x": {"output": {}}, "y": {"output": {}}}
    stage = Stage(read(Document.of(document)), given=Answers(stubs=stubs)).run()
    assert stage.started == ["sw", "x"]
