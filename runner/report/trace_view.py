"""A whole trace, whoever recorded it, made ready to be looked at: rows for people, JSON for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Final

from runner.core import names
from runner.core.commands import Json
from runner.core.trace import SpanRecord, iso_time
from runner.core.trace_document import TraceDocument
from runner.report.critical_path import Section, critical_path
from runner.report.forest import Node, every_node, forest, span_of_time
from runner.report.waterfall import (
    MOST_CUT,
    MOST_HINTS,
    UNICODE,
    Hint,
    Line,
    Row,
    Signs,
    State,
    choose,
    draw,
    hints_of,
    rest_row,
)

ALL: Final = 10**9  # rows
_LONGEST: Final = 3  # spans of the critical path that are named


TRACE_FIELDS: Final = {
    "name": "The flow's name, or that of the outermost span.",
    "description": "The description, where the file has one.",
    "traceId": "32 hexadecimal digits; null without spans.",
    "status": "How it ended: `succeeded`, `failed`, `timed_out`, `cancelled`, or `running`.",
    "startTime": "When its first span began, RFC 3339 with nanoseconds.",
    "durationMs": "Milliseconds from there to its last end.",
    "criticalPath": (
        "The chain that determined the end, in order of time and without overlap: `spanId`, `name`, and"
        " in `startMs` and `durationMs` the time that was spent in that span itself."
    ),
    "spans": "The spans that `--errors`, `--min-ms` and `--step` leave, parents before children.",
}
"""The fields of a trace in `show --json`, with what they hold; the reference page lists them."""

SPAN_FIELDS: Final = {
    "spanId": "16 hexadecimal digits.",
    "parentSpanId": "That of the span around it, or null; it need not be in the file.",
    "name": "The name of the span.",
    "kind": "`internal`, `client`, `server`, `producer` or `consumer`.",
    "service": "The service that recorded it, where the file tells.",
    "taskId": "The id of the step, where it is one.",
    "taskType": "What kind of step it is.",
    "path": "The step's path in the run.",
    "status": (
        "`ok`, `failed`, `handled` (failed, and the flow dealt with it), `skipped`, `cancelled`,"
        " `timed_out` or `running`."
    ),
    "startMs": "Milliseconds after the start of the trace.",
    "durationMs": "Milliseconds that it took.",
    "httpStatus": "The status code of the answer; for a step that of its last answer.",
    "attempts": "How many attempts the step made.",
    "code": "The code of the failure, or the reason of the skip.",
    "message": "What went wrong, or why it was skipped.",
    "place": "The place in the flow's document that the failure belongs to.",
    "critical": "Whether it is on the critical path; a root that stands alone never is.",
    "criticalMs": "Milliseconds of the critical path that were spent in it itself.",
}
"""The fields of a span in `show --json`, with what they hold."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which spans are wanted: all of these must be true of one. Its ancestors are shown with it.

    `errors`: it failed. `min_ms`: it took so many milliseconds. `step`: it is that step (a task id or
    a step path), or below it.
    """

    errors: bool = False
    min_ms: float = 0.0
    step: str | None = None


class TraceView:
    """What there is to see of a trace; `start` and `end` are nanoseconds since 1970.

    `roots` are its spans as trees, `lines` what is shown of each.
    """

    def __init__(self, trace: TraceDocument) -> None:
        self.trace = trace
        self.start, self.end = span_of_time(trace.records)
        self.hints: list[Hint] = []
        self.roots = forest(trace.records)
        self._nodes = [*every_node(self.roots)]
        self.lines: dict[Node, Line] = {}
        self._shown: list[Line] = []  # those that get rows of their own
        for node in self._nodes:
            self._add(node)
        for line in sorted(self._shown, key=lambda one: (one.end or self.end, -one.sequence)):
            line.tell_parent()
        self._mark_path()
        self._name_services()

    # --- made ready

    def _add(self, node: Node) -> None:
        parent = None if node.parent is None else self.lines[node.parent]
        line = self.lines[node] = Line(node.record, parent)
        if node.record.ended:
            line.ended(node.record)
        line.sealed(node.record)
        self.hints += hints_of(line, node.record)[: MOST_HINTS - len(self.hints)]
        if parent is not None and _is_send(node):
            parent.take_send(line)
            parent.status = line.status
        else:
            self._shown.append(line)

    def _mark_path(self) -> None:
        """Mark what is on the critical path, and add up what each span took of it."""
        self.path = critical_path(self.trace.records)
        on_path = {id(record) for record in self.path.records}
        for node, line in self.lines.items():
            # That the only root is on it says nothing.
            line.critical = id(node.record) in on_path and (node.parent is not None or len(self.roots) > 1)
        self._own_time: Counter[int] = Counter()  # nanoseconds
        for section in self.path.sections:
            self._own_time[id(section.record)] += section.end - section.start

    def _name_services(self) -> None:
        """Where several services took part, put the name of each where the trace comes to it."""
        if len({service_of(node.record) for node in self._nodes}) < 2:
            return
        for node, line in self.lines.items():
            service = service_of(node.record)
            if service and (node.parent is None or service_of(node.parent.record) != service):
                line.name += f" ({service})"

    # --- being asked

    @property
    def state(self) -> State:
        """How the trace ended, as its roots tell."""
        states = {self.lines[root].state for root in self.roots}
        return next((state for state in _WORST if state in states), "ok")

    @property
    def duration_ms(self) -> float:
        """Milliseconds from its first start to its last end."""
        return (self.end - self.start) / 1e6

    @property
    def counts(self) -> Counter[State]:
        """How many spans ended in each way, attempts aside."""
        return Counter(line.state for line in self._shown)

    @property
    def failure(self) -> Line | None:
        """What it failed of: the first failure that nothing handled, at its innermost."""
        failed = [line for line in self._shown if line.is_failure and line.parent is None]
        if not failed:
            failed = [line for line in self._shown if line.is_failure and not is_handled(line)]
        if not failed:
            return None
        return min(failed, key=lambda line: (line.end or self.end, -line.sequence)).innermost

    @property
    def cut(self) -> list[str]:
        """The first steps that the end of the run cut off."""
        return [*dict.fromkeys(line.path for line in self._shown if line.was_cut)][:MOST_CUT]

    @property
    def longest(self) -> list[tuple[str, float]]:
        """The spans that took most of the critical path, a step with its attempts, with milliseconds."""
        if not any(line.critical for line in self._shown):
            return []
        own = {*self._shown}
        took: Counter[Line] = Counter()
        for node, line in self.lines.items():
            if spent := self._own_time[id(node.record)]:
                took[line if line in own or line.parent is None else line.parent] += spent
        return [(line.name, spent / 1e6) for line, spent in took.most_common(_LONGEST)]

    def steps(self) -> Iterator[str]:
        """Yield every name that `Choice.step` may have."""
        for node in self._nodes:
            yield from _ids(node.record)

    def matching(self, choice: Choice) -> list[Line]:
        """Return the lines of the spans that are wanted, in the order of the tree."""
        below: set[Line] = set()
        found = []
        for node in self._nodes:
            line = self.lines[node]
            if choice.step is None or line.parent in below or choice.step in _ids(node.record):
                below.add(line)
                if (line.is_failure or not choice.errors) and self._took_ms(line) >= choice.min_ms:
                    found.append(line)
        return found

    def _took_ms(self, line: Line) -> float:
        return ((line.end or self.end) - line.start) / 1e6

    def rows(
        self, choice: Choice, width: int, signs: Signs = UNICODE, *, most: int = ALL, remedy: str = ""
    ) -> list[Row]:
        """Return the rows of what is wanted: at most `most`, failures and the critical path first.

        `remedy` stands in the row that counts the rest.
        """
        own = {*self._shown}
        matching = [line for line in self.matching(choice) if line in own]
        failed = (line for line in matching if line.is_failure)
        critical = (line for line in matching if line.critical)
        chosen = choose(chain(failed, critical, matching), most)
        if not chosen:
            return []
        rows = draw(chosen, width, self.end, signs, window=(self.start, self.end))
        rest = Counter(line.state for line in matching if line not in chosen)
        return [*rows, *rest_row(rest, width, signs, remedy)]

    def to_json(self, choice: Choice) -> dict[str, Json]:
        """Return the trace as JSON values: `TRACE_FIELDS`, with only the wanted ones of its spans."""
        wanted = {*self.matching(choice)}
        records = self.trace.records
        values = (
            self.trace.name,
            self.trace.description,
            f"{records[0].trace_id:032x}" if records else None,
            "succeeded" if self.state == "ok" else self.state,
            iso_time(self.start) if records else None,
            self.duration_ms,
            [self._section_json(section) for section in self.path.sections],
            [self._span_json(node) for node in self._nodes if self.lines[node] in wanted],
        )
        return dict(zip(TRACE_FIELDS, values, strict=True))

    def _section_json(self, section: Section) -> dict[str, Json]:
        return {
            "spanId": f"{section.record.span_id:016x}",
            "name": section.record.name,
            "startMs": (section.start - self.start) / 1e6,
            "durationMs": (section.end - section.start) / 1e6,
        }

    def _span_json(self, node: Node) -> dict[str, Json]:
        record, line = node.record, self.lines[node]
        values = (
            f"{record.span_id:016x}",
            None if record.parent_id is None else f"{record.parent_id:016x}",
            record.name,
            record.kind,
            service_of(record) or None,
            record.attributes.get(names.TASK_ID),
            record.attributes.get(names.TASK_TYPE),
            line.path or None,
            line.state,
            (record.start - self.start) / 1e6,
            self._took_ms(line),
            line.status,
            line.attempts or None,
            line.code or None,
            line.text or None,
            line.where or None,
            line.critical,
            self._own_time[id(record)] / 1e6,
        )
        return dict(zip(SPAN_FIELDS, values, strict=True))


_WORST: Final[tuple[State, ...]] = ("failed", "timed_out", "cancelled", "running")


def _is_send(node: Node) -> bool:
    """Tell whether a span is one attempt of our own, which can be told of in the row of its step."""
    record, parent = node.record, node.parent
    if record.kind != "client" or node.children or parent is None or parent.record.kind == "client":
        return False
    task = record.attributes.get(names.TASK_ID)
    return task is not None and parent.record.attributes.get(names.TASK_ID) == task


def is_handled(line: Line) -> bool:
    """Return whether the flow handled a failure, there or further out."""
    at: Line | None = line
    while at is not None:
        if at.state == "handled":
            return True
        at = at.parent
    return False


def _ids(record: SpanRecord) -> set[str]:
    found = (record.attributes.get(names.TASK_ID), record.attributes.get(names.STEP_PATH))
    return {one for one in found if isinstance(one, str)}


def service_of(record: SpanRecord) -> str:
    """Return the name of the service that recorded a span, an empty text where nothing tells."""
    told = record.origin.resource if record.origin is not None else record.attributes
    return str(told.get(names.SERVICE_NAME) or "")
