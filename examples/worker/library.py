"""The same from Python: python examples/loopback.py worker python examples/worker/library.py"""

import os
import tempfile

import anyio

import runner

FLOW = "examples/worker/flow.json"


async def main():
    env = {"API_URL": os.environ["API_URL"]}
    with tempfile.TemporaryDirectory() as folder:
        state = f"sqlite:///{folder}/state.db"
        settings = runner.WorkerSettings(concurrency=10, rates=["*=50/s"])
        worker = runner.Worker(state, settings)
        async with runner.Runs(state) as runs, anyio.create_task_group() as group:
            for item in ("tea", "rice", "salt", "tea"):
                taken = await runs.submit(FLOW, {"item": item}, run_id=f"order-{item}", env=env)
                print(taken.row.id, "is in the queue" if taken.is_new else "was there already")
            group.start_soon(worker.serve)
            for item in ("tea", "rice", "salt"):
                row = await runs.wait(f"order-{item}")
                steps = (await runs.result(row.id))["steps"]
                print(row.id, row.state, *(f"{step['id']}={step['status']}" for step in steps))
            worker.stop()


anyio.run(main)
