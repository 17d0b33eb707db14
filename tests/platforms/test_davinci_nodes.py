"""What DaVinci's values mean and what its nodes do, node by node, without a server (facts A4, A5)."""

import base64
import json

import pytest

from runner.core.answers import Answers
from runner.core.commands import NoResponse
from runner.core.document import Document
from runner.core.plan import build_plan
from runner.core.scope import Scope
from runner.platforms import read
from runner.platforms.davinci_compare import compare, switched
from runner.platforms.davinci_values import (
    Values,
    decode,
    number_of,
    reference_of,
    template_of,
    texts_in,
    typed,
)
from tests.davinci import Drawing, slate, value, variable
from tests.play import Stage, answer

REST = "httpConnector/makeRestApiCall"
SET = "variablesConnector/saveValue"
BASE = "http://h.example"


def ran(drawing, replies=None, *, inputs=None, env=None, given=None, hold=(), **more):
    """Run a drawing in memory."""
    flow = read(Document.of(drawing.export(**more)))
    return Stage(flow, replies or {}, inputs or {}, env or {}, given=given or Answers(), hold=set(hold)).run()


def one(kind, *, variables=(), replies=None, inputs=None, env=None, given=None, settings=None, **properties):
    """Run a flow of one node; returns its outcome."""
    drawing = Drawing().add("n1", kind, **properties)
    stage = ran(
        drawing,
        replies,
        inputs=inputs,
        env=env,
        given=given,
        variables=list(variables),
        settings=settings or {},
    )
    return stage.closed["n1"]


def saved(text, **more):
    """Return what a text of a property becomes."""
    return one(SET, saveVariables=[{"name": "x", "value": text}], **more).outputs["x"]


# --- values --------------------------------------------------------------------------------------


def test_an_editors_text_is_its_texts_and_references_line_by_line():
    text = json.dumps(
        [
            {
                "children": [
                    {"text": "a "},
                    {"type": "moustache", "name": "x", "data": "{{global.parameters.x}}"},
                ]
            },
            {"children": [{"type": "paragraph", "children": [{"text": "b"}, 7]}, {"type": "void"}]},
        ]
    )
    assert decode(text).template.source == "a {{global.parameters.x}}\nb"
    deep = {"text": "deep"}
    for _ in range(300):
        deep = {"children": [deep]}
    assert decode(json.dumps([{"children": [deep]}])).template.source == ""


@pytest.mark.parametrize(
    ("text", "is_broken"),
    [
        ('[{"children": [{"text": "\\q"}]}]', True), ("[1, 2", False), ("[1, 2]", False), ("[]", False),
        ("[" * 100_000, False), ('[{"children": "x"}]', False),
    ],
)  # fmt: skip
def test_what_is_no_editors_text_stays_as_it_is(text, is_broken):
    decoded = decode(text)
    assert (decoded.template.source, decoded.is_broken) == (text, is_broken)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("local.0h0kie4kxi.payload.output.mf-configObject", ("0h0kie4kxi", "payload", "output", "mf-configObject")),
        ("global.parameters.list[0]['odd key'].x", ("parameters", "list", 0, "odd key", "x")),
        ('local.a["b"]', ("a", "b")),
    ],
)  # fmt: skip
def test_references_may_begin_with_digits_and_have_dashes(text, path):
    assert reference_of(text).path == path


@pytest.mark.parametrize("text", ["#if x", "/if", "user.name", "local.a b", "a[", "this", "local['"])
def test_what_is_no_reference_stays_in_the_text(text):
    assert reference_of(text) is None
    written = f"<p>{{{{{text}}}}}</p>"
    assert template_of(written).constant
    assert saved(written) == written


def test_one_reference_keeps_the_type_of_its_value_and_others_become_text():
    given = {"list": [1, "a"], "yes": True, "no": None}
    assert saved(slate(("{{global.parameters.list}}",)), inputs=given) == [1, "a"]
    assert saved("{{global.parameters.yes}}", inputs=given) is True
    assert saved(slate("is ", ("{{global.parameters.yes}}",), "!"), inputs=given) == "is true!"
    assert saved("{{global.parameters.list}} {{global.parameters.no}}.", inputs=given) == '[1,"a"] .'


