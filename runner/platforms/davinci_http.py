"""`makeRestApiCall`: DaVinci's HTTP node as one exchange of ours (facts A5)."""

from __future__ import annotations

from dataclasses import replace
from typing import Final
from urllib.parse import urlencode

from runner.core.commands import Headers, Json, NoResponse, Part, Program, Request, header
from runner.core.compile import ANY_2XX
from runner.core.compiled import HttpTerms, HttpWork
from runner.core.output import ResponseView
from runner.core.program import Exchange, failed, is_too_deep
from runner.core.redact import mask_url, secret_header
from runner.core.request import (
    FORBIDDEN_IN_VALUE,
    FORM,
    HEADER_NAME,
    Prepared,
    boundary_of,
    learn_credentials,
)
from runner.core.retry import RetryPolicy
from runner.core.template import Template, compile_template
from runner.core.text import MAX_NESTING, to_text
from runner.core.url import origin_of
from runner.errors import StepError, located
from runner.platforms.davinci_graph import Node
from runner.platforms.davinci_values import decode, number_of, unwrapped
from runner.platforms.davinci_visit import Visit, with_payload

_NO_RETRY: Final = RetryPolicy(max_attempts=1)
_WHERE: Final = "properties"


def call(at: Visit) -> Program:
    """Send the request of a node; an answer that is no success leaves both its answer and an error."""
    prepared = _prepared(at)
    exchange = Exchange(at.plan, _work(at, prepared.request.method), at.terms, at.path)
    answer = yield from exchange.run(prepared)
    name = at.node.id
    if isinstance(answer, NoResponse):
        return with_payload(name, failed(answer.code, answer.message, at.plan.where, exchange.attempts), {})
    view = ResponseView(answer.status, answer.headers, answer.body)
    if is_too_deep(view.json):
        raise StepError("limit.depth", f"the answer is nested deeper than {MAX_NESTING} levels")
    raw = {"body": view.json, "headers": dict(view.fields), "statusCode": answer.status}
    outputs = {"rawResponse": raw}
    if 200 <= answer.status < 300:
        done = failed("", "", "", exchange.attempts)
        return with_payload(name, replace(done, status="succeeded", failure=None, outputs=outputs))
    message = f"the server answered {answer.status}, expected 2xx"
    bad = replace(failed("http.status", message, at.plan.where, exchange.attempts), outputs=outputs)
    details: dict[str, Json] = {"httpResponseCode": answer.status, "details": [{"rawResponse": raw["body"]}]}
    return with_payload(name, bad, error=details)


def timeout_of(at: Visit) -> float:
    """Return the seconds that one request may take: the node's own setting in ms, else the flow's."""
    given = number_of(at.of("timeout"))
    return at.about.timeout if given is None or given <= 0 else min(given / 1000, MAX_TIMEOUT)


MAX_TIMEOUT: Final = 120.0


def _work(at: Visit, method: str) -> HttpWork:
    terms = HttpTerms(
        method=method,
        policy=_NO_RETRY,
        timeout=timeout_of(at),
        accepted=ANY_2XX,
        expected="2xx",
        keyed=False,
        follow_redirects=True,
        base_url=None,
        folder="",
    )
    return HttpWork(terms, compile_template(""), None)


def _prepared(at: Visit) -> Prepared:
    url, shown, path = _url(at)
    headers, private = _headers(at)
    body, parts, content_type = _content(at, header(headers, "content-type"))
    if content_type and header(headers, "content-type") is None:
        headers = (*headers, ("Content-Type", content_type))
    learn_credentials(headers, at.terms.masker)
    method = (at.text("httpMethod") or "GET").upper()
    if not method.isascii() or not method.isalpha():
        raise StepError(
            "http.request", f"{method[:40]!r} is no HTTP method", f"{at.plan.where}.{_WHERE}.httpMethod"
        )
    return Prepared(Request(method, url, headers, body, parts), shown, private, path)


def _written_url(node: Node) -> Template:
    written = unwrapped(node.properties.get("url"))
    return decode(written if isinstance(written, str) else "").template


def leading_of(node: Node) -> str:
    """Return the reference that the url of a node begins with, if it does."""
    return _written_url(node).leading


def _url(at: Visit) -> tuple[str, str, str | None]:
    template = _written_url(at.node)
    with located(f"{at.plan.where}.{_WHERE}.url"):
        url = template.url(at.values.scope).strip()
        shown = template.shown(at.values.scope, "url").strip() if template.is_secret(at.values.scope) else url
        if template.is_secret(at.values.scope):
            at.terms.masker.add(template.secret_values(at.values.scope))
        try:
            origin_of(url)
            usable = not FORBIDDEN_IN_VALUE.search(url)
        except ValueError:
            usable = False
        if not usable:
            text = repr(at.terms.masker.mask(mask_url(shown))[:200])
            raise StepError("url.invalid", f"{text} is not a url; it must start with http:// or https://")
    return url, shown, template.path_template()


def _headers(at: Visit) -> tuple[Headers, frozenset[str]]:
    headers: list[tuple[str, str]] = []
    private = set()
    for index, (name, value, secret) in enumerate(_pairs(at, "headers")):
        with located(f"{at.plan.where}.{_WHERE}.headers[{index}]"):
            if not HEADER_NAME.fullmatch(name):
                raise StepError("header.name", f"{name!r} is not a header name")
            if FORBIDDEN_IN_VALUE.search(value):
                raise StepError("header.value", f"the value of {name!r} has a line break in it")
        headers.append((name, value.strip()))
        if secret or secret_header(name):
            private.add(name.lower())
    return tuple(headers), frozenset(private)


def _pairs(at: Visit, name: str) -> list[tuple[str, str, bool]]:
    """Return the rows of a property that have a key: that, the value, whether it is secret."""
    found = []
    for row in at.rows(name):
        key = at.values.text(row.get("key"))
        if key.strip():
            value = at.values.text(row.get("value"))
            secret = at.values.is_secret(row.get("value"))
            if secret:
                at.terms.masker.add(value)
            found.append((key.strip(), value, secret))
    return found


def _content(at: Visit, given: str | None) -> tuple[bytes | None, tuple[Part, ...] | None, str | None]:
    """Return the body as bytes or parts, and the content type that it needs."""
    match at.text("httpBody"):
        case "xwwwFormUrlEncoded":
            return (
                urlencode([(name, value) for name, value, _ in _pairs(at, "bodyParams")]).encode(),
                None,
                FORM,
            )
        case "formData":
            parts = tuple(Part(name, value.encode()) for name, value, _ in _pairs(at, "bodyParams"))
            return None, parts, f"multipart/form-data; boundary={boundary_of(at.terms.origin, at.path)}"
        case "raw":
            return _raw(at, given)
        case _:
            return None, None, None


def _raw(at: Visit, given: str | None) -> tuple[bytes | None, None, str | None]:
    written = unwrapped(at.node.properties.get("raw"))
    kind = given or at.text("contentType") or "application/json"
    if not isinstance(written, str):
        value = at.values.of(written)
        return (None if value is None else to_text(value).encode()), None, kind
    template = decode(written).template
    if template.is_secret(at.values.scope):
        at.terms.masker.add(template.secret_values(at.values.scope))
    is_json = "json" in kind.lower() and not template.whole
    text = template.json_text(at.values.scope) if is_json else at.values.text(written)
    return text.encode(), None, kind
