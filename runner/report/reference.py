"""The reference page of the flow format, made from the models, so that it cannot say something else.

``python -m runner.report.reference > examples/REFERENCE.md`` writes it anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, fields
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from pydantic.fields import FieldInfo

from runner.core import codes, names
from runner.core.filters import FILTERS, TESTS
from runner.core.inputs import RULES as INPUT_RULES
from runner.core.inputs import TYPES as INPUT_TYPES
from runner.core.kinds import KINDS as KINDS_OF_DIALECTS
from runner.core.model import (
    UNSET,
    BasicAuth,
    BearerAuth,
    Config,
    Edge,
    External,
    FilePart,
    InputField,
    OAuth2Auth,
    Retry,
    Step,
    Until,
)
from runner.core.reference import RUN_VALUES
from runner.core.scope import RESERVED
from runner.report.trace_view import SPAN_FIELDS, TRACE_FIELDS

Rows = Iterable[tuple[str, ...]]

PLATFORM_KEYS: Final = (
    *("id", "project_id", "folder_id", "folder_name", "created_by", "created_at", "updated_at"),
    *("ai_version", "generation_strategy", "complexity_score"),
)
FLOW: Final = (
    ("name", "text", "Names the root span, `flow-<name>`. Without one the file's stem does."),
    ("description", "text", "Goes into the IntegrationFlow document."),
    (
        "flow_inputs",
        "list of [inputs](#input), or that as JSON text",
        "What a run may be given. `[]`: nothing. No such key: anything, untyped, with a warning.",
    ),
    ("flow_data", "object, or that as JSON text", "The [steps and their settings](#flow_data)."),
    ("is_active", "true or false", "False: a run warns."),
    ("ui_data", "object", "The platform's visual form; kept, not read."),
    *((name, "any", "The platform's own; kept, not read.") for name in PLATFORM_KEYS),
)
FLOW_DATA: Final = (
    ("version", "text", '`"1.0"`, which is also assumed, with a warning, when it is missing.'),
    ("steps", "list of [steps](#step)", "Run in list order, unless `config.parallel` or `edges` say more."),
    ("config", "[config](#config)", "Settings of the whole flow."),
    ("edges", "list of [edges](#edge)", "Branches and joins."),
)
RULES: Final = {
    "min_length": "At least so many characters, or items.",
    "max_length": "At most so many characters, or items.",
    "pattern": "Must be found in the value; bare or as `/pattern/flags`, within 0.1 s.",
    "min": "Smallest number.",
    "max": "Largest number.",
    "integer": "`true`: no fraction.",
    "options": "The only values.",
    "allowed_values": "Another name of `options`.",
    "allowed_domains": "The only domains of an e-mail address.",
    "min_items": "At least so many items.",
    "max_items": "At most so many items.",
    "unique_items": "`true`: no item twice.",
    "allowed_types": "The only endings of the file's name.",
    "max_size": "Largest file: bytes, or a text such as `2MB`.",
    "format": "What the date looks like, in PHP's letters. Default `Y-m-d`.",
}
KINDS: Final = (
    (Config, "config", "`flow_data.config`: settings of the whole flow."),
    (
        Step,
        "step",
        (
            "One of `flow_data.steps`. Its kind follows from its keys: `flow`; `method` and `url` (HTTP);\n"
            "`set`; `delay`; `condition` and nothing else. Every step needs an `id`. Around the work of a\n"
            "step stand, from the outside in, `condition`, `forEach`, `until` and `retry`."
        ),
    ),
    (Retry, "retry", "In a step, or in `config` for all steps. Each key is taken from the nearest place."),
    (Until, "until", "`until` of a step."),
    (BasicAuth, "auth: basic", "`auth` of a step. An `Authorization` header of the step wins."),
    (BearerAuth, "auth: bearer", "`auth` of a step. An `Authorization` header of the step wins."),
    (OAuth2Auth, "auth: oauth2", "`auth` of a step: client credentials (RFC 6749 section 4.4)."),
    (FilePart, "file", "A value of `multipart` that is a file."),
    (External, "external", "`external` of a step: a node that only its platform can run."),
    (Edge, "edge", "One of `flow_data.edges`. A step that an edge enters leaves the list order."),
    (InputField, "input", "One of `flow_inputs`."),
)
WORDS: Final[dict[object, str]] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Any: "any",
    dict: "object",
    Mapping: "object",
    list: "list",
    tuple: "list",
    Retry: "[retry](#retry)",
    Until: "[until](#until)",
    BasicAuth: "[basic](#auth-basic)",
    BearerAuth: "[bearer](#auth-bearer)",
    OAuth2Auth: "[oauth2](#auth-oauth2)",
    FilePart: "[file](#file)",
    External: "[external](#external)",
}

DEFAULT: Final = re.compile(r" ?Default (`[^`]+`|[^.`]+)\.")

HEAD: Final = """\
# Reference