def test_a_reference_without_value_is_an_empty_text_unless_the_flow_says_otherwise():
    for text in (
        "{{local.gone.payload.output.x}}",
        "{{global.nothing}}",
        "{{local}}",
        "{{global.variables.x}}",
    ):
        assert saved(text) == ""
        assert saved(f"<{text}>") == "<>"
    kept = {"doNotSubstituteUnreplacedFields": True}
    assert saved("{{global.ip}} {{global.ip}}", settings=kept) == "{{global.ip}} {{global.ip}}"


def test_values_inside_of_values_are_rendered_too():
    scope = Scope(inputs={"x": 5})
    values = Values(scope, {}, {})
    held = {
        "a": value("{{global.parameters.x}}"),
        "b": [value(slate("t")), 7, {"value": 1, "c": "{{global.parameters.x}}"}],
    }
    assert values.of(held) == {"a": 5, "b": ["t", 7, {"value": 1, "c": 5}]}
    assert values.of({}) is None
    deep = "end"
    for _ in range(300):
        deep = [deep]
    assert values.of(deep) == deep
    assert list(texts_in(deep)) == []
    assert not values.is_unresolved(value(7))


def test_what_the_run_knows_of_itself_is_found():
    drawing = Drawing().add("n1", SET, saveVariables=[
        {"name": "flow", "value": "{{global.flowId}}"}, {"name": "company", "value": "{{global.companyId}}"},
        {"name": "run", "value": "{{global.interactionId}}"},
    ])  # fmt: skip
    assert ran(drawing).closed["n1"].outputs == {"flow": "f1", "company": "company-1", "run": "run"}
    admin = {"id": "f2", "environment": {"id": "e1"}, "name": "x", "graphData": drawing.graph}
    stage = Stage(read(Document.of(admin))).run()
    assert stage.closed["n1"].outputs["company"] == "e1"


@pytest.mark.parametrize(
    ("given", "kind", "expected"),
    [
        ("5", "number", 5), (" 5.5 ", "number", 5.5), ("five", "number", "five"), ("TRUE", "boolean", True),
        ("maybe", "boolean", "maybe"), ('{"a": 1}', "object", {"a": 1}), ("{", "object", "{"), ("x", None, "x"),
        (5, "string", "5"), (True, "string", "true"), (None, "string", None), ({"a": 1}, "number", {"a": 1}),
        (5, "number", 5), ("7", "string", "7"),
    ],
)  # fmt: skip
def test_a_value_becomes_the_type_that_is_named_for_it(given, kind, expected):
    assert typed(given, kind) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [("1e2", 100.0), (".5", 0.5), ("", None), (True, None), ([], None), ("9" * 400, None)],
)
def test_numbers_are_read_from_texts(given, expected):
    assert number_of(given) == expected


# --- variables -----------------------------------------------------------------------------------


def test_variables_are_those_of_the_document_until_they_are_set():
    drawing = Drawing().add(
        "a",
        SET,
        saveVariables=[{"name": "x##SK##flowInstance", "value": "{{global.variables.x}}1"}, {"name": 7}],
    )
    drawing.add(
        "b",
        "variablesConnector/saveFlowValue",
        saveFlowVariables=[{"name": "y", "value": "{{global.variables.x}}{{global.flow.variables.n}}"}],
    )
    held = [variable("x", given="0"), variable("n", "flow", "number", "5")]
    stage = ran(drawing.then("a", "b"), variables=held)
    assert (stage.closed["a"].outputs, stage.closed["b"].outputs) == ({"x": "01"}, {"y": "015"})


def test_a_variable_has_the_type_that_it_is_declared_with_and_a_row_may_say_another():
    rows = [
        {"name": "n", "value": "7"},
        {"name": "m", "value": "7", "type": "number"},
        {"name": "s", "value": "7"},
    ]
    made = one(SET, saveVariables=rows, variables=[variable("n", kind="number")]).outputs
    assert made == {"n": 7, "m": 7, "s": "7"}


@pytest.mark.parametrize(
    ("held", "step", "expected"),
    [(variable("n", given=4), None, 5), (variable("n", given="4"), "2.5", 6.5), (variable("m"), "3", 3)],
)
def test_a_variable_is_increased(held, step, expected):
    more = {} if step is None else {"incrementCounter": step}
    assert one(
        "variablesConnector/incrementByN", variable="n##SK##flowInstance", variables=[held], **more
    ).outputs == {"n": expected}
    chosen = {"value": {"value": "n", "label": "N"}}
    assert one("variablesConnector/incrementByN", variable=chosen, variables=[held], **more).outputs == {
        "n": expected
    }


