"""JUnit reports: which spans are test cases, and XML that the readers of CI systems take."""

import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.otlp_json import from_otlp
from runner.core.trace_document import TraceDocument
from runner.report.junit import junit
from tests.junit_shape import check_shape
from tests.traces import SERVER, failed_run, otlp, send, span, step


def trace(document, name="orders"):
    return TraceDocument(name, "", from_otlp(document), "otlp-json")


def root(**more):
    return span(
        "flow-orders", 0, 100, number=1, task__id="orders", task__type="flow", runner__run__id="r-1", **more
    )


def steps(*spans, **more):
    return trace(otlp(x=[root(**more), *spans]))


def report(*traces, locate=None):
    found = ET.fromstring(junit(traces, locate))
    check_shape(found)
    return found


def shown(*traces):
    """Return each case as its name, its verdict and the verdict's message."""
    return [
        (
            case.get("name"),
            verdict.tag if verdict is not None else "passed",
            verdict is not None and verdict.get("message"),
        )
        for case in report(*traces).iter("testcase")
        for verdict in [next((one for one in case if one.tag != "system-out"), None)]
    ]


def names(*traces):
    return [name for name, _, _ in shown(*traces)]


def test_a_run_is_a_suite_and_each_of_its_steps_a_case():
    found = report(trace(failed_run()))
    [suite] = found
    assert suite.attrib == {
        "name": "orders", "tests": "4", "failures": "1", "errors": "0", "skipped": "1", "time": "0.100",
        "timestamp": "2026-01-01T00:00:00",
    }  # fmt: skip
    assert found.attrib == {"tests": "4", "failures": "1", "errors": "0"}
    assert [case.attrib for case in suite.iter("testcase")] == [
        {"classname": "orders", "name": "quick", "time": "0.020"},
        {"classname": "orders", "name": "slow", "time": "0.060"},
        {"classname": "orders", "name": "admin", "time": "0.000"},
        {"classname": "orders", "name": "pay", "time": "0.035"},
    ]


def test_failures_and_skips_have_their_reasons():
    found = report(trace(failed_run()), locate=lambda path, where: f"{path}.json:7:3")
    [skipped], [failure] = found.iter("skipped"), found.iter("failure")
    assert skipped.attrib == {"message": "condition: {{input.user}} is not root", "type": "condition"}
    assert failure.attrib == {"message": "the server answered 500, expected 2xx", "type": "http.status"}
    assert failure.text.splitlines() == [
        "the server answered 500, expected 2xx",
        "at pay.json:7:3 steps[3].expectedStatus",
        "GET /pay: 500",
    ]


def test_a_failure_tells_what_was_sent_and_what_came_of_it():
    found = report(
        steps(
            step(
                "a",
                0,
                9,
                number=2,
                result="failure",
                error="it timed out",
                runner__failure__code="http.timeout",
            ),
            send(
                "a", 1, 4, number=3, parent=2, status=503, http__request__method="GET", url__full="http://h/a"
            ),
            span("GET /a", 5, 8, number=4, parent=2, kind=3, error="", task__id="a", error__type="timeout"),
            span("GET /a", 8, 9, number=5, parent=2, kind=3, task__id="a"),
        )
    )
    assert found.find(".//failure").text.splitlines() == [
        "it timed out",
        "GET http://h/a: 503",
        "GET /a: timeout",
        "GET /a: no answer",
    ]


def test_the_run_and_the_trace_are_told_as_properties():
    [suite] = report(steps(step("a", 0, 9, number=2)))
    told = {one.get("name"): one.get("value") for one in suite.iter("property")}
    assert told == {"trace.id": f"{1:032x}", "runner.run.id": "r-1"}


def loop(*items, kind="iteration", **more):
    """Return a loop of items, each (result, error)."""
    return steps(
        step("each", 0, 90, kind="forEach", number=2, **more),
        *(
            step("each", 10 * at, 10 * at + 10, kind=kind, number=10 + at, parent=2, result=result, error=error,
                 runner__index=at, runner__step__path=f"each[{at}]")
            for at, (result, error) in enumerate(items)
        ),
    )  # fmt: skip


def test_the_items_of_a_loop_are_the_cases():
    failing = loop(("success", None), ("failure", "no such item"), result="failure", error="no such item")
    assert shown(failing) == [("each[0]", "passed", False), ("each[1]", "failure", "no such item")]


def test_a_loop_without_items_is_a_case_itself():
    assert shown(loop()) == [("each", "passed", False)]


def test_the_steps_of_a_sub_flow_are_the_cases():
    sub = steps(
        step("session", 0, 50, kind="flow", number=2),
        step("login", 0, 20, number=3, parent=2, runner__step__path="session/login"),
        step("check", 20, 50, number=4, parent=2, runner__step__path="session/check"),
        step("pay", 50, 60, number=5),
    )
    assert names(sub) == ["session/login", "session/check", "pay"]


