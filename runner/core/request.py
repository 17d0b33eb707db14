"""From a compiled HTTP step and a scope to the request that goes on the wire."""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from mimetypes import guess_type
from posixpath import basename, join
from typing import TypeAlias, assert_never
from urllib.parse import quote, unquote, urlencode, urljoin, urlsplit

from runner.core.answers import Answers
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
from runner.core.compiled import FileWork, FormWork, HttpWork, MultipartWork, PartWork, StepPlan
from runner.core.redact import MASK, SHORTEST, Masker, mask_url, secret_header
from runner.core.retry import idempotency_key
from runner.core.scope import Scope
from runner.core.template import Template, Tree
from runner.core.text import to_text
from runner.core.url import origin_of
from runner.errors import StepError, located

HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
FORBIDDEN_IN_VALUE = re.compile(r"[\r\n\0]")
FORM = "application/x-www-form-urlencoded"
JSON_TYPE = re.compile(r"application/json|.*\+json")
BODY_HEADERS = (
    "content-type", "content-length", "content-encoding", "content-language", "content-location",
    "transfer-encoding",
)  # fmt: skip
PRIVATE_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})
_COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
REQUIRED_AUTH = frozenset({"username", "token", "tokenUrl", "clientId", "clientSecret"})

Content: TypeAlias = tuple[bytes | None, tuple[Part, ...] | None, str | None]


@dataclass(slots=True)
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
    start with ``/``; `rounds` counts, by path, how often a step has been repeated by a retry of the
    run after its final answer had come; `answers` are the scripted outcomes.
    """

    origin: str
    masker: Masker
    base_url: str | None = None
    rounds: Mapping[str, int] = field(default_factory=dict)
    answers: Answers = field(default_factory=Answers)


def prepare(
    plan: StepPlan, work: HttpWork, scope: Scope, terms: RunTerms, path: str
) -> Generator[Command, Reply, Prepared]:
    """Render the request of the step at `path`; asks for files and for a token where it needs them.

    Raises StepError before anything is sent when something is missing or does not fit.
    """
    where = plan.where
    _learn_secrets(work, scope, terms.masker)
    url, shown = _url(work, scope, terms, where)
    headers, private = _headers(work, scope, where)
    learn_credentials(headers, terms.masker)
    boundary = boundary_of(terms.origin, path) if isinstance(work.body, MultipartWork) else ""
    body, parts, content_type = yield from _content(work, scope, headers, where, boundary)
    given = header(headers, "content-type")
    # Parts cannot be told apart without a boundary, and a document rarely brings its own.
    if content_type and (given is None or (parts is not None and "boundary=" not in given.lower())):
        headers = (*without(headers, ["content-type"]), ("Content-Type", content_type))
    if work.terms.keyed and header(headers, "idempotency-key") is None:
        headers = (
            *headers,
            ("Idempotency-Key", idempotency_key(terms.origin, path, terms.rounds.get(path, 0))),
        )
    request = Request(work.terms.method, url, headers, body, parts)
    prepared = Prepared(request, shown, private, work.path_template)
    if work.auth is None or header(headers, "authorization") is not None:
        return prepared
    return (yield from _authorized(prepared, work, scope, terms, f"{where}.auth"))


def _learn_secrets(work: HttpWork, scope: Scope, masker: Masker) -> None:
    """Have every value masked that an expression makes from a secret (SEMANTICS, Secrets)."""
    for part in work.rendered:
        if part.is_secret(scope):
            # What cannot be evaluated is told with its exact place when it is rendered.
            with suppress(StepError):
                masker.add(part.secret_values(scope))


def learn_credentials(headers: Headers, masker: Masker) -> None:
    """Have the values of headers masked that are secret by name, whole and by their parts.

    DESIGN 4: Authorization, Cookie and Set-Cookie; and whatever `secret_header` says. Parts too short
    to be secrets are left out: a cookie ``theme=on`` must not hide every "on".
    """
    for name, value in headers:
        if secret_header(name):
            masker.add(value)
            for part in _credentials(name.lower(), value):
                if len(part) >= SHORTEST:
                    masker.add(part)


def _credentials(name: str, value: str) -> list[str]:
    if "cookie" in name:
        # In Set-Cookie all but the first are attributes.
        pairs = [value.partition(";")[0]] if name == "set-cookie" else value.split(";")
        return [pair.partition("=")[2].strip() for pair in pairs]
    scheme, _, rest = value.partition(" ")
    if scheme.lower() != "basic":
        return [rest.strip()]
    try:
        password = b64decode(rest).decode("utf-8", "replace").partition(":")[2]
    except ValueError:  # it is no base64
        password = ""
    return [rest.strip(), password]


def with_token(prepared: Prepared, token: str) -> Prepared:
    """Return the request with another bearer token."""
    headers = (*without(prepared.request.headers, ["authorization"]), ("Authorization", f"Bearer {token}"))
    return replace(prepared, request=replace(prepared.request, headers=headers), token=token)


def redirected(prepared: Prepared, status: int, location: str) -> Prepared:
    """Return the request that a redirect asks for (RFC 9110 section 15.4; SEMANTICS, Steps).

    Raises StepError when it leads from https to http or to something that is not http.
    """
    request = prepared.request
    try:
        target = urljoin(request.url, location)
        old, new = origin_of(request.url), origin_of(target)
    except ValueError:
        message = "the server redirects to something that is no http or https url"
        raise StepError("http.redirect", message) from None
    if old[0] == "https" and new[0] == "http":
        raise StepError("http.redirect", "the server redirects from https to http; that is refused")
    headers, method, body, parts = request.headers, request.method, request.body, request.parts
    if (status == 303 and method != "HEAD") or (status in (301, 302) and method == "POST"):
        method, body, parts = "GET", None, None
        headers = without(headers, BODY_HEADERS)
    if old != new:
        headers = without(headers, ("host", *prepared.private, *PRIVATE_HEADERS))
        prepared = replace(prepared, token=None, spec=None)
    shown = _shown_target(prepared.shown_url, target, location)
    return replace(
        prepared, request=Request(method, target, headers, body, parts), shown_url=shown, template=None
    )


def _shown_target(shown_url: str, target: str, location: str) -> str:
    """Return a redirect's target; one relative to a masked url stays masked."""
    if target == location:
        return target
    try:
        return urljoin(shown_url, location)
    except ValueError:  # the mask stands in the host and looks like half an IPv6 address
        return target