def test_what_is_no_number_is_not_increased():
    failed = one("variablesConnector/incrementByN", variable="n", variables=[variable("n", given="many")])
    assert (failed.failure.code, failed.failure.where) == ("davinci.increment", "steps[0]")
    assert one("variablesConnector/incrementByN").failure.code == "davinci.increment"


def test_a_value_of_the_company_comes_from_the_document_or_from_env():
    text = "{{global.company.variables.host}}"
    assert saved(text, variables=[variable("host", "company", given="doc")]) == "doc"
    assert saved(text, env={"host": "env"}, variables=[variable("host", "company", given="doc")]) == "env"
    assert (
        saved("{{global.variables.host}}", env={"host": "env"}, variables=[variable("host", "company")])
        == "env"
    )
    drawing = Drawing().add("n1", SET, saveVariables=[{"name": "x", "value": text}])
    assert build_plan(read(Document.of(drawing.export()))).needs.env == {"host": "steps[0]"}
    held = drawing.export(variables=[variable("host", "company", given="doc")])
    assert build_plan(read(Document.of(held))).needs.env == {}


def test_a_secret_is_masked_wherever_it_goes():
    secret = variable("key", "company", "secret")
    rows = [{"name": "password", "value": "wobbly bicycle"}, {"name": "key", "value": "quiet lantern"}]
    drawing = Drawing().add("a", SET, saveVariables=rows)
    drawing.add("b", REST, url=slate(BASE, "/?k=", ("{{global.variables.key}}",)), headers=[{"key": "X-Own", "value": "{{global.variables.key}}"}],
                httpMethod="POST", httpBody="raw", raw='{"k": "{{global.variables.key}}"}')  # fmt: skip
    stage = ran(drawing.then("a", "b"), env={"key": "first secret"}, variables=[secret])
    assert stage.closed["a"].tainted == {"password", "key"}
    assert stage.masker.mask("wobbly bicycle, quiet lantern") == "[masked], [masked]"
    assert stage.requests[0].url == f"{BASE}/?k=quiet%20lantern"


def test_a_secret_is_known_before_a_node_hands_it_on():
    rows = [
        {"name": "k", "value": "{{global.company.variables.key}}"},
        {"name": "n", "value": "{{global.variables.none}}"},
    ]
    drawing = Drawing().add(
        "n1",
        "functionsConnector/customFunction",
        code="module.exports = ({params}) => ({got: params.k})",
        variableInputList=rows,
    )
    held = [variable("key", "company", "secret"), variable("none", "flowInstance", "secret")]
    stage = ran(drawing, env={"key": "wobbly bicycle"}, variables=held)
    assert stage.masker.mask(stage.closed["n1"].outputs["got"]) == "[masked]"


# --- comparisons ---------------------------------------------------------------------------------

TEXT, NUMBER, TRUTH, ANY_CASE = ("string", True), ("number", True), ("boolean", True), ("", False)


@pytest.mark.parametrize(
    ("name", "left", "right", "settings", "holds"),
    [
        ("AEqualsB", "a", "a", TEXT, True), ("AEqualsB", "a", "A", TEXT, False), ("AEqualsB", "a", "A", ANY_CASE, True),
        ("AEqualsB", 5, "5", TEXT, True), ("AEqualsB", None, "", TEXT, True), ("AEqualsB", "5", 5.0, NUMBER, True),
        ("AEqualsB", "five", "five", NUMBER, False), ("AEqualsB", "true", True, TRUTH, True), ("AEqualsB", "", False, TRUTH, True),
        ("AEqualsB", {"a": [1]}, {"a": [1]}, TEXT, True), ("AEqualsB", [1], [2], TEXT, False),
        ("ANotEqualsB", "a", "b", TEXT, True), ("ANotEqualsB", 1, "1", NUMBER, False),
        ("AIsEmpty", "", None, TEXT, True), ("AIsEmpty", None, None, TEXT, True), ("AIsEmpty", [], None, TEXT, True),
        ("AIsEmpty", {}, None, TEXT, True), ("AIsEmpty", 0, None, TEXT, False), ("AIsEmpty", False, None, TEXT, False),
        ("ALessThanB", "2", "10", NUMBER, True), ("ALessThanEqualToB", 10, "10", NUMBER, True),
        ("AGreaterThanB", "x", 1, NUMBER, False), ("AGreaterThanEqualToB", 1, None, NUMBER, False),
        ("AGreaterThanB", 3, 2, TEXT, True),
        ("stringAContainsB", "haystack", "st", TEXT, True), ("stringAContainsB", "haystack", "ST", ANY_CASE, True),
        ("stringAContainsB", None, "x", TEXT, False),
        ("arrayOfAIncludesB", ["a", "b"], "b", TEXT, True), ("arrayOfAIncludesB", '["a"]', "a", TEXT, True),
        ("arrayOfAIncludesB", "abc", "b", TEXT, False), ("arrayOfAIncludesB", [1], "2", NUMBER, False),
    ],
)  # fmt: skip
def test_two_values_are_compared_as_the_type_that_the_node_names(name, left, right, settings, holds):
    assert compare(name, left, right, settings) is holds


