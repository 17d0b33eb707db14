"""Integration flows on the Versori platform: sent, fetched, listed and deleted (seeds 000 and 001).

The platform stores what it is sent after its own decoder has read it, which knows only the keys of
the schema: what an answer lacks of what was sent is told as a loss.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final
from urllib.parse import quote

from runner.core.commands import Headers, Json, Response
from runner.core.document import join
from runner.core.json_document import encodable
from runner.core.redact import mask_url
from runner.core.trace import is_ulid, parse_time
from runner.errors import Problem
from runner.platforms.client import (
    LONGEST_EXCERPT,
    Api,
    Done,
    Program,
    Refusal,
    Tell,
    counted,
    excerpt,
    json_of,
    size_text,
)
from runner.platforms.versori_flow import trigger_id

# Seed 001, servers. Only the development one has no /api/v2.
SERVERS: Final = {
    "production": "https://platform.versori.com/api/v2",
    "staging": "https://platform-staging.versori.com/api/v2",
    "development": "http://localhost:8901",
}
TIMEOUT: Final = 60.0  # seconds for one attempt
SCHEMES: Final = ("Bearer", "JWT", "cookie")
MOST_LOSSES: Final = 20
_SPAN: Final = re.compile(r"spans\[([0-9]+)\]")
_TIMES: Final = frozenset(("startTime", "endTime", "timestamp"))


# --- where to, and as whom


@dataclass(frozen=True, slots=True)
class Project:
    """A project of an organisation; both are ULIDs."""

    organisation: str
    project: str

    def flows(self, name: str | None = None) -> str:
        """Return the path of its flows, or of one flow."""
        path = f"/o/{self.organisation}/projects/{self.project}/workflows"
        return path if name is None else f"{path}/{quote(name, safe='')}"


@dataclass(frozen=True, slots=True)
class Context:
    """What the platform's own command line is configured with: where it goes and as whom."""

    organisation: str = ""
    project: str = ""
    token: str = ""
    base_url: str = ""
    name: str = ""


def choose_context(
    config: Mapping[str, Json], pinned: Mapping[str, Json], organisation: str | None, project: str | None
) -> Context:
    """Return what holds for a project, from the platform's configuration and the project's own file.

    As the platform's command line does it: the context that the project's file names wins over the
    active one, if it is that project that is meant. A context of another organisation is left alone.
    """
    pinned_project = _text(pinned, "project_id")
    wanted = project or pinned_project
    name = _text(config, "active_context")
    if pinned_project and wanted == pinned_project:
        name = _text(pinned, "context") or name
    contexts = config.get("contexts")
    found = contexts.get(name) if isinstance(contexts, dict) else None
    context = found if isinstance(found, dict) else {}
    owner = _text(context, "organisation_id")
    if organisation and owner.upper() != organisation.upper():
        return Context(project=pinned_project)
    return Context(owner, pinned_project, _text(context, "jwt"), _text(context, "url_overwrite"), name)


def _text(members: Mapping[str, Json], key: str) -> str:
    value = members.get(key)
    return value if isinstance(value, str) else ""


def auth_headers(scheme: str, secret: str) -> Headers:
    """Return the header that proves who calls.

    Seed 001 knows a bearer token and a cookie called ``cookie``; the platform's own documentation and
    command line write ``JWT`` instead of ``Bearer``. A whole Cookie header is sent as it is.
    """
    if scheme == "cookie":
        return (("Cookie", secret if "=" in secret else f"cookie={secret}"),)
    return (("Authorization", f"{scheme} {secret}"),)


def id_problems(flag: str, value: str) -> Iterator[Problem]:
    """Yield a problem for an id that the platform would refuse."""
    if not is_ulid(value.upper()):
        what = f"{value!r} is no ULID: 26 letters and digits such as 01ARZ3NDEKTSV4RRFFQ69G5FAV"
        yield Problem("usage.target", flag, what)


