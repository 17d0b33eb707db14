"""Workflows on Nected: sent, fetched, listed, tested and published (seed 004; facts B3).

An update replaces the whole graph, and needs the checksum of what it replaces; so a file carries the
checksum of what it was made from, and gets the new one. The platform answers 400 to a stale checksum as
it does to a bad body, so a look at what is there tells which of them it was.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote

from runner.core.commands import Json, Request, Response
from runner.platforms.client import Api, Done, Keep, Program, Refusal, Tell, counted, excerpt, json_of
from runner.platforms.differences import changes, shortened, shown, unlike
from runner.platforms.nected_graph import SERVER_ONLY, parse

Row = dict[str, Json]

PRODUCTION: Final = "https://api.nected.ai"
TIMEOUT: Final = 60.0  # seconds for one attempt
NOT_STORED: Final = range(400, 500)  # of an update: it changed nothing
_PATH: Final = "/dev/v1/workflow"
_TOTALS: Final = ("totalCount", "totalRecord", "total")
_PAGES: Final = ("pageNo", "page")
_FAILED: Final = ("error", "failed", "failure")
_MERGE: Final = "pull it to another file, take over what you want of it, and push that"


def api(base_url: str, key: str, branch: str = "", timeout: float = TIMEOUT) -> Api:
    """Return the platform's API, called with a key, on a branch if one is named."""
    headers = (("Nected-API-Key", key), *((("Nected-Branch", branch),) if branch else ()))
    return Api(base_url, headers, _refusal, timeout)


def place(workflow: str = "", verb: str = "") -> str:
    """Return the path of all workflows, of one, or of what is done to one."""
    return "/".join([_PATH, *(quote(part, safe="") for part in (workflow, verb) if part)])


def encoded(body: Mapping[str, Json]) -> bytes:
    """Return a body as it is sent."""
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")


def new_body(document: Mapping[str, Json]) -> Row:
    """Return a document as the body of a new workflow: without what only the platform says of one."""
    return {name: value for name, value in document.items() if name not in SERVER_ONLY}


# --- answers


def _refusal(answer: Response) -> Refusal:
    value = json_of(answer)
    told = f"the platform answered {answer.status}"
    if not isinstance(value, dict) or not isinstance(value.get("message"), str):
        text = excerpt(answer)
        return Refusal(f"{told}: {text}" if text else told, answer.status)
    code = value.get("code")
    remedy = "give a key with NECTED_API_KEY, --token-file or --profile" if answer.status == 401 else ""
    shown = f" ({code})" if isinstance(code, str) and code else ""
    return Refusal(f"{told}: {value['message']}{shown}", answer.status, remedy=remedy)


def _call(
    server: Api, method: str, path: str, body: Mapping[str, Json] | None = None
) -> Program[Row | Refusal]:
    """Make a call; returns the `data` of its answer."""
    answer = yield from server.call(method, path, None if body is None else encoded(body))
    if isinstance(answer, Refusal):
        return answer
    value = json_of(answer)
    if not isinstance(value, dict) or not isinstance(value.get("data"), dict):
        message = f"the platform answered {answer.status}, but with no object 'data'"
        return Refusal(message, answer.status, details=excerpt(answer), remedy="is that the url of the API?")
    data: Row = value["data"]
    return data


def _text(value: Json) -> str:
    return value if isinstance(value, str) else ""


def checksum_of(row: Mapping[str, Json]) -> str:
    """Return the checksum of a workflow, an empty text when it has none."""
    return _text(row.get("checksum"))


# --- programs


def get(server: Api, workflow: str, version: str = "") -> Program[Row | Refusal]:
    """Fetch the draft of a workflow, or a published version."""
    query = f"?version={quote(version, safe='')}" if version else ""
    row = yield from _call(server, "GET", place(workflow) + query)
    if isinstance(row, Refusal) or isinstance(row.get("nodes"), list):
        return row
    return Refusal("the platform says that it succeeded, but sends no workflow")


def pull(server: Api, workflow: str, version: str = "") -> Program[Done | Refusal]:
    """Fetch a workflow whole, with its id and its checksum."""
    row = yield from get(server, workflow, version)
    if isinstance(row, Refusal):
        return row
    return Done("found", workflow, _text(row.get("name")), document=_document(row))


