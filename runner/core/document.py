"""Bytes to a document: the value, what is odd about it, and where each part of it stands.

JSON or YAML; the rules of each are in `json_document` and `yaml_document`. A document is refused
with one clear problem when it cannot be read (DESIGN 3, Limits). Positions are computed only when a
problem needs one, by reading the text again.

A path names a part of a document: ``flow_data.steps[1].body['odd key'].token``; the empty path is
the whole.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import reduce
from typing import Final, Literal

from runner.core import json_document
from runner.core.commands import Json
from runner.core.json_document import Found, Keys, Path, Wanted
from runner.core.text import kind_of
from runner.errors import FlowError, Place, Problem

MAX_BYTES: Final = 20 * 1024 * 1024
MAX_DEPTH: Final = 200

_PART = re.compile(
    r"(?:^|\.)(?P<name>[A-Za-z0-9_$][A-Za-z0-9_$-]*)|\[(?P<index>[0-9]+)\]|\['(?P<odd>(?:[^'\\]|\\.)*)'\]",
    re.DOTALL,
)
_NAME = re.compile(r"[A-Za-z0-9_$][A-Za-z0-9_$-]*")
_UNQUOTABLE = re.compile(r"['\\\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_ESCAPED = re.compile(r"\\(?:u([0-9a-f]{4})|(.))", re.DOTALL)


def join(path: str, key: str | int) -> str:
    """Return the path of a member: a list index for an int, a quoted key for an odd name."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    if _NAME.fullmatch(key):
        return f"{path}.{key}" if path else key
    return f"{path}['{_UNQUOTABLE.sub(_escape, key)}']"


def split(path: str) -> Path:
    """Return the keys and decimal indexes of a path, up to the first character that is none of its syntax."""
    parts: list[str] = []
    at = 0
    while match := _PART.match(path, at):
        odd = match["odd"]
        parts.append(match["name"] or match["index"] or _ESCAPED.sub(_unescape, odd or ""))
        at = match.end()
    return tuple(parts)


@dataclass(slots=True, eq=False)
class Document:
    """A document that was read: its value, the name of its file, its bytes (none if given as a value).

    A document inside a text of another one has that one as `outer` and its path there as `within`.
    Of a value that was made from another form, `spell` turns a path into that of the form in the text.
    """

    value: Json
    name: str = ""
    data: bytes | None = None
    form: Literal["json", "yaml", "value"] = "value"
    max_depth: int = MAX_DEPTH
    outer: Document | None = None
    within: str = ""
    spell: Callable[[str], str] | None = None
    _warnings: tuple[Problem, ...] | None = None

    @classmethod
    def of(cls, value: Json, name: str = "", *, max_depth: int = MAX_DEPTH) -> Document:
        """Return the document of a Python value; raises FlowError naming each part that JSON cannot hold."""
        problems = list(value_problems(value, max_depth=max_depth))
        if not problems and not isinstance(value, dict):
            problems = [_not_object(value, None)]
        if problems:
            raise FlowError(problems)
        return cls(value, name, max_depth=max_depth)

    def forget(self) -> None:
        """Let go of the value; the text, which `locate` needs, stays."""
        if self.data is not None:
            self.value = None

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """One problem per repeated key. For JSON the first use costs another parse of the text."""
        if self._warnings is None:
            text = _decode(self.data or b"null", self.name)
            repeated = json_document.repeated_keys(text, self.name)
            self._warnings = tuple(self._duplicate(path, place) for path, place in repeated)
        return self._warnings

    def locate(self, path: str, *, key: bool = False) -> Place | None:
        """Return where the value at a path stands (its key with `key`), or its nearest existing ancestor.

        A path that goes on inside a text that holds JSON stands where that text stands. None for a
        document given as a value.
        """
        return self._locate_all([path], key=key)[path]

    def located(self, problems: Iterable[Problem]) -> tuple[Problem, ...]:
        """Return the problems with places, and `where` as it is in the text; one pass over it for all."""
        kept = tuple(problems)
        places = self._locate_all([problem.where for problem in kept if problem.place is None])
        located = (one if one.place is not None else one.at(places[one.where]) for one in kept)
        if self.spell is None:
            return tuple(located)
        return tuple(replace(one, where=self.spell(one.where)) for one in located)

    def embedded(self, path: str, text: str) -> Document:
        """Return the document inside a text of this one, such as the `flow_data` of an API row.

        Its value may be any JSON. Raises FlowError with `path` and the place of the text.
        """
        try:
            value = json_document.load(text, self.name, self.max_depth)
        except FlowError as error:
            found = error.problems[0]
            at = f" (line {found.place.line}, column {found.place.column} of it)" if found.place else ""
            what = f"this text must hold JSON: {found.what}{at}"
            raise FlowError([Problem(found.code, path, what, place=self.locate(path))]) from None
        return Document(value, self.name, text.encode(), "json", self.max_depth, self, path)

    def _duplicate(self, path: Keys, place: Place) -> Problem:
        where = reduce(join, path, self.within)
        if self.outer is not None:
            place = self.outer.locate(self.within) or place
        what = f"the key {path[-1]!r} stands twice in the same object; the last one counts, remove the other"
        return Problem("document.duplicate_key", where, what, "warning", place)

    def _locate_all(self, paths: list[str], *, key: bool = False) -> dict[str, Place | None]:
        if self.outer is not None:
            return dict.fromkeys(paths, self.outer.locate(self.within, key=key))
        if self.data is None or not paths:
            return dict.fromkeys(paths)
        wanted: Wanted = {}
        spell = self.spell or str
        keys = {path: split(spell(path)) for path in paths}
        for parts in keys.values():
            below = wanted
            for part in parts:
                below = below.setdefault(part, {})
        found = self._places(wanted)
        return {path: _nearest(found, parts, key=key) for path, parts in keys.items()}

    def _places(self, wanted: Wanted) -> Found:
        text = _decode(self.data or b"", self.name)
        if self.form == "json":
            return json_document.places(text, self.name, wanted)
        return _load_yaml(text, self.name, self.max_depth, sys.maxsize, wanted)[2]


