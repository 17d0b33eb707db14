import json
import logging
import subprocess
import sys
import threading
import time

import pytest

from runner.core.trace_document import read_traces
from runner.errors import SurroundingsError
from runner.runtime.exporters import Answer
from runner.runtime.otlp import OtlpDelivery
from runner.runtime.tracing import Recorder
from tests.otlp_receiver import attributes, grpc_receiver, otlp_receiver

GONE = Answer("gone", again=True)
BUSY = Answer("busy", again=True, reached=True)
REFUSED = Answer("refused")


def run_one(delivery, count=1, **options):
    made = Recorder("run-7", listeners=[delivery], **options)
    for number in range(count):
        made.end(made.open(f"span-{number}"))
    return made


class Backend:
    """A sender whose answers are given, and which can be made to wait; `reached` counts what it was sent."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.batches = []
        self.go = threading.Event()
        self.go.set()
        self.sent = threading.Semaphore(0)
        self.closed = False

    def send(self, records):
        self.sent.release()
        self.go.wait(10)
        self.batches.append([record.name for record in records])
        answer = self.answers.pop(0) if self.answers else Answer()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self):
        self.closed = True

    def wait(self, times=1):
        for _ in range(times):
            assert self.sent.acquire(timeout=10)


def deliver_to(backend, **options):
    return OtlpDelivery(sender=lambda: backend, **options)


def kept(path):
    """Return the names in a spool file, in the order of its lines."""
    return [
        span["name"]
        for line in path.read_text().splitlines()
        for span in json.loads(line)["resourceSpans"][0]["scopeSpans"][0]["spans"]
    ]


# --- over the wire


@pytest.mark.parametrize("protocol", ["http/protobuf", "http/json"])
def test_spans_arrive_over_http(protocol, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
    with otlp_receiver() as receiver:
        delivery = OtlpDelivery(endpoint=receiver.url)
        run_one(delivery, 3)
        assert delivery.close() == (3, 0)
        assert [span.name for span in receiver.spans] == ["span-0", "span-1", "span-2"]
        assert receiver.paths == ["/v1/traces"]


def test_spans_arrive_over_grpc(monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with grpc_receiver() as receiver:
        delivery = OtlpDelivery(endpoint=receiver.url)
        run_one(delivery, 3)
        assert delivery.close() == (3, 0)
        assert len(receiver.spans) == 3


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
    assert backend.closed


def test_a_single_span_does_not_wait_for_ever_for_company():
    backend = Backend()
    delivery = deliver_to(backend, delay=0)
    run_one(delivery)
    backend.wait()
    assert delivery.close() == (1, 0)


def test_a_full_queue_gives_its_oldest_spans_to_the_spool_and_waits_for_nobody(tmp_path):
    backend = Backend()
    backend.go.clear()
    delivery = deliver_to(backend, batch_size=1, queue_size=3, spool=tmp_path / "x.jsonl")
    made = run_one(delivery)
    backend.wait()
    for name in "abcde":
        made.end(made.open(name))
    assert (delivery.failed, delivery.kept) == (2, 2)
    assert kept(delivery.spool) == ["a", "b"]
    assert "queue is full" in delivery.reason
    backend.go.set()
    assert delivery.close() == (4, 2)


def test_a_batch_that_is_refused_for_good_does_not_stop_the_next_one(tmp_path):
    backend = Backend(REFUSED, ValueError("odd"))
    delivery = deliver_to(backend, batch_size=1, delay=0, spool=tmp_path / "x.jsonl")
    run_one(delivery, 3)
    assert delivery.close() == (1, 2)
    assert delivery.reason.startswith("the exporter failed with ValueError; are the OTEL_EXPORTER_OTLP_*")
    assert kept(delivery.spool) == ["span-0", "span-1"]


def test_a_batch_that_is_too_large_is_sent_in_parts(tmp_path):
    large = Answer("larger than allowed", too_large=True)
    backend = Backend(large, large, Answer(), large, Answer())
    delivery = deliver_to(backend, batch_size=4, delay=60, spool=tmp_path / "x.jsonl")
    run_one(delivery, 4)
    assert delivery.close() == (3, 1)
    assert [len(batch) for batch in backend.batches] == [4, 2, 1, 1, 2]
    assert kept(delivery.spool) == ["span-1"]


@pytest.mark.parametrize(("rejected", "counts"), [(1, (3, 1)), (99, (0, 4))])
def test_of_a_batch_that_is_taken_in_part_the_rejected_spans_are_counted_and_all_are_kept(
    tmp_path, rejected, counts
):
    backend = Backend(Answer("some are too old", reached=True, rejected=rejected))
    delivery = deliver_to(backend, batch_size=4, delay=60, spool=tmp_path / "x.jsonl")
    run_one(delivery, 4)
    assert delivery.close() == counts
    assert delivery.kept == delivery.failed
    assert kept(delivery.spool) == [f"span-{number}" for number in range(4)]


# --- a backend that is away


def test_a_backend_that_comes_back_during_the_run_gets_everything(monkeypatch):
    monkeypatch.setattr("runner.runtime.exporters.LONGEST_PAUSE", 0.01)
    monkeypatch.setattr("runner.runtime.exporters.FIRST_PAUSE", 0.01)
    backend = Backend(GONE, Answer("later", again=True, after=0.01), GONE)
    delivery = deliver_to(backend, delay=0)
    run_one(delivery)
    backend.wait(4)
    assert delivery.close() == (1, 0)


def test_a_backend_that_is_busy_is_asked_again_while_there_is_time():
    backend = Backend(Answer("busy", again=True, reached=True, after=0.01), BUSY)
    delivery = deliver_to(backend, delay=60)
    run_one(delivery)
    assert delivery.close(10) == (1, 0)
    assert len(backend.batches) == 3


@pytest.mark.parametrize(
    "answer", [GONE, REFUSED, Answer("later", again=True, reached=True, after=60), ValueError("odd")]
)
def test_at_the_end_nothing_is_waited_for_that_cannot_come(answer, tmp_path):
    backend = Backend(answer)
    delivery = deliver_to(backend, delay=60, spool=tmp_path / "x.jsonl")
    run_one(delivery)
    started = time.monotonic()
    assert delivery.close(20) == (0, 1)
    assert time.monotonic() - started < 10
    assert kept(delivery.spool) == ["span-0"]


def test_after_a_lost_connection_at_the_end_the_rest_is_kept_at_once(tmp_path):
    backend = Backend(GONE)
    backend.go.clear()
    delivery = deliver_to(backend, batch_size=1, spool=tmp_path / "x.jsonl")
    run_one(delivery, 4)
    backend.wait()
    closing = threading.Thread(target=delivery.close, args=(10,))
    closing.start()
    with delivery._changed:
        delivery._changed.wait_for(lambda: delivery._closing, 10)
    backend.go.set()
    closing.join(10)
    assert (delivery.delivered, delivery.failed, delivery.kept) == (0, 4, 4)
    assert len(backend.batches) == 1
    assert delivery.reason == "gone"
    assert kept(delivery.spool) == [f"span-{number}" for number in range(4)]


@pytest.mark.parametrize(("answer", "delivered"), [(GONE, 1), (Answer("later", again=True, after=60), 0)])
def test_the_end_wakes_a_pause_for_one_more_attempt_unless_the_backend_has_said_when(
    answer, delivered, monkeypatch
):
    monkeypatch.setattr("runner.runtime.exporters.FIRST_PAUSE", 60)
    backend = Backend(answer)
    delivery = deliver_to(backend, delay=0)
    run_one(delivery)
    backend.wait()
    assert delivery.close(10) == (delivered, 1 - delivered)


def test_a_backend_that_never_answers_does_not_hang_the_end(tmp_path):
    with otlp_receiver() as receiver:
        receiver.hold.clear()
        delivery = OtlpDelivery(endpoint=receiver.url, delay=0, spool=tmp_path / "x.jsonl")
        made = run_one(delivery)
        assert receiver.arrived.wait(10)
        made.end(made.open("later"))
        started = time.monotonic()
        assert delivery.close(0.05) == (0, 2)
        assert time.monotonic() - started < 2
        assert delivery.reason == "no answer came within 0.05 s"
        assert kept(delivery.spool) == ["span-0", "later"]


def test_an_answer_after_the_end_changes_no_count():
    backend = Backend()
    backend.go.clear()
    delivery = deliver_to(backend, batch_size=1)
    run_one(delivery, 2)
    backend.wait()
    assert delivery.close(0.01) == (0, 2)
    backend.go.set()
    delivery._thread.join(10)
    assert (delivery.delivered, delivery.failed) == (0, 2)


def test_the_end_may_come_while_a_busy_backend_is_waited_for():
    backend = Backend(*[Answer("busy", again=True, reached=True, after=0.2)] * 100)
    delivery = deliver_to(backend, delay=60)
    run_one(delivery)
    assert delivery.close(0.3) == (0, 1)
    delivery._thread.join(10)
    assert not delivery._thread.is_alive()


# --- set-up that fails


def test_an_exporter_that_cannot_be_made_leaves_everything_in_the_spool(tmp_path):
    def broken():
        raise RuntimeError("no certificate")

    delivery = OtlpDelivery(sender=broken, spool=tmp_path / "x.jsonl")
    run_one(delivery)
    assert delivery.close() == (0, 1)
    assert delivery.reason.startswith("the exporter failed with RuntimeError; ")
    run_one(delivery)
    assert delivery.close() == (0, 2)
    assert kept(delivery.spool) == ["span-0", "span-0"]


def test_an_exporter_that_fails_while_closing_after_the_end_changes_no_count():
    class Odd(Backend):
        def close(self):
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


def test_settings_that_make_no_sense_are_told_before_anything_runs(monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "carrier-pigeon")
    with pytest.raises(
        SurroundingsError, match="'carrier-pigeon'; use one of http/protobuf, http/json, grpc"
    ):
        OtlpDelivery()


def test_the_sdk_is_imported_by_the_thread_only():
    code = (
        "import sys; from runner.runtime.otlp import OtlpDelivery; OtlpDelivery();"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


# --- beside the host application


def test_the_exporters_words_stay_off_a_console_without_logging(closed_port, capfd):
    delivery = OtlpDelivery(endpoint=f"http://127.0.0.1:{closed_port}")
    run_one(delivery)
    assert delivery.close() == (0, 1)
    assert capfd.readouterr().err == ""
    assert logging.getLogger("opentelemetry").handlers


def test_no_instrumentation_of_the_host_sees_the_delivery():
    from opentelemetry import context

    seen = []

    class Looking(Backend):
        def send(self, records):
            seen.append(context.get_value(context._SUPPRESS_INSTRUMENTATION_KEY))
            return super().send(records)

    delivery = deliver_to(Looking())
    run_one(delivery)
    delivery.close()
    assert seen == [True]
    assert context.get_value(context._SUPPRESS_INSTRUMENTATION_KEY) is None


def test_a_resource_of_the_environment_is_kept_in_the_spool_too(tmp_path, monkeypatch):
    monkeypatch.setenv("OTEL_SERVICE_NAME", "checkout")
    delivery = deliver_to(Backend(REFUSED), spool=tmp_path / "x.jsonl")
    run_one(delivery)
    delivery.close()
    (trace,) = read_traces(delivery.spool.read_bytes(), "x.jsonl")
    assert trace.records[0].origin.resource["service.name"] == "checkout"


def test_what_cannot_be_kept_is_counted_and_told(tmp_path):
    (tmp_path / "file").touch()
    delivery = deliver_to(Backend(REFUSED), spool=tmp_path / "file/x.jsonl")
    run_one(delivery)
    assert delivery.close() == (0, 1)
    assert delivery.kept == 0
    assert "is no folder" in delivery.trouble
