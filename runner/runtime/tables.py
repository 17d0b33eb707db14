"""The tables of the state database, and how its engines are opened. Imports SQLAlchemy."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Engine,
    Index,
    Insert,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    case,
    cast,
    create_engine,
    event,
    func,
    literal,
    make_url,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError

BUSY_SECONDS: Final = 30
_LOCK: Final = 0x666C6F77  # "flow": two processes must not create the tables at once

__all__ = [
    "case",
    "claims",
    "contents",
    "create",
    "files",
    "func",
    "insert_new",
    "keys",
    "open_engine",
    "reserve_turns",
    "rows",
    "runs",
    "select",
]

metadata = MetaData()

runs: Final = Table(
    "flowspan_runs",
    metadata,
    Column("id", String(128), primary_key=True),
    Column("flow", Text, nullable=False),
    Column("origin", String(128), nullable=False),
    Column("execution", String(26), nullable=False),
    Column("trace", String(32), nullable=False),
    Column("state", String(16), nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("started", BigInteger),
    Column("ended", BigInteger),
    Column("epoch", Integer, nullable=False, default=0),
    Column("handovers", Integer, nullable=False, default=0),
    Column("priority", Integer, nullable=False, default=0),
    Column("owner", Text, nullable=False, default=""),
    Column("reason", Text, nullable=False, default=""),
    Column("previous", String(128)),
    Column("concurrency_key", Text),
    Column("concurrency_limit", Integer),
    Column("admitted", Boolean, nullable=False, default=True),
    Column("not_before", BigInteger),
    Column("cancelled", Boolean, nullable=False, default=False),
    Column("upload_due", BigInteger),
    Column("upload_tries", Integer, nullable=False, default=0),
    Column("given", LargeBinary, nullable=False),
    Column("result", LargeBinary),
    Column("spans", LargeBinary),
)
Index("flowspan_runs_created", runs.c.created)
Index("flowspan_runs_key", runs.c.concurrency_key, runs.c.admitted, runs.c.state)
Index("flowspan_runs_upload", runs.c.upload_due)
Index("flowspan_runs_state", runs.c.state, runs.c.created)

rows: Final = Table(
    "flowspan_rows",
    metadata,
    Column("run", String(128), primary_key=True),
    Column("path", Text, primary_key=True),
    Column("seq", Integer, nullable=False),
    Column("kind", String(8), nullable=False),
    Column("data", LargeBinary, nullable=False),
)

claims: Final = Table(  # who has carried the run on; `ended` when it was given back
    "flowspan_claims",
    metadata,
    Column("run", String(128), primary_key=True),
    Column("epoch", Integer, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("began", BigInteger, nullable=False),
    Column("ended", BigInteger),
)

files: Final = Table(  # the documents and files that a run needs, by path; equal ones are kept once
    "flowspan_files",
    metadata,
    Column("run", String(128), primary_key=True),
    Column("path", Text, primary_key=True),
    Column("hash", String(64), nullable=False, index=True),
)

contents: Final = Table(
    "flowspan_contents",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column("data", LargeBinary, nullable=False),
)

keys: Final = Table(  # one row, which opens only for those who have the key
    "flowspan_keys",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("canary", LargeBinary, nullable=False),
)

turns: Final = Table(  # when the next request may go to a host, in ns of the clock of `reserve_turns`
    "flowspan_turns",
    metadata,
    Column("host", String(64), primary_key=True),  # its SHA-256: an input may be in it
    Column("free", BigInteger, nullable=False),
)


def open_engine(url: str) -> Engine:
    """Return an engine for the url; the folder of a SQLite file is made."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        if parsed.database:
            Path(parsed.database).resolve().parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(parsed, connect_args={"timeout": BUSY_SECONDS})
        event.listen(engine, "connect", _set_up_sqlite)
        return engine
    if parsed.get_backend_name() != "postgresql":
        raise ArgumentError("no such kind of state database")
    parsed = parsed.set(drivername="postgresql+psycopg")
    # A server that is not there any more must not be waited for as long as TCP would.
    silent = {"connect_timeout": 10, "tcp_user_timeout": 10_000, "keepalives_idle": 5}
    return create_engine(parsed, pool_pre_ping=True, pool_size=5, max_overflow=10, connect_args=silent)


def close_engine(engine: Engine) -> None:
    """Close every connection, one that a thread still has as soon as the thread gives it back."""
    event.listen(engine.pool, "checkin", lambda _, record: record.invalidate())
    engine.dispose()


def _set_up_sqlite(connection: Any, _: object) -> None:  # noqa: ANN401 - whatever the driver hands over
    connection.isolation_level = "IMMEDIATE"
    for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={BUSY_SECONDS * 1000}"):
        connection.execute(f"PRAGMA {pragma}").close()
    if sqlite3.sqlite_version_info < (3, 42):
        # The queue's engine asks for parts of a second, which older libraries do not have.
        connection.create_function("unixepoch", -1, _unixepoch)


def _unixepoch(*arguments: str) -> float:
    return time.time() if "subsec" in arguments else int(time.time())


def create(connection: Connection) -> None:
    """Make the tables that are missing; one process at a time."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
    metadata.create_all(connection)


def insert_new(connection: Connection, table: Table) -> Insert:
    """Return an insert that leaves rows alone whose key is there already."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table).on_conflict_do_nothing()
    return sqlite.insert(table).on_conflict_do_nothing()


def reserve_turns(connection: Connection, host: str, length: int) -> int:
    """Reserve `length` ns for the requests to a host; returns how many ns from now they begin.

    Servers have one clock that all their clients can ask; a file belongs to one machine.
    """
    now: Any = literal(time.time_ns(), BigInteger)
    later: Any = func.max
    insert: Any = sqlite.insert
    if connection.dialect.name == "postgresql":
        now = cast(func.extract("epoch", func.clock_timestamp()) * 1_000_000_000, BigInteger)
        later, insert = func.greatest, postgresql.insert
    new = insert(turns).values(host=host, free=now + length)
    moved = {"free": later(turns.c.free, now) + length}
    reserved = new.on_conflict_do_update(index_elements=["host"], set_=moved).returning(turns.c.free - now)
    return int(connection.execute(reserved).scalar_one()) - length


def lock_key(connection: Connection, key: str) -> None:
    """Keep others from counting the runs of a concurrency key, until the commit."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK + 2}, hashtext('{key}'))")


def lock_contents(connection: Connection, *, shared: bool) -> None:
    """Keep contents from being swept while a run that needs them is being added, until the commit."""
    if connection.dialect.name == "postgresql":
        kind = "_shared" if shared else ""
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock{kind}({_LOCK + 1})")
