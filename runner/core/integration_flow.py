"""Reading and writing the IntegrationFlow document of the Versori platform (seeds 000 and 001).

Writing a document that we wrote gives back the same bytes. Reading is more tolerant than the
schema: it takes what the platform's own decoder would take and what other tools are known to
write, and says in `IntegrationFlow.warnings` what it had to guess.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol, cast

from runner.core import names
from runner.core.commands import Json
from runner.core.text import kind_of
from runner.core.trace import (
    BETWEEN,
    TAIL,
    Event,
    Kind,
    Link,
    SpanRecord,
    encode,
    head,
    links_text,
    narrowed,
    parse_time,
    to_bytes,
)
from runner.core.trace_reader import TraceReader
from runner.errors import FlowError, Problem

_KINDS: Final = ("client", "server", "consumer", "producer")
_STATUS_WORDS: Final = {"UNSET": 0, "OK": 0, "ERROR": 1}


class BinaryOut(Protocol):
    """What a document is written to."""

    def write(self, data: bytes, /) -> object:
        """Take the next bytes."""


@dataclass(frozen=True, slots=True)
class IntegrationFlow:
    """A named trace; `spans` stand parents before children. `id` is set by the server and never written."""

    name: str
    description: str
    spans: Sequence[SpanRecord]
    id: str | None = None
    warnings: tuple[Problem, ...] = ()

    def write(self, file: BinaryOut) -> None:
        """Write the document span by span."""
        file.write(head(self.name, self.description))
        for number, span in enumerate(self.spans):
            if number:
                file.write(BETWEEN)
            file.write(to_bytes(encode(span)))
        file.write(TAIL)

    def to_json(self) -> bytes:
        """Return the document as UTF-8 JSON."""
        parts: list[bytes] = []
        self.write(_Parts(parts))
        return b"".join(parts)


class _Parts:
    def __init__(self, parts: list[bytes]) -> None:
        self.write = parts.append


def read(document: Json) -> IntegrationFlow:
    """Return the trace in a decoded document; raises FlowError with every Problem it has.

    Problems have the codes ``trace.type``, ``trace.missing``, ``trace.time``, ``trace.id``,
    ``trace.status`` and ``trace.parents``; warnings ``trace.guessed`` and ``trace.unknown_key``.
    """
    reader = _Reader()
    flow = reader.document(document)
    if reader.errors:
        raise FlowError(reader.errors)
    return flow


class _Reader(TraceReader):
    """Reads one document; a part that is wrong is read as something harmless."""

    def __init__(self) -> None:
        super().__init__()
        self.counts_like_otel = False

    def document(self, document: Json) -> IntegrationFlow:
        members = self.mapping(document, "")
        spans = members.get("spans")
        if not isinstance(spans, list):
            if spans is None and "spans" in members:
                self.guess("spans", "null is read as no spans")  # an empty list of Go
            elif document is members:
                self.wrong("missing", "spans", "an IntegrationFlow needs a list 'spans'; add it")
            spans = []
        self.counts_like_otel = any(_status_code(span) == 2 for span in spans)
        if self.counts_like_otel:
            self.guess("spans", "a status code 2 means that codes count as in OpenTelemetry: 1 OK, 2 ERROR")
        records = [self.span(span, f"spans[{number}]", number) for number, span in enumerate(spans)]
        return IntegrationFlow(
            self.label(members, "name", "name"),
            self.label(members, "description", "description"),
            self.in_order(records, "spans[{}]".format),
            members["id"] if isinstance(members.get("id"), str) else None,
            tuple(self.warnings),
        )

    def label(self, members: dict[str, Json], key: str, where: str, *, needed: bool = False) -> str:
        value = members.get(key)
        if isinstance(value, str):
            return value
        if value is not None:
            self.wrong("type", where, f"expected a text, got {kind_of(value)}")
        elif needed:
            self.wrong("missing", where, f"{key!r} is missing; every span and event needs it")
        else:
            self.guess(where, f"{key!r} is missing; an empty text is used")
        return ""

    def span(self, value: Json, where: str, number: int) -> SpanRecord:
        members = self.mapping(value, where)
        if not isinstance(value, dict):
            return SpanRecord("", 0, 0, None, sequence=number, start=0)
        trace_id, span_id, flags = self.context(members.get("spanContext"), f"{where}.spanContext")
        record = SpanRecord(
            self.label(members, "name", f"{where}.name", needed=True),
            trace_id,
            span_id,
            self.parent(members, where, trace_id),
            sequence=number,
            start=self.time(members, "startTime", where),
            attributes=self.attributes(members, where),
        )
        record.flags = flags
        record.end = self.time(members, "endTime", where)
        record.ended = members.get("ended", True) is not False
        record.events = self.events(members.get("events"), f"{where}.events")
        self.check_duration(members.get("duration"), record, where)
        self.status(members.get("status"), record, f"{where}.status")
        _lift(record)
        self.unknown(members, where)
        return record

    def unknown(self, members: dict[str, Json], where: str) -> None:
        for key in members.keys() - _SPAN_KEYS:
            self.guess(f"{where}.{key}", f"{key!r} is no field of a span and is left out", "unknown_key")

    def time(self, members: dict[str, Json], key: str, where: str) -> int:
        text = self.label(members, key, f"{where}.{key}", needed=True)
        try:
            return parse_time(text) if text else 0
        except (ValueError, OverflowError):
            self.wrong(
                "time", f"{where}.{key}", f"{text!r} is not a time; write 2026-01-31T12:00:00.123456789Z"
            )
            return 0

    def check_duration(self, duration: Json, record: SpanRecord, where: str) -> None:
        expected = record.duration_ms
        if isinstance(duration, int | float) and abs(duration - expected) > 0.001 + abs(expected) * 1e-9:
            what = f"{duration} ms is not endTime - startTime; {expected} is used"
            self.guess(f"{where}.duration", what)

    def context(self, value: Json, where: str) -> tuple[int, int, int]:
        members = self.mapping(value, where)
        if not isinstance(value, dict):
            return 0, 0, 1
        flags = members.get("traceFlags", 1)
        if not isinstance(flags, int):
            self.wrong("type", f"{where}.traceFlags", f"expected an integer, got {kind_of(flags)}")
            flags = 1
        trace_id = self.hex_id(members, "traceId", 32, where)
        return trace_id, self.hex_id(members, "spanId", 16, where), flags & 1

    def parent(self, members: dict[str, Json], where: str, trace_id: int) -> int | None:
        """Take either spelling, the right one first; both must agree where both stand."""
        found: list[int] = []
        for key in ("parentSpanContext", "parentSpanContenxt"):
            value = members.get(key)
            if not value or (isinstance(value, dict) and not str(value.get("spanId") or "").strip("0")):
                continue  # null, {} and an id of zeros: how other tools write "no parent"
            parent_trace, span_id, _ = self.context(value, f"{where}.{key}")
            found.append(span_id)
            if parent_trace != trace_id:
                self.guess(f"{where}.{key}", "the parent is in another trace; the span's own trace is used")
        if len(set(found)) > 1:
            self.wrong(
                "parents", where, "parentSpanContext and parentSpanContenxt differ; keep the right one"
            )
        return found[0] if found else None

    def status(self, value: Json, record: SpanRecord, where: str) -> None:
        members = {} if value is None else self.mapping(value, where)
        code = members.get("code", 0)
        number = _STATUS_WORDS.get(code.upper(), -1) if isinstance(code, str) else code
        if self.counts_like_otel and not isinstance(code, str):
            number = {0: 0, 1: 0, 2: 1}.get(cast("int", number), -1)
        if number not in (0, 1):
            self.wrong("status", f"{where}.code", f"{code!r} is no status; write 0 for OK or 1 for ERROR")
        record.status = "error" if number == 1 else "unset"
        message = members.get("message") or members.get("description")
        if isinstance(message, str) and record.status == "error":
            record.description = message

    def attributes(self, members: dict[str, Json], where: str) -> dict[str, Json]:
        value = members.get("attributes")
        if value is None:
            return {}
        return dict(narrowed(self.mapping(value, f"{where}.attributes")))

    def events(self, value: Json, where: str) -> list[Event]:
        if not isinstance(value, list):
            if value is not None:
                self.wrong("type", where, f"expected a list, got {kind_of(value)}")
            return []
        return [self.event(item, f"{where}[{number}]") for number, item in enumerate(value)]

    def event(self, value: Json, where: str) -> Event:
        members = self.mapping(value, where)
        if not isinstance(value, dict):
            return "", 0, {}
        name = self.label(members, "name", f"{where}.name", needed=True)
        return name, self.time(members, "timestamp", where), self.attributes(members, where)


_SPAN_KEYS: Final = frozenset(
    (
        "attributes",
        "duration",
        "endTime",
        "ended",
        "events",
        "name",
        "parentSpanContenxt",
        "parentSpanContext",
        "spanContext",
        "startTime",
        "status",
    )
)


def _status_code(span: Json) -> Json:
    status = span.get("status") if isinstance(span, dict) else None
    return status.get("code") if isinstance(status, dict) else None


def _lift(record: SpanRecord) -> None:
    """Take out of the attributes what `runner.core.trace.encode` had to put there."""
    attributes = record.attributes
    if attributes.get(names.SPAN_KIND) in _KINDS:
        record.kind = cast("Kind", attributes.pop(names.SPAN_KIND))
    if record.status == "error":
        attributes.pop(names.OTEL_STATUS_CODE, None)
    elif attributes.get(names.OTEL_STATUS_CODE) == "OK":
        del attributes[names.OTEL_STATUS_CODE]
        record.status = "ok"
    description = attributes.pop(names.OTEL_STATUS_DESCRIPTION, None)
    if isinstance(description, str) and description:
        record.description = description
    record.tracestate = str(attributes.pop(names.W3C_TRACESTATE, ""))
    record.links = _read_links(attributes.get(names.OTEL_LINKS))
    if record.links:
        del attributes[names.OTEL_LINKS]


def _read_links(text: Json) -> tuple[Link, ...]:
    """Return the links in an otel.links text, none when it is not exactly what we would write."""
    try:
        links = tuple(
            Link(
                int(link["traceId"], 16),
                int(link["spanId"], 16),
                dict(link["attributes"]),
                link["traceFlags"],
            )
            for link in json.loads(text)
        )
    except (TypeError, ValueError, KeyError):
        return ()
    sound = all(link.trace_id and link.span_id and _is_byte(link.flags) for link in links)
    return links if sound and links_text(links) == text else ()


def _is_byte(value: Json) -> bool:
    return type(value) is int and 0 <= value < 256
