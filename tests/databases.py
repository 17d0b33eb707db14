"""State databases for tests: a SQLite file, and a database of its own on a PostgreSQL server.

The server is that of RUNNER_TEST_PG_URL (a SQLAlchemy url of a user who may create databases), else
the one on this machine's standard port; without either the tests that need it are skipped.
"""

import os
import uuid

import pytest
from sqlalchemy import create_engine, make_url
from sqlalchemy.exc import SQLAlchemyError

from runner.runtime.store import Store
from runner.runtime.vault import KEY_VARIABLE, new_key

# Read before the settings of whoever runs the tests are taken away.
_SERVER = os.environ.get("RUNNER_TEST_PG_URL", "postgresql+psycopg://root@127.0.0.1:5432/postgres")


def postgres_server():
    """Return an engine that may create databases, or skip the test."""
    url = make_url(_SERVER)
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        isolation_level="AUTOCOMMIT",
        connect_args={"connect_timeout": 2},
    )
    try:
        engine.connect().close()
    except SQLAlchemyError:
        pytest.skip("no PostgreSQL: set RUNNER_TEST_PG_URL, or start one on 127.0.0.1:5432")
    return engine


@pytest.fixture(params=["sqlite", "postgresql"])
def state(request, tmp_path):
    """The url of an empty state database, and the environment that goes with it."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'state.db'}", {}
        return
    server = postgres_server()
    name = f"flowspan_{uuid.uuid4().hex[:12]}"
    with server.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    url = server.url.set(database=name).render_as_string(hide_password=False)
    yield url, {KEY_VARIABLE: new_key()}
    with server.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    server.dispose()


@pytest.fixture
def store(state):
    """An empty store, on each kind of database."""
    url, environ = state
    opened = Store(url, environ)
    yield opened
    opened.close()
