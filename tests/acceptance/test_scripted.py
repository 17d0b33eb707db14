"""`--answers`, `--stubs` and `--recorded` on the command line: what is missing stops a run before it begins."""

import json

from tests.command import flow_file, get, here
from tests.servers import ApiServer, Reply

ASK = {"id": "ask", "external": {"type": "web/form", "ask": "answers", "fields": ["name"]}}
PAY = {"id": "pay", "external": {"type": "shop/pay", "recorded": {"output": {"receipt": 7}}}}


def written(folder, name, value):
    (folder / name).write_text(json.dumps(value))
    return name


def test_a_run_without_answers_sends_nothing_and_prints_the_keys_to_add(tmp_path):
    with ApiServer(lambda request: Reply()) as api:
        flow_file(tmp_path, get("a", url=f"{api.origin}/a"), ASK, PAY)
        done = here("run", "flow.json", cwd=tmp_path)
        checked = here("check", "flow.json", cwd=tmp_path)
    assert (done.returncode, api.requests) == (2, [])
    assert 'give --answers FILE with answers.json: "ask": {"output": {"name": "…"}}' in done.stderr
    assert 'give --stubs FILE with stubs.json: "pay": {"output": {}}' in done.stderr
    assert "needs --answers FILE with ask, --stubs FILE with pay" in checked.stdout


def test_answers_and_recordings_end_in_the_trace_as_what_they_are(tmp_path):
    flow_file(tmp_path, ASK, PAY, {"id": "after", "set": {"told": "{{ask.name}} paid {{pay.receipt}}"}})
    written(tmp_path, "answers.json", {"ask": {"output": {"name": "Ada"}}})
    words = ("--answers", "answers.json", "--recorded", "--json", "--trace-out", "trace.json")
    done = here("run", "flow.json", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["outputs"]["after"] == {"told": "Ada paid 7"}
    spans = json.loads((tmp_path / "trace.json").read_text())["spans"]
    sources = {one["name"]: one["attributes"].get("runner.external.source") for one in spans}
    assert sources["external-ask"] == "answer"
    assert sources["external-pay"] == "recording"


def test_a_scripted_failure_fails_the_run_with_its_code(tmp_path):
    flow_file(tmp_path, PAY)
    written(tmp_path, "stubs.json", {"shop/pay": {"error": {"code": "card.refused", "message": "no money"}}})
    done = here("run", "flow.json", "--stubs", "stubs.json", "--json", cwd=tmp_path)
    assert done.returncode == 1
    [step] = json.loads(done.stdout)["steps"]
    assert step["error"]["code"] == "card.refused"


def test_a_file_that_cannot_be_read_is_told_under_its_flag(tmp_path):
    flow_file(tmp_path, PAY)
    written(tmp_path, "stubs.json", [1])
    done = here("run", "flow.json", "--stubs", "stubs.json", "--answers", "none.json", cwd=tmp_path)
    assert done.returncode == 2
    assert "--stubs stubs.json: must hold one JSON object" in done.stderr
    assert "--answers none.json: there is no file 'none.json'" in done.stderr


def test_a_resumed_run_has_the_outcomes_that_it_was_given(tmp_path):
    flow_file(tmp_path, PAY)
    written(tmp_path, "stubs.json", {"pay": {"output": {"n": 1}}})
    words = ("--stubs", "stubs.json", "--state", "sqlite:///s.db", "--run-id", "r1")
    assert here("run", "flow.json", *words, cwd=tmp_path).returncode == 0
    again = here("runs", "retry", "r1", "--start", "--state", "sqlite:///s.db", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
