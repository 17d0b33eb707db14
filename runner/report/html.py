"""Traces as one HTML page that needs nothing else: no server, no network, no file beside it.

The page's own files (`runner/report/page`) are texts here; whoever may read files hands them in.
The spans stand in the page as one block of JSON, which the scripts draw:

- ``keys`` and ``values``: every attribute key, and every name and attribute value, once.
- ``traces``: each with ``name``, ``description``, ``id``, ``start`` (RFC 3339), ``state``, ``spans``,
  ``critical``, and as ``cause`` the number of the span that it failed of, or null.
- a span: ``[depth, name, start, duration, state, kind, id, attributes, events]`` in the order of the
  tree, times in nanoseconds after the start of the trace; a name is a place in ``values``.
- attributes: ``[key, value, key, value, …]``, places in ``keys`` and ``values``.
- an event: ``[name, time, attributes]``.
- ``critical``: ``[span, from, to]``, the number of a span and the time in which the end waited for it.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from typing import Final

from runner.core import names
from runner.core.commands import Json
from runner.core.trace import SpanRecord, coerce, extras_of, iso_time, to_bytes
from runner.core.trace_document import TraceDocument
from runner.report.forest import Node
from runner.report.trace_view import TraceView
from runner.report.waterfall import Line, State, clean

MOST_VALUES: Final = 6_000_000  # bytes of all values; beyond it long ones are cut
_LENGTHS: Final = (16_384, 4_096, 1_024, 256)  # characters that are tried, in this order
SCRIPTS: Final = ("trace", "timeline", "steps", "detail", "page")  # in this order; each ends in .js
_SLOT: Final = re.compile(r"\{\{(\w+)\}\}")


@dataclass(frozen=True, slots=True)
class PageFiles:
    """The texts of page.html, page.css and the scripts, these one after the other."""

    page: str
    style: str
    script: str


def html_page(title: str, traces: Sequence[TraceDocument], files: PageFiles) -> bytes:
    """Return the page of some traces as UTF-8; it shows one of them, and lets the reader choose."""
    policy = (
        f"default-src 'none'; script-src '{_hash(files.script)}'; style-src '{_hash(files.style)}';"
        " img-src data:; base-uri 'none'; form-action 'none'"
    )
    slots = {
        "title": escape(clean(title)),
        "policy": escape(policy),
        "style": files.style,
        "script": files.script,
        "data": data_block(traces),
    }
    return to_bytes(_SLOT.sub(lambda slot: slots[slot[1]], files.page))


def _hash(text: str) -> str:
    """Return what a Content-Security-Policy calls a script or style of this text."""
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


def data_block(traces: Sequence[TraceDocument]) -> str:
    """Return the traces as JSON that can stand between script tags, in the shape that the module tells."""
    keys, values = _Table(), _Table()
    told = [_trace(trace, keys, values) for trace in traces if trace.records]
    shown = f'{{"keys":{_json(keys.items)},"values":{_fitting(values.items)},"traces":{_json(told)}}}'
    # No tag ends or begins in it; U+2028 ends a line in older scripts.
    return shown.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _json(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _fitting(values: list[Json]) -> str:
    """Return the values as JSON of at most `MOST_VALUES` bytes, if cutting long texts can reach that."""
    text = _json(values)
    for longest in _LENGTHS:
        if len(to_bytes(text)) <= MOST_VALUES:
            break
        text = _json([_cut(value, longest) for value in values])
    return text


def _cut(value: Json, longest: int) -> Json:
    if not isinstance(value, str) or len(value) <= longest:
        return value
    return f"{value[:longest]}… ({len(value) - longest} more characters are left out of this page)"


class _Table:
    """Gives each different item a number, from 0 in the order of its first use."""

    def __init__(self) -> None:
        self.items: list[Json] = []
        self._places: dict[tuple[type, Json], int] = {}

    def place(self, item: Json) -> int:
        known = (type(item), item)  # 1, 1.0 and True are equal, and shown differently
        found = self._places.get(known)
        if found is None:
            found = self._places[known] = len(self.items)
            self.items.append(item)
        return found


def _trace(trace: TraceDocument, keys: _Table, values: _Table) -> Json:
    view = TraceView(trace)
    start, failure = view.start, view.failure

    def pairs(attributes: Mapping[str, Json]) -> list[int]:
        places: list[int] = []
        for key, given in attributes.items():
            if (value := coerce(given)) is not None:
                places += keys.place(key), values.place(value)
        return places

    shown: list[Json] = []
    places: dict[int, int] = {}
    cause: int | None = None
    for depth, state, span, line in _in_tree(view):
        cause = len(shown) if line is failure else cause
        places[id(span)] = len(shown)
        shown.append(
            [
                depth,
                values.place(line.name),
                span.start - start,
                (view.end if line.end is None else line.end) - span.start,
                state,
                span.kind,
                f"{span.span_id:016x}",
                pairs(span.attributes | extras_of(span) | span.attributes),  # no key stands twice
                [[values.place(name), at - start, pairs(attributes)] for name, at, attributes in span.events],
            ]
        )
    sections = view.path.sections
    return {
        "name": trace.name,
        "description": trace.description,
        "id": f"{trace.records[0].trace_id:032x}",
        "start": iso_time(start),
        "state": view.state,
        "cause": cause,
        "spans": shown,
        "critical": [[places[id(one.record)], one.start - start, one.end - start] for one in sections],
    }


def _in_tree(view: TraceView) -> Iterator[tuple[int, State, SpanRecord, Line]]:
    """Yield each span with its depth and state, parents before children.

    Failed attempts of a step that did not fail, and failures below a handled one, are handled too.
    """
    above: dict[Node | None, tuple[int, State]] = {None: (-1, "failed")}
    for node, line in view.lines.items():
        depth, around = above[node.parent]
        is_attempt = node.record.kind == "client" and names.TASK_ID in node.record.attributes
        is_handled = around == "handled" or (around == "ok" and is_attempt)
        state: State = "handled" if line.state == "failed" and is_handled else line.state
        above[node] = depth + 1, state
        yield depth + 1, state, node.record, line
