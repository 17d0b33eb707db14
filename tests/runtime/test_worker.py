"""A worker inside a program, and the runs of a state database for programs."""

import threading
import time
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio import to_thread

from runner import FlowError, Runs, SurroundingsError, Worker, submit
from runner.runtime.intake import BacklogError
from runner.runtime.lease import FileLease, LostError, take_lease
from runner.runtime.liveness import Liveness
from runner.runtime.state import Again
from tests.command import flow_file
from tests.servers import ApiServer, Reply
from tests.workers import call

INPUTS = [{"name": "n", "type": "string", "required": True}]


@pytest.fixture
def api():
    with ApiServer(lambda _: Reply(body={"ok": True})) as server:
        yield server


@pytest.fixture
def flow(tmp_path):
    return flow_file(tmp_path, call("a"), call("b"), flow_inputs=INPUTS)


@asynccontextmanager
async def working(state, **settings):
    """A worker in this event loop; it is asked to stop in the end."""
    url, environ = state
    worker = Worker(url, environ=environ, **settings)
    async with anyio.create_task_group() as group:
        group.start_soon(worker.serve)
        yield worker
        worker.stop()


@pytest.mark.anyio
async def test_runs_are_submitted_waited_for_and_looked_at(state, api, flow):
    url, environ = state
    async with Runs(url, environ=environ) as runs:
        one = await runs.submit(flow, {"n": "1"}, run_id="one", env={"API": api.origin})
        again = await runs.submit(flow, {"n": "1"}, run_id="one", env={"API": api.origin})
        assert (one.is_new, again.is_new) == (True, False)
        with pytest.raises(BacklogError, match="1 runs wait already"):
            await runs.submit(flow, {"n": "2"}, env={"API": api.origin}, max_queued=1)
        with pytest.raises(FlowError, match="Input n"):
            await runs.submit(flow)
        assert await runs.result("one") is None
        assert await runs.trace("one") is None
        ended = []
        async with working(state, ended=lambda *told: ended.append(told[:2])):
            row = await runs.wait("one")
        assert (row.state, ended) == ("succeeded", [("one", "succeeded")])
        assert (await runs.result("one"))["status"] == "succeeded"
        trace = await runs.trace("one")
        names = [span.name for span in trace.spans]
        assert names == ["flow-flow", "process flows", "http-a", "POST /a", "http-b", "POST /b"]
        again = await runs.retry("one", Again(from_step="b", run_id="two"))
        assert [row.id for row in await runs.list()] == ["two", "one"]
        assert await runs.counts() == {"queued": 1, "succeeded": 1}
        assert await runs.cancel("two") == "cancelled"
        assert await runs.delete(["one", "two"]) == ["one", "two"]
        with pytest.raises(FlowError, match="no such run"):
            await runs.get("one")


@pytest.mark.anyio
async def test_one_run_is_submitted_without_more_ado(tmp_path, flow, api):
    submitted = await submit(flow, {"n": "1"}, state=f"sqlite:///{tmp_path}/s.db", env={"API": api.origin})
    assert submitted.is_new


@pytest.mark.anyio
async def test_no_more_runs_are_at_work_than_are_allowed(state, api, flow):
    url, environ = state
    gate = api.hold("/a")
    async with Runs(url, environ=environ) as runs:
        for number in range(5):
            await runs.submit(flow, {"n": str(number)}, run_id=f"r{number}", env={"API": api.origin})
        async with working(state, concurrency=2) as worker:
            await gate.arrived(2)
            assert len(worker.active) == 2
            gate.release()
            for number in range(5):
                await runs.wait(f"r{number}")
    assert api.peak <= 2


@pytest.mark.anyio
async def test_a_flow_without_a_limit_ends_after_that_of_the_worker(state, api, flow):
    url, environ = state
    gate = api.hold("/a")
    async with Runs(url, environ=environ) as runs:
        await runs.submit(flow, {"n": "1"}, run_id="one", env={"API": api.origin})
        async with working(state, flow_timeout=0.5):
            assert (await runs.wait("one")).state == "timed_out"
    gate.release()


