"""OTLP receivers on loopback, for tests: HTTP with protobuf or JSON, and gRPC; gzipped or not, with TLS or not.

What arrives is decoded by OpenTelemetry's own messages and kept, whatever it came as.
"""

from __future__ import annotations

import base64
import gzip
import json
import ssl
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

IDS = {"traceId", "spanId", "parentSpanId"}


@dataclass(frozen=True)
class Say:
    """An answer; of gRPC `status` is the number of a code and `body` its details."""

    status: int = 200
    body: bytes = b""
    kind: str = "application/x-protobuf"
    headers: dict[str, str] = field(default_factory=dict)


class Receiver:
    """What arrived. `answers` are given in turn, then 200; while `hold` is cleared nothing is answered."""

    def __init__(self, answers: Sequence[int | Say] = ()) -> None:
        self.answers = [Say(one) if isinstance(one, int) else one for one in answers]
        self.hold = threading.Event()
        self.hold.set()
        self.arrived = threading.Event()
        self.lock = threading.Condition()
        self.requests: list[Any] = []
        self.metrics: list[Any] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.url = ""

    @property
    def spans(self) -> list[Any]:
        """Every span of every request that was answered with 200, as protobuf messages."""
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    @property
    def resource(self) -> dict[str, Any]:
        """The attributes of the first resource that arrived."""
        return attributes(self.requests[0].resource_spans[0].resource.attributes)

    def wait_for(self, spans: int = 0, metrics: int = 0) -> None:
        """Wait until as much has arrived."""
        with self.lock:
            enough = self.lock.wait_for(
                lambda: len(self.spans) >= spans and len(self.metrics) >= metrics, timeout=30
            )
        assert enough, f"{len(self.spans)} spans and {len(self.metrics)} requests with metrics have arrived"

    def take(self, path: str, headers: dict[str, str], request: Any) -> Say:
        """Keep one request and return the answer to give."""
        with self.lock:
            answer = self.answers.pop(0) if self.answers else Say()
            self.paths.append(path)
            self.headers.append(headers)
            if answer.status in (0, 200):
                (self.metrics if "metrics" in path.lower() else self.requests).append(request)
            self.lock.notify_all()
        self.arrived.set()
        self.hold.wait(10)
        return answer


def decode(path: str, headers: dict[str, str], body: bytes) -> Any:
    """Return the message in the body of a request."""
    if headers.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
    kind = ExportMetricsServiceRequest if path.endswith("/metrics") else ExportTraceServiceRequest
    if headers["content-type"] == "application/json":
        return json_format.ParseDict(_with_base64_ids(json.loads(body)), kind())
    return kind.FromString(body)


def _with_base64_ids(value: Any) -> Any:
    """Turn the hexadecimal ids of OTLP into what protobuf's own JSON has for bytes."""
    if isinstance(value, list):
        return [_with_base64_ids(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: base64.b64encode(bytes.fromhex(item)).decode() if key in IDS else _with_base64_ids(item)
        for key, item in value.items()
    }


def attributes(pairs: Any) -> dict[str, Any]:
    """Return protobuf key-values as a dict; lists stay lists."""
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return attributes(value.kvlist_value.values)
    return getattr(value, kind) if kind else None


@contextmanager
def otlp_receiver(answers: Sequence[int | Say] = (), tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """Serve a `Receiver` over HTTP on a free port; its `url` is the base url."""
    receiver = Receiver(answers)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {key.lower(): value for key, value in self.headers.items()}
            answer = receiver.take(self.path, headers, decode(self.path, headers, body))
            content = answer.body or ExportTraceServiceResponse().SerializeToString()
            self.send_response(answer.status)
            self.send_header("content-type", answer.kind)
            self.send_header("content-length", str(len(content)))
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # clients that do not trust it, or go away
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    receiver.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"
    try:
        yield receiver
    finally:
        receiver.hold.set()
        server.shutdown()
        server.server_close()


@contextmanager
def grpc_receiver(
    answers: Sequence[int | Say] = (), *, certificate: tuple[bytes, bytes] | None = None, options: Any = ()
) -> Iterator[Receiver]:
    """Serve a `Receiver` over gRPC; `certificate` is a key and a chain, `options` are the server's own."""
    import grpc
    from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as metrics
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as traces

    receiver = Receiver(answers)
    codes = {code.value[0]: code for code in grpc.StatusCode}

    def export(request: Any, context: Any) -> Any:
        path = type(request).__name__
        answer = receiver.take(path, dict(context.invocation_metadata()), request)
        if answer.status not in (0, 200):
            context.set_trailing_metadata(tuple(answer.headers.items()))
            context.abort(codes[answer.status], answer.body.decode())
        return ExportTraceServiceResponse.FromString(answer.body)

    class Service(traces.TraceServiceServicer, metrics.MetricsServiceServicer):
        Export = staticmethod(export)

    server = grpc.server(ThreadPoolExecutor(4), options=options)
    traces.add_TraceServiceServicer_to_server(Service(), server)
    metrics.add_MetricsServiceServicer_to_server(Service(), server)
    if certificate is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([certificate]))
    server.start()
    receiver.url = f"{'https' if certificate else 'http'}://127.0.0.1:{port}"
    try:
        yield receiver
    finally:
        receiver.hold.set()
        server.stop(None).wait(10)
