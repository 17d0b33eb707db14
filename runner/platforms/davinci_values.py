"""Values of DaVinci's node properties: unwrapped, decoded, and rendered with what the nodes before have left.

A property is ``{"value": X}``; a text X may be an editor's document in JSON ("slate") whose leaves are
texts and references. References become those of our own templates, so that urls, JSON bodies and secrets
are rendered by the same code; they are looked up here (facts A4).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from runner.core.commands import Json
from runner.core.reference import Missing, Reference, walk
from runner.core.scope import NOTHING, Scope
from runner.core.template import Template
from runner.core.text import MAX_NESTING, to_text
from runner.platforms.davinci_forms import SECRET, Variable

LOCAL: Final = "local."  # keys of Scope.left: what a node has left, and the values of variables
VARIABLE: Final = "variable."
_BRACES: Final = re.compile(r"\{\{\s*([^{}]{1,1000}?)\s*\}\}")
_SEGMENT: Final = re.compile(r"\.?([^.\[\]'\"\s]+)|\[([0-9]{1,9})\]|\[['\"]([^'\"\]]*)['\"]\]")
_ROOTS: Final = ("local", "global")
_OF_THE_RUN: Final = {"interactionId": "seed"}


def unwrapped(value: Json) -> Json:
    """Return what a property holds: ``{"value": X}`` is X, ``{}`` is nothing."""
    if isinstance(value, dict) and value.keys() <= {"value"}:
        return value.get("value")
    return value


def reference_of(text: str) -> Reference | None:
    """Return the reference that stands in a pair of braces, None for what is none (Handlebars)."""
    path: list[str | int] = []
    at = 0
    while at < len(text):
        match = _SEGMENT.match(text, at)
        if match is None:
            return None
        name, index, quoted = match.groups()
        path.append(int(index) if index is not None else name if name is not None else quoted)
        at = match.end()
    if not path or path[0] not in _ROOTS:
        return None
    return Reference(text, str(path[0]), tuple(path[1:]))


class Decoded(NamedTuple):
    """A text as a template, and whether it was an editor's document that cannot be read."""

    template: Template
    is_broken: bool = False


def decode(text: str) -> Decoded:
    """Return the template that a text of a property is."""
    if not text.lstrip().startswith("["):
        return Decoded(template_of(text))
    try:
        blocks = json.loads(text)
    except (ValueError, RecursionError):
        return Decoded(template_of(text), '"children"' in text)
    if not blocks or not all(
        isinstance(one, dict) and isinstance(one.get("children"), list) for one in blocks
    ):
        return Decoded(template_of(text))
    lines = ("".join(_leaves(block["children"], 0)) for block in blocks)
    return Decoded(template_of("\n".join(lines)))


def _leaves(children: list[Json], depth: int) -> Iterator[str]:
    for child in children if depth < MAX_NESTING else ():
        if not isinstance(child, dict):
            continue
        held = child.get("data")
        if child.get("type") in ("link", "moustache") and isinstance(held, str):
            yield held
        elif isinstance(child.get("text"), str):
            yield child["text"]
        elif isinstance(child.get("children"), list):
            yield from _leaves(child["children"], depth + 1)


def template_of(text: str) -> Template:
    """Return a text with its references; other braces stay as they are."""
    pieces: list[str | Reference] = []
    at = 0
    for match in _BRACES.finditer(text):
        reference = reference_of(match[1])
        if reference is not None:
            pieces += [text[at : match.start()], reference]
            at = match.end()
    pieces.append(text[at:])
    kept = [piece for piece in pieces if piece != ""]
    return Template(text, tuple(kept) or ("",))


