"""Workflows of Nected as a user has them: checked, run, converted; pushed to and pulled from a server on loopback."""

import json
import shutil

import pytest

from tests.command import command, here
from tests.emulators.nected import KEY, Nected
from tests.platforms.nected_samples import BINDINGS, field, node, orders, workflow
from tests.servers import ApiServer, Drop, Reply

INPUTS = ("-i", "orderId=o/1", "-i", "total=50")


@pytest.fixture
def server():
    with Nected() as one:
        yield one


@pytest.fixture
def customers():
    """A server that has one customer."""
    with ApiServer(lambda request: Reply(body={"id": 7, "tier": "gold"})) as one:
        yield one


def write(folder, value, name="w.json"):
    (folder / name).write_text(json.dumps(value, indent=2), encoding="utf-8")
    return name


def read(folder, name="w.json"):
    return json.loads((folder / name).read_text(encoding="utf-8"))


def nected(server, cwd, *words, run=here, **env):
    return run(*words, "--base-url", server.origin, cwd=cwd, **{"NECTED_API_KEY": KEY, **env})


def push(server, cwd, *words, **more):
    return nected(server, cwd, "push", *words, "--to", "nected", **more)


def pull(server, cwd, *words, **more):
    return nected(server, cwd, "pull", "--from", "nected", *words, **more)


def calls(server):
    """Return the calls that may have changed something."""
    return [
        f"{one.method} {one.path.rpartition('workflow')[2]}" for one in server.requests if one.method != "GET"
    ]


@pytest.fixture
def there(server, tmp_path):
    """The sample on the server, and in a file as it was pulled from there."""
    row = server.add(orders())
    assert pull(server, tmp_path, "--id", row["id"], "-o", "w.json").returncode == 0
    server.requests.clear()
    return row


def edit(folder, name="w.json", **changed):
    return write(folder, {**read(folder, name), **changed}, name)


# --- check, run, convert


