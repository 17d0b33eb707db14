"""Bytes to traces, whatever tool wrote them: the dialect is recognised by the keys of the document."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from runner.core import json_document, names
from runner.core.commands import Json
from runner.core.document import MAX_BYTES, MAX_DEPTH, Document, parse
from runner.core.integration_flow import read
from runner.core.otlp_json import OTLP_KEYS, from_requests
from runner.core.trace import SpanRecord
from runner.errors import FlowError, Place, Problem

Dialect = Literal["integration-flow", "otlp-json", "spans"]
_Line: TypeAlias = tuple[Place, Json]

_SPAN_KEYS: Final = frozenset(("spanContext",))
_BOM: Final = b"\xef\xbb\xbf"
_SPAN_NUMBER: Final = re.compile(r"spans\[([0-9]+)\]")
_DIALECTS: Final = (
    "an IntegrationFlow has 'spans', a list of them 'flows',"
    " OTLP/JSON 'resourceSpans' and a single span 'spanContext'"
)


@dataclass(frozen=True, slots=True)
class TraceDocument:
    """One trace of a file; its records stand parents before children."""

    name: str
    description: str
    records: Sequence[SpanRecord]
    dialect: Dialect
    warnings: tuple[Problem, ...] = ()


def read_traces(
    data: bytes, name: str, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH
) -> list[TraceDocument]:
    """Return the traces in a file called `name`: one per IntegrationFlow, or one per trace id.

    It may hold an IntegrationFlow, a list answer of Versori, OTLP/JSON, or lines of OTLP/JSON or of
    spans. Raises FlowError with every Problem: those of documents and those called ``trace.*``.
    """
    if data.removeprefix(_BOM).lstrip()[:1] == b"<":
        what = f"no trace of a known kind: this is HTML or XML; {_DIALECTS}"
        raise FlowError([Problem("trace.dialect", "", what, place=Place(name, 1, 1))])
    if len(data) <= max_bytes and _has_lines(data):
        return _read_lines(data, name, max_depth)
    document = parse(data, name=name, max_bytes=max_bytes, max_depth=max_depth)
    try:
        return _read_document(document)
    except FlowError as error:
        raise FlowError(document.located(error.problems)) from None


def _read_document(document: Document) -> list[TraceDocument]:
    value = document.value
    if "spans" in value:
        return [_integration_flow(value)]
    if isinstance(value.get("flows"), list):
        return _integration_flows(value["flows"])
    if OTLP_KEYS & value.keys():
        return _by_trace(from_requests([(value, None)]), "otlp-json", document.name)
    if "spanContext" in value:
        return _spans([(Place(document.name, 1, 1), value)], document.name)
    raise FlowError([_unknown(value, None)])


def _unknown(value: Json, place: Place | None) -> Problem:
    keys = ", ".join(map(repr, [*value][:8])) if isinstance(value, dict) else ""
    what = f"no trace of a known kind: found {keys or 'no key'}; {_DIALECTS}"
    return Problem("trace.dialect", "", what, place=place)


# --- IntegrationFlow -----------------------------------------------------------------------------


def _integration_flow(value: Json) -> TraceDocument:
    flow = read(value)
    return TraceDocument(flow.name, flow.description, flow.spans, "integration-flow", flow.warnings)


def _integration_flows(values: list[Json]) -> list[TraceDocument]:
    flows: list[TraceDocument] = []
    problems: list[Problem] = []
    for number, value in enumerate(values):
        try:
            flow = _integration_flow(value)
        except FlowError as error:
            problems += _below(number, error.problems)
        else:
            flows.append(replace(flow, warnings=_below(number, flow.warnings)))
    if problems:
        raise FlowError(problems)
    return flows


def _below(number: int, problems: Sequence[Problem]) -> tuple[Problem, ...]:
    prefix = f"flows[{number}]"
    return tuple(
        replace(problem, where=f"{prefix}.{problem.where}" if problem.where else prefix)
        for problem in problems
    )


# --- lines ---------------------------------------------------------------------------------------


def _has_lines(data: bytes) -> bool:
    """Tell whether the first line is a whole object and more follow."""
    first, _, rest = data.removeprefix(_BOM).lstrip().partition(b"\n")
    if not first.startswith(b"{") or not rest or rest.isspace():
        return False
    try:
        json.loads(first)
    except (ValueError, RecursionError):
        return False
    return True


def _read_lines(data: bytes, name: str, max_depth: int) -> list[TraceDocument]:
    lines: list[_Line] = []
    problems: list[Problem] = []
    warnings: tuple[Problem, ...] = ()
    texts = data.removeprefix(_BOM).split(b"\n")
    for number, text in enumerate(texts, 1):
        try:
            if text.strip():
                lines.append((Place(name, number, 1), _line(text, name, number, max_depth)))
        except FlowError as error:
            if number == len(texts):  # no line break behind it
                what = "the last line is not whole, as when its writer was ended; it is left out"
                warnings = (Problem("trace.cut_off", "", what, "warning", error.problems[0].place),)
            else:
                problems += error.problems
    if problems:
        raise FlowError(problems)
    first, *others = _traces_of(lines, name)
    return [replace(first, warnings=(*first.warnings, *warnings)), *others]


def _line(data: bytes, name: str, number: int, max_depth: int) -> Json:
    try:
        return json_document.load(data.decode("utf-8"), name, max_depth, data)
    except UnicodeDecodeError:
        what = "the line is not UTF-8; save the file as UTF-8"
        raise FlowError([Problem("document.encoding", "", what, place=Place(name, number, 1))]) from None
    except FlowError as error:
        found = error.problems[0]
        column = found.place.column if found.place else 1
        raise FlowError([found.at(Place(name, number, column))]) from None


def _traces_of(lines: list[_Line], name: str) -> list[TraceDocument]:
    is_span = "spanContext" in lines[0][1]
    wanted = _SPAN_KEYS if is_span else OTLP_KEYS
    unknown = [
        _unknown(value, place)
        for place, value in lines
        if not isinstance(value, dict) or not wanted & value.keys()
    ]
    if unknown:
        raise FlowError(unknown)
    if is_span:
        return _spans(lines, name)
    return _by_trace(from_requests((value, place) for place, value in lines), "otlp-json", name)


def _spans(lines: list[_Line], name: str) -> list[TraceDocument]:
    """Read lines of spans as one IntegrationFlow, and give its problems the places of the lines."""

    def placed(problem: Problem) -> Problem:
        match = _SPAN_NUMBER.match(problem.where)
        if match is None:
            return problem
        return replace(problem, where=problem.where[match.end() + 1 :], place=lines[int(match[1])][0])

    try:
        flow = read({"name": "", "description": "", "spans": [value for _, value in lines]})
    except FlowError as error:
        raise FlowError([placed(problem) for problem in error.problems]) from None
    return _by_trace(flow.spans, "spans", name, tuple(map(placed, flow.warnings)))


def _by_trace(
    records: Sequence[SpanRecord], dialect: Dialect, file: str, warnings: tuple[Problem, ...] = ()
) -> list[TraceDocument]:
    """Return a document per trace id; a span that was sent twice counts once."""
    traces: dict[int, dict[int, SpanRecord]] = {}
    for record in records:
        traces.setdefault(record.trace_id, {}).setdefault(record.span_id, record)
    documents = [
        TraceDocument(_label([*spans.values()], file), "", [*spans.values()], dialect)
        for spans in traces.values()
    ] or [TraceDocument(_stem(file), "", [], dialect)]
    for document in documents:
        for number, record in enumerate(document.records):
            record.sequence = number
    return [replace(documents[0], warnings=warnings), *documents[1:]]


def _label(records: Sequence[SpanRecord], file: str) -> str:
    """Return the name of the flow, else that of the outermost span, else that of the file."""
    name = records[0].attributes.get(names.WORKFLOW_DEFINITION_NAME)
    return name if isinstance(name, str) and name else records[0].name or _stem(file)


def _stem(file: str) -> str:
    return re.split(r"[/\\]", file)[-1].partition(".")[0]
