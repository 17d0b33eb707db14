"""Keeping the spans that no backend has acknowledged, in a file that `runner trace push` sends again."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from runner.core.commands import Json
from runner.core.otlp_json import to_otlp
from runner.core.trace import SpanRecord
from runner.errors import SurroundingsError
from runner.runtime.files import write_atomically

FOLDER: Final = Path(".runner/spool")
_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW


def spool_path(run_id: str) -> Path:
    """Return where the spans of a run are kept, below the folder that the command was started in."""
    return FOLDER / f"{run_id}.jsonl"


def is_spool(path: Path) -> bool:
    """Tell whether a file is one of ours: only those are removed once everything in them has arrived."""
    return path.suffix == ".jsonl" and path.absolute().parts[-3:-1] == FOLDER.parts


def line_of(records: Sequence[SpanRecord], resource: Mapping[str, Json]) -> bytes:
    """Return spans as one line of a spool file; `resource` is that of the spans without one of their own."""
    return json.dumps(to_otlp(records, resource), separators=(",", ":")).encode() + b"\n"


def append(path: Path, records: Sequence[SpanRecord], resource: Mapping[str, Json]) -> None:
    """Add the spans to a spool file as one line of OTLP/JSON; only its owner can read a file that is made.

    A line is there whole or, should the process be killed while it is written, cut off at the end.
    Raises SurroundingsError when it cannot be kept; nothing of it is left then.
    """
    line = line_of(records, resource)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path) as file:
            _write(file, line)
    except OSError as error:
        is_file = isinstance(error, FileExistsError)
        reason = f"{str(path.parent)!r} is no folder" if is_file else (error.strerror or "unknown").lower()
        raise SurroundingsError(f"cannot write {str(path)!r}: {reason}") from error


def settle(path: Path, read: int, left: Sequence[bytes]) -> bool:
    """Put the lines that are `left` in place of the first `read` bytes, and keep what came since.

    Returns whether nothing was left and the file is gone. Raises SurroundingsError.
    """
    try:
        with _locked(path) as file:
            since = os.pread(file, max(os.fstat(file).st_size - read, 0), read)
            if left or since:
                write_atomically(path, lambda out: out.writelines([*left, since]))
                return False
            path.unlink()
            return True
    except OSError as error:
        raise SurroundingsError(f"cannot change {str(path)!r}: {(error.strerror or '').lower()}") from error


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Open a spool file that no other process of ours writes, removes or replaces meanwhile."""
    while True:
        file = os.open(path, _FLAGS, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file), path.stat()):
                    yield file
                    return
        finally:
            os.close(file)


def _write(file: int, line: bytes) -> None:
    size = os.fstat(file).st_size
    whole = size
    if size and os.pread(file, 1, size - 1) != b"\n":  # a kill has cut off the last line
        whole = os.pread(file, size, 0).rfind(b"\n") + 1
    try:
        os.ftruncate(file, whole)
        while line:
            line = line[os.write(file, line) :]
    except OSError:
        os.ftruncate(file, whole)
        raise
