"""Flows on GASSAPI: sent, fetched, listed, copied, switched and deleted (seed 002; facts/gassapi 5).

The server that was seen does less than the documents say and often does not tell. So nothing is
believed: an answer counts when it says that it succeeded and holds what it should, and what was sent
is compared with what is there afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal
from urllib.parse import quote

from runner.core.commands import Json, Request, Response
from runner.core.document import Document
from runner.platforms import react_flow
from runner.platforms.client import Api, Done, Program, Refusal, Tell, excerpt, json_of
from runner.platforms.differences import shortened, shown, unlike
from runner.platforms.gassapi_rules import SERVER_CONFIG, server_steps
from runner.platforms.steps import RECORD_KEYS

Verb = Literal["list", "create", "get", "update", "get_ui", "update_ui", "delete", "duplicate", "toggle"]
Row = dict[str, Json]

FIELDS: Final = ("name", "description", "folder_id", "flow_inputs", "flow_data", "is_active")
CLEARABLE: Final = ("description", "folder_id")  # null takes them away; elsewhere it says nothing
COPIED: Final = ("description", "folder_id", "flow_inputs", "flow_data")
TEXTS: Final = ("flow_inputs", "flow_data", "ui_data")  # parts of a row that may be JSON texts
TIMEOUT: Final = 60.0  # seconds for one attempt
_CALLS: Final[dict[Verb, tuple[str, str, str]]] = {
    "list": ("GET", "flows", "/project/{id}/flows"),
    "create": ("POST", "flow_create", "/project/{id}/flows"),
    "get": ("GET", "flow_get", "/flow/{id}"),
    "update": ("PUT", "flow_update", "/flow/{id}"),
    "get_ui": ("GET", "flow_detail_ui", "/flow/{id}/ui"),
    # The documents call it flow_update_ui, which the server that was seen does not know.
    "update_ui": ("PUT", "flow_detail_ui", "/flow/{id}/ui"),
    "delete": ("DELETE", "flow_delete", "/flow/{id}"),
    "duplicate": ("POST", "flow_duplicate", "/flow/{id}/duplicate"),
    "toggle": ("PUT", "flow_toggle_active", "/flow/{id}/toggle-active"),
}
EMPTY: Final[tuple[Json, ...]] = (None, [], {})  # PHP writes an empty object as an empty list
_UNSTORABLE: Final = "Failed to update flow"
_MOST_LISTED: Final = 100  # flows that the server that was seen lists
_PATHLESS: Final = "a server that does not know paths answers with its help: leave out --paths"


@dataclass(frozen=True, slots=True)
class Server:
    """The API, called in the form `?act=` or, with `paths`, in the form of paths."""

    api: Api
    paths: bool = False

    def place(self, verb: Verb, target: str, act: str = "") -> tuple[str, str]:
        """Return the method and the path of a call about a flow, or about a project to list or create in."""
        method, known, path = _CALLS[verb]
        if self.paths:
            return method, path.format(id=quote(target, safe=""))
        return method, f"/?act={act or known}&id={quote(target, safe='')}"

    def call(
        self, verb: Verb, target: str, body: Mapping[str, Json] | None = None, act: str = ""
    ) -> Program[Row | Refusal]:
        """Make a call; returns the envelope of an answer that says that it succeeded."""
        method, path = self.place(verb, target, act)
        answer = yield from self.api.call(method, path, encoded(body))
        return answer if isinstance(answer, Refusal) else _envelope(answer)


def api(base_url: str, token: str, timeout: float = TIMEOUT) -> Api:
    """Return the platform's API, called with a token."""
    headers = (("Authorization", f"Bearer {token}"),) if token else ()
    return Api(base_url, headers, _refusal, timeout, is_final=_is_of_the_database)


def body_of(value: Mapping[str, Json]) -> Row:
    """Return what a document says of a flow as the body of a request; the texts of a row are read."""
    record = (
        value if "flow_data" in value else {name: one for name, one in value.items() if name in RECORD_KEYS}
    )
    data = {name: one for name, one in value.items() if name not in RECORD_KEYS}
    bare = {"flow_data": data} if "flow_data" not in value and data else {}
    given = {name: one for name, one in {**record, **bare}.items() if one is not None or name in CLEARABLE}
    return {name: _parsed(name, given[name]) for name in FIELDS if name in given}


