"""JSON text to a value, with everything refused that JSON or UTF-8 cannot say, and positions on demand.

`json.loads` does the work. Each check beside it is a scan at C speed that answers "certainly fine"
or "look closer"; only the closer look walks the text in Python, so a good document pays little.
"""

from __future__ import annotations

import json
import math
import re
import sys
from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import TypeAlias

from runner.core.commands import Json
from runner.errors import FlowError, Place, Problem

Path: TypeAlias = tuple[str, ...]
Keys: TypeAlias = tuple[str | int, ...]
Wanted: TypeAlias = "dict[str, Wanted]"
Found: TypeAlias = dict[Path, tuple[Place, Place]]

_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\],:]|[^\s{}\[\],:"]++', re.DOTALL)
_SPACE = re.compile(r"[ \t\n\r]*+")
_LONE_SURROGATE = re.compile(
    rb"\\u[dD](?:[89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB]..\\u[dD])[c-fC-F])", re.DOTALL
)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_ROUNDS = 10  # a document that nests deeper than twice this is rare, and a closer look then costs less
_DECODER = json.JSONDecoder()


def load(text: str, name: str, max_depth: int, data: bytes | None = None) -> Json:
    """Return the value of JSON text (RFC 8259); `data` is the UTF-8 that it came from, if it did.

    Raises FlowError for a syntax error, nesting beyond `max_depth`, NaN and Infinity, numbers that
    Python cannot hold, and lone surrogates; the place of its problem is in the file called `name`.
    """
    try:
        value = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except json.JSONDecodeError as error:
        message = error.msg.removesuffix(" at").rstrip(": ")
        what = f"JSON syntax error: {message[0].lower()}{message[1:]}"
        raise _refusal("document.json_syntax", what, text, name, error.pos) from None
    except RecursionError:
        raise _too_deep(text, name, max_depth) from None
    except ValueError:
        what = "a number that JSON cannot hold or that is too large (NaN, Infinity, 1e999); put it in quotes"
        raise _refusal("document.number", what, text, name, _first(text, _is_bad_number)) from None
    is_sound = data is not None or encodable(text)
    data = data or text.encode("utf-8", "replace")
    if _brackets_may_exceed(data, max_depth) and _exceeds(value, max_depth):
        raise _too_deep(text, name, max_depth)
    if is_sound and not _LONE_SURROGATE.search(data):
        return value
    if (at := _first(text, _is_lone)) is not None:
        what = r"half of a surrogate pair (\ud800-\udfff) stands alone, which is no character; remove it"
        raise _refusal("document.surrogate", what, text, name, at)
    return value


def places(text: str, name: str, wanted: Wanted) -> Found:
    """Return where the key and the value of each wanted path stand, in one pass over valid JSON.

    `wanted` is a tree of keys; list indexes are keys in decimal. Paths that do not exist are absent.
    """
    found: dict[Path, tuple[int, int]] = {}
    start = _skip_space(text, 0)
    found[()] = (start, start)
    _visit(text, start, wanted, (), found)
    lines = Lines(text, name)
    return {path: (lines.place(key), lines.place(value)) for path, (key, value) in found.items()}


def repeated_keys(text: str, name: str) -> Iterator[tuple[Keys, Place]]:
    """Yield the path and the place of each key of valid JSON that its object already had."""

    def note(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
        made = dict(pairs)
        if len(made) != len(pairs):
            repeated.append(made)
        return made

    repeated: list[Json] = []
    json.loads(text, object_pairs_hook=note)
    if repeated:
        lines = Lines(text, name)
        yield from ((path, lines.place(at)) for path, at in _repeated(text))


class Lines:
    """Turns offsets in a text into places; lines end with a line feed, columns count characters."""

    __slots__ = ("_name", "_starts")

    def __init__(self, text: str, name: str) -> None:
        self._name = name
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def place(self, offset: int) -> Place:
        """Return the place of an offset."""
        line = bisect_right(self._starts, offset)
        return Place(self._name, line, offset - self._starts[line - 1] + 1)


def _refusal(code: str, what: str, text: str, name: str, at: int | None) -> FlowError:
    place = None if at is None else Lines(text, name).place(at)
    return FlowError([Problem(code, "", what, place=place)])


def _too_deep(text: str, name: str, max_depth: int) -> FlowError:
    depth, at = 0, None
    for match in _TOKEN.finditer(text):
        mark = match[0]
        depth += (mark in "[{") - (mark in "]}")
        if depth > max_depth:
            at = match.start()
            break
    what = f"objects and lists are nested more than {max_depth} deep; flatten them"
    return _refusal("document.too_deep", what, text, name, at)


def _refuse_constant(constant: str) -> Json:
    raise ValueError(constant)


def _finite(number: str) -> float:
    value = float(number)
    if math.isinf(value):
        raise ValueError(number)
    return value


def _is_bad_number(token: str) -> bool:
    if token[-1] in "Ny":
        return True
    if token[0] not in "-0123456789":
        return False
    if token.lstrip("-").isdigit():
        return 0 < sys.get_int_max_str_digits() < len(token.lstrip("-"))
    return math.isinf(float(token))


def _is_lone(token: str) -> bool:
    return token[0] == '"' and not encodable(json.loads(token) if "\\u" in token else token)


def encodable(text: str) -> bool:
    """Tell whether a text has only whole characters: no half of a surrogate pair stands alone."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _first(text: str, bad: Callable[[str], bool]) -> int | None:
    return next((match.start() for match in _TOKEN.finditer(text) if bad(match[0])), None)


def _brackets_may_exceed(data: bytes, max_depth: int) -> bool:
    """Tell whether brackets could nest too deep: each round of removing empty pairs takes at most two levels.

    Brackets inside strings are counted too, so True means only that it takes a closer look.
    """
    left = data.translate(None, _NOT_BRACKETS)
    for _ in range(min(max_depth // 2, _ROUNDS)):
        if not left:
            return False
        shorter = left.replace(b"{}", b"").replace(b"[]", b"")
        if len(shorter) == len(left):
            return True
        left = shorter
    return bool(left)


def _exceeds(value: Json, max_depth: int) -> bool:
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(max_depth):
        if not level:
            return False
        children = (item.values() if isinstance(item, dict) else item for item in level)
        level = [child for group in children for child in group if isinstance(child, dict | list)]
    return bool(level)


def _skip_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _visit(text: str, at: int, wanted: Wanted, path: Path, found: dict[Path, tuple[int, int]]) -> int:
    """Note the wanted members of the value at `at` and return the offset behind it."""
    opened = text[at]
    if not wanted or opened not in "{[":
        return _DECODER.raw_decode(text, at)[1]
    at = _skip_space(text, at + 1)
    index = 0
    while text[at] not in "}]":
        key, key_at = str(index), at
        if opened == "{":
            key, at = _DECODER.raw_decode(text, at)
            at = _skip_space(text, _skip_space(text, at) + 1)
        below = wanted.get(key, {})
        if key in wanted:
            forget(found, (*path, key))
            found[*path, key] = (key_at if opened == "{" else at, at)
        at = _skip_space(text, _visit(text, at, below, (*path, key), found))
        index += 1
        if text[at] == ",":
            at = _skip_space(text, at + 1)
    return at + 1


def forget(found: dict[Path, tuple[int, int]] | Found, path: Path) -> None:
    """Drop what an earlier member of the same name has left, because the last one wins."""
    if path in found:
        for stale in [known for known in found if known[: len(path)] == path]:
            del found[stale]


def _repeated(text: str) -> Iterator[tuple[Keys, int]]:
    current: list[str | int] = []
    seen: list[set[str | int]] = []
    expecting_key = False
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token in "{[":
            current.append("" if token == "{" else 0)
            seen.append(set())
        elif token in "]}":
            current.pop()
            seen.pop()
        elif token == "," and isinstance(current[-1], int):
            current[-1] += 1
        elif expecting_key:
            current[-1] = key = json.loads(token)
            if key in seen[-1]:
                yield tuple(current), match.start()
            seen[-1].add(key)
        expecting_key = token in "{," and isinstance(current[-1], str)
