"""What a run is given is checked whole, before anything is sent (DESIGN 3, 4, 6; SEMANTICS)."""

import io
import json
import subprocess
import sys

import pytest
from opentelemetry.sdk.trace import TracerProvider

import runner
from runner.core.trace import is_ulid
from runner.runtime.run import Run, current_traceparent
from tests.command import environment
from tests.integration_flow_schema import violations
from tests.servers import ApiServer, Reply


def flow(*steps, inputs=None, **config):
    document = {"name": "f", "flow_data": {"version": "1.0", "steps": list(steps), "config": config}}
    if inputs is not None:
        document["flow_inputs"] = inputs
    return document


def http(step_id, **keys):
    return {"id": step_id, "method": "GET", "url": f"{{{{env.API}}}}/{step_id}", **keys}


@pytest.fixture
def api():
    with ApiServer(lambda request: Reply(body={"id": 42})) as server:
        yield server


def refused(*arguments, **keywords):
    with pytest.raises(runner.FlowError) as caught:
        runner.run_sync(*arguments, **keywords)
    return [(problem.code, problem.where) for problem in caught.value.problems]


def test_everything_that_is_missing_is_told_at_once_and_nothing_is_sent(api):
    document = flow(
        http("a", headers={"X": "{{headers.X-Id}}"}, query={"q": "{{input.gone}}"}),
        http("b", url="{{env.OTHER}}/{{b.x}}"),
        inputs=[{"name": "who", "required": True}],
    )
    found = refused(document, {"wo": "x"}, env={"AP": api.origin})
    assert sorted(found) == [
        ("env.missing", "steps[0].url"),
        ("env.missing", "steps[1].url"),
        ("header.missing", "steps[0].headers.X"),
        ("input.required", "inputs.who"),
        ("input.undeclared", "inputs.wo"),
        ("reference.itself", "steps[1].url"),
        ("reference.unknown_input", "steps[0].query.q"),
    ]
    assert api.requests == []


def test_a_missing_env_value_names_the_close_match_and_the_remedy():
    with pytest.raises(runner.FlowError) as caught:
        runner.run_sync(flow(http("a"), inputs=[]), env={"APIS": "x"})
    assert str(caught.value) == "steps[0].url: no env value 'API'; did you mean 'APIS'?"
    with pytest.raises(runner.FlowError, match="give it with -e API=…"):
        runner.run_sync(flow(http("a"), inputs=[]))


def test_open_inputs_that_are_needed_are_demanded():
    document = flow(http("a", url="http://h/{{input.x}}/{{y}}"))
    assert refused(document) == [("input.missing", "steps[0].url"), ("reference.unknown", "steps[0].url")]


def test_a_flat_name_is_an_input_or_an_env_value(api):
    document = flow(http("a", query={"x": "{{x}}", "y": "{{y}}"}))
    result = runner.run_sync(document, {"x": "1"}, env={"API": api.origin, "y": "2"})
    assert result.ok
    assert api.requests[0].query == {"x": ["1"], "y": ["2"]}


def test_headers_that_came_with_the_run_are_seen_whatever_their_case(api):
    document = flow(http("a", headers={"X-Copy": "{{headers.x-id}}"}), inputs=[])
    assert runner.run_sync(document, env={"API": api.origin}, headers={"X-Id": "7"}).ok
    assert api.requests[0].header("x-copy") == "7"


def test_a_run_id_must_be_one():
    settings = runner.RunSettings(run_id="no id!")
    assert refused(flow(), settings=settings) == [("run.id", "")]


def test_the_run_id_is_a_ulid_unless_given():
    assert is_ulid(runner.run_sync(flow()).run_id)
    result = runner.run_sync(flow(), settings=runner.RunSettings(run_id="order:7"))
    assert result.run_id == "order:7"
    assert is_ulid(result.integration_flow().spans[0].attributes["execution.id"])


def test_a_result_tells_what_came_of_the_run(api):
    document = flow(http("a", outputs={"id": "response.body.id"}), {"id": "c", "condition": "false"})
    result = runner.run_sync(document, env={"API": api.origin})
    assert (result.ok, result.status, result.flow) == (True, "succeeded", "f")
    assert result.outputs == {"a": {"id": 42}, "c": {"result": False, "label": "false"}}
    assert [step.status for step in result.steps] == ["succeeded", "succeeded"]
    result.raise_for_failure()
    shown = result.to_json()
    assert list(shown) == [
        "runId", "flow", "status", "startTime", "endTime", "durationMs", "traceId", "inputs", "steps", "outputs",
    ]  # fmt: skip
    json.dumps(shown)


