"""A trace as text: one row per step, as a tree, with bars to the scale of the run.

A `Waterfall` is told of spans as they open, end and are sealed, by a run that goes on or by whoever
reads a trace from a file, and draws rows of any width at any time. It keeps only what it may still
draw. A span's name, state and numbers are taken when they are known; all other text only from the
sealed record, which is masked. Text comes from servers, so control characters are written out.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Final, Literal, TypeAlias

from runner.core import names
from runner.core.commands import Json
from runner.core.trace import SpanRecord

State = Literal["running", "ok", "failed", "handled", "skipped", "cancelled", "timed_out"]
Role = Literal["", "ok", "failed", "skipped", "running", "faint", "critical"]
Row: TypeAlias = tuple[tuple[str, Role], ...]
"""The pieces of one line of text, each with what it stands for; a terminal gives it a colour."""

MOST_ROWS: Final = 200
MOST_SENDS: Final = 10  # rows for the sends of one step; the newest
MOST_HINTS: Final = 20
MOST_CUT: Final = 5
_NARROW: Final = 60  # below this there is no room for bars
_WIDEST_BAR: Final = 40
_DURATION: Final = 8
_INDENTS: Final = 8

_ODD: Final = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff]"
)
WORDS: Final[dict[State, str]] = {
    "running": "running",
    "ok": "ok",
    "failed": "failed",
    "handled": "failed (handled)",
    "skipped": "skipped",
    "cancelled": "cancelled",
    "timed_out": "timed out",
}
ROLES: Final[dict[State, Role]] = {
    "running": "running",
    "ok": "ok",
    "failed": "failed",
    "handled": "skipped",
    "skipped": "skipped",
    "cancelled": "failed",
    "timed_out": "failed",
}
_RESULTS: Final[dict[object, State]] = {
    "skip": "skipped",
    "timeout": "timed_out",
    "cancellation": "cancelled",
    "cancelled": "cancelled",
}
_CUT: Final = frozenset({"cancelled", "timed_out"})
_FAILURES: Final = _CUT | {"failed", "handled"}


@dataclass(frozen=True, slots=True)
class Signs:
    """The characters that rows are drawn with."""

    states: dict[State, str]
    bar: str
    branch: str
    last: str
    through: str
    more: str
    critical: str
    ascii: bool = False


UNICODE: Final = Signs(
    {
        "running": "▸",
        "ok": "✓",
        "failed": "✗",
        "handled": "✗",
        "skipped": "–",
        "cancelled": "✗",
        "timed_out": "✗",
    },
    *("█", "├ ", "└ ", "│ ", "…", "◆"),
)
ASCII: Final = Signs(
    {
        "running": ">",
        "ok": "+",
        "failed": "x",
        "handled": "x",
        "skipped": "-",
        "cancelled": "x",
        "timed_out": "x",
    },
    *("=", "|-", "`-", "| ", "...", "*"),
    ascii=True,
)


class Line:
    """What is known of one span; `parent` is None for the run. Times are nanoseconds since 1970.

    `sends` counts the requests sent for it and `sent` holds the newest of them; `cause` is the
    failure below it that came first. `text`, `code`, `where` and `path` come from the sealed record.
    `critical` says that it is on the critical path, as far as that is known.
    """

    __slots__ = (
        "attempts", "cause", "code", "critical", "end", "id", "name", "parent", "path", "sends", "sent",
        "sequence", "start", "state", "status", "text", "where",
    )  # fmt: skip

    def __init__(self, record: SpanRecord, parent: Line | None) -> None:
        self.name = record.name + turn(record)
        self.parent = parent
        self.sequence = record.sequence
        self.start = record.start
        self.end: int | None = None
        self.state: State = "running"
        self.status: int | None = None
        self.attempts = 0
        self.sends = 0
        self.sent: deque[Line] | None = None
        self.cause: Line | None = None
        self.critical = False
        self.id = ""
        self.text = ""
        self.code = ""
        self.where = ""
        self.path = ""

    @property
    def is_failure(self) -> bool:
        """Whether it ended in an error, handled or not."""
        return self.state in _FAILURES

    @property
    def was_cut(self) -> bool:
        """Whether the end of the run cut it off, and nothing below it."""
        return self.parent is not None and self.cause is None and self.state in _CUT

    @property
    def innermost(self) -> Line:
        """The failure that it failed of, itself if nothing below it failed."""
        line = self
        while line.cause is not None:
            line = line.cause
        return line

    def take_send(self, line: Line) -> None:
        """Take note of a request that is sent for it."""
        self.sends += 1
        if self.sent is None:
            self.sent = deque(maxlen=MOST_SENDS)
        self.sent.append(line)

    def tell_parent(self) -> None:
        """Make it the cause of its parent's failure, if it is the first that nothing handled."""
        if self.parent is not None and self.is_failure and self.state != "handled":
            self.parent.cause = self.parent.cause or self

    def ended(self, record: SpanRecord) -> None:
        """Take state and numbers from a record that has ended."""
        attributes = record.attributes
        self.end = record.end
        self.state = state_of(record)
        status = next((attributes[key] for key in names.STATUS_CODES if key in attributes), None)
        self.status = status if isinstance(status, int) else self.status
        attempts = attributes.get(names.STEP_ATTEMPTS)
        self.attempts = attempts if isinstance(attempts, int) else 0

    def sealed(self, record: SpanRecord) -> None:
        """Take the texts, which are masked now."""
        attributes = record.attributes
        self.id = str(attributes.get(names.TASK_ID) or "")
        self.path = str(attributes.get(names.STEP_PATH) or self.id)
        self.where = str(attributes.get(names.FAILURE_PLACE) or "")
        if self.state == "skipped":
            self.code = str(attributes.get(names.SKIP_REASON) or "")
            self.text = str(attributes.get(names.SKIP_DETAIL) or "")
        elif self.is_failure:
            self.code = str(attributes.get(names.FAILURE_CODE) or attributes.get(names.ERROR_TYPE) or "")
            told = attributes.get(names.ERROR_MESSAGE) or record.description or _exception_message(record)
            self.text = str(told or ("" if self.status else self.code))


