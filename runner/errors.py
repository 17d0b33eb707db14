"""Everything that can go wrong, as values and as exceptions.

::

    RunnerError
    ├── FlowError(problems)      the document, its inputs or the usage are wrong; nothing was sent
    ├── StepError                why one step failed; kept in a StepResult, never crosses a task group
    ├── RunFailed(result)        raised only by RunResult.raise_for_failure()
    └── SurroundingsError        something around us failed: a file, a collector, a platform
        └── FencedError          the run belongs to another process by now
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands in a file; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a document or with what it was given.

    `code` is one of `runner.core.codes.PROBLEMS`; `where` is a path such as
    ``steps[1].body.token`` (empty for the document as a whole); `what` says what is wrong and
    what to do about it.
    """

    code: str
    where: str
    what: str
    severity: Severity = "error"
    place: Place | None = None

    def at(self, place: Place | None) -> Problem:
        """Return the same problem with its place in a file."""
        return replace(self, place=place)

    @property
    def is_error(self) -> bool:
        """Whether the document cannot be run because of this."""
        return self.severity == "error"

    def __str__(self) -> str:
        parts = [str(self.place or ""), self.where and f"{self.where}:", self.what]
        return " ".join(part for part in parts if part)


def errors_of(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Return only the problems that forbid a run."""
    return tuple(problem for problem in problems if problem.is_error)


class RunnerError(Exception):
    """Base of every exception that this package raises on purpose."""


class FlowError(RunnerError):
    """The document, its inputs or the usage are wrong; nothing was sent. Carries every `Problem`."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class StepError(RunnerError):
    """Why a step failed: a code of `runner.core.codes.STEP_ERRORS`, a message, a place in the document."""

    def __init__(self, code: str, message: str, where: str = "") -> None:
        self.code = code
        self.message = message
        self.where = where
        super().__init__(f"{where}: {message}" if where else message)


class located:  # noqa: N801 - reads as a word of the language, like contextlib.suppress
    """Give `where` to each StepError that leaves the block without a place."""

    __slots__ = ("where",)

    def __init__(self, where: str) -> None:
        self.where = where

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, StepError) and not error.where:
            error.where = self.where


class RunFailed(RunnerError):  # noqa: N818 - reads as a sentence where it is caught
    """A run did not succeed; `result` is its RunResult."""

    def __init__(self, message: str, result: object) -> None:
        self.result = result
        super().__init__(message)


class SurroundingsError(RunnerError):
    """Something around us failed: a file that cannot be written, a server that cannot be reached."""


class FencedError(SurroundingsError):
    """The run belongs to another process by now; what is done for it here must have no effect any more."""
