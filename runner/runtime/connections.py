"""The connections of one event loop: the HTTP library makes them, here they are kept while they are idle.

The library's own pools look at each of their connections for each request, which is most of what a
request costs where many are at work. Here an idle connection is found by where it leads to.
"""

from __future__ import annotations

import select
import ssl
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final, NamedTuple

import anyio
from anyio.abc import ByteStream, SocketAttribute

from runner.runtime.library import httpcore

_HELD_BACK: Final = 16 * 1024  # bytes


class Way(NamedTuple):
    """Where a connection leads to; two that differ in anything never share one.

    `server_name` is asked for by TLS when it is not `host`.
    """

    tls: bool
    host: str
    port: int
    proxy: str | None = None
    server_name: str | None = None
    public_only: bool = False


class Connections:
    """At most `most` connections, idle or at work, unless more are at work at once.

    An idle one is closed after `keepalive` seconds, or when another needs its place.
    """

    def __init__(
        self, make: Callable[[Way], httpcore.AsyncConnectionInterface], *, most: int, keepalive: float
    ) -> None:
        self._make = make
        self._most = most
        self._keepalive = keepalive
        self._idle: dict[Way, list[httpcore.AsyncConnectionInterface]] = {}  # the newest last
        self._count = 0
        self._tidied = time.monotonic()

    async def take(self, way: Way) -> httpcore.AsyncConnectionInterface:
        """Return an idle connection, or a new one, which connects when it is used."""
        if time.monotonic() - self._tidied > self._keepalive:
            await self._tidy()
        while way in self._idle:
            connection = self._pick(way, -1)
            if not connection.has_expired():
                return connection
            await self._close(connection)
        if self._count >= self._most and self._idle:
            await self._close(self._pick(next(iter(self._idle)), 0))
        connection = self._make(way)
        self._count += 1
        return connection

    async def give_back(self, way: Way, connection: httpcore.AsyncConnectionInterface) -> None:
        """Keep a connection for the next request if it can serve one."""
        # One that never connected calls itself both idle and closed.
        if connection.is_idle() and not connection.is_closed() and self._count <= self._most:
            self._idle.setdefault(way, []).append(connection)
        else:
            await self._close(connection)

    async def aclose(self) -> None:
        """Close what is idle now, and every other as soon as it is given back."""
        self._most = 0
        while self._idle:
            await self._close(self._pick(next(iter(self._idle)), 0))

    def _pick(self, way: Way, index: int) -> httpcore.AsyncConnectionInterface:
        connection = self._idle[way].pop(index)
        if not self._idle[way]:
            del self._idle[way]
        return connection

    async def _tidy(self) -> None:
        self._tidied = time.monotonic()
        kept: dict[Way, list[httpcore.AsyncConnectionInterface]] = {}
        expired = []
        for way, connections in self._idle.items():
            for connection in connections:
                if connection.has_expired():
                    expired.append(connection)
                else:
                    kept.setdefault(way, []).append(connection)
        self._idle = kept
        for connection in expired:
            await self._close(connection)

    async def _close(self, connection: httpcore.AsyncConnectionInterface) -> None:
        self._count -= 1
        if not connection.is_closed():
            with anyio.CancelScope(shield=True):
                await connection.aclose()


class Network(httpcore.AsyncNetworkBackend):
    """Makes connections; whoever uses them watches the time."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002, ASYNC109 - the library's signature
        local_address: str | None = None,  # noqa: ARG002
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002
    ) -> httpcore.AsyncNetworkStream:
        """Connect to a host, by the first of its addresses that answers."""
        try:
            return Wire(await anyio.connect_tcp(host, port))
        except TimeoutError as error:  # the system's own
            raise httpcore.ConnectTimeout(error) from error
        except OSError as error:
            raise httpcore.ConnectError(error) from error


class Wire(httpcore.AsyncNetworkStream):
    """The bytes of one connection. What is written is held back until it is read on, or is too much.

    So the head of a request travels with its body, in one piece.
    """

    def __init__(self, stream: ByteStream, *, secure: bool = False) -> None:
        self._stream = stream
        self._secure = secure
        self._unsent = b""
        self._peer: object = None
        self._poll: select.poll | None = None

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002, ASYNC109
        """Return what has come in, nothing at the end."""
        if self._unsent:
            # A server may answer before it has read all; what it says is found out by reading.
            with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                await self._flush()
        try:
            return await self._stream.receive(max_bytes)
        except anyio.EndOfStream:
            return b""
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise httpcore.ReadError(error) from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109
        """Take bytes to be sent."""
        self._unsent += buffer
        if len(self._unsent) > _HELD_BACK:
            try:
                await self._flush()
            except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
                raise httpcore.WriteError(error) from error

    async def _flush(self) -> None:
        unsent, self._unsent = self._unsent, b""
        await self._stream.send(unsent)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002, ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        """Return the same connection, secured."""
        from anyio.streams.tls import TLSStream

        try:
            try:
                stream = await TLSStream.wrap(
                    self._stream,
                    hostname=server_hostname,
                    ssl_context=ssl_context,
                    standard_compatible=False,
                    server_side=False,
                )
            except BaseException:
                await self.aclose()
                raise
        except (anyio.BrokenResourceError, anyio.EndOfStream, ssl.SSLError) as error:
            raise httpcore.ConnectError(error) from error
        return Wire(stream, secure=True)

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - the library's signature
        """Return what the library asks for under these names."""
        match info:
            case "is_readable":
                return self._is_readable()
            case "server_addr":
                if self._peer is None:
                    self._peer = self._extra(SocketAttribute.remote_address)
                return self._peer
            case "ssl_object" if self._secure:
                from anyio.streams.tls import TLSAttribute

                return self._extra(TLSAttribute.ssl_object)
        return None

    def _extra(self, attribute: Any) -> Any:  # noqa: ANN401 - each has its own type
        return self._stream.extra(attribute, None)  # noqa: S610 - this is anyio's, not Django's

    def _is_readable(self) -> bool:
        """Whether there is something to read where nothing is due: the end, most likely."""
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(self._extra(SocketAttribute.raw_socket), select.POLLIN)
        return bool(self._poll.poll(0))
