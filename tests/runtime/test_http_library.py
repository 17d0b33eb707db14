"""The tests of this folder run over httpx2 where it is installed; this one runs them over httpx as well."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest

from runner.runtime import http

HERE = Path(__file__).parent
TESTS = ("test_http.py", "test_http_library.py", "test_public_only.py")
ONLY_HTTPX = "httpx2" in sys.modules and sys.modules["httpx2"] is None


@pytest.mark.skipif(ONLY_HTTPX or find_spec("httpx2") is None, reason="httpx2 is not there to be preferred")
def test_httpx2_is_preferred():
    assert http.LIBRARY == "httpx2"


@pytest.mark.skipif(ONLY_HTTPX, reason="this is the run over httpx")
@pytest.mark.timeout(120)
def test_everything_works_over_httpx_too():
    options = ["-q", "-p", "tests.only_httpx", "-p", "no:cacheprovider", "-p", "no:randomly", "-n", "0"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *(HERE / name for name in TESTS)],
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(not ONLY_HTTPX, reason="this is the run over httpx2")
def test_httpx_is_used_where_httpx2_is_not_installed():
    assert http.LIBRARY == httpx.__name__ == "httpx"
