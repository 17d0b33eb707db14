"""Of the runs with one concurrency key only as many are at work as the flow allows, on whatever worker."""

import threading
from collections import Counter

import anyio
import pytest

from runner import FlowError, Runs, Worker, check, load
from tests.command import flow_file
from tests.servers import ApiServer, Reply

INPUTS = [{"name": "who", "type": "string", "required": True}]
STEP = {"id": "a", "method": "GET", "url": "{{env.API}}/a?who={{input.who}}"}
KEY = "customer-{{input.who}}"


class Counting:
    """Answers after a moment, and knows how many of each were there at once."""

    def __init__(self):
        self.lock, self.now, self.most, self.all = threading.Lock(), Counter(), Counter(), 0

    async def __call__(self, request):
        import asyncio

        who = request.query["who"][0]
        self.now[who] += 1
        self.most[who] = max(self.most[who], self.now[who])
        self.all = max(self.all, self.now.total())
        await asyncio.sleep(0.05)
        self.now[who] -= 1
        return Reply(body={})


@pytest.fixture
def counting():
    return Counting()


@pytest.fixture
def api(counting):
    with ApiServer(counting) as server:
        yield server


def keyed(tmp_path, **config):
    return flow_file(tmp_path, STEP, flow_inputs=INPUTS, config={"concurrencyKey": KEY, **config})


@pytest.mark.anyio
@pytest.mark.parametrize(("limit", "config"), [(1, {}), (2, {"maxConcurrencyPerKey": 2})])
async def test_runs_of_one_key_overlap_no_more_than_allowed(tmp_path, state, api, counting, limit, config):
    url, environ = state
    flow = keyed(tmp_path, **config)
    workers = [Worker(url, environ=environ, concurrency=9) for _ in range(2)]
    async with Runs(url, environ=environ) as runs, anyio.create_task_group() as group:
        ids = []
        for number in range(12):
            who = "ab"[number % 2]
            ids.append((await runs.submit(flow, {"who": who}, env={"API": api.origin})).row.id)
        for worker in workers:
            group.start_soon(worker.serve)
        for run_id in ids:
            assert (await runs.wait(run_id)).state == "succeeded"
        for worker in workers:
            worker.stop()
    assert counting.most == {"a": limit, "b": limit}


@pytest.mark.anyio
async def test_a_run_that_is_cancelled_delayed_or_repeated_keeps_its_place_free(
    tmp_path, state, api, counting
):
    url, environ = state
    flow = keyed(tmp_path)
    given = {"env": {"API": api.origin}}
    async with Runs(url, environ=environ) as runs:
        await runs.submit(flow, {"who": "a"}, run_id="first", **given)
        await runs.submit(flow, {"who": "a"}, run_id="usual", **given)
        await runs.submit(flow, {"who": "a"}, run_id="urgent", priority=5, **given)
        await runs.submit(flow, {"who": "a"}, run_id="late", delay=3600, priority=9, **given)
        assert [(await runs.get(one)).admitted for one in ("first", "usual", "urgent")] == [
            True,
            False,
            False,
        ]
        await runs.cancel("first")
        ended = []
        worker = Worker(url, environ=environ, ended=lambda run_id, *_: ended.append(run_id))
        async with anyio.create_task_group() as group:
            group.start_soon(worker.serve)
            await runs.wait("usual")
            worker.stop()
        assert ended == ["urgent", "usual"]
        assert (await runs.get("late")).admitted is False


def test_the_key_stands_in_the_database_as_a_fingerprint(store):
    first, second = store.vault.fingerprint("customer-a"), store.vault.fingerprint("customer-b")
    assert first == store.vault.fingerprint("customer-a") != second
    assert len(first) == 32


def test_a_key_may_only_name_what_is_known_before_a_run(tmp_path):
    wrong = flow_file(tmp_path, STEP, flow_inputs=INPUTS, config={"concurrencyKey": "{{a.id}}"})
    [problem] = [one for one in check(load(wrong)) if one.is_error]
    assert (problem.code, problem.where) == ("flow.concurrency_key", "config.concurrencyKey")
    broken = flow_file(tmp_path, STEP, flow_inputs=INPUTS, config={"concurrencyKey": "{{input.who"})
    assert [one.where for one in check(load(broken)) if one.is_error] == ["config.concurrencyKey"]


@pytest.mark.anyio
async def test_a_key_without_a_value_is_told_and_nothing_is_taken_in(tmp_path, state):
    url, environ = state
    flow = flow_file(tmp_path, {"id": "a", "set": {"x": "1"}}, config={"concurrencyKey": "{{env.NOBODY}}"})
    async with Runs(url, environ=environ) as runs:
        with pytest.raises(FlowError, match="NOBODY"):
            await runs.submit(flow)
        assert await runs.counts() == {}
