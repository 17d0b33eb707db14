"""A run that is cut off leaves its trace and exit code 4, and soon."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from tests.command import Terminal, command, environment, flow_file, get, start
from tests.otlp_receiver import otlp_receiver

SOON = 2.0


@pytest.fixture(autouse=True)
def interruptible():
    """A job in the background of a script has the interrupt ignored, and so would all that it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def spans(folder):
    return {span["name"]: span for span in json.loads((folder / "t.json").read_text())["spans"]}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_ends_the_run_and_its_trace_is_written(tmp_path, api, number):
    gate = api.hold("/slow")
    flow = flow_file(tmp_path, get("a"), get("slow"), get("never"))
    process = start("run", flow.name, "-e", f"API={api.origin}", "--trace-out", "t.json", cwd=tmp_path)
    gate.wait_for(1)
    begun = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert time.monotonic() - begun < SOON
    assert process.returncode == 4
    assert "✗ cancelled in " in out
    assert "  cut off: slow" in out.splitlines()
    assert "stopping; once more to leave at once" in err
    assert "Traceback" not in err
    found = spans(tmp_path)
    assert [found[name]["status"]["code"] for name in ("flow-flow", "http-a", "http-slow", "GET /slow")] == [
        1,
        0,
        1,
        1,
    ]
    assert all(span["ended"] for span in found.values())
    assert found["http-slow"]["attributes"]["workflow.execution.result"] == "cancellation"
    assert api.received("/never") == []


def test_everything_that_runs_at_the_same_time_is_cut_off(tmp_path, api):
    gate = api.hold("/wait")
    steps = [{**get(f"s{number}"), "url": "{{env.API}}/wait"} for number in range(20)]
    flow = flow_file(tmp_path, *steps, config={"parallel": True, "maxConcurrency": 8})
    process = start("run", flow.name, "-e", f"API={api.origin}", "--json", cwd=tmp_path)
    gate.wait_for(8)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 4
    result = json.loads(out)
    assert result["status"] == "cancelled"
    assert [step["status"] for step in result["steps"]].count("failed") == 8
    assert len(api.requests) == 8


def test_the_second_signal_leaves_at_once(tmp_path, api):
    """Writing the trace into a pipe that nobody reads takes for ever."""
    gate = api.hold("/slow")
    flow = flow_file(tmp_path, get("slow"))
    os.mkfifo(tmp_path / "t.json")
    process = start("run", flow.name, "-e", f"API={api.origin}", "--trace-out", "t.json", cwd=tmp_path)
    gate.wait_for(1)
    process.send_signal(signal.SIGTERM)
    while "slow: cancelled" not in process.stderr.readline():
        pass
    left = False
    for _ in range(100):  # the first of them may come together with the one before
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.2)
            left = True
            break
    process.communicate(timeout=20)
    assert left
    assert process.returncode == 4


def test_two_signals_at_once_are_one(tmp_path, api):
    """A terminal sends one to all of its processes, and a shell may pass on its own."""
    gate = api.hold("/slow")
    flow = flow_file(tmp_path, get("slow"))
    process = start("run", flow.name, "-e", f"API={api.origin}", "--trace-out", "t.json", cwd=tmp_path)
    gate.wait_for(1)
    process.send_signal(signal.SIGSTOP)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT, signal.SIGCONT):
        process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, "Traceback" in err) == (4, False)
    assert "✗ cancelled in " in out
    assert spans(tmp_path)["http-slow"]["attributes"]["workflow.execution.result"] == "cancellation"


