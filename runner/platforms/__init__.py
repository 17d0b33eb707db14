"""Foreign documents and APIs: what they are called, and the ways from each to a Flow and back."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from importlib import import_module

from runner.core.commands import Json
from runner.core.compiled import Plan
from runner.core.document import Document
from runner.core.model import Flow
from runner.errors import FlowError, Problem
from runner.platforms.aids import Aids

# Modules with `recognises(document)` and `read(document)`, and but for Steps, which is between all others,
# with `to_steps(document)` and `from_steps(document)`. Imported only as far as it takes to find the one.
DIALECTS: Mapping[str, str] = {
    "steps": "runner.platforms.steps",
    "nected": "runner.platforms.nected",
    "react-flow": "runner.platforms.react_flow",
    "davinci": "runner.platforms.davinci",
}
# Those whose `read` and `to_steps` also take what a run is given for single nodes.
AIDED: Collection[str] = ("nected",)

# Modules with a function `problems(document, face)`, and which face of the platform it is to be.
JUDGES: Mapping[str, tuple[str, str]] = {
    "gassapi": ("runner.platforms.gassapi_rules", "documented"),
    "gassapi-observed": ("runner.platforms.gassapi_rules", "observed"),
}

# The dialects that a platform has; each of the others is turned to Steps first.
KNOWN_TO: Mapping[str, Collection[str]] = {"gassapi": ("steps", "react-flow")}

# Modules with a function `write(flow, plan)`; named here and imported when they are used.
WRITERS: Mapping[str, str] = {
    "versori-flow": "runner.platforms.versori_flow",
}


def dialect_of(document: Document, dialect: str | None = None) -> str:
    """Return the dialect of a document; raises FlowError when it is none, or not the given one."""
    for name in DIALECTS if dialect is None else [dialect]:
        if import_module(DIALECTS[name]).recognises(document):
            return name
    keys = ", ".join(repr(key) for key in list(document.value)[:10]) or "none"
    kind = f"a known dialect ({', '.join(DIALECTS)})" if dialect is None else f"the dialect {dialect}"
    what = f"no flow of {kind}; keys found: {keys}"
    raise FlowError([Problem("document.dialect", "", what, place=document.locate(""))])


def dialect_known_to(document: Document, platform: str) -> str:
    """Return the dialect of a document; raises FlowError when it is none that the platform has."""
    name = dialect_of(document)
    if name in KNOWN_TO[platform]:
        return name
    what = f"this is a document of {name}, not of {platform}; turn it to steps with 'runner convert'"
    raise FlowError([Problem("document.dialect", "", what, place=document.locate(""))])


def read(document: Document, dialect: str | None = None, aids: Aids | None = None) -> Flow:
    """Turn a document of a known dialect, or of just this one, into a flow; raises FlowError otherwise."""
    name = dialect_of(document, dialect)
    flow: Flow = import_module(DIALECTS[name]).read(document, *_aids(name, aids))
    return flow


def _aids(dialect: str, aids: Aids | None) -> tuple[Aids, ...]:
    """Return what is given as far as a dialect takes it; raises FlowError for bindings that it does not."""
    if dialect in AIDED and aids is not None:
        return (aids,)
    if aids is not None and aids.bindings is not None:
        what = f"documents of {', '.join(AIDED)} have nodes that can be bound, and this is one of {dialect}"
        raise FlowError([Problem("usage.bindings", "--bindings", what)])
    return ()


def convert(
    document: Document, target: str, dialect: str | None = None, aids: Aids | None = None
) -> tuple[Json, tuple[Problem, ...]]:
    """Turn a document into one of another dialect; returns it with a warning for all that is only kept.

    Raises FlowError with all that keeps it from being converted.
    """
    source = dialect_of(document, dialect)
    value, problems = document.value, ()
    given = _aids(source, aids)
    if source not in (target, "steps"):
        value, problems = import_module(DIALECTS[source]).to_steps(document, *given)
        document = Document.of(value, document.name)
    if target not in (source, "steps"):
        value, more = import_module(DIALECTS[target]).from_steps(document)
        problems += more
    return value, problems


def write(flow: Flow, plan: Plan, dialect: str) -> Json:
    """Turn a flow without errors into a document of this dialect."""
    return import_module(WRITERS[dialect]).write(flow, plan)


def refused_by(document: Document, judge: str) -> tuple[Problem, ...]:
    """Return what a platform would refuse in a document, in its own words.

    Raises FlowError for a document of a dialect that it does not have.
    """
    module, face = JUDGES[judge]
    dialect_known_to(document, judge.partition("-")[0])
    found: tuple[Problem, ...] = import_module(module).problems(document, face)
    return found
