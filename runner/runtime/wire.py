"""Turns a `Request` into what goes on the wire: origin, target, headers and body, byte for byte."""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass
from functools import lru_cache

from runner.core.commands import Headers, Part, Request, header

DEFAULT_PORTS = {"http": 80, "https": 443}
_LONGEST_URL = 65_536
_URL = re.compile(r"([a-z][a-z0-9+.-]*)://([^/?#]+)([^#]*)", re.IGNORECASE)
_HOST = re.compile(r"[A-Za-z0-9._~-]+|[0-9A-Fa-f:.]+")
_BYTE = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_NAME = r"(?:[A-Za-z0-9_~-]+\.)*[A-Za-z][A-Za-z0-9_~-]*"
_PLAIN = re.compile(rf"({_NAME}|(?:{_BYTE}\.){{3}}{_BYTE})(?::([0-9]{{1,5}}))?")
_CONTROL_IN_URL = re.compile(r"[\x00-\x1f\x7f]")
# Everything else stays as written, `[` and `%2F` and `..` too: signatures and odd servers depend on it.
_ESCAPED_IN_TARGET = re.compile(r'[^\x21-\x7e]|["<>`{}]')
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL_IN_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_WITH_BODY = {"POST", "PUT", "PATCH"}

RawHeaders = list[tuple[bytes, bytes]]


class Unsendable(Exception):  # noqa: N818 - reads as a sentence where it is caught
    """A request that cannot go out: a code of STEP_ERRORS and a message that quotes no url and no value."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port of a url; `authority` is its Host header, `authorization` its userinfo as one."""

    scheme: str
    host: str
    port: int
    authority: str
    authorization: Headers


def origin_and_target(url: str) -> tuple[Origin, str]:
    """Split a url; the target is percent-encoded only where HTTP could not carry it.

    Raises Unsendable with ``http.url``.
    """
    if len(url) > _LONGEST_URL:
        raise Unsendable("http.url", f"the url has {len(url)} characters; at most {_LONGEST_URL} can be sent")
    if _CONTROL_IN_URL.search(url):
        raise Unsendable("http.url", "the url has a line break or another control character in it")
    if (parts := _URL.match(url)) is None or "\\" in parts[2]:
        raise Unsendable("http.url", "the url has no scheme and host; it looks like https://host/path")
    scheme, authority, target = parts.groups()
    if not target.startswith("/"):
        target = f"/{target}"
    return _origin(scheme.lower(), authority), escaped(target)


def escaped(target: str) -> str:
    """Return a request target with percent-encoding only where HTTP could not carry it."""
    return _ESCAPED_IN_TARGET.sub(_escape, target)


def _escape(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "replace"))


@lru_cache(maxsize=1024)
def _origin(scheme: str, authority: str) -> Origin:
    if scheme not in DEFAULT_PORTS:
        raise Unsendable("http.url", f"the url's scheme is {scheme!r}; only http and https can be called")
    usual = DEFAULT_PORTS[scheme]
    credentials: Headers = ()
    if (plain := _PLAIN.fullmatch(authority)) is not None:  # spares a plain run the import of the library
        host, port = plain[1].lower(), int(plain[2] or usual)
        authority = host if port == usual else f"{host}:{port}"
    else:
        host, port, authority, credentials = _unusual_origin(scheme, authority)
    if not 1 <= port <= 65_535:
        raise Unsendable("http.url", f"the url's port is {port}; ports go from 1 to 65535")
    return Origin(scheme, host, port, authority, credentials)