def _exception_message(record: SpanRecord) -> Json:
    messages = (event[2].get(names.EXCEPTION_MESSAGE) for event in record.events)
    return next((message for message in messages if message), None)


def turn(record: SpanRecord) -> str:
    """Return which item, poll or visit a span is, spelled as in a step path."""
    forms = ((names.INDEX, "[{}]"), (names.POLL, "~{}"), (names.STEP_VISIT, "#{}"))
    found = ((record.attributes.get(key), form) for key, form in forms)
    return "".join(form.format(value) for value, form in found if isinstance(value, int))


def state_of(record: SpanRecord) -> State:
    """Return how a span ended, or that it has not."""
    if not record.ended:
        return "running"
    result = record.attributes.get(names.WORKFLOW_EXECUTION_RESULT) or record.attributes.get(names.ERROR_TYPE)
    if record.kind == "client" and result == "timeout":  # one attempt that took too long
        return "failed"
    if isinstance(result, str) and result in _RESULTS:
        return _RESULTS[result]
    if record.status != "error":
        return "ok"
    return "handled" if record.attributes.get(names.FAILURE_HANDLED) else "failed"


@dataclass(frozen=True, slots=True)
class Hint:
    """Something that a person should know of a step although it did not fail it."""

    step: str
    event: str
    text: str


class Waterfall:
    """The rows of one run; at most `most` steps that did not fail, and as many that did, are kept."""

    def __init__(self, most: int = MOST_ROWS) -> None:
        self._most = most
        self._open: dict[int, Line] = {}
        self._first: list[Line] = []
        self._recent: deque[Line] = deque(maxlen=most)
        self._failed: list[Line] = []
        self._counts: Counter[State] = Counter()
        self.root: Line | None = None
        self.hints: list[Hint] = []
        self.cut: list[str] = []  # the first steps that the end of the run cut off

    # --- being told

    def opened(self, record: SpanRecord) -> None:
        """Take note of a span that has begun."""
        parent = self._open.get(record.parent_id or 0)
        line = self._open[record.span_id] = Line(record, parent)
        if record.kind == "client" and parent is not None:
            parent.take_send(line)
            return
        self.root = self.root or line
        self._counts["running"] += 1
        if len(self._first) < self._most:
            self._first.append(line)

    def ended(self, record: SpanRecord) -> Line:
        """Take note of a span that has ended; state and numbers are known now."""
        line = self._open[record.span_id]
        line.ended(record)
        if record.kind == "client" and line.parent is not None:
            line.parent.status = line.status
            return line
        self._counts["running"] -= 1
        self._counts[line.state] += 1
        self._recent.append(line)
        if line.is_failure and len(self._failed) < self._most:
            self._failed.append(line)
        line.tell_parent()
        return line

    def sealed(self, record: SpanRecord) -> Line:
        """Take the texts of a span, which are masked and final."""
        line = self._open.pop(record.span_id)
        line.sealed(record)
        self.hints += hints_of(line, record)[: MOST_HINTS - len(self.hints)]
        was_cut = record.kind != "client" and line.was_cut
        if was_cut and line.path not in self.cut and len(self.cut) < MOST_CUT:
            self.cut.append(line.path)
        return line

    # --- being asked

    @property
    def failure(self) -> Line | None:
        """The failure that the run failed of: the first that nothing handled, at its innermost."""
        cause = self.root.cause if self.root is not None else None
        return cause.innermost if cause is not None else None

    def rows(
        self, width: int, now: int, signs: Signs = UNICODE, *, most: int | None = None, newest: bool = False
    ) -> list[Row]:
        """Return the rows as they are at `now`, at most `most` and one that counts the rest.

        Failures come first, then what runs, then the `newest` steps or the first ones.
        """
        rest: Iterable[Line] = reversed(self._recent) if newest else self._first
        candidates = chain(self._first[:1], self._failed, self._running(), rest)
        chosen = choose(candidates, self._most if most is None else most)
        if self.root is None or not chosen:
            return []
        rows = draw(chosen, width, now, signs, window=(self.root.start, self.root.end or now))
        return [*rows, *rest_row(self._counts - Counter(line.state for line in chosen), width, signs)]

    def _running(self) -> Iterator[Line]:
        return (line for line in self._open.values() if line.end is None and line.name and not _is_send(line))


