"""From our records to the spans of the OpenTelemetry SDK, which its exporters take."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from runner.core.commands import Json
from runner.core.otlp_json import RESOURCE, otlp_attributes, otlp_value, remote_parent
from runner.core.trace import SCOPE, Origin, SpanRecord
from runner.version import __version__

if TYPE_CHECKING:  # the SDK takes a tenth of a second to import; only the thread that sends pays for it
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import SpanContext

Convert = Callable[[SpanRecord], "ReadableSpan"]


def resource_attributes() -> dict[str, Json]:
    """Return our service name and version, with OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES on top."""
    from opentelemetry.sdk.resources import OTELResourceDetector

    return {**RESOURCE, **OTELResourceDetector().detect().attributes}


def converter() -> Convert:
    """Return a function that turns an ended record into the SDK's span; imports the SDK."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import Link, SpanKind
    from opentelemetry.trace.status import Status, StatusCode

    ours = Origin(resource_attributes(), SCOPE, __version__)
    known: dict[int, tuple[Origin, Resource, InstrumentationScope]] = {}

    def source(record: SpanRecord) -> tuple[Origin, Resource, InstrumentationScope]:
        origin = record.origin or ours
        if id(origin) not in known:
            scope = InstrumentationScope(otlp_value(origin.scope), otlp_value(origin.version))
            known[id(origin)] = origin, Resource(otlp_attributes(origin.resource)), scope
        return known[id(origin)]

    def convert(record: SpanRecord) -> ReadableSpan:
        _, resource, scope = source(record)
        return ReadableSpan(
            otlp_value(record.name),
            _context(record.trace_id, record.span_id, record.flags, tracestate=record.tracestate),
            _parent(record),
            resource,
            otlp_attributes(record.attributes),
            [Event(otlp_value(name), otlp_attributes(values), at) for name, at, values in record.events],
            [
                Link(
                    _context(link.trace_id, link.span_id, link.flags, remote=True),
                    otlp_attributes(link.attributes),
                )
                for link in record.links
            ],
            SpanKind[record.kind.upper()],
            status=Status(StatusCode[record.status.upper()], otlp_value(record.description) or None),
            start_time=record.start,
            end_time=record.start if record.end is None else record.end,
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
    remote = remote_parent(record)
    parent = record.parent_id if remote is None else remote
    if parent is None:
        return None
    return _context(record.trace_id, parent, record.flags, remote=remote is not None)