def test_a_switch_takes_the_first_value_that_is_equal():
    assert switched("b", [("1", "a"), ("2", "b"), ("3", "b")], TEXT) == "2"
    assert switched("c", [("1", "a")], TEXT) == "-1"


def test_a_comparison_tells_its_result():
    told = one(
        "functionsConnector/AEqualsB", leftValueA="A", rightValueB="a", type="string", caseSensitive="false"
    )
    assert (told.outputs, told.taken) == ({"result": True}, "true")
    assert one(
        "functionsConnector/AEqualsB", leftValueA="A", rightValueB="a", caseSensitive=True
    ).outputs == {"result": False}


# --- the end of a flow ---------------------------------------------------------------------------

CLAIMS = [
    {"name": "count", "value": "3", "type": "number"}, {"key": "fine", "value": "true", "type": "boolean"},
    {"name": "", "key": "who", "value": slate("Ada"), "type": "string"}, {"value": "nameless"}, "odd",
]  # fmt: skip


def test_a_success_response_has_its_claims_with_their_types():
    done = one("httpConnector/createSuccessResponse", claimsNameValuePairs=CLAIMS)
    assert done.outputs["success"] is True
    assert done.outputs["additionalProperties"] == {"count": 3, "fine": True, "who": "Ada"}
    assert done.outputs["flowId"] == "f1"
    assert done.outputs["interactionId"] == "run"


def test_an_error_response_fails_the_run_with_its_code():
    claims = [{"name": "code", "value": "locked"}, {"name": "message", "value": "The account is locked"}]
    failed = one("httpConnector/createErrorResponse", claimsNameValuePairs=claims)
    assert (failed.status, failed.failure.code, failed.failure.message) == (
        "failed",
        "locked",
        "The account is locked",
    )
    assert failed.outputs["success"] is False
    bare = one("httpConnector/createErrorResponse")
    assert (bare.failure.code, bare.failure.message) == (
        "davinci.error_response",
        "the flow responds with an error",
    )


@pytest.mark.parametrize(
    ("text", "status", "outputs", "result"),
    [
        ('{"a": 1}', "201", {"httpStatusCode": 201, "body": {"a": 1}}, {"a": 1}),
        ("plain", None, {"httpStatusCode": 200, "body": "plain"}, {"body": "plain"}),
    ],
)
def test_an_unwrapped_response_is_its_status_and_its_body(text, status, outputs, result):
    more = {} if status is None else {"httpStatusCode": status}
    done = one("httpConnector/createUnwrappedResponse", jsonString=text, **more)
    assert (done.outputs, done.left["result"]) == (outputs, result)


def test_a_custom_error_ends_the_way_with_its_code():
    failed = one(
        "errorConnector/customErrorMessage", errorMessage="No more tries", errorCode="tries", errorReason=""
    )
    assert (failed.failure.code, failed.failure.message) == ("tries", "No more tries")
    assert failed.outputs == {"errorMessage": "No more tries", "errorCode": "tries"}
    assert one("errorConnector/customErrorMessage").failure.code == "davinci.custom_error"
    assert one("errorConnector/customErrorMessage", errorDescription="why").failure.message == "why"


def test_what_is_logged_is_an_event():
    stage = ran(
        Drawing().add(
            "n1", "analyticsConnector/logOutcome", outcomeType="Login", outcomeStatus="", nodeTitle="Log"
        )
    )
    assert (stage.events, stage.outcome.status) == ([("n1", "outcome.logged")], "succeeded")


# --- functions -----------------------------------------------------------------------------------

pytest.importorskip("quickjs", reason="no JavaScript engine: the extra js is not installed")


def function(code, *rows, **more):
    return one("functionsConnector/customFunction", code=code, variableInputList=list(rows), **more)


