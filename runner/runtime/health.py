"""What a worker tells those who watch over it: `/healthz`, `/readyz` and `/metrics`, over HTTP.

The answers come from the worker's own event loop: one that hangs answers nothing, which is what a
liveness probe is to find. Nothing here tells of what runs were given or have made.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, Self

import anyio
import h11
from anyio import CapacityLimiter, to_thread
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.stapled import MultiListener
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from runner.errors import SurroundingsError
from runner.version import __version__

_PATIENCE: Final = 5.0  # seconds for a whole request, and as many for its answer
_DATABASE: Final = 2.0  # seconds for the database to say something
_AT_ONCE: Final = 16
_PIECE: Final = 16_384
_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)

log = logging.getLogger(__name__)


class Vitals(Protocol):
    """What a worker can say of itself."""

    @property
    def at_work(self) -> int:
        """How many runs it carries on."""

    @property
    def room(self) -> int:
        """How many it would at most."""

    def trouble(self) -> str:
        """Return why it takes no runs just now, an empty text when it does."""

    def counts(self) -> Mapping[str, int]:
        """Return how many runs the database has in each state that has not ended; asks it, in a thread.

        Raises SurroundingsError.
        """


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered: a status, a text, and its type."""

    status: int
    text: bytes
    type: str = "text/plain; charset=utf-8"


class Health:
    """The numbers of one worker, and the answers that are made of them."""

    def __init__(self, vitals: Vitals) -> None:
        self._vitals = vitals
        self._registry = CollectorRegistry()
        self._threads = CapacityLimiter(2)  # its own: runs may have taken all others
        self._ended = Counter(
            "flowspan_runs_ended", "Runs that have ended in this worker.", ["status"], registry=self._registry
        )
        self._seconds = Histogram(
            "flowspan_run_duration_seconds", "From the start of a run to its end.", ["status"],
            buckets=_SECONDS, registry=self._registry,
        )  # fmt: skip

    def ended(self, status: str, seconds: float) -> None:
        """Count a run that has ended."""
        self._ended.labels(status).inc()
        self._seconds.labels(status).observe(seconds)

    async def answer(self, method: str, path: str) -> Answer:
        """Return the answer to a request."""
        if path not in ("/healthz", "/readyz", "/metrics"):
            return Answer(404, b"there are /healthz, /readyz and /metrics\n")
        if method not in ("GET", "HEAD"):
            return Answer(405, b"only GET and HEAD\n")
        if path == "/healthz":
            return Answer(200, b"ok\n")
        counts, trouble = await self._counts()
        trouble = self._vitals.trouble() or trouble
        if path == "/readyz":
            return Answer(503 if trouble else 200, f"{trouble or 'ready'}\n".encode())
        shown = CollectorRegistry()
        shown.register(_Now(self._vitals, counts, is_ready=not trouble))
        return Answer(200, generate_latest(shown) + generate_latest(self._registry), CONTENT_TYPE_LATEST)

    async def _counts(self) -> tuple[Mapping[str, int] | None, str]:
        """Return what the database counts, or why it does not."""
        with anyio.move_on_after(_DATABASE):
            try:
                counts = await to_thread.run_sync(
                    self._vitals.counts, abandon_on_cancel=True, limiter=self._threads
                )
            except SurroundingsError:  # its text names hosts and users, and anybody may ask
                return None, "the state database does not answer; the log says why"
            return counts, ""
        return None, f"the state database has not answered for {_DATABASE:.0f} seconds"


class _Now:
    """The numbers that are what they are at the moment when somebody asks."""

    def __init__(self, vitals: Vitals, counts: Mapping[str, int] | None, *, is_ready: bool) -> None:
        self._vitals, self._counts, self._is_ready = vitals, counts, is_ready

    def collect(self) -> Iterator[Metric]:
        for name, text, value in (
            ("flowspan_worker_ready", "1 while this worker takes runs.", int(self._is_ready)),
            ("flowspan_worker_runs", "Runs that this worker carries on.", self._vitals.at_work),
            ("flowspan_worker_concurrency", "Runs that it carries on at most.", self._vitals.room),
        ):
            yield GaugeMetricFamily(name, text, value)
        if self._counts is not None:
            waiting = GaugeMetricFamily("flowspan_runs", "Runs in the database, by state.", labels=["state"])
            for state in ("queued", "running"):
                waiting.add_metric([state], self._counts.get(state, 0))
            yield waiting
        yield InfoMetricFamily("flowspan_build", "The version that runs.", {"version": __version__})


class Probes:
    """Answers requests at an address; `place` is where, as port 0 is any free one."""

    def __init__(self, health: Health, listener: MultiListener[SocketStream], host: str) -> None:
        self._health, self._listener = health, listener
        self._slots = CapacityLimiter(_AT_ONCE)
        shown = f"[{host}]" if ":" in host else host
        self.place = f"{shown}:{listener.listeners[0].extra(SocketAttribute.local_port)}"  # noqa: S610

    @classmethod
    async def listen(cls, health: Health, address: tuple[str, int]) -> Self:
        """Take the address; raises SurroundingsError when that cannot be done."""
        host, port = address
        try:
            listener = await anyio.create_tcp_listener(local_host=host, local_port=port)
        except OSError as error:
            why = error.strerror or error
            raise SurroundingsError(f"nothing can listen at {host}:{port}: {why}") from error
        return cls(health, listener, host)

    async def serve(self) -> None:
        """Answer until cancelled."""
        async with self._listener:
            await self._listener.serve(self._handle)

    async def _handle(self, stream: SocketStream) -> None:
        async with self._slots, stream:
            try:
                with anyio.move_on_after(2 * _PATIENCE):
                    await _serve_one(self._health, stream)
            except Exception as error:  # noqa: BLE001 - whatever it is, the runs go on
                log.info("a request to %s came to nothing: %s", self.place, type(error).__name__)


async def _serve_one(health: Health, stream: SocketStream) -> None:
    """Answer one request, and close: whoever watches asks every few seconds."""
    connection = h11.Connection(h11.SERVER)
    is_head = False
    try:
        with anyio.fail_after(_PATIENCE):
            request = await _request(connection, stream)
    except h11.RemoteProtocolError as error:
        answer = Answer(error.error_status_hint, b"this is no HTTP request\n")
    else:
        is_head = request.method == b"HEAD"
        answer = await health.answer(request.method.decode(), request.target.decode().partition("?")[0])
    head = [
        ("Content-Type", answer.type), ("Content-Length", str(len(answer.text))),
        ("Cache-Control", "no-store"), ("Connection", "close"),
    ]  # fmt: skip
    body = h11.Data(b"" if is_head else answer.text)
    events = h11.Response(status_code=answer.status, headers=head), body, h11.EndOfMessage()
    await stream.send(b"".join(connection.send(event) or b"" for event in events))


async def _request(connection: h11.Connection, stream: SocketStream) -> h11.Request:
    """Return the head of the request that comes; a body is not read."""
    while not isinstance(event := connection.next_event(), h11.Request):
        if event is not h11.NEED_DATA:
            raise anyio.EndOfStream
        connection.receive_data(await stream.receive(_PIECE))
    return event
