"""A run of very many steps, as a library user starts it: its peak memory and the size of its trace."""

from pathlib import Path

import anyio

from benchmarks.flows import many, write
from benchmarks.processes import peak_memory
from runner.runtime.http import Transport
from runner.runtime.loading import load
from runner.runtime.run import Run, RunSettings


def document(path: str, steps: int, parallel: bool, origin: str = "") -> dict:
    """Write the flow in a process of its own, or its peak would count."""
    return {"bytes": write(Path(path), many(steps, parallel=parallel, origin=origin)).stat().st_size}


def peak(path: str) -> dict:
    """Peak bytes of this process once the run is over, bytes of its spans, and how many those are."""
    return anyio.run(_peak, path)


async def _peak(path: str) -> dict:
    async with Transport() as transport:
        run = Run(load(path), {}, RunSettings(transport=transport))
        result = await run.execute()
    assert result.ok, result.failure
    return {"peak": peak_memory(), "spans": run.recorder.size, "count": run.recorder.count}
