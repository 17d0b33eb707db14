import time

import pytest
from opentelemetry import metrics as api_metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from runner.core import names
from runner.errors import SurroundingsError
from runner.runtime.metrics import EXECUTION_BUCKETS, REQUEST_BUCKETS, Metrics, OtlpMetrics
from runner.runtime.otlp_settings import metrics_wanted
from runner.runtime.run import RunSettings, run
from tests.otlp_receiver import Say, attributes, grpc_receiver, otlp_receiver
from tests.servers import ApiServer, Drop, Reply

PROTOCOLS = ["http/protobuf", "http/json", "grpc"]
MILLISECOND = 1_000_000


@pytest.fixture
def reader():
    return InMemoryMetricReader()


@pytest.fixture
def listener(reader):
    provider = MeterProvider([reader], shutdown_on_exit=False)
    yield Metrics(provider)
    provider.shutdown()


def points(reader):
    """Return the data points by the name of their metric."""
    (resource,) = reader.get_metrics_data().resource_metrics
    (scope,) = resource.scope_metrics
    assert scope.scope.name == "runner"
    return {metric.name: list(metric.data.data_points) for metric in scope.metrics}


def values(found, *keys):
    """Return the value, or the count, of each point by the values of these attributes."""
    return {
        tuple(point.attributes.get(key) for key in keys): getattr(point, "value", None) or point.count
        for point in found
    }


def flow(*steps, **config):
    data = {"version": "1.0", "steps": list(steps), "config": config}
    return {"name": "Sign up", "flow_inputs": [], "flow_data": data}


def get(step, **keys):
    return {
        "id": step,
        "name": step.title(),
        "method": "GET",
        "url": f"{{{{env.API}}}}/{step}/{{{{env.ID}}}}",
        **keys,
    }


async def measured(listener, document):
    def answer(request):
        if request.path.startswith("/gone"):
            return Drop()
        return Reply(503 if request.path.startswith("/busy") else 200)

    with ApiServer(answer) as api:
        env = {"API": api.origin, "ID": "42"}
        return await run(document, env=env, settings=RunSettings(listeners=[listener])), api


# --- what is measured


@pytest.mark.anyio
async def test_every_send_is_measured_with_the_attributes_of_its_span(listener, reader):
    document = flow(
        get("fine"), get("busy", retryCount=1), get("gone", onError="continue"), stopOnError=False
    )
    result, api = await measured(listener, document)
    found = points(reader)[names.METRIC_REQUEST_DURATION]
    assert values(found, "url.template", "http.response.status_code", "error.type") == {
        ("/fine/{env.ID}", 200, None): 1,
        ("/busy/{env.ID}", 503, "503"): 2,
        ("/gone/{env.ID}", None, "httpx.RemoteProtocolError"): 2,  # a lost kept connection is sent over again
    }
    for point in found:
        assert point.attributes["server.address"] == "127.0.0.1"
        assert point.attributes["server.port"] == int(api.origin.rpartition(":")[2])
        assert point.attributes["http.request.method"] == "GET"
        assert "url.full" not in point.attributes
        assert point.explicit_bounds == REQUEST_BUCKETS
    spans = [span for span in result.integration_flow().spans if span.kind == "client"]
    assert sum(point.sum for point in found) == pytest.approx(sum(span.duration_ms for span in spans) / 1000)
    in_spans = {span.attributes.get("error.type") for span in spans}
    assert {point.attributes.get("error.type") for point in found} == in_spans


@pytest.mark.anyio
async def test_every_flow_and_step_is_counted_by_its_outcome(listener, reader):
    document = flow(
        get("fine"),
        {"id": "no", "condition": "1 === 2", **{k: v for k, v in get("no").items() if k != "id"}},
        get("busy"),
    )
    await measured(listener, document)
    found = points(reader)
    assert values(found[names.METRIC_EXECUTION_OUTCOME], "task.type", "workflow.task.name", "workflow.execution.result") == {
        ("flow", None, "failure"): 1,
        ("http", "Fine", "success"): 1,
        ("http", "No", "skip"): 1,
        ("http", "Busy", "failure"): 1,
    }  # fmt: skip
    assert values(found[names.METRIC_EXECUTION_ERRORS], "task.type", "error.type") == {
        ("flow", "http.status"): 1,
        ("http", "http.status"): 1,
    }
    assert values(
        found[names.METRIC_WORKFLOW_OUTCOME], "workflow.definition.name", "workflow.execution.result"
    ) == {("Sign up", "failure"): 1}


@pytest.mark.anyio
async def test_durations_are_those_of_the_spans_and_skips_have_none(listener, reader):
    document = flow(get("fine"), {**get("no"), "condition": "1 === 2"})
    result, _ = await measured(listener, document)
    found = points(reader)[names.METRIC_EXECUTION_DURATION]
    assert values(found, "task.type") == {("flow",): 1, ("http",): 1}
    assert found[0].explicit_bounds == EXECUTION_BUCKETS
    spans = {
        span.attributes["task.type"]: span
        for span in result.integration_flow().spans
        if span.kind == "internal" and span.duration_ms
    }
    for point in found:
        assert point.sum == pytest.approx(spans[point.attributes["task.type"]].duration_ms / 1000)


