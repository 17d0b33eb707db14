"""From a compiled HTTP step and a scope to the request that goes on the wire."""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from mimetypes import guess_type
from posixpath import basename, join
from typing import TypeAlias
from urllib.parse import quote, urlencode, urljoin, urlsplit

from runner.core.commands import (
    Command,
    FileContent,
    GetToken,
    Headers,
    Json,
    Part,
    ReadFile,
    Refused,
    Reply,
    Request,
    Token,
    TokenSpec,
    header,
    without,
)
from runner.core.compiled import HttpWork, StepPlan
from runner.core.redact import MASK, Masker
from runner.core.scope import Scope
from runner.core.text import to_text
from runner.errors import StepError, located

HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
FORBIDDEN_IN_VALUE = re.compile(r"[\r\n\0]")
FORM = "application/x-www-form-urlencoded"
BODY_HEADERS = ("content-type", "content-length", "content-encoding", "transfer-encoding")
PRIVATE_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})

Content: TypeAlias = tuple[bytes | None, tuple[Part, ...] | None, str | None]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request, its masked url, and the names of the headers that must not leave its origin."""

    request: Request
    shown_url: str
    private: frozenset[str]
    template: str | None = None
    token: str | None = None
    spec: TokenSpec | None = None


@dataclass(frozen=True, slots=True)
class RunTerms:
    """What every step of a run shares.

    `origin` is the run id that idempotency keys are derived from; `base_url` goes before urls that
    start with ``/``.
    """

    origin: str
    masker: Masker
    base_url: str | None = None
    repeat: int = 0


def prepare(
    plan: StepPlan, work: HttpWork, scope: Scope, terms: RunTerms, *, key: str | None, boundary: str
) -> Generator[Command, Reply, Prepared]:
    """Render the request of a step; asks for files and for a token where it needs them.

    Raises StepError before anything is sent when something is missing or does not fit.
    """
    where = plan.where
    _learn_secrets(work, scope, terms.masker)
    url, shown = _url(work, scope, terms, where)
    headers, private = _headers(work, scope, where)
    body, parts, content_type = yield from _content(work, scope, headers, where, boundary)
    if content_type and header(headers, "content-type") is None:
        headers = (*headers, ("Content-Type", content_type))
    if key is not None and header(headers, "idempotency-key") is None:
        headers = (*headers, ("Idempotency-Key", key))
    request = Request((plan.step.method or "GET").upper(), url, headers, body, parts)
    prepared = Prepared(request, shown, private, work.path_template)
    return (yield from _authorized(prepared, work, scope, terms)) if work.auth else prepared


def _learn_secrets(work: HttpWork, scope: Scope, masker: Masker) -> None:
    """Have every value masked that an expression makes from a secret (SEMANTICS, Secrets)."""
    texts = [part for _, parts in work.parts or () for part in (parts.text, parts.file, parts.filename)]
    for part in (work.url, work.headers, work.query, work.body, work.body_text, work.form, *texts):
        if part is not None and part.is_secret(scope):
            masker.add(part.secret_values(scope))


def with_token(prepared: Prepared, token: str) -> Prepared:
    """Return the request with another bearer token."""
    headers = (*without(prepared.request.headers, ["authorization"]), ("Authorization", f"Bearer {token}"))
    return replace(prepared, request=replace(prepared.request, headers=headers), token=token)


def redirected(prepared: Prepared, status: int, location: str) -> Prepared:
    """Return the request that a redirect asks for (RFC 9110 section 15.4; SEMANTICS, Steps).

    Raises StepError when it leads from https to http or to something that is not http.
    """
    request = prepared.request
    target = urljoin(request.url, location)
    old, new = urlsplit(request.url), urlsplit(target)
    if new.scheme not in ("http", "https") or not new.hostname:
        raise StepError("http.redirect", f"the server redirects to {new.scheme or 'nowhere'!r}, not to http")
    if old.scheme == "https" and new.scheme == "http":
        raise StepError("http.redirect", "the server redirects from https to http; that is refused")
    headers, method, body, parts = request.headers, request.method, request.body, request.parts
    if (status == 303 and method != "HEAD") or (status in (301, 302) and method == "POST"):
        method, body, parts = "GET", None, None
        headers = without(headers, BODY_HEADERS)
    if (old.scheme, old.hostname, old.port) != (new.scheme, new.hostname, new.port):
        headers = without(headers, tuple(prepared.private | PRIVATE_HEADERS))
        prepared = replace(prepared, token=None, spec=None)
    if not new.fragment and old.fragment:
        target = f"{target}#{old.fragment}"
    return replace(prepared, request=Request(method, target, headers, body, parts), shown_url=target, template=None)


def boundary_of(origin: str, path: str) -> str:
    """Return a multipart boundary that is the same each time a step is repeated."""
    return hashlib.sha256(f"boundary\0{origin}\0{path}".encode()).hexdigest()[:32]


def _url(work: HttpWork, scope: Scope, terms: RunTerms, where: str) -> tuple[str, str]:
    secret = work.url.is_secret(scope)
    with located(f"{where}.url"):
        url = shown = work.url.url(scope).strip() if not secret else ""
        if secret:
            url, shown = (text.strip() for text in work.url.rendered_and_shown(scope, "url"))
    if url.startswith("/") and not url.startswith("//"):
        base = _base_url(work, scope, terms, where).rstrip("/")
        url, shown = base + url, base + shown
    if work.query is not None:
        url, shown = _with_query(url, shown, work, scope)
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or FORBIDDEN_IN_VALUE.search(url):
        text = "the rendered url" if secret else repr(shown[:200])
        raise StepError(
            "url.invalid", f"{text} is not a url; it must start with http://, https:// or /", f"{where}.url"
        )
    return url, shown


def _base_url(work: HttpWork, scope: Scope, terms: RunTerms, where: str) -> str:
    if terms.base_url:
        return terms.base_url
    if work.base_url is not None:
        return work.base_url.url(scope)
    found = scope.env.get("baseUrl")
    if found:
        return found
    raise StepError(
        "url.relative",
        "the url starts with '/' and there is no base; give --base-url, config.baseUrl or env.baseUrl",
        f"{where}.url",
    )


def _with_query(url: str, shown: str, work: HttpWork, scope: Scope) -> tuple[str, str]:
    values: Mapping[str, Json] = work.query.render(scope)  # type: ignore[union-attr]
    pairs = _pairs(values)
    if not pairs:
        return url, shown
    text = urlencode(pairs, quote_via=quote, safe="")
    hidden = urlencode([(name, MASK) for name, _ in pairs], quote_via=quote, safe="[]")
    secret = work.query.is_secret(scope)  # type: ignore[union-attr]
    return _append_query(url, text), _append_query(shown, hidden if secret else text)


def _append_query(url: str, query: str) -> str:
    rest, mark, fragment = url.partition("#")
    return f"{rest}{'&' if '?' in rest else '?'}{query}{mark}{fragment}"


def _pairs(values: Mapping[str, Json]) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for name, value in values.items():
        several = value if isinstance(value, list) else [value]
        pairs.extend((name, to_text(one)) for one in several if one is not None)
    return pairs


def _headers(work: HttpWork, scope: Scope, where: str) -> tuple[Headers, frozenset[str]]:
    if work.headers is None:
        return (), frozenset()
    rendered: Mapping[str, Json] = work.headers.render(scope)
    headers: list[tuple[str, str]] = []
    for name, value in rendered.items():
        place = f"{where}.headers.{name}"
        with located(place):
            text = to_text(value).strip()
        if not HEADER_NAME.fullmatch(name):
            raise StepError("header.name", f"{name!r} is not a header name", place)
        if FORBIDDEN_IN_VALUE.search(text):
            raise StepError("header.value", f"the value of {name!r} has a line break in it", place)
        headers.append((name, text))
    return tuple(headers), frozenset(name.lower() for name in work.headers.secret_keys(scope))


def _content(
    work: HttpWork, scope: Scope, headers: Headers, where: str, boundary: str
) -> Generator[Command, Reply, Content]:
    if work.form is not None:
        return urlencode(_pairs(work.form.render(scope))).encode(), None, FORM
    if work.parts is not None:
        parts = yield from _parts(work, scope, where)
        return None, parts, f"multipart/form-data; boundary={boundary}"
    if work.body_file is not None:
        with located(f"{where}.bodyFile"):
            path = work.body_file.text(scope)
        content = yield from _file(join(work.folder, path), f"{where}.bodyFile")
        return content, None, guess_type(path)[0] or "application/octet-stream"
    kind = (header(headers, "content-type") or "").partition(";")[0].strip().lower()
    if work.body_text is not None and not work.body_text.whole:
        is_json = kind == "application/json" or kind.endswith("+json")
        with located(f"{where}.body"):
            text = work.body_text.json_text(scope) if is_json else work.body_text.text(scope)
        return _encoded(text, where), None, "text/plain; charset=utf-8"
    with located(f"{where}.body"):
        value = work.body_text.render(scope) if work.body_text is not None else None
    if work.body is not None:
        value = work.body.render(scope)
    return _body(value, kind, where)


def _body(value: Json, kind: str, where: str) -> Content:
    if value is None:
        return None, None, None
    if kind == FORM and isinstance(value, dict):
        return urlencode(_pairs(value)).encode(), None, FORM
    if isinstance(value, str) and not (kind == "application/json" or kind.endswith("+json")):
        return _encoded(value, where), None, "text/plain; charset=utf-8"
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return _encoded(text, where), None, "application/json"


def _encoded(text: str, where: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        message = "the body has half of a surrogate pair in it, which is no text"
        raise StepError("body.encoding", message, f"{where}.body") from None


def _parts(work: HttpWork, scope: Scope, where: str) -> Generator[Command, Reply, tuple[Part, ...]]:
    parts: list[Part] = []
    for name, part in work.parts or ():
        place = f"{where}.multipart.{name}"
        if part.text is not None:
            with located(place):
                parts.append(Part(name, _encoded(part.text.text(scope), place)))
            continue
        assert part.file is not None
        with located(place):
            path = part.file.text(scope)
            filename = part.filename.text(scope) if part.filename else basename(path)
        content = yield from _file(join(work.folder, path), place)
        content_type = part.content_type or guess_type(filename)[0] or "application/octet-stream"
        parts.append(Part(name, content, filename, content_type))
    return tuple(parts)


def _file(path: str, where: str) -> Generator[Command, Reply, bytes]:
    match (yield ReadFile(path)):
        case FileContent(content):
            return content
        case Refused(code, message):
            raise StepError(code, message, where)
        case other:
            raise TypeError(other)


def _authorized(
    prepared: Prepared, work: HttpWork, scope: Scope, terms: RunTerms
) -> Generator[Command, Reply, Prepared]:
    settings: Mapping[str, Json] = work.auth.render(scope)  # type: ignore[union-attr]
    values = {name: to_text(value) for name, value in settings.items() if value is not None}
    if header(prepared.request.headers, "authorization") is not None:
        return prepared
    match values["type"]:
        case "basic":
            pair = f"{values['username']}:{values.get('password', '')}"
            text = b64encode(pair.encode()).decode()
            terms.masker.add(values.get("password", ""))
            terms.masker.add(text)
            credentials = f"Basic {text}"
        case "bearer":
            terms.masker.add(values["token"])
            if FORBIDDEN_IN_VALUE.search(values["token"]):
                raise StepError("header.value", "the token has a line break in it")
            credentials = f"Bearer {values['token']}"
        case _:
            return (yield from _with_fetched_token(prepared, work, values, terms))
    headers = (*prepared.request.headers, ("Authorization", credentials))
    return replace(prepared, request=replace(prepared.request, headers=headers))


def _with_fetched_token(
    prepared: Prepared, work: HttpWork, values: Mapping[str, str], terms: RunTerms
) -> Generator[Command, Reply, Prepared]:
    terms.masker.add(values["clientSecret"])
    spec = TokenSpec(
        token_url=values["tokenUrl"],
        client_id=values["clientId"],
        client_secret=values["clientSecret"],
        scope=values.get("scope"),
        audience=values.get("audience"),
        client_auth="body" if values.get("clientAuth") == "body" else "basic",
        timeout=work.timeout,
        max_attempts=work.policy.max_attempts,
    )
    token = yield from fetch_token(spec, None)
    return replace(with_token(prepared, token), spec=spec)


def fetch_token(spec: TokenSpec, rejected: str | None) -> Generator[Command, Reply, str]:
    """Ask the run for a token; raises StepError when there is none to be had."""
    match (yield GetToken(spec, rejected)):
        case Token(value):
            return value
        case Refused(code, message):
            raise StepError(code, message)
        case other:
            raise TypeError(other)

