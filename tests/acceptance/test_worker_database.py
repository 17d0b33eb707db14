"""Workers whose database goes away, or has no room left: they wait, and lose nothing."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress

import pytest

from runner.runtime.store import Store
from runner.runtime.vault import KEY_VARIABLE, new_key
from tests.command import flow_file, here, start
from tests.postgres import OwnServer
from tests.servers import ApiServer, Reply
from tests.workers import PATIENCE, Workers, all_ended, asked, call, submit, until

pytestmark = pytest.mark.timeout(120)  # each starts several processes
STEPS = ("one", "two", "three")
INPUTS = [{"name": "n", "type": "string", "required": True}]


@pytest.fixture
def api():
    with ApiServer(lambda _: Reply(body={"ok": True})) as server:
        yield server


def test_a_database_that_is_started_anew_loses_nothing(tmp_path, api):
    gate = api.hold("/two")
    flow = flow_file(tmp_path, *map(call, STEPS), flow_inputs=INPUTS)
    environ = {KEY_VARIABLE: new_key()}
    with OwnServer(tmp_path) as server, Workers(tmp_path, server.url, environ) as workers:
        store = Store(server.url, environ)
        submit(store, flow, 8, api)
        process = workers.start("--concurrency", 6)
        gate.wait_for(6)
        server.stop()
        gate.release()  # the answers come while there is nothing to write them to
        until(lambda: asked(api)["r0", "two"] == 1)
        refused = here(
            "submit", flow, "-i", "n=1", "-e", "API=x", "--state", server.url, cwd=tmp_path, **environ
        )
        assert refused.returncode == 3
        assert "the state database" in refused.stderr
        server.start()
        until(lambda: _ended(store, 8))
        assert store.counts() == {"succeeded": 8}
        assert {step: {asked(api)[f"r{number}", step] for number in range(8)} for step in STEPS} == {
            step: {1} for step in STEPS
        }
        assert process.poll() is None
        store.close()


@contextmanager
def stopped(server, _):
    """The server is gone for a while."""
    server.stop()
    yield
    server.start()


@contextmanager
def locked(_, store):
    """Whoever wants to read or write a run waits for as long."""
    with store.engine.begin() as connection:
        connection.exec_driver_sql("LOCK TABLE flowspan_runs IN ACCESS EXCLUSIVE MODE")
        yield


@pytest.mark.parametrize(
    ("away", "drain", "signals"), [(stopped, 0.5, 1), (stopped, 3600, 2), (locked, 0.5, 1), (locked, 3600, 2)]
)
def test_a_worker_that_is_told_to_stop_does_so_without_its_database(tmp_path, api, away, drain, signals):
    gate = api.hold("/two")
    flow = flow_file(tmp_path, *map(call, STEPS), flow_inputs=INPUTS)
    environ = {KEY_VARIABLE: new_key()}
    with OwnServer(tmp_path) as server, Workers(tmp_path, server.url, environ) as workers:
        store = Store(server.url, environ)
        submit(store, flow, 2, api)
        process = workers.start("--drain", drain)
        gate.wait_for(2)
        with away(server, store):
            process.send_signal(signal.SIGTERM)
            while "stopping: waiting" not in process.stderr.readline():
                pass
            if signals == 2:
                process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0
            assert "other workers take up what is left" in process.stderr.read()
        gate.release()
        workers.start()
        until(lambda: _ended(store, 2))
        assert store.counts() == {"succeeded": 2}
        assert {asked(api)[run, "one"] for run in ("r0", "r1")} == {1}
        store.close()


def _ended(store, count):
    try:
        return all_ended(store, count)
    except Exception:
        return False


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 3 MB, which can be filled up."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root on Linux can make a file system that is full")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], check=False).returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill(path):
    """Write until there is no room left."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


def test_a_disk_that_is_full_is_told_and_work_goes_on_when_there_is_room(tmp_path, api, small_disk):
    gate = api.hold("/two")
    flow = flow_file(tmp_path, *map(call, STEPS), flow_inputs=INPUTS)
    url = f"sqlite:///{small_disk / 's.db'}"
    store = Store(url, {})
    with Workers(tmp_path, url, {}) as workers:
        submit(store, flow, 4, api)
        process = workers.start()
        gate.wait_for(4)
        filler = small_disk / "filler"
        fill(filler)
        refused = here("submit", flow, "-i", "n=1", "-e", "API=x", "--state", url, cwd=tmp_path)
        assert (refused.returncode, "full" in refused.stderr) == (3, True)
        gate.release()
        line = process.stderr.readline()
        assert "full; trying again until it works" in line
        filler.unlink()
        until(lambda: all_ended(store, 4), PATIENCE)
    assert store.counts() == {"succeeded": 4}
    assert set(asked(api).values()) == {1}
    store.close()


def test_whoever_waits_for_a_run_goes_on_when_the_database_comes_back(tmp_path, api):
    flow = flow_file(tmp_path, call("one"), flow_inputs=INPUTS)
    environ = {KEY_VARIABLE: new_key()}
    with OwnServer(tmp_path) as server, Workers(tmp_path, server.url, environ) as workers:
        words = (
            "submit",
            flow,
            "-i",
            "n=1",
            "-e",
            f"API={api.origin}",
            "--state",
            server.url,
            "--id",
            "w",
            "--wait",
        )
        waiting = start(*words, cwd=tmp_path, **environ)
        assert "is in the queue" in waiting.stderr.readline()
        server.stop()
        assert "the run goes on" in waiting.stderr.readline()
        server.start()
        workers.start()
        _, err = waiting.communicate(timeout=PATIENCE)
        assert (waiting.returncode, err) == (0, "")
        again = here(*words, cwd=tmp_path, **environ)
        assert again.returncode == 0
        assert "is in the queue" not in again.stderr
