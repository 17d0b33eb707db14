"""Workers that are killed and frozen again and again under load; the long ones run in `make soak`."""

import random
import signal
import threading
import time

import pytest

from tests.command import flow_file
from tests.servers import ApiServer, Reply
from tests.workers import Workers, all_ended, call, check_traces, repeats, submit, until

pytestmark = pytest.mark.timeout(120)  # each starts several processes
STEPS = [f"s{number}" for number in range(6)]
INPUTS = [{"name": "n", "type": "string", "required": True}]
PICK_UP = 3.0  # on a machine that does nothing else


class Chaos:
    """Three workers under load, one of which is always in trouble."""

    def __init__(self, workers, store, api, flow, seed, concurrency):
        self.workers, self.store, self.api, self.flow = workers, store, api, flow
        self.dice = random.Random(seed)
        self.words = ("--concurrency", concurrency, "--max-deaths", 1000)
        self.asleep = []
        self.troubles = 0

    def run(self, count, signals, clock, every, *, wait):
        """Run so many to their end, with a signal to somebody whenever the clock has gone on so far."""
        alive = [self.workers.start(*self.words) for _ in range(3)]
        ids = submit(self.store, self.flow, count, self.api)
        next_at = clock() + every
        while not all_ended(self.store, count):
            if clock() > next_at:
                victim = alive.pop(self.dice.randrange(3))
                self._trouble(victim, self.dice.choice(signals))
                alive.append(self.workers.start(*self.words, wait=wait))
                next_at = clock() + every
            time.sleep(0.05)
        for timer in self.asleep:
            timer.join()
        return ids

    def _trouble(self, victim, number):
        self.troubles += 1
        victim.send_signal(number)
        if number == signal.SIGSTOP:
            self.asleep.append(threading.Timer(8, victim.send_signal, [signal.SIGCONT]))
            self.asleep[-1].start()


@pytest.fixture
def api():
    with ApiServer(lambda _: Reply(body={"ok": True}, delay=0.1)) as server:
        yield server


@pytest.fixture
def workers(tmp_path, state):
    with Workers(tmp_path, *state) as started:
        yield started


@pytest.fixture
def flow(tmp_path):
    return flow_file(tmp_path, *map(call, STEPS), flow_inputs=INPUTS)


def killed_in_flight(workers, store, api, flow, step):
    """Kill a worker with 20 runs in this step beside one with as many; how long until others have them."""
    gate = api.hold(f"/{step}")
    victim = workers.start("--concurrency", 20)
    ids = submit(store, flow, 20, api, prefix="v")
    gate.wait_for(20)
    workers.start("--concurrency", 40)
    ids += submit(store, flow, 20, api, prefix="o")
    gate.wait_for(40)
    victim.kill()
    took = until(lambda: all(row.epoch == 2 for row in store.runs() if row.id.startswith("v")))
    print(f"20 runs were picked up after {took:.2f} s")
    gate.wait_for(60)
    gate.release()
    until(lambda: all_ended(store, 40))
    assert store.counts() == {"succeeded": 40}
    assert repeats(store, api, ids) == 20
    check_traces(store, ids, STEPS)
    return took


def test_the_runs_of_a_killed_worker_go_on_elsewhere(workers, store, api, flow):
    killed_in_flight(workers, store, api, flow, STEPS[1])


def check(chaos, ids):
    store, api = chaos.store, chaos.api
    assert store.counts() == {"succeeded": len(ids)}
    again = repeats(store, api, ids)  # fails for a completed step that was called again
    check_traces(store, ids, STEPS)
    owners = {part.owner for run_id in ids for part in store.parts(run_id)}
    print(
        f"{len(ids)} runs, {chaos.troubles} troubles, {len(owners)} workers, {again} steps in flight repeated"
    )


def test_a_little_chaos_loses_nothing_and_repeats_nothing_that_was_done(workers, store, api, flow):
    chaos = Chaos(workers, store, api, flow, 7, 4)
    # Counted by what is done, so that a machine where nothing gets on kills nobody either.
    ids = chaos.run(24, [signal.SIGKILL], lambda: len(api.requests), 30, wait=False)
    assert chaos.troubles >= 2
    check(chaos, ids)


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("signals", [[signal.SIGKILL], [signal.SIGSTOP], [signal.SIGKILL, signal.SIGSTOP]])
def test_much_chaos_loses_nothing_and_repeats_nothing_that_was_done(workers, store, api, flow, signals):
    chaos = Chaos(workers, store, api, flow, 11, 4)
    check(chaos, chaos.run(300, signals, time.monotonic, 1.5, wait=True))


@pytest.mark.soak
def test_the_runs_of_a_killed_worker_are_picked_up_within_three_seconds(workers, store, api, flow):
    assert killed_in_flight(workers, store, api, flow, STEPS[1]) < PICK_UP
