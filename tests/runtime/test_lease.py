"""Who is alive is known from outside: dead at once, frozen after its time to live (SEMANTICS, Liveness)."""

import signal
import subprocess
import sys
import threading
import time

import pytest
from sqlalchemy import event

from runner.errors import SurroundingsError
from runner.runtime.lease import FileLease, LostError, new_owner, take_lease
from runner.runtime.tables import open_engine
from tests.command import environment

TTL = 1.0
HOLDER = """
import sys, time
from runner.runtime.lease import take_lease
from runner.runtime.tables import open_engine
lease = take_lease(open_engine(sys.argv[1]), sys.argv[2], float(sys.argv[3]))
print("held", flush=True)
while True:
    lease.ping()
    time.sleep(0.1)
"""


@pytest.fixture
def engine(state):
    made = open_engine(state[0])
    yield made
    made.dispose()


@pytest.fixture
def other(state):
    """A process that holds a lease as `other` and keeps it."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, state[0], "other", str(TTL)],
        env=environment(),
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def until(condition, seconds=15):
    """Look until something is so; the time that it took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds
        time.sleep(0.05)
    return time.monotonic() - started


def test_a_process_is_alive_until_it_is_killed(engine, other):
    lease = take_lease(engine, new_owner(), 30)
    assert not lease.is_dead("other")
    assert lease.is_dead("nobody")
    other.kill()
    other.wait()
    until(lambda: lease.is_dead("other"))
    lease.close()


def test_a_frozen_process_counts_as_dead_once_its_time_to_live_is_over(engine, other):
    lease = take_lease(engine, new_owner(), 30 if engine.dialect.name != "sqlite" else TTL)
    other.send_signal(signal.SIGSTOP)

    def is_dead():
        lease.ping()
        return lease.is_dead("other")

    assert until(is_dead) > TTL / 2
    other.send_signal(signal.SIGCONT)
    lease.close()


def test_a_lease_that_was_given_up_counts_no_more(engine):
    mine, yours = take_lease(engine, "a"), take_lease(engine, "b")
    assert not mine.is_dead("b")
    yours.close()
    assert mine.is_dead("b")
    mine.close()


def test_a_lease_whose_file_is_gone_is_lost(tmp_path):
    lease = FileLease(tmp_path, "a")
    (tmp_path / "a").unlink()
    with pytest.raises(LostError):
        lease.ping()
    lease.close()


def test_a_process_counts_as_dead_only_when_that_is_known(tmp_path):
    lease = FileLease(tmp_path, new_owner())
    (tmp_path / "hidden").symlink_to("hidden")  # what cannot be opened, not even by root
    with pytest.raises(LostError, match=r"cannot look at the lease .*hidden"):
        lease.is_dead("hidden")
    assert lease.is_dead("never-there")
    lease.close()


def test_a_session_that_the_server_ended_is_lost_and_can_be_taken_anew(engine):
    if engine.dialect.name == "sqlite":
        pytest.skip("a file has no session")
    lease, eye = take_lease(engine, "a"), take_lease(engine, "b")
    with engine.connect() as connection:
        here = "database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        ended = f"SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND {here} AND pid NOT IN"
        connection.exec_driver_sql(f"{ended} (SELECT pid FROM pg_locks WHERE objid = {_number('b')})")
    with pytest.raises(LostError):
        lease.ping()
    until(lambda: eye.is_dead("a"))
    lease.renew()
    lease.ping()
    assert not eye.is_dead("a")
    for one in (lease, eye):
        one.close()


def test_two_threads_take_turns_with_the_session_of_a_lease(engine):
    if engine.dialect.name == "sqlite":
        pytest.skip("a file has no session")
    lease = take_lease(engine, "a")
    both, looking = threading.Event(), threading.Thread(target=lease.is_dead, args=("b",))
    met = []

    @event.listens_for(engine, "before_cursor_execute")
    def meet(connection, cursor, statement, *_):
        if statement == "SELECT 1":
            looking.start()
            met.append(both.wait(0.5))
        elif "try_advisory" in statement:
            both.set()

    lease.ping()
    looking.join()
    lease.close()
    assert met == [False]


def _number(owner):
    from runner.runtime.lease import _number

    return _number(owner) % 2**32  # as the server shows it


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SurroundingsError, match="cannot take a lease"):
        FileLease(tmp_path / "file", "a")
