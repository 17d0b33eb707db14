"""The two forms of a DaVinci flow, each made from the other: the console's export, and the admin API's.

They differ in names, in how times are written and in where variables stand; `graphData` is the same in
both (facts A2). What one form cannot say is kept by whoever holds the other: give it as `old`, and only
what differs from it changes, so that there and back again is the same document.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple

from runner.core.commands import Json

Data = dict[str, Json]

EXPORT_ONLY: Final = frozenset(
    {"flowId", "flowColor", "flowStatus", "connectorIds", "companyId", "versionId"}
)
ADMIN_ONLY: Final = frozenset({"id", "color", "enabled", "connectors", "environment"})
# What the admin API takes of a flow (seed 003), and what else it gives.
WRITABLE: Final = (
    "name", "description", "color", "connectors", "currentVersion", "enabled", "graphData", "inputSchema",
    "outputSchema", "publishedVersion", "settings", "trigger",
)  # fmt: skip
SECRET: Final = "secret"
MARK: Final = "##SK##"
_SAME: Final = (
    "name", "description", "currentVersion", "publishedVersion", "graphData", "inputSchema", "settings",
    "trigger",
)  # fmt: skip


class Rename(NamedTuple):
    """A key of the export, that of the admin form, and the value of each made from the other's."""

    export: str
    admin: str
    to_admin: Callable[[Json], Json]
    to_export: Callable[[Json], Json]


def _as_it_is(value: Json) -> Json:
    return value


def _enabled(value: Json) -> Json:
    return value == "enabled"


def _status(value: Json) -> Json:
    return "enabled" if value else "disabled"


def _connectors(value: Json) -> Json:
    return [{"id": one} for one in value] if isinstance(value, list) else value


def _connector_ids(value: Json) -> Json:
    if not isinstance(value, list):
        return value
    return [one.get("id") if isinstance(one, dict) else one for one in value]


def _environment(value: Json) -> Json:
    return {"id": value}


def _company(value: Json) -> Json:
    return value.get("id") if isinstance(value, dict) else value


def iso_of(ms: Json) -> Json:
    """Return a time in milliseconds since 1970 as the API writes it; anything else as it is."""
    if not isinstance(ms, int) or isinstance(ms, bool):
        return ms
    try:
        at = datetime.fromtimestamp(ms // 1000, UTC)
    except (OverflowError, OSError, ValueError):
        return ms
    return f"{at:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"


def ms_of(text: Json) -> Json:
    """Return a time of the API in milliseconds since 1970; anything else as it is."""
    if not isinstance(text, str):
        return text
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return text
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    whole = int(at.replace(microsecond=0).timestamp())
    return whole * 1000 + at.microsecond // 1000


RENAMED: Final = (
    Rename("flowId", "id", _as_it_is, _as_it_is),
    Rename("companyId", "environment", _environment, _company),
    Rename("flowColor", "color", _as_it_is, _as_it_is),
    Rename("flowStatus", "enabled", _enabled, _status),
    Rename("connectorIds", "connectors", _connectors, _connector_ids),
    Rename("createdDate", "createdAt", iso_of, ms_of),
    Rename("savedDate", "updatedAt", iso_of, ms_of),
    Rename("deployedDate", "deployedAt", iso_of, ms_of),
    Rename("outputSchemaCompiled", "outputSchema", _as_it_is, _as_it_is),
    *(Rename(name, name, _as_it_is, _as_it_is) for name in _SAME),
)


def is_export(flow: Mapping[str, Json]) -> bool:
    """Whether an object is one flow as the console exports it."""
    return bool(EXPORT_ONLY & flow.keys()) and not ADMIN_ONLY & flow.keys()


def is_admin(flow: Mapping[str, Json]) -> bool:
    """Whether an object is one flow as the admin API has it, or takes it."""
    return not EXPORT_ONLY & flow.keys() and bool(ADMIN_ONLY & flow.keys() or "graphData" in flow)


def admin_form(flow: Mapping[str, Json], old: Mapping[str, Json] | None = None) -> Data:
    """Return an exported flow as the admin API has it; what only the API knows comes from `old`."""
    made: Data = dict(old or {})
    for one in RENAMED:
        if one.export in flow:
            value = one.to_admin(flow[one.export])
            unchanged = (
                old is not None and one.admin in old and one.to_export(old[one.admin]) == flow[one.export]
            )
            made[one.admin] = made[one.admin] if unchanged else value
        else:
            made.pop(one.admin, None)
    return made


def export_form(flow: Mapping[str, Json], old: Mapping[str, Json] | None = None) -> Data:
    """Return a flow of the admin API as the console exports it; what only an export has comes from `old`."""
    made: Data = dict(old or {})
    for one in RENAMED:
        if one.admin in flow:
            value = one.to_export(flow[one.admin])
            unchanged = (
                old is not None and one.export in old and one.to_admin(old[one.export]) == flow[one.admin]
            )
            made[one.export] = made[one.export] if unchanged else value
        else:
            made.pop(one.export, None)
    return made


class Variable(NamedTuple):
    """A variable of a flow, from either form. `value` is None where the document has none."""

    name: str
    context: str
    type: str
    value: Json = None


def variables_of(flow: Mapping[str, Json]) -> Iterator[Variable]:
    """Yield the variables that an exported flow carries; those of the API are resources of their own."""
    listed = flow.get("variables")
    for one in listed if isinstance(listed, list) else ():
        if isinstance(one, dict) and isinstance(one.get("name"), str):
            yield variable_of(one)


def variable_of(one: Mapping[str, Json]) -> Variable:
    """Read one variable: ``x##SK##flowInstance`` of an export, or `name` and `context` of the API."""
    name, mark, context = one["name"].partition(MARK)
    details = _details(one)
    told = {**details, **{key: value for key, value in one.items() if value is not None}}
    found = context if mark else told.get("context")
    kind = told.get("dataType", details.get("type"))
    return Variable(
        name,
        found if isinstance(found, str) else "flowInstance",
        kind if isinstance(kind, str) else "string",
        told.get("value"),
    )


def _details(one: Mapping[str, Json]) -> Data:
    held = one.get("fields")
    return held if isinstance(held, dict) else {}


def admin_variable(one: Mapping[str, Json]) -> Data:
    """Return a variable of an export as the admin API takes it."""
    read = variable_of(one)
    details = _details(one)
    made: Data = {"name": read.name, "context": read.context, "dataType": read.type}
    for key in ("displayName", "mutable", "min", "max"):
        if key in details:
            made[key] = details[key]
    if read.value is not None:
        made["value"] = read.value
    if read.context == "flow" and "flowId" in one:
        made["flow"] = {"id": one["flowId"]}
    return made
