"""What a document of PingOne DaVinci holds that can be sent over the admin API: flows and variables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from runner.core.commands import Json
from runner.core.document import join
from runner.platforms.davinci_api import OF_THE_SERVER, Row
from runner.platforms.davinci_forms import MARK, RENAMED, WRITABLE, admin_form, admin_variable, is_export
from runner.platforms.davinci_rules import Finding, flow_findings, named, variable_findings

VERSION: Final = ("currentVersion", "updatedAt")  # which tell whether somebody has saved
# What only a version says: one that was fetched is sent as the flow that it is a version of.
_OF_A_VERSION: Final = ("flow", "version", "alias", "clonedFrom", "steps", "variables")
# What only documents of other programs have: their names and descriptions are called so too.
OF_OTHERS: Final = frozenset({"flow_data", "flow_inputs", "steps", "nodes", "edges", "startNode", "spans"})
_NAMES: Final = {one.admin: one.export for one in RENAMED}


@dataclass(frozen=True, slots=True)
class Sendable:
    """A flow of a document as it can be sent, and what the document says of it besides.

    `home` is the environment that it came from, `made_from` what tells of the version there, `unsent` the
    keys that the admin API has nothing for.
    """

    body: Row
    id: str = ""
    home: str = ""
    made_from: Mapping[str, Json] | None = None
    unsent: tuple[str, ...] = ()
    is_exported: bool = False
    is_version: bool = False

    def called(self, name: str) -> str:
        """Return what the document calls a property."""
        return _NAMES.get(name, name) if self.is_exported else name

    def kept(self, *, is_new: bool) -> tuple[str, ...]:
        """Return what the document is to learn of a save: its version, and of a new flow its id."""
        if self.is_version:
            return ()
        return (*(("id",) if is_new else ()), *(self.made_from or ()))

    def findings(self, *, is_whole: bool) -> Iterator[Finding]:
        """Yield what is wrong with the properties, as the document calls them."""
        for place, what in flow_findings(self.body, is_whole=is_whole):
            head, *rest = re.split(r"(?=[.\[])", place, maxsplit=1)
            yield self.called(head) + "".join(rest), what


def flows_in(document: Mapping[str, Json]) -> dict[str, Row]:
    """Return the flows in a document by their places; the document itself may be the one."""
    if isinstance(document.get("flowInfo"), dict):
        return {"flowInfo": document["flowInfo"]}
    listed = document.get("flows")
    if isinstance(listed, list):
        return {join("flows", number): one for number, one in enumerate(listed) if isinstance(one, dict)}
    return {"": dict(document)}


def findings_of_flows(document: Mapping[str, Json]) -> Iterator[Finding]:
    """Yield the entries of a document's list of flows that are none."""
    listed = document.get("flows")
    for number, one in enumerate(listed if isinstance(listed, list) else ()):
        if not isinstance(one, dict):
            yield join("flows", number), f"must be an object, not {named(one)}"


def sendable(flow: Row) -> Sendable | None:
    """Return a flow as it can be sent, None when it is none of DaVinci."""
    if is_export(flow):
        made = admin_form(flow)
        known = {one.export for one in RENAMED}
        unsent = tuple(name for name, one in flow.items() if name not in known and one)
        # When an export says that it was saved is not known to be what the API says.
        return _sendable(made, VERSION[:1], unsent, is_exported=True)
    made = flow_of_version(flow)
    if not made.keys() & {*WRITABLE, "id"} or OF_OTHERS & made.keys():
        return None
    return replace(_sendable(made, VERSION), is_version=made is not flow)


def _sendable(
    flow: Row, version: tuple[str, ...], unsent: tuple[str, ...] = (), *, is_exported: bool = False
) -> Sendable:
    environment = flow.get("environment")
    home = environment.get("id") if isinstance(environment, dict) else None
    body = {name: one for name, one in flow.items() if name not in OF_THE_SERVER and one is not None}
    made_from = {name: flow[name] for name in version if flow.get(name) is not None}
    return Sendable(body, _text(flow.get("id")), _text(home), made_from, unsent, is_exported)


def flow_of_version(document: Row) -> Row:
    """Return what was fetched as a version of a flow, or as an export of one, as the flow."""
    flow = document.get("flow")
    if not isinstance(flow, dict) or "version" not in document:
        return document
    kept = {name: one for name, one in document.items() if name not in _OF_A_VERSION}
    told = {"id": flow.get("id"), "name": flow.get("name"), "currentVersion": document["version"]}
    return {**told, **kept}


def variables_in(document: Mapping[str, Json]) -> Iterator[tuple[str, Json]]:
    """Yield the variables in a document with their places; those of exports as the admin API takes them."""
    embedded = document.get("_embedded")
    if isinstance(embedded, dict):
        lists = {"_embedded.variables": embedded.get("variables")}
    else:
        lists = {
            ".".join(one for one in (at, "variables") if one): flow["variables"]
            for at, flow in flows_in(document).items()
            if "variables" in flow
        }
    if not lists:
        yield "", dict(document)
    for place, listed in lists.items():
        if not isinstance(listed, list):
            yield place, listed
            continue
        for number, one in enumerate(listed):
            yield join(place, number), admin_variable(one) if _is_of_export(one) else one


def _is_of_export(variable: Json) -> bool:
    name = variable.get("name") if isinstance(variable, dict) else None
    return isinstance(name, str) and (MARK in name or isinstance(variable.get("fields"), dict))


def findings_of_variables(variables: Mapping[str, Json]) -> Iterator[Finding]:
    """Yield what is wrong with variables, given by their places."""
    for at, one in variables.items():
        if isinstance(one, dict):
            yield from variable_findings(one, at)
        else:
            yield at, f"must be an object, not {named(one)}"


def _text(value: Json) -> str:
    return value if isinstance(value, str) else ""
