"""What stands on which span (SEMANTICS, Trace; Secrets; HTTP conventions v1.44)."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core import names, spans
from runner.core.actions import Spot
from runner.core.commands import (
    NoResponse,
    Outcome,
    Part,
    Refused,
    Request,
    Response,
    SendRequest,
    StepFailure,
    Waited,
)
from runner.core.redact import MASK

FAILED = Outcome(
    "failed", failure=StepFailure("http.status", "the server answered 404", "steps[0]"), attempts=2
)


def sending(url="https://h.example/a", method="GET", body=None, parts=None, shown=None, **keys):
    return SendRequest(
        Request(method, url, (), body, parts), 1.0, shown_url=url if shown is None else shown, **keys
    )


def attributes_of(outcome, **keys):
    return spans.outcome_attributes(outcome, outputs=keys.pop("outputs", True), **keys)


# --- flow and steps ------------------------------------------------------------------------------


def test_the_root_span_carries_the_flow():
    assert spans.flow_attributes("orders", "cli") == {
        "task.id": "orders",
        "task.type": "flow",
        "workflow.definition.name": "orders",
        "workflow.trigger.type": "cli",
    }


def test_a_step_span_carries_id_type_and_name_and_nothing_that_says_no_more():
    spot = Spot("register", "", "http", "register", "Register a user")
    assert spans.spot_name(spot) == "http-register"
    assert spans.spot_attributes(spot) == {
        "task.id": "register",
        "task.type": "http",
        "workflow.task.name": "Register a user",
    }


@pytest.mark.parametrize(
    ("spot", "name", "more"),
    [
        (
            Spot("a[0]", "a", "iteration", "a", "A", index=0),
            "iteration-a",
            {"runner.step.path": "a[0]", "runner.index": 0},
        ),
        (Spot("a~1", "a", "http", "a", "A", poll=1), "http-a", {"runner.step.path": "a~1", "runner.poll": 1}),
        (
            Spot("a#2", "", "set", "a", "A", visit=2),
            "set-a",
            {"runner.step.path": "a#2", "runner.step.visit": 2},
        ),
        (Spot("b/a", "b", "flow", "a", "A"), "flow-a", {"runner.step.path": "b/a"}),
    ],
)
def test_a_span_says_which_item_poll_or_visit_it_is(spot, name, more):
    assert spans.spot_name(spot) == name
    found = spans.spot_attributes(spot)
    assert {key: found[key] for key in found if key.startswith("runner.")} == more


# --- ends ----------------------------------------------------------------------------------------


def test_success_leaves_the_status_unset_and_shows_scalar_outputs():
    values = {
        "s": "x" * 256, "long": "x" * 257, "i": 1, "f": 1.5, "b": False, "no": None, "list": [1], "o": {"a": 1},
    }  # fmt: skip
    outcome = Outcome("succeeded", values, attempts=1)
    assert spans.outcome_status(outcome) == "unset"
    assert attributes_of(outcome) == {
        "workflow.execution.result": "success",
        "runner.step.attempts": 1,
        "runner.output.s": "x" * 256,
        "runner.output.i": 1,
        "runner.output.f": 1.5,
        "runner.output.b": False,
    }


def test_outputs_and_attempts_can_be_switched_off():
    outcome = Outcome("succeeded", {"a": 1}, attempts=1)
    assert attributes_of(outcome, outputs=False, attempts=False) == {"workflow.execution.result": "success"}


@pytest.mark.parametrize("value", ["secret", "x" * 1000, 12, None, {"a": 1}])
def test_a_secret_output_is_a_mask_whatever_its_kind(value):
    outcome = Outcome("succeeded", {"t": value, "u": 1}, tainted=frozenset({"t"}))
    assert attributes_of(outcome) == {
        "workflow.execution.result": "success", "runner.output.t": MASK, "runner.output.u": 1,
    }  # fmt: skip


def test_a_skip_is_no_error_and_tells_its_reason():
    outcome = Outcome("skipped", reason="condition", detail="1 === 2 is false")
    assert spans.outcome_status(outcome) == "unset"
    assert attributes_of(outcome) == {
        "workflow.execution.result": "skip",
        "runner.skip.reason": "condition",
        "runner.skip.detail": "1 === 2 is false",
    }
    assert names.SKIP_DETAIL not in attributes_of(Outcome("skipped", reason="unreached"))


def test_a_failure_is_an_error_with_its_code_message_and_place():
    assert spans.outcome_status(FAILED) == "error"
    assert attributes_of(FAILED) == {
        "workflow.execution.result": "failure",
        "runner.step.attempts": 2,
        "error.type": "http.status",
        "error.message": "the server answered 404",
        "runner.failure.code": "http.status",
        "runner.failure.place": "steps[0]",
    }
    assert spans.failure_event(FAILED) == {
        "exception.type": "http.status", "exception.message": "the server answered 404",
    }  # fmt: skip


def test_a_failed_step_shows_no_outputs():
    outcome = Outcome("failed", {"a": 1}, failure=StepFailure("x.y", "z"))
    found = attributes_of(outcome)
    assert "runner.output.a" not in found
    assert names.FAILURE_PLACE not in found


def test_a_handled_failure_stays_an_error_and_says_that_it_is_handled():
    outcome = Outcome("failed", failure=StepFailure("x.y", "z"), handled=True)
    assert spans.outcome_status(outcome) == "error"
    assert attributes_of(outcome)["runner.failure.handled"] is True


@pytest.mark.parametrize(
    ("by", "result", "error_type"), [("cancelled", "cancellation", "cancelled"), ("timed_out", "timeout", "timeout")]
)  # fmt: skip
def test_an_interruption_is_an_error_of_its_own_kind(by, result, error_type):
    outcome = Outcome("failed", failure=StepFailure(f"run.{by}", "x"), ended_by=by)
    assert spans.outcome_status(outcome) == "error"
    found = attributes_of(outcome)
    assert (found["workflow.execution.result"], found["error.type"]) == (result, error_type)
    assert spans.INTERRUPTED[by] == error_type


def test_a_failure_without_words_still_has_a_type():
    assert spans.error_type(Outcome("failed")) == "failed"


# --- attempts ------------------------------------------------------------------------------------


def test_an_attempt_carries_what_is_sent():
    command = sending("https://h.example/u/7?q=1", "POST", body="é".encode(), resend=2, template="/u/{id}")
    assert spans.request_attributes(command, "a", "http") == {
        "task.id": "a",
        "task.type": "http",
        "http.request.method": "POST",
        "url.full": "https://h.example/u/7?q=1",
        "server.address": "h.example",
        "server.port": 443,
        "url.scheme": "https",
        "url.template": "/u/{id}",
        "http.request.resend_count": 2,
        "http.request.body.size": 2,
    }


def test_a_first_attempt_without_body_and_template_says_nothing_about_them():
    found = spans.request_attributes(sending("http://[::1]:8080/", parts=(Part("a", b"b"),)), "a", "http")
    assert (found["server.address"], found["server.port"]) == ("::1", 8080)
    assert (
        not {names.URL_TEMPLATE, names.HTTP_REQUEST_RESEND_COUNT, names.HTTP_REQUEST_BODY_SIZE} & found.keys()
    )


def test_a_method_that_nobody_knows_is_other():
    found = spans.request_attributes(sending("http://h.example", "PURGE"), "a", "http")
    assert (found["http.request.method"], found["http.request.method_original"]) == ("_OTHER", "PURGE")
    assert found["server.port"] == 80


def test_a_url_shows_neither_userinfo_nor_secret_parameters_nor_what_is_masked():
    url = "http://me:hunter2@h.example/pw?api_key=k&a=1"
    found = spans.request_attributes(sending(url, shown=url.replace("/pw", f"/{MASK}")), "a", "http")
    assert found["url.full"] == f"http://REDACTED:REDACTED@h.example/{MASK}?api_key=REDACTED&a=1"
    assert "hunter2" not in repr(found)


def test_what_cannot_be_sent_still_gets_a_span():
    found = spans.request_attributes(sending("gopher:x"), "a", "http")
    assert (found["server.address"], found["server.port"]) == ("", 0)


def test_an_answer_carries_status_size_version_peer_and_harmless_headers():
    headers = (
        ("Content-Type", "a/b"), ("X-Request-Id", "1"), ("x-request-id", "2"), ("Set-Cookie", "s=1"),
        ("Location", "http://u:p@o.example/?token=t"), ("Authorization", "x"),
    )  # fmt: skip
    reply = Response(302, headers, b"abc", http_version="2", peer=("10.0.0.1", 443))
    assert spans.reply_attributes(sending(), reply) == {
        "http.response.status_code": 302,
        "network.protocol.version": "2",
        "http.response.body.size": 3,
        "network.peer.address": "10.0.0.1",
        "network.peer.port": 443,
        "http.response.header.content-type": ["a/b"],
        "http.response.header.x-request-id": ["1", "2"],
        "http.response.header.location": ["http://REDACTED:REDACTED@o.example/?token=REDACTED"],
    }


@pytest.mark.parametrize(
    ("status", "accepted", "expected"),
    [
        (200, (range(200, 300),), "unset"),
        (302, (range(200, 300),), "unset"),
        (399, (range(200, 300),), "unset"),
        (400, (range(200, 300),), "error"),
        (404, (range(200, 300),), "error"),
        (404, (range(200, 300), range(404, 405)), "unset"),
        (500, (), "error"),
    ],
)
def test_an_attempt_is_an_error_from_400_on_unless_the_step_accepts_the_status(status, accepted, expected):
    command, reply = sending(accepted=accepted), Response(status)
    assert spans.reply_status(command, reply) == expected
    error_type = spans.reply_attributes(command, reply).get("error.type")
    assert error_type == (str(status) if expected == "error" else None)


@pytest.mark.parametrize("status", [None, 200])
def test_no_answer_is_an_error_with_its_type(status):
    reply = NoResponse("partial", "http.reset", "ReadError", "broke off", status=status)
    assert spans.reply_status(sending(), reply) == "error"
    expected = {"error.type": "ReadError", "error.message": "broke off"}
    if status is not None:
        expected["http.response.status_code"] = status
    assert spans.reply_attributes(sending(), reply) == expected


def test_a_refusal_is_an_error_with_its_code():
    reply = Refused("http.refused", "not to that host")
    assert spans.reply_status(sending(), reply) == "error"
    expected = {"error.type": "http.refused", "error.message": "not to that host"}
    assert spans.reply_attributes(sending(), reply) == expected


def test_a_reply_that_is_no_answer_adds_nothing():
    assert spans.reply_attributes(sending(), Waited()) == {}


# --- every name is known -------------------------------------------------------------------------

TEXTS = st.text(max_size=5)
OUTCOMES = st.builds(
    Outcome,
    st.sampled_from(["succeeded", "failed", "skipped"]),
    st.dictionaries(TEXTS, st.none() | st.integers() | TEXTS | st.lists(TEXTS), max_size=3),
    st.sampled_from(["condition", "upstream", "unreached"]),
    TEXTS,
    st.none() | st.builds(StepFailure, TEXTS, TEXTS, TEXTS),
    st.integers(0, 3),
    handled=st.booleans(),
    tainted=st.frozensets(TEXTS),
    ended_by=st.sampled_from([None, "cancelled", "timed_out"]),
)


@given(OUTCOMES)
def test_every_attribute_of_an_end_is_listed_and_never_null(outcome):
    found = attributes_of(outcome)
    assert all(names.known_attribute(key) for key in found)
    assert None not in found.values()
    assert found["workflow.execution.result"] in names.EXECUTION_RESULTS


@given(st.integers(100, 599), st.lists(st.tuples(st.sampled_from(spans.SHOWN_RESPONSE_HEADERS), TEXTS)))
def test_every_attribute_of_an_answer_is_listed(status, headers):
    found = spans.reply_attributes(sending(), Response(status, tuple(headers)))
    assert all(names.known_attribute(key) for key in found)
    assert all(re.fullmatch(r"[a-z0-9_.-]+", key) for key in found)
