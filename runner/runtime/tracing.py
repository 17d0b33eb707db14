"""Recording the spans of one run: ids, clock, masking, and who is told.

A `Recorder` belongs to one run and to one thread. It depends on no SDK, no sampler and no
environment variable, so that the trace of a run is whole whatever the surroundings say; delivery
to a backend is a `Listener` (`runner.runtime.otlp`).
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Final

from runner.core import names
from runner.core.commands import Json
from runner.core.integration_flow import BinaryOut
from runner.core.redact import Masker
from runner.core.trace import (
    BETWEEN,
    LONGEST_VALUE,
    TAIL,
    Kind,
    Link,
    SpanBuffer,
    SpanRecord,
    Status,
    encode,
    execution_id,
    format_traceparent,
    head,
    mask_record,
    parse_traceparent,
    to_bytes,
)

MOST_EVENTS: Final = 128  # a span keeps its first ones, and every exception
# What the task at work works for: the run id and the span, for log records.
current: ContextVar[tuple[str, SpanRecord] | None] = ContextVar("runner.current", default=None)


class Listener:
    """Is told about the spans of a run as they happen; each method does nothing until it is overridden.

    `opened` and `ended` are called at once and may show the name, the times, the status and
    numbers; other text may still hold secrets that are not known yet. `sealed` is called when the
    record is final and masked: only then may it leave the process.
    """

    def opened(self, record: SpanRecord) -> None:
        """Take note that the work has begun."""

    def ended(self, record: SpanRecord) -> None:
        """Take note that the work has ended; status and end are set."""

    def sealed(self, record: SpanRecord) -> None:
        """Take the record, which is masked and will not change any more."""


def anchored_clock(
    wall: Callable[[], int] = time.time_ns, monotonic: Callable[[], int] = time.monotonic_ns
) -> Callable[[], int]:
    """Return a clock of nanoseconds since 1970 that reads the wall clock once and never steps back."""
    offset = wall() - monotonic()
    return lambda: offset + monotonic()


class Recorder:
    """The trace of one run.

    `parent` is a traceparent the run was started with; one that W3C Trace Context calls invalid is
    ignored. `trace_id` continues a trace (a resumed run). `now` gives nanoseconds since 1970 and
    `random` that many random bytes; tests pass their own.
    """

    def __init__(  # noqa: PLR0913 - what a run is given, each with a default
        self,
        run_id: str,
        *,
        masker: Masker | None = None,
        parent: str | None = None,
        tracestate: str = "",
        trace_id: int | None = None,
        listeners: Sequence[Listener] = (),
        now: Callable[[], int] | None = None,
        random: Callable[[int], bytes] = os.urandom,
        execution: str | None = None,
    ) -> None:
        self.run_id = run_id
        self.masker = Masker() if masker is None else masker
        self.now = anchored_clock() if now is None else now
        self.remote_parent = parse_traceparent(parent)
        self.tracestate = tracestate if self.remote_parent else ""
        self.execution_id = execution or execution_id(run_id, self.now() // 1_000_000)
        self._random = random
        if trace_id is None:
            trace_id = self.remote_parent.trace_id if self.remote_parent else self._new_id(16)
        self.trace_id = trace_id
        self._listeners = tuple(listeners)
        self._buffer = SpanBuffer()
        self._started = 0
        self._live: dict[int, SpanRecord] = {}  # open or held, by sequence
        self._held: dict[int | None, list[SpanRecord]] = {}  # ended but not sealed, by parent

    def _new_id(self, size: int) -> int:
        return int.from_bytes(self._random(size), "big") or 1  # zero means "no id"

    # --- the life of a span

    def open(
        self,
        name: str,
        kind: Kind = "internal",
        parent: SpanRecord | None = None,
        attributes: Mapping[str, Json] | None = None,
        *,
        start: int | None = None,
        span_id: int | None = None,
        links: Sequence[Link] = (),
    ) -> SpanRecord:
        """Begin a span now, or at `start`; without `parent` it is the flow span of the run."""
        record = SpanRecord(
            self.masker.mask(name),
            self.trace_id,
            self._new_id(8) if span_id is None else span_id,
            None if parent is None else parent.span_id,
            sequence=self._started,
            start=self.now() if start is None else start,
            kind=kind,
            attributes={**attributes} if attributes else {},
        )
        record.links = links
        record.attributes[names.EXECUTION_ID] = self.execution_id
        if parent is None:
            self._describe_root(record)
        self._started += 1
        self._live[record.sequence] = record
        for listener in self._listeners:
            listener.opened(record)
        return record

    def _describe_root(self, record: SpanRecord) -> None:
        record.attributes[names.RUN_ID] = self.run_id
        record.tracestate = self.tracestate
        if self.remote_parent:
            remote = self.remote_parent
            header = format_traceparent(remote.trace_id, remote.span_id, remote.flags)
            record.attributes[names.REMOTE_PARENT] = header

    def event(
        self,
        record: SpanRecord,
        name: str,
        attributes: Mapping[str, Json] | None = None,
        *,
        at: int | None = None,
    ) -> None:
        """Put an event on a span that is not sealed; beyond `MOST_EVENTS` only exceptions are kept."""
        if record.sequence not in self._live:
            return
        if len(record.events) >= MOST_EVENTS and name != names.EVENT_EXCEPTION:
            dropped = record.attributes.get(names.OTEL_DROPPED_EVENTS_COUNT, 0)
            record.attributes[names.OTEL_DROPPED_EVENTS_COUNT] = dropped + 1
            return
        record.events.append((name, self.now() if at is None else at, {**attributes} if attributes else {}))

    def end(
        self,
        record: SpanRecord,
        status: Status = "unset",
        description: str = "",
        attributes: Mapping[str, Json] | None = None,
        *,
        at: int | None = None,
        hold: bool = False,
    ) -> None:
        """End a span now, or at `at`; one that has ended already stays as it is.

        With `hold` it is sealed only together with its parent, so that secrets which turn up until
        then are masked in it too.
        """
        if record.ended:
            return
        record.ended = True
        record.end = max(record.start, self.now() if at is None else at)
        record.status = status
        record.description = description if status == "error" else ""  # only ERROR has one (OTLP, Status)
        if attributes:
            record.attributes.update(attributes)
        for listener in self._listeners:
            listener.ended(record)
        if hold:
            self._held.setdefault(record.parent_id, []).append(record)
        else:
            self.release(record)

    def release(self, record: SpanRecord) -> None:
        """Seal an ended span, after everything below it that was held."""
        for child in self._held.pop(record.span_id, ()):
            self.release(child)
        if record.ended and self._live.pop(record.sequence, None) is not None:
            self._buffer.append(record.sequence, self._sealed_bytes(record))
            for listener in self._listeners:
                listener.sealed(record)

    def skip(
        self, name: str, parent: SpanRecord | None = None, attributes: Mapping[str, Json] | None = None
    ) -> SpanRecord:
        """Record something that was not done: a span of no length whose status stays unset."""
        record = self.open(name, "internal", parent, attributes)
        self.end(record, at=record.start)
        return record

    def adopt(self, record: SpanRecord) -> None:
        """Take over a span of an earlier part of the run; one that has ended is sealed with its parent."""
        record.sequence = self._started
        self._started += 1
        self._live[record.sequence] = record
        for listener in self._listeners:
            listener.opened(record)
            if record.ended:
                listener.ended(record)
        if record.ended:
            self._held.setdefault(record.parent_id, []).append(record)

    def silence(self) -> None:
        """Tell the listeners nothing any more: the run is somebody else's now."""
        self._listeners = ()

    def cut_off(self, error_type: str, description: str) -> None:
        """End every open span as an error, the innermost first: the run was cancelled or ran out of time."""
        for record in sorted(self._live.values(), key=lambda span: -span.sequence):
            self.end(record, "error", description, {names.ERROR_TYPE: error_type})
        for record in sorted(self._live.values(), key=lambda span: -span.sequence):
            self.release(record)  # held below a parent that ended without it

    # --- what came of it

    def traceparent(self, record: SpanRecord) -> str:
        """Return the traceparent header for a request that this span stands for."""
        return format_traceparent(record.trace_id, record.span_id)

    @property
    def count(self) -> int:
        """How many spans were started."""
        return self._started

    @property
    def size(self) -> int:
        """How many bytes the sealed spans take."""
        return self._buffer.size

    def _sealed_bytes(self, record: SpanRecord) -> bytes:
        return to_bytes(self._masked_text(record, record.end or self.now()))

    def _masked_text(self, record: SpanRecord, now: int) -> str:
        text = encode(record, now=now)
        if len(text) > LONGEST_VALUE or self.masker.suspects(text):
            mask_record(record, self.masker)
            text = encode(record, now=now)
        return text

    def texts(self, record: SpanRecord, now: int) -> list[str]:
        """Return a span that goes on, as it is `now`, and all that is held below it, as JSON texts."""
        below = [text for child in self._held.get(record.span_id, ()) for text in self.texts(child, now)]
        return [self._masked_text(record, now), *below]

    def text(self, sequence: int) -> str:
        """Return a sealed span as JSON text."""
        data = self._buffer.get(sequence)
        assert data is not None
        return data.decode("utf-8")

    def encoded(self) -> Iterator[bytes]:
        """Yield each span as JSON, in order of start, parents before children; open ones as they are now."""
        for sequence in range(self._started):
            data = self._buffer.get(sequence)
            yield self._sealed_bytes(self._live[sequence]) if data is None else data

    def spans(self) -> Iterator[dict[str, Json]]:
        """Yield each span as a decoded OTelSpan object, one at a time."""
        for data in self.encoded():
            yield json.loads(data)

    def write(self, file: BinaryOut, name: str, description: str) -> None:
        """Write the trace as an IntegrationFlow document, span by span."""
        file.write(head(self.masker.mask(name), self.masker.mask(description)))
        for number, data in enumerate(self.encoded()):
            if number:
                file.write(BETWEEN)
            file.write(data)
        file.write(TAIL)