def test_a_function_gets_its_typed_inputs_and_its_object_is_the_output():
    rows = [
        {"name": "n", "value": slate(("{{global.parameters.n}}",)), "preferredDataType": "number"},
        {"name": "list", "value": "{{global.parameters.list}}"}, {"name": ""}, {"value": "x"},
    ]  # fmt: skip
    code = "module.exports = a = async ({params}) => ({next: params.n + 1, first: params.list[0]})"
    assert function(code, *rows, inputs={"n": "41", "list": ["a"]}).outputs == {"next": 42, "first": "a"}


def test_a_function_that_returns_false_or_throws_has_failed():
    refused = function("module.exports = () => false")
    assert (refused.failure.code, refused.left["local.n1"]["success"]) == ("davinci.returned_false", False)
    thrown = function("module.exports = () => { throw new Error('broke') }")
    assert (thrown.failure.code, thrown.failure.message) == ("script.failed", "Error: broke")
    assert function(7).outputs == {"result": {}} or function(7).status == "succeeded"


def test_a_function_may_return_something_else():
    done = function("module.exports = () => 'text'")
    assert (done.outputs, done.left["local.n1"]["output"]) == ({"result": "text"}, "text")


def test_a_function_whose_value_is_too_deep_has_failed():
    code = "module.exports = () => { let a = []; for (let i = 0; i < 250; i++) a = [a]; return a; }"
    assert function(code).failure.code == "limit.depth"


def test_a_stub_by_its_id_stands_in_for_any_node():
    done = function("nonsense (", given=Answers(stubs={"n1": {"output": {"made": "up"}}}))
    assert (done.outputs, done.source) == ({"made": "up"}, "stub")
    failed = one(REST, url=BASE, given=Answers(stubs={"n1": {"error": {"message": "down"}}}))
    assert failed.left["local.n1"] == {
        "output": {},
        "success": False,
        "error": {"message": "down", "code": "external.failed"},
    }


# --- nodes that wait for people and services -----------------------------------------------------


def test_a_page_asks_for_the_fields_of_its_form():
    drawing = Drawing().add(
        "page",
        "httpConnector/customHTMLTemplate",
        formFieldsList=[{"propertyName": "user"}, {"propertyName": 7}, "x"],
    )
    drawing.add("form", "formsConnector/show").add("mail", "notificationsConnector/send").then(
        "page", "form"
    ).then("form", "mail")
    drawing.nodes[1]["data"]["capabilityClass"] = "render"
    plan = build_plan(read(Document.of(drawing.export())))
    asked = {step.id: (step.external.ask, step.external.fields) for step in plan.steps}
    assert asked == {"page": ("answers", ("user",)), "form": ("answers", ()), "mail": ("stubs", ())}


def test_what_a_person_enters_is_seen_by_the_nodes_after():
    drawing = Drawing().add("page", "httpConnector/customHTMLTemplate")
    drawing.add(
        "end",
        SET,
        saveVariables=[
            {"name": "x", "value": "{{local.page.payload.output.user}} {{local.page.payload.success}}"}
        ],
    )
    stage = ran(drawing.then("page", "end"), given=Answers({"page": {"output": {"user": "ada"}}}))
    assert stage.closed["end"].outputs == {"x": "ada true"}


# --- requests ------------------------------------------------------------------------------------


def sent(**properties):
    stage = ran(
        Drawing().add("n1", REST, **{"url": f"{BASE}/a", **properties}),
        inputs={"id": "a b", "obj": {"k": 'v"w'}},
    )
    assert stage.closed["n1"].status == "succeeded", stage.closed["n1"].failure
    [request] = stage.requests
    return request


def test_a_request_is_a_get_without_a_body_unless_it_says_more():
    request = sent(
        url=slate(BASE, "/users/", ("{{global.parameters.id}}",)),
        headers=[{"key": "X-A", "value": "1"}, {"key": "", "value": "2"}, {}],
    )
    assert (request.method, request.url, request.body) == ("GET", f"{BASE}/users/a%20b", None)
    assert request.headers == (("X-A", "1"),)


