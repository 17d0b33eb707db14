"""OTLP/JSON: spans as the JSON form of one ExportTraceServiceRequest (OTLP specification 1.7).

Ids are hexadecimal there, 64-bit integers and times are decimal texts, kinds and codes are numbers.
Reading takes proto3's default for every field that is missing and ignores those it does not know,
as the specification demands of a receiver.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterable, Mapping
from typing import Final, cast

from runner.core import names
from runner.core.commands import Json
from runner.core.document import join
from runner.core.text import kind_of
from runner.core.trace import SCOPE, Event, Kind, Link, Origin, SpanRecord, Status, coerce, parse_traceparent
from runner.core.trace_reader import TraceReader
from runner.errors import FlowError, Place
from runner.version import __version__

RESOURCE: Final[Mapping[str, Json]] = {
    names.SERVICE_NAME: "flowspan-runner",
    names.SERVICE_VERSION: __version__,
}
OTLP_KEYS: Final = frozenset(("resourceSpans", "resourceMetrics", "resourceLogs"))
_KINDS: Final = ("internal", "internal", "server", "client", "producer", "consumer")  # 0 is unspecified
_STATUSES: Final = ("unset", "ok", "error")
_HAS_IS_REMOTE: Final = 0x100  # the two bits of SpanFlags beside the trace flags of W3C
_IS_REMOTE: Final = 0x200
_INT64: Final = range(-(2**63), 2**63)
_UINT32: Final = range(2**32)
_UINT64: Final = range(2**64)
_DECIMAL: Final = re.compile("-?[0-9]{1,20}")
_CODES: Final = {"SPAN_KIND_": "type", "STATUS_CODE_": "status"}  # of the problem with an enumeration
_VALUES: Final = {
    "stringValue": "a text",
    "boolValue": "a boolean",
    "intValue": "an integer",
    "doubleValue": "a number",
    "bytesValue": "a text in base64",
    "arrayValue": "an object",
    "kvlistValue": "an object",
}
_DROPPED: Final = {
    "droppedAttributesCount": names.OTEL_DROPPED_ATTRIBUTES_COUNT,
    "droppedEventsCount": names.OTEL_DROPPED_EVENTS_COUNT,
    "droppedLinksCount": names.OTEL_DROPPED_LINKS_COUNT,
}


def to_otlp(records: Iterable[SpanRecord], resource: Mapping[str, Json]) -> dict[str, Json]:
    """Return one ExportTraceServiceRequest; `resource` goes to the spans that have no origin of their own.

    A span that has not ended is written as if it ended at its snapshot.
    """
    ours = Origin(resource, SCOPE, __version__)
    groups: dict[int, tuple[Origin, list[Json]]] = {}
    for record in records:
        origin = record.origin or ours
        groups.setdefault(id(origin), (origin, []))[1].append(_span(record))
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": _attributes(origin.resource)},
                "scopeSpans": [{"scope": _scope(origin), "spans": spans}],
            }
            for origin, spans in groups.values()
        ]
    }


def from_otlp(value: Json) -> list[SpanRecord]:
    """Return the spans of one decoded request, or of a file of the collector, parents before children.

    Raises FlowError with every Problem: ``trace.type``, ``trace.missing``, ``trace.id``,
    ``trace.time``, ``trace.status`` and ``trace.parents``.
    """
    return from_requests([(value, None)])


def from_requests(requests: Iterable[tuple[Json, Place | None]]) -> list[SpanRecord]:
    """Do as `from_otlp` for several requests, each with the place that its problems get."""
    reader = _Reader()
    for value, reader.place in requests:
        reader.request(value)
    return reader.finish()


def otlp_value(value: Json) -> Json:
    """Return a value as OTLP can hold it: whole characters only, no integer beyond 64 bits."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if value is None or isinstance(value, bool | float | bytes) or (type(value) is int and value in _INT64):
        return value
    if isinstance(value, list | tuple):
        return [otlp_value(item) for item in value]
    if isinstance(value, Mapping):
        return {otlp_value(str(key)): otlp_value(item) for key, item in value.items()}
    return otlp_value(coerce(value))


def otlp_attributes(attributes: Mapping[str, Json]) -> dict[str, Json]:
    """Return attributes as OTLP can hold them; one without value is left out."""
    return {otlp_value(key): otlp_value(value) for key, value in attributes.items() if value is not None}


def remote_parent(record: SpanRecord) -> int | None:
    """Return the span of another process that a flow span belongs to; IntegrationFlow has no place for it."""
    if record.parent_id is not None:
        return None
    remote = parse_traceparent(record.attributes.get(names.REMOTE_PARENT))
    return remote.span_id if remote and remote.trace_id == record.trace_id else None


# --- writing -------------------------------------------------------------------------------------


def _scope(origin: Origin) -> dict[str, Json]:
    return {"name": otlp_value(origin.scope)} | ({"version": origin.version} if origin.version else {})


