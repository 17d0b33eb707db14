"""The queue port, on both kinds of database; fails too when what it uses of the engine has moved."""

import logging

import pytest
from dbos import DBOSClient
from dbos._queue import Queue as Limits
from dbos._sys_db import SystemDatabase

from runner.errors import SurroundingsError
from runner.runtime.database import StateError
from runner.runtime.groups import Outage
from runner.runtime.queue import MOST_URGENT, Queue
from runner.runtime.state import new_row


@pytest.fixture
def queue(store):
    return Queue(store)


def put(store, queue, *ids, **how):
    with store.begin() as connection:
        for run_id in ids:
            store.add_in(connection, new_row(run_id, "f", None), {}, {})
            queue.enqueue_in(connection, run_id, **how)


def test_what_is_used_of_the_engine_is_where_it_was():
    for name in (
        "start_queued_workflows", "reenqueue_for_recovery", "get_pending_workflows", "run_migrations",
        "transition_delayed_workflows", "is_lock_conflict", "is_serialization_conflict",
    ):  # fmt: skip
        assert callable(getattr(SystemDatabase, name)), name
    assert callable(DBOSClient.enqueue_in_transaction)
    assert Limits.__init__.__kwdefaults__["token"] is None


def test_runs_are_taken_once_in_the_order_of_their_priority(store, queue):
    put(store, queue, "usual-1")
    put(store, queue, "usual-2")
    put(store, queue, "late", priority=-MOST_URGENT)
    put(store, queue, "soon", priority=1)
    assert queue.take("me", 2) == ["soon", "usual-1"]
    assert queue.take("you", 9) == ["usual-2", "late"]
    assert queue.take("me", 9) == []
    assert queue.take("me", 0) == []
    assert queue.owners() == {"me", "you"}
    assert sorted(queue.taken_by("me")) == ["soon", "usual-1"]


def test_a_run_is_given_back_only_by_whoever_has_it(store, queue):
    put(store, queue, "a", "b")
    queue.take("me", 2)
    assert queue.give_back("you", ["a", "b"]) == []
    assert queue.give_back("me", ["a", "nothing"]) == ["a"]
    assert queue.give_back("me", ["a"]) == []
    assert queue.take("you", 9) == ["a"]


def test_what_is_forgotten_is_not_taken_again(store, queue):
    put(store, queue, "a", "b")
    queue.take("me", 1)
    queue.forget(["a", "b"])
    assert queue.owners() == set()
    assert queue.take("you", 9) == []


def test_a_run_that_is_to_wait_is_taken_when_its_time_has_come(store, queue):
    put(store, queue, "later", delay=3600.0)
    put(store, queue, "soon", delay=0.001)
    taken = []
    while not taken:
        queue.wake()
        taken = queue.take("me", 9)
    assert taken == ["soon"]


def test_no_more_are_taken_than_are_allowed_everywhere(store):
    first, second = Queue(store, 3), Queue(store, 3)
    put(store, first, *"abcde")
    assert len(first.take("me", 2)) == 2
    assert len(second.take("you", 9)) == 1
    assert first.take("me", 9) == []
    first.forget(first.taken_by("you"))
    assert len(second.take("you", 9)) == 1


def test_a_transaction_that_fails_leaves_nothing_in_the_queue(store, queue):
    connection = store.engine.connect()
    if store.is_sqlite:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    store.add_in(connection, new_row("a", "f", None), {}, {})
    queue.enqueue_in(connection, "a")
    connection.close()
    assert store.get("a") is None
    assert queue.take("me", 9) == []


def test_the_engine_gets_nothing_but_the_id_and_writes_to_no_stream(store, queue, capfd):
    put(store, queue, "a")
    [kept] = store_rows(store, queue)
    assert kept["workflow_uuid"] == "a"
    of_ours = {"name": "run", "queue_name": "flows", "application_name": "flowspan"}
    assert {key: kept[key] for key in of_ours} == of_ours
    assert {key for key in ("inputs", "output", "error", "attributes") if kept[key]} == set()
    logging.getLogger("dbos").warning("something")
    assert capfd.readouterr() == ("", "")


def store_rows(store, queue):
    with store.engine.connect() as connection:
        return list(connection.execute(queue._rows.select()).mappings())


def test_without_its_packages_the_line_that_installs_them_is_told(store, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "dbos", None)
    with pytest.raises(SurroundingsError, match=r"pip install 'flowspan-runner\[worker\]'"):
        Queue(store)


def test_an_outage_is_told_at_its_beginning_and_its_end(caplog):
    outage = Outage()
    outage.over()
    waits = [outage.wait(StateError("it is away")) for _ in range(7)]
    outage.over()
    outage.over()
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    told = [record.getMessage() for record in caplog.records]
    assert told == ["it is away; trying again until it works", "the state database works again"]
