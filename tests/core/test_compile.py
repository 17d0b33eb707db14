"""From keys of a document to compiled steps, and what is wrong with single keys (DESIGN 3)."""

import pytest

from runner.core.compile import Compiler
from runner.core.plan import build_plan
from tests.play import flow_of, http


def compiled(*steps, **config):
    flow = flow_of(*steps, **config)
    compiler = Compiler(flow)
    return [compiler.compile(index, step) for index, step in enumerate(flow.steps)], compiler.problems


def one(step, **config):
    plans, problems = compiled(step, **config)
    assert not [problem for problem in problems if problem.is_error], problems
    return plans[0]


def told(step):
    return [(problem.code, problem.where, problem.severity) for problem in compiled(step)[1]]


def test_equal_texts_are_compiled_once():
    plans, _ = compiled(
        *[http(f"s{n}", url="{{env.A}}/x", outputs={"x": "response.body.x"}) for n in range(3)]
    )
    assert len({id(plan.work.url) for plan in plans}) == 1
    assert len({id(plan.work.outputs["x"]) for plan in plans}) == 1
    assert len({id(plan.work.terms.policy) for plan in plans}) == 1


def test_equal_settings_are_one_object():
    plans, _ = compiled(
        http("a"), http("b"), http("c", timeout=5), http("d", timeout=5), http("e", timeout=6)
    )
    assert len({id(plan.work.terms) for plan in plans}) == 3
    assert plans[0].extras is plans[1].extras
    assert compiled(http("a"), http("b", maxConcurrency=1))[0][1].extras is plans[0].extras


def test_settings_that_are_wrong_are_told_of_every_step():
    steps = [
        http("a", expectedStatus=1),
        http("b", expectedStatus=1),
        http("c", method="G T"),
        http("d", method="G T"),
    ]
    assert [problem.where for problem in compiled(*steps)[1]] == [
        "steps[0].expectedStatus", "steps[1].expectedStatus", "steps[2].method", "steps[3].method",
    ]  # fmt: skip


def test_outputs_that_are_wrong_are_told_of_every_step():
    steps = [
        http("a", outputs={"o": "bad path !", "p": "$.p"}),
        http("b", outputs={"o": "bad path !", "p": "$.p"}),
    ]
    plans, problems = compiled(*steps)
    assert [problem.where for problem in problems] == ["steps[0].outputs.o", "steps[1].outputs.o"]
    assert [list(plan.work.outputs) for plan in plans] == [["p"], ["p"]]


def test_the_most_specific_retry_setting_wins_field_by_field():
    config = {"retry": {"maxAttempts": 7, "initialInterval": 5, "jitter": "none"}, "retryCount": 2}
    policy = one(http("a", retry={"initialInterval": 9}, retryCount=1), **config).work.terms.policy
    assert (policy.max_attempts, policy.initial_interval, policy.jitter) == (2, 0.009, False)
    assert one(http("a"), **config).work.terms.policy.max_attempts == 7
    assert one(http("a"), retryCount=2).work.terms.policy.max_attempts == 3
    assert one(http("a")).work.terms.policy.max_attempts == 1


def test_timeouts_are_seconds_and_the_step_wins():
    assert one(http("a", timeout=1500), timeout=9000).work.terms.timeout == 1.5
    assert one(http("a"), timeout=9000).work.terms.timeout == 9
    assert one(http("a")).work.terms.timeout == 30


@pytest.mark.parametrize(
    ("given", "accepted"),
    [
        (None, (range(200, 300),)),
        (404, (range(404, 405),)),
        ("404", (range(404, 405),)),
        ("2xx", (range(200, 300),)),
        ("5XX", (range(500, 600),)),
        ([200, "3xx"], (range(200, 201), range(300, 400))),
    ],
)
def test_expected_status_is_a_number_a_class_or_several(given, accepted):
    assert one(http("a", expectedStatus=given)).work.terms.accepted == accepted


@pytest.mark.parametrize("given", ["abc", 99, 600, "6xx", "", [200, "x"]])
def test_an_expected_status_that_is_none_is_told(given):
    assert told(http("a", expectedStatus=given))[0][:2] == ("step.expected_status", "steps[0].expectedStatus")


def test_conditions_over_items_are_for_each_item():
    assert one(http("a", forEach=[1], condition="{{item}} > 0")).extras.condition_per_item
    assert one(http("a", forEach=[1], condition="{{index}} > 0")).extras.condition_per_item
    assert not one(http("a", forEach=[1], condition="{{input.x}} > 0")).extras.condition_per_item
    assert not one(http("a", condition="{{input.x}} > 0")).extras.condition_per_item


def test_a_condition_may_be_a_boolean_and_an_empty_one_is_none():
    assert one(http("a", condition=False)).condition.shown == "false"
    assert one(http("a", condition="")).condition is None


