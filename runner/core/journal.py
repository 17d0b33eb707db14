"""What the journal keeps of a run, and what of it another run may keep (SEMANTICS, Journal).

A row is one leaf that has ended, or one skip, at its path, with the spans that tell of it. Replayed
in the order of `seq`, the rows bring `Progress` back to where the run stood: containers, joins and
visits follow from them, so nothing else is kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Final, Literal
from urllib.parse import unquote

from runner.core.actions import step_path
from runner.core.commands import Json, Outcome, StepFailure
from runner.core.compile import Compiler
from runner.core.compiled import FlowWork, Plan
from runner.core.integration_flow import read
from runner.core.model import UNSET, Flow, Step
from runner.core.plan import ReadFlow
from runner.core.trace import SpanRecord

RowKind = Literal["leaf", "skip"]

# SEMANTICS, Journal: the keys that shape the result of a step, and the fields that hold them.
SHAPING: Final = {
    "method": "method", "url": "url", "query": "query", "headers": "headers", "body": "body", "form": "form",
    "multipart": "multipart", "bodyFile": "body_file", "auth": "auth", "expectedStatus": "expected_status",
    "assert": "assert_", "outputs": "outputs", "forEach": "for_each", "until": "until", "set": "set",
    "flow": "flow", "inputs": "inputs", "condition": "condition", "external": "external",
}  # fmt: skip
LONGEST_SHOWN: Final = 80
_MARKS: Final = re.compile(r"#\d+|\[\d+\]|~\d+")  # visit, iteration, poll


@dataclass(slots=True)
class Row:
    """One row of the journal. `spans` are OTelSpan objects as JSON text: the step's own, then those below."""

    path: str
    seq: int
    kind: RowKind
    outcome: Outcome
    spans: Sequence[str] = ()

    def encode(self) -> str:
        """Return what is written besides path, seq and kind, as JSON text."""
        outcome = self.outcome
        shown: dict[str, Json] = {"status": outcome.status}
        for key in ("outputs", "reason", "detail", "attempts", "taken", "handled", "left", "source"):
            if value := getattr(outcome, key):
                shown[key] = value
        if outcome.failure is not None:
            shown["failure"] = [outcome.failure.code, outcome.failure.message, outcome.failure.where]
        if outcome.tainted:
            shown["tainted"] = sorted(outcome.tainted)
        if outcome.missing:
            shown["missing"] = list(outcome.missing)
        return f'{{"outcome":{json.dumps(shown)},"spans":[{",".join(self.spans)}]}}'


@dataclass(slots=True)
class Kept:
    """A row read back: the records are the step's own span, not yet closed, and those below it."""

    path: str
    seq: int
    kind: RowKind
    outcome: Outcome
    records: Sequence[SpanRecord]


def decode(path: str, seq: int, kind: RowKind, text: str) -> Kept:
    """Return a row from what `Row.encode` wrote."""
    value = json.loads(text)
    shown = value["outcome"]
    failure = shown.pop("failure", None)
    outcome = Outcome(
        **{
            **shown,
            "failure": StepFailure(*failure) if failure else None,
            "tainted": frozenset(shown.get("tainted", ())),
            "missing": tuple(shown.get("missing", ())),
        }
    )
    records = read({"name": "", "description": "", "spans": value["spans"]}).spans
    return Kept(path, seq, kind, outcome, records)


def span_id(run_id: str, path: str) -> int:
    """Return the id of the span at a path: the same for every worker that has a part in the run."""
    digest = sha256(f"{run_id}\0{path}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") or 1


# --- whether what was kept fits another flow


@dataclass(slots=True)
class Shape:
    """What decides the result of a step: its keys as JSON text, the steps, inputs and env it refers to."""

    keys: Mapping[str, str]
    steps: frozenset[str]
    uses: frozenset[tuple[str, str]]


def place_of(path: str) -> str:
    """Return a path without visits, iterations and polls: the place of the step in the flow."""
    return _MARKS.sub("", path)


