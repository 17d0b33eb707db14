"""DaVinci's flows from the command line, over loopback: checked, run, rehearsed, kept, converted and back."""

import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import runner
from examples import loopback
from runner.platforms.davinci_forms import admin_form
from runner.runtime.run import Run, RunSettings
from tests.command import here
from tests.davinci import Drawing, slate

EXAMPLE = Path(__file__).parents[2] / "examples/davinci"
DOCUMENT = json.loads((EXAMPLE / "flow.json").read_text())
CHECK = DOCUMENT["flows"][1]
REST = "httpConnector/makeRestApiCall"
SECRET = "wobbly-bicycle"


@pytest.fixture
def services():
    with loopback.Server(loopback.find_api("davinci")) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def checked(document, services, secret=SECRET):
    """Run the flow that checks a customer by itself."""
    env = {"API_URL": services.url, "clientSecret": secret}
    return runner.run_sync(document, {"email": "ada@example.org", "age": 36}, env=env)


def forms():
    yield "export", CHECK
    yield "bundle", {"flows": [CHECK]}
    yield "legacy", {"flowInfo": CHECK}
    yield "admin", admin_form(CHECK)
    elements = CHECK["graphData"]["elements"]
    yield "nodes", {"clonedNodes": elements["nodes"], "clonedEdges": elements["edges"]}


FORMS = dict(forms())


@pytest.mark.parametrize("form", FORMS)
def test_a_flow_with_three_requests_and_two_functions_runs_from_every_form(form, services):
    pytest.importorskip("quickjs", reason="no JavaScript engine: the extra js is not installed")
    done = checked(FORMS[form], services)
    assert done.status == "succeeded", done.failure
    claims = done.outputs["success001"]["additionalProperties"]
    assert claims == {"allowed": True, "limit": 7200, "name": "Ada", "tags": ["checked", "score-72"]}
    types = {one.path: one.type for one in done.steps if one.status == "succeeded"}
    assert [types[name] for name in ("4start0001", "0token0001", "score00001", "decide0001")] == [
        "script", "http", "http", "script",
    ]  # fmt: skip
    spans = {one["attributes"]["task.id"] for one in json.loads(done.integration_flow().to_json())["spans"]}
    assert {"0token0001", "cust000001", "score00001"} <= spans


@pytest.mark.parametrize("form", FORMS)
def test_a_refused_token_leads_over_a_jump_to_the_error_response(form, services):
    pytest.importorskip("quickjs", reason="no JavaScript engine: the extra js is not installed")
    done = checked(FORMS[form], services, secret="wrong")
    assert (done.status, done.failure.code) == ("failed", "customer.401")
    assert done.step("jump000001").status == "succeeded"
    assert (done.step("0token0001").handled, done.step("cust000001").reason) == (True, "unreached")
    assert (
        done.step("error00001").outputs["additionalProperties"]["message"]
        == "the server answered 401, expected 2xx"
    )


