"""Real servers on the loopback address, each in a thread of its own loop, for every test that needs one.

`ApiServer` answers as it is told and remembers what it received, `TlsServer` does so over TLS,
`NastyServer` breaks the rules on purpose, `ProxyServer` stands in between. All are context managers.
"""

import asyncio
import atexit
import gzip
import inspect
import json
import socket
import ssl
import struct
import threading
import time
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import anyio.to_thread
import pytest
import trustme

HOST = "127.0.0.1"
PATIENCE = 30.0


@dataclass(frozen=True)
class Received:
    """A request as it came off the wire; `at` is monotonic seconds, `connection` counts from 1."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes = b""
    connection: int = 0
    at: float = 0.0

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.target).query, keep_blank_values=True)

    def header(self, name: str) -> str | None:
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        return ", ".join(values) if values else None

    def json(self):
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """An answer; a `body` that is neither bytes nor text goes out as JSON. `delay` is in seconds."""

    status: int = 200
    body: object = b""
    headers: Iterable[tuple[str, str]] = ()
    delay: float = 0.0
    close: bool = False

    def content(self) -> tuple[bytes, list[tuple[str, str]]]:
        headers = list(self.headers)
        if isinstance(self.body, bytes):
            return self.body, headers
        if isinstance(self.body, str):
            return self.body.encode(), headers
        if not any(name.lower() == "content-type" for name, _ in headers):
            headers.append(("Content-Type", "application/json"))
        return json.dumps(self.body).encode(), headers


@dataclass(frozen=True)
class Drop:
    """No answer: the connection ends, with a TCP reset if so wanted."""

    reset: bool = False


Answer = Reply | Drop
Handler = Callable[[Received], Answer | Awaitable[Answer]]


@cache
def server_loop() -> asyncio.AbstractEventLoop:
    """Return the one loop that all servers of this process live in."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="servers", daemon=True)
    thread.start()

    def stop() -> None:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)
        loop.close()

    atexit.register(stop)
    return loop


def run_there(coroutine):
    """Run a coroutine in the servers' loop and wait for its result."""
    return asyncio.run_coroutine_threadsafe(coroutine, server_loop()).result(PATIENCE)


class Loopback:
    """A server on a free port of the loopback address."""

    scheme = "http"
    ssl_context: ssl.SSLContext | None = None

    def __init__(self):
        self.connections = 0
        self._open: dict[asyncio.Task, asyncio.StreamWriter] = {}

    def __enter__(self):
        run_there(self._start())
        return self

    def __exit__(self, *_):
        run_there(self._stop())

    async def _start(self):
        self._server = await asyncio.start_server(
            self._connected, HOST, 0, ssl=self.ssl_context, limit=2**20, backlog=1024
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self):
        # Connections that are being accepted get their turn first: asyncio would lose them.
        asyncio.get_running_loop().remove_reader(self._server.sockets[0].fileno())
        for _ in range(3):
            await asyncio.sleep(0)
        self._server.close()
        tasks = list(self._open)
        for task, writer in self._open.items():
            writer.transport.abort()
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _connected(self, reader, writer):
        self.connections += 1
        self._open[asyncio.current_task()] = writer
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError):
                await self.serve(reader, writer, self.connections)
        except ValueError:
            writer.write(head(400, [("Content-Length", "0"), ("Connection", "close")], "Bad Request"))
        finally:
            writer.close()
            with suppress(ConnectionError, asyncio.CancelledError, ssl.SSLError):
                await writer.wait_closed()
            self._open.pop(asyncio.current_task(), None)

    async def serve(self, reader, writer, connection):
        raise NotImplementedError

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{HOST}:{self.port}"

    def url(self, path: str = "/") -> str:
        return self.origin + path


async def read_request(reader, connection=0) -> Received | None:
    """Read one request; None when the client has gone; ValueError when it is none, such as a TLS hello."""
    try:
        first = await reader.readexactly(1)
        if not first.isalpha():
            raise ValueError(first)
        text = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = text.removesuffix("\r\n\r\n").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    plain = Received(method, target, headers)
    if "chunked" in (plain.header("transfer-encoding") or ""):
        body = await _read_chunks(reader)
    else:
        body = await reader.readexactly(int(plain.header("content-length") or 0))
    return Received(method, target, headers, body, connection, time.monotonic())


