"""A PostgreSQL server of a test's own, on TCP, which can be stopped in the middle of something."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Self

import pytest

PLACES = ("/usr/lib/postgresql/*/bin", "/usr/local/pgsql/bin", "/opt/homebrew/opt/postgresql*/bin")


def program(name: str) -> str:
    """Return where a program of the server is, or skip the test."""
    found = shutil.which(name) or next(
        (str(path) for place in PLACES for path in sorted(Path("/").glob(f"{place[1:]}/{name}"))), None
    )
    if found is None:
        pytest.skip(f"no PostgreSQL server to start here: {name} is not installed")
    return found


class OwnServer:
    """A server in `folder`, on a free port; `url` is that of its only database."""

    def __init__(self, folder: Path) -> None:
        self._initdb, self._pg_ctl = program("initdb"), program("pg_ctl")
        self._user = None
        if os.geteuid() == 0:  # a server does not run as root
            try:
                pwd.getpwnam("postgres")
            except KeyError:
                pytest.skip("no PostgreSQL server to start here: root needs a user 'postgres' for it")
            self._user = "postgres"
        self._data = folder / "data"
        self._data.mkdir(mode=0o700)
        if self._user is not None:
            shutil.chown(self._data, self._user)
            for parent in (folder, *folder.parents[:-1]):
                parent.chmod(parent.stat().st_mode | 0o011)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"postgresql://tester@127.0.0.1:{self.port}/postgres"

    def _run(self, *words: object) -> None:
        command = [str(word) for word in words]
        subprocess.run(
            command, user=self._user, cwd="/", check=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60,
        )  # fmt: skip

    def __enter__(self) -> Self:
        self._run(self._initdb, "-D", self._data, "-U", "tester", "-A", "trust", "--no-sync")
        self.start()
        return self

    def start(self) -> None:
        """Start it, and return once it answers."""
        options = f"-p {self.port} -h 127.0.0.1 -k '' -c fsync=off"
        self._run(self._pg_ctl, "-D", self._data, "-w", "-o", options, "-l", self._data / "log", "start")

    def stop(self) -> None:
        """Stop it as a crash would."""
        self._run(self._pg_ctl, "-D", self._data, "-m", "immediate", "-w", "stop")

    def __exit__(self, *_: object) -> None:
        self.stop()
