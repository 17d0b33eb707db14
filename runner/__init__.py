"""Flows in, spans out: runs multi-step HTTP flows and records every run as one trace.

The names in `__all__` are the public API; everything else may change. They are imported when they
are first used, because starting the command line is on a budget.
"""

from __future__ import annotations

from importlib import import_module

from runner.version import __version__

TYPE_CHECKING = False  # not from typing, which takes longer to import than all else that --help needs
if TYPE_CHECKING:  # what type checkers see; __getattr__ below is what runs
    from runner.core.integration_flow import IntegrationFlow
    from runner.core.model import Flow, Retry, Step
    from runner.core.result import RunResult, StepResult
    from runner.errors import FlowError, Problem, RunFailed, RunnerError, StepError, SurroundingsError
    from runner.runtime.loading import check, load
    from runner.runtime.logs import TraceFilter
    from runner.runtime.pace import Pace
    from runner.runtime.run import RunSettings, run, run_sync
    from runner.runtime.runs import Runs, submit
    from runner.runtime.worker import Worker, WorkerSettings

__all__ = [
    "Flow",
    "FlowError",
    "IntegrationFlow",
    "Pace",
    "Problem",
    "Retry",
    "RunFailed",
    "RunResult",
    "RunSettings",
    "RunnerError",
    "Runs",
    "Step",
    "StepError",
    "StepResult",
    "SurroundingsError",
    "TraceFilter",
    "Worker",
    "WorkerSettings",
    "__version__",
    "check",
    "load",
    "run",
    "run_sync",
    "submit",
]

_HOMES = {
    "Flow": "runner.core.model",
    "FlowError": "runner.errors",
    "IntegrationFlow": "runner.core.integration_flow",
    "Pace": "runner.runtime.pace",
    "Problem": "runner.errors",
    "Retry": "runner.core.model",
    "RunFailed": "runner.errors",
    "RunResult": "runner.core.result",
    "RunSettings": "runner.runtime.run",
    "RunnerError": "runner.errors",
    "Runs": "runner.runtime.runs",
    "Step": "runner.core.model",
    "StepError": "runner.errors",
    "StepResult": "runner.core.result",
    "SurroundingsError": "runner.errors",
    "TraceFilter": "runner.runtime.logs",
    "Worker": "runner.runtime.worker",
    "WorkerSettings": "runner.runtime.worker",
    "check": "runner.runtime.loading",
    "load": "runner.runtime.loading",
    "run": "runner.runtime.run",
    "run_sync": "runner.runtime.run",
    "submit": "runner.runtime.runs",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'runner' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