def test_a_container_that_failed_of_something_else_is_a_case_too():
    late = steps(
        step("session", 0, 50, kind="flow", number=2, result="failure", error="it took too long"),
        step("login", 0, 20, number=3, parent=2, runner__step__path="session/login"),
    )
    assert shown(late) == [("session", "failure", "it took too long"), ("session/login", "passed", False)]


def test_polls_attempts_and_tokens_belong_to_their_step():
    polled = steps(
        step("wait", 0, 50, kind="until", number=2, result="failure", error="not ready after 2 polls"),
        step("wait", 0, 10, number=3, parent=2, runner__poll=1, runner__step__path="wait~1"),
        send("wait", 0, 10, number=4, parent=3, status=202),
        step("wait", 20, 30, number=5, parent=2, runner__poll=2, runner__step__path="wait~2"),
        step("get", 50, 90, number=6),
        step("get.auth", 50, 60, number=7, parent=6),
        send("get.auth", 50, 60, number=8, parent=7, status=200),
    )
    assert shown(polled) == [("wait", "failure", "not ready after 2 polls"), ("get", "passed", False)]


def test_what_the_flow_handled_is_no_failure_but_is_told():
    handled = steps(
        step("a", 0, 9, number=2, result="failure", error="it broke", runner__failure__handled=True),
        step(
            "each",
            10,
            50,
            kind="forEach",
            number=3,
            result="failure",
            error="no",
            runner__failure__handled=True,
        ),
        step("each", 10, 50, kind="iteration", number=4, parent=3, result="failure", error="no"),
    )
    assert [verdict for _, verdict, _ in shown(handled)] == ["passed", "passed"]
    assert [one.text for one in report(handled).iter("system-out")] == [
        "failed, and the flow handled it: it broke",
        "failed, and the flow handled it: no",
    ]


@pytest.mark.parametrize("result", ["cancellation", "timeout"])
def test_what_was_cut_off_is_an_error_and_what_was_not_begun_is_skipped(result):
    cut = steps(
        step("a", 0, 9, number=2),
        step("b", 9, 50, number=3, result=result, error="the run ended"),
        step("c", 50, 50, number=4, result="skip", runner__skip__reason="unreached"),
        workflow__execution__result=result, error="the run ended",
    )  # fmt: skip
    assert shown(cut) == [
        ("a", "passed", False),
        ("b", "error", "the run ended"),
        ("c", "skipped", "unreached"),
    ]


def test_a_run_that_ended_badly_although_no_step_did_has_an_error_of_its_own():
    cut = steps(step("a", 0, 9, number=2), workflow__execution__result="timeout", error="no time left")
    assert shown(cut) == [("orders", "error", "no time left"), ("a", "passed", False)]


def test_a_fault_of_the_runner_is_an_error():
    fault = steps(
        step("a", 0, 9, number=2, result="failure", error="a bug", runner__failure__code="internal")
    )
    assert shown(fault) == [("a", "error", "a bug")]


def test_a_step_that_has_not_ended_is_an_error():
    running = steps(step("a", 0, 9, number=2))
    running.records[1].ended = False
    assert shown(running) == [("a", "error", "running")]


def test_a_trace_without_steps_has_its_roots_for_cases():
    other = trace(
        otlp(
            shop=[
                span("GET /x", 0, 9, number=1, kind=SERVER, error="boom"),
                span("SELECT", 1, 2, number=2, parent=1),
            ]
        )
    )
    assert shown(other) == [("GET /x", "failure", "boom")]


def test_the_steps_below_spans_of_others_are_found():
    below = trace(otlp(app=[span("job", 0, 99, number=7)], x=[step("a", 0, 9, number=2, parent=7)]))
    assert names(below) == ["a"]


def test_every_trace_has_its_suite_and_one_without_spans_is_empty():
    found = report(
        trace(failed_run(), "one"), trace(failed_run(), "two"), TraceDocument("none", "", [], "spans")
    )
    assert [(suite.get("name"), suite.get("tests")) for suite in found] == [
        ("one", "4"),
        ("two", "4"),
        ("none", "0"),
    ]
    assert (found.get("tests"), found.get("failures")) == ("8", "2")


def test_a_deep_trace_is_read_without_recursion():
    depth = 3_000
    spans = [step(f"s{at}", 0, 9, kind="flow", number=at + 1, parent=at) for at in range(1, depth)]
    assert names(trace(otlp(x=[root(), *spans]))) == [f"s{depth - 1}"]


@given(st.text(), st.text(), st.text())
def test_any_text_gives_xml_that_can_be_read(name, path, message):
    found = report(
        trace(
            otlp(
                x=[
                    span(name, 0, 9, number=1, task__id="f", task__type="flow"),
                    step(
                        "a",
                        0,
                        9,
                        number=2,
                        result="failure",
                        error=message or "?",
                        runner__step__path=path or "a",
                    ),
                ]
            ),
            name,
        )
    )
    legal = re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "", message or "?")
    assert found.find(".//failure").get("message") == legal
