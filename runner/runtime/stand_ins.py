"""Stand-ins for the values that a dry run does not have: words that pass through every encoding."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, Final

from runner.core.commands import Json
from runner.core.redact import Masker, mask_fields, mask_url
from runner.core.reference import Reference
from runner.core.request import FORM, learn_credentials
from runner.core.scope import NOTHING, Scope
from runner.errors import StepError

# Letters and digits look the same in a url, a header, JSON and a form. The second kind stands at the
# beginning of a url, where scheme and host are expected.
_WORD: Final = re.compile(r"(http(?:://|%3A%2F%2F))?flowspan(standin|leading)([0-9]+)x")
_QUOTED: Final = re.compile(rf'"({_WORD.pattern})"')
_OF_A_FIELD: Final = re.compile(rf"=(?={_WORD.pattern})")
_UNTYPED: Final = "text/plain; charset=utf-8"


class Undecided(Exception):  # noqa: N818 - reads as a sentence where it is caught
    """A condition depends on a value that only an answer brings."""


class StandIns:
    """Knows what each stand-in stands for, and shows texts with ``{references}`` in their place, masked."""

    def __init__(self, masker: Masker) -> None:
        self._masker = masker
        self._numbers: dict[str, int] = {}

    def of(self, text: str) -> str:
        """Return the stand-in for a reference or an expression."""
        return f"flowspanstandin{self._numbers.setdefault(text, len(self._numbers))}x"

    def leading(self, value: Json) -> Json:
        """Return a value for the beginning of a url: a stand-in that it begins with gets a scheme."""
        begins = isinstance(value, str) and value.startswith("flowspanstandin")
        return value.replace("flowspanstandin", "http://flowspanleading", 1) if begins else value

    def within(self, value: Json) -> bool:
        """Tell whether a value has a stand-in in it."""
        text = value if isinstance(value, str) else json.dumps(value)
        return "flowspan" in text and _WORD.search(text) is not None

    def is_one(self, value: Json) -> bool:
        """Tell whether a value is a stand-in and nothing else."""
        return isinstance(value, str) and _WORD.fullmatch(value) is not None

    def shown(self, text: str) -> str:
        """Return a text as it may be shown."""
        return self._masker.mask(self._named(text))

    def values(self, values: Json) -> Json:
        """Return any value as it may be shown."""
        if isinstance(values, str):
            return self.shown(values)
        if isinstance(values, dict):
            return {name: self.values(value) for name, value in values.items()}
        return [self.values(value) for value in values] if isinstance(values, list) else values

    def learn(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Take what the headers of a request have in credentials, without the stand-ins."""
        plain = ((name.decode(), value.decode()) for name, value in headers)
        learn_credentials(tuple(pair for pair in plain if not self.within(pair[1])), self._masker)

    def url(self, url: str) -> str:
        """Return a url; a secret parameter that is a stand-in shows what it stands for."""
        kept = mask_url(_OF_A_FIELD.sub("\0", url)).replace("\0", "=")
        return self.shown(kept)

    def header(self, name: str, value: str, *, depends: bool, alone: bool) -> str:
        """Return the value of a header; what depends on a body that depends is told as such."""
        if depends and name.lower() == "content-length":
            return "{length}"
        if alone and name.lower() == "content-type" and value == _UNTYPED:
            return "{content type}"  # an object would go out as JSON
        return self.shown(value)

    def body(self, text: str, headers: Iterable[tuple[str, str]], *, typed: bool) -> str:
        """Return a body; where values have a type, a stand-in for one has no quotes: it need be no text."""
        kind = next((value for name, value in headers if name.lower() == "content-type"), "").lower()
        if typed and "json" in kind:
            text = _QUOTED.sub(r"\1", text)
        if kind.startswith(FORM):
            text = mask_fields(_OF_A_FIELD.sub("\0", text), form=True).replace("\0", "=")
        elif "json" in kind:
            text = mask_fields(text, form=False)
        return self.shown(text)

    def _named(self, text: str) -> str:
        if "flowspan" not in text:
            return text
        texts = list(self._numbers)

        def name(match: re.Match[str]) -> str:
            scheme, kind, number = match[1] or "", match[2], int(match[3])
            if kind == "standin":
                return f"{scheme}{{{texts[number]}}}"
            return f"{{{texts[number]}}}" if scheme else f"{{host of {texts[number]}}}"

        return _WORD.sub(name, text)


class DryScope(Scope):
    """A scope in which a stand-in is the value of everything that is `open`.

    `open` are (root, name) pairs; without a name the whole root is open.
    """

    __slots__ = ("decides", "leading", "open", "stand_ins")

    def __init__(self, stand_ins: StandIns, **parts: Any) -> None:  # noqa: ANN401 - those of Scope
        super().__init__(**parts)
        self.stand_ins = stand_ins
        self.open: set[tuple[str, str | None]] = set()
        self.decides = False
        self.leading: frozenset[str] = frozenset()

    def _copy(self) -> DryScope:
        scope = super()._copy()
        assert isinstance(scope, DryScope)
        scope.stand_ins, scope.open = self.stand_ins, self.open
        scope.decides, scope.leading = self.decides, self.leading
        return scope

    def child(self, **names: Json) -> DryScope:
        """Return a scope with more roots."""
        scope = super().child(**names)
        assert isinstance(scope, DryScope)
        return scope

    def deciding(self) -> DryScope:
        """Return a scope for conditions: what is open raises `Undecided`."""
        scope = self._copy()
        scope.decides = True
        return scope

    def led_by(self, leading: frozenset[str]) -> DryScope:
        """Return a scope in which these references, if they are open, are the beginning of a url."""
        scope = self._copy()
        scope.leading = leading
        return scope

    def value(self, reference: Reference) -> Json:
        """Return what a reference leads to, or a stand-in for it."""
        if self._is_open(reference):
            return self._instead(reference.text, self._held(reference))
        value = super().value(reference)
        return self._instead(reference.text, value) if self.stand_ins.within(value) else value

    def stand_in(self, text: str, references: tuple[Reference, ...]) -> Json:
        """Return a stand-in for an expression of which a part is open."""
        return self._instead(text, NOTHING) if any(map(self._touches, references)) else NOTHING

    def absent(self, text: str) -> Json:
        """Return a stand-in for what a node of another platform has not left yet."""
        return self._instead(text, NOTHING)

    def _instead(self, text: str, value: Json) -> Json:
        if self.decides:
            raise Undecided
        if value is NOTHING:
            value = self.stand_ins.of(text)
        return self.stand_ins.leading(value) if text in self.leading else value

    def _touches(self, reference: Reference) -> bool:
        if self._is_open(reference):
            return True
        try:
            return self.stand_ins.within(super().value(reference))
        except StepError:
            return False

    def _is_open(self, reference: Reference) -> bool:
        root, path = reference.root, reference.path
        if (root, None) in self.open or ("input", root) in self.open:
            return True
        if path:
            return (root, str(path[0])) in self.open
        return any(one == root for one, _ in self.open)

    def _held(self, reference: Reference) -> Json:
        """Return the stand-in of an outer flow, or of a step before, that a reference leads to."""
        if len(reference.path) != 1:
            return NOTHING
        held = self.inputs if reference.root == "input" else self.outputs.get(reference.root, {})
        return held.get(str(reference.path[0]), NOTHING)