def test_a_signal_while_the_files_are_written_leaves_them_whole(tmp_path):
    flow = flow_file(tmp_path, {"id": "a", "set": {"x": 1}})
    code = f"""
import os, signal
from runner.cli import main
from runner.runtime.run import Run

def write(*arguments, written=Run.write_trace):
    os.kill(os.getpid(), signal.SIGINT)
    written(*arguments)

Run.write_trace = write
main(["run", {flow.name!r}, "--trace-out", "t.json"])
"""
    done = python(code, tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    assert spans(tmp_path)["set-a"]["ended"]


def python(code, folder):
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder, env=environment(), capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip


def test_an_interrupt_before_the_command_line_has_begun_is_exit_4_without_a_traceback(tmp_path):
    code = """
import os, sys

class Interrupting:
    def find_spec(self, name, *_):
        if name == "signal":
            os.kill(os.getpid(), 2)

sys.modules.pop("signal", None)
sys.meta_path.insert(0, Interrupting())
from runner.cli import main
"""
    done = python(code, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (4, "", "")


def test_ctrl_c_on_a_terminal_leaves_the_picture_and_the_cursor(tmp_path, api):
    gate = api.hold("/slow")
    flow = flow_file(tmp_path, get("a"), get("slow"))
    terminal = Terminal("run", flow.name, "-e", f"API={api.origin}", cwd=tmp_path)
    gate.wait_for(1)
    terminal.read_until("http-slow")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == 4
    assert terminal.screen[2].endswith("✗ cancelled")
    assert terminal.screen[3].startswith("✗ cancelled in ")
    assert terminal.text.rindex("\x1b[?25h") > terminal.text.rindex("\x1b[?25l")


def test_a_timeout_ends_the_run_as_timed_out(tmp_path, api):
    api.hold("/slow")
    flow = flow_file(tmp_path, get("a"), get("slow"))
    begun = time.monotonic()
    done = command(
        *("run", flow.name, "-e", f"API={api.origin}", "--timeout", "0.3", "--trace-out", "t.json", "--json"),
        cwd=tmp_path,
    )
    assert time.monotonic() - begun < 10
    assert done.returncode == 4
    result = json.loads(done.stdout)
    assert result["status"] == "timed_out"
    assert 300 <= result["durationMs"] < 300 + SOON * 1000
    assert spans(tmp_path)["http-slow"]["attributes"]["workflow.execution.result"] == "timeout"
    assert "cut off: slow" in done.stderr


def test_a_failure_before_the_end_by_timeout_is_the_one_that_is_told(tmp_path, api):
    api.hold("/slow")
    flow = flow_file(tmp_path, get("bad", **{"assert": "false"}), get("slow"), config={"stopOnError": False})
    done = command("run", flow.name, "-e", f"API={api.origin}", "--timeout", "0.5", cwd=tmp_path)
    assert done.returncode == 4
    assert "step bad: false does not hold" in done.stdout


def test_an_interrupt_that_is_ignored_stays_ignored(tmp_path, api):
    gate = api.hold("/slow")
    flow = flow_file(tmp_path, get("slow"))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    process = start("run", flow.name, "-e", f"API={api.origin}", cwd=tmp_path)
    gate.wait_for(1)
    process.send_signal(signal.SIGINT)
    gate.release()
    process.communicate(timeout=20)
    assert process.returncode == 0


def test_spans_of_a_cancelled_run_are_not_waited_for_long(tmp_path, api):
    gate = api.hold("/slow")
    flow = flow_file(tmp_path, get("slow"))
    with otlp_receiver() as receiver:
        receiver.hold.clear()
        process = start(
            "run", flow.name, "-e", f"API={api.origin}", "--otlp-endpoint", receiver.url, cwd=tmp_path
        )
        gate.wait_for(1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 4
    assert "spans were not delivered" in err
    assert "no answer came within 0.5 s" in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_delivery_of_spans_and_not_what_the_run_has_come_to(tmp_path, api, number):
    flow = flow_file(tmp_path, get("a"))
    with otlp_receiver() as receiver:
        receiver.hold.clear()
        process = start(
            "run", flow.name, "-e", f"API={api.origin}", "--otlp-endpoint", receiver.url, cwd=tmp_path,
            OTEL_EXPORTER_OTLP_TIMEOUT="30",
        )  # fmt: skip
        while "succeeded in" not in process.stdout.readline():
            pass
        assert receiver.arrived.wait(10)
        process.send_signal(number)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 0
    told = err.splitlines()[-1]
    assert told.startswith("3 of 3 spans were not delivered to ")
    assert ": interrupted; they are kept, " in told
    (spool,) = (tmp_path / ".runner/spool").iterdir()
    assert spool.read_text().count('"spanId"') == 3


@pytest.mark.parametrize(
    "module", ["runner.cli.app", "runner.cli.options", "runner.cli.run", "anyio", "anyio._backends._asyncio"]
)
def test_an_interrupt_while_modules_are_imported_is_exit_4_without_a_traceback(tmp_path, module):
    flow = flow_file(tmp_path, {"id": "a", "set": {"x": 1}})
    code = f"""
import os, signal, sys
from runner.cli import main

class Interrupting:
    def find_spec(self, name, *_):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
main(["run", {flow.name!r}])
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (4, "", "")


def test_an_interrupt_while_the_interpreter_tidies_up_leaves_the_exit_code_as_it_is(tmp_path):
    code = (
        "import atexit, os, signal; atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT));"
        "from runner.cli import main;"
        "main(['check', 'no.json'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (2, "")


def test_a_name_server_that_does_not_answer_holds_nobody_up(tmp_path):
    """A thread that waits in getaddrinfo cannot be stopped."""
    flow = flow_file(tmp_path, {"id": "a", "method": "GET", "url": "http://slow.test/"})
    code = (
        "import socket, sys, threading; socket.getaddrinfo = lambda *_, **__: threading.Event().wait();"
        "from runner.cli import main;"
        f"main(['run', {flow.name!r}, '--timeout', '0.2', '--json'])"
    )
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert time.monotonic() - begun < 10
    assert done.returncode == 4
    assert json.loads(done.stdout)["status"] == "timed_out"


def test_an_interrupt_while_the_flow_is_read_is_exit_4_without_a_traceback(tmp_path):
    os.mkfifo(tmp_path / "flow.json")
    process = start("run", "flow.json", cwd=tmp_path)
    with (tmp_path / "flow.json").open("w"):  # opens only when the other side reads
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (4, "", "")