def name_problems(name: str) -> Iterator[Problem]:
    """Yield what is wrong with the name of a flow, which is a part of its url too."""
    if name.strip() in ("", ".", "..") or not encodable(name):
        yield Problem("usage.target", "--name", f"a flow cannot be called {name!r}")
    elif trigger_id(name) != name:
        what = f"{name!r} has characters that urls do not like; {trigger_id(name)!r} has none"
        yield Problem("usage.target", "--name", what, "warning")


# --- calls


def api(base_url: str, scheme: str, headers: Headers, timeout: float = TIMEOUT) -> Api:
    """Return the platform's API, called with these headers under that scheme."""

    def read_error(answer: Response) -> Refusal:
        return _refusal(answer, scheme)

    return Api(base_url, headers, read_error, timeout)


def push(
    api: Api, project: Project, name: str, body: bytes, *, overwrite: bool = True
) -> Program[Done | Refusal]:
    """Put a flow in its place, whole, after a look at what is there; `body` is the document."""
    sent = json.loads(body)
    path, spans = project.flows(name), sent["spans"]
    held = yield from _spans_there(api, path)
    if isinstance(held, Refusal):
        return held
    if held is not None and not overwrite:
        there = counted(held, "span")
        return Refusal(f"there is a flow {name!r} already, with {there}, and it is not to be overwritten")
    yield Tell(f"sending {counted(len(spans), 'span')}, {size_text(len(body))}, to {mask_url(api.base_url)}")
    answer = yield from api.call("PUT", path, body)
    if isinstance(answer, Refusal):
        return replace(answer, fields=tuple(_named(answer.fields, spans)))
    kept = _flow(answer)
    if isinstance(kept, Refusal):
        return kept
    losses = tuple(_losses(sent, kept))
    if held is None:
        return Done("created", name, counted(len(spans), "span"), losses)
    return Done("replaced", name, f"{counted(held, 'span')} -> {len(spans)}", losses)


def _spans_there(api: Api, path: str) -> Program[int | Refusal | None]:
    """Return how many spans the flow has that is there, None when there is none."""
    answer = yield from api.call("GET", path, accepted=(200, 404))
    if isinstance(answer, Refusal):
        return answer
    if answer.status == 404 and (not answer.body or isinstance(json_of(answer), dict)):
        return None
    flow = _flow(answer)
    return flow if isinstance(flow, Refusal) else len(flow["spans"])


def pull(api: Api, project: Project, name: str) -> Program[Done | Refusal]:
    """Fetch a flow; the document is the answer byte for byte."""
    answer = yield from api.call("GET", project.flows(name))
    if isinstance(answer, Refusal):
        return answer
    flow = _flow(answer)
    if isinstance(flow, Refusal):
        return flow
    return Done("found", name, counted(len(flow["spans"]), "span"), document=answer.body)


def list_flows(api: Api, project: Project) -> Program[Done | Refusal]:
    """Fetch every flow of a project; the document is their list."""
    answer = yield from api.call("GET", project.flows())
    if isinstance(answer, Refusal):
        return answer
    value = json_of(answer)
    listed = _or_empty(value, "flows")
    flows = [_or_empty(flow, "spans") for flow in listed["flows"]] if listed is not None else [None]
    if None in flows:
        return _unexpected(answer, "no list of flows")
    rows = tuple(
        (str(flow.get("name") or ""), counted(len(flow["spans"]), "span"), str(flow.get("description") or ""))
        for flow in flows
        if flow is not None
    )
    return Done("found", document=answer.body, rows=rows)


def delete(api: Api, project: Project, name: str) -> Program[Done | Refusal]:
    """Delete a flow."""
    answer = yield from api.call("DELETE", project.flows(name))
    return answer if isinstance(answer, Refusal) else Done("deleted", name)


# --- answers


def _flow(answer: Response) -> dict[str, Json] | Refusal:
    return _or_empty(json_of(answer), "spans") or _unexpected(answer, "no flow")