def shapes(flow: Flow, read_flow: ReadFlow | None = None, prefix: str = "") -> dict[str, Shape]:
    """Return the shape of every step, those of sub-flows too, by its place."""
    found: dict[str, Shape] = {}
    compiler = Compiler(flow)
    ids = {step.id for step in flow.steps}
    for index, step in enumerate(flow.steps):
        compiler.compile(index, step)
        if step.flow is not None and step.id not in flow.works:
            compiler.flow_work(step)
        references = [one for _, parts, _ in compiler.uses for part in parts for one in part.references]
        found[prefix + step.id] = Shape(
            dict(_keys(step)),
            frozenset(prefix + one.root for one in references if one.root in ids),
            frozenset(
                (one.root, str(one.path[0]))
                for one in references
                if one.root in ("input", "env") and one.path
            ),
        )
        inner = None if step.flow is None else flow.bundle.get(step.flow)
        if step.flow is not None and inner is None and read_flow is not None:
            inner = read_flow(step.flow, flow)
        if inner is not None:
            found |= shapes(inner, read_flow, f"{prefix}{step.id}/")
    return found


def _keys(step: Step) -> Iterator[tuple[str, str]]:
    for key, name in SHAPING.items():
        value = getattr(step, name)
        if value is not None and value != () and not (isinstance(value, Mapping) and not value):
            yield key, json.dumps(value, sort_keys=True, default=_plain, ensure_ascii=False)


def _plain(value: Json) -> Json:
    return None if value is UNSET else asdict(value)


def misfits(
    kept: Iterable[str], old: Mapping[str, Shape], new: Mapping[str, Shape],
    changed: Collection[tuple[str, str]] = (),
) -> list[str]:  # fmt: skip
    """Say why rows at these paths do not fit the new flow: ``path: key old -> new``; empty when all do.

    A step fits when it is there, its own keys are the same, the steps it refers to fit, and no input or
    env value that it uses is among the `changed` ones.
    """
    found: list[str] = []
    judged: set[str] = set()
    todo = list(dict.fromkeys(place_of(path) for path in kept))
    for place in todo:  # grows by what the steps refer to
        if place in judged:
            continue
        judged.add(place)
        if place not in new:
            found.append(f"{place}: the step is gone")
            continue
        before, after = old[place].keys, new[place].keys
        found += [
            f"{place}: {key} {_shown(key, before)} -> {_shown(key, after)}"
            for key in SHAPING
            if before.get(key) != after.get(key)
        ]
        found += [
            f"{place}: {root}.{name} has another value" for root, name in sorted(new[place].uses & {*changed})
        ]
        todo += sorted(new[place].steps)
    return found


def _shown(key: str, keys: Mapping[str, str]) -> str:
    """Return a value short enough for a line; what may hold credentials is only said to be there."""
    text = keys.get(key, "none")
    if key in ("auth", "headers") and key in keys:
        return "…"
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 1] + "…"


# --- what of a run is done again


def remaining(plan: Plan, paths: Iterable[str], repeated: Iterable[str]) -> list[str]:
    """Return those rows' paths that stay when what stands at `repeated` is done again.

    What is at such a path or below goes, and everything downstream of it, in each flow around it. A path
    without marks stands for all its visits and iterations. Raises KeyError for a step that is not there.
    """
    gone: list[str] = []  # beginnings of places, each with what follows left open
    exact: list[str] = []
    for path in repeated:
        exact.append(path)
        inside, prefix = plan, ""
        for segment in path.split("/"):
            name = unquote(_MARKS.sub("", segment))
            gone += [prefix + other for other in _downstream(inside, name)]
            work = next(step.work for step in inside.steps if step.id == name)
            prefix += f"{segment}/"
            inside = work.plan if isinstance(work, FlowWork) else inside
    return [path for path in paths if not _is_among(path, exact) and not _is_among(path, gone)]


def _is_among(path: str, places: Iterable[str]) -> bool:
    return any(path.startswith(place) and path[len(place) : len(place) + 1] in "/[~#" for place in places)


def _downstream(plan: Plan, first: str) -> list[str]:
    """Return the segments of everything that follows a step; raises KeyError."""
    found: set[int] = set()
    todo = [{step.id: step.index for step in plan.steps}[first]]
    while todo:
        for arc in plan.graph.leaving(todo.pop()):
            if arc.target not in found:
                found.add(arc.target)
                todo.append(arc.target)
    return [step_path("", plan.steps[index].id) for index in found]


def innermost(failed: Iterable[str]) -> list[str]:
    """Return the paths below which nothing else failed: where a failure began."""
    paths = list(failed)
    return [path for path in paths if not any(other != path and _is_among(other, [path]) for other in paths)]


ANSWERED: Final = frozenset(
    {"http.status", "http.redirect", "assert.failed", "limit.response", "retry.after_too_long"}
)


def was_answered(outcome: Outcome) -> bool:
    """Tell whether the final answer of a step has come, so that doing it again is another request."""
    return outcome.status == "succeeded" or (outcome.failure is not None and outcome.failure.code in ANSWERED)
