"""Tokens of Nected, such as ``{{.Get_user.output[0].id}}``, and what they are in our templates.

A name of a node may have blanks (an underscore in the token), dots, brackets and dashes in it, so a
token is read by the names that there are, the longest first; only what follows is split at dots and
brackets. No other template language reads these tokens.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from runner.core.commands import Json
from runner.core.text import close_match

_TOKEN: Final = re.compile(r"\{\{\s*+(?P<inside>(?:\.|systemVar\.)[^{}]*+)\}\}")
_PART: Final = re.compile(r"\.([^.\[\]]+)|\[([0-9]{1,9})\]|\[\"([^\"]+)\"\]|\['([^']+)'\]")
_END: Final = re.compile(r"[.\[]")  # of a name, if it is one
_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

INPUTS: Final = ("Trigger", "customInput")  # rules call the trigger's fields by the second name
VARIABLES: Final = "globalVar"  # what `-e NAME=VALUE` gives
VALUES: Final = ("systemVar", "dataSet", "additionalData")  # known to the platform alone
SYSTEM: Final[Mapping[str, Json]] = {
    "NULL": None,
    "ExecutionId": "{{$uuid}}",
    "Environment": "staging",  # which is where drafts run
}
NOT_NODES: Final = (*INPUTS, VARIABLES, *VALUES)

Path: TypeAlias = tuple[str | int, ...]


class Token(NamedTuple):
    """A token: the name that it begins with, and the way on from there."""

    name: str
    path: Path


class Unreadable(NamedTuple):
    """A token that leads nowhere, and why."""

    what: str


@dataclass(frozen=True, slots=True)
class Tokens:
    """Reads the tokens of a workflow whose nodes have these names, as tokens spell them."""

    names: frozenset[str]

    @classmethod
    def of(cls, names: Iterable[str]) -> Tokens:
        """Return a reader for nodes of these names."""
        return cls(frozenset(map(spelled, names)) | {*NOT_NODES})

    def read(self, inside: str) -> Token | Unreadable:
        """Return what stands between the braces of a token as a name and a path."""
        text = inside.removeprefix(".")
        ends = [match.start() for match in _END.finditer(text)]
        for end in (len(text), *reversed(ends)):
            name, rest = text[:end], text[end:]
            if name in self.names:
                path = _path(rest)
                if path is None:
                    return Unreadable(f"{{{{{inside}}}}}: {rest!r} is no path; write .name or [0]")
                return Token(name, path)
        first = re.split(r"[.\[]", text, maxsplit=1)[0]
        hint = close_match(first, self.names) or "; a token begins with the name of a node that runs before"
        return Unreadable(f"{{{{{inside}}}}}: no node {first!r}{hint}")


def spelled(name: str) -> str:
    """Return the name of a node as tokens have it."""
    return "_".join(name.split())


def _path(rest: str) -> Path | None:
    path: list[str | int] = []
    at = 0
    while at < len(rest):
        match = _PART.match(rest, at)
        if match is None:
            return None
        name, index, double, single = match.groups()
        path.append(int(index) if index is not None else name or double or single)
        at = match.end()
    return tuple(path)


def inside_of(text: str) -> Iterator[str]:
    """Yield what stands in each token of a text."""
    return (match["inside"].rstrip() for match in _TOKEN.finditer(text))


def replaced(text: str, by: Callable[[str], str]) -> str:
    """Return a text with another in place of each token, `by` what stands in it."""
    return _TOKEN.sub(lambda match: by(match["inside"].rstrip()), text)


def pieces(text: str) -> Iterator[tuple[str, str]]:
    """Yield what stands before each token and in it; at the end what stands after the last, and nothing."""
    at = 0
    for match in _TOKEN.finditer(text):
        yield text[at : match.start()], match["inside"].rstrip()
        at = match.end()
    yield text[at:], ""


def operand(root: str, path: Path) -> str:
    """Return a path as our templates and expressions have it, odd names in brackets and quotes."""
    return root + "".join(map(_segment, path))


def _segment(part: str | int) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    if _PLAIN.fullmatch(part):
        return f".{part}"
    return f'["{part}"]' if "'" in part else f"['{part}']"


def texts_in(value: Json, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Yield every text inside a value, with the way to it."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from texts_in(one, (*path, key))
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from texts_in(one, (*path, number))


def with_texts(value: Json, by: Callable[[str], Json]) -> Json:
    """Return a value with every text inside of it turned by `by`."""
    if isinstance(value, str):
        return by(value)
    if isinstance(value, dict):
        return {key: with_texts(one, by) for key, one in value.items()}
    return [with_texts(one, by) for one in value] if isinstance(value, list) else value
