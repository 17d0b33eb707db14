"""Saving flows of PingOne DaVinci, without a lock, and what is done to them after that.

The API has no lock. A save is preceded by a look that compares what the document was made from with
what is there, and followed by one that compares what was sent with what was kept; whoever saved in
between is told of, and what was saved is not deployed then.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, assert_never

from runner.core.commands import Json, Request
from runner.core.redact import mask_url
from runner.platforms.client import JSON, Done, Keep, Program, Refusal, Tell
from runner.platforms.davinci_api import (
    OF_THE_SERVER,
    Environment,
    Row,
    encoded,
    get,
    is_flow,
    media_type,
    moment,
    unmapped,
)
from runner.platforms.davinci_document import VERSION, flow_of_version
from runner.platforms.davinci_rules import PROPERTIES
from runner.platforms.differences import change_line, shortened, shown, unlike

Verb = Literal["revert", "alias", "deploy", "enabled"]

COUNTERS: Final = ("currentVersion", "publishedVersion")  # which the server counts itself


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that is done to a flow that is there; `version` is a number, None the current one."""

    verb: Verb
    value: Json = None
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Save:
    """What is to become of a flow, of a new one without `flow`, and the steps after that.

    `made_from` is what the document says of the version that it was made from. What the body lacks is
    taken from what is there, unless `as_is`. A document of another environment `is_foreign`: it may name
    connections that are not there. With `anyway` neither that nor a change by others is a hindrance.
    `kept` are the properties whose new values the document is to get.
    """

    body: Mapping[str, Json]
    flow: str = ""
    made_from: Mapping[str, Json] | None = None
    as_is: bool = False
    is_foreign: bool = False
    anyway: bool = False
    steps: Sequence[Step] = ()
    kept: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Look:
    """What is there, what is to be sent, and whether that changes anything."""

    before: Row
    sent: Row
    is_change: bool


# --- a flow that is there


def preview(there: Environment, save: Save) -> Program[Request | Done | Refusal]:
    """Return the call that would save a flow, after telling what would change by it."""
    look = yield from (_look(there, save) if save.flow else _look_at_nothing(there, save))
    if isinstance(look, Refusal):
        return look
    for step in save.steps:
        request = _step_request(there, save.flow or "ID", step, look.before)
        yield Tell(f"then {request.method} {mask_url(request.url)} {(request.body or b'').decode()}")
    if not look.is_change:
        return Done("unchanged", save.flow, "it is so already")
    method, path = ("PUT", there.flow(save.flow)) if save.flow else ("POST", there.flow())
    return there.api.request(method, path, encoded(look.sent))


def push(there: Environment, save: Save) -> Program[Done | Refusal]:
    """Save a flow as a document has it, compare what is there with what was sent, and do the steps."""
    if not save.flow:
        return (yield from _create(there, save))
    look = yield from _look(there, save)
    if isinstance(look, Refusal):
        return look
    if not look.is_change:
        done = Done("unchanged", save.flow, "it is so already")
        return (yield from _finish(there, look.before, save, done))
    answer = is_flow((yield from there.call("PUT", there.flow(save.flow), look.sent)))
    if isinstance(answer, Refusal):
        return (yield from _what_came_of_it(there, save.flow, look, answer))
    yield from _keep(save, answer)
    after = yield from get(there, save.flow)
    if isinstance(after, Refusal):
        return replace(after, message=f"the flow was saved, but not read back: {after.message}")
    others = yield from _others(there, save.flow, look, answer, after)
    found = tuple(_losses(look.sent, after))
    versions = f"version {_version(look.before)} -> {_version(answer)}"
    done = Done("updated", save.flow, versions, found, overwritten=others)
    return (yield from _finish(there, after, save, done))