def misfits(body: Mapping[str, Json]) -> Iterator[tuple[str, str]]:
    """Yield where a body has a value of a type that no server can take, and what must be there.

    What is only missing is left to the server: a part of a flow is a body too.
    """
    for name in ("name", "description", "folder_id"):
        if (
            name in body
            and not isinstance(body[name], str)
            and not (name in CLEARABLE and body[name] is None)
        ):
            yield name, "must be a text"
    if body.get("flow_inputs") and not isinstance(body["flow_inputs"], list | dict):
        yield "flow_inputs", "must be an array"
    data = body.get("flow_data") or {}
    if not isinstance(data, dict):
        yield "flow_data", "must be an object"
        return
    for part in ("steps", "nodes", "edges"):
        held = data.get(part)
        if held is not None and not isinstance(held, list):
            yield f"flow_data.{part}", "must be an array"
            continue
        for index, one in enumerate(held or ()):
            if not isinstance(one, dict):
                yield f"flow_data.{part}[{index}]", "must be an object"


def encoded(body: Mapping[str, Json] | None) -> bytes | None:
    """Return a body as it is sent."""
    return None if body is None else json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")


# --- answers


def _value_of(answer: Response) -> Json:
    """Return the envelope in an answer; PHP may have printed warnings before it."""
    value = json_of(answer)
    at = answer.body.find(b'{"')
    return json_of(replace(answer, body=answer.body[at:])) if value is None and at > 0 else value


def _envelope(answer: Response) -> Row | Refusal:
    value = _value_of(answer)
    if not isinstance(value, dict):
        message = f"the platform answered {answer.status}, but with no JSON object"
        return Refusal(message, answer.status, details=excerpt(answer), remedy="is that the url of the API?")
    return value if value.get("success") is True else _refusal(answer)


def _refusal(answer: Response) -> Refusal:
    """Read an error of either face: ``{status: "error", message}``, or the envelope with `request_id`."""
    value = _value_of(answer)
    told = f"the platform answered {answer.status}"
    if not isinstance(value, dict) or not isinstance(value.get("message"), str):
        text = excerpt(answer)
        return Refusal(f"{told}: {text}" if text else told, answer.status)
    if answer.status < 400:
        told += ", but did not succeed"
    number = value.get("request_id")
    request = f" (request {number})" if isinstance(number, str) else ""
    remedy = "give a token with GASSAPI_TOKEN, --token-file or --profile" if answer.status == 401 else ""
    return Refusal(f"{told}: {value['message']}{request}", answer.status, remedy=remedy)


def _is_of_the_database(answer: Response) -> bool:
    """Whether an answer is the 500 of a write that would fail again, such as that of any `flow_data`."""
    return answer.status == 500 and b"Failed to " in answer.body


def _row(envelope: Row | Refusal, verb: str) -> Row | Refusal:
    """Return the flow in an envelope, its parts as values."""
    if isinstance(envelope, Refusal):
        return envelope
    row = envelope.get("data")
    if not isinstance(row, dict) or not isinstance(row.get("id"), str):
        message = f"the platform says that it succeeded to {verb} the flow, but sends no flow"
        return Refusal(message, details=str(envelope.get("message") or ""), remedy=_PATHLESS)
    return {name: _parsed(name, value) for name, value in row.items()}


def _parsed(name: str, value: Json) -> Json:
    if name == "is_active":
        return value in (1, True, "1", "true")
    if name in TEXTS and isinstance(value, str):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


# --- programs


def get(server: Server, flow: str, *, ui: bool = False) -> Program[Row | Refusal]:
    """Fetch a flow, its steps or with `ui` its drawing."""
    return _row((yield from server.call("get_ui" if ui else "get", flow)), "read")


def pull(server: Server, flow: str, *, ui: bool = False) -> Program[Done | Refusal]:
    """Fetch a flow; the document has the parts that the platform sends as texts as values."""
    row = yield from get(server, flow, ui=ui)
    if isinstance(row, Refusal):
        return row
    return Done("found", flow, str(row.get("name") or ""), document=_document(row))


def _document(value: Json) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode()


