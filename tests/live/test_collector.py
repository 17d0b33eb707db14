"""Our exporters, a collector that somebody else wrote, and our own receiver behind it."""

import json
import socket
import subprocess
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from runner.core.otlp_json import RESOURCE, to_otlp
from runner.core.trace import Link
from runner.core.trace_document import read_traces
from runner.runtime.otlp import OtlpDelivery
from runner.runtime.tracing import Recorder
from tests.command import environment, flow_file, get, here
from tests.otlp_receiver import attributes, otlp_receiver
from tests.servers import ApiServer, Reply

rotel = pytest.importorskip("rotel", reason="rotel is not installed; it has wheels for Python 3.11 and 3.12")

AGENT = Path(rotel.__file__).with_name("rotel-agent")
PROTOCOLS = ["http/protobuf", "http/json", "grpc"]
REMOTE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

pytestmark = [pytest.mark.live, pytest.mark.timeout(120)]


def free_ports(count):
    """Return ports that nobody listens on; they are held together, so that no two are the same."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Collector:
    """Where rotel listens, by protocol."""

    def __init__(self):
        grpc, http = free_ports(2)
        self.places = {"grpc": f"127.0.0.1:{grpc}", "http": f"127.0.0.1:{http}"}

    def url(self, protocol):
        return f"http://{self.places[protocol.partition('/')[0]]}"

    @contextmanager
    def running(self, receiver):
        """Run it until the end of the block; what it takes it hands on to the receiver, gzipped."""
        command = [
            AGENT, "start", "--otlp-grpc-endpoint", self.places["grpc"], "--otlp-http-endpoint", self.places["http"],
            "--exporter", "otlp", "--otlp-exporter-endpoint", receiver.url, "--otlp-exporter-protocol", "http",
            "--batch-timeout", "50ms",
        ]  # fmt: skip
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment()
        )
        try:
            for place in self.places.values():
                wait_until_it_listens(place, process)
            yield self
        finally:
            process.terminate()
            told, _ = process.communicate(timeout=20)
        assert process.returncode == 0, told


def wait_until_it_listens(place, process):
    host, _, port = place.partition(":")
    for _ in range(1000):
        assert process.poll() is None, process.communicate()
        with socket.socket() as trial:
            if trial.connect_ex((host, int(port))) == 0:
                return
        time.sleep(0.02)  # a process of its own tells nobody
    pytest.fail(f"rotel does not listen on {place}")


@pytest.fixture(scope="module")
def behind():
    with otlp_receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def collector(behind):
    with Collector().running(behind) as running:
        yield running


@pytest.fixture
def receiver(behind):
    """The receiver behind the collector, emptied."""
    with behind.lock:
        behind.requests.clear()
        behind.metrics.clear()
        behind.headers.clear()
    return behind


@pytest.fixture
def api():
    with ApiServer() as server:
        server.on("/again", Reply(503), Reply(200, {"id": 7}))
        server.on("/no", Reply(404))
        yield server


@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_part_of_a_span_passes_through_the_collector(
    collector, receiver, monkeypatch, protocol, compression
):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", compression)
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    delivery = OtlpDelivery(endpoint=collector.url(protocol))
    made = Recorder("run-7", listeners=[delivery], parent=REMOTE, tracestate="vendor=1")
    root = made.open(
        "flow-x", "consumer", links=[Link(5, 6, {"why": "retry"})], start=1_700_000_000_123_456_789
    )
    step = made.open(
        "POST /x", "client", root, {"n": -(2**40), "f": 0.1, "b": False, "list": ["a", "ü"], "text": "日本"}
    )
    made.event(step, "exception", {"exception.message": "no", "n": 1}, at=step.start + 1)
    made.end(step, "error", "HTTP 503", at=step.start + 3)
    made.end(root, "ok")
    assert delivery.close(20) == (2, 0)
    receiver.wait_for(spans=2)
    spans = {span.name: span for span in receiver.spans}
    above, below = spans["flow-x"], spans["POST /x"]
    assert above.trace_id.hex() == below.trace_id.hex() == REMOTE.split("-")[1]
    assert above.parent_span_id.hex() == REMOTE.split("-")[2]
    assert (above.span_id, below.span_id) == (
        root.span_id.to_bytes(8, "big"),
        step.span_id.to_bytes(8, "big"),
    )
    assert below.parent_span_id == above.span_id
    assert above.trace_state == "vendor=1"
    assert (above.kind, below.kind) == (5, 3)
    assert (above.start_time_unix_nano, above.end_time_unix_nano) == (1_700_000_000_123_456_789, root.end)
    assert (below.start_time_unix_nano, below.end_time_unix_nano) == (step.start, step.start + 3)
    assert (above.status.code, below.status.code, below.status.message) == (1, 2, "HTTP 503")
    assert attributes(below.attributes) == {
        "n": -(2**40), "f": 0.1, "b": False, "list": ["a", "ü"], "text": "日本", "execution.id": made.execution_id,
    }  # fmt: skip
    (event,) = below.events
    assert (event.name, event.time_unix_nano) == ("exception", step.start + 1)
    assert attributes(event.attributes) == {"exception.message": "no", "n": 1}
    (link,) = above.links
    assert (link.trace_id, link.span_id) == ((5).to_bytes(16, "big"), (6).to_bytes(8, "big"))
    assert attributes(link.attributes) == {"why": "retry"}
    assert above.flags & 0x200
    if protocol == "http/json":
        assert above.flags & 0xFF == 1
    assert receiver.resource["service.name"] == "flowspan-runner"
    assert receiver.resource["deployment.environment.name"] == "test"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_run_arrives_as_it_is_in_its_file(collector, receiver, api, tmp_path, protocol):
    flow = flow_file(
        tmp_path,
        get("again", retryCount=1, outputs={"id": "response.body.id"}),
        get("no", onError="continue"),
        get("skipped", condition="{{again.id}} === 8"),
    )
    done = here(
        "run", flow.name, "-e", f"API={api.origin}", "--otlp-endpoint", collector.url(protocol), "-q",
        "--trace-out", "t.json", cwd=tmp_path, OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
    )  # fmt: skip
    assert done.stderr == ""
    (trace,) = read_traces((tmp_path / "t.json").read_bytes(), "t.json")
    assert len(trace.records) == 7
    receiver.wait_for(spans=7)
    arrived = {span.span_id.hex(): span for span in receiver.spans}
    for record in trace.records:
        span = arrived.pop(f"{record.span_id:016x}")
        assert span.name == record.name
        assert span.trace_id.hex() == f"{record.trace_id:032x}"
        assert span.parent_span_id.hex() == ("" if record.parent_id is None else f"{record.parent_id:016x}")
        assert (span.start_time_unix_nano, span.end_time_unix_nano) == (record.start, record.end)
        assert span.status.code == (2 if record.status == "error" else 0)
        assert [event.time_unix_nano for event in span.events] == [at for _, at, _ in record.events]
        shown = attributes(span.attributes)
        in_file = {key: json.loads(value) if isinstance(shown[key], list) else value for key, value in record.attributes.items()}  # fmt: skip
        assert shown == in_file
    assert arrived == {}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_spans_that_were_spooled_while_the_collector_was_away_arrive_with_trace_push(
    behind, receiver, api, tmp_path, protocol
):
    away = Collector()
    flow = flow_file(tmp_path, get("again"))
    env = {"OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
    done = here("run", flow.name, "-e", f"API={api.origin}", "--otlp-endpoint", away.url(protocol), "-q", cwd=tmp_path, **env)  # fmt: skip
    assert "spans were not delivered" in done.stderr
    (spool,) = (tmp_path / ".runner/spool").iterdir()
    sent = json.loads(spool.read_text())["resourceSpans"][0]["scopeSpans"][0]["spans"]
    with away.running(behind):
        done = here("trace", "push", spool, "--otlp-endpoint", away.url(protocol), cwd=tmp_path, **env)
        assert done.returncode == 0, done.stderr
        receiver.wait_for(spans=len(sent))
    assert sorted(span.span_id.hex() for span in receiver.spans) == sorted(span["spanId"] for span in sent)
    assert not spool.exists()


# rotel 0.0.1a15 answers 200 to histograms in OTLP/JSON and drops them: it wants counts to be numbers,
# where the specification has decimal texts. So over JSON our metrics meet only our own receiver.
@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_metrics_pass_through_the_collector(collector, receiver, api, tmp_path, protocol):
    flow = flow_file(tmp_path, get("again"))
    done = here(
        "run", flow.name, "-e", f"API={api.origin}", "-q", cwd=tmp_path,
        OTEL_METRICS_EXPORTER="otlp", OTEL_EXPORTER_OTLP_ENDPOINT=collector.url(protocol), OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
    )  # fmt: skip
    assert "did not arrive" not in done.stderr
    receiver.wait_for(metrics=1)
    metrics = [metric for group in receiver.metrics[0].resource_metrics for scope in group.scope_metrics for metric in scope.metrics]  # fmt: skip
    (requests,) = [metric for metric in metrics if metric.name == "http.client.request.duration"]
    (point,) = requests.histogram.data_points
    assert (point.count, attributes(point.attributes)["error.type"]) == (1, "503")


def test_the_otlp_of_our_own_codec_is_what_the_collector_takes(collector, receiver):
    made = Recorder("run-7")
    values = {"bytes": b"\x00\xff", "map": {"a": {"b": [1, 0.5]}}, "large": 2**63 - 1, "small": -(2**63)}
    root = made.open("flow-x", attributes=values)
    made.end(root)
    request = urllib.request.Request(
        f"{collector.url('http')}/v1/traces",
        json.dumps(to_otlp([root], RESOURCE)).encode(),
        {"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200
    receiver.wait_for(spans=1)
    shown = attributes(receiver.spans[0].attributes)
    assert {key: shown[key] for key in values} == values
