"""`runner check --as PLATFORM`: what a platform would refuse, in its words."""

import json

import pytest

from runner.cli.options import JUDGES
from runner.platforms import JUDGES as KNOWN
from tests.command import flow_file, get, here

BAD = """{
  "flow_inputs": [{"name": "username", "type": "string", "default": "al", "validation": {"min_length": 3}}],
  "flow_data": {"version": "1.0", "steps": [
    {"method": "GET", "url": "{{env.API_URL}}/{{step.invalid-field}}"},
    {"id": "step", "method": "GET", "url": "/"}
  ]}
}"""

FIELD = "Invalid variable references: Step 0: Invalid field name 'invalid-field' in reference 'step.invalid-field'"


def test_the_words_of_the_documents_are_told_with_their_places(tmp_path):
    (tmp_path / "flow.json").write_text(BAD)
    done = here("check", "flow.json", "--as", "gassapi", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout.splitlines() == [
        "flow.json:2:69 flow_inputs[0].default: Invalid flow inputs: Input username: minimum length is 3",
        "flow.json:4:5 flow_data.steps[0]: Invalid flow format: Step missing required field 'id'",
        f"flow.json:4:30 flow_data.steps[0].url: {FIELD}",
        "flow.json: 3 errors",
    ]


def test_the_words_of_the_server_differ(tmp_path):
    (tmp_path / "flow.json").write_text(BAD)
    done = here("check", "flow.json", "--as", "gassapi-observed", "--json", cwd=tmp_path)
    assert done.returncode == 2
    assert [one["what"] for one in json.loads(done.stdout)] == [
        "Invalid flow format: Step 0 missing id",
        FIELD,
    ]


@pytest.mark.parametrize("judge", JUDGES)
def test_what_a_platform_takes_is_told_to_be_fine(tmp_path, judge):
    flow_file(tmp_path, get("a", dependsOn="nobody"))
    done = here("check", "flow.json", "--as", judge, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"flow.json: ok for {judge}\n")


@pytest.mark.parametrize("judge", JUDGES)
def test_a_document_of_another_program_is_not_judged(tmp_path, judge):
    (tmp_path / "theirs.json").write_text('{"flowId": "f", "name": "n", "graphData": {}}')
    (tmp_path / "nobodys.json").write_text('{"a": 1}')
    done = here("check", "theirs.json", "nobodys.json", "--as", judge, cwd=tmp_path)
    assert done.returncode == 2
    assert "theirs.json:1:1 this is a document of davinci, not of gassapi; turn it to steps" in done.stdout
    assert "nobodys.json:1:1 no flow of a known dialect" in done.stdout


def test_a_document_that_cannot_be_read_is_told_as_ever(tmp_path):
    (tmp_path / "flow.json").write_text('{"flow_data": "{", "name": 1}')
    done = here("check", "flow.json", "none.json", "--as", "gassapi", cwd=tmp_path)
    assert done.returncode == 2
    assert "flow.json:1:15 flow_data: this text must hold JSON" in done.stdout
    assert "there is no file 'none.json'" in done.stdout


def test_the_command_line_knows_every_judge():
    assert set(JUDGES) == set(KNOWN)
