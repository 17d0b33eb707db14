"""What a queue costs: runs of five requests through a worker, against a loop that sends the same by hand."""

import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio

from benchmarks.processes import memory
from runner import Worker
from runner.runtime.intake import Intake
from runner.runtime.queue import Queue
from runner.runtime.run import RunSettings
from runner.runtime.store import Store
from runner.runtime.vault import KEY_VARIABLE, new_key

STEPS = 5
AT_ONCE = 100


def behind_a_queue(origin: str, runs: int, url: str | None = None) -> dict[str, list[float]]:
    """Return runs a second: submitted, by hand (before and after) and by a worker; and memory in bytes.

    Memory is that of this process after a tenth of the runs and at the end. Without `url` the database
    is a SQLite file.
    """
    environ = {KEY_VARIABLE: new_key()}
    with TemporaryDirectory() as folder:
        place = url or f"sqlite:///{folder}/state.db"
        store = Store(place, environ)
        submitted = _submit(store, _flow(folder), origin, runs)
        store.close()
        before = anyio.run(_by_hand, origin, runs)
        worked, sizes = anyio.run(_work, place, environ, runs)
        after = anyio.run(_by_hand, origin, runs)
    return {"submitted": [submitted], "hand": [before, after], "ours": [worked], "memory": sizes}


def _flow(folder: str) -> str:
    steps = [{"id": f"s{n}", "method": "POST", "url": "{{env.API}}/one"} for n in range(STEPS)]
    path = Path(folder, "five.json")
    path.write_text(json.dumps({"name": "five", "version": "1.0", "flow_inputs": [], "steps": steps}))
    return str(path)


def _submit(store: Store, flow: str, origin: str, runs: int) -> float:
    queue, intake = Queue(store), Intake(flow)
    began = time.perf_counter()
    for _ in range(runs):
        intake.take(store, queue, {}, RunSettings(env={"API": origin}))
    return runs / (time.perf_counter() - began)


async def _by_hand(origin: str, runs: int) -> float:
    try:
        import httpx2 as http
    except ImportError:
        import httpx as http
    left = iter(range(runs))
    limits = http.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE)
    async with http.AsyncClient(limits=limits) as client:

        async def loop() -> None:
            for _ in left:
                for _ in range(STEPS):
                    (await client.post(f"{origin}/one")).json()

        began = time.perf_counter()
        async with anyio.create_task_group() as group:
            for _ in range(AT_ONCE):
                group.start_soon(loop)
        return runs / (time.perf_counter() - began)


async def _work(url: str, environ: dict[str, str], runs: int) -> tuple[float, list[float]]:
    ended, sizes, done = 0, [], anyio.Event()

    def count(_run: str, state: str, _seconds: float) -> None:
        nonlocal ended
        assert state == "succeeded", state
        ended += 1
        if ended in (max(1, runs // 10), runs):
            sizes.append(float(memory()))
        if ended == runs:
            done.set()

    worker = Worker(url, concurrency=AT_ONCE, environ=environ, ended=count)
    began = time.perf_counter()
    async with anyio.create_task_group() as group:
        group.start_soon(worker.serve)
        await done.wait()
        took = time.perf_counter() - began
        worker.stop()
    return runs / took, sizes
