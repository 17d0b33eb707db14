"""The operators, filters and tests of template expressions, each bounded before it takes memory.

Jinja2's own would hang or exhaust a process on ``'a' * 10**10``; these refuse. They also know only
JSON values: text is made as everywhere in templates, and what cannot be computed is an error, never 0 or "".
Source: SEMANTICS, Templates and conditions.
"""

from __future__ import annotations

import re
from base64 import b64encode as _b64encode
from collections.abc import Callable
from math import isfinite
from typing import Any, Final
from urllib.parse import quote

from runner.core.commands import Json
from runner.core.reference import Missing, walk
from runner.core.text import NODE_COST, measure, to_json, to_text, too_long
from runner.errors import StepError

NO_VALUE: Final = object()  # what `first` of an empty list is
MAX_INTEGER_BITS: Final = 14_000  # just below what Python writes as decimal text
WORK_FACTOR: Final = 16  # one expression may build this many limits' worth in all its parts

_NUMBER: Final = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
_LONGEST_NUMBER: Final = 4000


class Allowance:
    """What one evaluation may still build, in characters; `take` raises StepError `limit.text`."""

    __slots__ = ("left", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.left = limit * WORK_FACTOR

    def take(self, size: int) -> None:
        """Count a result of `size` characters that is about to be built."""
        self.left -= size
        if size > self.limit or self.left < 0:
            raise too_long(self.limit)

    def reserve(self, size: int) -> None:
        """Count a list that only points at values that exist already."""
        self.left -= size * NODE_COST
        if self.left < 0:
            raise too_long(self.limit)


def kind(value: Json) -> str:
    """Return the JSON type of a value, in the words of error messages."""
    if isinstance(value, bool):
        return "boolean"
    for name, types in (("number", (int, float)), ("text", str), ("list", list), ("object", dict)):
        if isinstance(value, types):
            return name
    return "null"


def _refuse(message: str) -> StepError:
    return StepError("template.value", message)


def _is_number(value: Json) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def binary(allowance: Allowance, operator: str, left: Json, right: Json) -> Json:
    """Compute ``left operator right`` for ``+ - * / // %``; raises StepError."""
    if _is_number(left) and _is_number(right):
        return _number(operator, left, right)
    if operator == "+" and kind(left) == kind(right) and isinstance(left, (str, list)):
        allowance.take((len(left) + len(right)) * (1 if isinstance(left, str) else NODE_COST))
        return left + right
    if operator == "*" and isinstance(left, (str, list)) and isinstance(right, int):
        allowance.take(len(left) * max(right, 0) * (1 if isinstance(left, str) else NODE_COST))
        return left * right
    hint = "; join texts with ~" if operator == "+" else ""
    raise _refuse(f"{kind(left)} {operator} {kind(right)} cannot be computed{hint}")


def _number(operator: str, left: Json, right: Json) -> Json:
    whole = isinstance(left, int) and isinstance(right, int)
    if operator == "*" and whole and left.bit_length() + right.bit_length() > MAX_INTEGER_BITS:
        raise StepError("limit.text", "a product has more than 4000 digits")
    try:
        result = _ARITHMETIC[operator](left, right)
    except ZeroDivisionError:
        raise _refuse(f"{operator} by zero") from None
    except OverflowError:
        raise _refuse(f"a number is too large for {operator}") from None
    if isinstance(result, float) and not isfinite(result):
        raise _refuse(f"the result of {operator} is too large")
    return result


_ARITHMETIC: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": lambda left, right: left / right,
    "//": lambda left, right: left // right,
    "%": lambda left, right: left % right,
}


def concat(allowance: Allowance, *parts: Json) -> str:
    """Join parts as text (``~``)."""
    texts = [to_text(part, allowance.limit) for part in parts]
    allowance.take(sum(map(len, texts)))
    return "".join(texts)


def _text(allowance: Allowance, value: Json) -> str:
    text = to_text(value, allowance.limit)
    allowance.take(len(text))
    return text


def _items(allowance: Allowance, value: Json, attribute: Json = None) -> list[Json]:
    if not isinstance(value, list):
        raise _refuse(f"a list is needed here, not {kind(value)}")
    allowance.reserve(len(value))
    return value if attribute is None else [_field(item, attribute) for item in value]


def _field(item: Json, attribute: Json) -> Json:
    try:
        return walk(item, str(attribute).split("."))
    except Missing as missing:
        raise StepError("reference.missing", f"an item of the list has no value at {missing.at}") from None


def _lower(allowance: Allowance, value: Json) -> str:
    return _text(allowance, value).lower()


def _upper(allowance: Allowance, value: Json) -> str:
    return _text(allowance, value).upper()


def _trim(allowance: Allowance, value: Json, chars: Json = None) -> str:
    return _text(allowance, value).strip(None if chars is None else _text(allowance, chars))


def _length(_: Allowance, value: Json) -> int:
    if not isinstance(value, (str, list, dict)):
        raise _refuse(f"{kind(value)} has no length")
    return len(value)


def _end(value: Json, at: int) -> Json:
    if not isinstance(value, (str, list)):
        raise _refuse(f"{kind(value)} has no first or last item")
    return value[at] if value else NO_VALUE


def _first(_: Allowance, value: Json) -> Json:
    return _end(value, 0)


def _last(_: Allowance, value: Json) -> Json:
    return _end(value, -1)


