"""What PingOne DaVinci takes as the body of a flow or a variable (seed 003; facts/davinci-nected A8).

Told before anything is sent: each property of the documents has a type, and a text its length. What
they do not name is left to the server.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

from runner.core.commands import Json
from runner.core.document import join

Shape: TypeAlias = "str | dict[str, Shape] | list[Shape]"

_NODE: Final[Shape] = {"data": {"id": "text", "nodeType": "text", "properties": "object"}}
_EDGE: Final[Shape] = {"data": {"id": "text", "source": "text", "target": "text"}}
# Seed 003, request model, in its order; what stands deeper is from the model of the API.
PROPERTIES: Final[dict[str, Shape]] = {
    "color": "text",
    "connectors": [{"id": "text"}],
    "currentVersion": "whole number",
    "description": "text",
    "enabled": "true or false",
    "graphData": {
        "elements": {"nodes": [_NODE], "edges": [_EDGE]},
        "pan": {"x": "number", "y": "number"},
        "zoom": "number",
    },
    "inputSchema": [
        {
            "propertyName": "text",
            "preferredDataType": "text",
            "required": "true or false",
            "description": "text",
            "isExpanded": "true or false",
            "preferredControlType": "text",
        }
    ],
    "name": "text",
    "outputSchema": {"output": {"type": "text", "properties": "object"}},
    "publishedVersion": "whole number",
    "settings": "object",
    "trigger": {"type": "text", "subtype": "text", "configuration": "object"},
}
VARIABLE: Final[dict[str, Shape]] = {
    "name": "text",
    "context": "text",
    "dataType": "text",
    "mutable": "true or false",
    "displayName": "text",
    "flow": {"id": "text"},
    "min": "whole number",
    "max": "whole number",
}
OF_A_VARIABLE: Final = (*VARIABLE, "value")
# Allowed values and lengths, by the place with [] for any index.
ALLOWED: Final[Mapping[str, tuple[str, ...]]] = {
    "inputSchema[].preferredDataType": ("array", "boolean", "number", "object", "string"),
    "outputSchema.output.type": ("object",),
    "trigger.type": ("AUTHENTICATION", "SCHEDULE"),
    "trigger.subtype": ("CIBA",),
    "context": ("company", "flow", "flowInstance", "user"),
    "dataType": ("boolean", "number", "object", "secret", "string"),
}
LONGEST: Final = {"name": 256, "description": 1024, "displayName": 256}  # characters
FORBIDDEN: Final = ("<", "${")  # in a name
MOST: Final = 10_000_000  # bytes of a call; the documents say 10 MB
_KINDS: Final[tuple[tuple[type, str], ...]] = (
    (bool, "true or false"),
    (int, "whole number"),
    (float, "number"),
    (str, "text"),
    (dict, "object"),
    (list, "list"),
)

Finding: TypeAlias = tuple[str, str]


def flow_findings(body: Mapping[str, Json], *, is_whole: bool) -> Iterator[Finding]:
    """Yield what is wrong with the properties of a flow: a place in the document, and what.

    A body that is sent as it stands, whole, needs a name.
    """
    yield from _findings(body, PROPERTIES, "", "")
    if is_whole and body.get("name") is None:
        yield "name", "is missing; the platform takes no flow without one"


def variable_findings(variable: Mapping[str, Json], path: str) -> Iterator[Finding]:
    """Yield what is wrong with a variable that stands at `path` of a document."""
    for needed in ("name", "context", "dataType", "mutable"):
        if variable.get(needed) is None:
            yield join(path, needed), "is missing"
    yield from _findings(variable, VARIABLE, path, "")


def _findings(value: Mapping[str, Json], shapes: dict[str, Shape], at: str, place: str) -> Iterator[Finding]:
    for name, shape in shapes.items():
        if value.get(name) is not None:
            yield from _misfits(value[name], shape, join(at, name), join(place, name))
        elif place and name in value:
            yield join(at, name), f"must be {_named(_kind(shape))}, not null"


def _misfits(value: Json, shape: Shape, at: str, place: str) -> Iterator[Finding]:
    """Yield where a value has not the shape; `place` is `at` without the numbers of lists."""
    if not _fits(value, shape):
        yield at, f"must be {_named(_kind(shape))}, not {named(value)}"
    elif isinstance(shape, list):
        for number, one in enumerate(value):
            yield from _misfits(one, shape[0], join(at, number), f"{place}[]")
    elif isinstance(shape, dict):
        yield from _findings(value, shape, at, place)
    elif shape == "text":
        yield from _flaws_of_text(value, at, place)


def _flaws_of_text(text: str, at: str, place: str) -> Iterator[Finding]:
    allowed = ALLOWED.get(place)
    if allowed is not None and text not in allowed:
        yield at, f"must be one of {', '.join(allowed)}, not {text!r}"
    most = LONGEST.get(place)
    if most is not None and len(text) > most:
        yield at, f"has {len(text)} characters; the platform takes {most}"
    if place == "name" and not text.strip():
        yield at, "must not be empty"
    if place == "name" and any(sign in text for sign in FORBIDDEN):
        yield at, f"must not have {' or '.join(FORBIDDEN)} in it"


def _fits(value: Json, shape: Shape) -> bool:
    kind = kind_of(value)
    return kind == _kind(shape) or (shape == "number" and kind == "whole number")


def _kind(shape: Shape) -> str:
    if isinstance(shape, str):
        return shape
    return "list" if isinstance(shape, list) else "object"


def kind_of(value: Json) -> str:
    """Return what a JSON value is; a number without a fraction is whole, however it is written."""
    if isinstance(value, float) and value.is_integer():
        return "whole number"
    return next((name for kind, name in _KINDS if isinstance(value, kind)), "null")


def named(value: Json) -> str:
    """Return what a JSON value is, in words."""
    return _named(kind_of(value))


def _named(kind: str) -> str:
    if kind in ("true or false", "null"):
        return kind
    return f"{'an' if kind == 'object' else 'a'} {kind}"
