"""A run of very many steps, as a library user starts it: its peak memory and the size of its trace."""

import anyio

from benchmarks.flows import many
from benchmarks.processes import peak_memory
from runner.runtime.http import Transport
from runner.runtime.loading import load
from runner.runtime.run import Run, RunSettings


def peak(steps: int, parallel: bool, origin: str = "") -> dict:
    """Peak bytes of this process once the run is over, bytes of its spans, and how many those are."""
    return anyio.run(_peak, steps, parallel, origin)


async def _peak(steps: int, parallel: bool, origin: str) -> dict:
    async with Transport() as transport:
        run = Run(load(many(steps, parallel=parallel, origin=origin)), {}, RunSettings(transport=transport))
        result = await run.execute()
    assert result.ok, result.failure
    return {"peak": peak_memory(), "spans": run.recorder.size, "count": run.recorder.count}