def _or_empty(value: Json, key: str) -> dict[str, Json] | None:
    """Return an object that has a list there; in the platform's language an empty one may be null."""
    found = value.get(key, "") if isinstance(value, dict) else ""
    return {**value, key: found or []} if found is None or isinstance(found, list) else None


def _unexpected(answer: Response, lack: str) -> Refusal:
    """Tell of an answer that came from somewhere else, such as the page of a login."""
    message = f"the platform answered {answer.status}, but with {lack}"
    return Refusal(message, answer.status, details=excerpt(answer), remedy="is that the url of the API?")


def _refusal(answer: Response, scheme: str) -> Refusal:
    """Read an error of the platform (seed 001, Error): ``code``, ``message``, ``fields``, ``details``."""
    others = " and ".join(f"--scheme {other}" for other in SCHEMES if other != scheme)
    remedy = f"it was sent with --scheme {scheme}; there are {others} too" if answer.status == 401 else ""
    told = f"the platform answered {answer.status}"
    error = json_of(answer)
    if not isinstance(error, dict) or not isinstance(error.get("message"), str):
        text = excerpt(answer)
        return Refusal(f"{told}: {text}" if text else told, answer.status, remedy=remedy)
    code, fields = error.get("code"), error.get("fields")
    pairs = [
        (str(field.get("field") or ""), str(field.get("message") or ""))
        for field in (fields if isinstance(fields, list) else ())
        if isinstance(field, dict)
    ]
    return Refusal(
        f"{told}: {error['message']}" + (f" ({code})" if code else ""),
        answer.status,
        str(code or ""),
        tuple(pairs),
        str(error.get("details") or ""),
        remedy,
    )


def _named(fields: tuple[tuple[str, str], ...], spans: list[Json]) -> Iterator[tuple[str, str]]:
    """Yield the fields with the name of the span that each is about."""
    for place, what in fields:
        yield _with_span(place, spans), what


def _with_span(place: str, spans: list[Json]) -> str:
    match = _SPAN.match(place)
    number = int(match[1][:9]) if match else len(spans)
    return f"{place} ({spans[number]['name']})" if number < len(spans) else place


# --- what was kept


def _losses(sent: Json, kept: Json) -> Iterator[str]:
    """Yield what the platform did not keep, the first ones in words."""
    found = _differences({key: value for key, value in sent.items() if key != "id"}, kept, "")
    for place, what in islice(found, MOST_LOSSES):
        yield f"{_with_span(place, sent['spans'])} {what}"
    if more := sum(1 for _ in found):
        yield f"… and {more} more"


def _differences(sent: Json, kept: Json, path: str) -> Iterator[tuple[str, str]]:
    """Yield where two documents differ in meaning; what the platform has added is none.

    Its decoder writes times without trailing zeros and whole numbers without a fraction, and leaves
    out what is empty.
    """
    if isinstance(sent, dict) and isinstance(kept, dict):
        for key, value in sent.items():
            if key in kept:
                yield from _differences(value, kept[key], join(path, key))
            elif value not in ({}, [], None):
                yield join(path, key), "was not kept"
    elif isinstance(sent, list) and isinstance(kept, list):
        for number, (value, other) in enumerate(zip(sent, kept, strict=False)):
            yield from _differences(value, other, join(path, number))
        if len(kept) < len(sent):
            yield path, f"has {len(kept)} of {len(sent)} left"
    elif not _same(sent, kept, path):
        yield path, f"was {_shown(sent)} and is {_shown(kept)}"


def _same(sent: Json, kept: Json, path: str) -> bool:
    if path.rpartition(".")[2] in _TIMES and isinstance(kept, str):
        try:
            return parse_time(sent) == parse_time(kept)
        except ValueError:
            return False
    if type(sent) is bool or type(kept) is bool:
        return sent is kept
    if isinstance(sent, int | float) and isinstance(kept, int | float):
        return _float64(sent) == _float64(kept)  # which is all that the platform has
    return bool(sent == kept)


def _float64(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _shown(value: Json) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_EXCERPT else f"{text[: LONGEST_EXCERPT - 1]}…"
