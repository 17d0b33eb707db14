"""The JavaScript of Nected's code nodes: tokens stand in it as text, and become values of its own.

A value is put where its token stands so that it stays a value: a literal in the code, its text inside of
a string. So nothing that a value holds is ever run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from runner.core.commands import Json, Outcome, Program
from runner.core.compiled import StepPlan
from runner.core.program import computed
from runner.core.request import RunTerms
from runner.core.scope import Scope
from runner.core.template import Template, compile_template
from runner.core.text import to_json, to_text
from runner.errors import located
from runner.platforms.nected_steps import Script, outputs_of
from runner.platforms.nected_tokens import replaced

_TOKEN: Final = r"\{\{[^{}]*\}\}"
_PART: Final = re.compile(
    rf"//(?:{_TOKEN}|[^\n])*|/\*.*?\*/"
    rf"|\"(?:{_TOKEN}|\\.|[^\"\\\n])*\"|'(?:{_TOKEN}|\\.|[^'\\\n])*'|`(?:{_TOKEN}|\\.|[^`\\])*`"
    rf"|{_TOKEN}",
    re.DOTALL,
)
_INNER: Final = re.compile(rf"\$\{{(?:{_TOKEN}|[^{{}}])*\}}")


def filled(code: str, value_of: Callable[[str], Json]) -> str:
    """Return a code with the value of each token where the token stands."""

    def literal(inside: str) -> str:
        return to_json(value_of(inside))

    def part(match: re.Match[str]) -> str:
        text = match[0]
        if text.startswith(("//", "/*")):
            return replaced(text, lambda _: "")
        if text[0] == "`":
            return "".join(_in_template(one, value_of) for one in _split(text))
        return _in_string(text, value_of) if text[0] in "\"'" else replaced(text, literal)

    return _PART.sub(part, code)


def _split(text: str) -> list[str]:
    """Return the parts of a template literal, those in ``${}`` apart."""
    parts, at = [], 0
    for match in _INNER.finditer(text):
        parts += [text[at : match.start()], match[0]]
        at = match.end()
    return [*parts, text[at:]]


def _in_template(text: str, value_of: Callable[[str], Json]) -> str:
    if text.startswith("${"):
        return f"${{{filled(text[2:-1], value_of)}}}"
    return _in_string(text, value_of)


def _in_string(text: str, value_of: Callable[[str], Json]) -> str:
    def escaped(inside: str) -> str:
        value = value_of(inside)
        written = json.dumps("null" if value is None else to_text(value))[1:-1]
        return re.sub(r"['`$]", r"\\\g<0>", written)

    return replaced(text, escaped)


@dataclass(frozen=True, slots=True)
class Code:
    """A code node that can be run: its text, and our templates for the tokens in it."""

    text: str
    values: Mapping[str, Template]

    @classmethod
    def of(cls, script: Script) -> Code:
        """Compile the paths of a script."""
        return cls(
            script.code, {name: compile_template(f"{{{{{path}}}}}") for name, path in script.paths.items()}
        )

    def program(self, plan: StepPlan, scope: Scope, terms: RunTerms, path: str, visit: int) -> Program:  # noqa: ARG002 - as for all nodes
        """Run the code; what it comes to is `output`, secret if it was made from a secret."""
        with located(plan.where):
            values = {name: template.render(scope) for name, template in self.values.items()}
            value = yield from computed(filled(self.text, values.__getitem__), None)
        outputs = outputs_of(value)
        secret = any(template.is_secret(scope) for template in self.values.values())
        if secret:
            terms.masker.add([*outputs.values()])
        return Outcome("succeeded", outputs, tainted=frozenset(outputs) if secret else frozenset())
