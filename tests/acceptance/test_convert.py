"""`runner convert`: a flow in the form of another program."""

import json

import pytest

from runner.platforms import DIALECTS
from tests.command import flow_file, get, here


def test_a_flow_is_written_to_standard_output_or_to_a_file(tmp_path):
    flow_file(tmp_path, get("a"), name="Größe.json")
    done = here("convert", "Größe.json", "--to", "versori-flow", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert [node["data"]["label"] for node in json.loads(done.stdout)["nodes"]] == ["Größe", "a"]
    again = here("convert", "Größe.json", "--to", "versori-flow", "-o", "out.json", cwd=tmp_path)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert (tmp_path / "out.json").read_text(encoding="utf-8") == done.stdout


def test_a_flow_comes_from_standard_input_too(tmp_path):
    text = flow_file(tmp_path, get("a")).read_text()
    done = here("convert", "-", "--to", "versori-flow", "--from", "steps", cwd=tmp_path, stdin=text)
    assert [node["id"] for node in json.loads(done.stdout)["nodes"]] == ["flow", "a"]


def test_a_flow_with_errors_is_not_written(tmp_path):
    flow_file(tmp_path, get("a"), get("a"))
    done = here("convert", "flow.json", "--to", "versori-flow", "-o", "out.json", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "the id 'a' is taken" in done.stderr
    assert not (tmp_path / "out.json").exists()


def test_warnings_are_told_beside(tmp_path):
    flow_file(tmp_path, get("a", retryCout=1))
    done = here("convert", "flow.json", "--to", "versori-flow", cwd=tmp_path)
    assert done.returncode == 0
    assert "did you mean 'retryCount'?" in done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["flow.json", "--to", "nowhere"], "invalid choice: 'nowhere'"),
        (["flow.json"], "--to"),
        (["none.json", "--to", "versori-flow"], "there is no file 'none.json'"),
        (
            ["other.json", "--to", "versori-flow"],
            f"no flow of a known dialect ({', '.join(DIALECTS)}); keys found: 'a'",
        ),
        (
            ["other.json", "--to", "versori-flow", "--from", "steps"],
            "no flow of the dialect steps; keys found: 'a'",
        ),
        (
            ["flow.json", "--to", "versori-flow", "--allow-files", "none"],
            "--allow-files: there is no folder 'none'",
        ),
    ],
)
def test_what_cannot_be_converted_is_told(tmp_path, words, told):
    flow_file(tmp_path, get("a"))
    (tmp_path / "other.json").write_text('{"a": 1}')
    done = here("convert", *words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr


def test_a_file_that_cannot_be_written_is_told(tmp_path):
    flow_file(tmp_path, get("a"))
    done = here("convert", "flow.json", "--to", "versori-flow", "-o", "none/out.json", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert "cannot write 'none/out.json': there is no folder 'none'" in done.stderr


def test_steps_become_a_drawing_and_the_drawing_steps_again(tmp_path):
    flow = flow_file(tmp_path, get("a", retryCout=1), {"id": "wait", "delay": 5}, config={"timeout": 9})
    drawn = here("convert", "flow.json", "--to", "react-flow", "-o", "drawing.json", cwd=tmp_path)
    assert (drawn.returncode, drawn.stdout, drawn.stderr) == (0, "", "")
    made = here("convert", "drawing.json", "--from", "react-flow", "--to", "steps", cwd=tmp_path)
    assert (made.returncode, made.stderr) == (0, "")
    assert json.loads(made.stdout) == json.loads(flow.read_text())


def test_a_drawing_is_checked_and_run_as_it_is(tmp_path):
    wait = {"id": "wait", "type": "delay", "position": {"x": 0, "y": 0}, "data": {"duration": 1}}
    drawing = tmp_path / "drawing.json"
    drawing.write_text(json.dumps({"flow_inputs": [], "flow_data": {"nodes": [wait], "edges": []}}))
    checked = here("check", "drawing.json", cwd=tmp_path)
    assert (checked.returncode, checked.stdout) == (0, "drawing.json: ok, 1 step\n")
    ran = here("run", "drawing.json", "--json", "--from", "react-flow", cwd=tmp_path)
    assert [step["status"] for step in json.loads(ran.stdout)["steps"]] == ["succeeded"]
    forced = here("run", "drawing.json", "--from", "steps", cwd=tmp_path)
    assert (forced.returncode, forced.stdout) == (2, "")
    assert "no flow of the dialect steps; keys found: 'flow_inputs', 'flow_data'" in forced.stderr


def test_what_keeps_a_drawing_from_being_converted_is_told_with_its_places(tmp_path):
    (tmp_path / "drawing.json").write_text(
        '{"nodes": [{"id": "a"},\n {"id": "a"}],\n "edges": [{"source": "a"}]}'
    )
    done = here("convert", "drawing.json", "--to", "steps", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        "drawing.json:2:9 nodes[1].id: the id 'a' is taken by nodes[0]; ids must be unique",
        "drawing.json:3:12 edges[0]: the key 'target' is missing",
    ]


def test_nodes_that_are_only_kept_are_listed(tmp_path):
    node = {"id": "r", "type": "response", "data": {"status": 200}}
    (tmp_path / "drawing.json").write_text(json.dumps({"nodes": [node], "edges": []}))
    done = here("convert", "drawing.json", "--to", "steps", cwd=tmp_path)
    assert json.loads(done.stdout)["steps"] == [{"id": "r", "status": 200}]
    assert "nodes[0].type: warning: Unsupported node type 'response'" in done.stderr


def test_what_a_drawing_lacks_is_told_where_the_drawing_needs_it(tmp_path):
    node = {"id": "a", "type": "apiCall", "data": {"method": "GET", "url": "{{env.API}}/{{input.x}}"}}
    (tmp_path / "drawing.json").write_text(json.dumps({"nodes": [node], "edges": []}))
    checked = here("check", "drawing.json", "-e", "OTHER=1", cwd=tmp_path)
    ran = here("run", "drawing.json", cwd=tmp_path)
    for done in (checked.stdout, ran.stderr):
        assert "drawing.json:1:76 nodes[0].data.url: no env value 'API'" in done
    assert "drawing.json:1:76 nodes[0].data.url: no input 'x'" in ran.stderr
    assert (checked.returncode, ran.returncode) == (2, 2)