def test_every_kind_of_body_is_compiled():
    assert one(http("a", body={"x": "{{input.x}}"})).work.body.value == {"x": "{{input.x}}"}
    assert one(http("a", body="text {{input.x}}")).work.body.source == "text {{input.x}}"
    assert one(http("a", form={"x": "1"})).work.body.fields.value == {"x": "1"}
    assert one(http("a", bodyFile="x.bin")).work.body.path.source == "x.bin"
    parts = one(
        http("a", multipart={"t": "text", "f": {"file": "a.txt", "filename": "b", "contentType": "c/d"}})
    )
    (_, text), (_, file) = parts.work.body.parts
    assert (text.text.source, text.file) == ("text", None)
    assert (file.file.source, file.filename.source, file.content_type) == ("a.txt", "b", "c/d")


def test_an_empty_body_of_a_get_is_none():
    assert one(http("a", body=[])).work.body is None
    assert one(http("a", body={}, method="HEAD")).work.body is None
    assert one(http("a", body=[], method="POST")).work.body is not None


def test_a_url_may_have_blanks_around_it():
    assert one(http("a", url=" {{env.A}} ")).work.url.whole


def test_bodies_exclude_each_other():
    assert told(http("a", body={}, form={"a": "b"})) == [("step.bodies", "steps[0].form", "error")]


@pytest.mark.parametrize(
    ("step", "where", "code"),
    [
        (http("a", url="{{ x"), "steps[0].url", "template"),
        (http("a", query={"q": "{{ 1 + }}"}), "steps[0].query.q", "template.syntax"),
        (http("a", outputs={"o": "bad path !"}), "steps[0].outputs.o", "output.path"),
        (http("a", condition="1 ="), "steps[0].condition", "condition.syntax"),
        (http("a", **{"assert": ["true", "1 ="]}), "steps[0].assert[1]", "condition.syntax"),
        (http("a", until={"condition": "1 ="}), "steps[0].until.condition", "condition.syntax"),
        (http("a", multipart={"f": {"file": "{{ x"}}), "steps[0].multipart.f.file", "template"),
        (http("a", auth={"type": "bearer", "token": "{{ 1 + }}"}), "steps[0].auth.token", "template.syntax"),
        (http("a", method="G T"), "steps[0].method", "step.method"),
        (http("a", secretOutputs=["x"]), "steps[0].secretOutputs[0]", "output.unknown"),
        ({"id": "a", "endpointId": "e1"}, "steps[0].endpointId", "step.endpoint"),
        ({"id": "a", "endpoint": "e1"}, "steps[0].endpointId", "step.endpoint"),
    ],
)
def test_what_cannot_be_compiled_is_told_with_its_place(step, where, code):
    found = told(step)
    assert [(one[1], one[2]) for one in found] == [(where, "error")]
    assert found[0][0].startswith(code)


@pytest.mark.parametrize(
    ("step", "where", "code"),
    [
        (http("a", tests=["pm.test()"]), "steps[0].tests", "step.tests"),
        (http("a", endpointId="e"), "steps[0].endpointId", "step.endpoint"),
        (http("a", maxConcurrency=2), "steps[0].maxConcurrency", "step.ignored_key"),
        ({"id": "a", "delay": 1, "headers": {"x": "y"}}, "steps[0].headers", "step.ignored_key"),
        (
            {"id": "a", "condition": "true", "idempotencyKey": True},
            "steps[0].idempotencyKey",
            "step.ignored_key",
        ),
        ({"id": "a", "set": {"x": 1}, "assert": ["true"]}, "steps[0].assert", "step.ignored_key"),
    ],
)
def test_keys_without_effect_are_warned_of(step, where, code):
    assert told(step) == [(code, where, "warning")]


def test_secret_outputs_of_a_set_step_are_its_variables():
    assert told({"id": "a", "set": {"x": 1}, "secretOutputs": ["x"]}) == []


def test_what_a_step_refers_to_is_noted_with_its_key():
    flow = flow_of(http("a", url="{{env.A}}/x", body={"t": ["{{input.t}}"]}, condition="{{input.c}}"))
    compiler = Compiler(flow)
    compiler.compile(0, flow.steps[0])
    assert [
        (key, [one.text for part in parts for one in part.references]) for key, parts, _ in compiler.uses
    ] == [
        ("condition", ["input.c"]),
        ("url", ["env.A"]),
        ("body", ["input.t"]),
    ]
    assert compiler.uses[2][2].place(0) == ("t", 0)


def test_the_base_url_is_told_when_it_cannot_be_compiled():
    plan = build_plan(flow_of(http("a", url="/x"), baseUrl="{{ x"))
    assert [one.where for one in plan.errors] == ["config.baseUrl"]


def test_the_path_template_of_the_url_names_the_attempts():
    assert one(http("a", url="{{env.A}}/users/{{input.id}}?x=1")).work.path_template == "/users/{input.id}"


def test_a_tree_with_something_wrong_in_it_is_checked_all_the_same():
    plan = build_plan(flow_of(http("a", body={"wrong": "{{ 1 + }}", "right": "{{nobody.x}}"}, method="POST")))
    assert [one.where for one in plan.errors] == ["steps[0].body.wrong", "steps[0].body.right"]
