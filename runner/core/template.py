"""Text with ``{{ }}`` in it, compiled once per flow and rendered against a scope.

A path is resolved by `runner.core.scope`; only what is more than a path reaches Jinja2 (see
`runner.core.expression`). A value that is one whole ``{{ }}`` keeps its JSON type. Rules: DESIGN,
References and templates; SEMANTICS, Templates and conditions.
"""

from __future__ import annotations

import marshal
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Final, Literal, TypeAlias

from runner.core.commands import Json
from runner.core.expression import (
    Expression,
    Operand,
    compile_operand,
    known_reference,
    operand_end,
    operand_references,
    operand_secret,
    operand_value,
)
from runner.core.redact import MASK
from runner.core.reference import LITERALS, PATH, Reference, TemplateError, spell, split_path
from runner.core.scope import Scope
from runner.core.text import MAX_NESTING, measure, to_json, to_text, too_long
from runner.core.url import Component, advance, components, encode
from runner.errors import StepError

__all__ = ["Mode", "Template", "TemplateError", "Tree", "compile_template", "compile_tree", "survey"]

Mode: TypeAlias = Literal["text", "url", "json"]
Piece: TypeAlias = str | Reference | Expression
CompileText: TypeAlias = "Callable[[str], Template]"

_MOST_GROWN: Final = 1000
VALUE_FACTOR: Final = 16  # a rendered tree may be this many times larger than one text

_PATH_IN_BRACES: Final = re.compile(rf"\{{\{{\s*+({PATH})\s*+\}}\}}")
_TAG: Final = re.compile(r"\{[%#]")
_JSON_QUOTE: Final = re.compile(r'\\.|"', re.DOTALL)
_ORIGIN: Final = re.compile(r"\s*(?:[A-Za-z][A-Za-z0-9+.-]*:)?//[^/?#]*")


def _pieces(source: str) -> list[Piece]:
    pieces: list[Piece] = []
    position = 0
    while True:
        start = source.find("{{", position)
        literal = source[position:] if start < 0 else source[position:start]
        if literal:
            if "{" in literal:
                _refuse_tags(literal, position)
            pieces.append(literal)
        if start < 0:
            return pieces
        path = _PATH_IN_BRACES.match(source, start)
        if path and path[1] not in LITERALS:
            pieces.append(_path(path[1], start))
            position = path.end()
        else:
            end = operand_end(source, start + 2)
            pieces.append(compile_operand(source[start + 2 : end], start))
            position = end + 2


def _path(text: str, offset: int) -> Reference:
    reference = split_path(text)
    return known_reference(reference, offset) if text[0] == "$" else reference


def _refuse_tags(literal: str, position: int) -> None:
    tag = _TAG.search(literal)
    if tag:
        what = f"{tag[0]} tags cannot be used; write {{{{ }}}}, or {{{{ '{tag[0]}' }}}} for the characters"
        raise TemplateError("template.tag", what, position + tag.start())


