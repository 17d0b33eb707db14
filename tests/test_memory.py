"""How much memory a run of very many steps takes."""

import gc
import sys
import tracemalloc

import pytest

from benchmarks.flows import document, many, write
from benchmarks.processes import measured
from runner.runtime.loading import load
from runner.runtime.run import Run, RunSettings

STEPS = 2000
# Bytes of a step beside its spans, for the plan, the outputs, the result and the text of the flow.
KEPT_OF_CONSTANTS, KEPT_OF_REFERENCES = 620, 1420
PEAK_STEPS = 100_000
ROOM = 50_000_000  # bytes that a run may take beside 1.3 times its spans


def referring(count):
    steps = ({"id": f"s{n}", "set": {"value": f"{{{{s{n - 1}.value}}}}" if n else 0}} for n in range(count))
    return document(*steps)


async def kept_of(path) -> tuple[int, int]:
    """Return the bytes that stay after a run, and how many of them are its spans."""
    await Run(load(path), {}, RunSettings()).execute()  # what is imported and cached once
    gc.collect()
    tracemalloc.start()
    try:
        run = Run(load(path), {}, RunSettings())
        result = await run.execute()
        gc.collect()
        return tracemalloc.get_traced_memory()[0], run.recorder.size * result.ok
    finally:
        tracemalloc.stop()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("flow", "most"),
    [
        (many(STEPS, parallel=False), KEPT_OF_CONSTANTS),
        (many(STEPS, parallel=True), KEPT_OF_CONSTANTS),
        (referring(STEPS), KEPT_OF_REFERENCES),
    ],
    ids=["chain", "wide", "references"],
)
async def test_little_stays_of_a_step_beside_its_spans(tmp_path, anyio_backend, flow, most):
    kept, spans = await kept_of(write(tmp_path / "flow.json", flow))
    assert spans > STEPS * 600
    assert (kept - spans) / STEPS < most


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no process tells its own peak alone")
def test_the_peak_of_many_steps_is_what_is_allowed(tmp_path):
    few, lots = (write(tmp_path / f"{n}.json", many(n, parallel=True)) for n in (1, PEAK_STEPS))
    empty = measured("runs.peak", "httpx2", path=str(few))
    for _ in range(3):  # what a run needs is the least of them; a busy machine adds a few MB to some
        got = measured("runs.peak", "httpx2", path=str(lots))
        assert got["count"] == PEAK_STEPS + 1
        if got["peak"] - empty["peak"] <= 1.3 * got["spans"] + ROOM:
            return
    pytest.fail(f"{got['peak'] - empty['peak']} bytes of {1.3 * got['spans'] + ROOM:.0f}")


def test_the_peak_of_a_process_is_not_that_of_its_parent(tmp_path):
    path = str(write(tmp_path / "flow.json", many(1, parallel=False)))
    ballast = bytearray(300_000_000)
    assert measured("runs.peak", "httpx2", path=path)["peak"] < len(ballast)