async def _read_chunks(reader) -> bytes:
    body = b""
    while size := int((await reader.readuntil(b"\r\n")).strip(), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readuntil(b"\r\n")
    return body


def head(status: int, headers: Iterable[tuple[str, str]], reason: str = "Fine") -> bytes:
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def reset(writer) -> None:
    """End a connection by a TCP reset instead of an orderly end."""
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Gate:
    """Holds requests back until it is opened, so that a test sees how many run at the same time."""

    def __init__(self):
        self._arrivals = threading.Condition()
        self._count = 0
        self._opened = asyncio.Event()

    async def pass_through(self):
        with self._arrivals:
            self._count += 1
            self._arrivals.notify_all()
        await self._opened.wait()

    def release(self):
        """Let everyone through, from now on."""
        server_loop().call_soon_threadsafe(self._opened.set)

    def wait_for(self, count: int):
        """Wait (in a thread that may block) until so many requests have come; fail if they do not."""
        with self._arrivals:
            if not self._arrivals.wait_for(lambda: self._count >= count, PATIENCE):
                raise AssertionError(f"{self._count} requests came, {count} were awaited")

    async def arrived(self, count: int):
        """Wait as `wait_for` does, without blocking the caller's event loop."""
        await anyio.to_thread.run_sync(self.wait_for, count)


class ApiServer(Loopback):
    """Answers by a handler, or by the answers scripted for a path, and remembers every request."""

    def __init__(self, handler: Handler | None = None):
        super().__init__()
        self.requests: list[Received] = []
        self.peak = 0
        self._running = 0
        self._handler = handler
        self._scripts: dict[tuple[str | None, str], list[Answer | Handler]] = {}
        self._gates: dict[str, Gate] = {}

    def on(self, path: str, *answers: Answer | Handler, method: str | None = None):
        """Answer a path with these, one after the other; the last one stays."""
        self._scripts[method, path] = list(answers)
        return self

    def hold(self, path: str) -> Gate:
        """Keep requests for a path waiting, once they are recorded, until the gate is released."""
        return self._gates.setdefault(path, Gate())

    def received(self, path: str) -> list[Received]:
        return [request for request in self.requests if request.path == path]

    async def serve(self, reader, writer, connection):
        while (request := await read_request(reader, connection)) is not None:
            self.requests.append(request)
            self._running += 1
            self.peak = max(self.peak, self._running)
            try:
                answer = await self._answer(request)
            finally:
                self._running -= 1
            if isinstance(answer, Drop):
                if answer.reset:
                    reset(writer)
                return
            await self._write(writer, request, answer)
            if answer.close or "close" in (request.header("connection") or "").lower():
                return

    async def _answer(self, request: Received) -> Answer:
        if request.path in self._gates:
            await self._gates[request.path].pass_through()
        script = self._scripts.get((request.method, request.path)) or self._scripts.get((None, request.path))
        if script:
            answer = script.pop(0) if len(script) > 1 else script[0]
        else:
            answer = self._handler or Reply(404, {"error": f"nothing at {request.path}"})
        if callable(answer):
            answer = answer(request)
        if inspect.isawaitable(answer):
            answer = await answer
        if isinstance(answer, Reply) and answer.delay:
            await asyncio.sleep(answer.delay)
        return answer

    async def _write(self, writer, request: Received, reply: Reply):
        body, headers = reply.content()
        names = {name.lower() for name, _ in headers}
        if reply.status not in {204, 304} and not names & {"content-length", "transfer-encoding"}:
            headers.append(("Content-Length", str(len(body))))
        if reply.close:
            headers.append(("Connection", "close"))
        writer.write(head(reply.status, headers) + (b"" if request.method == "HEAD" else body))
        await writer.drain()


def echo(request: Received) -> Reply:
    """Tell what arrived."""
    body = request.body.decode("latin-1")
    return Reply(
        body={"method": request.method, "target": request.target, "headers": request.headers, "body": body}
    )


class Authority:
    """A certificate authority of our own, its certificates as PEM files."""

    def __init__(self, folder: Path):
        self.ca = trustme.CA()
        self.folder = folder
        self.ca_file = folder / "ca.pem"
        self.ca.cert_pem.write_to_path(self.ca_file)

    def certificate(self, *names: str, not_after: datetime | None = None) -> trustme.LeafCert:
        return self.ca.issue_cert(*names, not_after=not_after)

    def client_file(self, name: str = "client@example.org") -> Path:
        """Write a certificate and its key into one file."""
        path = self.folder / "client.pem"
        self.ca.issue_cert(name).private_key_and_cert_chain_pem.write_to_path(path)
        return path


class TlsServer(ApiServer):
    """An ApiServer over TLS; may demand a client certificate signed by the same authority."""

    scheme = "https"

    def __init__(
        self,
        authority: Authority,
        handler: Handler | None = None,
        *,
        names: tuple[str, ...] = ("localhost", HOST),
        demand_client: bool = False,
        not_after: datetime | None = None,
    ):
        super().__init__(handler)
        self.ssl_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.certificate(*names, not_after=not_after).configure_cert(self.ssl_context)
        self.server_names: list[str | None] = []
        self.ssl_context.sni_callback = lambda _, name, __: self.server_names.append(name)
        if demand_client:
            authority.ca.configure_trust(self.ssl_context)
            self.ssl_context.verify_mode = ssl.CERT_REQUIRED


class DemandingServer(Loopback):
    """Ends every TLS handshake with the alert that it wants a client certificate, and lets it arrive."""

    scheme = "https"

    def __init__(self, authority: Authority, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3):
        super().__init__()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.maximum_version = version
        self._context.verify_mode = ssl.CERT_REQUIRED
        authority.ca.configure_trust(self._context)
        authority.certificate(HOST).configure_cert(self._context)

    async def serve(self, reader, writer, connection):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        shaking = self._context.wrap_bio(incoming, outgoing, server_side=True)
        while True:
            try:
                shaking.do_handshake()
            except ssl.SSLWantReadError:
                writer.write(outgoing.read())
                incoming.write(await reader.read(65_536))
            except ssl.SSLError:
                break
        writer.write(outgoing.read())
        await writer.drain()
        await reader.read()  # closing with something unread would be a reset, which overtakes the alert


class NastyServer(Loopback):
    """Breaks the rules in the way that the first part of the path names; `seen` counts requests by it."""

    def __init__(self):
        super().__init__()
        self.seen: Counter[str] = Counter()

    async def serve(self, reader, writer, connection):
        nth = 0
        while (request := await read_request(reader, connection)) is not None:
            nth += 1
            name = request.path.strip("/").split("/")[0].replace("-", "_")
            self.seen[name] += 1
            keep = await getattr(self, f"do_{name}")(reader, writer, request, nth)
            with suppress(ConnectionError):
                await writer.drain()
            if not keep:
                return

    async def do_fine(self, reader, writer, request, nth):
        writer.write(head(200, [("Content-Length", "2")]) + b"ok")
        return True

    async def do_silent(self, reader, writer, request, nth):
        """Never answer; wait until the client goes away."""
        await reader.read()

    async def do_drip(self, reader, writer, request, nth):
        """One byte each 20 ms, for ever: no single read is slow."""
        writer.write(head(200, [("Content-Length", "1000000")]))
        while not writer.is_closing():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    async def do_stall(self, reader, writer, request, nth):
        writer.write(head(200, [("Content-Length", "10")]) + b"abc")
        await writer.drain()
        await reader.read()

    async def do_half(self, reader, writer, request, nth):
        writer.write(head(200, [("Content-Length", "10")]) + b"abc")

    async def do_half_chunk(self, reader, writer, request, nth):
        writer.write(head(200, [("Transfer-Encoding", "chunked")]) + b"5\r\nab")

    async def do_half_head(self, reader, writer, request, nth):
        writer.write(b"HTTP/1.1 200 Fi")

    async def do_reset(self, reader, writer, request, nth):
        reset(writer)

    async def do_reset_in_body(self, reader, writer, request, nth):
        writer.write(head(200, [("Content-Length", "10")]) + b"abc")
        await writer.drain()
        await asyncio.sleep(0.02)  # or the reset would overtake the head
        reset(writer)

    async def do_drop(self, reader, writer, request, nth):
        """Read the request, then end the connection."""

    async def do_drop_reused(self, reader, writer, request, nth):
        """Answer the first request on a connection and drop every other."""
        return nth == 1 and await self.do_fine(reader, writer, request, nth)

    async def do_close_idle(self, reader, writer, request, nth):
        """Answer and end the connection without having said so."""
        await self.do_fine(reader, writer, request, nth)

    async def do_garbage(self, reader, writer, request, nth):
        writer.write(b"220 smtp.example.org ESMTP\r\n\r\n")

    async def do_bad_chunk(self, reader, writer, request, nth):
        writer.write(head(200, [("Transfer-Encoding", "chunked")]) + b"zz\r\nabc\r\n")

    async def do_big_head(self, reader, writer, request, nth):
        size = int(request.query.get("n", ["32000"])[0])
        writer.write(head(200, [("X-Big", "a" * size), ("Content-Length", "2")]) + b"ok")
        return True

    async def do_hints(self, reader, writer, request, nth):
        writer.write(head(103, [("Link", "</x>")]) + head(200, [("Content-Length", "2")]) + b"ok")
        return True

    async def do_huge(self, reader, writer, request, nth):
        """Announce 1 GB and start sending it."""
        writer.write(head(200, [("Content-Length", str(10**9))]))
        await self._pour(writer, bytes(65_536))

    async def do_endless(self, reader, writer, request, nth):
        """Send chunks for ever, with no word of a length."""
        writer.write(head(200, [("Transfer-Encoding", "chunked")]))
        await self._pour(writer, b"10000\r\n" + bytes(65_536) + b"\r\n")

    async def do_bomb(self, reader, writer, request, nth):
        """1 GiB of zeros in 1 MB of gzip, or in 2 kB of gzip in gzip."""
        layers = int(request.query.get("layers", ["1"])[0])
        body = _bomb(layers)
        coding = ", ".join(["gzip"] * layers)
        writer.write(head(200, [("Content-Encoding", coding), ("Content-Length", str(len(body)))]) + body)
        return True

    async def do_cut_gzip(self, reader, writer, request, nth):
        body = gzip.compress(b"x" * 1000)[:-6]
        writer.write(head(200, [("Content-Encoding", "gzip"), ("Content-Length", str(len(body)))]) + body)
        return True

    async def do_false_gzip(self, reader, writer, request, nth):
        writer.write(head(200, [("Content-Encoding", "gzip"), ("Content-Length", "5")]) + b"plain")
        return True

    async def _pour(self, writer, piece: bytes):
        while not writer.is_closing():
            writer.write(piece)
            await writer.drain()


@cache
def _bomb(layers: int) -> bytes:
    # After a full flush deflate starts afresh, so that one packed MiB can be repeated; nobody gets to the end.
    packer = zlib.compressobj(9, wbits=31)
    first = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    body = first + again * 1023
    for _ in range(layers - 1):
        body = gzip.compress(body)
    return body


class ProxyServer(Loopback):
    """Forwards plain requests and opens tunnels; `upstreams` maps a host name to a loopback port."""

    def __init__(self, upstreams: dict[str, int], *, credentials: str | None = None):
        super().__init__()
        self.requests: list[Received] = []
        self._upstreams = upstreams
        self._credentials = credentials

    async def serve(self, reader, writer, connection):
        request = await read_request(reader, connection)
        if request is None:
            return
        self.requests.append(request)
        if self._credentials not in {None, request.header("proxy-authorization")}:
            writer.write(head(407, [("Content-Length", "0")], "Proxy Authentication Required"))
            await writer.drain()
            return
        tunnel = request.method == "CONNECT"
        name = request.target.rpartition(":")[0] if tunnel else urlsplit(request.target).hostname
        if name not in self._upstreams:
            writer.write(head(502, [("Content-Length", "0")], "Bad Gateway"))
            await writer.drain()
            return
        there, back = await asyncio.open_connection(HOST, self._upstreams[name])
        try:
            if tunnel:
                writer.write(head(200, []))
            else:
                back.write(self._forwarded(request))
            await asyncio.gather(self._copy(reader, back), self._copy(there, writer))
        finally:
            back.close()

    @staticmethod
    def _forwarded(request: Received) -> bytes:
        target = "/" + request.target.split("/", 3)[3]
        lines = [f"{request.method} {target} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in request.headers]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + request.body

    @staticmethod
    async def _copy(source, sink):
        with suppress(ConnectionError):
            while data := await source.read(65_536):
                sink.write(data)
                await sink.drain()
            sink.write_eof()


@pytest.fixture
def api():
    with ApiServer(echo) as server:
        yield server


@pytest.fixture
def nasty():
    with NastyServer() as server:
        yield server


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def tls_api(authority):
    with TlsServer(authority, echo) as server:
        yield server


@pytest.fixture
def closed_port():
    """Return a port that nobody listens on, bound for the duration so that nobody else gets it."""
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        yield taken.getsockname()[1]