class Template:
    """A compiled text. Made by `compile_template`; immutable; rendering raises StepError only.

    `constant` means that it has no ``{{ }}``, `whole` that it is nothing but one.
    """

    __slots__ = ("_components", "_pieces", "constant", "references", "source", "whole")

    def __init__(self, source: str, pieces: tuple[Piece, ...]) -> None:
        self.source = source
        self._pieces = pieces
        self._components: dict[tuple[int, Component], tuple[Component, ...]] | None = None
        self.constant = self.whole = False
        if len(pieces) == 1:
            self.constant = type(pieces[0]) is str
            self.whole = not self.constant
            if type(pieces[0]) is Reference:  # by far the most common template
                self.references: tuple[Reference, ...] = pieces  # type: ignore[assignment]
                return
        found: list[Reference] = []
        for piece in pieces:
            if type(piece) is not str:
                found += operand_references(piece)  # type: ignore[arg-type]
        self.references = tuple(found)

    @property
    def leading(self) -> str:
        """The text of the reference or expression that the template begins with, if it does."""
        return "" if type(self._pieces[0]) is str else self._pieces[0].text  # type: ignore[union-attr]

    def render(self, scope: Scope) -> Json:
        """Return the value: with its type when the template is whole, else text."""
        if self.whole:
            piece = self._pieces[0]
            return scope.value(piece) if type(piece) is Reference else operand_value(piece, scope)  # type: ignore[arg-type]
        return self.source if self.constant else self.text(scope)

    def text(self, scope: Scope) -> str:
        """Return the rendered text; null is an error, objects and lists are compact JSON."""
        return self.source if self.constant else _joined(self._texts(scope), scope)

    def url(self, scope: Scope) -> str:
        """Return the rendered url, values percent-encoded; a whole or leading value as it stands."""
        inner = self._pieces[1:] if type(self._pieces[0]) is not str else self._pieces
        if all(type(piece) is str for piece in inner):
            return self.text(scope)
        return _joined(self._url_texts(scope), scope)

    def json_text(self, scope: Scope) -> str:
        """Return the rendered JSON text: values escaped inside a string literal, JSON outside of one."""
        return self.source if self.constant else _joined(self._json_texts(scope), scope)

    def shown(self, scope: Scope, mode: Mode = "text") -> str:
        """Return the rendered text of a mode with ``[masked]`` for each value made from a secret."""
        return self.rendered_and_shown(scope, mode)[1]

    def rendered_and_shown(self, scope: Scope, mode: Mode = "text") -> tuple[str, str]:
        """Return the text and its masked form from one evaluation, so that both have the same `$…` values."""
        texts = {"text": self._texts, "url": self._url_texts, "json": self._json_texts}[mode](scope)
        rendered = _joined(texts, scope)
        bare = f'"{MASK}"' if mode == "json" else MASK
        inside = self._inside_string() if mode == "json" else (True,) * len(texts)
        for index, piece in enumerate(self._pieces):
            if not isinstance(piece, str) and operand_secret(piece, scope):
                texts[index] = MASK if inside[index] else bare
        return rendered, "".join(texts)

    def is_secret(self, scope: Scope) -> bool:
        """Tell whether any value in the text is made from a secret."""
        return any(map(scope.is_secret, self.references))

    def secret_values(self, scope: Scope) -> list[Json]:
        """Return the secret values in the text as they stand there, for a `Masker`."""
        operands = (piece for piece in self._pieces if not isinstance(piece, str))
        return [operand_value(piece, scope) for piece in operands if operand_secret(piece, scope)]

    def path_template(self) -> str | None:
        """Return ``url.template`` of the unrendered url, or None (SEMANTICS, Attempt name)."""
        leading = not isinstance(self._pieces[0], str) if self._pieces else False
        written = "".join(map(_placeholder, self._pieces[leading:]))
        path = re.split(r"[?#]", _ORIGIN.sub("", written.removeprefix(":"), count=1), maxsplit=1)[0]
        start = path.find("/")
        return path[start:].strip() if start >= 0 else None

    def _texts(self, scope: Scope) -> list[str]:
        texts: list[str] = []
        left = scope.run.max_text
        for piece in self._pieces:
            if type(piece) is str:
                texts.append(piece)
                continue
            value = scope.value(piece) if type(piece) is Reference else operand_value(piece, scope)  # type: ignore[arg-type]
            if type(value) is not str:
                value = _text(value, piece, scope)  # type: ignore[arg-type]
                left -= len(value)  # new text, unlike a string, is memory
                if left < 0:
                    raise too_long(scope.run.max_text)
            texts.append(value)
        return texts

    def _url_texts(self, scope: Scope) -> list[str]:
        texts = self._texts(scope)
        _check_size(texts, scope)
        pieces = self._pieces
        fixed, start = 0, Component.START
        if not isinstance(pieces[0], str):
            fixed = 2 if len(pieces) > 1 and isinstance(pieces[1], str) else 1
            start = advance(start, "".join(texts[:fixed]))
            if fixed == 1 < len(pieces) and start is Component.HOST and not texts[0].endswith("//"):
                # The second value would go on writing the host name that the first one began.
                what = (
                    f"{_braced(pieces[0])} and the value after it would both be in the host; put a / between"
                )
                raise StepError("url.host", what)
        if fixed < len(pieces):
            for index, component in enumerate(self._components_from(fixed, start), fixed):
                piece = pieces[index]
                if not isinstance(piece, str):
                    encoded = isinstance(piece, Expression) and piece.encoded
                    texts[index] = encode(texts[index], component, _braced(piece), encoded=encoded)
        return texts

    def _components_from(self, fixed: int, start: Component) -> tuple[Component, ...]:
        if self._components is None:
            self._components = {}
        found = self._components.get((fixed, start))
        if found is None:
            found = self._components[fixed, start] = components(self._pieces[fixed:], start)
        return found

    def _json_texts(self, scope: Scope) -> list[str]:
        texts: list[str] = []
        limit = left = scope.run.max_text
        for piece, inside in zip(self._pieces, self._inside_string(), strict=True):
            if isinstance(piece, str):
                texts.append(piece)
                continue
            value = operand_value(piece, scope)
            text = to_json(_text(value, piece, scope), limit)[1:-1] if inside else to_json(value, limit)
            left -= len(text)
            if left < 0:
                raise too_long(limit)
            texts.append(text)
        return texts

    def _inside_string(self) -> list[bool]:
        """Return for each piece whether it begins inside a JSON string literal."""
        inside, found = False, []
        for piece in self._pieces:
            found.append(inside)
            if isinstance(piece, str):
                quotes = sum(token[0] == '"' for token in _JSON_QUOTE.finditer(piece))
                inside ^= quotes % 2 == 1
        return found