def list_flows(server: Server, project: str) -> Program[Done | Refusal]:
    """Fetch every flow of a project, page by page where there are pages."""
    flows: list[Row] = []
    method, path = server.place("list", project)
    page = 1
    while True:
        more = f"{'?' if server.paths else '&'}page={page}" if page > 1 else ""
        answer = yield from server.api.call(method, path + more)
        envelope = answer if isinstance(answer, Refusal) else _envelope(answer)
        if isinstance(envelope, Refusal):
            return envelope
        listed = envelope.get("data")
        if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
            return Refusal(
                "the platform says that it succeeded, but sends no list of flows", remedy=_PATHLESS
            )
        flows += [{name: _parsed(name, value) for name, value in one.items()} for one in listed]
        paging = envelope.get("pagination")
        if not listed or not isinstance(paging, dict) or not paging.get("has_next"):
            break
        page += 1
    if len(flows) == _MOST_LISTED and page == 1:
        yield Tell(f"there may be more: a server without pages lists {_MOST_LISTED} flows")
    rows = tuple(
        (str(one.get("id")), "active" if one.get("is_active") else "inactive", str(one.get("name")))
        for one in flows
    )
    return Done("found", document=_document(flows), rows=rows)


def delete(server: Server, flow: str) -> Program[Done | Refusal]:
    """Delete a flow."""
    envelope = yield from server.call("delete", flow)
    if isinstance(envelope, Refusal):
        return envelope
    data = envelope.get("data")
    if not isinstance(data, dict) or data.get("id") != flow:
        return Refusal("the platform says that it succeeded, but not that it deleted this flow")
    return Done("deleted", flow)


def toggle(server: Server, flow: str) -> Program[Done | Refusal]:
    """Switch a flow on or off."""
    row = _row((yield from server.call("toggle", flow, {})), "switch")
    if isinstance(row, Refusal):
        return row
    return Done("updated", flow, "active" if row.get("is_active") else "inactive")


def duplicate(server: Server, flow: str, told: Mapping[str, Json]) -> Program[Done | Refusal]:
    """Copy a flow, under another name if `told` has one, and compare the copy with the flow."""
    before = yield from get(server, flow)
    if isinstance(before, Refusal):
        return before
    row = _row((yield from server.call("duplicate", flow, told)), "copy")
    after = row if isinstance(row, Refusal) else (yield from get(server, row["id"]))
    if isinstance(after, Refusal):
        return after
    wanted: Row = {name: before[name] for name in COPIED if name in before}
    found = [*losses({**wanted, **told}, after)]
    return Done("created", after["id"], f"a copy of {flow}", tuple(shortened(found)))


def create(server: Server, project: str, body: Mapping[str, Json]) -> Program[Done | Refusal]:
    """Make a flow in a project, and compare what is there with what was sent."""
    row = _row((yield from server.call("create", project, body)), "make")
    after = row if isinstance(row, Refusal) else (yield from get(server, row["id"]))
    if isinstance(after, Refusal):
        return after
    found = [*losses(body, after)]
    return Done("created", after["id"], str(after.get("name")), tuple(shortened(found)))


@dataclass(frozen=True, slots=True)
class Update:
    """What is to become of a flow: the fields that a document has, all sent if `always`, else what differs.

    With `ui` the `flow_data` is a drawing. With `accept_loss` steps are sent as a drawing where the
    server stores them in no other way.
    """

    flow: str
    body: Mapping[str, Json]
    always: bool = False
    ui: bool = False
    accept_loss: bool = False


def preview(server: Server, update: Update) -> Program[Request | Done | Refusal]:
    """Return the call that would change a flow, after telling what would change by it."""
    sent = yield from _changes(server, update)
    if isinstance(sent, Refusal):
        return sent
    if not sent:
        return Done("unchanged", update.flow, "it is so already")
    method, path = server.place("update_ui" if update.ui and "flow_data" in sent else "update", update.flow)
    return server.api.request(method, path, encoded(sent))


def push(server: Server, update: Update) -> Program[Done | Refusal]:
    """Change a flow to what a document says, and compare what is there with what was sent."""
    sent = yield from _changes(server, update)
    if isinstance(sent, Refusal):
        return sent
    if not sent:
        return Done("unchanged", update.flow, "it is so already")
    ui = update.ui and "flow_data" in sent
    row = yield from _send(server, update.flow, sent, ui=ui)
    if isinstance(row, Refusal) and "flow_data" in sent and not ui and _UNSTORABLE in row.message:
        return (yield from _push_drawn(server, update, sent))
    if isinstance(row, Refusal):
        return row
    return (yield from _compared(server, update.flow, sent, ui=ui))


