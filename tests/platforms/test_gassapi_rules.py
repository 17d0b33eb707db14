"""What GASSAPI refuses, in its documents' words and in its server's (seed 002; facts/gassapi 3)."""

import json
import time
from itertools import chain, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.document import Document, parse
from runner.core.inputs import check_inputs
from runner.errors import FlowError
from runner.platforms import JUDGES, read, refused_by
from runner.platforms.gassapi_rules import faults, server_steps


def step(name="a", **keys):
    return {"id": name, "method": "GET", "url": "/x", **keys}


def data(*steps, **keys):
    return {"version": "1.0", "steps": list(steps), **keys}


def documented(**record):
    return [fault.text for fault in faults(record, "documented")]


def observed(**record):
    return [fault.text for fault in faults(record, "observed")]


def inputs(face, *fields):
    return [fault.text for fault in faults({"flow_inputs": list(fields)}, face)]


# --- inputs, as documented: each rule of a value, told of a default and of a value that a run is given

VALUES = {
    "min_length": ({"type": "string", "validation": {"min_length": 3}}, "al", "minimum length is 3"),
    "max_length": ({"type": "string", "validation": {"max_length": 5}}, "alfred", "maximum length is 5"),
    "pattern": ({"type": "password", "validation": {"pattern": "^[a-z]+$"}}, "A1", "pattern does not match"),
    "pattern with delimiters": ({"type": "string", "validation": {"pattern": "/^a$/"}}, "b", "pattern does not match"),
    "min": ({"type": "number", "validation": {"min": 18}}, 17, "minimum is 18"),
    "max": ({"type": "number", "validation": {"max": 100}}, 101, "maximum is 100"),
    "integer": ({"type": "number", "validation": {"integer": True}}, 1.5, "must be an integer"),
    "allowed_values": (
        {"type": "string", "validation": {"allowed_values": ["dev", "staging", "prod"]}},
        "test",
        "must be one of: dev, staging, prod",
    ),
    "options": ({"type": "string", "validation": {"options": ["a", "b"]}}, "c", "must be one of: a, b"),
    "allowed_domains": (
        {"type": "email", "validation": {"allowed_domains": ["example.com"]}},
        "a@b.example",
        "domain must be one of: example.com",
    ),
    "email format": ({"type": "email"}, "nobody", "invalid email format"),
    "min_items": ({"type": "array", "validation": {"min_items": 1}}, [], "minimum number of items is 1"),
    "max_items": ({"type": "array", "validation": {"max_items": 1}}, [1, 2], "maximum number of items is 1"),
    "unique_items": ({"type": "array", "validation": {"unique_items": True}}, [1, 1], "items must be unique"),
    "max_size": ({"type": "file", "validation": {"max_size": "1KB"}}, "x" * 2000, "maximum size is 1KB"),
    "format of a date": ({"type": "date", "validation": {"format": "Y-m-d"}}, "1.2.2025", "does not match the date format Y-m-d"),
    "type": ({"type": "boolean"}, "perhaps", "invalid type 'string', must be boolean"),
}  # fmt: skip


@pytest.mark.parametrize("rule", VALUES)
def test_a_default_that_breaks_a_rule_is_refused_in_the_words_of_the_documents(rule):
    field, value, says = VALUES[rule]
    assert inputs("documented", {"name": "username", **field, "default": value}) == [
        f"Input username: {says}"
    ]


@pytest.mark.parametrize("rule", VALUES)
def test_a_value_that_breaks_a_rule_is_refused_in_the_words_of_the_documents(rule):
    field, value, says = VALUES[rule]
    flow = read(Document.of({"flow_inputs": [{"name": "username", **field}], "flow_data": data()}))
    assert [problem.what for problem in check_inputs(flow.inputs, {"username": value})[1]] == [
        f"Input username: {says}"
    ]


def test_a_default_stands_for_an_optional_value_that_is_not_given():
    field = {"name": "sendWelcomeEmail", "type": "boolean", "required": False, "default": True}
    flow = read(Document.of({"flow_inputs": [field], "flow_data": data()}))
    assert check_inputs(flow.inputs, {}) == ({"sendWelcomeEmail": True}, [])


def test_a_required_value_must_be_given():
    flow = read(Document.of({"flow_inputs": [{"name": "username", "type": "string", "required": True}]}))
    assert [problem.what for problem in check_inputs(flow.inputs, {})[1]] == [
        "Input username: a required value is missing"
    ]


