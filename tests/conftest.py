import os
import re
from pathlib import Path

import pytest
from hypothesis import settings

pytest_plugins = ["tests.servers", "tests.databases", "tests.brokers"]

FOREIGN_SETTING = re.compile(
    r"OTEL_|RUNNER_|VERSORI_|GASSAPI_|DAVINCI_|NECTED_|TRACE(PARENT|STATE)$|.*_PROXY$", re.IGNORECASE
)

settings.register_profile("default", deadline=None)
settings.register_profile("soak", deadline=None, max_examples=10_000)
settings.load_profile("default")


def pytest_addoption(parser):
    parser.addoption("--result-line", type=Path, help="write the counts of this run to a file, as one line")


def pytest_configure():
    """Keep the settings of whoever runs the tests out of them."""
    for name in list(os.environ):
        if FOREIGN_SETTING.match(name):
            del os.environ[name]


def pytest_terminal_summary(terminalreporter, config):
    path = config.getoption("--result-line")
    if path is None:
        return
    count = {kind: len(reports) for kind, reports in terminalreporter.stats.items()}
    failed = count.get("failed", 0) + count.get("error", 0)
    line = f"{count.get('passed', 0)} passed, {failed} failed, {count.get('skipped', 0)} skipped"
    path.write_text(line + "\n", encoding="utf-8")


@pytest.fixture(scope="session", params=["asyncio", "trio"])
def anyio_backend(request):
    """Run each test marked `anyio` on both event loops."""
    return request.param
