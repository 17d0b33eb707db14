"""Traces as JUnit XML, the form in which CI systems (Jenkins, GitLab, GitHub) read test results.

- A suite is a trace, so the run of a flow. A case is a step; its name is the step's path.
- Where steps are made of steps, the innermost are the cases: those of a sub-flow (``session/login``)
  and the items of a loop (``start[2]``). What holds them is a case only when it failed of something
  else than they did, or holds none. Polls, attempts and token requests belong to their step.
- A failure that the flow handled is no failure here either, nor is one inside of what was handled; the
  case says so in `system-out`. So a report has a failure or an error exactly if the run did not succeed.
- What was cut off (cancelled, timed out) or has not ended is an error, a skipped step is skipped.
- A trace without any step, of other software, has its roots for cases.

The elements and attributes are those that the schema of Jenkins' xUnit plugin knows (junit-10).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from runner.core import names
from runner.core.trace import iso_time
from runner.core.trace_document import TraceDocument
from runner.report.forest import Node
from runner.report.trace_view import TraceView, is_handled
from runner.report.waterfall import Line

Verdict = Literal["passed", "failure", "error", "skipped"]
Locate: TypeAlias = Callable[[str, str], str]
"""From a step's path and a place in its document to file, line and column, or an empty text."""

_LEAVES: Final = frozenset(("http", "condition", "delay", "set", "until", "script", "external"))
_VERDICTS: Final[dict[str, Verdict]] = {
    "failed": "failure",
    "skipped": "skipped",
    "cancelled": "error",
    "timed_out": "error",
    "running": "error",
}
_SENT: Final = (names.HTTP_REQUEST_METHOD, names.URL_FULL)
_ANSWERED: Final = (names.HTTP_RESPONSE_STATUS_CODE, names.ERROR_TYPE)
_BAD: Final = ("failure", "error")
# XML 1.0, production 2: what a document cannot hold, not even as a reference.
_ILLEGAL: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Case:
    """A step as a test."""

    name: str
    ms: float
    verdict: Verdict
    code: str
    message: str
    details: tuple[str, ...]


def junit(traces: Sequence[TraceDocument], locate: Locate | None = None) -> bytes:
    """Return the report as UTF-8; `locate` tells where in its file a failure stands."""
    report = Element("testsuites")
    every: Counter[Verdict] = Counter()
    for trace in traces:
        every += _suite(report, trace, locate)
    _count(report, every)
    indent(report)
    data: bytes = tostring(report, encoding="utf-8", xml_declaration=True)
    return data + b"\n"


def _suite(report: Element, trace: TraceDocument, locate: Locate | None) -> Counter[Verdict]:
    view = TraceView(trace)
    found = cases(view, locate)
    counts = Counter(case.verdict for case in found)
    suite = SubElement(report, "testsuite", name=_text(trace.name))
    _count(suite, counts)
    suite.set("skipped", str(counts["skipped"]))
    suite.set("time", _seconds(view.duration_ms))
    if trace.records:
        suite.set("timestamp", iso_time(view.start)[:19])
        properties = SubElement(suite, "properties")
        first = trace.records[0]
        told = {"trace.id": f"{first.trace_id:032x}", names.RUN_ID: first.attributes.get(names.RUN_ID)}
        for name, value in told.items():
            if value is not None:
                SubElement(properties, "property", name=name, value=_text(str(value)))
    for case in found:
        _write_case(suite, trace.name, case)
    return counts


def _count(element: Element, counts: Counter[Verdict]) -> None:
    element.set("tests", str(counts.total()))
    element.set("failures", str(counts["failure"]))
    element.set("errors", str(counts["error"]))


def _write_case(suite: Element, flow: str, case: Case) -> None:
    element = SubElement(
        suite, "testcase", classname=_text(flow), name=_text(case.name), time=_seconds(case.ms)
    )
    details = _text("\n".join(case.details))
    if case.verdict == "passed":
        if details:
            SubElement(element, "system-out").text = details
        return
    verdict = SubElement(element, case.verdict, message=_text(case.message))
    if case.code:
        verdict.set("type", _text(case.code))
    verdict.text = details or None


def _seconds(ms: float) -> str:
    return f"{ms / 1000:.3f}"


def _text(text: str) -> str:
    return _ILLEGAL.sub("", text)


# --- which spans are cases -----------------------------------------------------------------------


def cases(view: TraceView, locate: Locate | None = None) -> list[Case]:
    """Return the steps of a trace as cases, in the order in which they began."""
    found: list[Case] = []
    walk: list[tuple[Node, int | None]] = [(root, None) for root in reversed(view.roots)]
    while walk:
        node, before = walk.pop()
        if before is None and not _is_leaf(node):
            walk.append((node, len(found)))  # to be seen again after everything below it
            walk += [(child, None) for child in reversed(node.children)]
        elif before is None or (_is_step(node) and _tells_more(view.lines[node], found[before:])):
            found.insert(len(found) if before is None else before, _case(node, view.lines[node], locate))
    return found or [_case(root, view.lines[root], locate) for root in view.roots]


def _is_leaf(node: Node) -> bool:
    return _is_step(node) and node.record.attributes.get(names.TASK_TYPE) in _LEAVES


def _is_step(node: Node) -> bool:
    attributes = node.record.attributes
    return (
        node.record.kind not in ("client", "consumer")
        and names.TASK_ID in attributes
        and names.POLL not in attributes
    )


def _tells_more(line: Line, below: Sequence[Case]) -> bool:
    """Tell whether a step that is made of steps failed of something else than they did, or has none."""
    return not below or (_verdict(line) in _BAD and not any(case.verdict in _BAD for case in below))


def _verdict(line: Line) -> Verdict:
    verdict = _VERDICTS.get(line.state, "passed")
    if verdict in _BAD and is_handled(line):
        return "passed"
    return "error" if verdict == "failure" and line.code == "internal" else verdict


def _case(node: Node, line: Line, locate: Locate | None) -> Case:
    record = node.record
    message = line.text or line.code or line.state
    if line.state == "skipped":
        message = ": ".join(text for text in (line.code, line.text) if text)
    return Case(
        name=line.path or line.name,
        ms=record.duration_ms,
        verdict=_verdict(line),
        code=line.code,
        message=message,
        details=tuple(_details(node, line, locate)),
    )


def _details(node: Node, line: Line, locate: Locate | None) -> Iterator[str]:
    """Yield what there is to know of a failure: what it was, where that stands, and what was sent."""
    if not line.is_failure:
        return
    handled = "failed, and the flow handled it: " if is_handled(line) else ""
    yield f"{handled}{line.text or line.code or line.state}"
    place = locate(line.path, line.where) if locate is not None else ""
    if place or line.where:
        yield " ".join(["at", *filter(None, (place, line.where))])
    for child in node.children:
        record = child.record
        if record.kind == "client":
            told = record.attributes
            sent = " ".join(str(told[key]) for key in _SENT if key in told) or record.name
            yield f"{sent}: {next((told[key] for key in _ANSWERED if key in told), 'no answer')}"
