"""Who is alive: each process that carries runs on holds a lease that others can look at.

With SQLite it is a locked file that is touched every second: the lock falls when the process dies,
and a process that is stopped keeps its lock but touches nothing. With PostgreSQL it is a session's
advisory lock, which the server itself gives up when the session has been silent for the time to live.
SEMANTICS, Liveness.
"""

from __future__ import annotations

import fcntl
import os
import socket
import threading
import time
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from runner.errors import SurroundingsError

if TYPE_CHECKING:  # the core install does not have it
    from sqlalchemy import Connection, Engine

LEASE_TTL: Final = 5.0
_SPACE: Final = 0x6C656173  # the first of the two numbers of an advisory lock of ours


def new_owner() -> str:
    """Return a name for this process that no other ever has."""
    return f"{socket.gethostname()}-{os.getpid()}-{os.urandom(4).hex()}"


class LostError(SurroundingsError):
    """The lease is gone: others may have taken our runs over."""


class Lease(Protocol):
    """The lease of this process, and its eye on those of others."""

    owner: str

    def ping(self) -> None:
        """Keep the lease; raises LostError when it is gone. Call it every second."""

    def is_dead(self, owner: str) -> bool:
        """Tell whether another process is gone. A stopped one counts as dead on the second look.

        Raises LostError when it cannot be found out.
        """

    def close(self) -> None:
        """Give the lease up."""


class FileLease:
    """A lease on one machine: a file in `folder`, locked and touched. Raises SurroundingsError."""

    def __init__(self, folder: Path, owner: str, ttl: float = LEASE_TTL) -> None:
        self.owner = owner
        self._folder, self._ttl = folder, ttl
        self._looks: dict[str, float] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = os.open(folder / owner, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise SurroundingsError(f"cannot take a lease in {folder}: {error.strerror}") from error

    def ping(self) -> None:
        """Touch the file."""
        try:
            os.utime(self._folder / self.owner)
        except OSError as error:
            raise LostError("the lease is gone: its file was taken away") from error

    def is_dead(self, owner: str) -> bool:
        """Tell whether nobody holds the lock, or whoever does has not touched the file for the ttl, twice."""
        path = self._folder / owner
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        except OSError as error:  # it is hidden from us, or no descriptor is left
            raise LostError(f"cannot look at the lease {path}: {error.strerror}") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return self._is_frozen(owner, os.fstat(file).st_mtime)
        else:
            with suppress(OSError):  # the folder may be another user's
                path.unlink()
            return True
        finally:
            os.close(file)

    def _is_frozen(self, owner: str, touched: float) -> bool:
        seen = self._looks.get(owner)
        if time.time() - touched <= self._ttl:
            self._looks.pop(owner, None)
            return False
        self._looks[owner] = touched
        return seen == touched

    def close(self) -> None:
        """Take the file away and let go of the lock."""
        with suppress(OSError):
            (self._folder / self.owner).unlink()
        os.close(self._file)


class DatabaseLease:
    """A lease on any machine: a session of PostgreSQL that is pinged, and its advisory lock.

    May be used from any thread; they take turns, as a session does one thing at a time.
    """

    def __init__(self, engine: Engine, owner: str, ttl: float = LEASE_TTL) -> None:
        self.owner = owner
        self._engine, self._ttl = engine, ttl
        self._turn = threading.Lock()
        self._session = self._take()

    def _take(self) -> Connection:
        from sqlalchemy.exc import SQLAlchemyError

        try:
            session = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            # The server ends the session, and the lock with it, when nothing was heard for so long.
            session.exec_driver_sql(f"SET idle_session_timeout = '{int(self._ttl * 1000)}ms'")
            session.exec_driver_sql(f"SELECT pg_advisory_lock({_SPACE}, {_number(self.owner)})")
        except SQLAlchemyError as error:
            raise LostError("cannot take a lease: the state database does not answer") from error
        return session

    def ping(self) -> None:
        """Let the server hear of us."""
        from sqlalchemy.exc import SQLAlchemyError

        with self._turn:
            try:
                self._session.exec_driver_sql("SELECT 1")
            except SQLAlchemyError as error:
                self._session.invalidate()
                raise LostError("the lease is gone: the state database ended the session") from error

    def renew(self) -> None:
        """Take the lease anew after it was lost; raises LostError."""
        with self._turn:
            self._session.close()
            self._session = self._take()

    def is_dead(self, owner: str) -> bool:
        """Tell whether nobody holds the lock of that name."""
        from sqlalchemy.exc import SQLAlchemyError

        number = _number(owner)
        try:
            with self._turn:
                free = self._session.exec_driver_sql(
                    f"SELECT pg_try_advisory_lock({_SPACE}, {number})"
                ).scalar()
                if free:
                    self._session.exec_driver_sql(f"SELECT pg_advisory_unlock({_SPACE}, {number})")
        except SQLAlchemyError as error:
            raise LostError("the lease is gone: the state database ended the session") from error
        return bool(free)

    def close(self) -> None:
        """Give the lock up and end the session."""
        from sqlalchemy.exc import SQLAlchemyError

        with self._turn:
            with suppress(SQLAlchemyError):
                self._session.exec_driver_sql(f"SELECT pg_advisory_unlock({_SPACE}, {_number(self.owner)})")
                self._session.detach()  # nobody else is to get a session that times out
            self._session.close()


def _number(owner: str) -> int:
    return int.from_bytes(sha256(owner.encode()).digest()[:4], "big", signed=True)


def take_lease(engine: Engine, owner: str, ttl: float = LEASE_TTL) -> FileLease | DatabaseLease:
    """Return a lease for the kind of database; raises SurroundingsError."""
    if engine.dialect.name == "sqlite":
        return FileLease(Path(f"{engine.url.database}.live"), owner, ttl)
    return DatabaseLease(engine, owner, ttl)