def parse(data: bytes, *, name: str = "", max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> Document:
    """Return the document in `data`: JSON or YAML by the ending of `name`, else by the first character.

    Raises FlowError with one problem: not UTF-8, too large, too deep, a syntax error, not an object.
    """
    if len(data) > max_bytes:
        what = f"the document has {len(data)} bytes and the limit is {max_bytes}; split it or raise the limit"
        raise FlowError([Problem("document.too_large", "", what)])
    text = _decode(data, name)
    if not text or text.isspace():
        raise FlowError([Problem("document.empty", "", "the document is empty", place=Place(name, 1, 1))])
    if _is_json(text, name):
        document = Document(json_document.load(text, name, max_depth, data), name, data, "json", max_depth)
    else:
        value, repeated, _ = _load_yaml(text, name, max_depth, max_bytes, {})
        document = Document(value, name, data, "yaml", max_depth)
        document._warnings = tuple(document._duplicate(path, place) for path, place in repeated)  # noqa: SLF001
    if not isinstance(document.value, dict):
        raise FlowError([_not_object(document.value, document.locate(""))])
    return document


def value_problems(value: Json, where: str = "", *, max_depth: int = MAX_DEPTH) -> Iterator[Problem]:
    """Yield a problem for each part of a Python value that JSON cannot hold, and one where it is too deep.

    Lists and objects that contain themselves are too deep; one met again is not looked at again.
    """
    problem = _scalar_problem(value, where)
    if problem is not None:
        yield problem
    deepest: dict[int, int] = {}
    stack = [_members(value, where)]
    while stack:
        member = next(stack[-1], None)
        if member is None:
            stack.pop()
            continue
        key, child, path = member
        if isinstance(child, dict | list) and deepest.get(id(child), 0) < len(stack):
            deepest[id(child)] = len(stack)
            if len(stack) >= max_depth:
                what = f"objects and lists are nested more than {max_depth} deep; flatten them"
                yield Problem("document.too_deep", path, what)
                return
            stack.append(_members(child, path))
        problem = _key_problem(key, path) or _scalar_problem(child, path)
        if problem is not None:
            yield problem


def _members(value: Json, path: str) -> Iterator[tuple[object, Json, str]]:
    """Yield key, value and path of each member; the items of a list have an empty key."""
    if isinstance(value, dict):
        return ((key, child, join(path, str(key))) for key, child in value.items())
    items = value if isinstance(value, list) else ()
    return (("", child, join(path, index)) for index, child in enumerate(items))


def _key_problem(key: object, path: str) -> Problem | None:
    if isinstance(key, str):
        return _scalar_problem(key, path)
    what = f"a key is of the Python type {type(key).__name__}, which JSON does not have; use a text"
    return Problem("document.not_json", path, what)


def _scalar_problem(value: Json, path: str) -> Problem | None:
    what = ""
    if isinstance(value, str):
        if not json_document.encodable(value):
            what = "half of a surrogate pair stands alone, which is no character; remove it"
            return Problem("document.surrogate", path, what)
    elif isinstance(value, float) and not math.isfinite(value):
        what = "a number is NaN or infinite, which JSON does not have; use null or a text"
        return Problem("document.number", path, what)
    elif value is not None and not isinstance(value, dict | list | int | float):
        what = f"a value is of the Python type {type(value).__name__}, which JSON does not have; convert it"
        return Problem("document.not_json", path, what)
    return None


def _decode(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig")
        what = f"the document is not UTF-8 (byte 0x{data[error.start]:02x}); save it as UTF-8"
        place = json_document.Lines(before, name).place(len(before))
        raise FlowError([Problem("document.encoding", "", what, place=place)]) from None


def _is_json(text: str, name: str) -> bool:
    ending = name.lower().rpartition(".")[2]
    return ending == "json" or (ending not in ("yaml", "yml") and text.lstrip()[0] in "{[")


def _load_yaml(
    text: str, name: str, max_depth: int, max_size: int, wanted: Wanted
) -> tuple[Json, list[tuple[Keys, Place]], Found]:
    from runner.core import yaml_document

    return yaml_document.load(text, name, max_depth, max_size, wanted)


def _not_object(value: Json, place: Place | None) -> Problem:
    what = f"the document must be an object, in braces, and is {kind_of(value)}"
    return Problem("document.not_object", "", what, place=place)


def _nearest(found: Found, path: Path, *, key: bool) -> Place:
    length = len(path)
    while path[:length] not in found:
        length -= 1
    key_place, value_place = found[path[:length]]
    return key_place if key and length == len(path) else value_place


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    return "\\" + character if character in "'\\" else f"\\u{ord(character):04x}"


def _unescape(match: re.Match[str]) -> str:
    return chr(int(match[1], 16)) if match[1] else match[2]
