"""CPU time of flows that send requests, beside the same requests written by hand over the same library."""

import gc
import time
from contextlib import contextmanager

import anyio

from benchmarks.flows import INPUTS, registration
from runner.core.trace import SpanRecord
from runner.runtime import engine
from runner.runtime import run as runs
from runner.runtime.http import Transport
from runner.runtime.library import httpx
from runner.runtime.loading import load
from runner.runtime.tracing import Recorder

CONNECTIONS = 100
REQUESTS = 3  # of one flow


class Ours:
    """The flow, run by the runner over one transport, as a worker would."""

    def __init__(self, origin: str, transport: Transport) -> None:
        self.flow = load(registration())
        self.settings = runs.RunSettings(env={"API_URL": origin}, transport=transport)

    async def __call__(self) -> None:
        result = await runs.run(self.flow, INPUTS, settings=self.settings)
        assert result.outputs["send_welcome"] == {"emailId": "em-77aa"}, result.failure


class ByHand:
    """The same requests, in a loop that somebody would write."""

    def __init__(self, origin: str, client: httpx.AsyncClient) -> None:
        self.origin, self.client = origin, client

    async def __call__(self) -> None:
        form = {name: INPUTS[name] for name in ("username", "email", "password")}
        registered = await self._post("/auth/register", form)
        verified = await self._post("/auth/verify-email", {"token": registered["activation_token"]})
        assert verified["status"] == "verified"
        if INPUTS["sendWelcomeEmail"]:
            user = registered["user"]
            welcomed = await self._post(
                "/notifications/welcome", {"userId": user["id"], "userRole": user["role"]}
            )
            assert welcomed["email_id"] == "em-77aa"

    async def _post(self, path: str, value: dict) -> dict:
        response = await self.client.post(self.origin + path, json=value)
        response.raise_for_status()
        return response.json()


def plain_client() -> httpx.AsyncClient:
    """Return a client with the connections that ours has."""
    limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
    transport = httpx.AsyncHTTPTransport(limits=limits, trust_env=False)
    return httpx.AsyncClient(transport=transport, trust_env=False, timeout=300)


class Silent(Recorder):
    """Records nothing."""

    record = SpanRecord("", 1, 1, None, sequence=0, start=0)

    def open(self, *_, **__):
        return self.record

    def event(self, *_, **__):
        pass

    def end(self, *_, **__):
        pass

    def traceparent(self, *_):
        return "00-00000000000000000000000000000001-0000000000000001-00"


class NoAttributes:
    """Stands where the engine has `runner.core.spans`, and describes nothing."""

    def __getattr__(self, name):
        return lambda *_, **__: {}


@contextmanager
def without_spans():
    """Let runs make no spans; the runner itself has no such switch."""
    recorder, spans = runs.Recorder, engine.spans
    runs.Recorder, engine.spans = Silent, NoAttributes()
    try:
        yield
    finally:
        runs.Recorder, engine.spans = recorder, spans


async def cpu(flow, count: int, at_once: int = 1) -> float:
    """Return the CPU seconds of one of `count` flows, of which `at_once` run at the same time."""
    left = iter(range(count))

    async def work() -> None:
        for _ in left:
            await flow()

    gc.collect()
    began = time.process_time()
    async with anyio.create_task_group() as group:
        for _ in range(at_once):
            group.start_soon(work)
    return (time.process_time() - began) / count


def one_after_the_other(origin: str, flows: int, rounds: int) -> dict:
    """CPU seconds per flow, a list of rounds each: by hand, by the runner, by the runner without spans."""
    return anyio.run(_one_after_the_other, origin, flows, rounds)


async def _one_after_the_other(origin: str, flows: int, rounds: int) -> dict:
    found: dict[str, list[float]] = {"hand": [], "ours": [], "bare": []}
    async with Transport() as transport, plain_client() as client:
        ours, hand = Ours(origin, transport), ByHand(origin, client)
        for number in range(rounds + 1):  # the first one warms up
            took = {"hand": await cpu(hand, flows), "ours": await cpu(ours, flows)}
            with without_spans():
                took["bare"] = await cpu(ours, flows)
            for name, seconds in took.items():
                found[name] += [seconds] if number else []
    return found


def long_haul(origin: str, flows: int, piece: int) -> dict:
    """CPU seconds per flow of one piece after the other, by the runner and, in between, by hand."""
    return anyio.run(_long_haul, origin, flows, piece)


async def _long_haul(origin: str, flows: int, piece: int) -> dict:
    found: dict[str, list[float]] = {"hand": [], "ours": []}
    async with Transport() as transport, plain_client() as client:
        ours, hand = Ours(origin, transport), ByHand(origin, client)
        await cpu(ours, 50)
        await cpu(hand, 50)
        for _ in range(flows // piece):
            found["ours"].append(await cpu(ours, piece))
            found["hand"].append(await cpu(hand, max(piece // 2, 1)))
    return found


def at_once(origin: str, few: int, many: int, flows: int, rounds: int) -> dict:
    """CPU seconds per request with few and with many flows running, by the runner and by hand."""
    return anyio.run(_at_once, origin, few, many, flows, rounds)


async def _at_once(origin: str, few: int, many: int, flows: int, rounds: int) -> dict:
    found: dict[str, list[float]] = {name: [] for name in ("ours few", "ours many", "hand few", "hand many")}
    for number in range(rounds):
        for name, running in (("few", few), ("many", many)):
            async with Transport() as transport:
                ours = Ours(origin, transport)
                found[f"ours {name}"].append(await cpu(ours, flows, running) / REQUESTS)
            if number == 0:  # it only stands in the notes
                async with plain_client() as client:
                    found[f"hand {name}"].append(await cpu(ByHand(origin, client), flows, running) / REQUESTS)
    return found
