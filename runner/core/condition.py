"""Conditions: parsed once into closures over typed operands, never pasted together as text.

Grammar and meaning: SEMANTICS, Templates and conditions. From loose to tight: ``||``, ``&&``,
equality, order, ``!``. An input such as ``' || true || '`` stays one string whatever is in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, TypeAlias

from runner.core.commands import Json
from runner.core.expression import Operand, compile_operand, operand_end, operand_references, operand_value
from runner.core.filters import kind
from runner.core.reference import PATH, Reference, TemplateError, parse_path
from runner.core.scope import Scope
from runner.core.text import to_text, too_long
from runner.errors import RunnerError, StepError

MAX_NESTING: Final = 200

Evaluate: TypeAlias = Callable[[Scope], Json]

_SPACE: Final = re.compile(r"\s*+")
_OPERATOR: Final = re.compile(r"===|!==|==|!=|<=|>=|&&|\|\||[<>!()]")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][+-]?[0-9]{1,3})?+(?![\w.])")
_NUMERIC: Final = re.compile(r"[+-]?[0-9]++(?:\.[0-9]++)?(?:[eE][+-]?[0-9]{1,3})?")
_WORD: Final = re.compile(PATH)
_PLAIN: Final = re.compile(r"[^\\{'\"]++")
_LITERALS: Final[dict[str, Json]] = {"true": True, "false": False, "null": None}
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r"}
_LEVELS: Final = {"||": 1, "&&": 2, "===": 3, "!==": 3, "==": 3, "!=": 3, "<": 4, "<=": 4, ">": 4, ">=": 4}
_COMPARISON: Final = 3
_LONGEST_NUMBER: Final = 4000
_HINTS: Final = {
    "=": "write === to compare",
    "&": "write && for and",
    "|": "write || for or",
    "and": "write && for and",
    "or": "write || for or",
    "not": "write ! for not",
    "undefined": "write null",
    "None": "write null",
    "True": "write true",
    "False": "write false",
    "?": "a condition has no ?:; use an inline if in {{ }}",
    **dict.fromkeys("+-*/%", "a condition does not calculate; put the calculation in {{ }}"),
}


class ConditionSyntaxError(RunnerError):
    """A condition that cannot be parsed: a code of PROBLEMS, a message with a remedy, an offset."""

    def __init__(self, code: str, message: str, offset: int) -> None:
        self.code = code
        self.message = message
        self.offset = offset
        super().__init__(message)


class _Token(NamedTuple):
    """An operator or bracket (`text`), an operand (`evaluate`), or the end (neither)."""

    offset: int
    text: str = ""
    evaluate: Evaluate | None = None
    references: tuple[Reference, ...] = ()


class Condition:
    """A compiled condition. Made by `compile_condition`; immutable; evaluation raises StepError only."""

    __slots__ = ("_evaluate", "references", "shown")

    def __init__(self, source: str, evaluate: Evaluate, references: tuple[Reference, ...]) -> None:
        self.shown = source
        self.references = references
        self._evaluate = evaluate

    def evaluate(self, scope: Scope) -> Json:
        """Return the result: for ``&&`` and ``||`` the operand that decided, as in JavaScript."""
        try:
            return self._evaluate(scope)
        except RecursionError:
            raise StepError("condition.types", "the values compared are nested too deeply") from None

    def holds(self, scope: Scope) -> bool:
        """Return whether the condition is truthy as in JavaScript."""
        return truthy(self.evaluate(scope))


def compile_condition(source: str, *, response: bool = False) -> Condition:
    """Compile a condition; bare ``response.…`` paths are operands only with `response`.

    Raises ConditionSyntaxError `condition.syntax`, `condition.depth`, or the code of the template
    problem inside of it.
    """
    tokens = list(_tokens(source, response=response))
    try:
        evaluate = _Parser(tokens).condition()
    except RecursionError:
        raise _too_deep(0) from None
    return Condition(source, evaluate, tuple(one for token in tokens for one in token.references))


def truthy(value: Json) -> bool:
    """Return whether a value counts as true in JavaScript: empty lists and objects do, NaN does not."""
    if isinstance(value, (list, dict)):
        return True
    return bool(value) and value == value  # noqa: PLR0124 - only NaN differs from itself


def _tokens(source: str, *, response: bool) -> Iterator[_Token]:
    position = _skip_space(source, 0)
    while position < len(source):
        if match := _OPERATOR.match(source, position):
            yield _Token(position, match[0])
            position = match.end()
        elif source[position] in "'\"":
            end, token = _string(source, position)
            yield token
            position = end
        elif source.startswith("{{", position):
            end, operand = _operand(source, position)
            yield _operand_token(position, operand)
            position = end
        else:
            end, token = _word(source, position, response=response)
            yield token
            position = end
        position = _skip_space(source, position)
    yield _Token(len(source))


def _skip_space(source: str, position: int) -> int:
    match = _SPACE.match(source, position)
    return match.end() if match else position


def _operand(source: str, start: int) -> tuple[int, Operand]:
    try:
        end = operand_end(source, start + 2)
        return end + 2, compile_operand(source[start + 2 : end], start)
    except TemplateError as error:
        raise ConditionSyntaxError(error.code, error.message, error.offset) from None


def _operand_token(offset: int, operand: Operand) -> _Token:
    def evaluate(scope: Scope) -> Json:
        return operand_value(operand, scope)

    return _Token(offset, "", evaluate, operand_references(operand))


def _constant(offset: int, value: Json) -> _Token:
    return _Token(offset, "", lambda _: value)


def _word(source: str, start: int, *, response: bool) -> tuple[int, _Token]:
    if number := _NUMBER.match(source, start):
        return number.end(), _constant(start, _to_number(number[0]))
    word = _WORD.match(source, start)
    if word is None:
        what = f"unexpected {source[start]!r}"
        raise _syntax(f"{what}; {_HINTS.get(source[start], 'put text in quotes')}", start)
    text = word[0]
    if text in _LITERALS:
        return word.end(), _constant(start, _LITERALS[text])
    reference = parse_path(text)
    if reference is None or reference.root != "response":
        hint = _HINTS.get(text) or f"put text in quotes ('{text}') and a reference in braces ({{{{{text}}}}})"
        raise _syntax(f"unexpected word {text!r}; {hint}", start)
    if not response:
        raise _syntax(f"{text!r} is known only in assert and until; give the step an output for it", start)
    return word.end(), _operand_token(start, reference)


def _string(source: str, start: int) -> tuple[int, _Token]:
    """Read a quoted string; `{{ }}` in it are values put into the text, and their quotes do not end it."""
    quote, position = source[start], start + 1
    pieces: list[str | Operand] = []
    while position < len(source):
        char = source[position]
        if char == quote:
            return position + 1, _string_token(start, pieces)
        if source.startswith("{{", position):
            position, operand = _operand(source, position)
            pieces.append(operand)
        elif char == "\\":
            escaped = source[position + 1 : position + 2]
            pieces.append(_ESCAPES.get(escaped, escaped))
            position += 2
        else:
            plain = _PLAIN.match(source, position)
            pieces.append(plain[0] if plain else char)
            position = plain.end() if plain else position + 1
    raise _syntax(f"the quote {quote} is never closed; add it, or write \\{quote} for the character", start)


def _string_token(offset: int, pieces: list[str | Operand]) -> _Token:
    texts = [piece for piece in pieces if isinstance(piece, str)]
    if len(texts) == len(pieces):
        return _constant(offset, "".join(texts))

    def evaluate(scope: Scope) -> Json:
        limit = left = scope.run.max_text
        rendered = []
        for piece in pieces:
            rendered.append(piece if isinstance(piece, str) else _text(piece, scope))
            left -= len(rendered[-1])
            if left < 0:
                raise too_long(limit)
        return "".join(rendered)

    references = (one for piece in pieces if not isinstance(piece, str) for one in operand_references(piece))
    return _Token(offset, "", evaluate, tuple(references))


def _text(operand: Operand, scope: Scope) -> str:
    try:
        return to_text(operand_value(operand, scope), scope.run.max_text)
    except StepError as error:
        if error.code != "template.null":
            raise
        what = f"{{{{{operand.text}}}}} is null inside quotes; compare it without quotes"
        raise StepError(error.code, what) from None


def _syntax(message: str, offset: int) -> ConditionSyntaxError:
    return ConditionSyntaxError("condition.syntax", f"{message} (at character {offset + 1})", offset)


def _too_deep(offset: int) -> ConditionSyntaxError:
    what = f"the condition is nested deeper than {MAX_NESTING} levels; split it over several steps"
    return ConditionSyntaxError("condition.depth", what, offset)


class _Parser:
    """Precedence climbing: each call reads the operators of at least one level of `_LEVELS`."""

    def __init__(self, tokens: list[_Token]) -> None:
        self.tokens = tokens
        self.position = 0
        self.depth = 0

    def condition(self) -> Evaluate:
        evaluate = self.expression(1)
        token = self.token
        if token.text == ")":
            raise _syntax("a ) closes nothing; remove it", token.offset)
        if token.evaluate or token.text:
            raise _syntax("an operator is missing here; write &&, || or a comparison", token.offset)
        return evaluate

    @property
    def token(self) -> _Token:
        return self.tokens[self.position]

    def expression(self, floor: int) -> Evaluate:
        left = self.unary()
        while (level := _LEVELS.get(self.token.text, 0)) >= floor:
            operator = self.token.text
            terms = [left]
            while self.token.text == operator and (level < _COMPARISON or len(terms) == 1):
                self.position += 1
                terms.append(self.expression(level + 1))
            if level >= _COMPARISON and _LEVELS.get(self.token.text) == level:
                what = "comparisons cannot be chained; join two with &&"
                raise _syntax(what, self.token.offset)
            left = _JOINED[operator](terms) if level < _COMPARISON else _comparison(operator, *terms)
        return left

    def unary(self) -> Evaluate:
        negations = 0
        while self.token.text == "!":
            negations += 1
            self.position += 1
        evaluate = self.primary()
        return _negated(evaluate, odd=negations % 2 == 1) if negations else evaluate

    def primary(self) -> Evaluate:
        token = self.token
        if token.evaluate:
            self.position += 1
            return token.evaluate
        if token.text != "(":
            found = f"before {token.text!r}" if token.text else "at the end"
            hint = "write a literal or {{ a reference }}"
            raise _syntax(f"a value is missing {found}; {hint}", token.offset)
        self.depth += 1
        if self.depth > MAX_NESTING:
            raise _too_deep(token.offset)
        self.position += 1
        evaluate = self.expression(1)
        if self.token.text != ")":
            raise _syntax("a ( is never closed; add a )", token.offset)
        self.position += 1
        self.depth -= 1
        return evaluate


def _negated(operand: Evaluate, *, odd: bool) -> Evaluate:
    def evaluate(scope: Scope) -> bool:
        return truthy(operand(scope)) is not odd

    return evaluate


def _any_of(terms: list[Evaluate]) -> Evaluate:
    def evaluate(scope: Scope) -> Json:
        value: Json = None
        for term in terms:
            value = term(scope)
            if truthy(value):
                break
        return value

    return evaluate


def _all_of(terms: list[Evaluate]) -> Evaluate:
    def evaluate(scope: Scope) -> Json:
        value: Json = None
        for term in terms:
            value = term(scope)
            if not truthy(value):
                break
        return value

    return evaluate


_JOINED: Final = {"||": _any_of, "&&": _all_of}


def _comparison(operator: str, left: Evaluate, right: Evaluate) -> Evaluate:
    compare = _COMPARE[operator]

    def evaluate(scope: Scope) -> bool:
        return compare(left(scope), right(scope))

    return evaluate


def same(left: Json, right: Json) -> bool:
    """Return whether two values are ``===``: of one type and alike, lists and objects by content."""
    types = kind(left)
    if types != kind(right):
        return False
    if types == "list":
        return len(left) == len(right) and all(map(same, left, right))
    if types == "object":
        return left.keys() == right.keys() and all(same(value, right[key]) for key, value in left.items())
    return bool(left == right)


def equal(left: Json, right: Json) -> bool:
    """Return whether two values are ``==``: as `same`, and a numeric string also equals its number."""
    if kind(left) == "text" and kind(right) == "number":
        return _equals_number(left, right)
    if kind(left) == "number" and kind(right) == "text":
        return _equals_number(right, left)
    return same(left, right)


def _equals_number(text: str, number: float) -> bool:
    return _NUMERIC.fullmatch(text) is not None and _to_number(text) == number


def _to_number(text: str) -> int | float:
    # Python refuses decimal text of more than 4300 digits as an integer.
    return int(text) if text.lstrip("+-").isdigit() and len(text) <= _LONGEST_NUMBER else float(text)


def _ordered(operator: str, compare: Callable[[Json, Json], bool]) -> Callable[[Json, Json], bool]:
    def ordered(left: Json, right: Json) -> bool:
        types = kind(left)
        if types != kind(right) or types not in ("number", "text"):
            what = f"{types} {operator} {kind(right)} cannot be compared; it needs two numbers or two texts"
            raise StepError("condition.types", what)
        return compare(left, right)

    return ordered


_COMPARE: Final[dict[str, Callable[[Json, Json], bool]]] = {
    "===": same,
    "!==": lambda left, right: not same(left, right),
    "==": equal,
    "!=": lambda left, right: not equal(left, right),
    "<": _ordered("<", lambda left, right: left < right),
    "<=": _ordered("<=", lambda left, right: left <= right),
    ">": _ordered(">", lambda left, right: left > right),
    ">=": _ordered(">=", lambda left, right: left >= right),
}