def test_a_journey_runs_with_answers_and_stubs_and_tells_so(services, tmp_path):
    words = (
        "--answers",
        EXAMPLE / "answers.json",
        "--stubs",
        EXAMPLE / "stubs.json",
        "--trace-out",
        "trace.json",
        "--json",
    )
    env = ("-e", f"API_URL={services.url}", "-e", f"clientSecret={SECRET}")
    done = here("run", EXAMPLE / "flow.json", *words, *env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    outputs = json.loads(done.stdout)["outputs"]
    assert outputs["open000001"]["additionalProperties"] == {"limit": 7200, "mail": "mail-1"}
    assert SECRET not in done.stdout + (tmp_path / "trace.json").read_text()
    spans = json.loads((tmp_path / "trace.json").read_text())["spans"]
    told = {one["attributes"]["task.id"]: one["attributes"].get("runner.external.source") for one in spans}
    assert (told["page000001"], told["mail000001"]) == ("answer", "stub")


def test_what_a_run_lacks_is_told_with_the_keys_to_add(tmp_path):
    done = here("run", EXAMPLE / "flow.json", cwd=tmp_path)
    assert done.returncode == 2
    assert 'answers.json: "page000001": {"output": {"email": "…", "age": "…"}}' in done.stderr
    assert 'stubs.json: "mail000001": {"output": {}}' in done.stderr
    assert "no env value 'clientSecret'; give it with -e clientSecret=…" in done.stderr


def test_a_dry_run_shows_the_requests_and_sends_nothing(tmp_path):
    words = ("--answers", EXAMPLE / "answers.json", "--stubs", EXAMPLE / "stubs.json", "--dry-run")
    env = ("-e", "API_URL=http://h.example", "-e", f"clientSecret={SECRET}")
    done = here("run", EXAMPLE / "flow.json", *words, *env, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "> GET http://h.example/customers?email=ada%40example.org" in done.stdout
    assert "> Authorization: Basic {local.4start0001.payload.output.basic}" in done.stdout
    assert "decides Is it allowed?" in done.stdout
    assert "ends with an error: No account for this customer" in done.stdout
    assert "would fail" not in done.stdout


def test_a_dry_run_knows_no_host_that_a_node_brings(tmp_path):
    drawing = Drawing().add("a", REST, url="http://h.example/where")
    drawing.add("b", REST, url=slate(("{{local.a.payload.output.rawResponse.body.url}}",), "/x"))
    (tmp_path / "flow.json").write_text(json.dumps(drawing.then("a", "b").export()))
    done = here("run", "flow.json", "--dry-run", cwd=tmp_path)
    assert "> GET {local.a.payload.output.rawResponse.body.url}/x" in done.stdout


def test_without_an_engine_a_function_is_refused_before_anything_is_sent(monkeypatch, services):
    def without(name):
        return None if name == "quickjs" else object()

    monkeypatch.setattr("runner.runtime.run.find_spec", without)
    with pytest.raises(runner.FlowError) as caught:
        checked(CHECK, services)
    assert {one.code for one in caught.value.problems} == {"script.no_engine"}
    assert "pip install 'flowspan-runner[js]'" in caught.value.problems[0].what
    env = {"API_URL": services.url, "clientSecret": SECRET}
    stubs = {name: {"output": {}} for name in ("4start0001", "decide0001")}
    ready = Run(runner.load(CHECK), {"email": "x", "age": 1}, RunSettings(env=env, stubs=stubs))
    assert ready.warnings == ()


class Meeting:
    """Answers no request before three of them are there."""

    def __init__(self):
        self.barrier = threading.Barrier(3)

    def answer(self, request):
        self.barrier.wait(20)
        return 200, {}


def test_nodes_behind_one_gate_are_sent_at_once():
    drawing = (
        Drawing().add("s", "nodeConnector/goToNode", nodeInstanceId="x").add("x", "nodeConnector/startNode")
    )
    with loopback.Server(Meeting()) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        for name in "abc":
            drawing.add(name, REST, url=f"{server.url}/{name}", timeout="60000")
        done = runner.run_sync(drawing.then("x", "a b c").export())
        server.shutdown()
    assert done.status == "succeeded", done.failure


def test_a_run_that_is_kept_is_done_again_from_a_node(services, tmp_path):
    state = ("--state", "sqlite:///s.db")
    env = ("-e", f"API_URL={services.url}", "-e", f"clientSecret={SECRET}")
    (tmp_path / "flow.json").write_text(json.dumps(DOCUMENT))
    words = ("--answers", EXAMPLE / "answers.json", "--stubs", EXAMPLE / "stubs.json", "--run-id", "r1")
    assert here("run", "flow.json", *words, *env, *state, cwd=tmp_path).returncode == 0
    edited = json.dumps(DOCUMENT).replace("No account for this customer", "No account")
    (tmp_path / "edited.json").write_text(edited)
    again = here(
        "runs",
        "retry",
        "r1",
        "--from",
        "counts0001",
        "--id",
        "r2",
        "--flow",
        "edited.json",
        *state,
        cwd=tmp_path,
    )
    assert again.returncode == 0, again.stderr
    done = here("resume", "r2", *state, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    outputs = json.loads(done.stdout)["outputs"]
    assert outputs["open000001"]["additionalProperties"] == {"limit": 7200, "mail": "mail-1"}


# --- convert -------------------------------------------------------------------------------------


def converted(document, folder, *words):
    (folder / "in.json").write_text(json.dumps(document))
    done = here("convert", "in.json", *words, cwd=folder)
    return done, json.loads(done.stdout) if done.returncode == 0 else None


def test_a_flow_becomes_steps_and_what_has_no_form_there_is_listed(tmp_path):
    done, steps = converted(CHECK, tmp_path, "--to", "steps")
    assert done.returncode == 0
    kinds = {
        step["id"]: "external" if "external" in step else "set" if "set" in step else "http"
        for step in steps["flow_data"]["steps"]
    }
    assert kinds["n4start0001"] == kinds["n0token0001"] == kinds["n8failed001"] == "external"
    assert kinds["success001"] == "set"
    assert done.stderr.count("has no form in Steps; it is an external step") == list(kinds.values()).count(
        "external"
    )
    again, back = converted(steps, tmp_path, "--to", "davinci")
    assert (back, again.stderr) == (CHECK, "")


def test_steps_from_elsewhere_are_refused_with_what_cannot_go_back(tmp_path):
    done, _ = converted(
        {"version": "1.0", "steps": [{"id": "a", "method": "GET", "url": "http://h"}]},
        tmp_path,
        "--to",
        "davinci",
    )
    assert done.returncode == 2
    assert "only a document that was made from one of DaVinci's can go back" in done.stderr
    assert "steps[0]: the step has no node of DaVinci that it came from" in done.stderr


def test_a_document_whose_graph_is_broken_is_not_converted(tmp_path):
    done, _ = converted({"flowId": "f", "graphData": {}}, tmp_path, "--to", "steps")
    assert (done.returncode, "there is no graph" in done.stderr) == (2, True)


def test_many_flows_run_at_the_same_time(services):
    pytest.importorskip("quickjs", reason="no JavaScript engine: the extra js is not installed")
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: checked(CHECK, services).status, range(4)))
    assert done == ["succeeded"] * 4
    assert "quickjs" in sys.modules