def boundary_of(origin: str, path: str) -> str:
    """Return a multipart boundary that is the same each time a step is repeated."""
    return hashlib.sha256(f"boundary\0{origin}\0{path}".encode()).hexdigest()[:32]


def _url(work: HttpWork, scope: Scope, terms: RunTerms, where: str) -> tuple[str, str]:
    with located(f"{where}.url"):
        url, shown = _rendered_url(work.url, scope)
    if url.startswith("/") and not url.startswith("//"):
        base, shown_base = _base_url(work, scope, terms, where)
        url, shown = base.rstrip("/") + url, shown_base.rstrip("/") + shown
    if work.query is not None:
        url, shown = _with_query(url, shown, work.query, scope, f"{where}.query")
    try:
        origin_of(url)
        usable = not FORBIDDEN_IN_VALUE.search(url)
    except ValueError:
        usable = False
    if not usable:
        text = repr(terms.masker.mask(mask_url(shown))[:200])
        raise StepError(
            "url.invalid", f"{text} is not a url; it must start with http://, https:// or /", f"{where}.url"
        )
    if "@" in url:
        parts = urlsplit(url)
        userinfo = parts.password or parts.username
        if userinfo:
            terms.masker.add([userinfo, unquote(userinfo)])
    return url, shown


def _rendered_url(template: Template, scope: Scope) -> tuple[str, str]:
    """Return a url and how it is shown."""
    if not template.is_secret(scope):
        url = template.url(scope).strip()
        return url, url
    url, shown = template.rendered_and_shown(scope, "url")
    return url.strip(), shown.strip()