@pytest.mark.parametrize(
    ("properties", "body", "kind"),
    [
        ({"raw": '{"x": "{{global.parameters.obj.k}}", "o": {{global.parameters.obj}}}'}, b'{"x": "v\\"w", "o": {"k":"v\\"w"}}', "application/json"),
        ({"raw": "{{global.parameters.obj}}"}, b'{"k":"v\\"w"}', "application/json"),
        ({"raw": "k={{global.parameters.id}}", "contentType": "text/plain"}, b"k=a b", "text/plain"),
        ({"raw": {"value": {"a": 1}}}, b'{"a":1}', "application/json"),
        ({"raw": {}}, None, "application/json"),
        ({"httpBody": "xwwwFormUrlEncoded", "bodyParams": [{"key": "a", "value": "1 2"}, {"key": " "}]}, b"a=1+2", "application/x-www-form-urlencoded"),
        ({"httpBody": "none", "raw": "x"}, None, None),
    ],
)  # fmt: skip
def test_a_body_is_sent_in_the_form_that_the_node_names(properties, body, kind):
    request = sent(**{"httpMethod": "post", "httpBody": "raw", **properties})
    assert (request.method, request.body) == ("POST", body)
    assert dict(request.headers).get("Content-Type") == kind


def test_a_content_type_of_the_headers_stays():
    request = sent(
        httpMethod="POST",
        httpBody="raw",
        raw="{{global.parameters.obj}}!",
        headers=[{"key": "content-type", "value": "text/x"}],
    )
    assert request.headers == (("content-type", "text/x"),)
    assert request.body == b'{"k":"v\\"w"}!'


def test_form_data_goes_out_in_parts():
    request = sent(httpMethod="POST", httpBody="formData", bodyParams=[{"key": "a", "value": "1"}])
    assert [(part.name, part.content) for part in request.parts] == [("a", b"1")]
    assert dict(request.headers)["Content-Type"].startswith("multipart/form-data; boundary=")


@pytest.mark.parametrize(
    ("properties", "code", "where"),
    [
        ({"url": "nowhere"}, "url.invalid", "steps[0].properties.url"),
        ({"url": "http://h.example/\r\nx"}, "url.invalid", "steps[0].properties.url"),
        ({"url": 7}, "url.invalid", "steps[0].properties.url"),
        ({"httpMethod": "GE T"}, "http.request", "steps[0].properties.httpMethod"),
        ({"headers": [{"key": "a b", "value": "x"}]}, "header.name", "steps[0].properties.headers[0]"),
        ({"headers": [{"key": "a", "value": "x\ny"}]}, "header.value", "steps[0].properties.headers[0]"),
    ],
)
def test_what_cannot_be_sent_fails_the_node_before_it_is_sent(properties, code, where):
    stage = ran(Drawing().add("n1", REST, **{"url": BASE, **properties}))
    assert (stage.closed["n1"].failure.code, stage.closed["n1"].failure.where) == (code, where)
    assert stage.requests == []


def test_an_answer_that_is_no_success_leaves_the_answer_and_an_error():
    drawing = Drawing().add("n1", REST, url=BASE)
    drawing.add("end", SET, saveVariables=[
        {"name": "code", "value": "{{local.n1.payload.error.httpResponseCode}}", "type": "number"},
        {"name": "why", "value": "{{local.n1.payload.output.rawResponse.body.why}}"},
        {"name": "message", "value": "{{local.n1.payload.error.message}}"},
    ])  # fmt: skip
    stage = ran(drawing.then("n1", "end", "anyTriggersFalse"), {"n1": answer('{"why": "gone"}', 410)})
    assert stage.closed["end"].outputs == {
        "code": 410,
        "why": "gone",
        "message": "the server answered 410, expected 2xx",
    }
    assert (stage.closed["n1"].handled, stage.outcome.status) == (True, "succeeded")


def test_no_answer_is_a_failure_with_its_code():
    failed = one(REST, url=BASE, replies={"n1": NoResponse("unsent", "http.connect", "connect", "no route")})
    assert (failed.failure.code, failed.left["local.n1"]["error"]["code"]) == ("http.connect", "http.connect")


def test_an_answer_that_is_too_deep_is_refused():
    failed = one(REST, url=BASE, replies={"n1": answer("[" * 300 + "]" * 300)})
    assert failed.failure.code == "limit.depth"


@pytest.mark.parametrize(
    ("timeout", "settings", "seconds"),
    [
        ("2000", {}, 2.0),
        (None, {}, 15.0),
        (0, {}, 15.0),
        ("500000", {}, 120.0),
        (None, {"flowHttpTimeoutInSeconds": "30"}, 30.0),
    ],
)
def test_a_request_has_the_time_of_its_node_or_of_its_flow(timeout, settings, seconds):
    more = {} if timeout is None else {"timeout": timeout}
    flow = read(Document.of(Drawing().add("n1", REST, url=BASE, **more).export(settings=settings)))
    stage = Stage(flow, hold={"n1"}).run()
    assert next(stage.running["n1"].program).timeout == seconds