def texts_in(value: Json, depth: int = 0) -> Iterator[str]:
    """Yield every text in a value of a property."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list) and depth < MAX_NESTING:
        for one in value.values() if isinstance(value, dict) else value:
            yield from texts_in(one, depth + 1)


class Values:
    """Renders the properties of nodes in the scope of one step; made for each.

    `kept` says that a reference without value stays as it is written, instead of becoming an empty text.
    """

    def __init__(
        self,
        scope: Scope,
        variables: Mapping[str, Variable],
        known: Mapping[str, Json],
        *,
        kept: bool = False,
    ) -> None:
        self.scope = _Found(scope, variables, known, kept=kept)

    def of(self, value: Json) -> Json:
        """Return a property rendered: a text that is one reference keeps the type of its value."""
        return self._of(unwrapped(value), 0)

    def _of(self, value: Json, depth: int) -> Json:
        if isinstance(value, str):
            template = decode(value).template
            return self.scope.whole(template.references[0]) if template.whole else self.text_of(template)
        if depth >= MAX_NESTING:
            return value
        if isinstance(value, dict):
            inner = unwrapped(value) if value.keys() == {"value"} else NOTHING
            if inner is not NOTHING:
                return self._of(inner, depth + 1)
            return {name: self._of(one, depth + 1) for name, one in value.items()}
        return [self._of(one, depth + 1) for one in value] if isinstance(value, list) else value

    def text(self, value: Json) -> str:
        """Return a property as text; nothing is an empty one."""
        found = self.of(value)
        return "" if found is None else to_text(found, self.scope.run.max_text)

    def text_of(self, template: Template) -> str:
        """Return a template as text."""
        return template.text(self.scope)

    def secrets(self) -> list[Json]:
        """Return the values of the secret variables, as far as they have any."""
        names = [name for name, one in self.scope.variables.items() if one.type == SECRET]
        found = [self.scope.found(Reference(name, "global", ("variables", name))) for name in names]
        return [value for value in found if value is not NOTHING]

    def is_secret(self, value: Json) -> bool:
        """Tell whether any text in a property is made from a secret."""
        return any(decode(text).template.is_secret(self.scope) for text in texts_in(value))

    def is_unresolved(self, value: Json) -> bool:
        """Tell whether a property is one reference, and leads nowhere."""
        found = unwrapped(value)
        template = decode(found).template if isinstance(found, str) else None
        return template is not None and template.whole and self.scope.found(template.references[0]) is NOTHING


class _Found(Scope):
    """A scope in which the references of DaVinci's templates are found."""

    __slots__ = ("kept", "known", "outer", "variables")

    def __init__(
        self, scope: Scope, variables: Mapping[str, Variable], known: Mapping[str, Json], *, kept: bool
    ) -> None:
        super().__init__(run=scope.run, env=scope.env, inputs=scope.inputs, secret=scope.secret)
        self.outer, self.variables, self.known, self.kept = scope, variables, known, kept
        self.left = scope.left

    def value(self, reference: Reference) -> Json:
        """Return the value of a reference inside a text."""
        found = self.whole(reference)
        return "" if found is None else found

    def whole(self, reference: Reference) -> Json:
        """Return the value of a reference; an empty text when it leads nowhere."""
        found = self.found(reference)
        if found is not NOTHING:
            return found
        if reference.root == "local" and (instead := self.outer.absent(reference.text)) is not NOTHING:
            return instead
        return f"{{{{{reference.text}}}}}" if self.kept else ""

    def found(self, reference: Reference) -> Json:
        """Return the value of a reference, or NOTHING."""
        path = reference.path
        if not path:
            return NOTHING
        name = str(path[0])
        if reference.root == "local":
            return _walked({"payload": self.left.get(LOCAL + name, {})}, path[1:])
        if name == "parameters":
            return _walked(dict(self.inputs), path[1:])
        if variable_name(path) is not None:
            return self._value_of(path)
        if name in _OF_THE_RUN:
            return getattr(self.run, _OF_THE_RUN[name])
        return _walked(dict(self.known), path)

    def is_secret(self, reference: Reference) -> bool:
        """Tell whether a reference leads to a secret variable, or to an input that is one."""
        path = reference.path
        if reference.root == "global" and path[:1] == ("parameters",) and len(path) > 1:
            return str(path[1]) in self.secret.inputs
        name = variable_name(path) if reference.root == "global" else None
        declared = self.variables.get(name or "")
        return (declared is not None and declared.type == SECRET) or name in self.secret.env

    def _value_of(self, path: tuple[str | int, ...]) -> Json:
        name = str(variable_name(path))
        rest = path[2 if path[0] == "variables" else 3 :]
        declared = self.variables.get(name)
        is_company = path[0] == "company" or (declared is not None and declared.context == "company")
        if f"{VARIABLE}{name}" in self.left:
            return _walked(self.left[f"{VARIABLE}{name}"], rest)
        if is_company and name in self.env:
            return _walked(self.env[name], rest)
        if declared is None or declared.value is None:
            return NOTHING
        return _walked(typed(declared.value, declared.type), rest)


def variable_name(path: tuple[Any, ...]) -> str | None:
    """Return the name in ``variables.X``, ``company.variables.X`` or ``flow.variables.X``."""
    if len(path) > 1 and path[0] == "variables":
        return str(path[1])
    if len(path) > 2 and path[0] in ("company", "flow") and path[1] == "variables":
        return str(path[2])
    return None


def _walked(value: Json, path: tuple[str | int, ...]) -> Json:
    try:
        return walk(value, path)
    except Missing:
        return NOTHING


def typed(value: Json, kind: Json) -> Json:
    """Return a value as the type that DaVinci names for it; one that does not read as it stays as it is."""
    if not isinstance(value, str):
        return to_text(value) if kind == "string" and value is not None and value is not NOTHING else value
    if kind in ("number", "integer"):
        number = number_of(value)
        return value if number is None else number
    if kind == "boolean":
        return {"true": True, "false": False}.get(value.strip().lower(), value)
    if kind in ("object", "array", "json"):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


_NUMBER: Final = re.compile(
    r"\s*[+-]?(?:[0-9]{1,300}(?:\.[0-9]{0,300})?|\.[0-9]{1,300})(?:[eE][+-]?[0-9]{1,2})?\s*"
)
_WHOLE: Final = re.compile(r"\s*[+-]?[0-9]{1,300}\s*")


def number_of(value: Json) -> int | float | None:
    """Return the number that a value is, or spells; None for anything else."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if not isinstance(value, str) or not _NUMBER.fullmatch(value):
        return None
    return int(value) if _WHOLE.fullmatch(value) else float(value)
