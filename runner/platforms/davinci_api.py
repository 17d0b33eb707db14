"""The admin API of PingOne DaVinci: its calls, its answers, what is fetched.

Seed 003 has the update of a flow, facts/davinci-nected A8 the rest. `davinci_save` saves flows.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Literal
from urllib.parse import SplitResult, quote, urljoin, urlsplit, urlunsplit

from runner.core.commands import Headers, Json, Request, Response, TokenSpec, header
from runner.core.redact import mask_url
from runner.core.trace import parse_time
from runner.platforms.client import (
    JSON,
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
from runner.platforms.davinci_rules import MOST
from runner.platforms.differences import shown

Row = dict[str, Json]

TIMEOUT: Final = 60.0  # seconds for one attempt
# What only the server says of a flow, and the findings of its own linter.
OF_THE_SERVER: Final = (
    "_links", "_embedded", "id", "environment", "createdAt", "updatedAt", "deployedAt",
    "dvlinterErrorCount", "dvlinterWarningCount",
)  # fmt: skip
LISTED: Final = "id,name,enabled,currentVersion,publishedVersion,updatedAt"
_EXPORTED: Final = {"includeSubFlows": True, "includeVariableValues": False, "includeForms": True}


@dataclass(frozen=True, slots=True)
class Environment:
    """The API, and the environment there that is meant."""

    api: Api
    id: str

    def path(self, *parts: object) -> str:
        """Return the path of something in the environment."""
        return "/".join(
            ("/v1/environments", quote(self.id, safe=""), *(quote(str(one), safe="") for one in parts))
        )

    def flow(self, *parts: object) -> str:
        """Return the path of a flow, or of something that it has."""
        return self.path("flows", *parts)

    def call(self, method: str, path: str, body: Json = None, *, kind: str = JSON) -> Program[Row | Refusal]:
        """Make a call; returns the object that the answer holds, empty where it holds nothing."""
        data = None if body is None else encoded(body)
        if data is not None and len(data) > MOST:
            return Refusal(
                f"this is {size_text(len(data))}, and the platform takes {size_text(MOST)} at most"
            )
        answer = yield from self.api.call(method, path, data, kind=kind)
        return answer if isinstance(answer, Refusal) else _object(answer)


def api(base_url: str, headers: Headers, token: TokenSpec | None = None, timeout: float | None = None) -> Api:
    """Return the platform's API, called with these headers, or with a token that is asked for."""
    return Api(base_url, headers, _refusal, timeout or TIMEOUT, token=token, adapted=_with_time_to_wait)


def media_type(of: Literal["flow", "flowversion"], verb: str) -> str:
    """Return the media type that tells one POST to a flow, or to a version of one, from the others."""
    return f"application/vnd.pingidentity.{of}.{verb}+json"


def encoded(body: Json) -> bytes:
    """Return a body as it is sent."""
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")


# --- answers


def _object(answer: Response) -> Row | Refusal:
    if not answer.body.strip():
        return {}
    value = json_of(answer)
    if isinstance(value, dict):
        return value
    message = f"the platform answered {answer.status}, but with no JSON object"
    return Refusal(message, answer.status, details=excerpt(answer), remedy="is that the url of the API?")


def _refusal(answer: Response) -> Refusal:
    """Read an error: ``{id, code, message, details: [{code, message, target, innerError}]}``."""
    error = json_of(answer)
    told = f"the platform answered {answer.status}"
    if not isinstance(error, dict) or not isinstance(error.get("message"), str):
        text = excerpt(answer)
        return Refusal(f"{told}: {text}" if text else told, answer.status, remedy=_remedy(answer.status))
    code, number = error.get("code"), error.get("id")
    tags = ", ".join(str(one) for one in (code, number and f"error {number}") if one)
    return Refusal(
        f"{told}: {error['message']}" + (f" ({tags})" if tags else ""),
        answer.status,
        str(code or ""),
        tuple((str(one.get("target") or ""), _detail(one)) for one in _details(error)),
        remedy=_remedy(answer.status),
    )


def _details(error: Json) -> list[Row]:
    details = error.get("details") if isinstance(error, dict) else None
    return [one for one in details if isinstance(one, dict)] if isinstance(details, list) else []


