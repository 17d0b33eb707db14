"""What `runner run --push` does when the run has ended."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import cast

from runner.cli.artefacts import Source
from runner.cli.options import Options
from runner.cli.output import Output, problem_line
from runner.cli.remote import TracePlatform, connect, done_line, loss_lines, perform, shown
from runner.core.result import RunStatus
from runner.errors import Problem, SurroundingsError, errors_of
from runner.platforms.client import Refusal


class Upload:
    """The trace of a run on its way to a platform; what is wrong with the flags goes to `problems`."""

    def __init__(
        self, options: Options, environ: Mapping[str, str], err: Output, problems: list[Problem]
    ) -> None:
        assert options.push is not None
        self._options, self._environ, self._err = options, environ, err
        self._platform = cast("TracePlatform", connect(options.push, options, environ))
        if options.name is not None:
            self._platform.call_it(options.name)
        problems += errors_of(self._platform.problems)

    def finish(self, source: Source, status: RunStatus, out: Output) -> list[str]:
        """Push, and tell of it; returns what went wrong. A run that was cancelled is not pushed.

        An interrupt ends the waiting for the platform. It does not change how the run went.
        """
        if status == "cancelled":
            return ["the trace was not pushed, because the run was cancelled"]
        try:
            done, troubles = self.push(source)
        except KeyboardInterrupt:
            return ["the push of the trace was interrupted; the platform may have it or not"]
        except SurroundingsError as error:
            return [f"the trace was not pushed: {error}"]
        if done and not self._options.quiet:
            out.line(f"  {done}")
        return troubles

    def push(self, source: Source) -> tuple[str, list[str]]:
        """Push; returns what was done, empty when it was not, and what went wrong.

        Raises SurroundingsError.
        """
        platform, options = self._platform, self._options
        if options.name is None:
            platform.call_it(source.title)
        operation = platform.push_trace(source)
        for problem in platform.problems:
            self._tell(problem_line(problem))
        result = perform(platform, operation.program, options, self._environ, self._tell)
        mask = partial(shown, platform)
        if isinstance(result, Refusal):
            first, *more = map(mask, result.lines())
            return "", [f"the trace was not pushed: {first}", *more]
        return mask(done_line(result)), [*map(mask, loss_lines(result))]

    def _tell(self, text: str) -> None:
        if not self._options.quiet:
            self._err.line(text)
