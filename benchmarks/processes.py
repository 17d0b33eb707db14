"""Processes that are measured: where they run, what they cost, and what they say."""

import json
import os
import re
import resource
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIBRARIES = ("httpx2", "httpx")
_FOREIGN = re.compile(r"OTEL_|RUNNER_|TRACE(PARENT|STATE)$|.*_PROXY$|PYTHON|COVERAGE", re.IGNORECASE)
_PEAK_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes


def without(*modules: str) -> str:
    """Return Python code that makes modules impossible to import."""
    return f"import sys; sys.modules.update(dict.fromkeys({modules!r})); "


def environment() -> dict[str, str]:
    """Return the environment without what changes how runs or Python behave."""
    kept = {name: value for name, value in os.environ.items() if not _FOREIGN.match(name)}
    return {**kept, "PYTHONPATH": str(ROOT)}


def pin(nth: int) -> None:
    """Keep this process, and those it starts, on the nth of its CPUs where the system can do that."""
    if hasattr(os, "sched_setaffinity"):
        cpus = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cpus[nth % len(cpus)]})


@contextmanager
def server():
    """Run the server in a process of its own; yields its origin."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.server"],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.communicate()


def measured(measure: str, library: str, **arguments) -> dict:
    """Run one of `benchmarks.measures` in a pinned process and return what it found."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.child", measure, library, json.dumps(arguments)],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return json.loads(done.stdout)


def cost(*command: str) -> tuple[float, int]:
    """Run a command to its end; returns its CPU seconds and its peak memory in bytes.

    The peak is at least that of this process when it started the other: keep this one small.
    """
    nowhere = subprocess.DEVNULL
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment(), stdin=nowhere, stdout=nowhere, stderr=nowhere
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} left with {process.returncode}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * _PEAK_UNIT


def peak_memory() -> int:
    """Return the peak memory of this process in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage tells begins with the peak of the process that started this one
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _PEAK_UNIT


def memory() -> int:
    """Return the memory of this process in bytes: now on Linux, its peak elsewhere."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return peak_memory()