def _document(value: Json) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode()


def list_workflows(server: Api) -> Program[Done | Refusal]:
    """Fetch the summaries of all workflows, page by page as long as the answers name pages."""
    rows: dict[str, Row] = {}
    page, asked = 1, ""
    while True:
        answer = yield from server.call("GET", _PATH + asked)
        if isinstance(answer, Refusal):
            return answer
        listed, paging = _listed(json_of(answer))
        if listed is None:
            message = f"the platform answered {answer.status}, but with no list of workflows"
            return Refusal(
                message, answer.status, details=excerpt(answer), remedy="is that the url of the API?"
            )
        before = len(rows)
        rows |= {_id(one): one for one in listed}
        total = next((paging[name] for name in _TOTALS if isinstance(paging.get(name), int)), len(rows))
        if len(rows) >= total or len(rows) == before:
            break
        page += 1
        asked = f"?{next((name for name in _PAGES if name in paging), 'page')}={page}"
    if len(rows) < total:
        yield Tell(f"{len(rows)} of {total}: the platform gives no more")
    cells = (("isEnabled", "active", "inactive"),)
    shown = tuple(
        (
            name,
            *(yes if one.get(key) is not False else no for key, yes, no in cells),
            _text(one.get("status")),
            _text(one.get("name")),
        )
        for name, one in rows.items()
    )
    return Done("found", document=_document([*rows.values()]), rows=shown)


def _listed(value: Json) -> tuple[list[Row] | None, Row]:
    """Return the rows of a list and what it says of its pages, in whichever form of those that are known."""
    envelope = value if isinstance(value, dict) else {}
    data = envelope.get("data")
    inner = data if isinstance(data, dict) else {}
    lists = (data, *(one for one in inner.values()))
    listed = next((one for one in lists if isinstance(one, list)), None)
    if listed is None or not all(isinstance(one, dict) and _id(one) for one in listed):
        return None, {}
    places = (envelope, inner, *envelope.values(), *inner.values())
    paging = (one for one in places if isinstance(one, dict) and any(name in one for name in _TOTALS))
    return listed, next(paging, {})


def _id(row: Mapping[str, Json]) -> str:
    return _text(row.get("id")) or _text(row.get("entityId"))


@dataclass(frozen=True, slots=True)
class After:
    """What is done with a workflow once it is as it should be.

    `params` are what the test gives to the trigger, unless they are the samples that the trigger has;
    `title` and `description` say what is new.
    """

    test: bool = False
    publish: bool = False
    params: Mapping[str, Json] | None = None
    title: str = ""
    description: str = ""

    def calls(self, document: Mapping[str, Json], workflow: str, checksum: str) -> Iterator[tuple[str, Row]]:
        """Yield the path and the body of each call that is to be made."""
        if self.test:
            given = samples(document) if self.params is None else {**self.params}
            params = {"params": given} if given or self.params is not None else {}
            yield place(workflow, "test"), {"checksum": checksum, "version": "draft", **params}
        if self.publish:
            notes = {"title": self.title, "description": self.description}
            told = {name: text for name, text in notes.items() if text}
            yield place(workflow, "publish"), {"checksum": checksum, **told}


def samples(document: Mapping[str, Json]) -> Row:
    """Return what the fields of a trigger had in its last test."""
    fields = next((node.fields for node in parse(document).nodes.values() if node.kind == "trigger"), {})
    return {
        name: one["executedValue"] for name, one in fields.items() if one.get("executedValue") is not None
    }


def create(server: Api, document: Mapping[str, Json], after: After) -> Program[Done | Refusal]:
    """Make a workflow, compare what is there with what was sent, then test and publish it."""
    body = new_body(document)
    made = yield from _call(server, "POST", _PATH, body)
    if isinstance(made, Refusal):
        may_be = made.status is None or made.status >= 500
        return replace(made, remedy="it may be there all the same: list them") if may_be else made
    workflow, checksum = _text(made.get("id")), checksum_of(made)
    if not workflow or not checksum:
        return Refusal("the platform says that it succeeded, but sends no id and checksum")
    yield Keep({"id": workflow, "checksum": checksum})
    return (yield from _settled(server, body, checksum, Done("created", workflow), after))


