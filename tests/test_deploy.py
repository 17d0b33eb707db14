"""What starts a worker elsewhere: its flags exist, its times and ports fit each other, its tools take it."""

import configparser
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from runner.cli.options import parse

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "examples" / "deploy"
UNIT = (FOLDER / "flowspan-worker.service").read_text(encoding="utf-8")
DOCKERFILE = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
MANIFEST = (FOLDER / "kubernetes.yaml").read_text(encoding="utf-8")


def service():
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str
    unit.read_string(UNIT)
    return unit["Service"]


def deployment():
    [found] = [one for one in yaml.safe_load_all(MANIFEST) if one["kind"] == "Deployment"]
    return found


def pod():
    return deployment()["spec"]["template"]["spec"]


def container():
    [found] = pod()["containers"]
    return found


def test_the_unit_starts_a_worker_and_waits_until_it_is_drained():
    program, *words = shlex.split(service()["ExecStart"])
    options = parse(words)
    assert (program, options.command) == ("/opt/flowspan/bin/runner", "worker")
    assert options.http == ("127.0.0.1", 8080)
    assert float(service()["TimeoutStopSec"]) > options.drain
    assert service().get("KillSignal", "SIGTERM") == "SIGTERM"
    assert (service()["Restart"], service()["RestartPreventExitStatus"]) == ("always", "2")
    assert service()["Environment"].endswith(f"/{service()['StateDirectory']}/state.db")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")
def test_systemd_takes_the_unit(tmp_path):
    # It looks for the program too, which is not in /opt here.
    program = Path(sys.executable).with_name("runner")
    unit = tmp_path / "flowspan-worker.service"
    unit.write_text(UNIT.replace("/opt/flowspan/bin/runner", str(program)), encoding="utf-8")
    words = ("systemd-analyze", "verify", "--recursive-errors=no", "--man=no", str(unit))
    done = subprocess.run(words, capture_output=True, text=True, timeout=25, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    unit.write_text(unit.read_text().replace("KillMode=mixed", "KillMode=nonsense"), encoding="utf-8")
    done = subprocess.run(words, capture_output=True, text=True, timeout=25, check=False)
    assert "kill mode" in done.stderr


def instructions():
    text = re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE).replace("\\\n", " ")
    return [tuple(line.split(" ", 1)) for line in text.splitlines() if line]


def test_the_image_has_what_it_copies_and_starts_a_worker():
    for name, rest in instructions():
        if name == "COPY" and not rest.startswith("--from"):
            *sources, _ = shlex.split(rest)
            assert [source for source in sources if not (ROOT / source).exists()] == []
    found = dict(instructions())
    options = parse(json.loads(found["CMD"]))
    assert (json.loads(found["ENTRYPOINT"]), options.command) == (["runner"], "worker")
    assert options.http == ("0.0.0.0", int(found["EXPOSE"]))
    assert found["STOPSIGNAL"] == "SIGTERM"
    assert f"--stop-timeout {75}" in DOCKERFILE
    assert options.drain < 75
    assert found["USER"] == re.search(r"--uid (\d+)", DOCKERFILE)[1]


def test_the_pods_start_a_worker_and_wait_until_it_is_drained():
    options = parse(container()["args"])
    assert options.command == "worker"
    assert pod()["terminationGracePeriodSeconds"] > options.drain
    assert pod()["securityContext"]["runAsUser"] == int(dict(instructions())["USER"])
    assert {one["name"] for one in container()["env"]} == {"RUNNER_STATE", "RUNNER_STATE_KEY"}
    told = re.search(r"secret generic (\S+) (.*)", MANIFEST)
    wanted = {one["valueFrom"]["secretKeyRef"]["key"] for one in container()["env"]}
    assert set(re.findall(r"--from-literal=(\w+)=", told[2])) == wanted


def test_the_probes_ask_where_the_worker_answers():
    host, port = parse(container()["args"]).http
    [where] = container()["ports"]
    assert (host, port) == ("0.0.0.0", where["containerPort"])
    asked = {
        name: container()[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    assert {probe["port"] for probe in asked.values()} == {where["name"]}
    assert [probe["path"] for probe in asked.values()] == ["/healthz", "/healthz", "/readyz"]
    about = deployment()["spec"]["template"]["metadata"]["annotations"]
    assert (about["prometheus.io/port"], about["prometheus.io/path"]) == (str(port), "/metrics")


def test_everything_is_about_the_same_pods():
    labels = deployment()["spec"]["template"]["metadata"]["labels"]
    selectors = [one["spec"]["selector"]["matchLabels"] for one in yaml.safe_load_all(MANIFEST)]
    assert selectors == [labels, labels]