def test_check_tells_what_a_run_has_to_be_given(tmp_path):
    write(tmp_path, orders())
    write(tmp_path, BINDINGS, "b.json")
    done = here("check", "w.json", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (
        0,
        "w.json: ok, 8 steps; needs --stubs FILE with Get_customer, Amount, Score\n",
    )
    done = here("check", "w.json", "--bindings", "b.json", "--from", "nected", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "w.json: ok, 7 steps; needs -e API\n")


def test_check_tells_everything_that_is_wrong_with_its_place(tmp_path):
    write(tmp_path, orders(startNode="9", settings={"timezone": "Mars/Base"}))
    done = here("check", "w.json", cwd=tmp_path)
    assert done.returncode == 2
    assert "w.json:4:16 startNode: no node '9'" in done.stdout
    assert "settings.timezone: 'Mars/Base' is no IANA time zone" in done.stdout


def test_a_run_without_what_it_needs_prints_the_exact_keys_to_add(tmp_path):
    write(tmp_path, orders())
    done = here("run", "w.json", *INPUTS, cwd=tmp_path)
    assert done.returncode == 2
    for key in (
        'bindings.json: "Get customer": {"method": "GET", "url": "…"}; or --stubs FILE with stubs.json: "Get_customer": {"output": {"output": "…"}}',
        'bindings.json: "Amount": {"paths": {"high": "…"}}; or --stubs FILE with stubs.json: "Amount": {"output": {"path": "…"}}',
        'bindings.json: "Score": {"code_path": "data.…"}; or --stubs FILE with stubs.json: "Score": {"output": {"output": "…"}}',
    ):
        assert key in done.stderr
    done = here("run", "w.json", *INPUTS, "--recorded", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "Score" in done.stderr


def run(folder, *words, **env):
    done = here("run", "w.json", *words, "--json", "--trace-out", "trace.json", cwd=folder, **env)
    result = json.loads(done.stdout)
    return done, {step["path"]: step for step in result["steps"]}, result["outputs"]


def span(folder, name):
    return next(one for one in read(folder, "trace.json")["spans"] if one["name"] == name)


@pytest.mark.parametrize(("total", "taken", "by"), [(50, "Score", None), (120, "Review", "ada")])
def test_bindings_make_nodes_run(tmp_path, customers, total, taken, by):
    pytest.importorskip("quickjs")
    write(tmp_path, orders())
    write(tmp_path, BINDINGS, "b.json")
    given = ("-i", "orderId=o/1", "-i", f"total={total}", "-e", f"API={customers.origin}")
    done, steps, outputs = run(tmp_path, "--bindings", "b.json", *given)
    assert done.returncode == 0, done.stderr
    assert [one.target for one in customers.requests] == ["/customers/o%2F1"]
    assert {name for name in ("Review", "Score") if steps[name]["status"] == "succeeded"} == {taken}
    assert outputs["Answer"] == {"id": "o/1", "by": by, "text": "Order o/1 of gold"}
    assert outputs.get("Score") in (None, {"half": 25, "of": "gold", "output": {"half": 25, "of": "gold"}})


def test_the_last_test_is_replayed_and_the_trace_says_so(tmp_path, customers):
    value = orders()
    value["nodes"][4]["data"]["executedValue"] = {"half": 60}
    write(tmp_path, value)
    done, _, outputs = run(tmp_path, "--recorded")
    assert done.returncode == 0, done.stderr
    assert outputs["Answer"] == {"id": "o-1", "by": "ada", "text": "Order o-1 of gold"}
    assert span(tmp_path, "external-Get_customer")["attributes"]["runner.external.source"] == "recording"
    done, _, outputs = run(tmp_path, "--recorded", "-i", "orderId=other")
    assert outputs["Answer"]["id"] == "other"


def test_what_failed_in_the_last_test_fails_in_the_replay(tmp_path):
    write(tmp_path, workflow(node("2", "ruleNode", "A", status="error", executedValue={"x": 1})))
    done, steps, _ = run(tmp_path, "--recorded")
    assert (done.returncode, steps["A"]["error"]["code"]) == (1, "nected.recorded_error")


def test_stubs_say_how_nodes_end(tmp_path):
    write(tmp_path, orders())
    stubs = {
        "connectorNode": {"output": {"output": {"tier": "silver"}}},
        "Amount": {"output": {"path": "low"}},
        "Score": {"output": {"output": 1}},
    }
    write(tmp_path, stubs, "s.json")
    done, steps, outputs = run(tmp_path, *INPUTS, "--stubs", "s.json")
    assert done.returncode == 0, done.stderr
    assert (steps["Score"]["status"], steps["Review"]["status"]) == ("succeeded", "skipped")
    assert outputs["Answer"]["text"] == "Order o/1 of silver"


def test_bindings_and_inputs_that_cannot_be_read_are_told_together(tmp_path):
    write(tmp_path, orders())
    (tmp_path / "b.yaml").write_text("Scor: {}\n")
    done = here("run", "w.json", *INPUTS, "--bindings", "b.yaml", cwd=tmp_path)
    assert (
        done.returncode,
        "b.yaml:1:7 Scor: there is no node 'Scor'; did you mean 'Score'?" in done.stderr,
    ) == (2, True)
    done = here("run", "w.json", "--bindings", "none.json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, "there is no file 'none.json'\n")
    (tmp_path / "flow.json").write_text('{"version": "1.0", "steps": []}')
    done = here("check", "flow.json", "--bindings", "b.yaml", cwd=tmp_path)
    assert (done.returncode, "this is one of steps" in done.stdout) == (2, True)


def test_a_workflow_that_is_switched_off_is_warned_of(tmp_path):
    write(
        tmp_path,
        {**workflow(node("2", "responseNode", "A", input={"x": field("x", value="1")})), "isEnabled": False},
    )
    done = here("run", "w.json", cwd=tmp_path)
    assert done.returncode == 0
    assert "isEnabled: warning: the flow is not active" in done.stderr


def test_a_kept_run_is_carried_on_with_its_bindings(tmp_path, customers):
    write(
        tmp_path,
        workflow(
            node("2", "connectorNode", "A"),
            node("3", "connectorNode", "B"),
            fields=[field("x", executedValue="sample")],
        ),
    )
    binding = {"method": "GET", "url": "{{env.API}}/a/{{.Trigger.x}}"}
    write(tmp_path, {"A": binding, "B": {**binding, "url": "{{env.API}}/b"}}, "b.json")
    customers.on("/b", Reply(500), Reply(200, {}))
    given = ("--recorded", "-e", f"API={customers.origin}", "--state", "sqlite:///s.db", "--run-id", "r1")
    done = here("run", "w.json", "--bindings", "b.json", *given, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    (tmp_path / "b.json").unlink()
    again = here("runs", "retry", "r1", "--failed", "--id", "r2", "--state", "sqlite:///s.db", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    done = here("resume", "r2", "--state", "sqlite:///s.db", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [one.path for one in customers.requests] == ["/a/sample", "/b", "/b"]
    edited = here(
        "runs",
        "retry",
        "r1",
        "--failed",
        "--flow",
        "w.json",
        "--id",
        "r3",
        "--state",
        "sqlite:///s.db",
        cwd=tmp_path,
    )
    assert edited.returncode == 0, edited.stderr


def test_what_is_converted_with_bindings_runs_alone_and_comes_back(tmp_path, customers):
    write(
        tmp_path,
        workflow(
            node("2", "connectorNode", "A"),
            node("3", "responseNode", "B", input={"x": field("x", value="{{.A.output.tier}}")}),
        ),
    )
    write(tmp_path, {"A": {"method": "GET", "url": "{{env.API}}/a"}}, "b.json")
    done = here(
        "convert", "w.json", "--to", "steps", "--bindings", "b.json", "-o", "steps.json", cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "")
    done = here("run", "steps.json", "-e", f"API={customers.origin}", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["outputs"]["B"] == {"x": "gold"}
    done = here("convert", "steps.json", "--to", "nected", cwd=tmp_path)
    assert json.loads(done.stdout) == read(tmp_path)


def test_a_flow_of_others_cannot_become_a_workflow(tmp_path):
    (tmp_path / "flow.json").write_text(
        '{"version": "1.0", "steps": [{"id": "a", "method": "GET", "url": "/"}]}'
    )
    done = here("convert", "flow.json", "--to", "nected", cwd=tmp_path)
    assert done.returncode == 2
    assert "steps[0]: the step 'a' cannot be a node" in done.stderr


def test_a_workflow_can_be_drawn_for_others(tmp_path):
    write(tmp_path, workflow(node("2", "responseNode", "A", input={"x": field("x", value="1")})))
    for target in ("react-flow", "versori-flow"):
        done = here("convert", "w.json", "--to", target, cwd=tmp_path)
        assert done.returncode == 0, done.stderr


# --- making and changing


def test_a_new_workflow_gets_its_id_and_checksum_into_its_file(server, tmp_path):
    write(tmp_path, orders(id="", status="draft", testedAt=None))
    done = push(server, tmp_path, "w.json", run=command)
    [row] = server.workflows.values()
    assert (done.returncode, done.stdout) == (0, f"{row['id']}: created (A workflow)\n")
    kept = read(tmp_path)
    assert (kept["id"], kept["checksum"]) == (row["id"], row["checksum"])
    assert {name: row[name] for name in orders()} == orders()
    assert push(server, tmp_path, "w.json").stdout == f"{row['id']}: unchanged (it is so already)\n"


def test_a_workflow_that_has_an_id_can_be_made_anew(server, there, tmp_path):
    assert push(server, tmp_path, "w.json", "--new", "--name", "A copy").stdout.endswith("created (A copy)\n")
    assert [one["name"] for one in server.workflows.values()] == ["A workflow", "A copy"]
    assert read(tmp_path)["id"] == [*server.workflows][1]


def test_an_update_changes_the_checksum_in_the_file_and_nothing_else(server, there, tmp_path):
    text = (tmp_path / "w.json").read_text().replace('"A workflow"', '"Renamed"')
    (tmp_path / "w.json").write_text(text)
    before = there["checksum"]
    done = push(server, tmp_path, "w.json")
    assert (done.returncode, done.stdout) == (0, f"{there['id']}: updated (Renamed)\n")
    assert 'name: "A workflow" -> "Renamed"' in done.stderr
    assert there["name"] == "Renamed"
    assert (tmp_path / "w.json").read_text() == text.replace(before, there["checksum"])


def test_an_update_sends_the_whole_document(server, there, tmp_path):
    edit(tmp_path, comment="new")
    push(server, tmp_path, "w.json")
    [patch] = [one for one in server.requests if one.method == "PATCH"]
    assert patch.json() == {**orders(), "id": there["id"], **{name: patch.json()[name] for name in patch.json() if name not in orders()}, "comment": "new"}  # fmt: skip
    assert patch.json()["additional"] == {"kept": [1, None]}


def test_the_file_may_be_left_as_it_is(server, there, tmp_path):
    edit(tmp_path, comment="new")
    text = (tmp_path / "w.json").read_text()
    assert push(server, tmp_path, "w.json", "--no-write-back").returncode == 0
    assert (tmp_path / "w.json").read_text() == text
    done = push(server, tmp_path, "w.json")
    assert (done.returncode, "the two differ in nothing else" in done.stderr) == (3, True)


def test_a_document_in_yaml_and_one_in_an_envelope_are_written_back_as_they_are(server, there, tmp_path):
    (tmp_path / "w.yaml").write_text(f"# mine\n{json.dumps(read(tmp_path))}\n")
    text = (tmp_path / "w.yaml").read_text().replace('"drawn by hand"', "'by me'")
    (tmp_path / "w.yaml").write_text(text)
    before = there["checksum"]
    assert push(server, tmp_path, "w.yaml").returncode == 0
    assert (tmp_path / "w.yaml").read_text() == text.replace(before, there["checksum"])
    write(
        tmp_path,
        {"code": "success", "message": "", "data": {**read(tmp_path), "checksum": there["checksum"]}},
        "e.json",
    )
    assert push(server, tmp_path, "e.json").returncode == 0
    assert read(tmp_path, "e.json")["data"]["checksum"] == there["checksum"]


def test_what_stands_on_standard_input_is_pushed_and_not_written_back(server, there, tmp_path):
    value = {**read(tmp_path), "comment": "new"}
    done = push(server, tmp_path, "-", stdin=json.dumps(value))
    assert (done.returncode, there["comment"]) == (0, "new")


def test_a_checksum_that_cannot_be_written_back_is_told(server, there, tmp_path):
    value = {**read(tmp_path), "comment": "new"}
    checksum = value.pop("checksum")
    (tmp_path / "w.yaml").write_text(f"checksum: >-\n  {checksum}\n" + "".join(f"{key}: {json.dumps(one)}\n" for key, one in value.items()))  # fmt: skip
    done = push(server, tmp_path, "w.yaml", "--test", "--publish")
    assert done.returncode == 3
    assert f"the workflow was stored, its checksum is {there['checksum']}; but" in done.stderr
    assert "put it in by hand" in done.stderr
    assert calls(server) == [f"PATCH /{there['id']}"]


def test_two_writers_the_second_gets_the_conflict_and_loses_nothing(server, there, tmp_path):
    shutil.copy(tmp_path / "w.json", tmp_path / "second.json")
    edit(tmp_path, description="by the first")
    edit(tmp_path, "second.json", comment="by the second")
    stale = there["checksum"]
    assert push(server, tmp_path, "w.json").returncode == 0
    before = (tmp_path / "second.json").read_bytes()
    done = push(server, tmp_path, "second.json")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.splitlines() == [
        "the workflow was changed since the document was fetched",
        f"  the checksum of the document: {stale}",
        f"  the checksum on the platform: {there['checksum']}",
        "  from the document to what is there:",
        '    description: "" -> "by the first"',
        '    comment: "by the second" -> "drawn by hand"',
        "  pull it to another file, take over what you want of it, and push that; nothing was sent",
    ]
    assert (there["description"], there["comment"]) == ("by the first", "drawn by hand")
    assert (tmp_path / "second.json").read_bytes() == before
    assert calls(server) == [f"PATCH /{there['id']}"]


def test_a_writer_between_the_look_and_the_update_is_a_conflict_too(server, there, tmp_path):
    edit(tmp_path, comment="mine")
    path = f"/dev/v1/workflow/{there['id']}"

    def meanwhile(request):
        server.edit(there["id"], comment="theirs")
        return server.handle(request)

    server.on(path, meanwhile, method="PATCH")
    done = push(server, tmp_path, "w.json", "--json")
    assert (done.returncode, json.loads(done.stdout)["code"]) == (3, "nected.conflict")
    assert there["comment"] == "theirs"
    assert read(tmp_path)["comment"] == "mine"


def test_a_bad_body_is_told_apart_from_a_conflict(server, there, tmp_path):
    edit(tmp_path, comment="x" * 10)
    server.on(f"/dev/v1/workflow/{there['id']}", Reply(400, {"code": "BAD_REQUEST", "message": "comment is too long", "data": None}), method="PATCH")  # fmt: skip
    done = push(server, tmp_path, "w.json")
    assert (done.returncode, done.stderr.splitlines()[-2:]) == (
        3,
        ["the platform answered 400: comment is too long (BAD_REQUEST)", "  nothing was changed"],
    )


def test_an_answer_that_got_lost_is_looked_after(server, there, tmp_path):
    edit(tmp_path, comment="new")
    path = f"/dev/v1/workflow/{there['id']}"

    def lost(request):
        server.handle(request)
        return Drop(reset=True)

    server.on(path, lost, method="PATCH")
    done = push(server, tmp_path, "w.json")
    assert done.returncode == 0, done.stderr
    assert "but it is there as it was sent" in done.stderr
    assert read(tmp_path)["checksum"] == there["checksum"]


def test_what_the_server_does_not_keep_is_told(server, there, tmp_path):
    server.drops = {"additional"}
    edit(tmp_path, comment="new")
    done = push(server, tmp_path, "w.json")
    assert done.returncode == 3
    assert 'additional: {"kept": [1, null]} -> nothing' in done.stderr


def test_names_and_descriptions_may_be_given(server, there, tmp_path):
    done = push(server, tmp_path, "w.json", "--name", "Other", "--description", "about it")
    assert (done.returncode, there["name"], there["description"]) == (0, "Other", "about it")


def test_another_workflow_may_be_meant_by_its_id(server, there, tmp_path):
    other = server.add(orders(name="Other"))
    edit(tmp_path, checksum=other["checksum"])
    assert push(server, tmp_path, "w.json", "--id", other["id"]).returncode == 0
    assert (other["name"], there["name"]) == ("A workflow", "A workflow")


# --- dry run


def test_a_dry_run_shows_the_exact_change_and_sends_nothing(server, there, tmp_path):
    value = read(tmp_path)
    value["nodes"][3]["data"]["input"]["by"]["value"] = "grace"
    value["nodes"].pop()
    value["edges"].pop()
    write(tmp_path, value)
    done = push(server, tmp_path, "w.json", "--dry-run", "--test")
    assert done.returncode == 0
    assert done.stdout.startswith(
        f"PATCH {server.origin}/dev/v1/workflow/{there['id']}\nNected-API-Key: [masked]\n"
    )
    assert 'nodes[4].data.input.by.value: "ada" -> "grace"' in done.stderr
    assert 'nodes[8]: {"id": "8"' in done.stderr
    assert "edges[e7-8-then]:" in done.stderr
    assert "then: POST /dev/v1/workflow/" in done.stderr
    assert json.loads(done.stdout.split("\n\n", 1)[1]) == value
    assert calls(server) == []


def test_a_dry_run_of_a_new_workflow_and_of_a_test_shows_the_request(server, tmp_path):
    write(tmp_path, orders())
    done = push(server, tmp_path, "w.json", "--dry-run")
    assert done.stdout.startswith(f"POST {server.origin}/dev/v1/workflow\n")
    assert server.requests == []
    row = server.add(orders())
    done = push(server, tmp_path, "--id", row["id"], "--test", "--publish", "--dry-run")
    assert done.stdout.startswith(f"POST {server.origin}/dev/v1/workflow/{row['id']}/test\n")
    samples = {"orderId": "o-1", "total": 120}
    assert json.loads(done.stdout.split("\n\n", 1)[1]) == {
        "checksum": row["checksum"],
        "version": "draft",
        "params": samples,
    }
    assert done.stderr.splitlines()[0].startswith(f"then: POST /dev/v1/workflow/{row['id']}/publish")
    assert calls(server) == []


# --- test and publish


def test_an_update_is_tested_and_published_with_the_new_checksum(server, there, tmp_path):
    edit(tmp_path, comment="new")
    write(tmp_path, {"orderId": "o-9", "total": 1}, "p.json")
    words = ("--test", "--params", "p.json", "--publish", "--title", "v1.0", "--notes", "first")
    done = push(server, tmp_path, "w.json", *words)
    assert (done.returncode, done.stdout) == (
        0,
        f"{there['id']}: updated (A workflow, tested, published as v1)\n",
    )
    path = f"/{there['id']}"
    assert calls(server) == [f"PATCH {path}", f"POST {path}/test", f"POST {path}/publish"]
    test, publish = server.requests[-2:]
    assert test.json() == {
        "checksum": there["checksum"],
        "version": "draft",
        "params": {"orderId": "o-9", "total": 1},
    }
    assert publish.json() == {"checksum": there["checksum"], "title": "v1.0", "description": "first"}
    assert there["versionInfo"] == {"title": "v1.0", "description": "first"}


def test_publish_without_a_test_is_refused_with_the_reason(server, there, tmp_path):
    edit(tmp_path, comment="new")
    done = push(server, tmp_path, "w.json", "--publish")
    assert (done.returncode, done.stderr.splitlines()) == (
        3,
        [
            "the platform publishes only what was tested after its last update",
            "  add --test; nothing was sent",
        ],
    )
    assert calls(server) == []
    done = push(server, tmp_path, "--id", there["id"], "--publish")
    assert (done.returncode, "only what was tested" in done.stderr) == (3, True)
    write(tmp_path, orders(), "new.json")
    done = push(server, tmp_path, "new.json", "--publish")
    assert (done.returncode, "--publish: a new workflow must be tested" in done.stderr) == (2, True)


def test_a_test_that_fails_publishes_nothing_and_the_update_stands(server, there, tmp_path):
    server.fails = {"2"}
    edit(tmp_path, comment="new")
    done = push(server, tmp_path, "w.json", "--test", "--publish")
    assert done.returncode == 3
    assert done.stderr.splitlines()[-3:] == [
        "the test of the workflow failed: 1 node failed", "  node 2: the node failed", "  it was not published",
    ]  # fmt: skip
    assert server.requests[-1].json()["params"] == {"orderId": "o-1", "total": 120}
    assert (there["comment"], there["publishedAt"]) == ("new", None)
    assert read(tmp_path)["checksum"] == there["checksum"]


def test_what_is_there_is_tested_and_published_by_its_id(server, there, tmp_path):
    assert (
        push(server, tmp_path, "--id", there["id"], "--test").stdout == f"{there['id']}: unchanged (tested)\n"
    )
    assert (
        push(server, tmp_path, "--id", there["id"], "--publish").stdout
        == f"{there['id']}: unchanged (published as v1)\n"
    )


def test_results_of_a_test_are_pulled_and_replayed(server, there, tmp_path):
    server.outputs = {"2": {"output": {"tier": "tested"}}, "3": "high", "5": {"half": 1}}
    push(server, tmp_path, "--id", there["id"], "--test")
    pull(server, tmp_path, "--id", there["id"], "-o", "w.json")
    done, _, outputs = run(tmp_path, "--recorded")
    assert (done.returncode, outputs["Answer"]["text"]) == (0, "Order o-1 of tested")


# --- lists, versions, branches


def test_all_workflows_are_listed(server, tmp_path):
    server.page = 2
    names = [server.add(orders(name=f"W{number}", isEnabled=number != 2))["id"] for number in range(5)]
    done = pull(server, tmp_path)
    assert done.stdout.splitlines()[1:3] == [
        f"{names[1]}  active    draft  W1",
        f"{names[2]}  inactive  draft  W2",
    ]
    assert [one["id"] for one in json.loads(pull(server, tmp_path, "--json").stdout)] == names


def test_a_published_version_is_fetched(server, there, tmp_path):
    push(server, tmp_path, "--id", there["id"], "--test", "--publish")
    server.edit(there["id"], name="Newer")
    done = pull(server, tmp_path, "--id", there["id"], "--flow-version", "1")
    assert (json.loads(done.stdout)["name"], server.requests[-1].query) == ("A workflow", {"version": ["v1"]})
    done = pull(server, tmp_path, "--flow-version", "1")
    assert (done.returncode, "--flow-version: is that of one workflow; add --id" in done.stderr) == (2, True)


def test_a_branch_has_workflows_of_its_own(server, tmp_path):
    write(tmp_path, orders())
    assert push(server, tmp_path, "w.json", "--branch", "feature/x").returncode == 0
    assert (len(server.workflows), len(server.branches["feature/x"])) == (0, 1)
    assert {one.header("nected-branch") for one in server.requests} == {"feature/x"}
    assert pull(server, tmp_path).stdout == ""
    assert pull(server, tmp_path, "--branch", "feature/x").stdout.endswith("A workflow\n")


# --- who calls


def test_a_key_may_stand_in_a_file_or_a_profile_and_is_never_shown(server, there, tmp_path):
    (tmp_path / "key").write_text(f"{KEY}\n")
    (tmp_path / "profile").write_text(f"NECTED_API_KEY={KEY}\nNECTED_URL={server.origin}\n")
    edit(tmp_path, comment=f"holds {KEY}")
    for words in (("--token-file", "key", "--base-url", server.origin), ("--profile", "profile")):
        done = here("push", "w.json", "--to", "nected", "--dry-run", *words, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert KEY not in done.stdout + done.stderr
        assert "[masked]" in done.stderr
    done = pull(server, tmp_path, NECTED_API_KEY="wrong-key-4711")
    assert (done.returncode, done.stderr.splitlines()) == (
        3,
        ["the platform answered 401: Missing or invalid API key (UNAUTHORIZED)", "  give a key with NECTED_API_KEY, --token-file or --profile"],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("push", "w.json", "--to", "nected"), "set NECTED_API_KEY, or give --token-file FILE or --profile FILE"),
        (("push", "w.json", "--to", "nected", "--branch", "a\u00e9"), "--branch: the branch has characters that no header can carry"),
        (("push", "w.json", "--to", "nected", "--params", "none.json"), "--params: there is no file 'none.json'"),
        (("push", "w.json", "--to", "nected", "--params", "list.json", "--test"), "--params: must hold one JSON object"),
        (("push", "w.json", "--to", "nected", "--title", "x"), "--title: goes with --publish"),
        (("push", "w.json", "--to", "nected", "--params", "w.json"), "--params: goes with --test"),
        (("push", "--to", "nected", "--test"), "--id: is missing: the workflow that is meant"),
        (("push", "none.json", "--to", "nected"), "there is no file 'none.json'"),
        (("push", "flow.json", "--to", "nected"), "no flow of the dialect nected"),
        (("push", "bad.json", "--to", "nected"), "startNode: no node '9'"),
        (("push", "sumless.json", "--to", "nected"), "checksum: the document has no checksum"),
        (("push", "w.json", "--to", "nected", "--base-url", "ftp://x"), "--base-url: 'ftp://x' is no http:// or https:// url"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_before_anything_is_sent(tmp_path, words, told):
    write(tmp_path, orders())
    write(tmp_path, orders(startNode="9"), "bad.json")
    write(tmp_path, orders(id="x"), "sumless.json")
    write(tmp_path, [], "list.json")
    (tmp_path / "flow.json").write_text('{"version": "1.0", "steps": []}')
    env = {"NECTED_API_KEY": "k\u00e9y"} if "\u00e9" in "".join(words) else {}
    done = here(*words, cwd=tmp_path, **env)
    assert done.returncode == 2
    assert told in done.stderr


def test_flags_of_other_platforms_are_refused(tmp_path):
    done = here("push", "--to", "nected", "--id", "x", "--delete", cwd=tmp_path)
    assert (
        done.returncode,
        "--delete is for davinci and gassapi and versori; not for nected" in done.stderr,
    ) == (2, True)


def test_a_server_that_is_not_there_is_told(tmp_path):
    done = here(
        "pull",
        "--from",
        "nected",
        "--base-url",
        "http://127.0.0.1:1",
        cwd=tmp_path,
        NECTED_API_KEY="k3y-of-mine",
    )
    assert (done.returncode, done.stderr.splitlines()[-1].startswith("GET http://127.0.0.1:1/dev/v1/workflow:")) == (3, True)  # fmt: skip
