"""`runner resume`: carries on a run that was cut off, and shows it as `run` does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from runner.cli.artefacts import flaws
from runner.cli.given import http_settings, pace_of, rate_flaws, read_env
from runner.cli.options import Options
from runner.cli.output import outputs
from runner.cli.run import RunCommand, hush
from runner.errors import FlowError, Problem
from runner.runtime.run import Run
from runner.runtime.store import DEFAULT_URL

STATE_VARIABLE: Final = "RUNNER_STATE"


def main(options: Options, environ: Mapping[str, str]) -> int:
    """Carry on a run and return the exit code of `run`; raises FlowError and SurroundingsError."""
    out, err = outputs(environ, color=not options.no_color)
    hush()
    return ResumeCommand(options, environ, out, err).main()


def state_url(options: Options, environ: Mapping[str, str]) -> str:
    """Return where the state database is."""
    return options.state or environ.get(STATE_VARIABLE) or DEFAULT_URL


class ResumeCommand(RunCommand):
    """One call of `runner resume`."""

    def prepare(self) -> Run:
        """Claim the run, and bring it to where it was cut off."""
        from runner.runtime.state import Surroundings

        options = self.options
        problems: list[Problem] = [*flaws(self.artefacts, []), *rate_flaws(options)]
        self.make_upload(problems)
        env = read_env(options.env, options.env_file, self.environ, problems)
        if problems:
            raise FlowError(problems)
        self.make_delivery()
        state = self.open_state(state_url(options, self.environ))
        pace = pace_of(options, state.store)
        http = http_settings(options, self.environ)
        around = Surroundings(http, listeners=self.listeners, pace=pace, env=env)
        assert options.run_id is not None
        return state.claimed(options.run_id, around)