def _span(record: SpanRecord) -> dict[str, Json]:
    remote = remote_parent(record)
    parent = record.parent_id if remote is None else remote
    status: dict[str, Json] = {"code": _STATUSES.index(record.status)}
    if record.description:
        status["message"] = otlp_value(record.description)
    span = {
        "traceId": f"{record.trace_id:032x}",
        "spanId": f"{record.span_id:016x}",
        "traceState": record.tracestate,
        "parentSpanId": "" if parent is None else f"{parent:016x}",
        "flags": _flags(record.flags, remote=remote is not None),
        "name": otlp_value(record.name),
        "kind": _KINDS.index(record.kind, 1),
        "startTimeUnixNano": _time(record.start),
        "endTimeUnixNano": _time(record.start if record.end is None else record.end),
        "attributes": _attributes(record.attributes),
        "events": [_event(*event) for event in record.events],
        "links": [_link(link) for link in record.links],
        "status": status,
    }
    for field, key in _DROPPED.items():
        if isinstance(count := record.attributes.get(key), int) and count > 0 and count in _UINT32:
            span[field] = count
    return {key: value for key, value in span.items() if key == "flags" or value not in ("", [])}


def _flags(flags: int, *, remote: bool) -> int:
    # Encoders that leave the trace flags out write a bare "has is remote": so 0 has to stand alone.
    return flags & 0xFF | _HAS_IS_REMOTE | (_IS_REMOTE if remote else 0) if flags & 0xFF else 0


def _time(ns: int) -> str:
    return str(min(max(ns, 0), _UINT64[-1]))


def _event(name: str, at: int, attributes: Mapping[str, Json]) -> dict[str, Json]:
    return {"timeUnixNano": _time(at), "name": otlp_value(name), "attributes": _attributes(attributes)}


def _link(link: Link) -> dict[str, Json]:
    return {
        "traceId": f"{link.trace_id:032x}",
        "spanId": f"{link.span_id:016x}",
        "attributes": _attributes(link.attributes),
        "flags": _flags(link.flags, remote=True),
    }


def _attributes(attributes: Mapping[str, Json]) -> list[Json]:
    return [{"key": key, "value": _any(value)} for key, value in otlp_attributes(attributes).items()]


def _any(value: Json) -> dict[str, Json]:
    match value:
        case None:
            return {}
        case str():
            return {"stringValue": value}
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value if math.isfinite(value) else coerce(value)}
        case bytes():
            return {"bytesValue": base64.b64encode(value).decode("ascii")}
        case list():
            return {"arrayValue": {"values": [_any(item) for item in value]}}
        case _:
            pairs = [{"key": key, "value": _any(item)} for key, item in value.items()]
            return {"kvlistValue": {"values": pairs}}


# --- reading -------------------------------------------------------------------------------------


