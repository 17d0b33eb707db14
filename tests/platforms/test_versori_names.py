"""Spans under the names of the Versori platform's own runs (facts/versori 1, recommended profile)."""

import json

import anyio
import pytest

from runner.core import names
from runner.core.integration_flow import IntegrationFlow, read
from runner.core.trace import SpanRecord
from runner.platforms.versori_names import renamed
from runner.runtime.run import RunSettings, run
from tests.integration_flow_schema import violations
from tests.servers import ApiServer, Reply


@pytest.fixture(scope="module")
def spans():
    """Run a flow of many kinds of steps for real and return its spans, renamed, by their new names."""
    api = ApiServer(lambda request: Reply(404 if "lost" in request.path else 200, {"ok": True}))
    flow = {
        "name": "Say hello",
        "version": "1.0",
        "steps": [
            {"id": "ask", "method": "GET", "url": "{{env.API}}/a?x=1&y=2"},
            {"id": "keep", "set": {"a": 1}},
            {"id": "choose", "condition": "1 < 2"},
            {"id": "pause", "delay": 1},
            {"id": "each", "method": "GET", "url": "{{env.API}}", "forEach": [1]},
            {"id": "lost", "method": "GET", "url": "{{env.API}}/lost"},
        ],
    }
    with api:
        settings = RunSettings(env={"API": api.origin}, trigger="cli")
        result = anyio.run(lambda: run(flow, settings=settings))
    native = renamed(result.integration_flow().spans)
    assert violations(json.loads(read_back(native))) == []
    return {"before": result.integration_flow().spans, "after": native}


def read_back(records):
    return IntegrationFlow("n", "", records).to_json()


def named(spans, name):
    return next(span for span in spans["after"] if span.name == name)


def test_spans_are_called_as_on_the_platform(spans):
    assert [span.name for span in spans["after"]] == [
        "webhook-Say-hello",
        "http-ask", "GET",
        "fn-keep",
        "fn-choose",
        "fn-pause",
        "fn-each", "fn-each", "GET",
        "http-lost", "GET",
    ]  # fmt: skip


def test_what_started_the_run_is_a_webhook_with_its_id(spans):
    root = named(spans, "webhook-Say-hello").attributes
    assert (root["task.id"], root["task.type"], root["runner.step.type"]) == ("Say-hello", "webhook", "flow")
    assert len(root["execution.id"]) == 26


def test_a_task_keeps_its_id_and_what_it_was(spans):
    attributes = named(spans, "fn-keep").attributes
    assert (attributes["task.id"], attributes["task.type"], attributes["runner.step.type"]) == (
        "keep",
        "fn",
        "set",
    )


def test_a_step_that_calls_a_host_names_it_as_its_connection(spans):
    assert named(spans, "http-ask").attributes["connection"] == "127.0.0.1"
    assert "connection" not in named(spans, "fn-keep").attributes


def test_an_attempt_has_the_eight_keys_of_the_trace_search(spans):
    attributes = spans["after"][2].attributes
    eight = {
        "http.request.method", "http.response.status_code", "server.address", "server.port",
        "url.full", "url.path", "url.query", "url.scheme",
    }  # fmt: skip
    assert eight <= attributes.keys()
    assert (attributes["url.path"], attributes["url.query"]) == ("/a", "x=1&y=2")
    assert "url.query" not in spans["after"][-1].attributes


def test_a_failure_has_a_stack_that_names_no_file_of_ours(spans):
    failed = named(spans, "http-lost")
    stack = "http.status: the server answered 404, expected 2xx\n    at steps[5]"
    assert failed.attributes["error.stack"] == stack
    [(name, _, event)] = failed.events
    assert (name, event["exception.stacktrace"]) == ("exception", stack)
    assert failed.status == "error"


def test_nothing_but_names_and_attributes_is_changed(spans):
    for before, after in zip(spans["before"], spans["after"], strict=True):
        assert (before.span_id, before.parent_id, before.start, before.end, before.status) == (
            after.span_id, after.parent_id, after.start, after.end, after.status,
        )  # fmt: skip
        changed = {names.TASK_TYPE, names.TASK_ID}
        assert before.attributes.items() - after.attributes.items() <= {
            (key, value) for key, value in before.attributes.items() if key in changed
        }


def record(name, parent=None, kind="internal", **attributes):
    return SpanRecord(name, 1, 2, parent, sequence=0, start=0, kind=kind, attributes=attributes)


def test_spans_of_other_tools_keep_their_names():
    there = [
        record("x"),
        record("y", **{"task.id": "a"}),
        record("z", kind="client", **{"url.full": "http://[::x"}),
    ]
    assert [(one.name, dict(one.attributes)) for one in renamed(there)] == [
        ("x", {}), ("y", {"task.id": "a"}), ("z", {"url.full": "http://[::x"}),
    ]  # fmt: skip


def test_a_flow_within_a_flow_is_a_workflow():
    [one] = renamed([record("flow-inner", 5, **{"task.id": "inner", "task.type": "flow"})])
    assert (one.name, one.attributes["task.type"]) == ("workflow-inner", "workflow")


def test_an_error_of_another_tool_has_a_stack_and_its_other_events_stay():
    there = record("a", **{"error.message": "gone"})
    there.events = [("log", 1, {"a": 1}), ("exception", 2, {})]
    [one] = renamed([there])
    assert one.attributes["error.stack"] == "error: gone"
    assert one.events == [("log", 1, {"a": 1}), ("exception", 2, {"exception.stacktrace": "error: gone"})]
    assert there.events[1] == ("exception", 2, {})


def test_a_document_that_is_renamed_can_be_read():
    assert read(json.loads(read_back(renamed([record("x")])))).spans[0].name == "x"
