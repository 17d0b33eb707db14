"""The critical path of a trace: the chain of spans that determined when it ended.

It is walked backwards, from the end of a span to its start. What a span waited for last is the
child that ended last before the moment that is looked at. The span's own time is from there to that
moment; the walk goes through the child in the same way, and goes on in the span at the start of
that child. Children that were still running at that start decided nothing. This is what Jaeger shows
under the same name. In detail:

- The sections follow one another without overlap or gap from the start of a root to its end. Time in
  which no child on the path ran (a delay, a backoff, work of its own) belongs to the span around it.
- A child counts only as far as it lies inside its parent; one of no length, such as a skipped step,
  never does. Of children that ended at the same time, the one that began first counts.
- Several roots are walked as if one span went around them; time in which none of them ran belongs to
  nobody.
- A span that has not ended counts up to the last time in the trace.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from runner.core import names
from runner.core.trace import SpanRecord
from runner.report.forest import Node, forest, span_of_time

Window: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the path: from `start` to `end` (ns since 1970) everything waited for `record` itself."""

    record: SpanRecord
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class CriticalPath:
    """The chain that determined the end of a trace, in order of time; empty for a trace of no length.

    `sections` are the times that spans took themselves. `records` are the spans that the chain leads
    through, each before what it waited for in it, so also containers that took no time themselves.
    """

    sections: tuple[Section, ...]
    records: tuple[SpanRecord, ...]


class _Visit:
    """A span on the walk; `moment` is how far back the walk has come in it."""

    __slots__ = ("_children", "moment", "node", "start")

    def __init__(self, node: Node | None, children: Sequence[Node], window: Window, last: int) -> None:
        self.node = node
        self.start, self.moment = start, end = window
        inside = [
            (max(child.record.start, start), min(_end(child.record, last), end), child)
            for child in reversed(children)
            if names.CLAIM not in child.record.attributes  # a worker's part: what it did stands beside it
        ]
        self._children = sorted(inside, key=lambda one: (one[1], -one[0]))

    def waited_for(self, last: int) -> _Visit | None:
        """Return the child that ended last before the moment, None where there is none."""
        while self._children:
            start, end, child = self._children.pop()
            if start < end <= self.moment:
                return _Visit(child, child.children, (start, end), last)
        return None


def _end(record: SpanRecord, last: int) -> int:
    return record.end if record.ended and record.end is not None else last


def critical_path(records: Sequence[SpanRecord]) -> CriticalPath:
    """Return the critical path; `records` has parents before their children, as traces are read."""
    window = span_of_time(records)
    last = window[1]
    sections: list[Section] = []
    passed: list[SpanRecord] = []
    walk = [_Visit(None, forest(records), window, last)]
    while walk:
        visit = walk[-1]
        child = visit.waited_for(last)
        begun = visit.start if child is None else child.moment
        if visit.node is not None and begun < visit.moment:
            sections.append(Section(visit.node.record, begun, visit.moment))
        if child is not None:
            visit.moment = child.start
            walk.append(child)
            continue
        walk.pop()
        if visit.node is not None:
            passed.append(visit.node.record)
    return CriticalPath(tuple(reversed(sections)), tuple(reversed(passed)))