def test_a_failed_run_raises_only_when_asked(api):
    api.on("/a", Reply(500))
    result = runner.run_sync(flow(http("a")), env={"API": api.origin})
    assert not result.ok
    with pytest.raises(runner.RunFailed, match="flow 'f' failed: the server answered 500") as caught:
        result.raise_for_failure()
    assert caught.value.result is result


def test_the_trace_is_written_as_the_platform_wants_it(api):
    result = runner.run_sync(flow(http("a")), env={"API": api.origin})
    out = io.BytesIO()
    result.write_trace(out, name="n", description="d")
    document = json.loads(out.getvalue())
    assert violations(document) == []
    assert (document["name"], document["description"]) == ("n", "d")
    assert result.integration_flow(name="n", description="d").to_json() == out.getvalue()
    out = io.BytesIO()
    result.write_trace(out)
    assert json.loads(out.getvalue())["name"] == "f"


@pytest.mark.parametrize(
    ("env", "inputs", "headers", "secret"),
    [
        ({"SOME_TOKEN": "t0psecret"}, {}, {}, "t0psecret"),
        ({"DB_URL": "http://me:p4ss%21word@h/"}, {}, {}, "p4ss!word"),
        ({}, {"p": "t0psecret"}, {}, "t0psecret"),
        ({}, {"u": "http://me:p4ssword@h/"}, {}, "p4ssword"),
        ({}, {"u": "http://[broken@://"}, {"Authorization": "Bearer t0psecret"}, "Bearer t0psecret"),
        ({}, {"u": "http://me@h/"}, {"Cookie": "sid=t0psecret"}, "sid=t0psecret"),
    ],
)
def test_secrets_are_known_before_the_run(env, inputs, headers, secret):
    document = flow(inputs=[{"name": "p", "type": "password"}, {"name": "u"}])
    ready = Run(runner.load(document), inputs, runner.RunSettings(env=env, headers=headers))
    assert ready.masker.mask(f"x {secret} y") == "x [masked] y"


def test_an_env_value_may_be_named_secret():
    settings = runner.RunSettings(env={"HARMLESS": "t0psecret"}, secret_env=frozenset({"HARMLESS"}))
    assert Run(runner.load(flow()), {}, settings).masker.mask("t0psecret") == "[masked]"
    settings = runner.RunSettings(env={"HARMLESS": "t0psecret"})
    assert Run(runner.load(flow()), {}, settings).masker.mask("t0psecret") == "t0psecret"


def test_warnings_of_a_run_are_kept():
    ready = Run(runner.load({"steps": []}), {}, runner.RunSettings())
    assert [problem.code for problem in ready.warnings] == ["flow.version"]


def test_inside_an_application_with_a_tracer_the_run_is_a_child_of_its_span(api):
    assert current_traceparent() == (None, "")
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("app")
    with tracer.start_as_current_span("outer") as outer:
        result = runner.run_sync(flow(http("a")), env={"API": api.origin})
    context = outer.get_span_context()
    assert result.trace_id == f"{context.trace_id:032x}"
    root = result.integration_flow().spans[0]
    assert root.attributes["runner.remote_parent"].startswith(f"00-{result.trace_id}-{context.span_id:016x}")


def test_a_flow_runs_from_a_path(api, tmp_path):
    path = tmp_path / "orders.json"
    path.write_text(json.dumps({"version": "1.0", "steps": [http("a")]}))
    result = runner.run_sync(path, env={"API": api.origin})
    assert (result.ok, result.flow) == (True, "orders")


@pytest.mark.parametrize("env", [{}, {"OTEL_SDK_DISABLED": "true"}])
def test_a_host_application_with_a_provider_that_samples_nothing_changes_no_record(env):
    code = """
import runner
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

exported = InMemorySpanExporter()
provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
provider.add_span_processor(SimpleSpanProcessor(exported))
trace.set_tracer_provider(provider)
with trace.get_tracer("host").start_as_current_span("host"):
    result = runner.run_sync({"version": "1.0", "flow_inputs": [], "steps": [{"id": "a", "set": {"x": 1}}]})
assert [span.name for span in result.integration_flow().spans] == ["flow-flow", "set-a"]
assert exported.get_finished_spans() == ()
assert trace.get_tracer_provider() is provider
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(**env), capture_output=True, text=True, timeout=25, check=False
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