def _look(there: Environment, save: Save) -> Program[_Look | Refusal]:
    """Look at what is there, and tell what changes and what may be lost by it."""
    before = yield from get(there, save.flow)
    if isinstance(before, Refusal):
        if before.status == 404:
            return replace(before, remedy=f"{before.remedy} --new makes a flow of the document")
        return before
    made_from = save.made_from or {}
    moved = tuple(_moved(made_from, before))
    if moved and not save.anyway:
        message = "somebody else has changed the flow since this document was made from it"
        remedy = "fetch it again and change that, or overwrite theirs with --yes; nothing was changed"
        return Refusal(message, None, "davinci.conflict", moved, remedy=remedy)
    sent: Row = dict(save.body)
    absent = [name for name in PROPERTIES if name not in (*sent, *COUNTERS) and before.get(name) is not None]
    if absent and not save.as_is:
        sent |= {name: before[name] for name in absent}
        yield Tell(f"the document has no {', '.join(absent)}: sent as it is there")
    refusal = yield from _connected(there, save)
    if refusal is not None:
        return refusal
    lines = [*_changes(before, sent)]
    lines += [f"{name}: not sent, and may be cleared" for name in absent if name not in sent]
    for line in shortened(lines):
        yield Tell(line)
    if lines:
        yield Tell(_risk(made_from, before, is_moved=bool(moved)))
    return _Look(before, sent, bool(lines))


def _changes(before: Row, sent: Row) -> Iterator[str]:
    old, new = _compared(before), _compared(sent)
    for name, value in new.items():
        for at, one, other in unlike(old.get(name), value, name):
            yield change_line(at, one, other)


def _moved(made_from: Mapping[str, Json], before: Row) -> Iterator[tuple[str, str]]:
    """Yield what was another when the document was made."""
    for name in VERSION:
        mine, theirs = made_from.get(name), before.get(name)
        is_same = mine == theirs or (moment(mine) is not None and moment(mine) == moment(theirs))
        if mine is not None and not is_same:
            yield name, f"is {shown(mine)} in the document and {shown(theirs)} there"


def _risk(made_from: Mapping[str, Json], before: Row, *, is_moved: bool) -> str:
    """Return what this save may overwrite."""
    version = f"version {_version(before)}"
    if is_moved:
        return f"{version} is not what the document was made from; it is overwritten"
    if not any(made_from.get(name) is not None for name in VERSION):
        return f"the document does not say which version it was made from; {version} is overwritten"
    race = "there is no lock: a save by somebody else at this moment would be overwritten, and told"
    return f"{version} is what the document was made from; {race}"


def _version(flow: Row) -> str:
    return shown(flow.get("currentVersion"))


def _others(there: Environment, flow: str, look: _Look, answer: Row, after: Row) -> Program[tuple[str, ...]]:
    """Return what others have saved around this save: each save counts the version up by one."""
    old, mine, last = (one.get("currentVersion") for one in (look.before, answer, after))
    found = []
    if isinstance(old, int) and isinstance(mine, int) and mine > old + 1:
        is_own = yield from _is_so(there, flow, mine - 1, look.sent)
        between = str(old + 1) if mine == old + 2 else f"{old + 1} to {mine - 1}"
        if is_own and mine == old + 2:
            yield Tell(f"version {between} is the same: an attempt of this save whose answer was lost")
        else:
            found.append(
                f"version {between} was saved by somebody else at the same time; version {mine} replaces it"
            )
            found.append(
                f"  runner pull --from davinci --id {flow} --flow-version {mine - 1} --export shows it"
            )
    if last != mine:
        found.append(f"version {shown(last)} was saved by somebody else right after version {shown(mine)}")
    return tuple(found)


def _is_so(there: Environment, flow: str, version: int, sent: Row) -> Program[bool]:
    """Return whether a version has all that was sent, as one has that was sent twice."""
    details = yield from there.call("GET", there.flow(flow, "versions", version, "details"))
    return not isinstance(details, Refusal) and not any(_losses(sent, flow_of_version(details)))


def _what_came_of_it(there: Environment, flow: str, look: _Look, refusal: Refusal) -> Program[Done | Refusal]:
    """Find out whether a save whose answer was lost, or broke, was made all the same."""
    if refusal.status is not None and refusal.status < 500:
        return refusal
    after = yield from get(there, flow)
    if isinstance(after, Refusal):
        told = "it is not known whether that was saved"
    elif after.get("currentVersion") == look.before.get("currentVersion"):
        told = f"nothing was saved: version {_version(after)} is still there"
    else:
        is_so = not any(_losses(look.sent, after))
        told = f"version {_version(after)} is there now, {'as' if is_so else 'but not as'} it was sent"
    return replace(refusal, details="\n".join([*refusal.details.splitlines(), told]))


