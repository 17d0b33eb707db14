"""What a step takes out of an answer: status, headers, cookies, a place in the body, a JSONPath.

Forms: DESIGN, Outputs. Besides ``response.body…``, ``response.status``, ``response.headers.…`` and
``response.cookies.…`` the body is meant by the legacy ``response.x`` and by a bare ``x.y``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cached_property
from typing import Final, NoReturn, TypeAlias

from runner.core.commands import Headers, Json, header
from runner.core.reference import FieldsAnyCase, Missing, TemplateError, parse_path, walk

Read: TypeAlias = Callable[["ResponseView"], Json]

_CHARSET: Final = re.compile(r";\s*charset\s*=\s*\"?([^\s\";]+)", re.IGNORECASE)
_JSON_TYPE: Final = re.compile(r"\s*(?:application|text)/(?:[\w.+-]+\+)?json\b", re.IGNORECASE)
_SINGULAR: Final = re.compile(r"\$(?:\.[A-Za-z_][A-Za-z0-9_]*|\[(?:0|-?[1-9][0-9]{0,8})\]|\['[^'\\]*'\])*")
_STEP: Final = re.compile(r"\.(\w+)|\[(-?[0-9]+)\]|\['([^']*)'\]")
# Codecs that are no character sets, or that take quadratic time.
_NOT_CHARSETS: Final = frozenset({"idna", "punycode", "undefined", "unicode_escape", "raw_unicode_escape"})


class Absent(LookupError):  # noqa: N818 - says what it is where it is caught
    """An answer does not hold what an output names; `at` says where it ends."""

    def __init__(self, at: str) -> None:
        self.at = at
        super().__init__(at)


class ResponseView:
    """An answer as outputs, assertions and `until` see it; its body is decoded when asked for."""

    def __init__(self, status: int, headers: Headers, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.content = body

    @cached_property
    def text(self) -> str:
        """The body as text: in its charset, else UTF-8, what cannot be decoded replaced by U+FFFD."""
        charset = _CHARSET.search(header(self.headers, "content-type") or "")
        if charset is None or charset[1].lower() == "utf-8":
            return self.content.decode("utf-8-sig", "replace")
        try:
            return _decode(self.content, charset[1])
        except (LookupError, ValueError):
            return self.content.decode("utf-8-sig", "replace")

    @cached_property
    def json(self) -> Json:
        """The body as JSON where it is JSON, else its text.

        Any JSON counts when the content type says so or is missing; under another type only an
        object or a list does, so that a plain text ``12345`` stays text.
        """
        content_type = header(self.headers, "content-type")
        text = self.text
        if content_type and not _JSON_TYPE.match(content_type) and not text.lstrip().startswith(("{", "[")):
            return text
        try:
            return _JSON.decode(text)
        except (ValueError, RecursionError):
            return text

    @cached_property
    def cookies(self) -> dict[str, str]:
        """The cookies that the answer sets, by name; the last one of a name wins."""
        lines = (value for name, value in self.headers if name.lower() == "set-cookie")
        pairs = (line.split(";", 1)[0].partition("=") for line in lines)
        return {name.strip(): value.strip() for name, equals, value in pairs if equals and name.strip()}

    @cached_property
    def fields(self) -> FieldsAnyCase:
        """The header fields under lower-case names, repeated ones joined by a comma."""
        names = dict.fromkeys(name.lower() for name, _ in self.headers)
        return FieldsAnyCase((name, header(self.headers, name)) for name in names)

    def as_scope(self) -> dict[str, Json]:
        """Return the value of the name ``response`` in conditions and templates."""
        return {
            "status": self.status,
            "headers": self.fields,
            "cookies": self.cookies,
            "body": self.json,
        }


def _decode(content: bytes, charset: str) -> str:
    from codecs import lookup

    name = lookup(charset).name
    if name in _NOT_CHARSETS:
        raise LookupError(charset)
    return content.decode("utf-8-sig" if name == "utf-8" else charset, "replace")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)  # NaN and Infinity are Python's, not JSON's


_JSON: Final = json.JSONDecoder(parse_constant=_refuse_constant)


class Output:
    """A compiled output path. Made by `compile_output`."""

    __slots__ = ("_read", "source")

    def __init__(self, source: str, read: Read) -> None:
        self.source = source
        self._read = read

    def read(self, view: ResponseView) -> Json:
        """Return the value in an answer; raises Absent. A null that is there is a value."""
        return self._read(view)


def compile_output(path: str) -> Output:
    """Compile an output path; raises TemplateError `output.path`."""
    source = path.strip()
    if source.startswith("$"):
        return Output(path, _singular(source) if _SINGULAR.fullmatch(source) else _query(source))
    reference = parse_path(source)
    if reference is not None and reference.root == "response":
        return Output(path, _of_response(reference.path))
    # A bare path may begin with a digit or an index, which no reference does.
    inside = parse_path(f"body{'' if source.startswith('[') else '.'}{source}")
    if inside is None:
        forms = "response.body.x, response.status, response.headers.x, response.cookies.x or $.x"
        raise TemplateError("output.path", f"{path!r} is not an output path; write {forms}")
    return Output(path, _body(inside.path))


def _of_response(path: tuple[str | int, ...]) -> Read:
    first, rest = (path[0], path[1:]) if path else ("body", ())
    if first == "body":
        return _body(rest)
    if first == "status" and not rest:
        return lambda view: view.status
    if first == "headers":
        return lambda view: _walked(view.fields, rest)
    if first == "cookies":
        return lambda view: _walked(view.cookies, rest)
    return _body(path)


def _body(path: tuple[str | int, ...]) -> Read:
    return lambda view: _walked(view.json, path)


def _walked(value: Json, path: tuple[str | int, ...]) -> Json:
    try:
        return walk(value, path)
    except Missing as missing:
        raise Absent(missing.at) from None


def _singular(source: str) -> Read:
    """Read what can only be one node without the JSONPath library, which a cold start would pay for."""
    keys = [int(index) if index else name or text for name, index, text in _STEP.findall(source)]

    def read(view: ResponseView) -> Json:
        value = view.json
        for key in keys:
            if not isinstance(value, dict if isinstance(key, str) else list):
                raise Absent(source)
            try:
                value = value[key]
            except LookupError:
                raise Absent(source) from None
        return value

    return read


def _query(source: str) -> Read:
    from runner.core.jsonpath import QueryError, compile_query

    try:
        select, single = compile_query(source)
    except QueryError as error:
        raise TemplateError("output.path", f"{source!r} is not a JSONPath of RFC 9535: {error}") from None

    def read(view: ResponseView) -> Json:
        try:
            values = select(view.json)
        except QueryError as error:
            raise Absent(f"{source}: {error}") from None
        if not values:
            raise Absent(source)
        return values[0] if single else values

    return read