TYPES = "string, email, password, number, boolean, object, array, file, date, json"


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ({"type": "string"}, "Input 0: name is required"),
        ({"name": "", "type": "string"}, "Input 0: name is required"),
        ({"name": "age"}, "Input age: type is required"),
        ({"name": "user-name", "type": "string"}, "Input user-name: name must be a valid variable name"),
        ({"name": 5, "type": "string"}, "Input 5: name must be a valid variable name"),
        ({"name": "age", "type": "integer"}, f"Input age: invalid type 'integer', must be one of: {TYPES}"),
        ({"name": "x", "type": "url"}, f"Input x: invalid type 'url', must be one of: {TYPES}"),
        ("x", "Input 0 must be an object"),
        (
            {"name": "x", "type": "string", "validation": {"min_length": "3"}},
            "Input x: min_length must be a whole number of 0 or more",
        ),
        (
            {"name": "x", "type": "number", "validation": {"min": 3, "max": 2}},
            "Input x: min is greater than max; no value fits",
        ),
        (
            {"name": "x", "type": "string", "validation": {"allowed_values": "dev"}},
            "Input x: allowed_values must be a list with at least one value",
        ),
    ],
)
def test_a_definition_that_the_documents_forbid_is_refused(field, text):
    assert inputs("documented", field) == [text]


def test_the_inputs_of_the_documents_are_fine_as_documented():
    fields = [
        {
            "name": "username",
            "type": "string",
            "required": True,
            "validation": {"min_length": 3, "max_length": 50},
        },
        {
            "name": "password",
            "type": "password",
            "validation": {"min_length": 8, "pattern": "^(?=.*[a-z])(?=.*\\d).+$"},
        },
        {"name": "environment", "type": "string", "validation": {"allowed_values": ["dev", "prod"]}},
        {"name": "profile", "type": "object", "default": {"first": ""}},
    ]
    assert inputs("documented", *fields) == []
    assert documented(flow_inputs={field["name"]: field for field in fields}) == []
    assert documented(flow_inputs="x") == ["flow_inputs must be an array"]


# --- inputs, as the server does it


@pytest.mark.parametrize(
    ("field", "texts"),
    [
        ({}, ["Input 0: name is required", "Input 0: type is required"]),
        ([], ["Input 0: name is required", "Input 0: type is required"]),
        ({"name": "0", "type": "string"}, ["Input 0: name is required"]),
        ("x", ["Input 0 must be an object"]),
        (
            {"name": "a-b", "type": "url"},
            [
                "Input 0: name must be a valid variable name (start with letter/underscore, only alphanumeric and underscore)",
                "Input 0: type must be one of: string, number, boolean, email, password, object, array, file, date, json",
            ],
        ),
    ],
)
def test_the_server_numbers_its_complaints_about_inputs(field, texts):
    assert inputs("observed", field) == texts


@pytest.mark.parametrize(
    ("kind", "rules", "texts"),
    [
        ("string", {"min_length": 0, "max_length": 1, "options": ["a"]}, []),
        ("string", {"min_length": -1}, ["min_length must be a non-negative integer"]),
        ("string", {"min_length": "3"}, ["min_length must be a non-negative integer"]),
        ("string", {"min_length": True}, ["min_length must be a non-negative integer"]),
        ("string", {"min_length": 3.0}, ["min_length must be a non-negative integer"]),
        ("string", {"max_length": 0}, ["max_length must be a positive integer"]),
        ("string", {"min_length": 9, "max_length": 1}, []),
        ("date", {"min_length": 1}, ["min_length is not applicable for type date"]),
        ("number", {"max_length": "x"}, ["max_length must be a positive integer", "max_length is not applicable for type number"]),
        ("number", {"min": "a", "max": []}, ["min must be numeric for number type", "max must be numeric for number type"]),
        ("number", {"min": True}, ["min must be numeric for number type"]),
        ("number", {"min": "2", "max": 1}, ["min cannot be greater than max"]),
        ("number", {"min": 1, "max": 1}, []),
        ("string", {"min": "a"}, []),
        ("string", {"options": "a"}, ["options must be an array"]),
        ("string", {"options": ["a", 1, None]}, ["option 1 must be a string", "option 2 must be a string"]),
        ("string", {"options": {"k": 1}}, ["option k must be a string"]),
        ("string", {"allowed_values": "junk"}, []),
        ("email", {"allowed_domains": "junk"}, []),
        ("string", [], []),
    ],
)  # fmt: skip
def test_the_server_checks_some_rules_of_inputs(kind, rules, texts):
    field = {"name": "x", "type": kind, "validation": rules}
    assert inputs("observed", field) == [f"Input 0: {text}" for text in texts]


