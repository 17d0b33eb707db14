"""JSONPath queries (RFC 9535) that cannot hang: bounded patterns, bounded results.

Importing this module imports the JSONPath library; `runner.core.output` does it at the first query
that can select more than one node.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import islice
from typing import Final

import regex
from iregexp_check import check
from jsonpath_rfc9535 import JSONPathEnvironment, JSONPathError
from jsonpath_rfc9535.function_extensions import ExpressionType, FilterFunction

from runner.core.commands import Json

MAX_NODES: Final = 100_000
MAX_NESTING: Final = 200
PATTERN_SECONDS: Final = 0.1

_DOT: Final = re.compile(r"\\.|\[(?:\\.|[^\]\\])*\]|\.", re.DOTALL)


class QueryError(ValueError):
    """A query that is not JSONPath, or an answer that it cannot be applied to within the bounds."""


class _Pattern(FilterFunction):
    """The functions ``match`` and ``search``: I-Regexp (RFC 9485) within a time limit."""

    arg_types = [ExpressionType.VALUE, ExpressionType.VALUE]  # noqa: RUF012 - the library's own shape
    return_type = ExpressionType.LOGICAL

    def __init__(self, method: str) -> None:
        self.method = method

    def __call__(self, string: object, pattern: object) -> bool:
        if not isinstance(string, str) or not isinstance(pattern, str) or not check(pattern):
            return False
        # RFC 9485 section 5: a dot is anything but a line end.
        written = _DOT.sub(lambda part: r"[^\n\r]" if part[0] == "." else part[0], pattern)
        try:
            return bool(getattr(regex.compile(written), self.method)(string, timeout=PATTERN_SECONDS))
        except TimeoutError:
            raise QueryError(f"the pattern {pattern!r} takes too long") from None
        except regex.error:
            return False


class _Bounded(JSONPathEnvironment):
    max_recursion_depth = MAX_NESTING

    def setup_function_extensions(self) -> None:
        """Add the standard functions, with our own where patterns are matched."""
        super().setup_function_extensions()
        self.function_extensions["match"] = _Pattern("fullmatch")
        self.function_extensions["search"] = _Pattern("search")


_ENVIRONMENT: Final = _Bounded()


def compile_query(source: str) -> tuple[Callable[[Json], list[Json]], bool]:
    """Return a function from a value to the selected values, and whether it can only select one.

    Raises QueryError, as the function does.
    """
    try:
        query = _ENVIRONMENT.compile(source)
    except (JSONPathError, ValueError, RecursionError) as error:
        raise QueryError(str(error)) from None

    def select(value: Json) -> list[Json]:
        try:
            found = [node.value for node in islice(query.finditer(value), MAX_NODES + 1)]
        except (JSONPathError, RecursionError) as error:
            raise QueryError(str(error)) from None
        if len(found) > MAX_NODES:
            raise QueryError(f"more than {MAX_NODES} values are selected")
        return found

    return select, query.singular_query()
