"""Spans under the names that the Versori platform's own runs have, as far as those are known.

What is public: spans are called ``<task type>-<task id>``; ``webhook`` and ``schedule`` start a run; a
chain is made of ``fn`` and ``http`` tasks; the trace search knows ``connection``, ``error.stack``,
``url.path`` and ``url.query``. No trace of the platform itself is public: a first one may correct this.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from typing import Final
from urllib.parse import urlsplit

from runner.core import names
from runner.core.commands import Json
from runner.core.trace import Event, SpanRecord
from runner.platforms.versori_flow import trigger_id

TRIGGER: Final = "webhook"
TYPES: Final = {"http": "http", names.TASK_FLOW: "workflow"}
OTHER_TYPE: Final = "fn"


def renamed(records: Sequence[SpanRecord]) -> list[SpanRecord]:
    """Return copies of the spans under native names; what they were is kept in attributes."""
    connections = dict(_connections(records))
    return [_renamed(record, connections.get(record.span_id)) for record in records]


def _connections(records: Sequence[SpanRecord]) -> Iterator[tuple[int | None, Json]]:
    """Yield the host that a step calls, by the id of the step's span; the last one counts."""
    for record in records:
        if record.kind == "client" and names.SERVER_ADDRESS in record.attributes:
            yield record.parent_id, record.attributes[names.SERVER_ADDRESS]


def _renamed(record: SpanRecord, connection: Json) -> SpanRecord:
    new = copy(record)
    new.attributes = {**record.attributes}
    task_type, task_id = (record.attributes.get(key) for key in (names.TASK_TYPE, names.TASK_ID))
    if record.kind == "client":
        new.name = str(record.attributes.get(names.HTTP_REQUEST_METHOD, record.name))
        _split_url(new.attributes)
    elif isinstance(task_type, str) and isinstance(task_id, str):
        is_root = record.parent_id is None and task_type == names.TASK_FLOW
        native = TRIGGER if is_root else TYPES.get(task_type, OTHER_TYPE)
        shown = trigger_id(task_id) if is_root else task_id
        new.name = names.step_span_name(native, shown)
        new.attributes |= {names.TASK_TYPE: native, names.TASK_ID: shown, names.STEP_TYPE: task_type}
    if connection is not None:
        new.attributes[names.CONNECTION] = connection
    if names.ERROR_MESSAGE in record.attributes:
        stack = new.attributes[names.ERROR_STACK] = _stack(record.attributes)
        new.events = [_with_stack(event, stack) for event in record.events]
    return new


def _split_url(attributes: dict[str, Json]) -> None:
    try:
        _, _, path, query, _ = urlsplit(str(attributes[names.URL_FULL]))
    except (KeyError, ValueError):  # a trace of somebody else's
        return
    attributes[names.URL_PATH] = path or "/"
    if query:
        attributes[names.URL_QUERY] = query


def _stack(attributes: dict[str, Json]) -> str:
    code = attributes.get(names.FAILURE_CODE) or attributes.get(names.ERROR_TYPE) or "error"
    place = attributes.get(names.FAILURE_PLACE)
    return f"{code}: {attributes[names.ERROR_MESSAGE]}" + (f"\n    at {place}" if place else "")


def _with_stack(event: Event, stack: str) -> Event:
    name, at, attributes = event
    if name != names.EVENT_EXCEPTION:
        return event
    return name, at, {**attributes, names.EXCEPTION_STACKTRACE: stack}