def _placeholder(piece: Piece) -> str:
    if isinstance(piece, Expression):
        return "{expr}"
    return f"{{{piece.text}}}" if isinstance(piece, Reference) else piece


def _braced(operand: Operand) -> str:
    return f"{{{{{operand.text}}}}}"


def _text(value: Json, operand: Operand, scope: Scope) -> str:
    if value is None:
        what = f"{_braced(operand)} is null inside text; give it a value, or use `| default('…')`"
        raise StepError("template.null", what)
    try:
        return to_text(value, scope.run.max_text)
    except StepError as error:
        raise StepError(error.code, f"{_braced(operand)}: {error.message}") from None


def _check_size(texts: list[str], scope: Scope) -> None:
    if sum(map(len, texts)) > scope.run.max_text:
        raise too_long(scope.run.max_text)


def _joined(texts: list[str], scope: Scope) -> str:
    _check_size(texts, scope)
    text = "".join(texts)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            what = "a rendered text holds half a character (a lone surrogate)"
            raise StepError("template.encoding", what) from None
    return text


def compile_template(source: str) -> Template:
    """Compile a text; raises TemplateError with a code, a message and an offset in the text."""
    if "{{" not in source:
        if "{" in source:
            _refuse_tags(source, 0)
        return Template(source, (source,))
    path = _PATH_IN_BRACES.fullmatch(source)
    if path and path[1] not in LITERALS:
        return Template(source, (_path(path[1], 0),))
    return Template(source, tuple(_pieces(source)))


class _Container:
    """An object or list of which some values are rendered; the others stay as they are, in their order."""

    __slots__ = ("fixed", "rendered")

    def __init__(self, fixed: dict[str, Json] | list[Json], rendered: tuple[tuple[Any, _Node], ...]) -> None:
        self.fixed = fixed
        self.rendered = rendered

    def build(self, leaf: Callable[[Template], Json]) -> Json:
        built: Any = self.fixed.copy()
        for key, node in self.rendered:
            built[key] = node.build(leaf) if isinstance(node, _Container) else leaf(node)
        return built


_Node: TypeAlias = Template | _Container
Grown: TypeAlias = dict[bytes, tuple[_Container | None, list[Template]]]
"""Parts of trees, marshalled, to what grew of them and the templates in them."""
Place: TypeAlias = tuple[str | int, ...]


class Tree:
    """A JSON value whose strings are templates. Made by `compile_tree`.

    A flow may have 100 000 of them, so one holds nothing that can be found again, such as its place in
    the document. Constant parts are shared between renderings: treat what you get as read-only.
    """

    __slots__ = ("_node", "value")

    def __init__(self, value: Json, node: _Node | None = None) -> None:
        self.value = value
        self._node = node

    @property
    def constant(self) -> bool:
        """Whether no string has ``{{ }}`` in it."""
        return self._node is None

    def render(self, scope: Scope, where: str) -> Json:
        """Return the value with every template rendered; raises StepError with its place below `where`."""
        node = self._node
        if node is None:
            return self.value
        limit = room = scope.run.max_text * VALUE_FACTOR
        begun = 0

        def leaf(one: Template) -> Json:
            nonlocal begun, room
            begun += 1
            value = one.render(scope)
            if type(value) is str:
                room -= len(value)
            elif isinstance(value, (list, dict)):
                room -= measure(value, limit)
            if room < 0:
                raise too_long(limit)
            return value

        try:
            return node.build(leaf) if isinstance(node, _Container) else leaf(node)
        except StepError as error:
            place = error.where or spell(where, self.place(begun - 1))
            raise StepError(error.code, error.message, place) from None

    def place(self, number: int) -> Place:
        """Return the keys that lead to one of the templates, counted from 0 in the order of the document."""
        return next(islice(survey(self.value), number, None))[0]

    def is_secret(self, scope: Scope) -> bool:
        """Tell whether any value in the tree is made from a secret."""
        return any(template.is_secret(scope) for template in _templates(self._node))

    def secret_values(self, scope: Scope) -> list[Json]:
        """Return the secret values in the tree as they stand there, for a `Masker`."""
        return [value for template in _templates(self._node) for value in template.secret_values(scope)]

    def secret_keys(self, scope: Scope) -> frozenset[str]:
        """Return the keys of an object under which something is made from a secret."""
        rendered = self._node.rendered if isinstance(self._node, _Container) else ()
        return frozenset(
            str(key) for key, node in rendered if any(one.is_secret(scope) for one in _templates(node))
        )


