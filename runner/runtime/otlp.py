"""Sending ended spans to an OpenTelemetry backend, beside the record and never in its way.

`OtlpDelivery` is a `Listener` with a bounded queue and a daemon thread. The thread imports the SDK,
turns records into the SDK's spans and hands them to its OTLP exporter, whose own settings
(``OTEL_EXPORTER_OTLP_*``: endpoint, headers, compression, certificates, timeout) all apply. Every
span that was accepted is counted as delivered or failed in the end. The SDK's own batch processor
is not used: it drops spans without a count, and its flush reports success when nothing arrived.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from runner.core import names
from runner.core.commands import Json
from runner.core.trace import SpanRecord, coerce, parse_traceparent
from runner.errors import SurroundingsError
from runner.runtime.tracing import Listener
from runner.version import __version__

if TYPE_CHECKING:  # the SDK takes a tenth of a second to import; only the thread pays for it
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import SpanContext

SERVICE: Final = "flowspan-runner"
QUEUE_SIZE: Final = 8192
BATCH_SIZE: Final = 512
DELAY: Final = 1.0  # seconds that a span waits for company
TIMEOUT: Final = 3.0  # seconds for one batch and for closing
_PROTOCOLS: Final = ("http/protobuf", "grpc")
_TRACES_PATH: Final = "/v1/traces"
_INT64: Final = range(-(2**63), 2**63)

Convert = Callable[[SpanRecord], "ReadableSpan"]


def wanted(environ: Mapping[str, str], trace_id: int, *, parent_sampled: bool | None = None) -> bool:
    """Return whether the standard switches let this trace go to a backend.

    ``OTEL_SDK_DISABLED`` and ``OTEL_TRACES_SAMPLER`` are honoured (specification, SDK environment
    variables), except that a trace is sent when no sampler is named: asking for delivery is enough.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    sampler = environ.get("OTEL_TRACES_SAMPLER", "").strip().lower()
    if sampler.startswith("parentbased_") and parent_sampled is not None:
        return parent_sampled
    match sampler.removeprefix("parentbased_"):
        case "always_off":
            return False
        case "traceidratio":
            return trace_id % 2**64 < _ratio(environ.get("OTEL_TRACES_SAMPLER_ARG", "")) * 2**64
        case _:
            return True


def _ratio(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 1.0


def protocol(environ: Mapping[str, str]) -> str:
    """Return the OTLP protocol that the environment asks for; raises SurroundingsError for an unknown one."""
    general = environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    chosen = environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or general or _PROTOCOLS[0]
    if chosen not in _PROTOCOLS:
        raise SurroundingsError(f"no OTLP protocol {chosen!r}; use one of {', '.join(_PROTOCOLS)}")
    return chosen


def traces_url(endpoint: str) -> str:
    """Return where to post spans: a base url gets ``/v1/traces`` appended, a full one stays as it is."""
    if urlsplit(endpoint).path.endswith(_TRACES_PATH):
        return endpoint
    return endpoint.rstrip("/") + _TRACES_PATH


class OtlpDelivery(Listener):
    """Delivers sealed spans; one may serve many runs.

    `endpoint` wins over the environment. `exporter` makes the SDK exporter to use instead of the
    OTLP one. Raises SurroundingsError when the environment names an unknown protocol.
    """

    def __init__(
        self,
        *,
        endpoint: str | None = None,
        headers: Mapping[str, str] | None = None,
        exporter: Callable[[], SpanExporter] | None = None,
        queue_size: int = QUEUE_SIZE,
        batch_size: int = BATCH_SIZE,
        delay: float = DELAY,
    ) -> None:
        chosen = protocol(os.environ)
        self._make_exporter = exporter or (lambda: _exporter(chosen, endpoint, headers))
        self._queue: deque[SpanRecord] = deque()
        self._queue_size = queue_size
        self._batch_size = batch_size
        self._delay = delay
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._in_flight = 0
        self._closing = False
        self._closed = False
        self._log = _LastError()
        self.delivered = 0
        self.failed = 0
        self.reason = ""  # why the last batch failed

    def sealed(self, record: SpanRecord) -> None:
        """Queue the span, or count it as failed when the queue is full; never waits."""
        with self._changed:
            if self._closing or len(self._queue) >= self._queue_size:
                self.failed += 1
                self.reason = self.reason or "the backend does not keep up; the queue is full"
                return
            self._queue.append(record)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="otlp-delivery", daemon=True)
                self._thread.start()
            if len(self._queue) in (1, self._batch_size):
                self._changed.notify()

    def close(self, timeout: float = TIMEOUT) -> tuple[int, int]:
        """Send what is queued, wait at most `timeout` seconds, return how many were delivered and failed."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(timeout)
        with self._changed:
            if self._queue or self._in_flight:
                self.reason = self.reason or f"the backend did not answer within {timeout:g} s"
            self._closed = True
            self.failed += len(self._queue) + self._in_flight
            self._queue.clear()
            self._in_flight = 0
            return self.delivered, self.failed

    # --- the thread

    def _work(self) -> None:
        logger = logging.getLogger("opentelemetry.exporter")
        logger.addHandler(self._log)
        try:
            exporter = self._make_exporter()
            convert = converter()
            while batch := self._next_batch():
                self._account(delivered=self._export(exporter, batch, convert))
            exporter.shutdown()
        except Exception as error:  # noqa: BLE001 - whatever the exporter's set-up raises becomes the reason
            self._give_up(f"{type(error).__name__}: {error}")
        finally:
            logger.removeHandler(self._log)

    def _next_batch(self) -> list[SpanRecord]:
        """Wait for a full batch, for `delay` after the first span, or for the end; empty at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closing)
            self._changed.wait_for(lambda: len(self._queue) >= self._batch_size or self._closing, self._delay)
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), self._batch_size))]
            self._in_flight = len(batch)
            return batch

    def _export(self, exporter: SpanExporter, batch: list[SpanRecord], convert: Convert) -> bool:
        from opentelemetry.sdk.trace.export import SpanExportResult

        self._log.text = ""
        try:
            return exporter.export([convert(record) for record in batch]) is SpanExportResult.SUCCESS
        except Exception as error:  # noqa: BLE001 - one bad batch must not stop the ones after it
            self._log.text = f"{type(error).__name__}: {error}"
            return False

    def _account(self, *, delivered: bool) -> None:
        with self._changed:
            if self._closed:
                return
            count, self._in_flight = self._in_flight, 0
            if delivered:
                self.delivered += count
                return
            self.failed += count
            self.reason = self._log.text or "the backend refused the spans"
            if self._closing:  # whoever closes waits; the rest would fare no better
                self.failed += len(self._queue)
                self._queue.clear()

    def _give_up(self, reason: str) -> None:
        with self._changed:
            self.reason = reason
            self._closing = True
            if not self._closed:
                self.failed += len(self._queue) + self._in_flight
                self._queue.clear()
                self._in_flight = 0


