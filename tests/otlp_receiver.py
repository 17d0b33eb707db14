"""A small OTLP/HTTP receiver on loopback, for tests: decodes protobuf, gzipped or not, and keeps the spans."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


class Receiver:
    """What arrived. `statuses` are answered in turn, then 200; while `hold` is cleared nothing is answered."""

    def __init__(self, statuses: Sequence[int] = ()) -> None:
        self.statuses = list(statuses)
        self.hold = threading.Event()
        self.hold.set()
        self.arrived = threading.Event()
        self.lock = threading.Lock()
        self.requests: list[ExportTraceServiceRequest] = []
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
    def resource(self) -> dict[str, str]:
        """The attributes of the first resource that arrived."""
        return attributes(self.requests[0].resource_spans[0].resource.attributes)

    def take(self, path: str, headers: dict[str, str], body: bytes) -> int:
        """Keep one request and return the status to answer with."""
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        with self.lock:
            status = self.statuses.pop(0) if self.statuses else 200
            self.paths.append(path)
            self.headers.append(headers)
            if status == 200:
                self.requests.append(ExportTraceServiceRequest.FromString(body))
        self.arrived.set()
        self.hold.wait(10)
        return status


def attributes(pairs: Any) -> dict[str, Any]:
    """Return protobuf key-values as a dict; lists stay lists."""
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    return getattr(value, kind)


@contextmanager
def otlp_receiver(statuses: Sequence[int] = ()) -> Iterator[Receiver]:
    """Serve a `Receiver` on a free port; its `url` is the base url."""
    receiver = Receiver(statuses)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {key.lower(): value for key, value in self.headers.items()}
            status = receiver.take(self.path, headers, body)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(status)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield receiver
    finally:
        receiver.hold.set()
        server.shutdown()
        server.server_close()
