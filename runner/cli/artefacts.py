"""What is made of traces besides the picture: files, each for a flag that asks for it.

A new kind of file is a row in `FILES` and a flag in `runner.cli.options`. Everything goes through
`make_all`, so that one that fails keeps no other from being made, and leads to exit code 3. An
upload is not among them, because it has a lot to tell and comes last: `runner.cli.upload`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol, TypeAlias

from runner.cli.options import Options
from runner.core.trace import SpanRecord, to_bytes
from runner.errors import Problem, SurroundingsError
from runner.runtime.files import open_stream, write_atomically

if TYPE_CHECKING:  # reading traces is not on the way of a run
    from runner.core.trace_document import TraceDocument


class Source(Protocol):
    """Traces that are masked and final, of a run that has ended or out of files."""

    @property
    def title(self) -> str:
        """What they are called together."""

    def traces(self) -> Sequence[TraceDocument]:
        """Return the traces, at least one."""

    def records(self) -> Sequence[SpanRecord]:
        """Return the spans of all traces; in each trace parents stand before their children."""

    def write_integration_flow(self, file: BinaryIO) -> None:
        """Write the only trace as an IntegrationFlow document."""

    def locate(self, path: str, where: str) -> str:
        """Return file, line and column of a place in the document of the step at a path, if it is known."""


Write: TypeAlias = Callable[[Source, BinaryIO], None]


@dataclass(frozen=True, slots=True)
class Artefact:
    """Something that was asked for; `make` returns what there is to tell of it, or raises SurroundingsError.

    `path` is the file that it becomes, None for what is no file.
    """

    flag: str
    make: Callable[[Source], str]
    path: str | None = None


@dataclass(slots=True)
class Made:
    """What came of everything that was asked for, a line for each."""

    told: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)


def _write_trace(source: Source, file: BinaryIO) -> None:
    source.write_integration_flow(file)


def _write_otlp_json(source: Source, file: BinaryIO) -> None:
    from runner.core.otlp_json import to_otlp
    from runner.runtime.sdk_spans import resource_attributes

    records, resource, between = source.records(), resource_attributes(), b""
    file.write(b'{"resourceSpans":[')
    for first in range(0, len(records), _BATCH):
        for part in to_otlp(records[first : first + _BATCH], resource)["resourceSpans"]:
            file.write(between + to_bytes(json.dumps(part, ensure_ascii=False, separators=(",", ":"))))
            between = b",\n"
    file.write(b"]}\n")


def _write_junit(source: Source, file: BinaryIO) -> None:
    from runner.report.junit import junit

    file.write(junit(source.traces(), source.locate))


def _write_page(source: Source, file: BinaryIO) -> None:
    from runner.report.html import html_page
    from runner.runtime.files import page_files

    file.write(html_page(source.title, source.traces(), page_files()))


_BATCH: Final = 5_000  # spans that are in memory as values at the same time
FILES: Final[Mapping[str, tuple[str, Write]]] = {
    "--trace-out": ("the trace", _write_trace),
    "--otlp-json": ("the trace as OTLP/JSON", _write_otlp_json),
    "--junit": ("the JUnit report", _write_junit),
    "--html": ("the page", _write_page),
}
"""The flags that ask for a file, with what is in it and who writes it."""


def wanted(options: Options) -> list[Artefact]:
    """Return the files that the flags ask for."""
    found = []
    for flag, (what, write) in FILES.items():
        path = getattr(options, flag.strip("-").replace("-", "_"), None)
        if path is not None:
            found.append(Artefact(flag, partial(_make_file, path, what, write), path))
    return found


def _make_file(path: str, what: str, write: Write, source: Source) -> str:
    write_atomically(Path(path), partial(write, source))
    return f"{what} is in {path}"


def make_all(artefacts: Iterable[Artefact], source: Source) -> Made:
    """Make each of them, whatever becomes of the others."""
    made = Made()
    for artefact in artefacts:
        try:
            made.told.append(artefact.make(source))
        except SurroundingsError as error:
            made.troubles.append(str(error))
    return made


# --- before anything is done


def flaws(artefacts: Iterable[Artefact], read: Sequence[str]) -> list[Problem]:
    """Return why files cannot be written, or would replace each other or one of those that are `read`."""
    taken: dict[Path, str] = {}
    found = (
        (artefact.flag, _flaw(artefact.path, artefact.flag, read, taken))
        for artefact in artefacts
        if artefact.path is not None
    )
    return [Problem("usage.artefact", flag, what) for flag, what in found if what]


def _flaw(name: str, flag: str, read: Sequence[str], taken: dict[Path, str]) -> str:
    path = Path(name)
    if name == "-":
        return "'-' is no file; for standard output name /dev/stdout"
    try:
        if path.is_dir():
            return f"{name!r} is a folder"
        if path.exists() and (open_stream(path) is not None or not path.is_file()):
            return ""
        target = path.resolve()
        if any(one != "-" and Path(one).resolve() == target for one in read):
            return f"{name!r} is the file that is read; name another one"
        if taken.setdefault(target, flag) != flag:
            return f"{name!r} is the file of {taken[target]} already; name another one"
        _try_out(target)
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or "it is no usable path").lower()
        return f"cannot write {name!r}: {reason}"
    return ""


def _try_out(target: Path) -> None:
    trial = target.with_name(f".{target.name[:40]}.{os.urandom(4).hex()}.tmp")
    trial.touch(exist_ok=False)
    trial.unlink()