def _losses(sent: Mapping[str, Json], after: Row) -> Iterator[str]:
    """Yield what of what was sent is not there; what the server adds itself is none."""
    kept = _compared(after)
    found = [
        f"{at} was not kept" if other is None else f"{at} was {shown(one)} and is {shown(other)}"
        for name, value in _compared(sent).items()
        for at, one, other in unlike(value, kept.get(name), name)
        if one is not None
    ]
    yield from shortened(found)


def _compared(flow: Mapping[str, Json]) -> Row:
    """Return what can be compared of a flow: not its counters, and not what the server's linter found."""
    kept = {name: one for name, one in flow.items() if name not in (*COUNTERS, *OF_THE_SERVER)}
    graph = kept.get("graphData")
    if isinstance(graph, dict):
        kept["graphData"] = graph = {name: one for name, one in graph.items() if name != "allLinterErrors"}
        elements = graph.get("elements")
        nodes = elements.get("nodes") if isinstance(elements, dict) else None
        if isinstance(nodes, list):
            graph["elements"] = {**graph["elements"], "nodes": [_unlinted(node) for node in nodes]}
    return kept


def _unlinted(node: Json) -> Json:
    data = node.get("data") if isinstance(node, dict) else None
    if not isinstance(data, dict) or "linterError" not in data:
        return node
    return {**node, "data": {name: one for name, one in data.items() if name != "linterError"}}


# --- a new flow


def _create(there: Environment, save: Save) -> Program[Done | Refusal]:
    """Make a flow, compare what is there with what was sent, and do the steps."""
    look = yield from _look_at_nothing(there, save)
    if isinstance(look, Refusal):
        return look
    made = is_flow((yield from there.call("POST", there.flow(), look.sent)))
    if not isinstance(made, Refusal):
        yield from _keep(save, made)
    after = made if isinstance(made, Refusal) else (yield from get(there, made["id"]))
    if isinstance(after, Refusal):
        return after
    done = Done("created", after["id"], str(after.get("name")), tuple(_losses(look.sent, after)))
    return (yield from _finish(there, after, save, done))


def _look_at_nothing(there: Environment, save: Save) -> Program[_Look | Refusal]:
    refusal = yield from _connected(there, save)
    return _Look({}, dict(save.body), is_change=True) if refusal is None else refusal


def _connected(there: Environment, save: Save) -> Program[Refusal | None]:
    """Refuse a document of another environment whose connections are not in this one."""
    if not save.is_foreign or "graphData" not in save.body:
        return None
    missing = yield from unmapped(there, save.body["graphData"])
    if isinstance(missing, Refusal):
        return missing
    if not missing:
        return None
    message = "the document is of another environment, and this one does not have all of its connections"
    if not save.anyway:
        remedy = "put the ids of this environment's connections there, or send it as it is with --yes"
        return Refusal(message, None, "davinci.connection_unmapped", missing, remedy=remedy)
    yield Tell(message)
    return None


def clone(there: Environment, flow: str) -> Program[Done | Refusal]:
    """Copy a flow, and compare the copy with it."""
    before = yield from get(there, flow)
    if isinstance(before, Refusal):
        return before
    answer = yield from there.call("POST", there.flow(flow), {}, kind=media_type("flow", "clone"))
    made = is_flow(answer)
    after = made if isinstance(made, Refusal) else (yield from get(there, made["id"]))
    if isinstance(after, Refusal):
        return after
    own = ("name", "enabled")  # a copy may be called something else, and be switched off
    wanted = {name: before[name] for name in PROPERTIES if name in before and name not in own}
    copied = f"{after.get('name')}, a copy of {flow}"
    return Done("created", after["id"], copied, tuple(_losses(wanted, after)))


def clone_request(there: Environment, flow: str) -> Request:
    """Return the call that copies a flow."""
    return there.api.request("POST", there.flow(flow), encoded({}), kind=media_type("flow", "clone"))


# --- steps


def do(there: Environment, flow: str, steps: Sequence[Step]) -> Program[Done | Refusal]:
    """Do things to a flow that is there."""
    known = yield from get(there, flow)
    told = known if isinstance(known, Refusal) else (yield from _do(there, flow, steps, known))
    return told if isinstance(told, Refusal) else Done("updated", flow, ", ".join(told))


