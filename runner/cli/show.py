"""`runner show`: traces out of files, as waterfalls."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final

from runner.cli.artefacts import Artefact, flaws, make_all, wanted
from runner.cli.options import Options
from runner.cli.output import Output, outputs, problem_line
from runner.cli.summary import closing_row, failure_texts, further_rows, hint_texts
from runner.core.integration_flow import IntegrationFlow
from runner.core.text import close_match
from runner.core.trace import SpanRecord, to_bytes
from runner.core.trace_document import TraceDocument, read_traces
from runner.errors import FlowError, Problem
from runner.report.trace_view import ALL, Choice, TraceView
from runner.report.waterfall import MOST_ROWS, ROLES, WORDS, Row, Signs, clean, duration
from runner.runtime.files import read_document

MAX_TRACES: Final = 256 * 1024 * 1024  # bytes of one file of traces
_MOST_WARNINGS: Final = 5  # per file
_AROUND: Final = 3
_REMEDY: Final = "; a pipe gets them all"
_BLANK: Final[tuple[Row, ...]] = ((("", ""),),)


@dataclass(frozen=True, slots=True)
class Found:
    """A trace and the file that it came from."""

    file: str
    trace: TraceDocument


class FileSource:
    """Traces out of files, for the files that are made of them."""

    def __init__(self, traces: Sequence[TraceDocument]) -> None:
        self._traces = traces

    @property
    def title(self) -> str:
        """The name of the first trace."""
        return self._traces[0].name

    def traces(self) -> Sequence[TraceDocument]:
        """Return them."""
        return self._traces

    def records(self) -> Sequence[SpanRecord]:
        """Return the spans of all of them."""
        return [record for trace in self._traces for record in trace.records]

    def write_integration_flow(self, file: BinaryIO) -> None:
        """Write the only trace."""
        [trace] = self._traces
        IntegrationFlow(trace.name, trace.description, trace.records).write(file)

    def locate(self, _path: str, _where: str) -> str:
        """Return nothing: the flow is not at hand."""
        return ""


def main(options: Options, environ: Mapping[str, str]) -> int:
    """Show traces and return the exit code; raises FlowError for what cannot be read or makes no sense."""
    out, err = outputs(environ, color=not options.no_color)
    artefacts = wanted(options)
    found = _gather(options, artefacts)
    views = [TraceView(one.trace) for one in found]
    choice = Choice(options.errors, options.min_ms or 0.0, options.step)
    _check_step(choice, views)
    made = make_all(artefacts, FileSource([one.trace for one in found]))
    if options.json:
        _print_json(views, choice, out)
    if not options.quiet:
        for file, warnings in _warnings(found).items():
            _warn(file, warnings, err)
        if not options.json:
            _draw([one.file for one in found], views, choice, out)
        (err if options.json else out).rows(further_rows(made.told, "faint", out.signs))
    if out.trouble:
        made.troubles.append(f"cannot write standard output: {out.trouble}")
    for line in made.troubles:
        err.line(line)
    return _AROUND if made.troubles else 0


def present(found: Sequence[Found], options: Options, out: Output) -> None:
    """Show whole traces, as JSON if that is asked for."""
    views = [TraceView(one.trace) for one in found]
    if options.json:
        _print_json(views, Choice(), out)
    else:
        _draw([one.file for one in found], views, Choice(), out)


def _print_json(views: Sequence[TraceView], choice: Choice, out: Output) -> None:
    shown = {"traces": [view.to_json(choice) for view in views]}
    text = json.dumps(shown, ensure_ascii=out.signs.ascii, indent=2)
    out.write(to_bytes(text).decode("utf-8") + "\n")


def _gather(options: Options, artefacts: Sequence[Artefact]) -> list[Found]:
    """Read all files; raises FlowError with everything that is wrong with them and with the flags."""
    problems = flaws(artefacts, options.files)
    found: list[Found] = []
    for file in dict.fromkeys(options.files):
        name = "standard input" if file == "-" else file
        most = options.max_document or MAX_TRACES
        try:
            data = read_document(file, most)
            found += [Found(name, trace) for trace in read_traces(data, name, max_bytes=most)]
        except FlowError as error:
            problems += error.problems
    if options.trace_out is not None and len(found) > 1:
        what = f"an IntegrationFlow holds one trace, and here are {len(found)}; --otlp-json takes them all"
        problems.append(Problem("usage.artefact", "--trace-out", what))
    if problems:
        raise FlowError(problems)
    return found


def _check_step(choice: Choice, views: Sequence[TraceView]) -> None:
    if choice.step is None:
        return
    steps = dict.fromkeys(step for view in views for step in view.steps())
    if choice.step not in steps:
        what = f"no step {choice.step!r} in the trace{close_match(choice.step, steps)}"
        raise FlowError([Problem("usage.step", "--step", what)])


def _warnings(found: Sequence[Found]) -> dict[str, list[str]]:
    told: dict[str, list[str]] = {}
    for one in found:
        for problem in one.trace.warnings:
            line = problem_line(problem)
            told.setdefault(one.file, []).append(line if problem.place else f"{one.file}: {line}")
    return told


def _warn(file: str, warnings: Sequence[str], err: Output) -> None:
    for line in warnings[:_MOST_WARNINGS]:
        err.line(line)
    if len(warnings) > _MOST_WARNINGS:
        err.line(f"{file}: {len(warnings) - _MOST_WARNINGS} more warnings")


def _draw(files: Sequence[str], views: Sequence[TraceView], choice: Choice, out: Output) -> None:
    """Draw each trace that has something to show; a terminal gets so many rows, a pipe all."""
    most, remedy = (MOST_ROWS, _REMEDY) if out.is_terminal else (ALL, "")
    drawn = 0
    for file, view in zip(files, views, strict=True):
        rows = view.rows(choice, out.width, out.signs, most=most, remedy=remedy)
        if rows or choice == Choice():
            out.rows([*_BLANK[: drawn > 0], *rows, *trace_summary(view, file, out.signs)])
            drawn += 1
    if not drawn:
        out.rows(further_rows(["no span matches"], "faint", out.signs))


def trace_summary(view: TraceView, file: str, signs: Signs) -> Iterator[Row]:
    """Yield the closing rows of a trace out of a file."""
    if not view.trace.records:
        yield closing_row("skipped", f"no spans in {clean(file, signs)}", signs)
        return
    counts = ", ".join(f"{count} {WORDS[state]}" for state, count in view.counts.items())
    status = "succeeded" if view.state == "ok" else WORDS[view.state]
    yield closing_row(view.state, f"{status} in {duration(view.duration_ms)}: {counts}", signs)
    if (line := view.failure) is not None:
        yield from further_rows(failure_texts(line, view.cut, None), ROLES[line.state], signs)
    yield from further_rows(hint_texts(view.hints), "skipped", signs)
    if view.longest:
        longest = ", ".join(f"{name} ({duration(ms)})" for name, ms in view.longest)
        path = f"{signs.critical} critical path, mostly {longest}"
        yield from further_rows([path], "critical", signs)
    yield from further_rows([f"trace {view.trace.records[0].trace_id:032x}, {file}"], "faint", signs)