@pytest.mark.anyio
async def test_a_flow_that_is_switched_off_is_refused_by_the_worker_too(state, tmp_path):
    url, environ = state
    on = flow_file(tmp_path, {"id": "a", "set": {"x": "1"}})
    off = flow_file(tmp_path, {"id": "a", "set": {"x": "1"}}, name="off.json", is_active=False)
    async with Runs(url, environ=environ) as runs:
        with pytest.raises(FlowError, match="not active"):
            await runs.submit(off)
        await runs.submit(off, run_id="allowed", inactive=True)
        await runs.submit(on, run_id="first")
        async with working(state):
            assert (await runs.wait("allowed")).state == "succeeded"
            await runs.wait("first")
            await runs.retry("first", Again(start=True, flow=str(off), run_id="again"))
            row = await runs.wait("again")
    assert (row.state, row.reason) == ("failed", "flow.inactive")


@pytest.mark.anyio
async def test_env_of_the_worker_fills_only_what_a_run_lacks(state, api, tmp_path):
    url, environ = state
    flow = flow_file(tmp_path, {"id": "a", "set": {"x": "{{env.MINE}} {{env.API}}"}})
    async with Runs(url, environ=environ) as runs:
        await runs.submit(flow, run_id="one", env={"API": "run", "MINE": "run"})
        async with working(state, env={"MINE": "worker", "API": "worker"}):
            await runs.wait("one")
            lacking = await runs.submit(flow, run_id="two", env={"API": "run"})
            await runs.wait("two")
        assert (await runs.result("one"))["outputs"] == {"a": {"x": "run run"}}
        assert (await runs.result("two"))["outputs"] == {"a": {"x": "worker run"}}
        [problem] = lacking.warnings
        assert (problem.code, problem.is_error) == ("env.missing", False)
        await runs.submit(flow, run_id="three")
        async with working(state, env={"MINE": "worker"}):
            row = await runs.wait("three")
    assert (row.state, row.reason) == ("failed", "env.missing")


@pytest.mark.anyio
async def test_a_worker_without_its_lease_ends_and_leaves_its_runs_as_they_are(tmp_path, api, flow):
    url = f"sqlite:///{tmp_path}/s.db"
    gate = api.hold("/b")
    async with Runs(url, environ={}) as runs:
        await runs.submit(flow, {"n": "1"}, run_id="one", env={"API": api.origin})
        worker = Worker(url, environ={})

        async def take_the_file():
            await gate.arrived(1)
            (tmp_path / "s.db.live" / worker.owner).unlink()

        async with anyio.create_task_group() as group:
            group.start_soon(take_the_file)
            with pytest.raises(LostError, match="its file was taken away"):
                await worker.serve()
        row = await runs.get("one")
        assert (row.state, row.owner) == ("running", worker.owner)
        gate.release()
        async with working((url, {})):
            assert (await runs.wait("one")).state == "succeeded"
    assert [request.path for request in api.requests].count("/a") == 1


@pytest.mark.anyio
async def test_nothing_is_sent_while_the_lease_is_in_doubt(store, monkeypatch):
    liveness = Liveness(store, "me")
    async with liveness.held():
        await liveness.permit()
        passed: list[int] = []

        async def ask(number):
            await liveness.permit()
            passed.append(number)

        async def renewed():
            raise AssertionError("the lease was not lost")

        monkeypatch.setattr(liveness, "_heard", time.monotonic() - 60)
        with anyio.fail_after(20):
            async with anyio.create_task_group() as keeping:
                async with anyio.create_task_group() as asking:
                    for number in range(3):
                        asking.start_soon(ask, number)
                    await anyio.wait_all_tasks_blocked()
                    assert not passed
                    keeping.start_soon(liveness.keep, renewed)
                keeping.cancel_scope.cancel()
    assert sorted(passed) == [0, 1, 2]