@pytest.mark.parametrize(
    ("pattern", "fine"),
    [
        ("/^a$/", True), ("#a#i", True), ("(abc)", True), ("{a}", True), ("  /a/", True), ("~a\\~b~", True), ("/a/u\n", True),
        ("^https?://.+", False), ("^[a-zA-Z0-9_]+$", False), ("abc", False), ("/a", False), ("/a/b/", False),
        ("/a/k", False), ("", False), ("/(/", False), ("(abc", False),
    ],
)  # fmt: skip
def test_the_server_wants_patterns_between_delimiters(pattern, fine):
    field = {"name": "x", "type": "string", "validation": {"pattern": pattern}}
    assert inputs("observed", field) == ([] if fine else ["Input 0: pattern must be a valid regex"])
    assert inputs("observed", {**field, "type": "password"}) == []


@pytest.mark.parametrize("nothing", [None, "", "0", 0, False, [], {}])
def test_the_server_passes_over_inputs_that_php_calls_empty(nothing):
    assert observed(flow_inputs=nothing) == []


def test_the_server_takes_an_object_of_inputs_and_calls_them_by_its_keys():
    assert observed(flow_inputs={"age": {"name": "age"}}) == ["Input age: type is required"]
    assert observed(flow_inputs="x") == ["flow_inputs must be an array"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("A & B", None), ("", None), ("x" * 1000, None), ("x" * 1001, "Input too long (max 1000 characters)"),
        ("set id=5", "Input contains invalid content"), ("javascript:x", "Input contains invalid content"),
        ("data: raw", "Input contains invalid content"), ("form>", "Input contains invalid content"),
        ("onload", "Input contains invalid content"), ("100%20", "Input contains invalid pattern"),
        ("<b>x</b>", "Input contains invalid pattern"),
    ],
)  # fmt: skip
def test_the_server_refuses_texts_that_it_takes_for_an_attack(text, says):
    assert observed(description=text, name=5) == ([says] if says else [])


# --- format


def test_a_step_without_an_id_is_refused():
    assert documented(flow_data=data({"method": "GET", "url": "/"})) == ["Step missing required field 'id'"]
    assert observed(flow_data=data({"method": "GET", "url": "/"})) == ["Step 0 missing id"]


def test_a_step_without_a_method_or_a_url_is_refused():
    assert documented(flow_data=data(step(), {"id": "b", "name": "B"})) == [
        "Step missing required field 'method'", "Step missing required field 'url'",
    ]  # fmt: skip
    assert observed(flow_data=data(step(), {"id": "b"})) == ["Step 1 missing method", "Step 1 missing URL"]


def test_a_conditional_step_needs_no_request_as_documented_and_one_on_the_server():
    check = {"id": "check_condition", "condition": "{{input.role}} === 'admin'", "trueLabel": "Admin Path"}
    wait = {"id": "wait", "delay": 500}
    assert documented(flow_data={"steps": [check, wait]}) == []
    assert observed(flow_data={"steps": [check]}) == [
        "Step 0 missing method",
        "Step 0 missing URL",
        "Missing version",
    ]


@pytest.mark.parametrize("flow_data", [{}, [], "x", 5, {"steps": None}])
def test_a_flow_without_steps_is_refused(flow_data):
    assert documented(flow_data=flow_data) == ["Missing required field 'steps'"]
    assert observed(flow_data=flow_data) == ["Missing steps array", "Missing version"]


def test_steps_that_are_no_list_or_no_objects_are_seen_as_php_sees_them():
    assert observed(flow_data=data()) == []
    assert observed(flow_data={"version": 1, "steps": "x"}) == []
    assert observed(flow_data=data("x")) == [
        "Step 0 missing id",
        "Step 0 missing method",
        "Step 0 missing URL",
    ]


def node(name="a", **fields):
    return {"id": name, "type": "apiCall", "data": {"name": name, "method": "GET", "url": "/x", **fields}}


def test_a_drawing_is_checked_as_one():
    drawing = {
        "nodes": [node(), {}, {"id": "c"}, {"id": "d", "data": {}}],
        "edges": [{}, {"source": "a", "target": "b"}],
    }
    assert observed(flow_data=drawing) == [
        "Node 1 missing id", "Node 1 missing data", "Node 2 missing data", "Node 3 missing method",
        "Node 3 missing URL", "Edge 0 missing source", "Edge 0 missing target",
    ]  # fmt: skip
    assert documented(flow_data={**drawing, "nodes": [node(), {"data": {}}]}) == [
        *(f"Node missing required field '{name}'" for name in ("id", "type", "name", "method", "url")),
        "Edge missing required field 'source'", "Edge missing required field 'target'",
    ]  # fmt: skip


