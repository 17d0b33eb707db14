"""React Flow documents, as GASSAPI's visual editor has them: read, and turned to Steps and back.

They come as the body of a UI update (`{name, flow_data: {nodes, edges, viewport}}`), as a row whose
parts are JSON texts, and bare. What the two forms are to each other: `react_flow_drawing`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from runner.core.commands import Json
from runner.core.document import Document
from runner.core.model import Flow
from runner.errors import FlowError, Problem, Severity
from runner.platforms import steps
from runner.platforms.react_flow_drawing import (
    OLD_TYPES,
    TYPES,
    Data,
    Drawing,
    Turned,
    draw,
    is_drawing,
    kind_of_step,
    object_in,
    parse,
    step_of,
    turn,
)
from runner.platforms.steps import RECORD_KEYS

KNOWN_TYPES: Final = (*TYPES.values(), *OLD_TYPES)
_PART: Final = re.compile(r"(steps|edges)\[([0-9]+)\](.*)", re.DOTALL)


def recognises(document: Document) -> bool:
    """Whether the document is a React Flow document, alone or as the `flow_data` of a flow."""
    return is_drawing(_parts(document)[1])


def read(document: Document) -> Flow:
    """Read a drawing as the flow that it stands for; what is wrong with either stands in `Flow.problems`."""
    record, data, is_wrapped = _parts(document)
    drawing = parse(data)
    turned = turn(data, drawing)
    value = _joined(record, turned.data, is_wrapped=is_wrapped)
    spell = partial(_spelled, turned, "flow_data." if is_wrapped else "")
    flow = steps.read(replace(document, value=value, spell=spell))
    # A circle is one of the steps too, and told when they are planned.
    loose = [problem for problem in drawing.problems if problem.code != "graph.cycle"]
    return replace(flow, problems=(*loose, *_unknown(drawing, "error"), *flow.problems))


def to_steps(document: Document) -> tuple[Data, tuple[Problem, ...]]:
    """Return a drawing in the Steps format, and a warning for each node that is kept and cannot be run.

    Raises FlowError with all that is wrong with the graph.
    """
    record, data, is_wrapped = _parts(document)
    drawing = parse(data)
    _refuse(document, drawing.problems, is_wrapped=is_wrapped)
    made = _joined(*_beside(record, data, drawing), is_wrapped=is_wrapped)
    return made, document.located(_prefixed(_unknown(drawing, "warning"), is_wrapped=is_wrapped))


def from_steps(document: Document) -> tuple[Data, tuple[Problem, ...]]:
    """Return a Steps document as React Flow; raises FlowError with all that cannot be drawn."""
    record, data, is_wrapped = _parts(document)
    try:
        drawn = draw(data, _parsed(document, record, "ui_data"))
    except FlowError as error:
        _refuse(document, error.problems, is_wrapped=is_wrapped)
    if "ui_data" in drawn:
        record = {**record, "ui_data": drawn.pop("ui_data")}
    else:
        alone = {name: value for name, value in record.items() if name != "ui_data"}
        record = alone if _beside(alone, drawn, parse(drawn)) == (record, data) else record
    return _joined(record, drawn, is_wrapped=is_wrapped), ()


def _parts(document: Document) -> tuple[Data, Data, bool]:
    """Return what a document says of the flow, its `flow_data`, and whether that stands under this name."""
    value = document.value
    if "flow_data" in value:
        data = _parsed(document, value, "flow_data")
        rest = {name: one for name, one in value.items() if name != "flow_data"}
        return rest, data if isinstance(data, dict) else {}, True
    record = {name: one for name, one in value.items() if name in RECORD_KEYS}
    return record, {name: one for name, one in value.items() if name not in RECORD_KEYS}, False


def _parsed(document: Document, record: Mapping[str, Json], name: str) -> Json:
    """Return a value that a row of the API holds as JSON text; None when the text is none."""
    value = record.get(name)
    try:
        return document.embedded(name, value).value if isinstance(value, str) else value
    except FlowError:
        return None


def _joined(record: Data, data: Data, *, is_wrapped: bool) -> Data:
    return {**record, "flow_data": data} if is_wrapped else {**record, **data}


def _beside(record: Data, data: Data, drawing: Drawing) -> tuple[Data, Data]:
    """Return the record and the Steps of a drawing; the record keeps it if the Steps alone do not tell it.

    A record that has some `ui_data` already keeps that in the drawing.
    """
    made = turn(data, drawing).data
    old = record.get("ui_data")
    try:
        is_told = draw(made, object_in(old) if isinstance(old, str) else old) == data
    except FlowError:
        is_told = False
    if is_told and old != data:
        return record, made
    inside = {"ui_data": old} if "ui_data" in record else {}
    return {**record, "ui_data": {**data, **inside}}, made


def _prefixed(problems: Iterable[Problem], *, is_wrapped: bool) -> list[Problem]:
    prefix = "flow_data." if is_wrapped else ""
    return [replace(problem, where=f"{prefix}{problem.where}") for problem in problems]


def _refuse(document: Document, problems: Sequence[Problem], *, is_wrapped: bool) -> None:
    if problems:
        raise FlowError(document.located(_prefixed(problems, is_wrapped=is_wrapped)))


def _unknown(drawing: Drawing, severity: Severity) -> Iterator[Problem]:
    """Yield a problem for each node that is of a type of its own and that nothing says how to run."""
    for index, node in drawing.nodes.values():
        kind, step = node.get("type"), step_of(node)
        says_nothing = kind_of_step(step) == "http" and step.get("url") is step.get("method") is None
        if says_nothing and kind is not None and kind not in KNOWN_TYPES:
            known = ", ".join(TYPES.values())
            what = f"Unsupported node type {kind!r}: it is kept and cannot be run; known are {known}"
            yield Problem("node.type", f"nodes[{index}].type", what, severity)


def _spelled(turned: Turned, prefix: str, path: str) -> str:
    """Return where in a drawing stands what has a path in the Steps made of it."""
    inner = path.removeprefix(prefix)
    match = _PART.fullmatch(inner)
    if match is None:
        is_setting = inner.startswith(("config", "version"))
        return f"{prefix}settings.{inner}" if is_setting else path
    part, number, rest = match[1], int(match[2]), match[3]
    if part == "edges":
        ends = {".from": ".source", ".to": ".target", ".when": ".data.condition", ".join": ".data.join"}
        return f"{prefix}{turned.edges[number]}{ends[rest]}" if rest in ends else path
    place = turned.steps[number]
    if place.startswith("edges"):
        return f"{prefix}{place}.data.condition"
    if rest in ("", ".id"):
        return f"{prefix}{place}{rest}"
    swapped = {".delay": ".duration", ".duration": ".delay"} if number in turned.delays else {}
    return f"{prefix}{place}.data{swapped.get(rest, rest)}"