class _LastError(logging.Handler):
    """Keeps the exporter's last word; also keeps it off stderr when the application has no logging set up."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text = record.getMessage()


def _exporter(chosen: str, endpoint: str | None, headers: Mapping[str, str] | None) -> SpanExporter:
    """Make the SDK's exporter; its own default of 10 s per batch is too long for a command line."""
    named = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT") or os.environ.get(
        "OTEL_EXPORTER_OTLP_TIMEOUT"
    )
    timeout = None if named else TIMEOUT
    given = dict(headers) if headers else None
    if chosen == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter

        return GrpcExporter(endpoint=endpoint, headers=given, timeout=timeout)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    url = None if endpoint is None else traces_url(endpoint)
    return OTLPSpanExporter(endpoint=url, headers=given, timeout=timeout)


def resource() -> Resource:
    """Return our service name and version, with OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES on top."""
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource

    ours: dict[str, str] = {names.SERVICE_NAME: SERVICE, names.SERVICE_VERSION: __version__}
    return Resource(ours).merge(OTELResourceDetector().detect())


def converter() -> Convert:
    """Return a function that turns an ended record into the SDK's span; imports the SDK."""
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import Link, SpanKind
    from opentelemetry.trace.status import Status, StatusCode

    shared = resource()
    scope = InstrumentationScope("runner", str(shared.attributes.get(names.SERVICE_VERSION) or ""))

    def convert(record: SpanRecord) -> ReadableSpan:
        return ReadableSpan(
            _text(record.name),
            _context(record.trace_id, record.span_id, record.flags, tracestate=record.tracestate),
            _parent(record),
            shared,
            otlp_attributes(record.attributes),
            [Event(_text(name), otlp_attributes(values), at) for name, at, values in record.events],
            [
                Link(
                    _context(link.trace_id, link.span_id, link.flags, remote=True),
                    otlp_attributes(link.attributes),
                )
                for link in record.links
            ],
            SpanKind[record.kind.upper()],
            status=Status(StatusCode[record.status.upper()], _text(record.description) or None),
            start_time=record.start,
            end_time=record.end,
            instrumentation_scope=scope,
        )

    return convert


def _context(
    trace_id: int, span_id: int, flags: int, *, remote: bool = False, tracestate: str = ""
) -> SpanContext:
    from opentelemetry.trace import SpanContext, TraceFlags, TraceState

    state = TraceState.from_header([tracestate]) if tracestate else None
    return SpanContext(trace_id, span_id, is_remote=remote, trace_flags=TraceFlags(flags), trace_state=state)


def _parent(record: SpanRecord) -> SpanContext | None:
    """Return the parent; that of a flow span is the remote one, which IntegrationFlow has no place for."""
    if record.parent_id is not None:
        return _context(record.trace_id, record.parent_id, record.flags)
    remote = parse_traceparent(record.attributes.get(names.REMOTE_PARENT))
    return None if remote is None else _context(remote.trace_id, remote.span_id, remote.flags, remote=True)


def otlp_attributes(attributes: Mapping[str, Json]) -> dict[str, Json]:
    """Return attributes as OTLP takes them: scalars and lists of texts stay, the rest is narrowed."""
    shown = {_text(key): _otlp_value(value) for key, value in attributes.items()}
    return {key: value for key, value in shown.items() if value is not None}


def _otlp_value(value: Json) -> Json:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if value in _INT64 else coerce(value)
    if isinstance(value, list | tuple) and value and all(isinstance(item, str) for item in value):
        return [_otlp_value(item) for item in value]
    narrowed = coerce(value)
    return None if narrowed is None else _otlp_value(narrowed)


def _text(value: str) -> str:
    """Return the text without halves of surrogate pairs: one of them would fail the whole batch."""
    return value.encode("utf-8", "replace").decode("utf-8")
