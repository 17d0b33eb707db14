"""Values put into the text of a document, which stays as it was in all else: comments, order, indents."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from runner.core.commands import Json
from runner.core.document import Document, join, parse, split
from runner.errors import FlowError, Problem

_SCALAR: Final = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^']|'')*'|[^\s,#\[\]{}]+")
_FLOW_STYLE: Final = re.compile(r"[{,]\s*$")


def written_back(document: Document, values: Mapping[str, Json], inside: str = "") -> bytes:
    """Return the text of a document with these texts and numbers in the object at `inside` ("": itself).

    Raises FlowError when that cannot be done without changing anything else.
    """
    assert document.data is not None
    text = document.data.decode("utf-8-sig")
    wanted = _with(document.value, values, inside)
    found: Json = None
    with suppress(FlowError):  # a text that cannot be read any more
        for name, value in values.items():
            text = _put(_parsed(document, text), text, (inside, name), value)
        found = _parsed(document, text).value
    if found != wanted:
        what = f"{', '.join(values)} cannot be put into this text without changing more; put it in by hand"
        raise FlowError([Problem("usage.write_back", inside, what, place=document.locate(inside))])
    mark = b"\xef\xbb\xbf" if document.data.startswith(b"\xef\xbb\xbf") else b""
    return mark + text.encode()


def _parsed(document: Document, text: str) -> Document:
    return parse(text.encode(), name=document.name, max_depth=document.max_depth)


def _with(value: Json, values: Mapping[str, Json], inside: str) -> Json:
    made = copy.deepcopy(value)
    _owner(made, inside).update(values)
    return made


def _owner(value: Json, inside: str) -> dict[str, Json]:
    for key in split(inside):
        value = value[int(key) if isinstance(value, list) else key]
    owner: dict[str, Json] = value
    return owner


def _put(document: Document, text: str, place: tuple[str, str], value: Json) -> str:
    """Put one value where its key has one, or before the first key."""
    inside, name = place
    owner = _owner(document.value, inside)
    key = name if name in owner else next(iter(owner))
    at = _offset(document, text, join(inside, key), key=name not in owner)
    written = json.dumps(value, ensure_ascii=False)
    if name in owner:
        match = _SCALAR.match(text, at)
        return text if match is None else f"{text[:at]}{written}{text[match.end() :]}"
    line = text[text.rfind("\n", 0, at) + 1 : at]
    gap = f"\n{line}" if not line.strip() else " "
    in_braces = document.form == "json" or _FLOW_STYLE.search(text[:at])
    pair = f'"{name}": {written},' if in_braces else f"{name}: {written}"
    return f"{text[:at]}{pair}{gap}{text[at:]}"


def _offset(document: Document, text: str, path: str, *, key: bool) -> int:
    found = document.locate(path, key=key)
    assert found is not None
    lines = text.split("\n")
    return sum(len(line) + 1 for line in lines[: found.line - 1]) + found.column - 1
