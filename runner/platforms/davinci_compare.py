"""How DaVinci's functions compare two values: as texts, numbers or booleans (facts A5)."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from runner.core.commands import Json
from runner.core.text import to_text
from runner.platforms.davinci_gates import OTHERWISE
from runner.platforms.davinci_values import number_of, typed

Settings = tuple[str, bool]

_ORDERS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "ALessThanB": operator.lt,
    "ALessThanEqualToB": operator.le,
    "AGreaterThanB": operator.gt,
    "AGreaterThanEqualToB": operator.ge,
}


def compare(name: str, left: Json, right: Json, settings: Settings) -> bool:
    """Return whether a comparison holds; what is no number is neither less nor greater than one."""
    match name:
        case "AIsEmpty":
            return left is None or left in ("", [], {})
        case "AEqualsB":
            return equal(left, right, settings)
        case "ANotEqualsB":
            return not equal(left, right, settings)
        case "stringAContainsB":
            return _text(right, settings) in _text(left, settings)
        case "arrayOfAIncludesB":
            listed = typed(left, "array")
            return isinstance(listed, list) and any(equal(one, right, settings) for one in listed)
        case _:
            pair = number_of(left), number_of(right)
            return None not in pair and _ORDERS[name](*pair)


def switched(left: Json, choices: Sequence[tuple[str, Json]], settings: Settings) -> str:
    """Return the id of the first choice that equals a value, or that of the branch for all others."""
    return next((name for name, right in choices if equal(left, right, settings)), OTHERWISE)


def equal(left: Json, right: Json, settings: Settings) -> bool:
    """Return whether two values are the same, as the type that the settings name."""
    kind, _ = settings
    if kind == "number":
        numbers = number_of(left), number_of(right)
        return None not in numbers and numbers[0] == numbers[1]
    if kind == "boolean":
        return _truth(left) == _truth(right)
    if isinstance(left, dict | list) and isinstance(right, dict | list):
        return bool(left == right)
    return _text(left, settings) == _text(right, settings)


def _truth(value: Json) -> bool:
    found = typed(value, "boolean")
    return bool(found)


def _text(value: Json, settings: Settings) -> str:
    text = "" if value is None else to_text(value)
    return text if settings[1] else text.casefold()
