"""Paths such as ``input.x``, ``headers.X-Request-ID`` or ``order.items[0].sku``: reading and walking them.

A path reaches items only. A field called ``items``, ``keys`` or ``__class__`` is a field or it is
missing; it is never a Python attribute.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple

from runner.core.commands import Json
from runner.errors import RunnerError

NAME: Final = r"[A-Za-z0-9_$][A-Za-z0-9_$-]*+"
_BRACKETS: Final = r"\[-?[0-9]{1,9}\]|\['[^']*+'\]|\[\"[^\"]*+\"\]"
PATH: Final = rf"[A-Za-z_$][A-Za-z0-9_$-]*+(?:\.{NAME}|{_BRACKETS})*+"

RUN_VALUES: Final = ("$uuid", "$timestamp", "$randomInt", "$randomString", "$randomEmail")
LITERALS: Final = frozenset({"true", "false", "none", "null", "True", "False", "None", "not"})

_PATH: Final = re.compile(PATH)
_SEGMENT: Final = re.compile(rf"\.({NAME})|\[(-?[0-9]+)\]|\['([^']*)'\]|\[\"([^\"]*)\"\]")
_INDEX: Final = re.compile(r"[0-9]{1,9}")
_PLAIN: Final = re.compile(NAME)


class TemplateError(RunnerError):
    """A template that cannot be compiled: a code of PROBLEMS, a message, an offset in its text."""

    def __init__(self, code: str, message: str, offset: int = 0) -> None:
        self.code = code
        self.message = message
        self.offset = offset
        super().__init__(message)


class Missing(KeyError):  # noqa: N818 - caught here and named for what it means
    """A path leads nowhere; `at` is the part of it that was walked, with the segment that failed."""

    def __init__(self, at: str) -> None:
        self.at = at
        super().__init__(at)


class Reference(NamedTuple):
    """A path: its text, its first name, the segments after it; `soft` when it may stay without value."""

    text: str
    root: str
    path: tuple[str | int, ...] = ()
    soft: bool = False


class FieldsAnyCase(dict[str, Json]):
    """HTTP header fields under lower-case names, found whatever the case of the name asked for."""

    def __init__(self, fields: Iterable[tuple[str, Json]]) -> None:
        super().__init__((name.lower(), value) for name, value in fields)


def parse_path(text: str) -> Reference | None:
    """Return the reference that a text is, or None when it is not wholly a path."""
    text = text.strip()
    return split_path(text) if _PATH.fullmatch(text) and text not in LITERALS else None


def split_path(text: str) -> Reference:
    """Return the reference of a text that is known to match `PATH`."""
    if "[" not in text:
        root, _, rest = text.partition(".")
        # A flow of 10 000 steps has as many of these, and `_make` takes half the time.
        return Reference._make((text, root, _names(rest), False))
    start = min(text.find("["), text.find(".") % len(text))
    return Reference(text, text[:start], tuple(map(_segment, _SEGMENT.finditer(text, start))))


@lru_cache(maxsize=1024)  # outputs are called the same in many steps
def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(".")) if text else ()


def _segment(match: re.Match[str]) -> str | int:
    name, index, single, double = match.groups()
    if index is not None:
        return int(index)
    return next(text for text in (name, single, double) if text is not None)


def spell(root: str, path: Iterable[str | int]) -> str:
    """Return the text of a path, with brackets where a dot cannot stand."""
    return root + "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" if _PLAIN.fullmatch(part) else f"[{part!r}]"
        for part in path
    )


def entry(value: Json, key: str | int) -> Json:
    """Return one item: of an object by name, of a list by number (``0``, ``-1`` or the text ``"0"``).

    Raises KeyError or IndexError when there is none.
    """
    if isinstance(value, dict):
        name = str(key)
        return value[name.lower() if isinstance(value, FieldsAnyCase) else name]
    if isinstance(value, list) and (isinstance(key, int) or _INDEX.fullmatch(key)):
        return value[int(key)]
    raise KeyError(key)


def walk(value: Json, path: Iterable[str | int]) -> Json:
    """Return what a path leads to inside a value; raises Missing."""
    walked: list[str | int] = []
    for key in path:
        walked.append(key)
        try:
            value = entry(value, key)
        except LookupError:
            raise Missing(spell("", walked)) from None
    return value
