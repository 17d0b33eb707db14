import re

import pytest

from runner.core import names

CONSTANTS = {key: value for key, value in vars(names).items() if key.isupper() and isinstance(value, str)}


def test_every_attribute_and_event_has_one_sentence():
    for sentence in [
        *names.ATTRIBUTES.values(), *names.EVENTS.values(), *names.METRICS.values(), *names.SPAN_NAMES.values()
    ]:  # fmt: skip
        assert re.fullmatch(r"[A-Z].*[^.]\.", sentence), sentence


def test_every_name_in_the_module_is_described():
    for constant, name in CONSTANTS.items():
        if constant in {"OTHER_METHOD", "TASK_FLOW", "TASK_ITERATION"}:
            continue
        kinds = {"EVENT": names.EVENTS, "METRIC": names.METRICS, "PROCESS": names.SPAN_NAMES}
        described = kinds.get(constant.partition("_")[0], names.ATTRIBUTES)
        assert name + ("<name>" if name.endswith(".") else "") in described, constant


def test_no_two_constants_mean_the_same_name():
    assert len(set(CONSTANTS.values())) == len(CONSTANTS)


def test_span_names_follow_the_seed():
    assert names.flow_span_name("Register user") == "flow-Register user"
    assert names.step_span_name("http", "register") == "http-register"
    assert names.step_span_name(names.TASK_ITERATION, "each") == "iteration-each"
    assert names.step_span_name("http", names.token_task_id("register")) == "http-register.auth"


@pytest.mark.parametrize(
    ("method", "template", "shown"),
    [
        ("POST", "/users/{id}", "POST /users/{id}"),
        ("get", "/", "GET /"),
        ("GET", None, "GET"),
        ("GET", "", "GET"),
        ("BREW", "/pot", "HTTP /pot"),
    ],
)
def test_an_attempt_is_named_by_method_and_template(method, template, shown):
    assert names.attempt_span_name(method, template) == shown


@pytest.mark.parametrize(
    ("method", "attributes"),
    [
        ("POST", {"http.request.method": "POST"}),
        ("post", {"http.request.method": "POST", "http.request.method_original": "post"}),
        ("BREW", {"http.request.method": "_OTHER", "http.request.method_original": "BREW"}),
    ],
)
def test_an_unknown_method_keeps_its_original_spelling_beside_it(method, attributes):
    assert names.method_attributes(method) == attributes


@pytest.mark.parametrize(
    ("key", "known"),
    [
        ("task.id", True),
        ("runner.output.userId", True),
        ("http.response.header.content-type", True),
        ("http.response.headers", False),
        ("task.name", False),
    ],
)
def test_an_attribute_is_known_by_itself_or_by_its_family(key, known):
    assert names.known_attribute(key) is known