@dataclass(frozen=True, slots=True)
class Update:
    """What is to become of a workflow: the whole document, with the checksum of what it was made from."""

    workflow: str
    document: Mapping[str, Json]
    after: After = After()


def preview(server: Api, update: Update) -> Program[Request | Done | Refusal]:
    """Return the call that would change a workflow, after telling what would change by it."""
    found = yield from _compared(server, update)
    if isinstance(found, Refusal):
        return found
    before, document = found
    yield from _announced(update.after.calls(document, update.workflow, "…"))
    if not _differences(before, document):
        return Done("unchanged", update.workflow, "it is so already")
    return server.request("PATCH", place(update.workflow), encoded(document))


def _announced(calls: Iterable[tuple[str, Row]]) -> Program[None]:
    for path, body in calls:
        yield Tell(f"then: POST {path} {json.dumps(body, ensure_ascii=False)}")


def push(server: Api, update: Update) -> Program[Done | Refusal]:
    """Replace a workflow, compare what is there with what was sent, then test and publish it."""
    workflow = update.workflow
    found = yield from _compared(server, update)
    if isinstance(found, Refusal):
        return found
    before, document = found
    if not _differences(before, document):
        done = Done("unchanged", workflow, "it is so already")
        return (yield from _finished(server, before, done, update.after))
    changed = yield from _call(server, "PATCH", place(workflow), document)
    if isinstance(changed, Refusal):
        changed = yield from _explained(server, workflow, document, changed)
    if isinstance(changed, Refusal):
        return changed
    checksum = checksum_of(changed)
    if not checksum:
        there = yield from get(server, workflow)
        if isinstance(there, Refusal):
            return there
        checksum = checksum_of(there)
    yield Keep({"checksum": checksum})
    done = Done("updated", workflow, _text(document.get("name")))
    return (yield from _settled(server, document, checksum, done, update.after))


def _compared(server: Api, update: Update) -> Program[tuple[Row, Row] | Refusal]:
    """Return what is there and what is to be sent, and tell what changes; refuse what could not end well."""
    before = yield from get(server, update.workflow)
    if isinstance(before, Refusal):
        return before
    if checksum_of(before) != checksum_of(update.document):
        return _conflict(before, update.document, "nothing was sent")
    document = _with_results(update.document, before)
    lines = _differences(before, document)
    untested = bool(lines) or before.get("testedAt") is None
    if update.after.publish and not update.after.test and untested:
        return _not_tested("nothing was sent")
    for line in shortened(lines):
        yield Tell(line)
    return before, document


def _with_results(document: Mapping[str, Json], there: Mapping[str, Json]) -> Row:
    """Return a document with what tests have put into its nodes since; they change no checksum."""
    results = {
        node["id"]: node["data"]["executedValue"]
        for node in there["nodes"]
        if isinstance(node, dict) and "executedValue" in (node.get("data") or ())
    }
    nodes = [
        {**node, "data": {**node["data"], "executedValue": results[node["id"]]}}
        if node.get("id") in results and "executedValue" not in (node.get("data") or {"executedValue"})
        else node
        for node in document["nodes"]
    ]
    return {**document, "nodes": nodes}


def _differences(there: Mapping[str, Json], document: Mapping[str, Json]) -> list[str]:
    return changes(new_body(there), new_body(document), by_id=True)


def _not_tested(what: str) -> Refusal:
    message = "the platform publishes only what was tested after its last update"
    return Refusal(message, code="nected.not_tested", remedy=f"add --test; {what}")


def _conflict(there: Mapping[str, Json], document: Mapping[str, Json], what: str) -> Refusal:
    """Return what there is to say when somebody else has changed a workflow meanwhile."""
    lines = _differences(document, there)
    fields = (
        ("the checksum of the document", checksum_of(document) or "none"),
        ("the checksum on the platform", checksum_of(there) or "none"),
    )
    head = "from the document to what is there:" if lines else "the two differ in nothing else"
    return Refusal(
        "the workflow was changed since the document was fetched",
        code="nected.conflict",
        fields=fields,
        details="\n".join([head, *(f"  {line}" for line in shortened(lines))]),
        remedy=f"{_MERGE}; {what}",
    )