def _unusual_origin(scheme: str, authority: str) -> tuple[str, int, str, Headers]:
    """Return the parts of an Origin for international names, addresses in brackets, userinfo and the like."""
    from runner.runtime.library import httpx

    try:
        url = httpx.URL(f"{scheme}://{authority}")
        host = url.raw_host.decode("ascii")
    except (httpx.InvalidURL, UnicodeError) as error:
        raise Unsendable("http.url", "the url's host or port is not a valid one") from error
    if not host:
        raise Unsendable("http.url", "the url has no host; it looks like https://host/path")
    if not _HOST.fullmatch(host):
        raise Unsendable("http.url", "the url's host has a character in it that no host name has")
    userinfo = f"{url.username}:{url.password}".encode() if url.userinfo else b""
    credentials = (("Authorization", f"Basic {b64encode(userinfo).decode()}"),) if userinfo else ()
    port = DEFAULT_PORTS[scheme] if url.port is None else url.port
    return host, port, url.netloc.decode("ascii"), credentials


def wire_body(request: Request) -> tuple[bytes, Headers]:
    """Return the body's bytes and the headers that it brings along.

    Multipart is encoded by the library, with the boundary of the content-type header if it has one
    (RFC 7578). Raises Unsendable with ``http.request``.
    """
    if not request.parts:
        return request.body or b"", ()
    content_type = header(request.headers, "content-type")
    if any(_CONTROL_IN_VALUE.search(part.content_type or "") for part in request.parts):
        raise Unsendable("http.request", "a part's content type has a control character in it")
    from runner.runtime.library import httpx

    try:
        encoded = httpx.Request(
            "POST",
            "http://parts",
            headers=None if content_type is None else {"content-type": content_type},
            files=[_file(part) for part in request.parts],
        )
        return encoded.read(), (("Content-Type", encoded.headers["content-type"]),)
    except (ValueError, UnicodeError) as error:
        raise Unsendable("http.request", "a part's name, file name or content type cannot be sent") from error


def _file(part: Part) -> tuple[str, tuple[str | None, bytes, str | None]]:
    return part.name, (part.filename, part.content, part.content_type)


def wire_message(
    request: Request, origin: Origin, user_agent: str, extra: Headers = ()
) -> tuple[RawHeaders, bytes]:
    """Return all that a request sends but its first line; `extra` headers give way to its own.

    They are spelled and ordered as they are given. Raises Unsendable with ``http.request``.
    """
    if not _TOKEN.fullmatch(request.method):
        raise Unsendable("http.request", f"{request.method!r} is not a method that can be sent")
    body, brought = wire_body(request)
    own = {name.lower() for name, _ in request.headers}
    headers = [raw for name, raw in _standing_headers(origin.authority, user_agent) if name not in own]
    for name, value in (*origin.authorization, *brought, *extra):
        if name.lower() not in own:
            headers.append(_raw(name, value))
    headers += [_raw(name, value) for name, value in request.headers]
    if "transfer-encoding" not in own:
        length = str(len(body))
        declared = header(request.headers, "content-length")
        if declared is None and (body or request.method in _WITH_BODY):
            headers.append((b"Content-Length", length.encode("ascii")))
        elif declared not in {None, length}:
            raise Unsendable(
                "http.request", f"content-length is not {length}, the body's; leave the header out"
            )
    return headers, body


@lru_cache(maxsize=256)
def _standing_headers(authority: str, user_agent: str) -> tuple[tuple[str, tuple[bytes, bytes]], ...]:
    """Return what every request to a server has in its head, by lower-case names."""
    pairs = (
        ("Host", authority),
        ("User-Agent", user_agent),
        ("Accept", "*/*"),
        ("Accept-Encoding", "gzip, deflate"),
    )
    return tuple((name.lower(), _raw(name, value)) for name, value in pairs)


def _raw(name: str, value: str) -> tuple[bytes, bytes]:
    raw_name = _raw_name(name)
    text = value.strip(" \t")  # not part of the value, RFC 9110 section 5.5
    if _CONTROL_IN_VALUE.search(text):
        raise Unsendable(
            "http.request", f"header {name!r} has a line break or another control character in it"
        )
    try:
        return raw_name, text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise Unsendable("http.request", f"header {name!r} has half a character in it") from error


@lru_cache(maxsize=256)
def _raw_name(name: str) -> bytes:
    if not _TOKEN.fullmatch(name):
        raise Unsendable("http.request", f"{name!r} is not a header name that can be sent")
    return name.encode("ascii")
