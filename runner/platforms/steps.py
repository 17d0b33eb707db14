"""The Steps format (seed 002), our native one, in all its spellings.

The PUT body (`{name, flow_inputs, flow_data: {version, steps, config}}`), an API row whose
`flow_data` and `flow_inputs` are JSON texts, and bare `flow_data`. See facts: an empty list stands
for an empty object wherever PHP has stored one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields as dataclass_fields
from pathlib import PurePath
from typing import Any, TypeVar, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from runner.core.commands import Json
from runner.core.document import Document
from runner.core.model import Config, Edge, Flow, InputField, Retry, Step, Until
from runner.core.text import close_match, kind_of
from runner.errors import FlowError, Problem

T = TypeVar("T")

RECORD_KEYS = frozenset(
    {
        "name", "description", "folder_id", "flow_inputs", "flow_data", "is_active", "ui_data", "id",
        "project_id", "created_by", "created_at", "updated_at", "ai_version", "generation_strategy",
        "complexity_score",
    }
)  # fmt: skip
DATA_KEYS = frozenset({"version", "steps", "config", "edges"})
PATCH_KEYS = frozenset({"name", "description", "folder_id", "flow_inputs", "is_active"})
OBJECTS = frozenset(
    {"headers", "outputs", "config", "validation", "query", "form", "multipart", "inputs", "set", "retry"}
)
NESTED = {"retry": Retry, "until": Until}
CHUNK = 1000  # steps that are validated together
SHAPES = {
    "dict_type": "an object", "mapping_type": "an object", "dataclass_type": "an object",
    "list_type": "a list", "tuple_type": "a list", "string_type": "a text",
    "bool_type": "true or false", "bool_parsing": "true or false", "int_type": "a whole number",
    "int_parsing": "a whole number", "int_from_float": "a whole number", "float_type": "a number",
    "float_parsing": "a number", "union_tag_not_found": "an object with the key 'type'",
}  # fmt: skip
KNOWN_VERSIONS = frozenset({"1", "1.0"})

_wire_names: dict[type, dict[str, str]] = {}
_adapters: dict[type, TypeAdapter[Any]] = {}


def recognises(document: Document) -> bool:
    """Whether the document is a flow, a row of flows, or a patch in the Steps format."""
    value = document.value
    if "nodes" in value and "steps" not in value:
        return False
    return (
        "flow_data" in value or "steps" in value or bool(PATCH_KEYS & value.keys() and "spans" not in value)
    )


def read(document: Document) -> Flow:
    """Read a flow; what is wrong with single keys stands in `Flow.problems`, and the rest is read."""
    return _Reader(document).flow()


class _Reader:
    """Reads one document."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[Problem] = []

    def flow(self) -> Flow:
        record = self.document.value
        data, prefix = self._data(record)
        steps = self._list(Step, data.get("steps"), "steps")
        name = PurePath(self.document.name)
        return Flow(
            name=self._text(record, "name"),
            description=self._text(record, "description"),
            inputs=self._inputs(record),
            version=self._version(data),
            steps=tuple(steps),
            edges=tuple(self._list(Edge, data.get("edges"), "edges")),
            config=self._config(data),
            is_active=_truth(record.get("is_active")),
            has_steps=data.get("steps") is not None,
            prefix=prefix,
            stem=name.stem,
            document=self.document,
            problems=tuple(self.problems),
        )

    def _data(self, record: Mapping[str, Json]) -> tuple[Mapping[str, Json], str]:
        self._near_misses(record, RECORD_KEYS | DATA_KEYS, "")
        if "flow_data" not in record:
            return record, ""
        data = self._parsed(record["flow_data"], "flow_data")
        if data is None or data == []:
            return {}, "flow_data."
        if not isinstance(data, dict):
            self._problem("document.type", "flow_data", "must be an object with 'steps'")
            return {}, "flow_data."
        if "nodes" in data and "steps" not in data:
            what = "is a visual flow (nodes and edges); convert it to steps first"
            self._problem("document.dialect", "flow_data", what)
        self._near_misses(data, DATA_KEYS, "flow_data.")
        return data, "flow_data."

    def _parsed(self, value: Json, where: str) -> Json:
        """Return a value that an API row may hold as JSON text."""
        if not isinstance(value, str):
            return value
        try:
            return self.document.embedded(where, value).value
        except FlowError as error:
            self.problems.extend(error.problems)
            return None

    def _version(self, data: Mapping[str, Json]) -> str:
        version = data.get("version")
        if version is None:
            if data.get("steps") is not None:
                self._warn("flow.version", "", "no 'version'; read as '1.0'")
            return "1.0"
        if str(version) not in KNOWN_VERSIONS:
            self._warn("flow.version", "version", f"version {version!r} is not known; read as '1.0'")
        return str(version)

    def _inputs(self, record: Mapping[str, Json]) -> tuple[InputField, ...] | None:
        if "flow_inputs" not in record:
            return None
        value = self._parsed(record["flow_inputs"], "flow_inputs")
        if value is None:
            return None if record["flow_inputs"] is None else ()
        if isinstance(value, dict):
            value = [{"name": name, **one} if isinstance(one, dict) else one for name, one in value.items()]
        if isinstance(value, list):
            value = [_with_default(one) for one in value]
        return tuple(self._list(InputField, value, "flow_inputs"))

    def _config(self, data: Mapping[str, Json]) -> Config:
        value = data.get("config")
        if value is None or value == []:
            return Config()
        found = self._list(Config, [value], "config")
        return found[0] if found else Config()

    def _text(self, record: Mapping[str, Json], name: str) -> str:
        value = record.get(name)
        if value is None or isinstance(value, str):
            return value or ""
        self._problem("document.type", name, f"must be a text, not {kind_of(value)}")
        return ""

    def _list(self, kind: type[T], value: Json, where: str) -> list[T]:
        """Read a list of objects; a key with a wrong value is reported and left out."""
        if value is None:
            return []
        if not isinstance(value, list):
            self._problem("document.type", where, "must be a list")
            return []
        found: list[T] = []
        for start in range(0, len(value), CHUNK):
            found += self._chunk(kind, value[start : start + CHUNK], where, start)
            if self.document.data is not None:
                # What is read is let go of at once: the largest flows need the room.
                value[start : start + CHUNK] = [None] * len(value[start : start + CHUNK])
        return found

    def _chunk(self, kind: type[T], values: list[Json], where: str, start: int) -> list[T]:
        known = wire_names(kind).keys()
        cleaned = [_cleaned(one) for one in values]
        for index, one in enumerate(cleaned, start):
            if isinstance(one, dict):
                if not known >= one.keys():
                    self._near_misses(one, known, f"{_place(where, index)}.")
                if NESTED.keys() & one.keys():
                    self._nested_near_misses(one, f"{_place(where, index)}.")
        try:
            return list(adapter_of(kind).validate_python(cleaned))
        except ValidationError as error:
            return self._mended(adapter_of(kind), cleaned, where, start, error)

    def _mended(
        self,
        adapter: TypeAdapter[list[T]],
        values: list[Json],
        where: str,
        start: int,
        error: ValidationError,
    ) -> list[T]:
        mended = list(values)
        told: set[str] = set()
        for wrong in error.errors(include_url=False, include_context=False):
            index, rest = int(wrong["loc"][0]), wrong["loc"][1:]
            path, key = _path_in(values[index], rest)
            place = f"{_place(where, start + index)}{path}"
            if place not in told:  # a value that fits no member of a union has an error for each
                told.add(place)
                self._problem(
                    "document.type",
                    place,
                    _reason(wrong["type"], wrong["msg"], wrong["input"], wrong["loc"][-1]),
                )
            whole = mended[index] if isinstance(mended[index], dict) else {}
            mended[index] = {name: one for name, one in whole.items() if name != key}
        try:
            return list(adapter.validate_python(mended))
        except ValidationError:
            return []

    def _nested_near_misses(self, value: Mapping[str, Json], where: str) -> None:
        for name, kind in NESTED.items():
            if isinstance(value.get(name), dict):
                self._near_misses(value[name], wire_names(kind).keys(), f"{where}{name}.")

    def _near_misses(self, given: Mapping[str, Json], known: Any, where: str) -> None:  # noqa: ANN401
        for name in given.keys() - known:
            hint = close_match(name, known)
            if hint:
                self._warn("document.near_miss", f"{where}{name}", f"unknown key {name!r}{hint}")

    def _problem(self, code: str, where: str, what: str) -> None:
        self.problems.append(Problem(code, self._where(where), what))

    def _warn(self, code: str, where: str, what: str) -> None:
        self.problems.append(Problem(code, self._where(where), what, "warning"))

    def _where(self, where: str) -> str:
        return where.removeprefix("flow_data.")