def _detail(detail: Row) -> str:
    code, inner = detail.get("code"), detail.get("innerError")
    tags = [str(code)] if code else []
    tags += [f"{key} {shown(value)}" for key, value in inner.items()] if isinstance(inner, dict) else []
    return f"{detail.get('message') or ''}" + (f" ({'; '.join(tags)})" if tags else "")


def _remedy(status: int) -> str:
    return {
        401: "give DAVINCI_CLIENT_ID and DAVINCI_CLIENT_SECRET of a worker application, or DAVINCI_TOKEN",
        403: "the application needs a role with a permission such as davinci:update:dvFlows",
        404: "are --region, --env-id and --id those of the flow?",
    }.get(status, "")


def _with_time_to_wait(answer: Response) -> Response:
    """Put the time after which a call may be made again where everybody else has it."""
    if answer.status != 429 or header(answer.headers, "retry-after"):
        return answer
    for detail in _details(json_of(answer)):
        inner = detail.get("innerError")
        told = (inner.get("retryAfter") or inner.get("quotaResetTime")) if isinstance(inner, dict) else None
        at = moment(told)
        if at is not None:
            wait = max(0, -(-at // 10**9) - int(answer.received_at))  # whole seconds, and none too few
            return replace(answer, headers=(*answer.headers, ("Retry-After", str(wait))))
    return answer


def moment(text: Json) -> int | None:
    """Return a time as nanoseconds since 1970, None where it is none."""
    try:
        return parse_time(text)
    except (TypeError, ValueError):
        return None


def is_flow(value: Row | Refusal) -> Row | Refusal:
    """Return the flow that an answer holds, or why there is none."""
    if isinstance(value, Refusal) or isinstance(value.get("id"), str):
        return value
    return Refusal(
        "the platform says that it succeeded, but sends no flow", remedy="is that the url of the API?"
    )


# --- fetching


def get(there: Environment, flow: str) -> Program[Row | Refusal]:
    """Fetch a flow."""
    return is_flow((yield from there.call("GET", there.flow(flow))))


def fetch(there: Environment, path: str, name: str, *, export: bool = False) -> Program[Done | Refusal]:
    """Fetch a document, in lines that can be edited."""
    if export:
        value = yield from there.call("POST", path, _EXPORTED, kind=media_type("flowversion", "export"))
    else:
        value = yield from there.call("GET", path)
    return value if isinstance(value, Refusal) else Done("found", name, document=_document(value))


def pull(there: Environment, flow: str) -> Program[Done | Refusal]:
    """Fetch a flow as a document."""
    return (yield from fetch(there, there.flow(flow), flow))


def export_current(there: Environment, flow: str) -> Program[Done | Refusal]:
    """Fetch the current version of a flow as an export."""
    found = yield from get(there, flow)
    if isinstance(found, Refusal):
        return found
    version = there.flow(flow, "versions", found.get("currentVersion"))
    return (yield from fetch(there, version, flow, export=True))


def list_all(
    there: Environment, path: str, key: str, row: Callable[[Row], tuple[str, ...]]
) -> Program[Done | Refusal]:
    """Fetch a list, page by page; the document has all of them under the same key as a page."""
    found: list[Row] = []
    seen = set[str]()
    while True:
        seen.add(path)
        page = yield from there.call("GET", path)
        if isinstance(page, Refusal):
            return page
        embedded = page.get("_embedded")
        listed = embedded.get(key) if isinstance(embedded, dict) else None
        if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
            return Refusal(f"the platform says that it succeeded, but sends no list of {key}")
        found += listed
        link = _next(page)
        if link is None:
            break
        further = _path_within(there.api.base_url, link)
        if further is None:
            return Refusal(f"the list goes on at {mask_url(link)}, and no other server gets the token")
        if further in seen:
            return Refusal("the list leads back to a page that it had before")
        path = further
    rows = tuple(row(one) for one in found)
    return Done("found", document=_document({"_embedded": {key: found}, "count": len(found)}), rows=rows)


def _next(page: Row) -> str | None:
    links = page.get("_links")
    link = links.get("next") if isinstance(links, dict) else None
    href = link.get("href") if isinstance(link, dict) else None
    return href if isinstance(href, str) else None


def _path_within(base: str, link: str) -> str | None:
    """Return the path below the base url that a link leads to, None when it leads to another origin."""
    start, end = urlsplit(base), urlsplit(urljoin(base, link))
    below = start.path.rstrip("/")
    is_ours = _origin(start) == _origin(end) and end.path.startswith(f"{below}/")
    return urlunsplit(("", "", end.path.removeprefix(below), end.query, "")) if is_ours else None


def _origin(url: SplitResult) -> tuple[str, str | None, int | None]:
    return url.scheme, url.hostname, url.port or {"http": 80, "https": 443}.get(url.scheme)


def _document(value: Json) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode()


def flow_row(flow: Row) -> tuple[str, ...]:
    """Return the line of a flow: id, whether it is on, versions, name."""
    deployed = flow.get("publishedVersion")
    return (
        str(flow.get("id")),
        "enabled" if flow.get("enabled") else "disabled",
        f"version {flow.get('currentVersion', '?')}"
        + (f", deployed {deployed}" if deployed is not None else ""),
        str(flow.get("name")),
    )


def version_row(version: Row) -> tuple[str, ...]:
    """Return the line of a version: number, times, alias."""
    deployed = version.get("deployedAt")
    return (
        str(version.get("version")),
        str(version.get("createdAt") or version.get("updatedAt") or ""),
        f"deployed {deployed}" if deployed else "",
        str(version.get("alias") or ""),
    )


def delete(there: Environment, path: str, name: str) -> Program[Done | Refusal]:
    """Delete a flow, or a version of one."""
    answer = yield from there.call("DELETE", path)
    return answer if isinstance(answer, Refusal) else Done("deleted", name)


def nodes_of(graph: Json) -> list[Row]:
    """Return the nodes of a graph that are objects."""
    elements = graph.get("elements") if isinstance(graph, dict) else None
    nodes = elements.get("nodes") if isinstance(elements, dict) else None
    return [node for node in nodes if isinstance(node, dict)] if isinstance(nodes, list) else []


def unmapped(there: Environment, graph: Json) -> Program[tuple[tuple[str, str], ...] | Refusal]:
    """Return the nodes of a flow whose connections this environment does not have, each with what it is."""
    listed = yield from list_all(there, there.path("connectorInstances"), "connectorInstances", _id_row)
    if isinstance(listed, Refusal):
        return listed
    known = {row[0] for row in listed.rows or ()}
    found = {}
    for node in nodes_of(graph):
        data = node.get("data")
        if isinstance(data, dict) and data.get("connectionId") not in (None, *known):
            what = f"{data.get('connectorId')} {data.get('name')!r}, connection {data['connectionId']}"
            found[f"node {data.get('id')}"] = what
    return tuple(found.items())


def _id_row(instance: Row) -> tuple[str, ...]:
    return (str(instance.get("id")),)


def validation(there: Environment, flow: str, graph: Json) -> Program[Request | Done | Refusal]:
    """Return the call by which the platform looks at a graph, that of the flow itself where there is none."""
    if graph is None:
        before = yield from get(there, flow)
        if isinstance(before, Refusal):
            return before
        graph = before.get("graphData")
    body = encoded({"graphData": graph})
    return there.api.request("POST", there.flow(flow), body, kind=media_type("flow", "validate"))


def validate(there: Environment, flow: str, graph: Json) -> Program[Done | Refusal]:
    """Let the platform look at a graph, that of the flow itself where there is none; nothing is changed."""
    request = yield from validation(there, flow, graph)
    if not isinstance(request, Request):
        return request
    kind = media_type("flow", "validate")
    answer = yield from there.call("POST", there.flow(flow), json.loads(request.body or b""), kind=kind)
    if isinstance(answer, Refusal):
        return answer
    graph = answer.get("graphData")
    listed = graph.get("allLinterErrors") if isinstance(graph, dict) else None
    found = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    errors = tuple(_finding(one) for one in found if _is_error(one))
    for one in found:
        if not _is_error(one):
            yield Tell(": ".join(_finding(one)))
    count = answer.get("dvlinterErrorCount") or len(errors)
    if count:
        return Refusal(f"the platform finds {counted(count, 'error')} in the flow", fields=errors)
    warnings = answer.get("dvlinterWarningCount") or len(found)
    return Done("valid", flow, f"no errors, {counted(warnings, 'warning')}")


def _is_error(finding: Row) -> bool:
    return str(finding.get("type")).lower() == "error"


def _finding(one: Row) -> tuple[str, str]:
    what = " ".join(str(one[key]) for key in ("message", "recommendation") if one.get(key))
    return str(one.get("nodeId") or one.get("flowId") or ""), f"{what} ({one.get('code')})"
