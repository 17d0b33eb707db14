"""Template expressions in Jinja2's grammar, with everything taken out that could reach Python.

The parsed tree is held against allow-lists before any code is made from it; fields are items only;
operators and filters are the bounded ones of `runner.core.filters`. Importing this module imports
jinja2, so `runner.core.expression` does it at the first expression.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from functools import cache
from math import isfinite
from typing import Any, Final

from jinja2 import StrictUndefined, TemplateSyntaxError, Undefined, UndefinedError, nodes, pass_context
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from runner.core.commands import Json
from runner.core.filters import FILTERS, MAX_INTEGER_BITS, NO_VALUE, TESTS, Allowance, binary, concat
from runner.core.reference import Reference, TemplateError, entry, spell
from runner.core.text import close_match

MAX_LENGTH: Final = 4096
MAX_NESTING: Final = 50

_CONCAT: Final = "~"
_PREFIX: Final = "in_"  # keeps `self` and other names that Jinja2 treats specially ordinary
_ALLOWANCE: Final = "allowance"
_RESULT: Final = "result"
_ALLOWED: Final = (
    *(nodes.Const, nodes.Name, nodes.Getattr, nodes.Getitem, nodes.List, nodes.Tuple, nodes.Dict, nodes.Pair),
    *(nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.CondExpr, nodes.Keyword),
    *(nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Neg, nodes.Pos),
    *(nodes.Concat, nodes.Filter, nodes.Test),
)
_QUOTED: Final = re.compile(r"'(?:\\.|[^'\\])*+'|\"(?:\\.|[^\"\\])*+\"", re.DOTALL)
_DASHED: Final = re.compile(r"[A-Za-z0-9_\])]-[A-Za-z_]")
_HINTS: Final = (
    (re.compile(r"[=!]=="), "=== and !== belong to conditions; in a template write == or !="),
    (re.compile(r"&&"), "write `and` for &&"),
    (re.compile(r"\|\|"), "write `or` for ||, or `| default(…)` for a missing value"),
    (re.compile(r"\?"), "write `a if condition else b` for ?:"),
    (re.compile(r"!(?!=)"), "write `not` for !"),
    (re.compile(r"\$"), "a name with $ stands alone, as in {{$uuid}}"),
    (re.compile(r"(?<![=!<>])=(?!=)"), "write == to compare"),
)


class _Absent(StrictUndefined):
    """A missing value of a soft expression: false, equal to nothing, and an error in any other use."""

    __slots__ = ()
    __bool__ = Undefined.__bool__  # type: ignore[assignment]
    __eq__ = Undefined.__eq__  # type: ignore[assignment]
    __ne__ = Undefined.__ne__  # type: ignore[assignment]
    __hash__ = Undefined.__hash__  # type: ignore[assignment]


class _Sandbox(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset(("+", "-", "*", "/", "//", "%"))

    def getitem(self, obj: Json, argument: Json) -> Json:
        """Return an item, or the undefined value; never an attribute."""
        if not isinstance(obj, Undefined) and isinstance(argument, (str, int)):
            try:
                return entry(obj, argument)
            except LookupError:
                pass
        return self.undefined(name=str(argument))

    getattr = getitem  # type: ignore[assignment]

    def call_binop(self, context: Context, operator: str, left: Json, right: Json) -> Json:
        """Compute one arithmetic operation within the allowance of this evaluation."""
        return binary(context.parent[_ALLOWANCE], operator, _defined(left), _defined(right))


def _defined(value: Json) -> Json:
    if isinstance(value, Undefined):
        raise UndefinedError("a value is missing")
    return value


def _as_filter(function: Callable[..., Json]) -> Callable[..., Any]:
    @pass_context
    def call(context: Context, *args: Json, **kwargs: Json) -> Json:
        for value in (*args, *kwargs.values()):
            _defined(value)
        result = function(context.parent[_ALLOWANCE], *args, **kwargs)
        return context.environment.undefined(name="item") if result is NO_VALUE else result

    return call


def _as_test(function: Callable[..., bool]) -> Callable[..., bool]:
    def call(*args: Json) -> bool:
        return function(*map(_defined, args))

    return call


@pass_context
def _default(_: Context, value: Json, default_value: Json = "", boolean: Json = None) -> Json:
    replaced = isinstance(value, Undefined) or value is None or (boolean and not value)
    return default_value if replaced else value


def _is_undefined(value: Json) -> bool:
    return isinstance(value, Undefined)


def _is_defined(value: Json) -> bool:
    return not isinstance(value, Undefined)


# What each takes is checked against the signature, after the allowance or context of a filter.
_FILTERS: Final[dict[str, Callable[..., Any]]] = {**FILTERS, "default": _default}
_TESTS: Final[dict[str, Callable[..., bool]]] = {**TESTS, "defined": _is_defined, "undefined": _is_undefined}


@cache
def _environment(*, soft: bool) -> _Sandbox:
    # Constant folding would compute at compile time, outside every allowance.
    environment = _Sandbox(undefined=_Absent if soft else StrictUndefined, optimized=False, autoescape=False)
    environment.globals.clear()
    environment.filters = {name: _as_filter(function) for name, function in FILTERS.items()}
    environment.filters.update({_CONCAT: _as_filter(concat), "default": _default})
    environment.tests = {name: _as_test(function) for name, function in TESTS.items()}
    environment.tests.update({"defined": _is_defined, "undefined": _is_undefined})
    return environment


def parse(source: str) -> nodes.Expr:
    """Return the checked tree of an expression; raises TemplateError."""
    if len(source) > MAX_LENGTH:
        raise TemplateError("template.too_long", f"an expression is longer than {MAX_LENGTH} characters")
    bare = _QUOTED.sub("''", source)
    dash = _DASHED.search(bare)
    if dash:
        what = f"{dash[0]!r} may be a name or a minus; write ['the-name'], or put spaces around the minus"
        raise TemplateError("template.dash", what)
    try:
        tree = _parsed(source)
    except (TemplateSyntaxError, ValueError) as error:
        raise TemplateError("template.syntax", _explain(source, bare, error)) from None
    except RecursionError:
        raise _too_deep() from None
    _check(tree)
    return tree


def _parsed(source: str) -> nodes.Expr:
    parser = Parser(_environment(soft=False), source, state="variable")
    tree = parser.parse_expression()
    if not parser.stream.eos:
        raise TemplateSyntaxError(f"unexpected {parser.stream.current.value!r}", 1)
    return tree


def _explain(source: str, bare: str, error: Exception) -> str:
    for pattern, hint in _HINTS:
        if pattern.search(bare):
            return f"{{{{ {source} }}}}: {hint}"
    message = getattr(error, "message", None) or str(error)  # str adds the line of a template's file
    return f"{{{{ {source} }}}} is not an expression: {message}"


def _too_deep() -> TemplateError:
    return TemplateError("template.depth", f"an expression is nested deeper than {MAX_NESTING} levels")


def _check(tree: nodes.Expr) -> None:
    stack: list[tuple[nodes.Node, int]] = [(tree, 1)]
    while stack:
        node, depth = stack.pop()
        if depth > MAX_NESTING:
            raise _too_deep()
        if type(node) not in _ALLOWED:
            raise TemplateError("template.forbidden", _forbidden(node))
        if isinstance(node, (nodes.Filter, nodes.Test)):
            _check_named(node)
        if isinstance(node, nodes.Const):
            _check_number(node.value)
        if isinstance(node, nodes.Pair) and not isinstance(getattr(node.key, "value", None), str):
            raise TemplateError("template.forbidden", "a key of an object must be a text in quotes")
        stack.extend((child, depth + 1) for child in node.iter_child_nodes())


def _check_number(value: Json) -> None:
    # Jinja2 writes constants into Python source, where these cannot stand.
    if (isinstance(value, float) and not isfinite(value)) or (
        isinstance(value, int) and value.bit_length() > MAX_INTEGER_BITS
    ):
        raise TemplateError("template.syntax", "a number in an expression is too large")


def _forbidden(node: nodes.Node) -> str:
    if isinstance(node, nodes.Call):
        return "functions and methods cannot be called in a template; filters can, as in {{ x | upper }}"
    if isinstance(node, nodes.Slice):
        return "a list cannot be sliced in a template; [0], `first` and `last` take one item"
    return f"{type(node).__name__.lower()} is not allowed in a template expression"


def _check_named(node: nodes.Filter | nodes.Test) -> None:
    is_filter = isinstance(node, nodes.Filter)
    word, known = ("filter", _FILTERS) if is_filter else ("test", _TESTS)
    if node.name not in known:
        hint = close_match(node.name, known) or f"; there are {', '.join(sorted(known))}"
        raise TemplateError("template.forbidden", f"no {word} {node.name!r}{hint}")
    if node.dyn_args is not None or node.dyn_kwargs is not None:
        raise TemplateError("template.forbidden", "arguments cannot be unpacked with * or ** in a template")
    given = [None] * (1 + is_filter + len(node.args))
    named = {str(keyword.key): None for keyword in node.kwargs}
    try:
        inspect.signature(known[node.name]).bind(*given, **named)
    except TypeError as error:
        raise TemplateError("template.forbidden", f"{word} {node.name!r}: {error}") from None


def is_soft(tree: nodes.Expr) -> bool:
    """Tell whether an expression copes with missing values: `default`, `is defined` or an inline `if`."""
    return any(map(_copes, (tree, *tree.find_all((nodes.Filter, nodes.Test, nodes.CondExpr)))))


def _copes(node: nodes.Node) -> bool:
    if isinstance(node, nodes.Filter):
        return node.name == "default"
    if isinstance(node, nodes.Test):
        return node.name in ("defined", "undefined")
    return isinstance(node, nodes.CondExpr)


def references(tree: nodes.Node, *, soft: bool) -> Iterator[Reference]:
    """Yield every path that an expression names, outermost only."""
    path: list[str | int] = []
    node = tree
    while True:
        if isinstance(node, nodes.Getattr):
            path.append(node.attr)
        elif isinstance(node, nodes.Getitem) and _is_key(node.arg):
            path.append(node.arg.value)  # type: ignore[attr-defined]
        else:
            break
        node = node.node
    if isinstance(node, nodes.Name):
        if node.name != "null":
            path.reverse()
            yield Reference(spell(node.name, path), node.name, tuple(path), soft)
        return
    for child in node.iter_child_nodes():
        yield from references(child, soft=soft)


def _is_key(node: nodes.Expr) -> bool:
    return isinstance(node, nodes.Const) and type(node.value) in (str, int)


class _Rewrite(NodeTransformer):
    """Replace what Jinja2 would compute by itself with what this module bounds."""

    def visit_Name(self, node: nodes.Name) -> nodes.Expr:  # noqa: N802 - Jinja2 dispatches on the class name
        if node.name == "null":
            return nodes.Const(None, lineno=1)
        return nodes.Name(_PREFIX + node.name, "load", lineno=1)

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Expr:  # noqa: N802 - as above
        self.generic_visit(node)
        return nodes.List(node.items, lineno=1)

    def visit_Concat(self, node: nodes.Concat) -> nodes.Expr:  # noqa: N802 - as above
        self.generic_visit(node)
        first, *rest = node.nodes
        return nodes.Filter(first, _CONCAT, rest, [], None, None, lineno=1)


def compile_tree(tree: nodes.Expr, *, soft: bool) -> Callable[[dict[str, Json], int], Json]:
    """Return a function from (roots, limit in characters) to the value of a checked tree.

    What it raises is for `runner.core.expression` to translate: StepError, UndefinedError, TypeError,
    and RecursionError.
    """
    environment = _environment(soft=soft)
    body = nodes.Assign(nodes.Name(_RESULT, "store", lineno=1), _Rewrite().visit(tree), lineno=1)
    whole = nodes.Template([body], lineno=1)
    whole.set_environment(environment)
    template = environment.from_string(whole)

    def evaluate(roots: dict[str, Json], limit: int) -> Json:
        names: dict[str, Any] = {_PREFIX + name: value for name, value in roots.items()}
        names[_ALLOWANCE] = Allowance(limit)
        context = template.new_context(names, shared=True)
        list(template.root_render_func(context))
        return _defined(context.vars[_RESULT])

    return evaluate