class _Reader(TraceReader):
    """Reads requests, one after the other, and collects their spans and their problems."""

    def __init__(self) -> None:
        super().__init__()
        self._records: list[SpanRecord] = []
        self._groups: list[tuple[int, str, Place | None]] = []  # the number of its first span, their place

    def request(self, value: Json) -> None:
        members = self.mapping(value, "")
        if members is value and not OTLP_KEYS & members.keys():
            self.wrong("missing", "resourceSpans", "an OTLP document needs a list 'resourceSpans'; add it")
        for group, place in self.objects(members, "resourceSpans", ""):
            resource = self.pairs(self.member(group, "resource", place), "attributes", f"{place}.resource")
            for scoped, spot in self.objects(group, "scopeSpans", place):
                scope = self.member(scoped, "scope", spot)
                name, version = (self.text(scope, key, f"{spot}.scope") for key in ("name", "version"))
                self._groups.append((len(self._records), f"{spot}.spans", self.place))
                origin = Origin(resource, name, version)
                for span in self.objects(scoped, "spans", spot):
                    self._records.append(self.span(*span, origin))

    def finish(self) -> list[SpanRecord]:
        records = self.in_order(self._records, self._where)
        if self.errors:
            raise FlowError(self.errors)
        return records

    def _where(self, number: int) -> str:
        group = next(group for group in reversed(self._groups) if group[0] <= number)
        self.place = group[2]
        return f"{group[1]}[{number - group[0]}]"

    # --- spans; `at` is where the object with these members stands

    def span(self, members: dict[str, Json], at: str, origin: Origin) -> SpanRecord:
        record = SpanRecord(
            self.text(members, "name", at),
            self.hex_id(members, "traceId", 32, at),
            self.hex_id(members, "spanId", 16, at),
            self.hex_id(members, "parentSpanId", 16, at) if _names_parent(members) else None,
            sequence=len(self._records),
            start=self.time(members, "startTimeUnixNano", at),
            kind=cast("Kind", self.word(members, "kind", at, "SPAN_KIND_", _KINDS)),
            attributes=self.pairs(members, "attributes", at),
        )
        record.origin = origin
        end = self.time(members, "endTimeUnixNano", at)
        record.ended = bool(end) or not record.start
        record.end = end if record.ended else None
        record.tracestate = self.text(members, "traceState", at)
        record.events = [self.event(*event) for event in self.objects(members, "events", at)]
        record.links = tuple(self.link(*link) for link in self.objects(members, "links", at))
        status, spot = self.member(members, "status", at), f"{at}.status"
        record.status = cast("Status", self.word(status, "code", spot, "STATUS_CODE_", _STATUSES))
        record.description = self.text(status, "message", spot)
        for field, key in _DROPPED.items():
            if count := self.number(members, field, at, _UINT32):
                record.attributes.setdefault(key, count)
        self.take_flags(record, members, at)
        return record

    def take_flags(self, record: SpanRecord, members: dict[str, Json], at: str) -> None:
        """Take the trace flags; a parent that the span names as the remote one is no parent any more."""
        flags, record.flags = self.flags(members, at)
        parent, record.parent_id = record.parent_id, None
        if (flags and not flags & _IS_REMOTE) or remote_parent(record) != parent:
            record.parent_id = parent

    def flags(self, members: dict[str, Json], at: str) -> tuple[int, int]:
        """Return SpanFlags and whether sampled, as 1 or 0; who tells no trace flags has sampled the span."""
        flags = self.number(members, "flags", at, _UINT32)
        return flags, flags & 1 if flags & 0xFF or members.get("flags") == 0 else 1

    def event(self, members: dict[str, Json], at: str) -> Event:
        time = self.time(members, "timeUnixNano", at)
        return self.text(members, "name", at), time, self.pairs(members, "attributes", at)

    def link(self, members: dict[str, Json], at: str) -> Link:
        trace_id, span_id = self.hex_id(members, "traceId", 32, at), self.hex_id(members, "spanId", 16, at)
        return Link(trace_id, span_id, self.pairs(members, "attributes", at), self.flags(members, at)[1])

    # --- fields: `key` is one of the members of the object that stands at `at`

    def objects(self, members: dict[str, Json], key: str, at: str) -> list[tuple[dict[str, Json], str]]:
        value = members.get(key)
        if value is not None and not isinstance(value, list):
            self.wrong("type", join(at, key), f"expected a list, got {kind_of(value)}")
            return []
        pairs = [(item, f"{join(at, key)}[{number}]") for number, item in enumerate(value or ())]
        return [(item, place) for item, place in pairs if self.mapping(item, place) is item]

    def member(self, members: dict[str, Json], key: str, at: str) -> dict[str, Json]:
        value = members.get(key)
        return {} if value is None else self.mapping(value, join(at, key))

    def text(self, members: dict[str, Json], key: str, at: str) -> str:
        value = members.get(key)
        if value is None or isinstance(value, str):
            return value or ""
        self.wrong("type", join(at, key), f"expected a text, got {kind_of(value)}")
        return ""

    def number(self, members: dict[str, Json], key: str, at: str, allowed: range, code: str = "type") -> int:
        """Return an integer, which may stand as a decimal text."""
        value = members.get(key, 0)
        if isinstance(value, str) and _DECIMAL.fullmatch(value):
            value = int(value)
        if type(value) is int and value in allowed:
            return value
        what = f"{value!r} is no whole number from {allowed[0]} to {allowed[-1]}"
        self.wrong(code, join(at, key), what)
        return 0

    def time(self, members: dict[str, Json], key: str, at: str) -> int:
        return self.number(members, key, at, _UINT64, "time")

    def word(self, members: dict[str, Json], key: str, at: str, prefix: str, words: tuple[str, ...]) -> str:
        """Return what a number of an enumeration means; its name in protobuf does as well."""
        value = members.get(key, 0)
        if isinstance(value, str) and value.startswith(prefix):
            word = value.removeprefix(prefix).lower()
            if word in words or word == "unspecified":
                return words[0] if word == "unspecified" else word
        return words[self.number(members, key, at, range(len(words)), _CODES[prefix])]

    def pairs(self, members: dict[str, Json], key: str, at: str) -> dict[str, Json]:
        return {
            self.text(pair, "key", place): self.any(self.member(pair, "value", place), f"{place}.value")
            for pair, place in self.objects(members, key, at)
        }

    def any(self, members: dict[str, Json], at: str) -> Json:
        key, value = next(((key, members[key]) for key in _VALUES if key in members), ("", None))
        match key, value:
            case "stringValue", _:
                return self.text(members, key, at)
            case "boolValue", bool():
                return value
            case "intValue", _:
                return self.number(members, key, at, _INT64)
            case "doubleValue", bool():
                pass
            case "doubleValue", int() | float() | "NaN" | "Infinity" | "-Infinity":
                return float(value)
            case "bytesValue", str() if _is_base64(value):
                return base64.b64decode(value)
            case "arrayValue", dict():
                return [self.any(*item) for item in self.objects(value, "values", f"{at}.{key}")]
            case "kvlistValue", dict():
                return self.pairs(value, "values", f"{at}.{key}")
            case "", _:
                return None
        self.wrong("type", f"{at}.{key}", f"expected {_VALUES[key]}, got {kind_of(value)}")
        return None


def _names_parent(members: dict[str, Json]) -> bool:
    """Tell whether there is a parent; an empty text or zeros are how others write that there is none."""
    parent = members.get("parentSpanId")
    return parent is not None and not (isinstance(parent, str) and not parent.strip("0"))


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except ValueError:
        return False
    return True
