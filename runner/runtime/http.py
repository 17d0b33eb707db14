"""Sends one request at a time over shared connections and tells how far it got.

Nothing here follows a redirect, retries, or judges a status: the core does. Network trouble comes
back as a `NoResponse`; only cancellation is raised.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, Self
from weakref import WeakKeyDictionary

import anyio

from runner.core.commands import Headers, NoResponse, Refused, Request, Response, SendRequest, header
from runner.errors import SurroundingsError
from runner.runtime.decoding import BodyReader, BodyTooLarge, UndecodableBodyError
from runner.runtime.library import LIBRARY, httpx
from runner.runtime.policy import ProxyRouter, ProxyRules, Route, Router
from runner.runtime.tls import TlsOptions, trusting_context
from runner.runtime.trouble import Progress, explain, timeout_message
from runner.runtime.wire import (
    Origin,
    Unsendable,
    WireUrl,
    address,
    origin_and_target,
    wire_body,
    wire_headers,
)
from runner.version import __version__

__all__ = ["LIBRARY", "HttpClient", "HttpSettings", "Transport"]

# What the library and the layers below let through; UnicodeError is a name that getaddrinfo cannot encode.
_NETWORK_TROUBLE = (
    httpx.HTTPError,
    OSError,
    UnicodeError,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.EndOfStream,
)
_BODILESS = {204, 304}
_NOWHERE = httpx.URL("")  # parsed once; the url of a request is set after it is made


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """How to reach servers; `max_response` counts the decoded bytes of a body, `keepalive` is in seconds."""

    tls: TlsOptions = field(default_factory=TlsOptions)
    proxies: ProxyRules = field(default_factory=ProxyRules)
    max_connections: int = 100
    max_response: int = 10 * 1024 * 1024
    keepalive: float = 5.0
    http2: bool = False
    user_agent: str = f"flowspan-runner/{__version__}"


class Transport:
    """The connections of one event loop, shared by all runs in it; `max_connections` are at work at most.

    Raises SurroundingsError for certificate files, or an HTTP version, that cannot be used.
    """

    def __init__(self, settings: HttpSettings | None = None, router: Router | None = None) -> None:
        self.settings = settings or HttpSettings()
        self.router: Router = router or ProxyRouter(self.settings.proxies)
        # A slot that is free is taken without yielding: else every connection would look idle to the pool,
        # which examines each idle one for each request.
        self.slots = anyio.Semaphore(self.settings.max_connections, fast_acquire=True)
        self._peers: WeakKeyDictionary[object, tuple[str, int] | None] = WeakKeyDictionary()
        self._pools: dict[tuple[bool, str | None, str | None], httpx.AsyncHTTPTransport] = {}
        # What is set wrong is told before anything is sent.
        if self.settings.tls != TlsOptions():
            self._context()
        if self.settings.http2 and find_spec("h2") is None:
            raise SurroundingsError(f"HTTP/2 needs another package: pip install '{LIBRARY}[http2]'")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        pools = list(self._pools.values())
        self._pools.clear()
        for pool in pools:
            await pool.aclose()

    def pool(self, *, tls: bool, proxy: str | None, server_name: str | None) -> httpx.AsyncHTTPTransport:
        """Return the pool for this kind of connection, made at first use: TLS takes 15 ms to set up.

        One address under two server names has two pools, or their connections would be mixed.
        Raises SurroundingsError for a proxy that cannot be used.
        """
        key = tls, proxy, server_name
        if (found := self._pools.get(key)) is None:
            found = self._pools[key] = self._make_pool(tls=tls, proxy=proxy)
        return found

    def peer(self, stream: Any) -> tuple[str, int] | None:  # noqa: ANN401 - the library does not name its type
        """Return the address at the other end of a connection; asked for once, because asking is slow."""
        if stream not in self._peers:
            found = stream.get_extra_info("server_addr")
            self._peers[stream] = None if found is None else (found[0], found[1])
        return self._peers[stream]

    def _make_pool(self, *, tls: bool, proxy: str | None) -> httpx.AsyncHTTPTransport:
        most = self.settings.max_connections
        try:
            return httpx.AsyncHTTPTransport(
                # An empty context, which trusts nobody: these connections are plain.
                verify=self._context() if tls else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
                trust_env=False,
                http2=self.settings.http2,
                limits=httpx.Limits(
                    max_connections=most,
                    max_keepalive_connections=most,
                    keepalive_expiry=self.settings.keepalive,
                ),
                proxy=None if proxy is None else self._proxy(proxy),
            )
        except ImportError as error:
            raise SurroundingsError(
                f"a SOCKS proxy needs another package: pip install '{LIBRARY}[socks]'"
            ) from error

    def _proxy(self, url: str) -> httpx.Proxy:
        try:
            return httpx.Proxy(url, ssl_context=self._context() if url.startswith("https:") else None)
        except (ValueError, httpx.InvalidURL) as error:
            raise SurroundingsError(
                "the proxy's url cannot be used; it looks like http://host:port"
            ) from error

    def _context(self) -> ssl.SSLContext:
        protocols = ("h2", "http/1.1") if self.settings.http2 else ("http/1.1",)
        return trusting_context(self.settings.tls, _system_trust, protocols)


def _system_trust() -> ssl.SSLContext:
    context: ssl.SSLContext = httpx.create_ssl_context()
    if LIBRARY == "httpx":
        context.load_default_certs()  # httpx 0.28 knows only certifi's list, which no company can add to
    return context


class HttpClient:
    """The client of one run: a cookie jar of its own over shared connections. Cheap to make."""

    __slots__ = ("_clock", "_cookies", "_transport")

    def __init__(self, transport: Transport, clock: Callable[[], float] = time.time) -> None:
        self._transport = transport
        self._clock = clock
        self._cookies: httpx.Cookies | None = None

    async def send(
        self,
        command: SendRequest,
        extra_headers: Headers = (),
        on_event: Callable[[str], None] | None = None,
    ) -> Response | NoResponse:
        """Send a request once and return the whole answer, or how far it got; at most `timeout` seconds.

        `extra_headers` (traceparent) give way to headers of the same name in the request. `on_event`
        is called with the events of `runner.runtime.trouble.Progress`. Waiting for a free
        connection counts as well.
        """
        progress = Progress(command.request.method, on_event)
        with anyio.move_on_after(command.timeout):
            try:
                return await self._attempt(command.request, extra_headers, progress)
            except Unsendable as problem:
                return self._failed(progress, problem.code, problem.code, problem.message)
            except SurroundingsError as problem:
                return self._failed(progress, "http.proxy", "http.proxy", str(problem))
            except BodyTooLarge:
                limit = self._transport.settings.max_response
                message = f"the answer is larger than {limit} bytes; --max-response allows more"
                return self._failed(progress, "limit.response", "limit.response", message)
            except UndecodableBodyError:
                message = "the answer's body is not in the coding that its content-encoding names"
                return self._failed(progress, "http.protocol", "httpx.DecodingError", message)
            except _NETWORK_TROUBLE as error:
                return self._failed(progress, *explain(error, progress))
        message = timeout_message(progress, command.timeout)
        return self._failed(progress, "http.timeout", "timeout", message)

    def _failed(self, progress: Progress, code: str, error_type: str, message: str) -> NoResponse:
        return NoResponse(
            phase=progress.phase,
            code=code,
            error_type=error_type,
            message=message,
            reused=progress.reused,
            received_at=self._clock(),
            status=progress.status,
        )

    async def _attempt(self, request: Request, extra: Headers, progress: Progress) -> Response:
        origin, target = origin_and_target(request.url)
        page = f"{origin.scheme}://{origin.authority}{target.partition('?')[0]}"
        message = self._message(request, origin, (*_cookie_header(self._cookies, page), *extra))
        route = await self._transport.router.route(origin.scheme, origin.host, origin.port)
        if isinstance(route, Refused):
            raise Unsendable(route.code, route.message)
        progress.peer = "the proxy" if route.proxy else _host_and_port(route)
        message.url = WireUrl(address(origin.scheme, route.host, route.port), target)
        message.extensions["trace"] = progress.trace
        server_name = None if route.host == origin.host else origin.host
        if server_name is not None:
            message.extensions["sni_hostname"] = server_name
        pool = self._transport.pool(tls=origin.scheme == "https", proxy=route.proxy, server_name=server_name)
        async with self._transport.slots:
            answer = await pool.handle_async_request(message)
            try:
                progress.status = answer.status_code
                self._keep_cookies(answer, page)
                return await self._receive(answer, request.method)
            finally:
                await answer.aclose()

    def _message(self, request: Request, origin: Origin, extra: Headers) -> httpx.Request:
        body, brought = wire_body(request)
        defaults = (
            ("Host", origin.authority),
            ("User-Agent", self._transport.settings.user_agent),
            ("Accept", "*/*"),
            ("Accept-Encoding", "gzip, deflate"),
            *origin.authorization,
            *brought,
            *extra,
        )
        headers = wire_headers(request, body, defaults)
        message = httpx.Request(request.method, _NOWHERE, headers=headers, stream=httpx.ByteStream(body))
        message.method = request.method  # the library makes it upper case
        return message

    def _keep_cookies(self, answer: httpx.Response, page: str) -> None:
        if "set-cookie" in answer.headers:
            if self._cookies is None:
                self._cookies = httpx.Cookies()
            answer.request = httpx.Request("GET", page)
            self._cookies.extract_cookies(answer)

    async def _receive(self, answer: httpx.Response, method: str) -> Response:
        headers = tuple((_text(name), _text(value)) for name, value in answer.headers.raw)
        # Asked before the body is read: the connection may be closed after it.
        peer = self._transport.peer(answer.extensions["network_stream"])
        reader = _reader(method, answer.status_code, headers, self._transport.settings.max_response)
        return Response(
            status=answer.status_code,
            headers=headers,
            body=await _read(answer, reader),
            received_at=self._clock(),
            http_version=_text(answer.extensions["http_version"]).removeprefix("HTTP/"),
            peer=peer,
        )


def _host_and_port(route: Route) -> str:
    return f"[{route.host}]:{route.port}" if ":" in route.host else f"{route.host}:{route.port}"


def _cookie_header(cookies: httpx.Cookies | None, page: str) -> Headers:
    if cookies is None:
        return ()
    question = httpx.Request("GET", page)
    cookies.set_cookie_header(question)
    found = question.headers.get("cookie")
    return () if found is None else (("Cookie", found),)


async def _read(answer: httpx.Response, reader: BodyReader) -> bytes:
    async with aclosing(answer.aiter_raw()) as chunks:
        async for chunk in chunks:
            reader.feed(chunk)
    return reader.finish()


def _reader(method: str, status: int, headers: Headers, limit: int) -> BodyReader:
    """Return the reader for a body; raises BodyTooLarge when the head announces too much already."""
    if method == "HEAD" or status in _BODILESS:
        return BodyReader(None, limit)
    declared = header(headers, "content-length") or ""
    if declared.isdigit() and int(declared) > limit:
        raise BodyTooLarge
    return BodyReader(header(headers, "content-encoding"), limit)


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")
