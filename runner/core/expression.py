"""What stands between ``{{`` and ``}}`` when it is more than a path."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from runner.core.commands import Json
from runner.core.reference import RUN_VALUES, Reference, TemplateError, parse_path
from runner.core.scope import NOTHING, Scope
from runner.core.text import close_match, measure
from runner.errors import StepError

LONGEST_SEARCH: Final = 8192  # an expression is shorter, so nothing is looked for further on

_TOKEN: Final = re.compile(r"'(?:\\.|[^'\\])*+'?|\"(?:\\.|[^\"\\])*+\"?|[{}]", re.DOTALL)


class Expression:
    """A checked expression: its text, the references it names, whether it copes with missing ones.

    `encoded` tells that its last filter is ``urlencode``, so that a url takes it as it stands.
    """

    __slots__ = ("_evaluate", "_tree", "encoded", "references", "soft", "text")

    def __init__(self, text: str) -> None:
        from runner.core import sandbox

        self._tree: Any = sandbox.parse(text)
        self._evaluate: Callable[[dict[str, Json], int], Json] | None = None
        self.text = text
        self.soft = sandbox.is_soft(self._tree)
        self.references = tuple(dict.fromkeys(sandbox.references(self._tree, soft=self.soft)))
        self.encoded = getattr(self._tree, "name", None) == "urlencode"

    def value(self, scope: Scope) -> Json:
        """Return the value in a scope; only the roots that the expression names are handed on.

        Raises StepError: `reference.missing`, `template.value`, or `limit.text` when a part or the
        result is larger than the scope's text limit.
        """
        from jinja2 import UndefinedError

        if (instead := scope.stand_in(self.text, self.references)) is not NOTHING:
            return instead
        limit = scope.run.max_text
        found = {reference.root: scope.root(reference.root) for reference in self.references}
        roots = {name: value for name, value in found.items() if value is not NOTHING}
        try:
            result = self._compiled()(roots, limit)
            measure(result, limit)
        except UndefinedError:
            raise self._missing(scope) from None
        except StepError as error:
            raise StepError(error.code, f"{{{{ {self.text} }}}}: {error.message}") from None
        except (TypeError, RecursionError) as error:
            raise StepError("template.value", f"{{{{ {self.text} }}}} cannot be computed: {error}") from None
        return result

    def _compiled(self) -> Callable[[dict[str, Json], int], Json]:
        if self._evaluate is None:
            from runner.core.sandbox import compile_tree

            self._evaluate = compile_tree(self._tree, soft=self.soft)
            self._tree = None
        return self._evaluate

    def _missing(self, scope: Scope) -> StepError:
        for reference in self.references:
            try:
                scope.value(reference)
            except StepError as error:
                return error
        return StepError("reference.missing", f"{{{{ {self.text} }}}} has no value")


Operand: TypeAlias = Reference | Expression


def operand_value(operand: Operand, scope: Scope) -> Json:
    """Return the value of what stands in one ``{{ }}``; raises StepError."""
    return scope.value(operand) if type(operand) is Reference else operand.value(scope)  # type: ignore[union-attr]


def operand_secret(operand: Operand, scope: Scope) -> bool:
    """Tell whether a value is made from a secret one."""
    if isinstance(operand, Expression):
        return any(scope.is_secret(reference) for reference in operand.references)
    return scope.is_secret(operand)


def operand_references(operand: Operand) -> tuple[Reference, ...]:
    """Return the references that stand in one ``{{ }}``."""
    return operand.references if isinstance(operand, Expression) else (operand,)


def compile_operand(text: str, offset: int = 0) -> Operand:
    """Compile what stands between two pairs of braces; raises TemplateError with `offset`."""
    if text.startswith("-") or text.endswith("-"):
        what = "{{- and -}} do not trim white space here; write {{ x }}, and {{ -x }} for a negative number"
        raise TemplateError("template.syntax", what, offset)
    text = text.strip()
    if not text:
        raise TemplateError("template.empty", "nothing stands between {{ and }}; name a value", offset)
    reference = parse_path(text)
    if reference is not None:
        return known_reference(reference, offset)
    try:
        return Expression(text)
    except TemplateError as error:
        raise TemplateError(error.code, error.message, offset) from None


def known_reference(reference: Reference, offset: int) -> Reference:
    """Return a reference as it is; raises TemplateError when it names a `$` value that does not exist."""
    if reference.root.startswith("$") and reference.root not in RUN_VALUES:
        hint = close_match(reference.root, RUN_VALUES) or f"; there are {', '.join(RUN_VALUES)}"
        raise TemplateError("reference.unknown_value", f"no value {reference.root!r}{hint}", offset)
    return reference


def operand_end(source: str, start: int) -> int:
    """Return where the ``}}`` stands that closes an operand opened before `start`; raises TemplateError."""
    depth = 0
    for token in _TOKEN.finditer(source, start, start + LONGEST_SEARCH):
        if token[0] == "{":
            depth += 1
        elif token[0] == "}" and depth:
            depth -= 1
        elif token[0] == "}" and source.startswith("}}", token.start()):
            return token.start()
    end = source.find("}}", start)  # a quote that never closes: let the expression's own error tell
    if end < 0:
        what = "a {{ is never closed; add }}, or write {{ '{{' }} for the braces themselves"
        raise TemplateError("template.unclosed", what, start - 2)
    return end
