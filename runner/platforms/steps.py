"""The Steps format (seed 002), our native one, in all its spellings.

The PUT body (`{name, flow_inputs, flow_data: {version, steps, config}}`), an API row whose
`flow_data` and `flow_inputs` are JSON texts, and bare `flow_data`. See facts: an empty list stands
for an empty object wherever PHP has stored one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import fields as dataclass_fields
from pathlib import PurePath
from typing import Any, TypeVar, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel
from typing_extensions import TypedDict  # pydantic takes that of `typing` only from Python 3.12 on

from runner.core.commands import Json
from runner.core.document import Document
from runner.core.model import CAMEL, Config, Edge, Flow, InputField, Retry, Step, Steps, Until
from runner.core.text import close_match, kind_of
from runner.errors import FlowError, Problem

T = TypeVar("T")

RECORD_KEYS = frozenset(
    {
        "name", "description", "folder_id", "flow_inputs", "flow_data", "is_active", "ui_data", "id",
        "project_id", "folder_name", "created_by", "created_at", "updated_at", "ai_version",
        "generation_strategy", "complexity_score",
    }
)  # fmt: skip
DATA_KEYS = frozenset({"version", "steps", "config", "edges"})
PATCH_KEYS = frozenset({"name", "description", "folder_id", "flow_inputs", "is_active"})
# Keys of traces and of other platforms' documents, which have a name and a description too.
ELSEWHERE = frozenset(
    {"spans", "graphData", "flows", "flowInfo", "connectors", "connectorIds", "clonedNodes"}
)
OBJECTS = frozenset(
    {"headers", "outputs", "config", "validation", "query", "form", "multipart", "inputs", "set", "retry"}
)
NESTED = {"retry": Retry, "until": Until}
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
    data = value.get("flow_data", value)
    if isinstance(data, str):
        with suppress(FlowError):
            data = document.embedded("flow_data", data).value
    if isinstance(data, dict) and "nodes" in data and "steps" not in data:
        return False
    if "flow_data" in value or "steps" in value:
        return True
    return bool(PATCH_KEYS & value.keys()) and not ELSEWHERE & value.keys()


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
        raw = self._items(data.get("steps"), "steps")
        name = PurePath(self.document.name)
        return Flow(
            name=self._text(record, "name"),
            description=self._text(record, "description"),
            inputs=self._inputs(record),
            version=self._version(data),
            steps=Steps(raw, _read_steps),
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
        _note_near_misses(record, RECORD_KEYS | DATA_KEYS, "", self.problems)
        if "flow_data" not in record:
            return record, ""
        data = self._parsed(record["flow_data"], "flow_data")
        if data is None or data == []:
            return {}, "flow_data."
        if not isinstance(data, dict):
            self._problem("document.type", "flow_data", "must be an object with 'steps'")
            return {}, "flow_data."
        _note_near_misses(data, DATA_KEYS, "", self.problems)
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

    def _items(self, value: Json, where: str) -> list[Json]:
        if value is None or isinstance(value, list):
            return value or []
        self._problem("document.type", where, "must be a list")
        return []

    def _list(self, kind: type[T], value: Json, where: str) -> list[T]:
        return read_items(kind, self._items(value, where), where, self.problems)

    def _problem(self, code: str, where: str, what: str) -> None:
        self.problems.append(Problem(code, where, what))

    def _warn(self, code: str, where: str, what: str) -> None:
        self.problems.append(Problem(code, where, what, "warning"))


def _read_steps(values: list[Json], start: int, problems: list[Problem]) -> list[Step]:
    return read_items(Step, values, "steps", problems, start)


def read_items(
    kind: type[T], values: list[Json], where: str, problems: list[Problem], start: int = 0
) -> list[T]:
    """Read objects, the first of which stands at `start`; a key with a wrong value is told and left out."""
    known = wire_names(kind).keys()
    for index, one in enumerate(values, start):
        if isinstance(one, dict) and not (known >= one.keys() and NESTED.keys().isdisjoint(one)):
            place = _place(where, index)
            _note_near_misses(one, known, f"{place}.", problems)
            for name, nested in NESTED.items():
                if isinstance(one.get(name), dict):
                    _note_near_misses(one[name], wire_names(nested).keys(), f"{place}.{name}.", problems)
    try:
        return _validated(kind, values)
    except ValidationError:
        cleaned = [_cleaned(one) for one in values]  # few documents need it
    try:
        return _validated(kind, cleaned)
    except ValidationError as error:
        mended = list(cleaned)
        for index, place, key, what in _wrong(cleaned, error):
            problems.append(Problem("document.type", f"{_place(where, start + index)}{place}", what))
            whole = mended[index] if isinstance(mended[index], dict) else {}
            mended[index] = {name: one for name, one in whole.items() if name != key}
    try:
        return _validated(kind, mended)
    except ValidationError:
        return []


def _validated(kind: type[T], values: list[Json]) -> list[T]:
    found: list[Any] = adapter_of(kind).validate_python(values)
    return [Step.of(given) for given in found] if kind is Step else found  # type: ignore[misc]


def _wrong(values: list[Json], error: ValidationError) -> Iterator[tuple[int, str, str | None, str]]:
    """Yield for each value that is wrong its item, its place there, the item's key that it is in, and why."""
    told: set[tuple[int, str]] = set()
    for wrong in error.errors(include_url=False, include_context=False):
        index, rest = int(wrong["loc"][0]), wrong["loc"][1:]
        path, key = _path_in(values[index], rest)
        if (index, path) not in told:  # a value that fits no member of a union has an error for each
            told.add((index, path))
            yield index, path, key, _reason(wrong["type"], wrong["msg"], wrong["input"], wrong["loc"][-1])


def _note_near_misses(
    given: Mapping[str, Json], known: AbstractSet[str], where: str, problems: list[Problem]
) -> None:
    for name in given.keys() - known:
        hint = close_match(name, known) if given[name] is not None else ""
        if hint:
            what = f"unknown key {name!r}{hint}"
            problems.append(Problem("document.near_miss", f"{where}{name}", what, "warning"))


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
    """Return the validator of a list of such objects; it is built once, when first used.

    That of steps returns dictionaries with what was given, by the names of fields.
    """
    if kind not in _adapters:
        item: Any = kind
        if kind is Step:
            make: Any = TypedDict
            item = make("Step", get_type_hints(Step, include_extras=True), total=False)
            item.__pydantic_config__ = CAMEL
        _adapters[kind] = TypeAdapter(list[item])
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
