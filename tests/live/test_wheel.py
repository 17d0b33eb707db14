"""What a user installs is the wheel, in an empty environment and outside of any checkout."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.servers import ApiServer, Reply

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]


def call(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Return the folder of the commands of an environment that has nothing but the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    call(sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "-w", str(folder), str(ROOT))
    (wheel,) = folder.glob("flowspan_runner-*.whl")
    venv.create(folder / "env", with_pip=True)
    commands = folder / "env" / "bin"
    call(commands / "pip", "install", "--quiet", "-c", str(ROOT / "constraints.txt"), str(wheel))
    return commands


def test_the_command_says_its_version(installed, tmp_path):
    assert call(installed / "runner", "--version", cwd=tmp_path).startswith("runner ")


def test_a_flow_runs_with_the_core_packages_alone(installed, tmp_path):
    flow = {"version": "1.0", "steps": [{"id": "a", "method": "GET", "url": "{{env.API}}/a"}]}
    (tmp_path / "flow.json").write_text(json.dumps(flow))
    with ApiServer(lambda request: Reply(body={"ok": True})) as api:
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
        text = call(
            installed / "runner", "run", "flow.json", "-e", f"API={api.origin}", "--json", "--trace-out", "t.json",
            "--html", "t.html",
            cwd=tmp_path, env=environment,
        )  # fmt: skip
    assert json.loads(text)["status"] == "succeeded"
    assert len(json.loads((tmp_path / "t.json").read_text())["spans"]) == 3
    assert "<title>flow</title>" in (tmp_path / "t.html").read_text()


def test_nothing_but_the_package_is_installed(installed):
    listed = call(installed / "pip", "list", "--format", "freeze")
    assert "flowspan-runner==" in listed
    assert not any(line.startswith(("pytest", "httpx2", "ruff")) for line in listed.splitlines())
    files = call(
        installed / "python",
        "-c",
        "import importlib.metadata as m; print(*m.files('flowspan-runner'), sep='\\n')",
    )
    tops = {line.split("/")[0] for line in files.split() if not line.startswith("..")}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"runner"}
    assert "runner/py.typed" in files.split()
