"""How a JSON value becomes text, and how large it may become on the way.

Every bound is checked before the memory is taken: a value can be small as a graph of shared parts
and endless when it is written out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from heapq import nlargest
from itertools import islice
from typing import Final

from runner.core.commands import Json
from runner.errors import StepError

MAX_TEXT: Final = 1024 * 1024  # characters of one rendered text (DESIGN, Limits)
MAX_NESTING: Final = 200
NODE_COST: Final = 4  # counted per value beside its text, so that empty values are not free

_CANDIDATES: Final = 400
_COMPARED: Final = 12  # of them, letter by letter
_LENGTH_DIFFERENCE: Final = 3

_KINDS: Final = {dict: "an object", list: "a list", str: "a text", bool: "a boolean", type(None): "null"}


def to_text(value: Json, limit: int = MAX_TEXT) -> str:
    """Return a value as it stands inside text: ``true``/``false``, plain numbers, compact JSON.

    Raises StepError `template.null` for null, `template.value` for what JSON cannot hold, and
    `limit.text` above `limit` characters. Source: DESIGN, References and templates.
    """
    if isinstance(value, str):
        return value
    if value is None:
        raise StepError("template.null", "null has no text; give it a value or use `| default('…')`")
    return to_json(value, limit)


def to_json(value: Json, limit: int = MAX_TEXT) -> str:
    """Return a value as compact JSON; raises StepError like `to_text`, but null is ``null``."""
    if isinstance(value, (dict, list, str)):
        measure(value, limit)
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise StepError("template.value", f"a value cannot be written as JSON: {error}") from None


def measure(value: Json, limit: int) -> int:
    """Return about how many characters a value takes as JSON, every shared part counted where it stands.

    Raises StepError `limit.text` above `limit`, `limit.depth` below 200 levels, and
    `template.value` when a part is not JSON.
    """
    size = depth = 0
    level: list[Json] = [value]
    while level:
        depth += 1
        if depth > MAX_NESTING:
            raise StepError("limit.depth", f"a value is nested deeper than {MAX_NESTING} levels")
        below: list[Json] = []
        for item in level:
            size += _own_size(item)
            if size > limit:
                raise too_long(limit)
            if isinstance(item, dict):
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
        level = below
    return size


def _own_size(item: Json) -> int:
    if isinstance(item, str):
        return NODE_COST + len(item)
    if isinstance(item, list):
        return NODE_COST * (1 + len(item))
    if isinstance(item, dict):
        if not all(isinstance(key, str) for key in item):
            raise StepError("template.value", "an object has a key that is not text")
        return NODE_COST * (1 + len(item)) + sum(map(len, item))
    if item is None or isinstance(item, (bool, int, float)):
        return NODE_COST
    raise StepError("template.value", f"a {type(item).__name__} is not a JSON value")


def too_long(limit: int) -> StepError:
    """Return the error for text above the limit of `limit` characters."""
    return StepError(
        "limit.text", f"a rendered text is longer than {limit} characters; send less, or raise the text limit"
    )


def close_match(name: str, names: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the nearest of `names`, or an empty text."""
    near = (one for one in names if abs(len(one) - len(name)) <= _LENGTH_DIFFERENCE and one != name)
    candidates = list(islice(near, _CANDIDATES))  # a flow of 10 000 steps must not make an error slow
    if not candidates or not name:
        return ""
    from difflib import get_close_matches

    found = [one for one in candidates if one.lower() == name.lower()]
    if not found:
        pairs = _pairs(name)
        likely = nlargest(_COMPARED, candidates, key=lambda one: len(pairs & _pairs(one)))
        found = get_close_matches(name, likely)
    return f"; did you mean {found[0]!r}?" if found else ""


def _pairs(text: str) -> set[str]:
    """Return each two characters that stand together; comparing them is quick, and tells what is unlike."""
    return {text[at : at + 2] for at in range(len(text) - 1)}


def kind_of(value: Json) -> str:
    """Return what people call the type of a JSON value, with its article."""
    return _KINDS.get(type(value), "a number")