def _base_url(work: HttpWork, scope: Scope, terms: RunTerms, where: str) -> tuple[str, str]:
    if not terms.base_url and work.terms.base_url is not None:
        with located("config.baseUrl"):
            return _rendered_url(work.terms.base_url, scope)
    found = terms.base_url or scope.env.get("baseUrl")
    if found:
        return found, found
    raise StepError(
        "url.relative",
        "the url starts with '/' and there is no base; give --base-url, config.baseUrl or env.baseUrl",
        f"{where}.url",
    )


def _with_query(url: str, shown: str, query: Tree, scope: Scope, where: str) -> tuple[str, str]:
    pairs = _pairs(query.render(scope, where), where)
    if not pairs:
        return url, shown
    secret = query.secret_keys(scope)
    seen = [(name, MASK if name in secret else value) for name, value in pairs]
    text = urlencode(pairs, quote_via=quote, safe="")
    return _append_query(url, text), _append_query(shown, urlencode(seen, quote_via=quote, safe="[]"))


def _append_query(url: str, query: str) -> str:
    rest, mark, fragment = url.partition("#")
    return f"{rest}{'&' if '?' in rest else '?'}{query}{mark}{fragment}"


def _pairs(values: Mapping[str, Json], where: str) -> list[tuple[str, str]]:
    """Return the fields of a query or a form: a list repeats its field, null leaves it out."""
    pairs: list[tuple[str, str]] = []
    for name, value in values.items():
        with located(f"{where}.{name}"):
            several = value if isinstance(value, list) else [value]
            pairs.extend((_sendable(name), _sendable(one)) for one in several if one is not None)
    return pairs


def _sendable(value: Json) -> str:
    """Return a value as text that has bytes; raises StepError `template.encoding` for any other."""
    text = to_text(value)
    _encoded(text)
    return text


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        message = "a text to be sent holds half a character (a lone surrogate)"
        raise StepError("template.encoding", message) from None


def _headers(work: HttpWork, scope: Scope, where: str) -> tuple[Headers, frozenset[str]]:
    if work.headers is None:
        return (), frozenset()
    rendered: Mapping[str, Json] = work.headers.render(scope, f"{where}.headers")
    headers: list[tuple[str, str]] = []
    for name, value in rendered.items():
        if value is None:
            continue
        with located(f"{where}.headers.{name}"):
            text = _sendable(value).strip()
            if not HEADER_NAME.fullmatch(name):
                raise StepError("header.name", f"{name!r} is not a header name")
            if FORBIDDEN_IN_VALUE.search(text):
                raise StepError("header.value", f"the value of {name!r} has a line break in it")
        headers.append((name, text))
    secret = work.headers.secret_keys(scope)
    private = (name.lower() for name, _ in headers if name in secret or secret_header(name))
    return tuple(headers), frozenset(private)


def _content(
    work: HttpWork, scope: Scope, headers: Headers, where: str, boundary: str
) -> Generator[Command, Reply, Content]:
    match work.body:
        case None:
            return None, None, None
        case FormWork(fields):
            place = f"{where}.form"
            return urlencode(_pairs(fields.render(scope, place), place)).encode(), None, FORM
        case MultipartWork(named):
            parts = yield from _parts(named, work.terms.folder, scope, f"{where}.multipart")
            return None, parts, f"multipart/form-data; boundary={boundary}"
        case FileWork(template):
            with located(f"{where}.bodyFile"):
                path = template.text(scope)
            content = yield from _file(join(work.terms.folder, path), f"{where}.bodyFile")
            return content, None, guess_type(path)[0] or "application/octet-stream"
        case Tree() | Template() as body:
            kind = (header(headers, "content-type") or "").partition(";")[0].strip().lower()
            return _body(body, kind, scope, f"{where}.body")
        case other:
            assert_never(other)