@pytest.mark.anyio
async def test_a_fault_of_ours_ends_its_run_and_not_the_worker(state, api, flow, monkeypatch):
    from runner.runtime import worker as module

    url, environ = state
    real = module.restored

    def broken(journal, claim, around):
        if claim.row.id == "bad":
            raise ZeroDivisionError
        return real(journal, claim, around)

    monkeypatch.setattr(module, "restored", broken)
    async with Runs(url, environ=environ) as runs:
        for run_id in ("bad", "good"):
            await runs.submit(flow, {"n": "1"}, run_id=run_id, env={"API": api.origin})
        async with working(state):
            assert (await runs.wait("bad")).reason == "run.unreadable"
            assert (await runs.wait("good")).state == "succeeded"


@pytest.mark.anyio
async def test_a_run_that_cannot_be_read_is_ended_and_the_others_go_on(state, api, flow):
    url, environ = state
    async with Runs(url, environ=environ) as runs:
        for run_id in ("bad", "good"):
            await runs.submit(flow, {"n": "1"}, run_id=run_id, env={"API": api.origin})
        worker = Worker(url, environ=environ)
        table = worker.store.tables.runs
        with worker.store.begin() as connection:
            damaged = (
                table.update().where(table.c.id == "bad").values(given=worker.store.vault.seal(b"\xff{"))
            )
            connection.execute(damaged)
        async with anyio.create_task_group() as group:
            group.start_soon(worker.serve)
            bad, good = await runs.wait("bad"), await runs.wait("good")
            worker.stop()
    assert (bad.state, bad.reason, good.state) == ("failed", "run.unreadable", "succeeded")


@pytest.mark.anyio
async def test_what_the_queue_has_given_to_nobodys_knowledge_is_given_back(state, api, flow):
    url, environ = state
    async with Runs(url, environ=environ) as runs:
        await runs.submit(flow, {"n": "1"}, run_id="one", env={"API": api.origin})
        worker = Worker(url, environ=environ)
        assert worker.queue.take(worker.owner, 1) == ["one"]  # its answer was lost
        async with anyio.create_task_group() as group:
            group.start_soon(worker.serve)
            assert (await runs.wait("one")).state == "succeeded"
            worker.stop()


@pytest.mark.anyio
async def test_a_run_that_somebody_else_has_comes_back_when_he_dies(state, store, api, flow):
    url, environ = state
    resume = take_lease(store.engine, "resume")
    async with Runs(url, environ=environ) as runs:
        await runs.submit(flow, {"n": "1"}, run_id="one", env={"API": api.origin})
        store.claim("one", resume.owner)
        async with working(state) as worker:
            while worker.queue.owners() != {"resume"}:
                resume.ping()
                await anyio.sleep(0.02)
            assert (await runs.get("one")).state == "running"
            resume.close()
            assert (await runs.wait("one")).state == "succeeded"
        assert worker.queue.owners() == set()
        assert len(api.requests) == 2


@pytest.mark.anyio
async def test_a_stop_does_not_wait_for_an_upload_that_hangs(state, api, flow):
    url, environ = state
    hangs, goes_on = threading.Event(), threading.Event()

    def upload(row, trace):
        hangs.set()
        goes_on.wait(60)
        return ""

    async with Runs(url, environ=environ) as runs:
        await runs.submit(flow, {"n": "1"}, run_id="one", env={"API": api.origin})
        try:
            with anyio.fail_after(25):
                async with working(state, upload=upload, drain=0.1) as worker:
                    await runs.wait("one")
                    assert await to_thread.run_sync(hangs.wait, 20)
            assert worker.is_cut_short
        finally:
            goes_on.set()


def test_a_database_that_is_none_is_told(tmp_path):
    with pytest.raises(SurroundingsError):
        Worker("mysql://nowhere/x")
    lease = FileLease(tmp_path, "a")
    lease.close()