def _changes(server: Server, update: Update) -> Program[Row | Refusal]:
    """Return the fields that are to be sent, and tell what changes by them, after a look at what is there."""
    before = yield from get(server, update.flow, ui=update.ui)
    if isinstance(before, Refusal):
        return before
    found = {
        name: [
            f"{at}: {shown(old)} -> {shown(new)}"
            for at, old, new in unlike(before.get(name), value, name, empty=EMPTY)
        ]
        for name, value in update.body.items()
    }
    sent = {name: update.body[name] for name in found if found[name] or update.always}
    if update.ui and sent and "flow_data" in update.body:
        sent["flow_data"] = update.body["flow_data"]  # the server that was seen takes no drawing without it
    for line in shortened([line for name in sent for line in found[name]]):
        yield Tell(line)
    return sent


def _send(server: Server, flow: str, sent: Row, *, ui: bool) -> Program[Row | Refusal]:
    row = _row((yield from server.call("update_ui" if ui else "update", flow, sent)), "update")
    if ui and isinstance(row, Refusal) and row.status == 404 and not server.paths:
        row = _row((yield from server.call("update_ui", flow, sent, act="flow_update_ui")), "update")
    return row


def _push_drawn(server: Server, update: Update, sent: Row) -> Program[Done | Refusal]:
    """Send steps as a drawing to a server that fails with steps; what it will drop is told first."""
    drawing = drawn(sent["flow_data"])
    made = {"version": "1.0", "steps": [step for _, step in server_steps(drawing)], "config": SERVER_CONFIG}
    lost = tuple(losses({"flow_data": sent["flow_data"]}, {"flow_data": made}))
    message = "this server stores steps only as a drawing"
    if lost and not update.accept_loss:
        fields = tuple(("", line) for line in shortened(lost))
        remedy = "--yes sends it all the same; nothing was changed"
        return Refusal(f"{message}, and would not keep all of it", 500, fields=fields, remedy=remedy)
    yield Tell(f"{message}; it will not keep:" if lost else f"{message}; it keeps all of these")
    for line in shortened(lost):
        yield Tell(f"  {line}")
    row = yield from _send(server, update.flow, {**sent, "flow_data": drawing}, ui=True)
    return row if isinstance(row, Refusal) else (yield from _compared(server, update.flow, sent, ui=False))


def drawn(flow_data: Json) -> Row:
    """Return steps as a drawing; a node without a name is called by its id, as the platform does."""
    made, _ = react_flow.from_steps(Document.of({"flow_data": flow_data}))
    drawing: Row = made["flow_data"]
    nodes = [{**node, "data": {"name": node["id"], **node["data"]}} for node in drawing["nodes"]]
    return {**drawing, "nodes": nodes}


def _compared(server: Server, flow: str, sent: Row, *, ui: bool) -> Program[Done | Refusal]:
    """Read back what is there, and tell what of it is not what was sent."""
    after = yield from get(server, flow)
    if isinstance(after, Refusal):
        return after
    found: list[str] = []
    wanted = sent
    if ui:
        picture = yield from get(server, flow, ui=True)
        if isinstance(picture, Refusal):
            return picture
        found += losses({"flow_data": sent["flow_data"]}, picture)
        steps, _ = react_flow.to_steps(Document.of({"flow_data": sent["flow_data"]}))
        wanted = {**sent, "flow_data": steps["flow_data"]}
    found += losses(wanted, after)
    return Done("updated", flow, ", ".join(sent), tuple(shortened(found)))


# --- what differs


def losses(sent: Mapping[str, Json], kept: Mapping[str, Json]) -> Iterator[str]:
    """Yield what of the fields that were sent is not there; what the platform has added is none."""
    for name, value in sent.items():
        for at, one, other in unlike(value, kept.get(name), name, empty=EMPTY):
            if one is not None or value is None:
                is_gone = other is None
                yield f"{at} was not kept" if is_gone else f"{at} was {shown(one)} and is {shown(other)}"