def _templates(node: _Node | None) -> Iterator[Template]:
    if isinstance(node, _Container):
        for _, below in node.rendered:
            yield from _templates(below)
    elif node is not None:
        yield node


def compile_tree(
    value: Json, compile_text: CompileText = compile_template, grown: Grown | None = None
) -> tuple[Tree, list[Template]]:
    """Compile every string of a JSON value; returns the tree and its templates that are not constant.

    Raises TemplateError; `survey` finds every one, with its place. `compile_text` lets the caller
    remember equal texts, and `grown` remembers equal parts.
    """
    found: list[Template] = []
    if isinstance(value, str):
        template = compile_text(value)
        return (Tree(value), found) if template.constant else (Tree(value, template), [template])
    node = _grow(value, compile_text, found, 0, grown) if isinstance(value, (dict, list)) else None
    return Tree(value, node), found


def _grow_once(
    item: dict[str, Json] | list[Json], compile_text: CompileText, found: list[Template], grown: Grown
) -> _Container | None:
    """Grow a part of a tree, or take what has grown of an equal one."""
    try:
        same = marshal.dumps(item, 2)  # much faster than to grow it
    except ValueError:  # a value that Python code gave us may be of a class of its own
        return _grow(item, compile_text, found, 1)
    known = grown.get(same)
    if known is None:
        below: list[Template] = []
        known = _grow(item, compile_text, below, 1), below
        if len(grown) < _MOST_GROWN:
            grown[same] = known
    found += known[1]
    return known[0]


def _grow(
    item: dict[str, Json] | list[Json], compile_text: CompileText, found: list[Template], depth: int,
    grown: Grown | None = None,
) -> _Container | None:  # fmt: skip
    if depth > MAX_NESTING:
        raise _too_deep()
    rendered: list[tuple[Any, _Node]] = []
    if isinstance(item, dict):
        entries: Iterable[tuple[Any, Json]] = item.items()
        if "{{" in "\n".join(item):
            raise _braces_in_key(next(key for key in item if "{{" in key))
    else:
        entries = enumerate(item)
    for key, one in entries:
        # Most values are constants, and cost nothing but this look.
        if isinstance(one, str):
            if "{" in one and not (template := compile_text(one)).constant:
                found.append(template)
                rendered.append((key, template))
        elif isinstance(one, (dict, list)):
            if grown is None:
                node = _grow(one, compile_text, found, depth + 1)
            else:
                node = _grow_once(one, compile_text, found, grown)
            if node is not None:
                rendered.append((key, node))
    return _Container(item, tuple(rendered)) if rendered else None


def survey(
    value: Json, compile_text: CompileText = compile_template, place: Place = ()
) -> Iterator[tuple[Place, Template | TemplateError]]:
    """Yield what is rendered in a value, and all that is wrong, each after the keys that lead to it."""
    if isinstance(value, str):
        try:
            template = compile_text(value)
        except TemplateError as error:
            yield place, error
        else:
            if not template.constant:
                yield place, template
    elif isinstance(value, (dict, list)):
        if len(place) > MAX_NESTING:
            yield place, _too_deep()
            return
        if isinstance(value, dict):
            yield from ((place, _braces_in_key(key)) for key in value if "{{" in key)
        entries: Iterable[tuple[Any, Json]] = value.items() if isinstance(value, dict) else enumerate(value)
        for key, one in entries:
            yield from survey(one, compile_text, (*place, key))


def _too_deep() -> TemplateError:
    return TemplateError("template.depth", f"nested deeper than {MAX_NESTING} levels")


def _braces_in_key(key: str) -> TemplateError:
    what = f"the name {key!r} has {{{{ in it; only values can, so write the name out"
    return TemplateError("template.key", what)
