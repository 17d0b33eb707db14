"""The spans of a trace as trees, whoever recorded them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from runner.core.trace import SpanRecord


class Node:
    """A span among the others; `children` stand in the order in which they began."""

    __slots__ = ("children", "parent", "record")

    def __init__(self, record: SpanRecord, parent: Node | None) -> None:
        self.record = record
        self.parent = parent
        self.children: list[Node] = []


def forest(records: Iterable[SpanRecord]) -> list[Node]:
    """Return the roots, in the order in which they began; `records` has parents before their children.

    A span whose parent is not there is a root. Of spans that share an id the first is the parent.
    """
    roots: list[Node] = []
    by_id: dict[tuple[int, int], Node] = {}
    for record in records:
        parent = by_id.get((record.trace_id, record.parent_id or 0))
        node = Node(record, parent)
        by_id.setdefault((record.trace_id, record.span_id), node)
        (roots if parent is None else parent.children).append(node)
    for children in (roots, *(node.children for node in by_id.values())):
        children.sort(key=lambda node: node.record.start)
    return roots


def every_node(roots: Sequence[Node]) -> Iterator[Node]:
    """Yield all nodes, each before its children and these in the order in which they began."""
    stack = [*reversed(roots)]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(reversed(node.children))


def span_of_time(records: Iterable[SpanRecord]) -> tuple[int, int]:
    """Return when the first span began and the last one ended, 0 and 0 without spans.

    Times are nanoseconds since 1970. A span that has no end counts up to its start.
    """
    times = [(record.start, record.start if record.end is None else record.end) for record in records]
    if not times:
        return 0, 0
    return min(start for start, _ in times), max(max(times_of) for times_of in times)
