"""YAML text to a value: the JSON subset of YAML 1.2, built straight from the parser's events.

PyYAML's composer and constructor are not used: they recurse (a file of 100 kB crashes the process),
resolve YAML 1.1 words (`no` would be a boolean) and lose the positions. The event stream does none
of that, so nesting, aliases and keys are bounded here while they are read. This module imports
PyYAML and is itself imported only for a YAML document.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import yaml

from runner.core.commands import Json
from runner.core.json_document import Found, Keys, Lines, Path, Wanted, encodable, forget
from runner.errors import FlowError, Place, Problem

# The stubs of PyYAML give its events and marks no common shape.
_Event: TypeAlias = Any
_Mark: TypeAlias = Any

_MAX_TAG_DIRECTIVES: Final = 100
_TAG: Final = "tag:yaml.org,2002:"
_WORDS: Final = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
# A leading zero makes a text: `00123` is an order number, and neither octal nor 123.
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_BASED = re.compile(r"0x[0-9a-fA-F]+|0o[0-7]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_NUMBER_STARTS: Final = frozenset("+-.0123456789")
_MAX_DIGITS: Final = 4000


def load(
    text: str, name: str, max_depth: int, max_size: int, wanted: Wanted
) -> tuple[Json, list[tuple[Keys, Place]], Found]:
    """Return the value of one YAML document, its repeated keys, and the places of the wanted paths.

    Raises FlowError for a syntax error, no or several documents, nesting beyond `max_depth`,
    aliases that would expand to more than `max_size` characters and nodes, aliases to themselves,
    tags of other types than JSON's, keys that are no scalars, and numbers that are not finite.
    """
    builder = _Builder(name, max_depth, max_size, wanted)
    # libyaml compares each %TAG line with all before it.
    if text.count("%TAG") > _MAX_TAG_DIRECTIVES:
        raise builder.refusal("document.yaml_tag", "too many %TAG directives; remove them", None)
    try:
        for event in _events(text):
            builder.take(event)
    except yaml.reader.ReaderError as error:
        at = text.find(chr(error.character))
        what = f"YAML syntax error: the character U+{error.character:04X} is not allowed; escape it in quotes"
        raise FlowError(
            [Problem("document.yaml_syntax", "", what, place=Lines(text, name).place(at))]
        ) from None
    except yaml.MarkedYAMLError as error:
        what = f"YAML syntax error: {error.problem}"
        raise builder.refusal("document.yaml_syntax", what, error.problem_mark) from None
    if not builder.root:
        raise builder.refusal("document.empty", "the document is empty", None)
    return builder.root[0], builder.repeated, builder.found


def _events(text: str) -> Iterator[_Event]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    try:
        while (event := loader.get_event()) is not None and not isinstance(event, yaml.StreamEndEvent):
            yield event
    finally:
        loader.dispose()


@dataclass(slots=True)
class _Frame:
    """A list or an object that is still open. `size` and `height` are those of its tree so far."""

    value: Any
    anchor: str | None = None
    below: Wanted = field(default_factory=dict)
    path: Path = ()
    key: str | None = None
    key_mark: _Mark = None
    is_merge: bool = False
    merges: list[dict[str, Json]] = field(default_factory=list)
    size: int = 1
    height: int = 1


class _Builder:
    """Takes events and holds what they have made so far."""

    def __init__(self, name: str, max_depth: int, max_size: int, wanted: Wanted) -> None:
        self.name = name
        self.max_depth = max_depth
        self.max_size = max_size
        self.root: list[Json] = []
        self.repeated: list[tuple[Keys, Place]] = []
        self.found: Found = {}
        self._wanted = wanted
        self._frames: list[_Frame] = []
        self._anchors: dict[str, tuple[Json, int, int]] = {}
        self._expanded = 0
        self._takes = {
            yaml.ScalarEvent: self._scalar,
            yaml.AliasEvent: self._alias,
            yaml.MappingStartEvent: self._start,
            yaml.SequenceStartEvent: self._start,
            yaml.MappingEndEvent: self._end,
            yaml.SequenceEndEvent: self._end,
            yaml.DocumentStartEvent: self._document,
        }

    def take(self, event: _Event) -> None:
        """Take the next event of the stream."""
        handle = self._takes.get(type(event))
        if handle is not None:
            handle(event)

    def refusal(self, code: str, what: str, mark: _Mark) -> FlowError:
        """Make the error for a problem at a mark of the parser."""
        return FlowError([Problem(code, "", what, place=mark and self._place(mark))])

    def _place(self, mark: _Mark) -> Place:
        return Place(self.name, mark.line + 1, mark.column + 1)

    def _document(self, event: _Event) -> None:
        if self.root:
            what = "the file holds several YAML documents; keep one flow in one file"
            raise self.refusal("document.yaml_documents", what, event.start_mark)

    def _start(self, event: _Event) -> None:
        is_mapping = type(event) is yaml.MappingStartEvent
        if event.tag not in (None, "!", _TAG + ("map" if is_mapping else "seq")):
            raise self._foreign_tag(event)
        if len(self._frames) >= self.max_depth:
            what = f"objects and lists are nested more than {self.max_depth} deep; flatten them"
            raise self.refusal("document.too_deep", what, event.start_mark)
        below, path = self._note(event)
        self._frames.append(_Frame({} if is_mapping else [], event.anchor, below, path))

    def _end(self, _event: _Event) -> None:
        frame = self._frames.pop()
        for merged in frame.merges:
            for key, value in merged.items():
                frame.value.setdefault(key, value)
        self._add(frame.value, frame.size, frame.height, frame.anchor)

    def _scalar(self, event: _Event) -> None:
        frame = self._frames[-1] if self._frames else None
        is_key = frame is not None and frame.key is None and isinstance(frame.value, dict)
        value = event.value if is_key else self._resolve(event)
        if frame is None or not is_key:
            self._note(event)
            self._add(value, 1 + len(event.value), 0, event.anchor)
            return
        self._check_characters(event)
        frame.key, frame.key_mark = value, event.start_mark
        frame.is_merge = value == "<<" and event.implicit[0]
        frame.size += 1 + len(value)
        if value in frame.value:
            self.repeated.append(((*self._path(), value), self._place(event.start_mark)))
        if event.anchor:
            self._anchors[event.anchor] = (value, 1 + len(value), 0)

    def _path(self) -> Keys:
        frames = self._frames[:-1]
        return tuple(len(frame.value) if frame.key is None else frame.key for frame in frames)

    def _alias(self, event: _Event) -> None:
        name = event.anchor
        what = ""
        if any(frame.anchor == name for frame in self._frames):
            what = f"the alias *{name} stands inside its own anchor; write the value out"
        elif name not in self._anchors:
            what = f"no anchor &{name} stands before the alias *{name}; define it first"
        if what:
            raise self.refusal("document.yaml_alias", what, event.start_mark)
        value, size, height = self._anchors[name]
        self._expanded += size
        if self._expanded > self.max_size:
            what = f"the aliases expand to more than {self.max_size} characters; use fewer of them"
            raise self.refusal("document.yaml_alias", what, event.start_mark)
        if len(self._frames) + height > self.max_depth:
            what = f"objects and lists are nested more than {self.max_depth} deep; flatten them"
            raise self.refusal("document.too_deep", what, event.start_mark)
        self._note(event)
        self._add(value, size, height, None)

    def _add(self, value: Json, size: int, height: int, anchor: str | None) -> None:
        """Put a finished value where it belongs."""
        if anchor:
            self._anchors[anchor] = (value, size, height)
        if not self._frames:
            self.root.append(value)
            return
        frame = self._frames[-1]
        frame.size += size
        frame.height = max(frame.height, height + 1)
        if isinstance(frame.value, list):
            frame.value.append(value)
            return
        merged = _merged(value) if frame.is_merge else None
        if merged is None:
            frame.value[frame.key] = value
        else:
            frame.merges += merged
        frame.key = None

    def _note(self, event: _Event) -> tuple[Wanted, Path]:
        """Keep the place of a value that begins if it is wanted; return what is wanted below it."""
        if not self._frames:
            place = self._place(event.start_mark)
            self.found[()] = (place, place)
            return self._wanted, ()
        frame = self._frames[-1]
        if frame.key is None and isinstance(frame.value, dict):
            what = "a key is an object, a list or an alias; use a text"
            raise self.refusal("document.yaml_key", what, event.start_mark)
        key = str(len(frame.value)) if frame.key is None else frame.key
        if key not in frame.below:
            return {}, ()
        path = (*frame.path, key)
        forget(self.found, path)
        place = self._place(event.start_mark)
        self.found[path] = (place if frame.key is None else self._place(frame.key_mark), place)
        return frame.below[key], path

    def _resolve(self, event: _Event) -> Json:
        """Return what a scalar means by YAML 1.2's core schema, without its numbers that JSON lacks."""
        self._check_characters(event)
        plain, tag = event.implicit[0], event.tag
        if (tag is None and not plain) or tag in ("!", _TAG + "str"):
            return event.value
        value = self._plain(event)
        kind = "null" if value is None else type(value).__name__
        if tag is not None and tag != _TAG + kind:
            raise self._foreign_tag(event)
        return value

    def _plain(self, event: _Event) -> Json:
        text: str = event.value
        if text in _WORDS:
            return _WORDS[text]
        if text[0] not in _NUMBER_STARTS:
            return text
        try:
            return _number(text)
        except ValueError:
            what = "a number that JSON cannot hold or that is too large (.nan, .inf, 1e999); put it in quotes"
            raise self.refusal("document.number", what, event.start_mark) from None

    def _check_characters(self, event: _Event) -> None:
        # The parser in C refuses these; the one in Python, used where there is no C, does not.
        if not encodable(event.value):
            what = "half of a surrogate pair stands alone, which is no character; remove it"
            raise self.refusal("document.surrogate", what, event.start_mark)

    def _foreign_tag(self, event: _Event) -> FlowError:
        shown = event.tag.replace(_TAG, "!!")[:60]
        what = f"the tag {shown!r} does not fit; only the types of JSON are allowed: remove the tag"
        return self.refusal("document.yaml_tag", what, event.start_mark)


def _number(text: str) -> Json:
    """Return the number that a plain scalar spells, else the text; ValueError if JSON has no such number."""
    is_based = _BASED.fullmatch(text)
    if is_based or _INTEGER.fullmatch(text):
        if len(text) > _MAX_DIGITS:
            raise ValueError(text)
        return int(text, 0) if is_based else int(text)
    if _FLOAT.fullmatch(text):
        value = float(text)
        if math.isinf(value):
            raise ValueError(text)
        return value
    if _NOT_FINITE.fullmatch(text):
        raise ValueError(text)
    return text


def _merged(value: Json) -> list[dict[str, Json]] | None:
    """Return the objects that a `<<` key merges (yaml.org/type/merge.html), None if it is no merge."""
    values = value if isinstance(value, list) else [value]
    return values if values and all(isinstance(item, dict) for item in values) else None