def hints_of(line: Line, record: SpanRecord) -> list[Hint]:
    """Return what the events of a sealed record tell that a person should know."""
    return [
        Hint(line.path, name, reason)
        for name, _, attributes in record.events
        if name in (names.EVENT_RETRY_WITHHELD, names.EVENT_OUTPUT_MISSING)
        and isinstance(reason := attributes.get(names.REASON), str)
    ]


def choose(candidates: Iterable[Line], most: int) -> set[Line]:
    """Return the first candidates, with their ancestors and sends not more than `most` rows."""
    chosen: set[Line] = set()
    for line in candidates:
        missing = [one for one in _ancestry(line) if one not in chosen]
        cost = sum(1 + len(_sends(one)) for one in missing)
        if cost <= most:
            chosen.update(missing)
            most -= cost
    return chosen


def draw(
    chosen: set[Line], width: int, now: int, signs: Signs = UNICODE, *, window: tuple[int, int]
) -> list[Row]:
    """Return a row for each of the lines, as they are at `now`, with bars to the scale of the window."""
    tree = list(_tree(chosen, signs))
    layout = _Layout(tree, width, signs, window)
    return [layout.row(label, line, now) for label, line in tree]


def rest_row(rest: Counter[State], width: int, signs: Signs, remedy: str = "") -> list[Row]:
    """Return the row that counts what has no row, if there is something."""
    if not rest.total():
        return []
    shown = ", ".join(f"{count} {WORDS[state]}" for state, count in rest.items())
    return [((fit(f"{signs.more} {rest.total()} more: {shown}{remedy}", width, signs), "faint"),)]


def _is_send(line: Line) -> bool:
    return line.parent is not None and line.parent.sent is not None and line in line.parent.sent


def _ancestry(line: Line) -> Iterator[Line]:
    at: Line | None = line
    while at is not None:
        yield at
        at = at.parent


def _sends(line: Line) -> Sequence[Line]:
    """Return the sends that get rows of their own: one alone is told of in its step's row."""
    return tuple(line.sent) if line.sent is not None and line.sends > 1 else ()


def _begun(line: Line) -> tuple[int, int]:
    return line.start, line.sequence


def _tree(chosen: set[Line], signs: Signs) -> Iterator[tuple[str, Line]]:
    """Yield each line with its label, drawn as a tree in the order in which things began."""
    below: dict[Line | None, list[Line]] = {}
    for line in sorted(chosen, key=_begun):
        below.setdefault(line.parent, []).append(line)
        if sends := _sends(line):
            below.setdefault(line, []).extend(sends)
    stack = [("", "", line) for line in reversed(below.get(None, ()))]
    while stack:
        own, indent, line = stack.pop()
        yield own + clean(line.name, signs), line
        children = sorted(below.get(line, ()), key=_begun)
        indent = indent[: _INDENTS * 2]
        for child in reversed(children):
            is_last = child is children[-1]
            sign, further = (signs.last, "  ") if is_last else (signs.branch, signs.through)
            stack.append((indent + sign, indent + further, child))


