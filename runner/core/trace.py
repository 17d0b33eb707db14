"""What a span is, how it becomes one span of an IntegrationFlow, and the ids of a trace.

A `SpanRecord` is open while its work goes on. Once it has ended it is turned into the text of one
JSON object (`encode`) and kept in a `SpanBuffer`, so that a kept span costs its bytes and little
more. The mapping is that of seed 000 (OTelSpan); what the schema has no field for travels in
attributes under the names that OpenTelemetry gives it outside OTLP.
"""

from __future__ import annotations

import base64
import json
import math
import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from json.encoder import encode_basestring as _quoted
from typing import Final, Literal, TypeAlias

from runner.core import names
from runner.core.commands import Json
from runner.core.redact import Masker

Kind = Literal["internal", "client", "server", "consumer", "producer"]
Status = Literal["unset", "ok", "error"]
Scalar: TypeAlias = str | int | float | bool
Event: TypeAlias = tuple[str, int, dict[str, Json]]

# Seed 000: the server keeps attributes as map[string]any of Go, where every number is a float64.
LARGEST_INT: Final = 2**53 - 1
SCOPE: Final = "runner"  # the instrumentation scope of what this package records
LONGEST_VALUE: Final = 16_384  # characters of one text value; the rest is cut off
_SECOND: Final = 1_000_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_BLOCK: Final = 1 << 20
_MOST_CACHED: Final = 512
_MOST_BITS: Final = 14_000  # the interpreter refuses to write integers of more than 4300 digits

_TIME: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:[.,](\d+))?(?:([Zz])|([+-]\d\d):?(\d\d))", re.ASCII
)
_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ULID: Final = re.compile(rf"[0-7][{_CROCKFORD}]{{25}}")


@dataclass(frozen=True, slots=True)
class Link:
    """A span of another trace (or of this one) that a span has to do with."""

    trace_id: int
    span_id: int
    attributes: Mapping[str, Json] = field(default_factory=dict)
    flags: int = 1


@dataclass(frozen=True, slots=True)
class RemoteParent:
    """Where a traceparent header points to (W3C Trace Context)."""

    trace_id: int
    span_id: int
    flags: int = 1

    @property
    def sampled(self) -> bool:
        """Whether the caller records its part of the trace."""
        return bool(self.flags & 1)


@dataclass(frozen=True, slots=True)
class Origin:
    """Who recorded a span, as OTLP tells it: the resource, and the name and version of the scope."""

    resource: Mapping[str, Json]
    scope: str = ""
    version: str = ""


class SpanRecord:
    """One span. Times are nanoseconds since 1970; `sequence` counts the spans of a run as they start.

    `attributes` hold any JSON value; only `encode` narrows them. `ended` is false while the work
    goes on, `end` is then None, or the time of the snapshot in a record that was read from a file.
    `origin` is None for what this package records.
    """

    __slots__ = (
        "attributes",
        "description",
        "end",
        "ended",
        "events",
        "flags",
        "kind",
        "links",
        "name",
        "origin",
        "parent_id",
        "sequence",
        "span_id",
        "start",
        "status",
        "trace_id",
        "tracestate",
    )

    def __init__(
        self,
        name: str,
        trace_id: int,
        span_id: int,
        parent_id: int | None,
        *,
        sequence: int,
        start: int,
        kind: Kind = "internal",
        attributes: dict[str, Json] | None = None,
    ) -> None:
        self.name = name
        self.trace_id = trace_id
        self.span_id = span_id
        self.parent_id = parent_id
        self.sequence = sequence
        self.kind: Kind = kind
        self.start = start
        self.end: int | None = None
        self.ended = False
        self.attributes: dict[str, Json] = {} if attributes is None else attributes
        self.events: list[Event] = []
        self.status: Status = "unset"
        self.description = ""
        self.links: Sequence[Link] = ()
        self.flags = 1
        self.tracestate = ""
        self.origin: Origin | None = None

    @property
    def duration_ms(self) -> float:
        """Milliseconds between start and end, 0 while there is no end."""
        return 0.0 if self.end is None else (self.end - self.start) / 1e6

    def __repr__(self) -> str:
        return f"<SpanRecord {self.sequence} {self.name!r} {self.status}>"