Every key of a flow document, the languages inside it, every code that a problem or a failed step can
carry, every name that a trace can show, and what `runner show --json` prints. Made from the code by
`python -m runner.report.reference`.

A document is JSON or YAML. It is a flow record (`name`, `flow_inputs`, `flow_data` …), a row of the
platform's API (the same, with `flow_data` and `flow_inputs` as JSON texts), or `flow_data` alone. Keys
that are not listed here are kept; one that looks like a misspelt key is a warning.
"""
TEMPLATES: Final = """\
`{{ }}` may stand in every text of a step. A text that is one `{{ }}` keeps the type of its value; inside
a longer text, booleans are `true` and `false`, objects and lists are JSON. A value that is missing fails
the step before anything is sent.
"""
OPERANDS: Final = (
    ("`input.name`", "an input of the run"),
    ("`env.NAME`", "a value given with `-e` or `--env-file`; never the process environment by itself"),
    ("`headers.X-Request-ID`", "a header that came with the run, in any case"),
    ("`register.userId`", "an output of a step"),
    ("`order.items[0].sku`, `a['odd key']`", "a part of a value: items only, no attributes, no calls"),
    ("`item`, `index`", "the item and its position, on a step with `forEach`"),
    (
        ", ".join(f"`{name}`" for name in RUN_VALUES),
        "made from the run id and the step's path, so that a repeated request is the same",
    ),
    ("`name`", "an input of that name, else an env value"),
    (
        "an expression",
        (
            "Jinja2's grammar without calls: literals, references, `== != < <= > >=`, `and or not in`,"
            " `a if b else c`, `+ - * / // % ~`, filters and tests"
        ),
    ),
)
MORE_TEMPLATES: Final = f"""\
Filters: {", ".join(f"`{name}`" for name in sorted([*FILTERS, "default"]))}.

Tests: {", ".join(f"`is {name}`" for name in sorted([*TESTS, "defined", "undefined"]))}.

In an expression with `default`, `is defined` or an inline `if`, a value may be missing. Braces that are
to stay braces: `{{{{ '{{{{' }}}}`.

