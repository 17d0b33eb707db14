"""The queue of the state database: which run is next, and for whom. DBOS keeps it.

Only this module knows the engine, so that another can take its place. It gets nothing of a run but
its id. Its row is there from the submission to the end of the run, and so nothing of it can be lost
between the two: whoever dies leaves it to be given to somebody else.

Of DBOS it uses the tables and the statements, and not the runtime: that keeps threads and a pool of
its own for each process, and asks the database five times a run for what a worker does once a batch.
What is not public there is used only here, and `tests/runtime/test_queue.py` fails when it moves.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Final

from runner.errors import SurroundingsError
from runner.runtime.database import INSTALL
from runner.runtime.store import ENDED, RunRow, Store

if TYPE_CHECKING:  # the core install does not have it
    from dbos import EnqueueOptions
    from sqlalchemy import ColumnElement, Connection

_MOST_ADMITTED: Final = 64
NAME: Final = "flows"
VERSION: Final = "1"  # never DBOS's own, which changes with the code and would strand what waits
MOST_URGENT: Final = 1_000_000
_MIDDLE: Final = MOST_URGENT + 1


class Queue:
    """The queue in the database of a store; its tables are made when they are not there.

    `most_everywhere` is how many runs may be taken at once, by all workers that say so together. Every
    method is one transaction unless it is given a connection, may be called from any thread, and raises
    SurroundingsError when the database cannot do it.
    """

    def __init__(self, store: Store, most_everywhere: int | None = None) -> None:
        self._store, self._tables = store, store.tables
        # Its console handler is only added where there is none, and it would write to our stderr.
        logging.getLogger("dbos").addHandler(logging.NullHandler())
        try:
            from dbos import DBOSClient, DBOSPortableJSONSerializer
            from dbos._queue import _INTERNAL_QUEUE_CONSTRUCTION
            from dbos._queue import Queue as Limits
            from sqlalchemy import MetaData
        except ImportError as error:
            raise SurroundingsError(f"a queue needs more packages: {INSTALL}") from error
        with store.told():
            self._client = DBOSClient(
                system_database_engine=store.engine, serializer=DBOSPortableJSONSerializer(),
                application_name="flowspan", lazy=True, retry_connection_errors=False,
            )  # fmt: skip
            self._engine: Any = self._client._sys_db  # noqa: SLF001 - see above
            self._engine.run_migrations()
        self._limits: Any = Limits(NAME, token=_INTERNAL_QUEUE_CONSTRUCTION)
        self._limits._concurrency = most_everywhere  # noqa: SLF001
        # With its real schema, so that it can be used on any connection to the database.
        rows: Any = self._engine.tables.workflow_status
        self._rows = rows.to_metadata(MetaData(), schema=self._engine.schema)

    # --- whoever submits

    def put_in(self, connection: Connection, row: RunRow, delay: float | None = None) -> None:
        """Take a run that was just added, in a transaction of the caller; `delay` is in seconds.

        One with a concurrency key gets into the queue when those before it leave room for it.
        """
        if row.concurrency_key is None:
            self.enqueue_in(connection, row.id, row.priority, delay)
        else:
            self.admit_in(connection, row.concurrency_key)

    def admit_in(self, connection: Connection, key: str) -> None:
        """Let runs of a concurrency key into the queue, as many as there is room for."""
        for run_id, priority in self._next_of(connection, key):
            self.enqueue_in(connection, run_id, priority)

    def admit(self) -> None:
        """Do so for every key of which runs wait: their time has come, or one before them was cancelled."""
        for key in self._keys_waiting():
            with self._store.begin() as connection:
                self.admit_in(connection, key)

    def enqueue_in(
        self, connection: Connection, run_id: str, priority: int = 0, delay: float | None = None
    ) -> None:
        """Put a run into the queue, in a transaction of the caller; `delay` is in seconds.

        The higher its `priority` (-1 000 000 to 1 000 000), the sooner it is taken.
        """
        options: EnqueueOptions = {
            "workflow_name": "run",
            "queue_name": NAME,
            "workflow_id": run_id,
            "app_version": VERSION,
            "priority": _MIDDLE - priority,
        }
        if delay:
            options["delay_seconds"] = delay
        self._client.enqueue_in_transaction(connection, options)

    # --- whoever works

    def take(self, owner: str, most: int) -> list[str]:
        """Become the one who has the next runs, at most so many, and return their ids in order."""
        if most <= 0:
            return []
        self._limits._worker_concurrency = most  # noqa: SLF001
        from sqlalchemy.exc import DBAPIError

        with self._store.told():
            try:
                ids, _ = self._engine.start_queued_workflows(
                    self._limits, owner, VERSION, None, 0, owner_xid=os.urandom(8).hex()
                )
            except DBAPIError as error:
                if self._engine.is_lock_conflict(error) or self._engine.is_serialization_conflict(error):
                    return []  # somebody else is just taking from a queue that has a limit
                raise
        taken: list[str] = ids
        return taken

    def wake(self) -> None:
        """Let those be taken whose delay is over."""
        with self._store.told():
            self._engine.transition_delayed_workflows()

    def taken_by(self, owner: str) -> list[str]:
        """Return the runs that somebody has taken and not given back."""
        with self._store.told():
            return [one.workflow_id for one in self._engine.get_pending_workflows(owner, VERSION)]

    def owners(self) -> set[str]:
        """Return who has taken runs and not given them back."""
        from sqlalchemy import select

        of_ours = (self._rows.c.queue_name == NAME) & (self._rows.c.status == "PENDING")
        query = select(self._rows.c.executor_id).where(of_ours).distinct()
        with self._store.told(), self._store.engine.connect() as connection:
            return set(connection.execute(query).scalars())

    def give_back(self, owner: str, ids: Collection[str]) -> list[str]:
        """Let runs be taken anew that this owner has; returns those that it had indeed."""
        with self._store.told():
            return [one for one in ids if self._engine.reenqueue_for_recovery(one, [owner], NAME)]

    def leave_to(self, owner: str, ids: Collection[str]) -> None:
        """Note that somebody else has runs, who did not take them here: they are given back when he dies."""
        theirs = self._rows.update().where(self._rows.c.workflow_uuid.in_(list(ids)))
        with self._store.begin() as connection:
            connection.execute(theirs.values(executor_id=owner))

    def forget_in(self, connection: Connection, ids: Collection[str]) -> None:
        """Take runs that have ended out of the queue, and let those in that waited for it.

        In a transaction of the caller, which has written before that they have ended.
        """
        connection.execute(self._rows.delete().where(self._rows.c.workflow_uuid.in_(list(ids))))
        for key in self._keys_in(connection, ids):
            self.admit_in(connection, key)

    def forget(self, ids: Collection[str]) -> None:
        """Take runs that have ended out of the queue."""
        with self._store.begin() as connection:
            self.forget_in(connection, ids)

    # --- concurrency keys

    def _keys_in(self, connection: Connection, ids: Collection[str]) -> list[str]:
        """Return the concurrency keys of runs, in a transaction of the caller."""
        runs = self._tables.runs
        query = self._tables.select(runs.c.concurrency_key).where(
            runs.c.id.in_(list(ids)), runs.c.concurrency_key.is_not(None)
        )
        return sorted(set(connection.execute(query).scalars()))

    def _keys_waiting(self) -> list[str]:
        """Return the concurrency keys of which runs wait that might be admitted by now."""
        runs = self._tables.runs
        query = self._tables.select(runs.c.concurrency_key).where(*self._waiting(time.time_ns()))
        with self._store.told(), self._store.engine.connect() as connection:
            return sorted(connection.execute(query.distinct()).scalars())

    def _waiting(self, now: int) -> tuple[ColumnElement[bool], ...]:
        runs = self._tables.runs
        in_time = runs.c.not_before.is_(None) | (runs.c.not_before <= now)
        return runs.c.admitted.is_(False), runs.c.state == "queued", in_time

    def _next_of(self, connection: Connection, key: str) -> list[tuple[str, int]]:
        """Admit the next runs of a concurrency key, in a transaction of the caller: (run, priority) each."""
        runs = self._tables.runs
        self._tables.lock_key(connection, key)
        ours = runs.c.concurrency_key == key
        count = self._tables.select(self._tables.func.count()).where(
            ours, runs.c.admitted, runs.c.state.notin_(ENDED)
        )
        busy: int = connection.execute(count).scalar_one()
        query = self._tables.select(runs.c.id, runs.c.priority, runs.c.concurrency_limit)
        query = query.where(ours, *self._waiting(time.time_ns()))
        found = []
        for one in connection.execute(
            query.order_by(runs.c.priority.desc(), runs.c.created, runs.c.id).limit(_MOST_ADMITTED)
        ):
            if busy >= one.concurrency_limit:
                break
            busy += 1
            found.append((one.id, one.priority))
        change = runs.update().where(runs.c.id.in_([run_id for run_id, _ in found])).values(admitted=True)
        connection.execute(change)
        return found
