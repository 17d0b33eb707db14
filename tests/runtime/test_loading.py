"""From files to flows (DESIGN 3; Limits)."""

import json

import pytest

import runner
from runner.runtime.loading import LoadSettings, plan_of

STEP = {"id": "a", "method": "GET", "url": "http://h.example/{{b.x}}"}


def write(folder, name, document):
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(document, indent=1))
    return path


def data(*steps):
    return {"version": "1.0", "steps": list(steps)}


def test_problems_name_the_file_as_it_was_given(tmp_path, monkeypatch):
    write(tmp_path, "flow.json", data(STEP))
    monkeypatch.chdir(tmp_path)
    (problem,) = runner.check(runner.load("flow.json"))
    assert str(problem) == "flow.json:7:11 steps[0].url: no step 'b'"


def test_problems_of_other_files_name_those(tmp_path, monkeypatch):
    write(tmp_path, "flow.json", data({"id": "s", "flow": "sub/inner.json"}))
    write(tmp_path, "sub/inner.json", data({"id": "d", "flow": "deeper.json"}))
    write(tmp_path, "sub/deeper.json", data(STEP))
    monkeypatch.chdir(tmp_path.parent)
    (problem,) = runner.check(runner.load(f"{tmp_path.name}/flow.json"))
    assert str(problem.place) == f"{tmp_path.name}/sub/deeper.json:7:11"


def test_a_flow_reads_other_flows_only_below_its_own_folder(tmp_path):
    (tmp_path / "home").mkdir()
    write(tmp_path, "outside.json", data())
    path = write(tmp_path, "home/flow.json", data({"id": "s", "flow": "../outside.json"}))
    assert [problem.code for problem in runner.check(runner.load(path))] == ["file.outside"]


def test_the_limits_of_documents_hold_for_other_flows_too(tmp_path):
    write(tmp_path, "inner.json", data({**STEP, "description": "x" * 500}))
    path = write(tmp_path, "flow.json", data({"id": "s", "flow": "inner.json"}))
    flow = runner.load(path)
    from runner.runtime.loading import plan_of

    assert [one.code for one in plan_of(flow, LoadSettings(max_bytes=300)).problems] == ["file.too_large"]


def test_a_flow_named_twice_is_read_once(tmp_path):
    write(tmp_path, "inner.json", data({**STEP, "url": "http://h.example/"}))
    path = write(tmp_path, "flow.json", data(*[{"id": f"s{n}", "flow": "./inner.json"} for n in range(3)]))
    assert runner.check(runner.load(path)) == ()


def test_standard_input_has_no_folder(monkeypatch):
    import io
    import sys

    class Stdin:
        buffer = io.BytesIO(json.dumps(data({"id": "s", "flow": "x.json"})).encode())

    monkeypatch.setattr(sys, "stdin", Stdin)
    flow = runner.load("-")
    assert flow.home == ""
    (problem,) = runner.check(flow)
    assert problem.code == "flow.unreadable"
    assert problem.place.file == "<stdin>"


def test_a_value_has_problems_without_place():
    (problem,) = runner.check(runner.load(data(STEP)))
    assert problem.place is None


def test_what_is_no_flow_is_refused():
    with pytest.raises(runner.FlowError):
        runner.load({"a": 1})


def test_keys_that_stand_twice_are_told_in_other_files_too(tmp_path):
    (tmp_path / "inner.json").write_text('{"version": "1.0", "version": "1.0", "steps": []}')
    path = write(tmp_path, "flow.json", data({"id": "s", "flow": "inner.json"}))
    (problem,) = runner.check(runner.load(path))
    assert (problem.code, problem.place.file) == ("document.duplicate_key", str(tmp_path / "inner.json"))


def test_a_flow_that_was_planned_can_be_planned_and_looked_at_again(tmp_path):
    flow = runner.load(write(tmp_path, "flow.json", {"flow_data": json.dumps(data(STEP, {"id": 5}))}))
    first = runner.check(flow)
    assert {problem.where for problem in first} == {"steps[0].url", "steps[1]", "steps[1].id"}
    assert runner.check(flow) == first
    assert [step.id for step in flow.steps] == ["a", ""]
    assert flow.steps[0].url == STEP["url"]


def test_files_that_are_not_there_are_told_as_warnings(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/there.bin").write_bytes(b"x" * 10)
    (tmp_path / "empty.bin").touch()
    parts = {
        "a": {"file": "sub/there.bin"}, "b": {"file": "gone.bin"}, "c": "gone.bin", "d": {"file": "{{b.x}}"},
        "e": {"file": "../outside.bin"}, "f": {"file": "sub"}, "g": {"file": "empty.bin"},
    }  # fmt: skip
    post = {"method": "POST", "url": "http://h.example/"}
    inner = data({**post, "id": "i", "bodyFile": "there.bin"}, {**post, "id": "j", "bodyFile": "gone.bin"})
    write(tmp_path, "sub/inner.json", inner)
    steps = [
        {**post, "id": "b", "outputs": {"x": "response.body.x"}},
        {**post, "id": "m", "multipart": parts},
    ]
    path = write(
        tmp_path, "flow.json", data(*steps, *({"id": f"s{n}", "flow": "sub/inner.json"} for n in (1, 2)))
    )
    found = runner.check(runner.load(path))
    assert {problem.severity for problem in found} == {"warning"}
    assert [(problem.code, problem.where) for problem in found] == [
        ("file.missing", "steps[1].multipart.b"), ("file.outside", "steps[1].multipart.e"),
        ("file.unreadable", "steps[1].multipart.f"), ("file.missing", "steps[1].bodyFile"),
    ]  # fmt: skip
    assert [problem.place.file for problem in found] == [str(path)] * 3 + [str(tmp_path / "sub/inner.json")]
    assert (
        runner.check(runner.load({"version": "1.0", "steps": [{**post, "id": "a", "bodyFile": "x"}]})) == ()
    )


def test_a_plan_tells_each_flow_that_it_runs_once(tmp_path):
    write(tmp_path, "f25.json", data({**STEP, "url": "http://h.example/"}))
    for n in range(12, 25):
        write(tmp_path, f"f{n}.json", data(*[{"id": f"s{m}", "flow": f"f{n + 1}.json"} for m in range(2)]))
    plan = plan_of(runner.load(tmp_path / "f12.json"))
    assert [one.flow.source for one in plan.with_inner()] == [f"f{n}.json" for n in range(12, 26)]