def test_a_header_of_credentials_is_masked():
    drawing = Drawing().add(
        "n1",
        REST,
        url=BASE,
        headers=[
            {"key": "Authorization", "value": "Basic " + base64.b64encode(b"me:wobbly bicycle").decode()}
        ],
    )
    stage = ran(drawing)
    assert stage.masker.mask("it is wobbly bicycle") == "it is [masked]"


# --- flows that are run --------------------------------------------------------------------------


def bundle(inner, **given):
    outer = Drawing().add(
        "sub",
        "flowConnector/startUiSubFlow",
        subFlowId={"value": {"value": "f2", "label": "In"}},
        nodeTitle="Sub",
        **given,
    )
    outer.add("end", SET, saveVariables=[
        {"name": "x", "value": "{{local.sub.payload.output.who}}"}, {"name": "bad", "value": "{{local.sub.payload.error.code}}"},
    ])  # fmt: skip
    return {"flows": [outer.then("sub", "end", "always").export("Out"), inner]}


INPUTS = [
    {"propertyName": "name", "preferredDataType": "string", "required": True},
    {"propertyName": "age", "preferredDataType": "number"},
]


def test_a_flow_gets_inputs_and_gives_the_claims_of_its_response():
    row = {"name": "who", "value": "{{global.parameters.name}} {{global.parameters.age}}"}
    inner = Drawing().add("i1", "httpConnector/createSuccessResponse", claimsNameValuePairs=[row])
    document = bundle(
        inner.export("In", "f2", inputSchema=INPUTS), name=slate("Ada"), age="36", more="ignored"
    )
    stage = Stage(read(Document.of(document))).run()
    assert stage.closed["end"].outputs == {"x": "Ada 36", "bad": ""}
    assert (stage.closed["sub"].outputs, stage.spots["sub/i1"].type) == ({"who": "Ada 36"}, "set")


def test_a_flow_that_fails_is_the_failure_of_the_node_that_ran_it():
    row = [{"name": "code", "value": "locked"}, {"name": "who", "value": "nobody"}]
    inner = Drawing().add("i1", "httpConnector/createErrorResponse", claimsNameValuePairs=row)
    stage = Stage(read(Document.of(bundle(inner.export("In", "f2"))))).run()
    assert stage.closed["end"].outputs == {"x": "nobody", "bad": "locked"}
    assert (stage.closed["sub"].failure.code, stage.outcome.status) == ("locked", "succeeded")


def test_an_input_that_leads_nowhere_is_left_out_and_a_required_one_is_asked_for():
    inner = Drawing().add("i1", "httpConnector/createSuccessResponse")
    nowhere = bundle(inner.export("In", "f2", inputSchema=INPUTS), name="x", age="{{global.nothing}}")
    assert Stage(read(Document.of(nowhere))).run().closed["sub"].status == "succeeded"
    missing = build_plan(read(Document.of(bundle(inner.export("In", "f2", inputSchema=INPUTS)))))
    assert [one.code for one in missing.errors] == ["input.required"]


def test_a_secret_that_is_passed_on_stays_one():
    row = {"name": "x", "value": "{{global.parameters.key}}"}
    inner = Drawing().add("i1", SET, saveVariables=[row]).export("In", "f2")
    document = bundle(inner, key="{{global.company.variables.key}}", none={})
    document["flows"][0]["variables"] = [variable("key", "company", "secret")]
    stage = Stage(read(Document.of(document)), env={"key": "wobbly bicycle"}).run()
    assert stage.masker.mask("wobbly bicycle") == "[masked]"


def test_a_variable_belongs_to_the_flow_that_sets_it():
    inner = Drawing().add("i1", SET, saveVariables=[{"name": "v", "value": "inner"}]).export("In", "f2")
    document = bundle(inner)
    document["flows"][0]["graphData"]["elements"]["nodes"][1]["data"]["properties"]["saveVariables"][
        "value"
    ] = [{"name": "seen", "value": "{{global.variables.v}}"}]
    assert Stage(read(Document.of(document))).run().closed["end"].outputs == {"seen": ""}
