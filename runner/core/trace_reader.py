"""What reading any spelling of a trace has in common: collecting problems, ids, and the order of spans."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from runner.core.commands import Json
from runner.core.text import kind_of
from runner.core.trace import SpanRecord
from runner.errors import Place, Problem

_HEX: Final = re.compile(r"[0-9A-Fa-f]+")


class TraceReader:
    """Collects what is wrong while it reads, so that all of it is told at once."""

    def __init__(self) -> None:
        self.errors: list[Problem] = []
        self.warnings: list[Problem] = []
        self.place: Place | None = None  # of what is being read, for its problems

    def wrong(self, code: str, where: str, what: str) -> None:
        """Note an error; `code` is the part after ``trace.``."""
        self.errors.append(Problem(f"trace.{code}", where, what, place=self.place))

    def guess(self, where: str, what: str, code: str = "guessed") -> None:
        """Note a warning."""
        self.warnings.append(Problem(f"trace.{code}", where, what, "warning", self.place))

    def mapping(self, value: Json, where: str) -> dict[str, Json]:
        """Return an object; anything else is wrong and reads as an empty one."""
        if isinstance(value, dict):
            return value
        self.wrong("type", where, f"expected an object, got {kind_of(value)}")
        return {}

    def hex_id(self, members: dict[str, Json], key: str, digits: int, where: str) -> int:
        """Return a trace or span id, 0 for a wrong one."""
        text = members.get(key)
        if isinstance(text, str) and len(text) == digits and _HEX.fullmatch(text) and text.strip("0"):
            return int(text, 16)
        self.wrong(
            "id", f"{where}.{key}", f"{text!r} is not {digits} hexadecimal digits, at least one of them not 0"
        )
        return 0

    def in_order(self, records: list[SpanRecord], where: Callable[[int], str]) -> list[SpanRecord]:
        """Return the spans with parents before children, numbered so; what has them so keeps its order.

        Other tools write spans as they end, children first. Those are put in order of their start,
        and an ancestor that started no earlier than its child is moved in front of it. `where`
        tells where the span with a number stands, for one that is its own ancestor.
        """
        parents = _parents(records)
        if self.errors or all(parent < at for at, parent in enumerate(parents)):
            return records
        ordered: list[SpanRecord] = []
        placed: set[int] = set()
        for record in sorted(records, key=lambda span: span.start):
            branch: list[SpanRecord] = []
            at = record.sequence
            while at >= 0 and at not in placed:
                placed.add(at)
                branch.append(records[at])
                at = parents[at]
            if at >= 0 and records[at] in branch:
                self.wrong("parents", where(at), "the span is among its own ancestors; correct its parent")
            ordered += reversed(branch)
        for number, record in enumerate(ordered):
            record.sequence = number
        return ordered


def _parents(records: Sequence[SpanRecord]) -> list[int]:
    """Return where the parent of each span stands first, -1 where there is none."""
    places = {(span.trace_id, span.span_id): number for number, span in reversed([*enumerate(records)])}
    return [places.get((span.trace_id, span.parent_id or 0), -1) for span in records]
