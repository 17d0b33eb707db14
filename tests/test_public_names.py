"""What the package promises by name; a name that goes away breaks somebody."""

import pytest

import runner

PROMISED = [
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


def test_the_public_names_are_these():
    assert sorted(runner.__all__) == PROMISED


@pytest.mark.parametrize("name", PROMISED)
def test_a_public_name_is_there(name):
    assert getattr(runner, name) is not None
    assert name in dir(runner)


def test_any_other_name_is_not():
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = runner.Nothing
