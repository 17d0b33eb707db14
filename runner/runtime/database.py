"""The database that runs are kept in: its engine, its transactions, and the key that opens it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from runner.core.commands import Json
from runner.errors import SurroundingsError
from runner.runtime.vault import KEY_VARIABLE, Vault, key_beside, listed_keys

if TYPE_CHECKING:  # the core install does not have it
    from sqlalchemy import Connection

INSTALL: Final = "pip install 'flowspan-runner[worker]'"
_CANARY: Final = b"sealed by whoever used this database first"


class StateError(SurroundingsError):
    """The database could not do it this time; it may well the next."""


class Database:
    """The database at a url; it and its key are made when they are not there.

    Raises SurroundingsError when there is no such database, no driver, or no key that opens it.
    """

    def __init__(self, url: str, environ: Mapping[str, str]) -> None:
        try:
            from runner.runtime import tables
        except ImportError as error:
            raise SurroundingsError(f"--state needs more packages: {INSTALL}") from error
        self.tables = tables
        self._url = url
        with self.told():
            try:
                self.engine = tables.open_engine(url)
            except OSError as error:
                what = f"cannot make the folder of the state database {url}"
                raise SurroundingsError(f"{what}: {error.strerror or type(error).__name__}") from error
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        self.vault = Vault(self._keys(environ))
        try:
            with self.begin() as connection:
                tables.create(connection)
                self._check_key_in(connection)
        except SurroundingsError:
            self.close()
            raise

    def _keys(self, environ: Mapping[str, str]) -> Sequence[str]:
        listed = listed_keys(environ.get(KEY_VARIABLE))
        if listed:
            return listed
        database = self.engine.url.database
        if not self.is_sqlite or not database:
            what = "the state in a shared database is encrypted with a key that you keep"
            raise SurroundingsError(f"{what}: set {KEY_VARIABLE}; 'runner worker --new-key' prints one")
        return (key_beside(Path(database)),)

    def _check_key_in(self, connection: Connection) -> None:
        """Open what tells the keys of this database, or leave it there; the first to use it says which.

        Whoever has another key must learn it before he takes runs in that nobody can read, or ends those
        that only he cannot. What was kept before there was a canary is tried by its newest run.
        """
        runs, keys = self.tables.runs, self.tables.keys
        sealed = connection.execute(self.tables.select(keys.c.canary)).scalar()
        if sealed is None:
            newest = self.tables.select(runs.c.given).order_by(runs.c.created.desc(), runs.c.id.desc())
            given = connection.execute(newest.limit(1)).scalar()
            if given is not None:
                self.vault.open(given)
            connection.execute(keys.insert(), {"id": 1, "canary": self.vault.seal(_CANARY)})
            return
        self.vault.open(sealed)
        if not self.vault.is_current(sealed):  # else a key that was rotated out could never be dropped
            connection.execute(keys.update().values(canary=self.vault.seal(_CANARY)))

    @property
    def shown_url(self) -> str:
        """The url without its password."""
        return self.engine.url.render_as_string(hide_password=True)

    def close(self) -> None:
        """Give the connections back."""
        self.tables.close_engine(self.engine)

    @contextmanager
    def told(self) -> Iterator[None]:
        """Tell what the database cannot do in one line; the driver's own text may quote what it was given."""
        from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

        try:
            yield
        except (ArgumentError, NoSuchModuleError) as error:
            raise SurroundingsError(
                "--state takes sqlite:///FILE or postgresql://USER@HOST/DATABASE"
            ) from error
        except DBAPIError as error:
            reason = str(error.orig).strip().partition("\n")[0]
            # SQLite does not say which file.
            where = f" {self.engine.url.database}" if "unable to open" in reason else ""
            raise StateError(f"the state database{where}: {reason}") from error
        except (SQLAlchemyError, OSError) as error:
            raise StateError(f"the state database: {type(error).__name__}") from error

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Begin a transaction; on SQLite nobody else writes until it is over."""
        with self.told(), self.engine.begin() as connection:
            if self.is_sqlite:
                # Else Python's driver begins only before the first write, after what was read for it.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        with self.told(), self.engine.connect() as connection:
            yield connection

    def _seal(self, value: Json) -> bytes:
        return self.vault.seal(json.dumps(value).encode())

    def _open(self, sealed: bytes) -> Json:
        return json.loads(self.vault.open(sealed))
