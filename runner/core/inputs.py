"""The inputs of a flow: are they declared soundly, and do the given values keep the rules.

All problems are told at once, before anything is sent, in the words of seed 002
(``Input username: minimum length is 3``). No message ever quotes a value.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from runner.core import input_formats
from runner.core.commands import Json
from runner.core.document import MAX_DEPTH, join, value_problems
from runner.core.json_document import load
from runner.core.model import UNSET, InputField
from runner.core.text import close_match, to_text
from runner.errors import FlowError, Problem, Severity

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WHOLE = re.compile(r"[+-]?[0-9]{1,4000}")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_BOOLEANS: Final = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_EXACT: Final = 2**53
_SHOWN_OPTIONS: Final = 20

_KINDS: Final[dict[type, str]] = {
    dict: "object",
    list: "array",
    str: "string",
    bool: "boolean",
    int: "number",
    float: "number",
    type(None): "null",
    bytes: "file",
}
_PYTHON: Final[dict[str, tuple[type, ...]]] = {
    "string": (str,),
    "number": (int, float),
    "integer": (int, float),
    "boolean": (bool,),
    "email": (str,),
    "password": (str,),
    "url": (str,),
    "object": (dict,),
    "array": (list,),
    "file": (str, bytes),
    "date": (str,),
    "json": (dict, list, str, bool, int, float, type(None)),
}
TYPES: Final = tuple(_PYTHON)
_SIZED: Final = (str, bytes, list, dict)

_TEXTS: Final = frozenset({"string", "password", "email", "url"})
_NUMBERS: Final = frozenset({"number", "integer"})
_LENGTHS: Final = _TEXTS | {"array", "object", "file", "json"}
_CHOICES: Final = _TEXTS | _NUMBERS | {"boolean", "date", "json"}


def check_inputs(
    fields: Sequence[InputField],
    given: Mapping[str, Json],
    *,
    text: frozenset[str] = frozenset(),
    open_inputs: bool = False,
    files: Mapping[str, str] | None = None,
) -> tuple[dict[str, Json], list[Problem]]:
    """Return the values of a run's inputs and every problem with them (DESIGN 3, Inputs).

    Defaults are applied; an optional input without a value is None. The names in `text` were given
    as text and are read as their declared type. `files` maps an input to the name of the file it
    was read from, for `allowed_types`. With `open_inputs` undeclared names are accepted as they are.
    """
    values: dict[str, Json] = {}
    problems: list[Problem] = []
    for field in fields:
        value = given.get(field.name, field.default)
        if value is UNSET or (value is None and field.type != "json"):
            values[field.name] = None
            found = [("input.required", "a required value is missing")] if field.required else []
        else:
            is_text = field.name in text and field.name in given
            values[field.name], found = _check(
                field, value, is_text=is_text, file_name=(files or {}).get(field.name)
            )
        problems += [_problem(field.name, code, what) for code, what in found]
    declared = {field.name for field in fields}
    for name in [name for name in given if name not in declared]:
        if open_inputs:
            values[name] = given[name]
        else:
            hint = close_match(name, sorted(declared)) or "; declare it in flow_inputs or leave it out"
            problems.append(_problem(name, "input.undeclared", f"no such input{hint}"))
    return values, problems


def check_fields(fields: Sequence[InputField]) -> list[Problem]:
    """Return what is wrong with the declarations of `flow_inputs`; what GASSAPI passes over is a warning."""
    problems: list[Problem] = []
    seen: set[str] = set()
    for index, field in enumerate(fields):
        where = f"flow_inputs[{index}]"
        label = f"Input {field.name or index}"
        for key, code, what, severity in (
            *_name_flaws(field, seen),
            *_rule_flaws(field),
            *_default_flaws(field),
        ):
            problems.append(Problem(code, f"{where}.{key}", f"{label}: {what}", severity))
        seen.add(field.name)
    return problems


@dataclass(frozen=True, slots=True)
class _Rule:
    """A rule of `validation`: the types it is for, what is wrong with its limit, when a value keeps it."""

    types: frozenset[str]
    flaw: Callable[[Json], str]
    holds: Callable[[Json, Json], bool]
    says: str


def _count_flaw(least: int) -> Callable[[Json], str]:
    def flaw(limit: Json) -> str:
        sound = isinstance(limit, int) and not isinstance(limit, bool) and limit >= least
        return "" if sound else f"must be a whole number of {least} or more"

    return flaw


def _number_flaw(limit: Json) -> str:
    return "must be a number" if _limit_number(limit) is UNSET else ""


def _switch_flaw(limit: Json) -> str:
    return "" if isinstance(limit, bool) else "must be true or false"


def _list_flaw(limit: Json) -> str:
    return "" if isinstance(limit, list) and limit else "must be a list with at least one value"


def _names_flaw(limit: Json) -> str:
    sound = isinstance(limit, list) and limit and all(isinstance(item, str) for item in limit)
    return "" if sound else "must be a list of texts"


def _limit_number(limit: Json) -> Json:
    return _number(limit) if isinstance(limit, str) else _typed("number", limit)


def _is_long_enough(value: Json, least: Json) -> bool:
    return not isinstance(value, _SIZED) or len(value) >= least


def _is_short_enough(value: Json, most: Json) -> bool:
    return not isinstance(value, _SIZED) or len(value) <= most


def _is_option(value: Json, options: Json) -> bool:
    as_text = None if isinstance(value, str | bool) or value is None else to_text(value)
    return any(_same(value, option) or (as_text is not None and as_text == option) for option in options)


def _same(one: Json, other: Json) -> bool:
    return _canonical(one) == _canonical(other)


def _canonical(value: Json) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, sort_keys=True)


def _in_domain(value: Json, domains: Json) -> bool:
    domain = value.rpartition("@")[2].lower()
    return domain in {name.lower().removeprefix("@") for name in domains}


def _are_unique(items: Json, wanted: Json) -> bool:
    return not wanted or len({_canonical(item) for item in items}) == len(items)


_OPTIONS = _Rule(_CHOICES, _list_flaw, _is_option, "must be one of: {}")
RULES: Final = {
    "min_length": _Rule(_LENGTHS, _count_flaw(0), _is_long_enough, "minimum length is {}"),
    "max_length": _Rule(_LENGTHS, _count_flaw(1), _is_short_enough, "maximum length is {}"),
    "pattern": _Rule(_TEXTS, input_formats.pattern_flaw, input_formats.matches, "pattern does not match"),
    "min": _Rule(_NUMBERS, _number_flaw, lambda value, least: value >= _limit_number(least), "minimum is {}"),
    "max": _Rule(_NUMBERS, _number_flaw, lambda value, most: value <= _limit_number(most), "maximum is {}"),
    "integer": _Rule(
        _NUMBERS, _switch_flaw, lambda value, wanted: not wanted or value % 1 == 0, "must be an integer"
    ),
    "options": _OPTIONS,
    "allowed_values": _OPTIONS,
    "allowed_domains": _Rule(frozenset({"email"}), _names_flaw, _in_domain, "domain must be one of: {}"),
    "min_items": _Rule(
        frozenset({"array"}), _count_flaw(0), _is_long_enough, "minimum number of items is {}"
    ),
    "max_items": _Rule(
        frozenset({"array"}), _count_flaw(0), _is_short_enough, "maximum number of items is {}"
    ),
    "unique_items": _Rule(frozenset({"array"}), _switch_flaw, _are_unique, "items must be unique"),
    "allowed_types": _Rule(
        frozenset({"file"}), _names_flaw, input_formats.has_extension, "file type must be one of: {}"
    ),
    "max_size": _Rule(
        frozenset({"file"}), input_formats.size_flaw, input_formats.fits_size, "maximum size is {}"
    ),
    "format": _Rule(
        frozenset({"date"}),
        input_formats.date_flaw,
        input_formats.is_date,
        "does not match the date format {}",
    ),
}
_FORMATS: Final[dict[str, tuple[Callable[[str], bool], str]]] = {
    "email": (input_formats.is_email, "invalid email format"),
    "url": (input_formats.is_url, "invalid url format"),
}
_RANGES: Final = (("min", "max"), ("min_length", "max_length"), ("min_items", "max_items"))
_Flaw: TypeAlias = tuple[str, str, str, Severity]


def _name_flaws(field: InputField, seen: set[str]) -> Iterator[_Flaw]:
    if not field.name:
        yield "name", "input.name", "a name is missing", "error"
    elif not _NAME.fullmatch(field.name):
        what = f"invalid name {field.name!r}; use letters, digits and _, and begin with no digit"
        yield "name", "input.name", what, "error"
    if field.name and field.name in seen:
        yield "name", "input.duplicate", "declared twice; rename or remove one of them", "error"
    if field.type not in _PYTHON:
        what = f"invalid type {field.type!r}, must be one of: {', '.join(TYPES)}"
        yield "type", "input.unknown_type", what + close_match(field.type, TYPES), "error"


def _rule_flaws(field: InputField) -> Iterator[_Flaw]:
    rules = field.validation
    for name, limit in rules.items():
        key = join("validation", name)
        rule = RULES.get(name)
        if rule is None:
            what = f"unknown rule {name!r}, it is not checked{close_match(name, RULES)}"
            yield key, "input.unknown_rule", what, "warning"
        elif field.type in _PYTHON and field.type not in rule.types:
            # GASSAPI refuses only this pair of rules and passes over the others.
            severity: Severity = "error" if name in ("min_length", "max_length") else "warning"
            what = f"{name} is not applicable for type {field.type}; remove it"
            yield key, "input.rule_not_applicable", what, severity
        elif flaw := rule.flaw(limit):
            yield key, "input.rule_value", f"{name} {flaw}", "error"
    for low, high in _RANGES:
        if low in rules and high in rules and _is_above(low, rules[low], rules[high]):
            yield (
                join("validation", low),
                "input.range",
                f"{low} is greater than {high}; no value fits",
                "error",
            )


def _is_above(rule: str, low: Json, high: Json) -> bool:
    sound = not RULES[rule].flaw(low) and not RULES[rule].flaw(high)
    return sound and bool(_limit_number(low) > _limit_number(high))


def _default_flaws(field: InputField) -> Iterator[_Flaw]:
    if field.default is UNSET:
        return
    if field.required:
        what = "required, and has a default that makes a value never missing; drop one of them"
        yield "default", "input.required_default", what, "warning"
    if field.default is not None and field.type in _PYTHON:
        for code, what in _check(field, field.default)[1]:
            yield "default", code, f"default: {what}", "error"


def _problem(name: str, code: str, what: str) -> Problem:
    return Problem(code, join("inputs", name), f"Input {name}: {what}")


def _check(
    field: InputField, value: Json, *, is_text: bool = False, file_name: str | None = None
) -> tuple[Json, list[tuple[str, str]]]:
    """Return the value as its declared type, and a code and a sentence for each rule that it breaks."""
    kind = field.type if field.type in _PYTHON else "json"
    if is_text:
        try:
            value = _from_text(kind, value)
        except FlowError as error:
            return value, [("input.json", error.problems[0].what)]
    typed = _typed(kind, value)
    if typed is UNSET:
        return value, [("input.type", f"invalid type {_kind(value)!r}, must be {kind}")]
    odd = None if isinstance(typed, bytes) else next(value_problems(typed), None)
    if odd is not None:
        return typed, [("input.json", odd.what)]
    return typed, [*_format_breaches(field, typed), *_breaches(field, typed, file_name)]


def _format_breaches(field: InputField, value: Json) -> Iterator[tuple[str, str]]:
    is_sound, says = _FORMATS.get(field.type, (None, ""))
    if is_sound is not None and not is_sound(value):
        yield f"input.{field.type}", says
    if field.type == "date" and "format" not in field.validation and not input_formats.is_iso_date(value):
        yield "input.date", "invalid date, must look like 2025-12-31"


def _breaches(field: InputField, value: Json, file_name: str | None) -> Iterator[tuple[str, str]]:
    for name, limit in field.validation.items():
        rule = RULES.get(name)
        # A rule that is itself wrong is a problem of the declaration, told by check_fields.
        if rule is None or field.type not in rule.types or rule.flaw(limit):
            continue
        subject = file_name if name == "allowed_types" else value
        try:
            if subject is None or rule.holds(subject, limit):
                continue
        except TimeoutError:
            yield "input.pattern_timeout", "pattern takes too long to match; simplify it"
            continue
        code = "options" if rule is _OPTIONS else name
        hidden = rule is _OPTIONS and field.type == "password"
        yield f"input.{code}", "not one of the allowed values" if hidden else rule.says.format(_shown(limit))


def _shown(limit: Json) -> str:
    if not isinstance(limit, list):
        return to_text(limit)
    more = len(limit) - _SHOWN_OPTIONS
    items = ["null" if item is None else to_text(item) for item in limit[:_SHOWN_OPTIONS]]
    return ", ".join(items) + (f" and {more} more" if more > 0 else "")


def _kind(value: Json) -> str:
    return next((name for kind, name in _KINDS.items() if type(value) is kind), type(value).__name__)


def _typed(kind: str, value: Json) -> Json:
    """Return a value as its type (5.0 is the integer 5), or UNSET if it is of another one."""
    if isinstance(value, bool) and kind not in ("boolean", "json"):
        return UNSET
    if not isinstance(value, _PYTHON[kind]):
        return UNSET
    if isinstance(value, float) and not math.isfinite(value):
        return UNSET
    return _integer(value) if kind == "integer" else value


def _integer(value: Json) -> Json:
    return int(value) if value % 1 == 0 else UNSET


def _from_text(kind: str, text: Json) -> Json:
    """Return what a text means as a type; the text itself when it does not read as one."""
    if not isinstance(text, str):
        return text
    if kind in _NUMBERS:
        number = _number(text)
        return text if number is UNSET else number
    if kind == "boolean":
        return _BOOLEANS.get(text.lower(), text)
    return load(text, "", MAX_DEPTH) if kind in ("object", "array", "json") else text


def _number(text: str) -> Json:
    """Return the number that a text spells; whole ones stay exact, however large. UNSET for other text."""
    text = text.strip()
    if _WHOLE.fullmatch(text):
        return int(text)
    if not _DECIMAL.fullmatch(text):
        return UNSET
    value = float(text)
    if math.isinf(value):
        return UNSET
    if abs(value) >= _EXACT:
        from decimal import Decimal

        exact = Decimal(text)
        return int(exact) if exact == exact.to_integral_value() else value
    return value
