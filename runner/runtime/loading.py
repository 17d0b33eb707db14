"""From a file, a folder of files or a Python value to a flow and its plan."""

from __future__ import annotations

import gc
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from weakref import finalize

from runner.core.commands import Json
from runner.core.compiled import FileWork, HttpWork, MultipartWork, Plan, StepPlan
from runner.core.document import MAX_BYTES, MAX_DEPTH, Document, parse
from runner.core.model import Flow, Steps
from runner.core.plan import build_plan, located
from runner.core.template import Template
from runner.errors import Problem, StepError
from runner.platforms import read
from runner.platforms.aids import Aids
from runner.runtime.files import FileReader, FileSource, read_document

_plans: dict[int, tuple[LoadSettings, Plan]] = {}  # by the identity of a flow that is alive


@dataclass(frozen=True, slots=True)
class LoadSettings:
    """What a document may be; `allow_files` are folders that it may read besides its own.

    `dialect` is the only one that the document may be in, unless it is None; `files` are read in place
    of the disk. `aids` are given to the document that was asked for, not to those that it names.
    """

    max_bytes: int = MAX_BYTES
    max_depth: int = MAX_DEPTH
    allow_files: Sequence[Path] = ()
    dialect: str | None = None
    files: FileSource | None = None
    aids: Aids | None = None


def load(source: str | Path | Mapping[str, Json], settings: LoadSettings | None = None) -> Flow:
    """Read a flow from a file (``-``: standard input) or a Python value.

    Raises FlowError with every Problem when it is no flow. What is wrong inside a flow is told by
    `check`.
    """
    limits = settings or LoadSettings()
    with collector_paused():
        return _load(source, limits)


def _load(source: str | Path | Mapping[str, Json], limits: LoadSettings) -> Flow:
    if isinstance(source, Mapping):
        return read(Document.of(dict(source), max_depth=limits.max_depth), limits.dialect, limits.aids)
    path = Path(source)
    flow = _flow_of(document_at(str(source), limits), limits)
    return flow if str(source) == "-" else replace(flow, home=str(path.resolve().parent), source=path.name)


def load_bytes(data: bytes, name: str, limits: LoadSettings) -> Flow:
    """Read a flow from the bytes of a document that is called `name`; raises FlowError."""
    return _flow_of(parse(data, name=name, max_bytes=limits.max_bytes, max_depth=limits.max_depth), limits)


def _flow_of(document: Document, limits: LoadSettings) -> Flow:
    flow = read(document, limits.dialect, limits.aids)
    document.forget()  # the flow has what it needs, and a large document is heavy
    data = document.data
    if data is not None and isinstance(flow.steps, Steps):
        flow.steps.again = lambda: load_bytes(data, document.name, limits).steps
    return flow


def document_at(path: str, limits: LoadSettings) -> Document:
    """Return the document in a file (``-``: standard input); raises FlowError."""
    data = read_document(path, limits.max_bytes)
    name = "<stdin>" if path == "-" else path
    return parse(data, name=name, max_bytes=limits.max_bytes, max_depth=limits.max_depth)


def plan_of(flow: Flow, settings: LoadSettings | None = None) -> Plan:
    """Compile a flow and the flows that it runs as steps; once for all runs of the same flow."""
    limits = settings or LoadSettings()
    kept = _plans.get(id(flow))
    if kept is None or kept[0] != limits:
        with collector_paused():
            plan = build_plan(flow, FlowFiles(flow, limits) if flow.home else None)
        if kept is None:
            finalize(flow, _plans.pop, id(flow), None)
        kept = _plans[id(flow)] = limits, plan
    return kept[1]


@contextmanager
def collector_paused() -> Iterator[None]:
    """Keep the garbage collector from walking a growing document again and again; it holds no cycles.

    What was made meanwhile counts as old afterwards, or it would be walked all the same at once.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            if not gc.get_freeze_count():  # the program around us has frozen nothing of its own
                gc.freeze()
                gc.unfreeze()
            gc.enable()


def sent_files(plan: Plan) -> Iterator[tuple[Plan, StepPlan, str, Template]]:
    """Yield the files that steps send: the plan, the step, the place of the path, the path."""
    for inner in plan.with_inner():
        for step in inner.steps:
            body = step.work.body if isinstance(step.work, HttpWork) else None
            if isinstance(body, FileWork):
                yield inner, step, f"{step.where}.bodyFile", body.path
            for name, part in body.parts if isinstance(body, MultipartWork) else ():
                if part.file is not None:
                    yield inner, step, f"{step.where}.multipart.{name}", part.file


def path_of(flow: Flow, template: Template) -> str:
    """Return the path from the home of the flow of a file that it sends and whose name is constant."""
    return posixpath.normpath(posixpath.join(flow.folder, template.source))


def remarks(plan: Plan, files: FileSource | None) -> Iterator[Problem]:
    """Yield a warning for each key that stands twice in a document, and for each file that is not there.

    Reads JSON once more. A file may still come, or its step be skipped, so it forbids no run.
    """
    for inner in plan.with_inner():
        if inner.flow.document is not None:
            yield from inner.flow.document.warnings
    if files is None:
        return
    for inner, _, where, template in sent_files(plan):
        if template.constant:
            try:
                # This reads nothing: a file that is there is too large.
                files.read_now(path_of(inner.flow, template), 0)
            except StepError as error:
                if error.code != "file.too_large":
                    yield from located(inner.flow, [Problem(error.code, where, error.message, "warning")])


def check(flow: Flow, settings: LoadSettings | None = None) -> tuple[Problem, ...]:
    """Return everything that is wrong with a flow, errors and warnings, in the order of the document."""
    limits = settings or LoadSettings()
    files = FlowFiles(flow, limits) if flow.home else None
    plan = build_plan(flow, files)
    return in_order((*remarks(plan, files.files if files is not None else None), *plan.problems))


def in_order(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    """Sort problems as they stand in their files."""

    def place(problem: Problem) -> tuple[str, int, int]:
        at = problem.place
        return (at.file, at.line, at.column) if at is not None else ("", 0, 0)

    return tuple(sorted(problems, key=place))


class FlowFiles:
    """Reads the flows that a flow names, below its own folder, from `files`; `read` are those it has read."""

    def __init__(self, flow: Flow, limits: LoadSettings) -> None:
        self._home = flow.home
        self._limits = limits
        self.files = limits.files or FileReader(Path(flow.home), limits.allow_files)
        self._shown = posixpath.dirname(flow.document.name) if flow.document is not None else ""
        self.read: dict[str, Flow] = {}

    def __call__(self, path: str, by: Flow) -> Flow:
        """Return the flow at `path`, seen from `by`; raises StepError or FlowError."""
        source = posixpath.normpath(posixpath.join(by.folder, path))
        if source not in self.read:
            data = self.files.read_now(source, self._limits.max_bytes)
            limits = replace(self._limits, dialect=None, aids=None)
            flow = load_bytes(data, posixpath.join(self._shown, source), limits)
            self.read[source] = replace(flow, home=self._home, source=source)
        return self.read[source]