def wire_names(kind: type) -> dict[str, str]:
    """Return the names of a document's keys, to the names of the fields of the class that reads them."""
    if kind not in _wire_names:
        style = str if kind is InputField else to_camel
        hints = get_type_hints(kind, include_extras=True)
        _wire_names[kind] = {
            _alias(hints[field.name]) or style(field.name): field.name for field in dataclass_fields(kind)
        }
    return _wire_names[kind]


def _alias(hint: object) -> str | None:
    described = getattr(hint, "__metadata__", ())
    return next((one.alias for one in described if getattr(one, "alias", None)), None)


def adapter_of(kind: type[T]) -> TypeAdapter[list[T]]:
    """Return the validator of a list of such objects; it is built once, when first used."""
    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(list[kind])  # type: ignore[valid-type]
    return _adapters[kind]


def _place(where: str, index: int) -> str:
    return where if where == "config" else f"{where}[{index}]"


def _cleaned(value: Json) -> Json:
    """Drop nulls, which mean 'not given', and read `[]` as `{}` where an object belongs."""
    if not isinstance(value, dict):
        return value
    if None not in value.values() and [] not in value.values():
        return value
    return {
        name: {} if one == [] and name in OBJECTS else one
        for name, one in value.items()
        if one is not None or name == "default"
    }


