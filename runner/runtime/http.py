"""Sends one request at a time over shared connections and tells how far it got.

Nothing here follows a redirect, retries, or judges a status: the core does. Network trouble comes
back as a `NoResponse`; only cancellation is raised.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import anyio

from runner.core.commands import Headers, NoResponse, Refused, Request, Response, SendRequest, header
from runner.errors import SurroundingsError
from runner.runtime.connections import Connections, Network, Way
from runner.runtime.decoding import BodyReader, BodyTooLarge, UndecodableBodyError
from runner.runtime.library import LIBRARY, httpcore, sending
from runner.runtime.policy import ProxyRouter, ProxyRules, Route, Router
from runner.runtime.public_only import PublicBackend, Resolver, system_resolver
from runner.runtime.tls import TlsOptions, trusting_context
from runner.runtime.trouble import Progress, explain, timeout_message
from runner.runtime.wire import (
    DEFAULT_PORTS,
    Origin,
    RawHeaders,
    Unsendable,
    origin_and_target,
    wire_message,
)
from runner.version import __version__

if TYPE_CHECKING:
    from runner.runtime.library import httpx

__all__ = ["LIBRARY", "HttpClient", "HttpSettings", "Transport"]

# What the library and the layers below let through; UnicodeError is a name that getaddrinfo cannot encode.
_NETWORK_TROUBLE = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.TimeoutException,
    OSError,
    UnicodeError,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.EndOfStream,
)
_BODILESS = {204, 304}

Page: TypeAlias = tuple[Origin, str]
"""What a request asks for, origin and target: cookies belong to it."""


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """How to reach servers; `max_response` counts the decoded bytes of a body, `keepalive` is in seconds."""

    tls: TlsOptions = field(default_factory=TlsOptions)
    proxies: ProxyRules = field(default_factory=ProxyRules)
    max_connections: int = 100
    max_response: int = 10 * 1024 * 1024
    keepalive: float = 5.0
    user_agent: str = f"flowspan-runner/{__version__}"


class Transport:
    """The connections of one event loop, shared by all runs in it; `max_connections` are at work at most.

    `resolve` looks hosts up where only public addresses are allowed. Raises SurroundingsError for
    certificate files that cannot be used.
    """

    def __init__(
        self,
        settings: HttpSettings | None = None,
        router: Router | None = None,
        resolve: Resolver = system_resolver,
        network: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        self.settings = settings or HttpSettings()
        self._resolve = resolve
        self._network = network or Network()
        self.router: Router = router or ProxyRouter(self.settings.proxies)
        # A slot that is free is taken without yielding.
        self.slots = anyio.Semaphore(self.settings.max_connections, fast_acquire=True)
        self.connections = Connections(
            self._make, most=self.settings.max_connections, keepalive=self.settings.keepalive
        )
        self._makers: dict[tuple[bool, str | None, bool], httpcore.AsyncConnectionPool] = {}
        # What is set wrong is told before anything is sent.
        if self.settings.tls != TlsOptions():
            self._context()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        await self.connections.aclose()

    def _make(self, way: Way) -> httpcore.AsyncConnectionInterface:
        """Return a connection that is not connected yet; raises SurroundingsError for an unusable proxy."""
        kind = way.tls, way.proxy, way.public_only
        if (maker := self._makers.get(kind)) is None:
            maker = self._makers[kind] = self._maker(way)
        scheme = b"https" if way.tls else b"http"
        try:
            return maker.create_connection(httpcore.Origin(scheme, way.host.encode("ascii"), way.port))
        except ImportError as error:
            raise SurroundingsError(
                f"a SOCKS proxy needs another package: pip install '{LIBRARY}[socks]'"
            ) from error

    def _maker(self, way: Way) -> httpcore.AsyncConnectionPool:
        """Return a pool that only makes connections of this kind; TLS takes 15 ms to set up."""
        network = self._network
        return httpcore.AsyncConnectionPool(
            ssl_context=self._context() if way.tls else None,
            proxy=None if way.proxy is None else self._proxy(way.proxy),
            keepalive_expiry=self.settings.keepalive,
            network_backend=PublicBackend(network, self._resolve) if way.public_only else network,
        )

    def _proxy(self, url: str) -> httpcore.Proxy:
        from runner.runtime.library import httpx

        try:
            proxy = httpx.Proxy(url)
        except (ValueError, httpx.InvalidURL) as error:
            raise SurroundingsError(
                "the proxy's url cannot be used; it looks like http://host:port"
            ) from error
        place = proxy.url
        return httpcore.Proxy(
            httpcore.URL(
                scheme=place.raw_scheme, host=place.raw_host, port=place.port, target=place.raw_path
            ),
            auth=proxy.raw_auth,
            ssl_context=self._context() if place.scheme == "https" else None,
        )

    def _context(self) -> ssl.SSLContext:
        return trusting_context(self.settings.tls, _system_trust)


def _system_trust() -> ssl.SSLContext:
    from runner.runtime.library import httpx

    context: ssl.SSLContext = httpx.create_ssl_context()
    if LIBRARY == "httpx":
        context.load_default_certs()  # httpx 0.28 knows only certifi's list, which no company can add to
    return context


class HttpClient:
    """The client of one run: a cookie jar of its own over shared connections. Cheap to make.

    `router` decides instead of the transport's where requests go.
    """

    __slots__ = ("_clock", "_cookies", "_router", "_transport")

    def __init__(
        self, transport: Transport, clock: Callable[[], float] = time.time, router: Router | None = None
    ) -> None:
        self._transport = transport
        self._router = router or transport.router
        self._clock = clock
        self._cookies: httpx.Cookies | None = None

    async def send(self, command: SendRequest, extra_headers: Headers = ()) -> Response | NoResponse:
        """Send a request once and return the whole answer, or how far it got; at most `timeout` seconds.

        `extra_headers` (traceparent) give way to headers of the same name in the request. Waiting for
        a free connection counts as well.
        """
        progress = Progress(command.request.method)
        before = sending.set(True)
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
            finally:
                sending.reset(before)
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
        page = (origin, target)
        more = extra if self._cookies is None else (*_cookie_header(self._cookies, page), *extra)
        headers, body = wire_message(request, origin, self._transport.settings.user_agent, more)
        route = await self._router.route(origin.scheme, origin.host, origin.port)
        if isinstance(route, Refused):
            raise Unsendable(route.code, route.message)
        progress.peer = "the proxy" if route.proxy else _host_and_port(route)
        tls = origin.scheme == "https"
        server_name = origin.host if tls and route.host != origin.host else None
        way = Way(tls, route.host, route.port, route.proxy, server_name, route.public_only)
        message = httpcore.Request(
            request.method,
            _url(origin.scheme, route, target),
            headers=headers,
            content=body,
            extensions={"trace": progress.trace, "sni_hostname": server_name},
        )
        connections = self._transport.connections
        async with self._transport.slots:
            connection = await connections.take(way)
            try:
                answer = await connection.handle_async_request(message)
                try:
                    progress.status = answer.status
                    return await self._receive(answer, request.method, page)
                finally:
                    await answer.aclose()
            finally:
                await connections.give_back(way, connection)

    def _keep_cookies(self, status: int, headers: RawHeaders, page: Page) -> None:
        from runner.runtime.library import httpx

        if self._cookies is None:
            self._cookies = httpx.Cookies()
        answer = httpx.Response(status, headers=headers, request=httpx.Request("GET", _page_url(page)))
        self._cookies.extract_cookies(answer)

    async def _receive(self, answer: httpcore.Response, method: str, page: Page) -> Response:
        headers = tuple([(_text(name), _text(value)) for name, value in answer.headers])
        if header(headers, "set-cookie") is not None:
            self._keep_cookies(answer.status, answer.headers, page)
        # Asked before the body is read: the connection may be closed after it.
        peer = answer.extensions["network_stream"].get_extra_info("server_addr")
        reader = _reader(method, answer.status, headers, self._transport.settings.max_response)
        return Response(
            status=answer.status,
            headers=headers,
            body=await _read(answer, reader),
            received_at=self._clock(),
            http_version=_text(answer.extensions["http_version"]).removeprefix("HTTP/"),
            peer=None if peer is None else (peer[0], peer[1]),
        )


def _url(scheme: str, route: Route, target: str) -> httpcore.URL:
    port = None if route.port == DEFAULT_PORTS[scheme] else route.port  # a proxy is told only other ports
    return httpcore.URL(
        scheme=scheme.encode("ascii"),
        host=route.host.encode("ascii"),
        port=port,
        target=target.encode("ascii"),
    )


def _host_and_port(route: Route) -> str:
    return f"[{route.host}]:{route.port}" if ":" in route.host else f"{route.host}:{route.port}"


def _page_url(page: Page) -> str:
    origin, target = page
    return f"{origin.scheme}://{origin.authority}{target.partition('?')[0]}"


def _cookie_header(cookies: httpx.Cookies, page: Page) -> Headers:
    from runner.runtime.library import httpx

    question = httpx.Request("GET", _page_url(page))
    cookies.set_cookie_header(question)
    found = question.headers.get("cookie")
    return () if found is None else (("Cookie", found),)


async def _read(answer: httpcore.Response, reader: BodyReader) -> bytes:
    stream: Any = answer.stream  # an asynchronous generator, which its type leaves open
    chunks = aiter(stream)
    try:
        async for chunk in chunks:
            reader.feed(chunk)
    except (BodyTooLarge, UndecodableBodyError):
        await chunks.aclose()  # all else that ends the loop has ended the generator
        raise
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
