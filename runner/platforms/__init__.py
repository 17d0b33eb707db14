"""Foreign documents and APIs: what they are called, and the way from each to a Flow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from runner.core.document import Document
from runner.core.model import Flow
from runner.errors import FlowError, Problem
from runner.platforms import steps

Read: TypeAlias = Callable[[Document], Flow]

DIALECTS: Mapping[str, tuple[Callable[[Document], bool], Read]] = {
    "steps": (steps.recognises, steps.read),
}


def read(document: Document) -> Flow:
    """Turn a document of any known dialect into a flow; raises FlowError when it is of none."""
    for recognises, reader in DIALECTS.values():
        if recognises(document):
            return reader(document)
    keys = ", ".join(repr(key) for key in list(document.value)[:10]) or "none"
    what = f"no flow of a known dialect ({', '.join(DIALECTS)}); keys found: {keys}"
    raise FlowError([Problem("document.dialect", "", what, place=document.locate(""))])
