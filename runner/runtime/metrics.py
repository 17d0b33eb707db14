"""Counting and timing what spans tell of, as OpenTelemetry metrics; only where the environment asks for it.

Every measurement is made from a record that is final and masked, so that durations and
``error.type`` are the same on a span and in a metric. Nothing here touches the global provider.
"""

from __future__ import annotations

import base64
import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from runner.core import names
from runner.core.commands import Json
from runner.core.trace import SpanRecord
from runner.errors import SurroundingsError
from runner.runtime.exporters import Answer, Stub, UntakenError, grpc_options, http_options, session_for
from runner.runtime.otlp import TIMEOUT
from runner.runtime.otlp_settings import Target, target_of
from runner.runtime.sdk_spans import resource_attributes
from runner.runtime.tracing import Listener
from runner.version import __version__

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import MetricExporter

    Exporting = tuple[MetricExporter, Callable[[], Answer]]

# Semantic conventions v1.44, http.client.request.duration: the advised boundaries, seconds.
REQUEST_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
EXECUTION_BUCKETS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600)
_OF_A_REQUEST: Final = (
    names.HTTP_REQUEST_METHOD,
    names.SERVER_ADDRESS,
    names.SERVER_PORT,
    names.HTTP_RESPONSE_STATUS_CODE,
    names.ERROR_TYPE,
    names.URL_SCHEME,
    names.URL_TEMPLATE,
    names.NETWORK_PROTOCOL_VERSION,
)
_OF_A_PART: Final = (
    names.MESSAGING_SYSTEM,
    names.MESSAGING_DESTINATION,
    names.MESSAGING_OPERATION,
    names.ERROR_TYPE,
)
_OF_AN_EXECUTION: Final = (names.TASK_TYPE, names.WORKFLOW_TASK_NAME, names.WORKFLOW_DEFINITION_NAME)


class Metrics(Listener):
    """Measures the spans of runs with the instruments of a provider, that of the application or our own."""

    def __init__(self, provider: MeterProvider) -> None:
        meter = provider.get_meter("runner", __version__)
        self._requests = meter.create_histogram(
            names.METRIC_REQUEST_DURATION, "s", explicit_bucket_boundaries_advisory=REQUEST_BUCKETS
        )
        self._executions = meter.create_histogram(
            names.METRIC_EXECUTION_DURATION, "s", explicit_bucket_boundaries_advisory=EXECUTION_BUCKETS
        )
        self._outcomes = meter.create_counter(names.METRIC_EXECUTION_OUTCOME, "{execution}")
        self._errors = meter.create_counter(names.METRIC_EXECUTION_ERRORS, "{error}")
        self._parts = meter.create_histogram(
            names.METRIC_PROCESS_DURATION, "s", explicit_bucket_boundaries_advisory=EXECUTION_BUCKETS
        )
        self._consumed = meter.create_counter(names.METRIC_CONSUMED, "{message}")
        self._runs = meter.create_counter(names.METRIC_WORKFLOW_OUTCOME, "{workflow}")

    def sealed(self, record: SpanRecord) -> None:
        """Measure the span."""
        context = _context(record)
        if record.kind == "client":
            shown = _chosen(record, _OF_A_REQUEST)
            self._requests.record(record.duration_ms / 1000, shown, context)
            return
        if record.kind == "consumer":
            if names.CLAIM_END not in record.attributes:  # else it was measured where it ended
                shown = _chosen(record, _OF_A_PART)
                self._parts.record(record.duration_ms / 1000, shown, context)
                self._consumed.add(1, shown, context)
            return
        result = record.attributes.get(names.WORKFLOW_EXECUTION_RESULT)
        if result is None:
            return
        shown = _chosen(record, (*_OF_AN_EXECUTION, names.WORKFLOW_EXECUTION_RESULT))
        self._outcomes.add(1, shown, context)
        if names.RUN_ID in record.attributes:
            self._runs.add(1, shown, context)
        if names.ERROR_TYPE in record.attributes:
            failed = _chosen(record, (*_OF_AN_EXECUTION, names.ERROR_TYPE))
            self._errors.add(1, failed, context)
            shown[names.ERROR_TYPE] = failed[names.ERROR_TYPE]
        if result != "skip":
            self._executions.record(record.duration_ms / 1000, shown, context)


def _chosen(record: SpanRecord, keys: tuple[str, ...]) -> dict[str, Json]:
    return {key: record.attributes[key] for key in keys if key in record.attributes}


def _context(record: SpanRecord) -> Context:
    """Return the span as a context, so that an exemplar leads from a metric to a trace."""
    from opentelemetry.context import Context
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    span = SpanContext(record.trace_id, record.span_id, is_remote=False, trace_flags=TraceFlags(record.flags))
    return set_span_in_context(NonRecordingSpan(span), Context())


class OtlpMetrics:
    """Sends what `listener` measures, each minute (OTEL_METRIC_EXPORT_INTERVAL) and at the end.

    Raises SurroundingsError when the environment makes no sense.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.target = target_of(environ, timeout=TIMEOUT, signal="METRICS")
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.resources import Resource

        logging.getLogger("opentelemetry").addHandler(logging.NullHandler())  # else it writes to stderr
        exporter, self._answer = _exporting(self.target)
        try:
            reader = PeriodicExportingMetricReader(exporter)
        except ValueError as error:
            raise SurroundingsError("OTEL_METRIC_EXPORT_INTERVAL must be a number above 0") from error
        self._provider = MeterProvider([reader], Resource(resource_attributes()), shutdown_on_exit=False)
        self._closing = threading.Thread(target=self._provider.shutdown, name="otlp-metrics", daemon=True)
        self.listener = Metrics(self._provider)

    def start_closing(self) -> None:
        """Begin to send what was measured last; a second time does nothing."""
        if self._closing.ident is None:
            self._closing.start()

    def close(self, timeout: float) -> str:
        """Wait at most `timeout` seconds for the end; returns why the last measurements did not arrive."""
        self._closing.join(timeout)
        return "no answer came in time" if self._closing.is_alive() else self._answer().reason


def _exporting(target: Target) -> Exporting:
    """Return the SDK's exporter for a target, and what tells the answer to its last batch."""
    if target.protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcExporter

        exporter = GrpcExporter(**grpc_options(target))
        stub = Stub.inside(exporter, target)
        return exporter, lambda: stub.answer
    session = session_for(target)
    return _http_exporter(target, session), lambda: session.answer


def _http_exporter(target: Target, session: Any) -> MetricExporter:  # noqa: ANN401 - see session_for
    from google.protobuf.json_format import MessageToDict
    from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics.export import MetricExportResult, MetricsData

    class JsonExporter(OTLPMetricExporter):
        def export(self, metrics_data: MetricsData, *_: object, **__: object) -> MetricExportResult:
            value = MessageToDict(encode_metrics(metrics_data), use_integers_for_enums=True)
            with suppress(UntakenError, OSError, ValueError):
                session.post_json(_with_hex_ids(value))
                return MetricExportResult.SUCCESS
            return MetricExportResult.FAILURE

    kind = JsonExporter if target.protocol == "http/json" else OTLPMetricExporter
    return kind(**http_options(target, session))


def _with_hex_ids(value: Json) -> Json:
    """Turn the ids of exemplars, which protobuf writes in base64, into what OTLP/JSON has."""
    if isinstance(value, list):
        return [_with_hex_ids(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: base64.b64decode(item).hex() if key in ("traceId", "spanId") else _with_hex_ids(item)
        for key, item in value.items()
    }
