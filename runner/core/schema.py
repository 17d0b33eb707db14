"""The JSON Schema (draft 2020-12) of flow documents in the Steps format, made from `runner.core.model`.

It takes every spelling that the reader takes: the PUT body, an API row whose parts are JSON texts,
bare `flow_data`; null for "not given", `[]` for an empty object, unknown keys anywhere.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from runner.core.commands import Json
from runner.core.model import Config, Edge, InputField, Step

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_REFS: Final = "#/$defs/{model}"
_PARTS: Final = {"step": Step, "edge": Edge, "config": Config, "input": InputField}
RECOGNISED: Final = ("flow_data", "steps", "name", "description", "folder_id", "flow_inputs", "is_active")
# Where PHP has stored an empty object, `[]` stands (seed 002; facts on GASSAPI).
_EMPTY_LIST: Final[dict[str, Json]] = {"type": "array", "maxItems": 0}
_ROW: Final = (
    "id",
    "project_id",
    "folder_name",
    "created_by",
    "created_at",
    "updated_at",
    "ai_version",
    "generation_strategy",
    "complexity_score",
)
OBJECTS: Final = frozenset(
    ("headers", "outputs", "config", "validation", "query", "form", "multipart", "inputs", "set", "retry")
)
_NULL: Final[dict[str, Json]] = {"type": "null"}


class _Generator(GenerateJsonSchema):
    """Says nothing of defaults that JSON cannot hold, such as "not given"."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012 - the base's own form


def flow_schema() -> dict[str, Json]:
    """Return the schema of a whole document."""
    return {
        "$schema": DIALECT,
        "title": "Flow",
        "description": "A flow of HTTP steps: a document, a row of the platform's API, or bare flow_data.",
        "type": "object",
        "properties": _record() | _data(),
        "anyOf": [{"required": [key]} for key in RECOGNISED],
        "$defs": _definitions(),
    }


def _record() -> dict[str, Json]:
    text = {"type": ["string", "null"]}
    fields = {"type": "array", "items": _reference("input")}
    by_name = {"type": "object", "additionalProperties": _reference("input")}
    data = {"type": "object", "properties": _data()}
    return {
        "name": text | {"description": "Name of the flow."},
        "description": text | {"description": "Free text."},
        "folder_id": {"description": "The platform's folder; not used by a run."},
        "flow_inputs": _either(
            fields,
            by_name,
            _inner_json("JSON of the same"),
            _NULL,
            description="What a run is given. `[]`: nothing; without this key anything is taken, untyped.",
        ),
        "flow_data": _either(
            data, _inner_json("JSON of the same"), _EMPTY_LIST, _NULL, description="Steps, edges, settings."
        ),
        "is_active": {"description": "A flow that is not active is run with a warning."},
        "ui_data": {"description": "The platform's picture of the flow; kept as it is."},
        **{key: {"description": "Written by the platform; kept as it is."} for key in _ROW},
    }


def _data() -> dict[str, Json]:
    steps = {"type": ["array", "null"], "items": _reference("step")}
    edges = {"type": ["array", "null"], "items": _reference("edge")}
    return {
        "version": {"type": ["string", "number", "null"], "description": "Version of the format: 1.0."},
        "steps": steps | {"description": "The steps, in the order in which they run."},
        "config": _either(
            _reference("config"), _EMPTY_LIST, _NULL, description="Settings of the whole flow."
        ),
        "edges": edges | {"description": "Connections between steps, for branches and loops."},
    }


def _reference(part: str) -> dict[str, Json]:
    return {"$ref": _REFS.format(model=_PARTS[part].__name__)}


def _either(*schemas: dict[str, Json], description: str) -> dict[str, Json]:
    return {"description": description, "anyOf": list(schemas)}


def _inner_json(what: str) -> dict[str, Json]:
    return {"type": "string", "contentMediaType": "application/json", "description": what}


def _definitions() -> dict[str, Json]:
    adapters: list[tuple[str, Any, TypeAdapter[Any]]] = [
        (part, "validation", TypeAdapter(kind)) for part, kind in _PARTS.items()
    ]
    _, made = TypeAdapter.json_schemas(adapters, ref_template=_REFS, schema_generator=_Generator)
    definitions: dict[str, Json] = {name: _tidy(one) for name, one in sorted(made["$defs"].items())}
    for kind in _PARTS.values():
        _forgive(definitions[kind.__name__])
    definitions["InputField"]["properties"]["defaultValue"] = {"description": "Older spelling of `default`."}
    return definitions


def _tidy(schema: Json) -> Json:
    """Drop the titles that repeat a key, and the keyword that only OpenAPI knows."""
    if isinstance(schema, list):
        return [_tidy(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: _tidy(one) for key, one in schema.items() if key not in ("title", "discriminator")}
    if isinstance(schema.get("properties"), dict):
        kept["properties"] = {name: _tidy(one) for name, one in schema["properties"].items()}
    return kept


def _forgive(definition: dict[str, Json]) -> None:
    """Let each key of a part be null, and `[]` where an object belongs, as the reader does."""
    for name, schema in definition["properties"].items():
        if schema.keys() <= {"description", "default"}:
            continue  # takes anything
        others = [_NULL, _EMPTY_LIST] if name in OBJECTS else [_NULL]
        told = {key: schema.pop(key) for key in ("description", "default") if key in schema}
        choices = schema["anyOf"] if schema.keys() == {"anyOf"} else [schema]
        definition["properties"][name] = told | {
            "anyOf": [*choices, *(other for other in others if other not in choices)]
        }