@pytest.mark.anyio
async def test_a_measurement_leads_to_its_trace(listener, reader):
    result, _ = await measured(listener, flow(get("fine")))
    (point,) = points(reader)[names.METRIC_REQUEST_DURATION]
    (exemplar,) = point.exemplars
    assert f"{exemplar.trace_id:032x}" == result.trace_id


@pytest.mark.anyio
async def test_a_token_request_has_no_outcome_of_its_own(listener, reader):
    auth = {"type": "oauth2", "tokenUrl": "{{env.API}}/token", "clientId": "a", "clientSecret": "b"}
    document = flow(get("fine", auth=auth, onError="continue"))
    await measured(listener, document)
    assert values(points(reader)[names.METRIC_EXECUTION_OUTCOME], "task.type") == {("flow",): 1, ("http",): 1}


@pytest.mark.anyio
async def test_a_secret_is_masked_in_metrics_too(listener, reader):
    document = {**flow({"id": "a", "set": {"x": 1}}), "name": "for hunter22"}
    await run(document, env={"API_KEY": "hunter22"}, settings=RunSettings(listeners=[listener]))
    (point,) = points(reader)[names.METRIC_WORKFLOW_OUTCOME]
    assert point.attributes["workflow.definition.name"] == "for [masked]"


# --- sent


def measure_one(metrics):
    from runner.runtime.tracing import Recorder

    made = Recorder("run-7", listeners=[metrics.listener])
    root = made.open("flow-x", attributes={"task.type": "flow"}, start=1)
    made.end(root, attributes={names.WORKFLOW_EXECUTION_RESULT: "success"}, at=1 + 250 * MILLISECOND)
    return made


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_metrics_arrive(protocol, monkeypatch):
    monkeypatch.setenv("OTEL_SERVICE_NAME", "checkout")
    before = api_metrics.get_meter_provider()
    with (grpc_receiver if protocol == "grpc" else otlp_receiver)() as receiver:
        metrics = OtlpMetrics({
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=blue", "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        })  # fmt: skip
        made = measure_one(metrics)
        metrics.start_closing()
        metrics.start_closing()
        assert metrics.close(10) == ""
        (request,) = receiver.metrics
        assert receiver.headers[0]["x-tenant"] == "blue"
        if protocol != "grpc":
            assert receiver.paths == ["/v1/metrics"]
    (group,) = request.resource_metrics
    assert attributes(group.resource.attributes)["service.name"] == "checkout"
    found = {metric.name: metric for metric in group.scope_metrics[0].metrics}
    assert set(found) == {names.METRIC_EXECUTION_DURATION, names.METRIC_EXECUTION_OUTCOME, names.METRIC_WORKFLOW_OUTCOME}  # fmt: skip
    duration = found[names.METRIC_EXECUTION_DURATION]
    assert (duration.unit, duration.histogram.data_points[0].sum) == ("s", 0.25)
    exemplar = duration.histogram.data_points[0].exemplars[0]
    assert exemplar.trace_id == made.trace_id.to_bytes(16, "big")
    assert api_metrics.get_meter_provider() is before


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_metrics_that_were_not_taken_are_told(protocol):
    say = Say(16 if protocol == "grpc" else 401, b"no key", "text/plain")
    with (grpc_receiver if protocol == "grpc" else otlp_receiver)([say]) as receiver:
        metrics = OtlpMetrics(
            {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
        )
        measure_one(metrics)
        metrics.start_closing()
        assert metrics.close(10).endswith(": no key")


def test_a_backend_that_never_answers_does_not_hang_the_end():
    with otlp_receiver() as receiver:
        receiver.hold.clear()
        metrics = OtlpMetrics({"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url})
        measure_one(metrics)
        started = time.monotonic()
        metrics.start_closing()
        assert metrics.close(0.1) == "no answer came in time"
        assert time.monotonic() - started < 5


def test_settings_that_make_no_sense_are_told():
    with pytest.raises(SurroundingsError, match="'smoke'"):
        OtlpMetrics({"OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "smoke"})


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h"}, False),
        ({"OTEL_METRICS_EXPORTER": "otlp"}, True),
        ({"OTEL_METRICS_EXPORTER": "console,otlp"}, True),
        ({"OTEL_METRICS_EXPORTER": "none", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://h"}, False),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://h"}, True),
        ({"OTEL_METRICS_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "TRUE"}, False),
    ],
)
def test_metrics_are_off_until_a_variable_asks_for_them(environ, expected):
    assert metrics_wanted(environ) is expected