# --- times ---------------------------------------------------------------------------------------


class _Seconds(dict[str, str]):
    """Seconds since 1970, as text, to the beginning of their RFC 3339 time; most spans share a few."""

    def __missing__(self, seconds: str) -> str:
        if len(self) >= _MOST_CACHED:
            self.clear()
        text = (_EPOCH + timedelta(seconds=int(seconds))).isoformat()[:19]
        self[seconds] = text
        return text


class _Keys(dict[str, str]):
    """Attribute keys to their JSON text with the colon; all spans share a few dozen."""

    def __missing__(self, key: str) -> str:
        if len(self) >= _MOST_CACHED:
            self.clear()
        text = self[key] = f"{_quoted(key)}:"
        return text


_seconds: Final = _Seconds()
_keys: Final = _Keys()


def iso_time(ns: int) -> str:
    """Return nanoseconds since 1970 as RFC 3339 in UTC, always with nine digits and ``Z``."""
    if ns >= _SECOND:
        digits = str(ns)
        return f"{_seconds[digits[:-9]]}.{digits[-9:]}Z"
    seconds, rest = divmod(ns, _SECOND)
    return f"{_seconds[str(seconds)]}.{rest:09d}Z"


def parse_time(text: str) -> int:
    """Return an RFC 3339 time as nanoseconds since 1970; digits beyond the ninth are cut off.

    Raises ValueError for anything else, a time without zone included: nobody can tell what it means.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not an RFC 3339 time with a zone")
    day, clock, digits, _, hours, minutes = match.groups()
    moment = datetime.fromisoformat(f"{day}T{clock}+00:00") - _EPOCH
    seconds = moment.days * 86_400 + moment.seconds
    if hours:
        offset = abs(int(hours)) * 3600 + int(minutes) * 60
        seconds += offset if hours[0] == "-" else -offset
    return seconds * _SECOND + int((digits or "0")[:9].ljust(9, "0"))


# --- attribute values ----------------------------------------------------------------------------


def coerce(value: Json) -> Scalar | None:
    """Return the value as the only kinds that the schema knows, or None for one to leave out.

    Lists and maps become compact JSON, bytes base64, numbers that a float64 cannot hold the text
    of themselves (OpenTelemetry, AnyValue for non-OTLP protocols).
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value) if -LARGEST_INT <= value <= LARGEST_INT else _digits(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else _word(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        return json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"))
    return str(value)


def narrowed(attributes: Mapping[str, Json]) -> dict[str, Scalar]:
    """Return the attributes with each value as `coerce` has it, without those to leave out."""
    values = {key: coerce(value) for key, value in attributes.items()}
    return {key: value for key, value in values.items() if value is not None}


def _plain(value: Json) -> Json:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return [_plain(item) for item in sorted(value, key=str)]
    if isinstance(value, int) and not isinstance(value, bool):
        return value if value.bit_length() < _MOST_BITS else hex(value)  # no float64 reads it here
    return coerce(value)


def _digits(value: int) -> str:
    return str(value) if value.bit_length() < _MOST_BITS else hex(value)


def _word(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _members(attributes: Mapping[str, Json]) -> str:
    """Return the attributes as the members of a JSON object, without its braces."""
    parts: list[str] = []
    for key, value in attributes.items():
        kind = type(value)
        if kind is str:
            parts.append(_keys[key] + _quoted(value))
        elif kind is int and -LARGEST_INT <= value <= LARGEST_INT:
            parts.append(f"{_keys[key]}{value}")
        elif kind is bool:
            parts.append(_keys[key] + ("true" if value else "false"))
        elif kind is float and value - value == 0.0:  # finite
            parts.append(f"{_keys[key]}{value!r}")
        elif kind is list and len(value) == 1 and type(value[0]) is str:  # a header of an answer
            parts.append(_keys[key] + _quoted(f"[{_quoted(value[0])}]"))
        else:
            narrowed = coerce(value)
            if narrowed is not None:
                parts.append(_keys[key] + json.dumps(narrowed, ensure_ascii=False))
    return ",".join(parts)


# --- one span as JSON ----------------------------------------------------------------------------


def encode(record: SpanRecord, *, now: int | None = None) -> str:
    """Return the span as the text of one OTelSpan object (seed 000), compact, in the schema's order.

    A span that has not ended gets `now` (or its start) as its end and ``"ended":false``. Both
    spellings of the parent are written: the schema declares both and nobody knows which one is read.
    """
    end = record.end
    if end is None:
        end = record.start if now is None else max(now, record.start)
    attributes = _members(record.attributes)
    extras = extras_of(record)
    if extras:
        if not extras.keys().isdisjoint(record.attributes):  # no key stands twice
            extras = {key: value for key, value in extras.items() if key not in record.attributes}
        attributes = f"{attributes},{_members(extras)}" if attributes else _members(extras)
    trace = f'{{"traceId":"{record.trace_id:032x}","spanId":"'
    tail = f'","traceFlags":{record.flags}}}'
    events = _events(record.events) if record.events else ""
    parent = ""
    if record.parent_id is not None:
        context = f"{trace}{record.parent_id:016x}{tail}"
        parent = f',"parentSpanContext":{context},"parentSpanContenxt":{context}'
    # Seed 000: "Status code (0 = OK, 1 = ERROR)". OpenTelemetry counts UNSET 0, OK 1, ERROR 2.
    return (
        f'{{"name":{_quoted(record.name)},"startTime":"{iso_time(record.start)}","endTime":"{iso_time(end)}"'
        f',"duration":{(end - record.start) / 1e6!r},"attributes":{{{attributes}}}'
        f',"status":{{"code":{1 if record.status == "error" else 0}}}'
        f',"ended":{"true" if record.ended else "false"},"events":[{events}]'
        f',"spanContext":{trace}{record.span_id:016x}{tail}{parent}}}'
    )


def _events(events: list[Event]) -> str:
    return ",".join(
        [
            f'{{"name":{_quoted(name)},"timestamp":"{iso_time(at)}","attributes":{{{_members(attributes)}}}}}'
            for name, at, attributes in events
        ]
    )


def extras_of(record: SpanRecord) -> dict[str, Json]:
    """Return what the schema has no field for, as attributes in a fixed order."""
    extras: dict[str, Json] = {}
    if record.kind != "internal":
        extras[names.SPAN_KIND] = record.kind
    if record.status != "unset":
        extras[names.OTEL_STATUS_CODE] = record.status.upper()
    if record.description:
        extras[names.OTEL_STATUS_DESCRIPTION] = record.description
    if record.tracestate:
        extras[names.W3C_TRACESTATE] = record.tracestate
    if record.links:
        extras[names.OTEL_LINKS] = links_text(record.links)
    if record.origin is not None and record.origin.scope != SCOPE:
        extras.update(_origin_attributes(record.origin))
    return extras


def _origin_attributes(origin: Origin) -> dict[str, Json]:
    shown: dict[str, Json] = {names.OTEL_SCOPE_NAME: origin.scope, names.OTEL_SCOPE_VERSION: origin.version}
    shown |= {key: origin.resource.get(key) for key in (names.SERVICE_NAME, names.SERVICE_VERSION)}
    return {key: value for key, value in shown.items() if value not in (None, "")}


def links_text(links: Sequence[Link]) -> str:
    """Return links as the value of otel.links: a compact JSON list."""
    shown = [
        {
            "traceId": f"{link.trace_id:032x}",
            "spanId": f"{link.span_id:016x}",
            "traceFlags": link.flags,
            "attributes": narrowed(link.attributes),
        }
        for link in links
    ]
    return str(coerce(shown))


def to_bytes(text: str) -> bytes:
    """Return JSON text as UTF-8; half a surrogate pair becomes U+FFFD, since most readers refuse it."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode("utf-8")


def head(name: str, description: str) -> bytes:
    """Return the beginning of an IntegrationFlow document, up to its first span."""
    return to_bytes(f'{{"name":{_quoted(name)},"description":{_quoted(description)},"spans":[')


BETWEEN: Final = b",\n"
TAIL: Final = b"]}\n"


# --- masking -------------------------------------------------------------------------------------


def mask_record(record: SpanRecord, masker: Masker) -> None:
    """Mask every text value of the record in place, and cut values over `LONGEST_VALUE` after that."""
    record.name = _shown(record.name, masker)
    record.description = _shown(record.description, masker)
    record.attributes = _shown_attributes(record.attributes, masker)
    record.events = [(name, at, _shown_attributes(values, masker)) for name, at, values in record.events]
    record.links = tuple(
        Link(link.trace_id, link.span_id, _shown_attributes(link.attributes, masker), link.flags)
        for link in record.links
    )


def _shown_attributes(attributes: Mapping[str, Json], masker: Masker) -> dict[str, Json]:
    return {key: _shown(value, masker) for key, value in attributes.items()}


def _shown(value: Json, masker: Masker) -> Json:
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        shown = masker.mask_json(_plain(value))
        return shown if len(str(coerce(shown))) <= LONGEST_VALUE else _cut(str(coerce(shown)))
    return _cut(masker.mask(str(coerce(value))))


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…"


# --- many spans ----------------------------------------------------------------------------------


class SpanBuffer:
    """The encoded spans of one run, in order of their sequence, in blocks of about a MiB.

    A span costs its bytes and twelve more; nothing is ever joined into one piece.
    """

    def __init__(self) -> None:
        self._blocks: list[bytes] = []
        self._block = bytearray()
        self._places = array("Q")  # number of the block in the high half, offset in the low half
        self._sizes = array("I")
        self.count = 0
        self.size = 0

    def append(self, sequence: int, data: bytes) -> None:
        """Keep the bytes of the span with this sequence; they must not be empty."""
        missing = sequence + 1 - len(self._sizes)
        if missing > 0:
            self._places.extend([0] * missing)
            self._sizes.extend([0] * missing)
        self._places[sequence] = len(self._blocks) << 32 | len(self._block)
        self._sizes[sequence] = len(data)
        self._block += data
        self.count += 1
        self.size += len(data)
        if len(self._block) >= _BLOCK:
            self._blocks.append(bytes(self._block))
            self._block = bytearray()

    def __len__(self) -> int:
        """One more than the highest sequence that was kept; some below it may be missing."""
        return len(self._sizes)

    def get(self, sequence: int) -> bytes | None:
        """Return the bytes of one span, None when it has not been kept."""
        size = self._sizes[sequence] if sequence < len(self._sizes) else 0
        if not size:
            return None
        number, offset = divmod(self._places[sequence], 1 << 32)
        block = self._blocks[number] if number < len(self._blocks) else self._block
        return bytes(block[offset : offset + size])

    def __iter__(self) -> Iterator[bytes]:
        for sequence in range(len(self)):
            data = self.get(sequence)
            if data is not None:
                yield data


# --- ids -----------------------------------------------------------------------------------------


def parse_traceparent(text: str | None) -> RemoteParent | None:
    """Return where a traceparent points to, None for one that W3C Trace Context says to ignore."""
    match = _TRACEPARENT.fullmatch(text or "")
    if match is None or match.group(1) != "00":
        return None
    trace_id, span_id, flags = (int(part, 16) for part in match.groups()[1:])
    return RemoteParent(trace_id, span_id, flags) if trace_id and span_id else None


def format_traceparent(trace_id: int, span_id: int, flags: int = 1) -> str:
    """Return a traceparent header, version 00."""
    return f"00-{trace_id:032x}-{span_id:016x}-{flags:02x}"


def new_ulid(ms: int, random80: int) -> str:
    """Return a ULID: 26 Crockford characters of 48 bits time (milliseconds) and 80 bits chance."""
    value = (ms & (1 << 48) - 1) << 80 | random80 & (1 << 80) - 1
    return "".join(_CROCKFORD[value >> shift & 31] for shift in range(125, -1, -5))


def is_ulid(text: str) -> bool:
    """Return whether the text is a ULID in its canonical spelling."""
    return _ULID.fullmatch(text) is not None


def execution_id(run_id: str, submit_ms: int) -> str:
    """Return execution.id: the run id if it is a ULID, else one made from it (SEMANTICS, Trace)."""
    if is_ulid(run_id):
        return run_id
    return new_ulid(submit_ms, int.from_bytes(sha256(run_id.encode()).digest()[:10], "big"))