def preview_steps(there: Environment, flow: str, steps: Sequence[Step]) -> Program[Request | Done | Refusal]:
    """Return the last of the calls that would be made, after telling the others."""
    known = yield from get(there, flow)
    if isinstance(known, Refusal):
        return known
    requests = [_step_request(there, flow, step, known) for step in steps]
    for request in requests[:-1]:
        yield Tell(f"first {request.method} {mask_url(request.url)} {(request.body or b'').decode()}")
    return requests[-1]


def _finish(there: Environment, flow: Row, save: Save, done: Done) -> Program[Done | Refusal]:
    """Do the steps after a save, unless what is there is not what was sent."""
    steps = save.steps
    if not steps:
        return done
    if done.losses or done.overwritten:
        undone = f"so this was not done: {', '.join(step.verb for step in steps)}"
        return replace(done, overwritten=(*done.overwritten, undone))
    told = yield from _do(there, done.name, steps, flow)
    if save.kept:  # a step may count as a change
        after = yield from get(there, done.name)
        if not isinstance(after, Refusal) and after.get("currentVersion") == flow.get("currentVersion"):
            yield from _keep(save, after)
    if isinstance(told, Refusal):
        saved = f"before that: {done.name} {done.verb} ({done.detail})"
        return replace(told, details="\n".join([*told.details.splitlines(), saved]))
    verb = "updated" if done.verb == "unchanged" else done.verb
    return replace(done, verb=verb, detail=", ".join([done.detail, *told]))


def _keep(save: Save, flow: Row) -> Program[None]:
    """Have the document say which version it is of now, so that the next save of it is no conflict."""
    values = {name: flow[name] for name in save.kept if flow.get(name) is not None}
    if values:
        yield Keep(values)


def _do(there: Environment, flow: str, steps: Sequence[Step], known: Row) -> Program[list[str] | Refusal]:
    """Do things to a flow, in order; returns what was done in words."""
    done: list[str] = []
    for step in steps:
        method, path, body, kind = _step_call(there, flow, step, known)
        answer = yield from there.call(method, path, body, kind=kind)
        if step.verb == "revert" and not isinstance(answer, Refusal):
            answer = yield from get(there, flow)  # the answer is one of a version
            known = known if isinstance(answer, Refusal) else answer
        told = answer if isinstance(answer, Refusal) else _outcome(step, answer)
        if isinstance(told, Refusal):
            before = [f"before that: {', '.join(done)}"] if done else []
            return replace(told, details="\n".join([*told.details.splitlines(), *before]))
        done.append(told)
    return done


def _step_request(there: Environment, flow: str, step: Step, known: Row) -> Request:
    method, path, body, kind = _step_call(there, flow, step, known)
    return there.api.request(method, path, encoded(body), kind=kind)


def _step_call(there: Environment, flow: str, step: Step, known: Row) -> tuple[str, str, Json, str]:
    """Return method, path, body and media type of a step."""
    match step.verb:
        case "revert":
            version = there.flow(flow, "versions", step.value)
            return "POST", version, {}, media_type("flowversion", "revert")
        case "alias":
            number = step.version or known.get("currentVersion", 1)
            return "PUT", there.flow(flow, "versions", number, "alias"), {"alias": step.value}, JSON
        case "deploy":
            return "POST", there.flow(flow), {}, media_type("flow", "deploy")
        case "enabled":
            return "PUT", there.flow(flow, "enabled"), {"enabled": step.value}, JSON
        case other:
            assert_never(other)


def _outcome(step: Step, answer: Row) -> str | Refusal:
    """Return in words what a step has done, if the answer says so."""
    match step.verb:
        case "revert":
            return f"version {step.value} is back as version {_version(answer)}"
        case "alias":
            is_so, what = answer.get("alias") == step.value, f"called {step.value}"
        case "deploy":
            deployed = answer.get("publishedVersion")
            is_so = deployed is not None and deployed == answer.get("currentVersion")
            what = f"deployed version {shown(deployed)}"
        case "enabled":
            is_so, what = answer.get("enabled") is step.value, "enabled" if step.value else "disabled"
        case other:
            assert_never(other)
    if is_so:
        return what
    return Refusal(
        f"the platform says that it succeeded, but not that the flow is {what}", details=json.dumps(answer)
    )
