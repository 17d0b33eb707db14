"""Scripted outcomes: what a step that only its platform can run gets instead of the world.

A file of `--answers` (what a person would do) or `--stubs` (what a service would) holds one object:
the id of a node, or its type, to ``{"output": {…}}``, ``{"error": {"code", "message"}}`` or both, with the
`branch` that it takes, or to a list of them. The nth visit of the node takes the nth of a list; one that
is no list serves each. A stub by its id stands in for any node of another platform, also for one that
could run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from runner.core.commands import Json, Outcome, StepFailure
from runner.core.compiled import ForeignWork, Plan, StepPlan
from runner.core.document import join
from runner.core.model import UNSET, External
from runner.core.redact import Masker, secret_name
from runner.core.text import close_match, kind_of, to_text
from runner.errors import Problem

Source: TypeAlias = Literal["answer", "stub", "recording"]

FILES: Final = {"answers": "answer", "stubs": "stub"}  # the flag of a file, and what comes out of it
KEYS: Final = ("output", "error", "branch")
SUBFLOWS: Final = ("flowConnector/startSubFlow", "flowConnector/startUiSubFlow")
UNANSWERED: Final[dict[tuple[str, str], str]] = {
    ("davinci", "answers"): "davinci.needs_input",
    ("davinci", "stubs"): "davinci.unsupported_node",
    ("nected", "answers"): "nected.unsupported_node",
    ("nected", "stubs"): "nected.unsupported_node",
}


@dataclass(frozen=True, slots=True)
class Answers:
    """What a run is given: the objects of both files, and whether recordings are replayed."""

    answers: Mapping[str, Json] = field(default_factory=dict)
    stubs: Mapping[str, Json] = field(default_factory=dict)
    recorded: bool = False

    def find(self, step: str, external: External) -> tuple[Source, Json] | None:
        """Return what is given for a node: by its id or its type, its own file first, then a recording."""
        own, other = (self.answers, self.stubs)[:: 1 if external.ask == "answers" else -1]
        for given in (own, other):
            for key in (step, external.type):
                if key and key in given:
                    return ("answer" if given is self.answers else "stub"), given[key]
        if self.recorded and external.recorded is not UNSET:
            return "recording", external.recorded
        return None

    def outcome(self, plan: StepPlan, visit: int, masker: Masker) -> Outcome:
        """Return how a node ends at its nth visit. What it gives under a secret name is secret."""
        found = self.find(plan.id, plan.external or External())
        if found is None:  # a run is refused before; a step that was made by hand gets here
            return _failed(plan, "", "external.unanswered", "nothing says how the node ends")
        source, given = found
        if isinstance(given, list):
            if visit > len(given):
                what = f"visit {visit}, and there are {len(given)} {source}s for it; add one to the list"
                return _failed(plan, source, "external.exhausted", what)
            given = given[visit - 1]
        outputs: Mapping[str, Json] = given.get("output") or {}
        secret = frozenset(name for name in outputs if secret_name(name))
        masker.add([outputs[name] for name in secret])
        if "error" not in given:
            return Outcome("succeeded", outputs, taken=_branch(given), tainted=secret, source=source)
        error = given["error"]
        code, message = to_text(error.get("code") or "external.failed"), to_text(error.get("message") or "")
        failure = StepFailure(code, message or "the scripted outcome is a failure", plan.where)
        return Outcome("failed", outputs, failure=failure, tainted=secret, source=source)


def _branch(given: Mapping[str, Json]) -> str | None:
    branch = given.get("branch")
    return branch if branch in (None, "true", "false") else f"case:{branch}"


def _failed(plan: StepPlan, source: str, code: str, what: str) -> Outcome:
    return Outcome("failed", failure=StepFailure(code, what, plan.where), source=source)


def flaws(answers: Answers, plan: Plan) -> Iterator[Problem]:
    """Yield what is wrong with what is given: its shape, and keys that name no node (a warning)."""
    if not answers.answers and not answers.stubs:
        return
    known: list[str] = []
    for _, step in steps_of(plan):
        known += [step.id] if step.external is not None or isinstance(step.work, ForeignWork) else []
        known += [step.external.type] if step.external is not None else []
    for flag in FILES:
        for key, given in getattr(answers, flag).items():
            where = join(f"--{flag}", key)
            if given == []:
                yield Problem("external.shape", where, "the list is empty; give an outcome for each visit")
            for one in given if isinstance(given, list) else [given]:
                yield from _flaws_of(one, where)
            if key not in known:
                what = f"no node {key!r} needs it{close_match(key, known)}"
                yield Problem("external.unknown", where, what, "warning")


def _flaws_of(given: Json, where: str) -> Iterator[Problem]:
    form = 'write {"output": {…}} or {"error": {"code": "…", "message": "…"}}, or a list of them'
    if not isinstance(given, dict) or not given or not given.keys() <= set(KEYS):
        yield Problem("external.shape", where, f"is no outcome; {form}")
        return
    for key in KEYS:
        if key == "branch" and not isinstance(given.get(key), str | None):
            yield Problem("external.shape", where, "'branch' must be a text: true, false or the id of a case")
        elif key != "branch" and key in given and not isinstance(given[key], dict):
            what = f"{key!r} must be an object, not {kind_of(given[key])}; {form}"
            yield Problem("external.shape", where, what)
    error = given.get("error")
    said = error if isinstance(error, dict) else {}
    for key in ("code", "message"):
        if not isinstance(said.get(key), str | None):
            what = f"must be a text, not {kind_of(said[key])}; {form}"
            yield Problem("external.shape", f"{where}.error.{key}", what)


def steps_of(plan: Plan) -> Iterator[tuple[Plan, StepPlan]]:
    """Yield each step with its plan; those of flows that are run too, once."""
    return ((inner, step) for inner in plan.with_inner() for step in inner.steps)


def externals(plan: Plan) -> Iterator[tuple[Plan, StepPlan]]:
    """Yield each step that needs a scripted outcome, with its plan."""
    return ((inner, step) for inner, step in steps_of(plan) if step.external is not None)


def unanswered(answers: Answers, plan: Plan) -> Iterator[tuple[Plan, Problem]]:
    """Yield a problem for each node that nothing is given for, with the exact key to add."""
    for inner, step in externals(plan):
        assert step.external is not None
        if answers.find(step.id, step.external) is None:
            hint = inner.flow.hints.get(step.id, "")
            yield inner, _missing(step, step.external, hint, recorded=answers.recorded)


def _missing(step: StepPlan, external: External, hint: str, *, recorded: bool) -> Problem:
    code = UNANSWERED.get((external.platform, external.ask), "external.unanswered")
    if external.platform == "davinci" and external.type in SUBFLOWS:
        code = "davinci.subflow_missing"
    if recorded and external.platform == "nected":
        code = "nected.no_recorded_output"
    of = f" ({external.type})" if external.type else ""
    name = f" {step.label!r}" if step.label != step.id else ""
    who = "a person answers it" if external.ask == "answers" else "only its platform can run it"
    key = f"{external.ask}.json: {_example(step.id, external.fields)}"
    what = f"node {step.id!r}{name}{of}: {who}; give {hint}--{external.ask} FILE with {key}"
    return Problem(code, step.where, what)


def _example(key: str, fields: Sequence[str]) -> str:
    outputs = ", ".join(f'"{name}": "…"' for name in fields)
    return f'"{key}": {{"output": {{{outputs}}}}}'


def listed(plan: Plan) -> dict[str, list[str]]:
    """Return the ids of the nodes that need a scripted outcome, by the flag that gives it."""
    found: dict[str, list[str]] = {}
    for _, step in externals(plan):
        assert step.external is not None
        found.setdefault(step.external.ask, []).append(step.id)
    return found
