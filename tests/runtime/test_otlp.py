import logging
import math
import subprocess
import sys
import threading
import time

import pytest
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from runner.core import names
from runner.core.trace import Link
from runner.errors import SurroundingsError
from runner.runtime import otlp
from runner.runtime.otlp import OtlpDelivery, otlp_attributes, protocol, traces_url, wanted
from runner.runtime.tracing import Recorder
from tests.otlp_receiver import attributes, otlp_receiver

REMOTE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def run_one(delivery, count=1, **options):
    made = Recorder("run-7", listeners=[delivery], **options)
    for number in range(count):
        made.end(made.open(f"span-{number}"))
    return made


class Backend(SpanExporter):
    """An exporter whose answers are given, and which can be made to wait."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.batches = []
        self.go = threading.Event()
        self.go.set()
        self.reached = threading.Event()
        self.third = threading.Event()

    def export(self, spans):
        self.reached.set()
        if len(self.batches) == 2:
            self.third.set()
        self.go.wait(10)
        self.batches.append([span.name for span in spans])
        answer = self.answers.pop(0) if self.answers else SpanExportResult.SUCCESS
        if isinstance(answer, Exception):
            raise answer
        return answer


def deliver_to(backend, **options):
    return OtlpDelivery(exporter=lambda: backend, **options)


# --- over the wire


def test_spans_arrive_with_ids_times_kinds_and_attributes():
    with otlp_receiver() as receiver:
        delivery = OtlpDelivery(endpoint=receiver.url)
        made = Recorder("run-7", listeners=[delivery], parent=REMOTE, tracestate="vendor=1")
        flow = made.open("flow-x", "consumer", links=[Link(5, 6, {"why": "retry"})])
        step = made.open(
            "POST /x", "client", flow, {"n": 1, "f": 0.5, "b": True, "list": ["a", "b"], "none": None}
        )
        made.event(step, "exception", {"exception.message": "no"}, at=step.start + 1)
        made.end(step, "error", "HTTP 503", at=step.start + 2)
        made.end(flow)
        assert delivery.close() == (2, 0)
        below, root = receiver.spans
    assert root.trace_id.hex() == below.trace_id.hex() == REMOTE.split("-")[1]
    assert (root.span_id, root.parent_span_id.hex()) == (
        flow.span_id.to_bytes(8, "big"),
        REMOTE.split("-")[2],
    )
    assert root.trace_state == "vendor=1"
    assert root.flags & 0x200  # the parent is remote
    assert below.parent_span_id == root.span_id
    assert not below.flags & 0x200
    assert (root.kind, below.kind) == (5, 3)  # OTLP: CONSUMER, CLIENT
    assert (below.start_time_unix_nano, below.end_time_unix_nano) == (step.start, step.start + 2)
    assert attributes(below.attributes) == {
        "n": 1,
        "f": 0.5,
        "b": True,
        "list": ["a", "b"],
        "execution.id": made.execution_id,
    }
    assert (below.status.code, below.status.message, root.status.code) == (2, "HTTP 503", 0)
    assert (below.events[0].name, below.events[0].time_unix_nano) == ("exception", step.start + 1)
    assert (root.links[0].span_id, attributes(root.links[0].attributes)) == (
        (6).to_bytes(8, "big"),
        {"why": "retry"},
    )


def test_the_standard_variables_are_honoured(monkeypatch):
    with otlp_receiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=blue")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
        monkeypatch.setenv("OTEL_SERVICE_NAME", "checkout")
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
        delivery = OtlpDelivery()
        run_one(delivery)
        assert delivery.close() == (1, 0)
        assert receiver.paths == ["/v1/traces"]
        assert receiver.headers[0]["x-tenant"] == "blue"
        assert receiver.headers[0]["content-encoding"] == "gzip"
        resource = receiver.resource
    assert resource["service.name"] == "checkout"
    assert resource["deployment.environment.name"] == "test"


def test_the_resource_names_this_package_and_headers_may_be_given():
    with otlp_receiver() as receiver:
        delivery = OtlpDelivery(endpoint=f"{receiver.url}/v1/traces", headers={"X-Key": "v"})
        run_one(delivery)
        delivery.close()
        assert receiver.headers[0]["x-key"] == "v"
        assert receiver.resource["service.name"] == "flowspan-runner"
        assert receiver.resource["service.version"]


def test_a_refused_connection_costs_little_time_and_every_span_is_counted(monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.5")
    with otlp_receiver() as receiver:
        gone = receiver.url
    delivery = OtlpDelivery(endpoint=gone, batch_size=2)
    started = time.monotonic()
    run_one(delivery, 5)
    assert delivery.close() == (0, 5)
    assert time.monotonic() - started < 4
    assert delivery.reason


def test_a_backend_that_never_answers_does_not_hang_the_end():
    with otlp_receiver() as receiver:
        receiver.hold.clear()
        delivery = OtlpDelivery(endpoint=receiver.url, delay=0)
        run_one(delivery)
        assert receiver.arrived.wait(10)
        started = time.monotonic()
        assert delivery.close(0.05) == (0, 1)
        assert time.monotonic() - started < 1
        assert "did not answer within 0.05 s" in delivery.reason


def test_a_status_that_is_not_retried_is_a_failure_with_its_reason():
    with otlp_receiver([400]) as receiver:
        delivery = OtlpDelivery(endpoint=receiver.url)
        run_one(delivery)
        assert delivery.close() == (0, 1)
        assert "400" in delivery.reason


def test_masked_values_are_what_is_sent():
    with otlp_receiver() as receiver:
        delivery = OtlpDelivery(endpoint=receiver.url)
        made = Recorder("r", listeners=[delivery])
        made.masker.add("hunter22")
        made.end(made.open("x", attributes={"a": "hunter22"}))
        delivery.close()
        assert attributes(receiver.spans[0].attributes)["a"] == "[masked]"


# --- the queue


def test_spans_go_out_in_batches_in_the_order_they_were_sealed():
    backend = Backend()
    delivery = deliver_to(backend, batch_size=2, delay=60)
    run_one(delivery, 5)
    assert delivery.close() == (5, 0)
    assert [name for batch in backend.batches for name in batch] == [f"span-{number}" for number in range(5)]
    assert max(map(len, backend.batches)) == 2


def test_a_single_span_does_not_wait_for_ever_for_company():
    backend = Backend()
    delivery = deliver_to(backend, delay=0)
    run_one(delivery)
    assert backend.reached.wait(10)
    assert delivery.close() == (1, 0)


def test_a_full_queue_never_blocks_and_loses_no_count():
    backend = Backend()
    backend.go.clear()
    delivery = deliver_to(backend, batch_size=1, queue_size=3)
    run_one(delivery)
    assert backend.reached.wait(10)
    run_one(delivery, 5)
    assert delivery.failed == 2
    assert "queue is full" in delivery.reason
    backend.go.set()
    assert delivery.close() == (4, 2)


def test_a_failed_batch_does_not_stop_the_next_one():
    backend = Backend(SpanExportResult.FAILURE, ValueError("odd"))
    delivery = deliver_to(backend, batch_size=1)
    run_one(delivery, 3)
    assert backend.third.wait(10)
    assert delivery.close() == (1, 2)
    assert delivery.reason == "ValueError: odd"


def test_after_a_failure_at_the_end_the_rest_is_given_up_at_once():
    backend = Backend(SpanExportResult.FAILURE)
    backend.go.clear()
    delivery = deliver_to(backend, batch_size=1)
    run_one(delivery, 4)
    assert backend.reached.wait(10)
    closing = threading.Thread(target=delivery.close, args=(10,))
    closing.start()
    with delivery._changed:
        delivery._changed.wait_for(lambda: delivery._closing, 10)
    backend.go.set()
    closing.join(10)
    assert (delivery.delivered, delivery.failed) == (0, 4)
    assert delivery.reason == "the backend refused the spans"


def test_an_answer_after_the_end_changes_no_count():
    backend = Backend()
    backend.go.clear()
    delivery = deliver_to(backend, batch_size=1)
    run_one(delivery, 2)
    assert backend.reached.wait(10)
    assert delivery.close(0.01) == (0, 2)
    backend.go.set()
    delivery._thread.join(10)
    assert (delivery.delivered, delivery.failed) == (0, 2)


def test_an_exporter_that_cannot_be_made_counts_everything_as_failed():
    def broken():
        raise RuntimeError("no certificate")

    delivery = OtlpDelivery(exporter=broken)
    run_one(delivery)
    assert delivery.close() == (0, 1)
    assert delivery.reason == "RuntimeError: no certificate"
    run_one(delivery)
    assert delivery.close() == (0, 2)


def test_an_exporter_that_fails_while_closing_after_the_end_changes_no_count():
    class Odd(Backend):
        def shutdown(self):
            raise RuntimeError("late")

    backend = Odd()
    backend.go.clear()
    delivery = deliver_to(backend)
    run_one(delivery)
    delivery.close(0)
    backend.go.set()
    delivery._thread.join(10)
    assert (delivery.delivered, delivery.failed) == (0, 1)


def test_closing_without_a_span_starts_no_thread():
    delivery = OtlpDelivery()
    assert delivery.close() == (0, 0)
    assert delivery._thread is None


def test_the_exporters_words_stay_off_a_console_without_logging(capfd):
    delivery = deliver_to(Backend(SpanExportResult.FAILURE))
    logging.getLogger("opentelemetry.exporter.test").debug("not kept")
    run_one(delivery)
    delivery.close()
    assert capfd.readouterr().err == ""


def test_the_sdk_is_imported_by_the_thread_only():
    code = (
        "import sys; from runner.runtime.otlp import OtlpDelivery; OtlpDelivery();"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


# --- switches


@pytest.mark.parametrize(
    ("environ", "parent_sampled", "expected"),
    [
        ({}, None, True),
        ({}, False, True),
        ({"OTEL_SDK_DISABLED": "True"}, None, False),
        ({"OTEL_SDK_DISABLED": "no"}, None, True),
        ({"OTEL_TRACES_SAMPLER": "always_off"}, True, False),
        ({"OTEL_TRACES_SAMPLER": "always_on"}, False, True),
        ({"OTEL_TRACES_SAMPLER": "parentbased_always_on"}, False, False),
        ({"OTEL_TRACES_SAMPLER": "parentbased_always_on"}, None, True),
        ({"OTEL_TRACES_SAMPLER": "parentbased_always_off"}, True, True),
        ({"OTEL_TRACES_SAMPLER": "parentbased_always_off"}, None, False),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.5"}, None, True),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.25"}, None, False),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "x"}, None, True),
        ({"OTEL_TRACES_SAMPLER": "unheard_of"}, None, True),
    ],
)
def test_the_standard_switches_decide_about_delivery_only(environ, parent_sampled, expected):
    assert wanted(environ, (9 << 64) + 2**63 - 1, parent_sampled=parent_sampled) is expected


def test_no_switch_touches_the_record(monkeypatch):
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    made = Recorder("r")
    made.end(made.open("x"))
    assert len(list(made.spans())) == 1


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "http/protobuf"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "grpc"),
        (
            {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"},
            "http/protobuf",
        ),
    ],
)
def test_the_protocol_comes_from_the_environment(environ, expected):
    assert protocol(environ) == expected


def test_an_unknown_protocol_is_named_before_anything_runs(monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "carrier-pigeon")
    with pytest.raises(SurroundingsError, match="'carrier-pigeon'; use one of http/protobuf, grpc"):
        OtlpDelivery()


def test_grpc_is_spoken_when_it_is_asked_for(monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    made = otlp._exporter("grpc", "http://127.0.0.1:1", None)
    try:
        assert type(made).__module__.startswith("opentelemetry.exporter.otlp.proto.grpc")
    finally:
        made.shutdown()


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("http://h:4318", "http://h:4318/v1/traces"),
        ("http://h:4318/", "http://h:4318/v1/traces"),
        ("http://h/otlp", "http://h/otlp/v1/traces"),
        ("http://h/otlp/v1/traces", "http://h/otlp/v1/traces"),
    ],
)
def test_a_base_url_gets_the_path_for_traces(endpoint, url):
    assert traces_url(endpoint) == url


# --- values


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("\ud83d", "?"),
        (2**63, str(2**63)),
        (2**63 - 1, 2**63 - 1),
        (math.inf, math.inf),
        ([], "[]"),
        (["a", 1], '["a",1]'),
        ({"a": "\ud83d"}, '{"a":"?"}'),
        (("a", "\ud83d"), ["a", "?"]),
        (b"\x00", "AA=="),
    ],
)
def test_values_are_narrowed_to_what_otlp_takes(value, shown):
    assert otlp_attributes({"x": value}) == {"x": shown}


def test_a_span_with_odd_text_does_not_fail_its_batch():
    with otlp_receiver() as receiver:
        delivery = OtlpDelivery(endpoint=receiver.url)
        made = Recorder("r", listeners=[delivery])
        record = made.open("\ud83d", attributes={"\ud83d": "\ud83d", names.TASK_ID: "é"})
        made.event(record, "\ud83d")
        made.end(record, "error", "\ud83d")
        assert delivery.close() == (1, 0)
        assert receiver.spans[0].name == "?"