def test_the_nodes_of_the_documents_are_fine_and_others_are_not():
    check = {"id": "c", "type": "condition", "data": {"name": "C", "condition": "{{a.x}} === 'y'"}}
    wait = {"id": "d", "type": "delay", "data": {"name": "D", "duration": 5}}
    assert documented(flow_data={"nodes": [node(), check, wait], "edges": []}) == []
    odd = {"id": "o", "type": "custom_node", "data": {"name": "O"}}
    assert documented(flow_data={"nodes": [odd], "edges": []}) == ["Unsupported node type 'custom_node'"]


def test_half_a_drawing_lacks_the_other_half():
    assert documented(flow_data={"nodes": []}) == ["Missing required field 'edges'"]
    assert documented(flow_data={"edges": []}) == ["Missing required field 'nodes'"]
    assert observed(flow_data={"nodes": []}) == ["Missing steps array", "Missing version"]
    assert observed(flow_data={"nodes": 5, "edges": "x"}) == []


# --- references


def references(face, text, *others):
    record = {"flow_data": data(*others, step("z", body={"a": [{"b": text}]}))}
    return [fault.text for fault in faults(record, face)]


@pytest.mark.parametrize("face", ["documented", "observed"])
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{{ input.x }} and {{env.X}} and {{headers.Accept}}", None),
        ("{{z.x}} {{}} {{open.", None),
        (
            "{{step.invalid-field}}",
            "Step 1: Invalid field name 'invalid-field' in reference 'step.invalid-field'",
        ),
        ("{{ }}", "Step 1: Empty variable reference"),
        ("{{0}}", "Step 1: Empty variable reference"),
        ("{{token}}", "Step 1: Invalid variable reference format 'token'. Expected format: type.field"),
        ("{{.x}}", "Step 1: Invalid variable reference format '.x'. Expected format: type.field"),
        (
            "{{@odd.x}}",
            "Step 1: Invalid reference type '@odd'. Must be one of: input, env, headers or a valid step ID",
        ),
        ("{{input.}}", "Step 1: Empty field name in reference 'input.'"),
    ],
)
def test_references_are_refused_in_the_words_of_both(face, text, says):
    assert references(face, text, step("step")) == ([says] if says else [])


@pytest.mark.parametrize("text", ["{{z.a.b}}", "{{z.items[0]}}", "{{z.items.0}}", "{{headers.X-Request-ID}}"])
def test_what_the_documents_show_as_valid_is_refused_by_the_server_alone(text):
    assert references("documented", text) == []
    assert len(references("observed", text)) == 1


def test_the_documents_want_a_reference_to_lead_to_a_step():
    text = "Step 0: Invalid reference type 'nobody'. Must be one of: input, env, headers or a valid step ID"
    assert references("documented", "{{nobody.x}}") == [text]
    assert references("observed", "{{nobody.x}}") == []


def test_only_url_headers_and_body_are_looked_through():
    bad = "{{bad}}"
    one = step(
        url=bad, headers={bad: bad, "n": 5}, body={bad: bad, "l": [bad, 5]}, condition=bad, outputs={"x": bad},
    )  # fmt: skip
    where = [
        fault.where
        for fault in faults({"flow_data": data(one, "x", step(body=bad, headers=[bad]))}, "observed")
    ]
    assert where[:4] == ["flow_data.steps[1]"] * 3 + ["flow_data.steps[0].url"]
    assert where[4:] == [
        "flow_data.steps[0].headers['{{bad}}']", "flow_data.steps[0].body['{{bad}}']", "flow_data.steps[0].body.l[0]",
    ]  # fmt: skip


def test_the_server_numbers_the_steps_of_a_drawing_as_it_orders_them():
    drawing = {
        "nodes": [node("d", url="{{d}}"), node("c"), node("b"), node("a"), node("x", url="{{x}}")],
        "edges": [
            {"source": "a", "target": "d"}, {"source": "a", "target": "b"}, {"source": "b", "target": "c"},
            {"source": "c", "target": "d"}, {"source": "x", "target": "x"}, "odd", {"source": "b", "target": "gone"},
        ],
    }  # fmt: skip
    assert [one["id"] for _, one in server_steps(drawing)] == ["a", "d", "b", "c", "x"]
    told = faults(
        {"flow_data": {**drawing, "edges": [edge for edge in drawing["edges"] if edge != "odd"]}}, "observed"
    )
    assert [(fault.where, fault.text.partition(":")[0]) for fault in told] == [
        ("flow_data.nodes[0].data.url", "Step 1"),
        ("flow_data.nodes[4].data.url", "Step 4"),
    ]


