"""A flow with every file it needs, as bytes: what a run in the state database is carried on from."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from runner.core.compiled import Plan
from runner.core.document import parse
from runner.core.model import Flow
from runner.core.plan import located
from runner.core.text import to_json
from runner.errors import FlowError, Problem, StepError
from runner.platforms.aids import Aids
from runner.runtime.files import FileReader, read_document
from runner.runtime.loading import LoadSettings, load_bytes, path_of, plan_of, sent_files

MAX_BUNDLE: Final = 20 * 1024 * 1024
BINDINGS: Final = "/bindings"  # no path from a folder is written so


class Bundle:
    """Files by their path from the flow's folder; read like a folder (`runner.runtime.files.FileSource`)."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = files

    async def read(self, path: str, max_bytes: int) -> bytes:
        """Return a file's bytes; raises StepError."""
        return self.read_now(path, max_bytes)

    def read_now(self, path: str, max_bytes: int) -> bytes:
        """Return a file's bytes; raises StepError."""
        data = self.files.get(posixpath.normpath(path))
        if data is None:
            raise StepError("file.missing", f"the file {path!r} was not taken along with the run")
        if len(data) > max_bytes:
            raise StepError("file.too_large", f"the file {path!r} is larger than {max_bytes} bytes")
        return data


def load_bundle(files: Mapping[str, bytes], main: str, limits: LoadSettings) -> tuple[Flow, LoadSettings]:
    """Return the flow whose document is at `main`, and settings that read nothing from the disk."""
    settings = replace(limits, files=Bundle(files), aids=aids_of(files, limits))
    flow = load_bytes(files[main], main, settings)
    return replace(flow, home=".", source=main), settings


def aids_of(files: Mapping[str, bytes], limits: LoadSettings) -> Aids | None:
    """Return what the document of a run is read with besides itself."""
    if BINDINGS not in files:
        return limits.aids
    bindings = parse(files[BINDINGS], name="bindings.json", max_bytes=MAX_BUNDLE)
    return replace(limits.aids or Aids(), bindings=bindings)


def collect(path: str, limits: LoadSettings, along: Sequence[str] = ()) -> dict[str, bytes]:
    """Return the document at `path` (first) and every file that it needs, by their path from its folder.

    `along` are files whose names only the run knows. Raises FlowError with every Problem: of the flow,
    of a file that is not there, of a path that only the run knows, of a bundle over `MAX_BUNDLE`.
    """
    data = read_document(path, limits.max_bytes)
    name = "stdin" if path == "-" else Path(path).name
    flow = load_bytes(data, "<stdin>" if path == "-" else path, limits)
    home = "" if path == "-" else str(Path(path).resolve().parent)
    flow = replace(flow, home=home, source=name)
    plan = plan_of(flow, limits)
    problems = list(plan.errors)
    if "\0" in flow.name:
        what = "has the character \\u0000, which cannot be kept in a state database; remove it"
        problems += located(plan.flow, [Problem("flow.name", "name", what)])
    files = {name: data}
    if limits.aids is not None and limits.aids.bindings is not None:
        files[BINDINGS] = to_json(limits.aids.bindings.value).encode()
    needed = dict.fromkeys((*_flows(plan), *_files(plan, problems, all_named=bool(along)), *along))
    if needed and home:
        reader = FileReader(Path(home), limits.allow_files)
        for one in needed:
            try:
                files[one] = reader.read_now(one, MAX_BUNDLE)
            except StepError as error:
                problems.append(Problem(error.code, "", error.message))
    if sum(map(len, files.values())) > MAX_BUNDLE:
        what = f"the flow and its files have more than {MAX_BUNDLE} bytes"
        problems.append(Problem("bundle.too_large", "", what))
    if problems:
        raise FlowError(problems)
    return files


def _flows(plan: Plan) -> Iterator[str]:
    for inner in plan.with_inner():
        if inner is not plan and not inner.flow.source.startswith("#"):  # it stands in the same document
            yield inner.flow.source


def _files(plan: Plan, problems: list[Problem], *, all_named: bool) -> Iterator[str]:
    """Yield the files that steps send; one that only the run knows is a problem unless some are named."""
    for inner, step, _, template in sent_files(plan):
        if template.constant:
            yield path_of(inner.flow, template)
        elif not all_named:
            what = "only the run knows which file; name each that it may be by --with FILE"
            problems.append(Problem("bundle.file", step.where, what))