def _explained(server: Api, workflow: str, document: Row, refusal: Refusal) -> Program[Row | Refusal]:
    """Tell by a look at what is there why an update was refused, or what became of one without an answer.

    Returns the workflow when it is as it should be.
    """
    there = yield from get(server, workflow)
    if isinstance(there, Refusal):
        return replace(refusal, remedy=f"whether it was stored is not known: {there.message}")
    stored = refusal.status not in NOT_STORED
    if checksum_of(there) == checksum_of(document):
        remedy = refusal.remedy or "nothing was changed"
        return replace(refusal, remedy=remedy)
    if stored and not _differences(there, document):
        yield Tell(f"{refusal.message}; but it is there as it was sent")
        return there
    return _conflict(there, document, "nothing was changed by this push")


def _settled(
    server: Api, sent: Mapping[str, Json], checksum: str, done: Done, after: After
) -> Program[Done | Refusal]:
    """Read back what is there, tell what of it is not what was sent, and finish."""
    there = yield from get(server, done.name)
    if isinstance(there, Refusal):
        return there
    lost = [
        f"{at}: {shown(one)} -> {shown(other)}"
        for at, one, other in unlike(new_body(sent), new_body(there), "", by_id=True)
        if one is not None
    ]
    done = replace(done, detail=_text(there.get("name")), losses=tuple(shortened(lost)))
    return (yield from _finished(server, {**there, "checksum": checksum}, done, after))


def act(server: Api, workflow: str, after: After) -> Program[Done | Refusal]:
    """Test or publish what is there."""
    there = yield from _testable(server, workflow, after)
    if isinstance(there, Refusal):
        return there
    return (yield from _finished(server, there, Done("unchanged", workflow), after))


def preview_act(server: Api, workflow: str, after: After) -> Program[Request | Done | Refusal]:
    """Return the first call that would test or publish what is there, and tell the other."""
    there = yield from _testable(server, workflow, after)
    if isinstance(there, Refusal):
        return there
    (path, body), *rest = after.calls(there, workflow, checksum_of(there))
    yield from _announced(rest)
    return server.request("POST", path, encoded(body))


def _testable(server: Api, workflow: str, after: After) -> Program[Row | Refusal]:
    there = yield from get(server, workflow)
    untested = isinstance(there, dict) and there.get("testedAt") is None
    return _not_tested("nothing was published") if after.publish and not after.test and untested else there


def _finished(server: Api, there: Row, done: Done, after: After) -> Program[Done | Refusal]:
    """Test and publish what is there; what is not tested well is not published."""
    checksum = checksum_of(there)
    told = [done.detail] if done.detail else []
    for path, body in after.calls(there, done.name, checksum):
        is_test = path.endswith("/test")
        data = yield from _call(server, "POST", path, {**body, "checksum": checksum})
        if isinstance(data, Refusal):
            remedy = data.remedy or ("it was not published" if is_test and after.publish else "")
            return replace(data, remedy=remedy)
        if is_test and (failed := _failed_test(data, after)):
            return failed
        checksum = checksum_of(data) or checksum
        if data.get("checksum"):
            yield Keep({"checksum": checksum})
        version = _text(data.get("version"))
        told.append("tested" if is_test else f"published as {version}" if version else "published")
    return replace(done, detail=", ".join(told))


def _failed_test(data: Row, after: After) -> Refusal | None:
    """Return why a test that was made did not go well."""
    outputs = data.get("nodeOutputs")
    nodes = outputs if isinstance(outputs, dict) else {}
    bad = {name: one for name, one in nodes.items() if isinstance(one, dict) and _is_bad(one)}
    if not bad and not _is_bad(data):
        return None
    fields = tuple(
        (f"node {name}", _text(one.get("message")) or _text(one.get("error")) or "failed")
        for name, one in bad.items()
    )
    remedy = "it was not published" if after.publish else ""
    what = f": {counted(len(bad), 'node')} failed" if bad else ""
    return Refusal(
        f"the test of the workflow failed{what}", code="nected.not_tested", fields=fields, remedy=remedy
    )


def _is_bad(one: Mapping[str, Json]) -> bool:
    return _text(one.get("status")).lower() in _FAILED