def test_a_long_drawing_is_put_in_order_at_once():
    names = [f"n{index}" for index in range(40_000)]
    edges = [{"source": one, "target": other} for one, other in pairwise(names)]
    start = time.process_time()
    ordered = server_steps({"nodes": [node(name) for name in names], "edges": edges})
    assert time.process_time() - start < 5
    assert [one["id"] for _, one in ordered] == names


def test_of_a_node_the_server_keeps_what_it_knows():
    full = node("a", condition="x", timeout=5, headers=None, outputs={"x": "response.body"})
    assert server_steps({"nodes": [full, {"id": "b"}, 5], "edges": None}) == [
        (0, {"id": "a", "name": "a", "method": "GET", "url": "/x", "headers": [], "body": None, "outputs": {"x": "response.body"}, "tests": []}),
        (1, {"id": "b", "name": "b", "method": "GET", "url": "", "headers": [], "body": None, "outputs": [], "tests": []}),
        (2, {"id": None, "name": None, "method": "GET", "url": "", "headers": [], "body": None, "outputs": [], "tests": []}),
    ]  # fmt: skip


# --- as problems of a document


def refused(record, judge="gassapi"):
    return [(one.where, one.what) for one in refused_by(Document.of(record), judge)]


def test_each_stage_has_its_words_before_and_its_code():
    record = {"name": "onload", "flow_inputs": [{}], "flow_data": {"steps": [{"url": "{{x}}"}]}}
    told = refused_by(parse(json.dumps(record, indent=1).encode(), name="f.json"), "gassapi-observed")
    assert [(one.code, one.where, one.what.partition(": ")[0]) for one in told] == [
        ("gassapi.text", "name", "Input contains invalid content"),
        ("gassapi.inputs", "flow_inputs[0]", "Invalid flow inputs"),
        ("gassapi.inputs", "flow_inputs[0]", "Invalid flow inputs"),
        ("gassapi.format", "flow_data.steps[0]", "Invalid flow format"),
        ("gassapi.format", "flow_data.steps[0]", "Invalid flow format"),
        ("gassapi.format", "flow_data", "Invalid flow format"),
        ("gassapi.references", "flow_data.steps[0].url", "Invalid variable references"),
    ]
    assert [one.place.line for one in told] == [2, 4, 4, 8, 8, 6, 9]


def test_every_spelling_of_a_document_is_judged():
    bare = data(step(url="{{x}}"))
    [(where, what)] = refused({"name": "n", **bare})
    assert where == "steps[0].url"
    assert refused({"flow_data": json.dumps(bare), "flow_inputs": "[]"}) == [("flow_data.steps[0].url", what)]
    assert refused({"name": "New name only"}) == []
    assert refused({"nodes": [node(url="{{x}}")], "edges": []}) == [("nodes[0].data.url", what)]
    with pytest.raises(FlowError, match="this text must hold JSON"):
        refused({"flow_data": "{"})


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["id", "name", "type", "validation", "steps", "nodes", "edges", "data", "url", "body", "headers", "pattern", "min", "max", "options", "source", "target", "default"]),
        inner, max_size=4,
    ),
    max_leaves=15,
)  # fmt: skip


@pytest.mark.parametrize("face", ["documented", "observed"])
def test_an_id_that_is_no_text_is_judged(face):
    drawn = {"nodes": [{"id": [], "data": {"url": "{{a.b}}"}}], "edges": []}
    for flow_data in ({"version": "1.0", "steps": [{"id": {}, "url": "{{a.b}}"}]}, drawn):
        assert all(fault.text for fault in faults({"flow_data": flow_data}, face))


@given(JUNK, JUNK, JUNK)
def test_any_document_is_judged(fields, flow_data, name):
    record = {"flow_inputs": fields, "flow_data": flow_data, "name": name}
    told = chain.from_iterable(faults(record, face) for _, face in JUDGES.values())
    assert all(fault.text for fault in told)


@given(st.text(st.sampled_from("{}. abc-@0input"), max_size=20))
def test_any_text_has_references_or_none(text):
    for _, face in JUDGES.values():
        assert all(line.startswith("Step 0: ") for line in references(face, text))


@pytest.mark.soak
@pytest.mark.parametrize("check", [test_any_document_is_judged, test_any_text_has_references_or_none])
def test_ten_thousand_documents_are_judged(check):
    check()
