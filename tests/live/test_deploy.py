"""The files of examples/deploy, against what is too large for every day: a schema, a fresh environment."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.test_deploy import MANIFEST, instructions

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]


def test_the_manifest_is_what_kubernetes_takes():
    kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="pip install kubernetes-validate")
    for document in yaml.safe_load_all(MANIFEST):
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
    broken = MANIFEST.replace("terminationGracePeriodSeconds", "terminationGraceSeconds")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(
            next(yaml.safe_load_all(broken)), kubernetes_validate.latest_version(), strict=True
        )


def test_the_steps_of_the_image_run_where_there_is_nothing(tmp_path):
    place = tmp_path / "flowspan"
    stage, said = [], ""
    for name, rest in instructions()[1:]:
        if name == "FROM":
            break
        stage.append((name, rest))
    for name, rest in stage:
        if name == "COPY":
            *sources, target = shlex.split(rest)
            subprocess.run(
                ["cp", "-r", *(str(ROOT / source) for source in sources), str(tmp_path / target)], check=True
            )
        elif name == "RUN":
            done = subprocess.run(
                ["sh", "-c", rest.replace("/opt/flowspan", str(place)).replace("python ", f"{sys.executable} ", 1)],
                cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout + done.stderr
            said = done.stdout
    assert said.startswith("runner ")
    words = [place / "bin" / "runner", "worker", "--help"]
    helped = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    assert "--http" in helped.stdout
