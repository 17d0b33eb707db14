"""Sending a trace once more, as another one: with ids of its own, or as if it had just happened."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from runner.core.trace import Link, SpanRecord


def renew_ids(records: Sequence[SpanRecord], random: Callable[[int], bytes]) -> None:
    """Give every trace and span a new id, in place; a span without parent is linked to the original.

    `random` returns that many random bytes. Links between the spans follow, others stay.
    """

    def draw(size: int) -> int:
        return int.from_bytes(random(size), "big") or 1  # zero means "no id"

    traces = {trace_id: draw(16) for trace_id in {record.trace_id: None for record in records}}
    spans = {(record.trace_id, record.span_id): draw(8) for record in records}
    for record in records:
        trace_id, span_id = record.trace_id, record.span_id
        links = [_followed(link, traces, spans) for link in record.links]
        parent = spans.get((trace_id, record.parent_id or 0))
        if parent is None:
            links.append(Link(trace_id, span_id))
        record.trace_id, record.span_id = traces[trace_id], spans[trace_id, span_id]
        record.parent_id, record.links = parent, tuple(links)


def _followed(link: Link, traces: dict[int, int], spans: dict[tuple[int, int], int]) -> Link:
    span_id = spans.get((link.trace_id, link.span_id))
    return link if span_id is None else Link(traces[link.trace_id], span_id, link.attributes, link.flags)


def shift_times(records: Sequence[SpanRecord], now: int) -> None:
    """Move all times, in place, so that the last span ends now (nanoseconds since 1970)."""
    later = now - max((record.end or record.start for record in records), default=now)
    for record in records:
        record.start += later
        record.end = None if record.end is None else record.end + later
        record.events = [(name, at + later, attributes) for name, at, attributes in record.events]
