"""What a platform says of a document that was pushed, written into the file that it came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

from runner.cli.options import Options
from runner.core.commands import Json
from runner.core.document import MAX_BYTES, Document
from runner.errors import FlowError, SurroundingsError
from runner.platforms.write_back import written_back
from runner.runtime.files import write_atomically
from runner.runtime.loading import LoadSettings, document_at


def write_back(
    path: str, values: Mapping[str, Json], options: Options, inside: Callable[[Document], str], *, what: str
) -> None:
    """Write values into the object of a document that `inside` finds; raises SurroundingsError.

    Standard input has no file, and --no-write-back leaves the file as it is.
    """
    if options.no_write_back or path == "-":
        return
    limits = LoadSettings(max_bytes=options.max_document or MAX_BYTES)

    def write(file: BinaryIO) -> None:
        file.write(data)

    try:
        document = document_at(path, limits)  # anew: it may have been written to meanwhile
        data = written_back(document, values, inside(document))
        write_atomically(Path(path), write)
    except (FlowError, SurroundingsError) as error:
        told = ", ".join(f"its {name} is {value}" for name, value in values.items())
        raise SurroundingsError(f"the {what} was stored, {told}; but {error}") from error