def _body(body: Tree | Template, kind: str, scope: Scope, where: str) -> Content:
    with located(where):
        if isinstance(body, Tree):
            return _json_body(body.render(scope, where), kind, where)
        if body.whole:
            return _json_body(body.render(scope), kind, where)
        text = body.json_text(scope) if JSON_TYPE.fullmatch(kind) else body.text(scope)
        return _encoded(text), None, "text/plain; charset=utf-8"


def _json_body(value: Json, kind: str, where: str) -> Content:
    if value is None:
        return None, None, None
    if kind == FORM and isinstance(value, dict):
        return urlencode(_pairs(value, where)).encode(), None, FORM
    if isinstance(value, str) and not JSON_TYPE.fullmatch(kind):
        return _encoded(value), None, "text/plain; charset=utf-8"
    try:
        text = _COMPACT.encode(value)
    except ValueError:
        message = "the body holds an infinite number, which JSON cannot write"
        raise StepError("template.value", message) from None
    return _encoded(text), None, "application/json"


def _parts(
    named: Sequence[tuple[str, PartWork]], folder: str, scope: Scope, where: str
) -> Generator[Command, Reply, tuple[Part, ...]]:
    parts: list[Part] = []
    for name, part in named:
        place = f"{where}.{name}"
        if part.text is not None:
            with located(place):
                value = part.text.render(scope)
                if value is not None:
                    parts.append(Part(name, _encoded(to_text(value))))
            continue
        assert part.file is not None
        with located(place):
            path = part.file.text(scope)
            filename = part.filename.text(scope) if part.filename else basename(path)
        content = yield from _file(join(folder, path), place)
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
    prepared: Prepared, work: HttpWork, scope: Scope, terms: RunTerms, where: str
) -> Generator[Command, Reply, Prepared]:
    values = _auth_settings(work, scope, where)
    match values["type"]:
        case "basic":
            password = values.get("password", "")
            text = b64encode(f"{values['username']}:{password}".encode()).decode()
            terms.masker.add([password, text])
            credentials = f"Basic {text}"
        case "bearer":
            token = values["token"].strip()
            terms.masker.add(token)
            if FORBIDDEN_IN_VALUE.search(token):
                raise StepError("header.value", "the token has a line break in it", f"{where}.token")
            credentials = f"Bearer {token}"
        case _:
            terms.masker.add(values["clientSecret"])
            with located(where):
                return (yield from _with_fetched_token(prepared, work, values))
    headers = (*prepared.request.headers, ("Authorization", credentials))
    return replace(prepared, request=replace(prepared.request, headers=headers))


def _auth_settings(work: HttpWork, scope: Scope, where: str) -> dict[str, str]:
    assert work.auth is not None
    settings: Mapping[str, Json] = work.auth.settings.render(scope, where)
    values: dict[str, str] = {}
    for name, value in settings.items():
        with located(f"{where}.{name}"):
            if value is not None:
                values[name] = _sendable(value)
            elif name in REQUIRED_AUTH:
                raise StepError("template.null", f"{name!r} is null; give it a value")
    return values


def _with_fetched_token(
    prepared: Prepared, work: HttpWork, values: Mapping[str, str]
) -> Generator[Command, Reply, Prepared]:
    assert work.auth is not None
    spec = TokenSpec(
        token_url=values["tokenUrl"].strip(),
        client_id=values["clientId"],
        client_secret=values["clientSecret"],
        scope=values.get("scope"),
        audience=values.get("audience"),
        client_auth="body" if values.get("clientAuth") == "body" else "basic",
        timeout=work.terms.timeout,
        max_attempts=work.terms.policy.max_attempts,
        template=work.auth.token_template,
    )
    try:
        origin_of(spec.token_url)
    except ValueError:
        message = "tokenUrl is not a url; it must start with http:// or https://"
        raise StepError("url.invalid", message) from None
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