No step may be called {", ".join(f"`{name}`" for name in sorted(RESERVED))}.
"""
CONDITIONS: Final = (
    (
        "operands",
        (
            "`{{ }}`, numbers, `'text'` or `\"text\"` (with `{{ }}` inside), `true`, `false`, `null`;"
            " in `assert` and `until` also bare `response.*`"
        ),
    ),
    ("operators", "`=== !== == != < <= > >= && || ! ( )`; `&&` binds tighter than `||`"),
    ("`===`", "strict, as in JavaScript; lists and objects by content"),
    ("`==`", "the same, except that a numeric text equals its number"),
    ("`< <= > >=`", "two numbers or two texts; anything else fails the step"),
    ("truth", 'as in JavaScript: `false`, `0`, `""` and `null` are false'),
)
OUTPUTS: Final = (
    ("`response.body`, `response.body.a.b[0]`", "the body or a part of it; a text when it is not JSON"),
    ("`response.status`", "the status code"),
    ("`response.headers.Name`", "a header, in any case"),
    ("`response.cookies.name`", "a cookie that the answer sets"),
    (
        "`$.items[?@.price > 10].sku`",
        "a JSONPath (RFC 9535) into the body; a list, unless it can only be one value",
    ),
    ("`response.a`, `a.b`", "older spellings of `response.body.a` and `response.body.a.b`"),
)
LISTS: Final = (
    ("Problems", "What `check` finds, and what stops a run before anything is sent.\n\n", codes.PROBLEMS),
    (
        "Step errors",
        "Why a step failed: `error.code` of its result, `runner.failure.code` of its span.\n\n",
        codes.STEP_ERRORS,
    ),
    ("Span names", "", names.SPAN_NAMES),
    ("Span attributes", "", names.ATTRIBUTES),
    ("Span events", "", names.EVENTS),
    ("Metrics", "", names.METRICS),
    ("show --json: a trace", "`traces` of the object is a list of these.\n\n", TRACE_FIELDS),
    ("show --json: a span", "One of `spans`. What is not known is null.\n\n", SPAN_FIELDS),
)


def reference() -> str:
    """Return the whole page as Markdown."""
    return "\n".join(_parts())


def _parts() -> Iterator[str]:
    yield HEAD
    for title, keys in (("flow record", FLOW), ("flow_data", FLOW_DATA)):
        named = ((f"`{name}`", kind, effect) for name, kind, effect in keys)
        yield f"## {title}\n\n{table(('key', 'type', 'effect'), named)}"
    for kind, title, sentence in KINDS:
        keys_of = table(("key", "type", "default", "effect"), key_rows(kind))
        yield f"## {title}\n\n{sentence}\n\n{keys_of}"
    yield f"### Rules of an input\n\nKeys of `validation`.\n\n{table(('rule', 'for', 'effect'), _rules())}"
    yield f"## Templates\n\n{TEMPLATES}\n{table(('in braces', 'is'), OPERANDS)}\n{MORE_TEMPLATES}"
    sentence = (
        "`condition`, `assert` and `until.condition`. They are parsed; values are never pasted into them."
    )
    yield f"## Conditions\n\n{sentence}\n\n{table(('part', 'is'), CONDITIONS)}"
    sentence = "An output that is missing is an event on the step's span, and an error where a step needs it."
    yield f"## Output paths\n\n{table(('path', 'is'), OUTPUTS)}\n{sentence}\n"
    sentence = "By the dialect of the document. What is refused is told before anything is sent."
    fates = table(("document", "kind", "is", "how"), _fates())
    yield f"## What is run\n\n{sentence}\n\n{fates}"
    for title, sentence, entries in LISTS:
        means = ((f"`{name}`", text) for name, text in entries.items())
        yield f"## {title}\n\n{sentence}{table(('name', 'means'), means)}"


def _fates() -> Rows:
    for dialect, kinds in KINDS_OF_DIALECTS.items():
        yield from ((dialect, name, kind.fate, kind.what) for name, kind in kinds.items())


def table(head: tuple[str, ...], rows: Rows) -> str:
    """Return a Markdown table."""
    lines = [head, tuple("---" for _ in head), *(map(_cell, row) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(text: str) -> str:
    """Escape what would end the cell, and outside of code what would be read as HTML."""
    parts = text.replace("|", "\\|").split("`")
    parts[::2] = [part.replace("<", "\\<") for part in parts[::2]]
    return "`".join(parts)


def key_rows(kind: type) -> Iterator[tuple[str, str, str, str]]:
    """Return key, type, default and effect of each key of a class of the model."""
    hints = get_type_hints(kind, include_extras=True)
    camel = getattr(kind, "__pydantic_config__", {}).get("alias_generator", str)
    for field in fields(kind):
        hint, about = _described(hints[field.name])
        name = about.alias or camel(field.name)
        effect = about.description or f"Says that it is {type_text(hint)}."
        told = DEFAULT.search(effect)
        default = told[1] if told is not None else _default(field)
        yield f"`{name}`", f"{type_text(hint)}{_bounds(about)}", default, DEFAULT.sub("", effect)


def _described(hint: Any) -> tuple[Any, FieldInfo]:  # noqa: ANN401 - types are values here
    if get_origin(hint) is not Annotated:
        return hint, FieldInfo()
    inner, about, *_ = get_args(hint)
    return inner, about


def type_text(hint: Any) -> str:  # noqa: ANN401 - types are values here
    """Return a type in the words of the format: ``text or list of text``."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return type_text(inner[0])
    if origin in (Union, UnionType):
        return " or ".join(type_text(one) for one in inner if one is not NoneType)
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in inner)
    if origin in (list, tuple) and inner[0] is not Any:
        return f"list of {type_text(inner[0])}"
    if origin in (dict, Mapping) and inner[1] is not Any:
        return f"object of {type_text(inner[1])}"
    return WORDS[origin or hint]


def _bounds(about: FieldInfo) -> str:
    found = {type(rule).__name__: rule for rule in about.metadata}
    return f", {found['Ge'].ge} to {found['Le'].le}" if found.keys() >= {"Ge", "Le"} else ""


def _default(field: Field[Any]) -> str:
    if field.default is MISSING and field.default_factory is MISSING:
        return "required"
    if field.default in (MISSING, UNSET, None, "", ()):
        return ""
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


def _rules() -> Rows:
    for name, rule in INPUT_RULES.items():
        yield f"`{name}`", ", ".join(kind for kind in INPUT_TYPES if kind in rule.types), RULES[name]


if __name__ == "__main__":
    import sys

    sys.stdout.write(reference())