def _with_default(value: Json) -> Json:
    """Read `defaultValue`, another spelling of `default`."""
    if isinstance(value, dict) and "defaultValue" in value and "default" not in value:
        return {**value, "default": value["defaultValue"]}
    return value


def _path_in(value: Json, steps: Sequence[int | str]) -> tuple[str, str | None]:
    """Turn a pydantic location into a path of the document and its first key."""
    path, first = "", None
    for step in steps:
        if isinstance(value, dict) and step in value:
            path += f".{step}"
            value = value[step]
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            path += f"[{step}]"
            value = value[step]
        else:
            continue  # the name of a union's member, or of a key that is missing
        first = first if first is not None else str(step)
    return path, first


def _reason(kind: str, message: str, given: Json, key: object) -> str:
    if kind == "missing":
        return f"the key {key!r} is missing"
    if kind in SHAPES:
        return f"must be {SHAPES[kind]}, not {kind_of(given)}"
    if kind == "union_tag_invalid":
        return f"the key 'type' must be 'basic', 'bearer' or 'oauth2', not {given['type']!r}"
    text = message[:1].lower() + message[1:]
    shown = f", not {given!r}" if isinstance(given, int | float) or kind == "literal_error" else ""
    return text.replace("input should", "must") + shown


def _truth(value: Json) -> bool:
    """Read `is_active`: null means active, as on the platform; 0, "0", "false" and "" do not."""
    return value is None or value not in (0, "0", "false", "False", "")
