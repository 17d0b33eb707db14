"""Reads what a flow may read, reads documents, and writes files so that no half of one is ever seen."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO, Final, Protocol

from runner.errors import FlowError, Problem, StepError, SurroundingsError

if TYPE_CHECKING:
    from runner.report.html import PageFiles

_STREAM: Final = re.compile(r"/dev/(?:fd/([0-9]{1,7})|std(out|err))")
_PIECE = 1024 * 1024
_CAREFULLY = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class FileSource(Protocol):
    """Where a flow's files come from."""

    async def read(self, path: str, max_bytes: int) -> bytes:
        """Return a file's bytes; raises StepError."""

    def read_now(self, path: str, max_bytes: int) -> bytes:
        """Do as `read` does, in the calling thread."""


class FileReader:
    """Reads files below the flow's folder, and below the folders of --allow-files, for the flow.

    Symlinks count as what they lead to. SEMANTICS heading "Steps, containers, commands".
    """

    __slots__ = ("_allowed", "_root")

    def __init__(self, root: Path, allowed: Sequence[Path] = ()) -> None:
        self._root = root.resolve()
        self._allowed = (self._root, *(folder.resolve() for folder in allowed))

    async def read(self, path: str, max_bytes: int) -> bytes:
        """Return a file's bytes; a relative path starts at the flow's folder.

        Raises StepError with ``file.outside``, ``file.missing``, ``file.too_large`` or ``file.unreadable``.
        """
        from anyio import to_thread

        return await to_thread.run_sync(self.read_now, path, max_bytes)

    def read_now(self, path: str, max_bytes: int) -> bytes:
        """Do as `read` does, in the calling thread: for `check`, which runs no event loop."""
        try:
            place = (self._root / path).resolve()
            if not any(place.is_relative_to(folder) for folder in self._allowed):
                raise StepError(
                    "file.outside", f"{path!r} is not in the flow's folder; see --allow-files DIR"
                )
            return _read_regular(place, max_bytes)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise StepError("file.missing", f"there is no file {path!r} in the flow's folder") from error
        except _TooLargeError as error:
            raise StepError(
                "file.too_large", f"the file {path!r} is larger than {max_bytes} bytes"
            ) from error
        except (OSError, ValueError, RuntimeError) as error:
            raise StepError(
                "file.unreadable", f"the file {path!r} cannot be read: {_reason(error)}"
            ) from error


class _TooLargeError(Exception):
    pass


def _reason(error: Exception) -> str:
    """Say why, without the path and the number that the system's own message has in it."""
    if isinstance(error, OSError):
        return (error.strerror or "it cannot be opened").lower()
    return "it is not a usable path"


def _read_regular(place: Path, max_bytes: int) -> bytes:
    """Read a regular file; opening anything else could hang, or act on a device."""
    if not stat.S_ISREG(place.stat().st_mode):
        raise OSError(0, "it is not a regular file")
    # Between the look and the opening, somebody may have put a pipe or a link there.
    with open(os.open(place, _CAREFULLY), "rb") as file:  # noqa: PTH123 - it is open already
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise OSError(0, "it is not a regular file")
        return _read_all(file, max_bytes, found.st_size)


def _read_all(file: IO[bytes], max_bytes: int, size: int = 0) -> bytes:
    """Read to the end, but never more than one byte beyond the limit; `size` is 0 when it is unknown."""
    if size > max_bytes:
        raise _TooLargeError
    pieces: list[bytes] = []
    left = max_bytes + 1
    while piece := file.read(min(left, _PIECE)):
        pieces.append(piece)
        left -= len(piece)
        if not left:
            raise _TooLargeError
    return b"".join(pieces)


def read_document(path: str, max_bytes: int, stdin: BinaryIO | None = None) -> bytes:
    """Return the bytes of a file that the user named; ``-`` is standard input, and a pipe is fine.

    Raises FlowError with ``file.missing``, ``file.too_large`` or ``file.unreadable``.
    """
    name = "standard input" if path == "-" else f"the file {path!r}"
    try:
        if path == "-":
            return _read_all(sys.stdin.buffer if stdin is None else stdin, max_bytes)
        with Path(path).open("rb") as file:
            return _read_all(file, max_bytes, os.fstat(file.fileno()).st_size)
    except FileNotFoundError as error:
        raise _problem("file.missing", f"there is no file {path!r}") from error
    except _TooLargeError as error:
        raise _problem(
            "file.too_large", f"{name} is larger than {max_bytes} bytes; see --max-document"
        ) from error
    except (OSError, ValueError) as error:
        raise _problem("file.unreadable", f"{name} cannot be read: {_reason(error)}") from error


def _problem(code: str, what: str) -> FlowError:
    return FlowError([Problem(code, "", what)])


def page_files() -> PageFiles:
    """Return the texts that an HTML page is made of, which come with this package."""
    from importlib.resources import files

    from runner.report.html import SCRIPTS, PageFiles

    folder = files("runner.report") / "page"
    names = ("page.html", "page.css", *(f"{name}.js" for name in SCRIPTS))
    page, style, *scripts = ((folder / name).read_text("utf-8") for name in names)
    return PageFiles(page, style, "\n".join(scripts))


def write_atomically(path: Path, write: Callable[[BinaryIO], None]) -> None:
    """Write a file so that everybody sees the old one or the whole new one, after a crash too.

    The new one stands beside the old one until it is whole. What is no regular file (a pipe) is
    written straight, and so is an open stream (/dev/stdout), wherever it leads: a file behind it has
    what others wrote. Raises SurroundingsError: no folder, no permission, no space.
    """
    try:
        stream = open_stream(path)
        if stream is not None or (path.exists() and not path.is_file()):
            with open(path if stream is None else os.dup(stream), "wb") as file:  # noqa: PTH123 - or a number
                write(file)
        else:
            _replace(path.resolve(), write)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        reason = f"there is no folder {str(path.parent)!r}" if missing else _reason(error)
        raise SurroundingsError(f"cannot write {str(path)!r}: {reason}") from error


def open_stream(path: Path) -> int | None:
    """Return the number of the open file that a path such as /dev/stdout means, None for any other."""
    match = _STREAM.fullmatch(str(path))
    return None if match is None else int(match[1] or ("out", "err").index(match[2]) + 1)


def _replace(target: Path, write: Callable[[BinaryIO], None]) -> None:
    beside = target.with_name(f".{target.name[:40]}.{os.urandom(4).hex()}.tmp")
    try:
        with beside.open("xb") as file:
            if target.exists():
                os.fchmod(file.fileno(), stat.S_IMODE(target.stat().st_mode))
            write(file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    """Make the new name itself survive a crash."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