def _join(allowance: Allowance, value: Json, d: Json = "", attribute: Json = None) -> str:
    items = _items(allowance, value, attribute)
    between = _text(allowance, d)
    size, texts = len(between) * len(items), []
    for item in items:
        texts.append(to_text(item, allowance.limit))
        size += len(texts[-1])
        if size > allowance.limit:
            break
    allowance.take(size)
    return between.join(texts)


def _replace(allowance: Allowance, value: Json, old: Json, new: Json, count: Json = None) -> str:
    text, found, put = (_text(allowance, part) for part in (value, old, new))
    times = text.count(found) if count is None else min(text.count(found), max(_int(allowance, count), 0))
    allowance.take(max(len(text) + times * (len(put) - len(found)), 0))
    return text.replace(found, put, times)


def _int(_: Allowance, value: Json, default: Json = NO_VALUE) -> Json:
    number = _to_number(value)
    if number is None or (isinstance(number, float) and not isfinite(number)):
        return _or_default(value, default, "whole number")
    return int(number)


def _float(_: Allowance, value: Json, default: Json = NO_VALUE) -> Json:
    number = _to_number(value)
    try:
        return _or_default(value, default, "number") if number is None else float(number)
    except OverflowError:
        return _or_default(value, default, "number of this size")


def _to_number(value: Json) -> int | float | None:
    if isinstance(value, (int, float)):
        return value
    text = value.strip() if isinstance(value, str) else ""
    if len(text) > _LONGEST_NUMBER or _NUMBER.fullmatch(text) is None:
        return None
    return int(text) if text.lstrip("+-").isdigit() else float(text)


def _or_default(value: Json, default: Json, wanted: str) -> Json:
    if default is NO_VALUE:
        raise _refuse(f"this {kind(value)} is not a {wanted}; a default can be given")
    return default


def _string(allowance: Allowance, value: Json) -> str:
    return _text(allowance, value)


def _tojson(allowance: Allowance, value: Json) -> str:
    allowance.take(measure(value, allowance.limit))
    return to_json(value, allowance.limit)


def _bytes(allowance: Allowance, value: Json) -> bytes:
    try:
        return _text(allowance, value).encode()
    except UnicodeEncodeError:
        raise StepError("template.encoding", "a text holds half a character (a lone surrogate)") from None


def _b64(allowance: Allowance, value: Json) -> str:
    return _b64encode(_bytes(allowance, value)).decode()


def _urlencode(allowance: Allowance, value: Json) -> str:
    return quote(_bytes(allowance, value), safe="")


def _order(value: Json, *, case_sensitive: bool) -> Json:
    return value.lower() if isinstance(value, str) and not case_sensitive else value


def _sort(
    allowance: Allowance,
    value: Json,
    reverse: Json = None,
    case_sensitive: Json = None,
    attribute: Json = None,
) -> list[Json]:
    keys = [_order(key, case_sensitive=bool(case_sensitive)) for key in _items(allowance, value, attribute)]
    kinds = {kind(key) for key in keys}
    if not (kinds <= {"number"} or kinds <= {"text"}):
        raise _refuse(f"only numbers or only texts can be sorted, not {', '.join(sorted(kinds))}")
    order = sorted(range(len(keys)), key=keys.__getitem__, reverse=bool(reverse))
    return [value[index] for index in order]


def _unique(
    allowance: Allowance, value: Json, case_sensitive: Json = None, attribute: Json = None
) -> list[Json]:
    allowance.take(measure(value, allowance.limit))
    keys = _items(allowance, value, attribute)
    seen: dict[str, Json] = {}
    for key, item in zip(keys, value, strict=True):
        whole = int(key) if isinstance(key, float) and key.is_integer() else key
        seen.setdefault(to_json(_order(whole, case_sensitive=bool(case_sensitive)), allowance.limit), item)
    return list(seen.values())


def _map(allowance: Allowance, value: Json, *, attribute: Json) -> list[Json]:
    return _items(allowance, value, attribute)


FILTERS: Final[dict[str, Callable[..., Json]]] = {
    "lower": _lower,
    "upper": _upper,
    "trim": _trim,
    "length": _length,
    "first": _first,
    "last": _last,
    "join": _join,
    "replace": _replace,
    "int": _int,
    "float": _float,
    "string": _string,
    "tojson": _tojson,
    "b64encode": _b64,
    "urlencode": _urlencode,
    "sort": _sort,
    "unique": _unique,
    "map": _map,
}


def _divisible(value: Json, by: Json) -> bool:
    return bool(_number("%", value, by) == 0) if _is_number(value) and _is_number(by) else False


TESTS: Final[dict[str, Callable[..., bool]]] = {
    "none": lambda value: value is None,
    "null": lambda value: value is None,
    "true": lambda value: value is True,
    "false": lambda value: value is False,
    "boolean": lambda value: isinstance(value, bool),
    "number": _is_number,
    "integer": lambda value: _is_number(value) and isinstance(value, int),
    "float": lambda value: isinstance(value, float),
    "string": lambda value: isinstance(value, str),
    "mapping": lambda value: isinstance(value, dict),
    "sequence": lambda value: isinstance(value, list),
    "odd": lambda value: _is_number(value) and value % 2 == 1,
    "even": lambda value: _divisible(value, 2),
    "divisibleby": _divisible,
    "in": lambda value, container: value in container,
}