class _Layout:
    """How wide each column of the rows is."""

    def __init__(
        self, tree: Sequence[tuple[str, Line]], width: int, signs: Signs, window: tuple[int, int]
    ) -> None:
        self.width, self.signs, self.start = max(width, 20), signs, window[0]
        self.span = max(window[1] - window[0], 1)
        self.mark = 2 * any(line.critical for _, line in tree)
        self.label = min(max(cells(label) for label, _ in tree), self.width * 2 // 5)
        notes = max(cells(note(line, signs)) for _, line in tree) + 2
        room = self.width - self.label - self.mark - _DURATION - 3
        self.bar = 0
        if self.width >= _NARROW:
            self.bar = max(10, min(room - min(notes, room * 2 // 3), _WIDEST_BAR))

    def row(self, label: str, line: Line, now: int) -> Row:
        """Return one row, never wider than the width."""
        role = ROLES[line.state]
        end = now if line.end is None else line.end
        took = "" if line.state == "skipped" else duration((end - line.start) / 1e6)
        label = fit(label, self.label, self.signs)
        pieces: list[tuple[str, Role]] = [(label + " " * (self.label - cells(label) + 1), "")]
        if self.mark:
            pieces.append((f"{self.signs.critical if line.critical else ' '} ", "critical"))
        if self.bar:
            pieces.append((self._bar(line, end) + " ", role))
        pieces.append((f"{took:>{_DURATION}} ", "faint"))
        used = self.label + 1 + self.mark + (self.bar + 1 if self.bar else 0) + _DURATION + 1
        text = f"{self.signs.states[line.state]} {note(line, self.signs)}"
        pieces.append((fit(text, self.width - used, self.signs), role))
        return tuple(pieces)

    def _bar(self, line: Line, end: int) -> str:
        if line.state == "skipped":
            return " " * self.bar
        before = min(self.bar - 1, max(0, (line.start - self.start) * self.bar // self.span))
        long = max(1, -(-(end - line.start) * self.bar // self.span))
        return (" " * before + self.signs.bar * min(long, self.bar - before)).ljust(self.bar)


def note(line: Line, signs: Signs = UNICODE) -> str:
    """Return state, HTTP status, attempts, and the reason of a skip or a failure, in one line."""
    return _note(line, signs, "")


def step_line(line: Line, signs: Signs = UNICODE) -> str:
    """Return one line of text for a step that has ended, without a bar."""
    took = ""
    if line.end is not None and line.state != "skipped":
        took = f" in {duration((line.end - line.start) / 1e6)}"
    return f"{signs.states[line.state]} {clean(line.path or line.name, signs)}: {_note(line, signs, took)}"


def _note(line: Line, signs: Signs, took: str) -> str:
    shown = WORDS[line.state]
    if line.status is not None and line.state != "skipped":
        shown += f" {line.status}"
    attempts = line.attempts or (line.sends if line.state == "running" else 0)
    if attempts > 1:
        shown += f", {attempts} attempts"
    if line.state == "skipped" and line.code:
        shown += f" ({line.code})"
    # What a failure below has told already is not told again, nor what the state says itself.
    told = line.cause is not None or line.state in _CUT
    return f"{shown}{took}: {clean(line.text, signs)}" if line.text and not told else shown + took


def duration(ms: float) -> str:
    """Return milliseconds in at most eight characters: ``0.4 ms``, ``312 ms``, ``1.24 s``, ``12 m 03 s``."""
    if ms < 9.95:
        return f"{ms:.1f} ms"
    if ms < 999.5:
        return f"{ms:.0f} ms"
    if ms < 59_995:
        return f"{ms / 1000:.2f} s"
    minutes, seconds = divmod(round(ms / 1000), 60)
    return f"{minutes}m {seconds:02}s" if minutes < 100 else f"{minutes // 60}h {minutes % 60:02}m"


def plain(row: Row) -> str:
    """Return a row as text, without blanks at its end."""
    return "".join(text for text, _ in row).rstrip()


# --- text that may hold anything -----------------------------------------------------------------


def clean(text: str, signs: Signs = UNICODE) -> str:
    """Return the text in one line, with every character that could steer a terminal written out."""
    shown = _ODD.sub(_written_out, text)
    return shown.encode("ascii", "backslashreplace").decode("ascii") if signs.ascii else shown


def _written_out(match: re.Match[str]) -> str:
    code = ord(match[0])
    if match[0] in "\t\n\r":
        return " "
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def cells(text: str) -> int:
    """Return how many columns of a terminal the text takes."""
    if text.isascii():
        return len(text)
    return sum(map(_cell, text))


@lru_cache(maxsize=1024)  # a large trace is drawn with the same few signs over and over
def _cell(character: str) -> int:
    from unicodedata import category, east_asian_width

    if category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if east_asian_width(character) in "WF" else 1


def fit(text: str, width: int, signs: Signs = UNICODE) -> str:
    """Return the text, cut to `width` columns with a sign that there was more."""
    if cells(text) <= width:
        return text
    room, end = width - len(signs.more), 0
    while (taken := cells(text[end])) <= room:
        room -= taken
        end += 1
    return (text[:end] + signs.more)[: max(width, 0)]
