"""Every statement of seed 004, Update Workflow: its calls and bodies against a server of its pages.

The page has no program in it, only a flow of three calls: get, modify, patch. They are made here as users
make them, with curl, with requests and in Node, and by `runner` itself.
"""

import json
import shutil
import subprocess
import sys
from http.client import HTTPConnection

import pytest

from runner.core.document import Document
from runner.platforms import convert
from runner.platforms.nected import problems_of
from tests.command import here
from tests.emulators import nected as rules
from tests.emulators.nected import KEY, Nected
from tests.platforms.nected_samples import edge, field, node, orders, trigger, workflow
from tests.servers import ApiServer, Reply

WORKFLOW = "/dev/v1/workflow"
# A node, a field, a loop and an edge with every property that the seed's schema has.
FIELD = {
    "name": "orderQuantity", "dataType": "numeric", "executedValue": 3, "isCaseSensitive": True, "isNullable": True,
    "isOptional": True, "keyAttribute": "k", "keySource": "s", "mapping": True, "notSend": False, "order": 1,
    "schemaId": "sc-1", "sendNull": True, "source": "Trigger", "attribute": "orderQuantity", "value": None,
}  # fmt: skip
LOOP = {"status": False, "source": "Trigger", "attribute": "items", "value": None}
DATA = {
    "nodeType": "setVariableNode", "name": "Set it", "entity": "variable", "entityId": "v-1", "pluginName": "core",
    "status": "success", "rootId": "1", "sourceIds": ["1"], "isMergeNode": False, "switcher": None, "conditions": None,
    "blockName": "main", "input": {"orderQuantity": FIELD}, "output": {"orderQuantity": 3}, "settings": {"any": ["thing"]},
    "executedValue": {"orderQuantity": 3}, "runInLoop": LOOP, "more": {"of": "it"},
}  # fmt: skip
NODE = {
    "id": "2", "type": "setVariableNode", "position": {"x": 1.5, "y": 2}, "style": None, "sourcePosition": "bottom",
    "targetPosition": "top", "draggable": True, "data": DATA, "selected": False,
}  # fmt: skip
EDGE = {
    "id": "e1", "source": "1", "target": "2", "type": "smoothstep", "animated": True, "label": "then",
    "markerEnd": "arrow", "sourceHandle": "b", "style": {"stroke": "#333", "strokeWidth": 2},
    "data": {"edgeType": "then", "pathId": "p1"},
}  # fmt: skip
WHOLE = {
    "name": "Everything", "description": "all of it", "startNode": "2", "comment": "a comment", "isEnabled": True,
    "trigger": {"apiNode": "1"}, "nodes": [trigger(field("orderQuantity", "numeric"), field("items", "list")), NODE],
    "edges": [EDGE], "settings": {"auditIO": True, "dateFormat": "in", "timezone": "Asia/Kolkata"},
    "dependencyMap": [{"any": 1}, "thing"], "anythingElse": [True],
}  # fmt: skip


@pytest.fixture
def server():
    with Nected() as one:
        yield one


def call(server, method, path="", body=None, key=KEY, kind="application/json", **headers):
    """Send a request as the page says; returns the status and the envelope."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
    sent = {"Content-Type": kind, **headers} | ({"Nected-API-Key": key} if key else {})
    data = body if isinstance(body, str | None) else json.dumps(body)
    try:
        connection.request(method, WORKFLOW + path, data, sent)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def patch(server, row, **changed):
    return call(server, "PATCH", f"/{row['id']}", {**WHOLE, "checksum": row["checksum"], **changed})


# --- the server replaces the entire stored graph


def test_the_full_workflow_graph_replaces_the_stored_one(server):
    row = server.add(orders())
    status, answer = patch(server, row)
    assert (status, answer["code"], list(answer["data"])) == (200, "success", ["checksum"])
    assert {name: row[name] for name in WHOLE} == WHOLE
    assert "additional" not in row


@pytest.mark.parametrize("name", ["name", "nodes", "edges", "startNode", "trigger"])
def test_partial_field_updates_are_not_supported(server, name):
    row = server.add(WHOLE)
    body = {key: one for key, one in WHOLE.items() if key != name}
    status, answer = call(server, "PATCH", f"/{row['id']}", {**body, "checksum": row["checksum"]})
    assert (status, answer["data"]) == (400, None)
    assert answer["message"] == f"the full workflow graph is required; missing: {name}"


# --- the checksum


def test_the_checksum_is_required(server):
    row = server.add(WHOLE)
    status, answer = call(server, "PATCH", f"/{row['id']}", WHOLE)
    assert (status, answer) == (400, {"code": "BAD_REQUEST", "message": "checksum is required", "data": None})


def test_the_checksum_of_a_get_a_create_or_an_update_will_do(server):
    _, created = call(server, "POST", "", WHOLE)
    name, checksum = created["data"]["id"], created["data"]["checksum"]
    _, updated = call(server, "PATCH", f"/{name}", {**WHOLE, "checksum": checksum})
    status, _ = call(server, "PATCH", f"/{name}", {**WHOLE, "checksum": updated["data"]["checksum"]})
    assert status == 200
    _, found = call(server, "GET", f"/{name}")
    assert call(server, "PATCH", f"/{name}", {**WHOLE, "checksum": found["data"]["checksum"]})[0] == 200


def test_an_update_with_another_checksum_is_rejected_and_changes_nothing(server):
    row = server.add(WHOLE)
    before = dict(row)
    status, answer = patch(server, row, checksum="another", name="New")
    assert (status, answer["message"]) == (400, "checksum mismatch")
    assert row == before


def test_the_new_checksum_is_for_test_and_publish(server):
    row = server.add(WHOLE)
    old = row["checksum"]
    new = patch(server, row)[1]["data"]["checksum"]
    assert new != old
    assert call(server, "POST", f"/{row['id']}/test", {"checksum": old})[1]["message"] == "checksum mismatch"
    assert call(server, "POST", f"/{row['id']}/publish", {"checksum": new})[1]["message"].startswith("the workflow must be tested")  # fmt: skip
    assert call(server, "POST", f"/{row['id']}/test", {"checksum": new})[0] == 200
    assert call(server, "POST", f"/{row['id']}/publish", {"checksum": new})[0] == 200


# --- the recommended flow: get, modify, patch


CURL = """
set -e
data=$(curl -sS "$ORIGIN/dev/v1/workflow/$ID" -H "Nected-API-Key: $KEY" | "$PYTHON" -c '
import json, sys
data = json.load(sys.stdin)["data"]
print(json.dumps({**data, "description": "by curl"}))')
curl -sS -X PATCH "$ORIGIN/dev/v1/workflow/$ID" -H "Nected-API-Key: $KEY" -H 'Content-Type: application/json' -d "$data"
"""
PYTHON = """
import os, requests
url = f"{os.environ['ORIGIN']}/dev/v1/workflow/{os.environ['ID']}"
headers = {"Nected-API-Key": os.environ["KEY"]}
data = requests.get(url, headers=headers, timeout=10).json()["data"]
data["description"] = "by requests"
print(requests.patch(url, json=data, headers=headers, timeout=10).text)
"""
JAVASCRIPT = """
const {ORIGIN, ID, KEY} = process.env, url = `${ORIGIN}/dev/v1/workflow/${ID}`;
const headers = {'Nected-API-Key': KEY, 'Content-Type': 'application/json'};
(async () => {
  const {data} = await (await fetch(url, {headers})).json();
  const body = JSON.stringify({...data, description: 'by node'});
  console.log(await (await fetch(url, {method: 'PATCH', headers, body})).text());
})();
"""
PROGRAMS = {
    "curl": (["bash", "-s"], CURL),
    "requests": ([sys.executable, "-"], PYTHON),
    "node": (["node", "-"], JAVASCRIPT),
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_get_modify_patch_works_as_users_write_it(server, program):
    words, source = PROGRAMS[program]
    if shutil.which("curl" if program == "curl" else words[0]) is None:
        pytest.skip(f"there is no {program} here")
    row = server.add(WHOLE)
    env = {"ORIGIN": server.origin, "ID": row["id"], "KEY": KEY, "PYTHON": sys.executable, "PATH": "/usr/local/bin:/usr/bin:/bin"}  # fmt: skip
    done = subprocess.run(
        words, input=source, env=env, capture_output=True, text=True, timeout=25, check=True
    )
    answer = json.loads(done.stdout)
    assert answer == {"code": "success", "message": "Success.", "data": {"checksum": row["checksum"]}}
    assert {name: row[name] for name in WHOLE} == {**WHOLE, "description": f"by {program}"}


def test_get_modify_patch_works_with_runner(server, tmp_path):
    row = server.add(WHOLE)
    target = ("--base-url", server.origin)
    assert here("pull", "--from", "nected", "--id", row["id"], "-o", "w.json", *target, cwd=tmp_path, NECTED_API_KEY=KEY).returncode == 0  # fmt: skip
    document = json.loads((tmp_path / "w.json").read_text())
    (tmp_path / "w.json").write_text(json.dumps({**document, "description": "by runner"}))
    done = here("push", "w.json", "--to", "nected", *target, cwd=tmp_path, NECTED_API_KEY=KEY)
    assert (done.returncode, done.stdout) == (0, f"{row['id']}: updated (Everything)\n")
    assert {name: row[name] for name in WHOLE} == {**WHOLE, "description": "by runner"}
    assert json.loads((tmp_path / "w.json").read_text())["checksum"] == row["checksum"]


# --- the call


def test_the_key_stands_in_its_header(server):
    row = server.add(WHOLE)
    for key in (None, "another"):
        status, answer = call(server, "GET", f"/{row['id']}", key=key)
        assert (status, answer["message"]) == (401, "Missing or invalid API key")


def test_a_branch_may_be_named_in_a_header(server):
    name = call(server, "POST", "", WHOLE, **{"Nected-Branch": "feature/x"})[1]["data"]["id"]
    assert call(server, "GET", f"/{name}", **{"Nected-Branch": "feature/x"})[0] == 200
    assert call(server, "GET", f"/{name}")[0] == 400


@pytest.mark.parametrize(
    ("path", "body", "kind", "message"),
    [
        ("/nowhere", {}, "application/json", "no workflow 'nowhere'"),
        ("/{id}", "{", "application/json", "the body is not JSON"),
        ("/{id}", "[]", "application/json", "the body must be an object"),
        ("/{id}", "{}", "text/plain", "the body must be application/json"),
    ],
)
def test_a_bad_request_is_the_error_envelope(server, path, body, kind, message):
    row = server.add(WHOLE)
    status, answer = call(server, "PATCH", path.format(id=row["id"]), body, kind=kind)
    assert (status, answer) == (400, {"code": "BAD_REQUEST", "message": message, "data": None})


def test_an_internal_error_is_told_in_its_words(server, tmp_path):
    server.on(
        f"{WORKFLOW}/x",
        *[Reply(500, {"code": "INTERNAL", "message": "no luck", "data": None}, [("Retry-After", "0")])] * 9,
    )
    done = here(
        "pull", "--from", "nected", "--id", "x", "--base-url", server.origin, cwd=tmp_path, NECTED_API_KEY=KEY
    )
    assert (done.returncode, done.stderr.splitlines()[-1]) == (3, "the platform answered 500: no luck (INTERNAL) (after 4 attempts)")  # fmt: skip


# --- every property


PLACES = {
    "": (rules.WORKFLOW, WHOLE),
    "settings.": (rules.SETTINGS, WHOLE["settings"]),
    "nodes[1].": (rules.NODE, NODE),
    "nodes[1].position.": (rules.POSITION, NODE["position"]),
    "nodes[1].data.": (rules.NODE_DATA, DATA),
    "nodes[1].data.input.orderQuantity.": (rules.FIELD, FIELD),
    "nodes[1].data.runInLoop.": (rules.LOOP, LOOP),
    "edges[0].": (rules.EDGE, EDGE),
    "edges[0].style.": (rules.STYLE, EDGE["style"]),
    "edges[0].data.": (rules.EDGE_DATA, EDGE["data"]),
}
PROPERTIES = [f"{place}{name}" for place, (table, _) in PLACES.items() for name in table]
# These are needed to find the rest, so that a wrong one is told in other words.
TOLD_OTHERWISE = (
    "nodes",
    "edges",
    "nodes[1].id",
    "edges[0].source",
    "edges[0].target",
    "edges[0].data.edgeType",
)


def replaced(value, path, new):
    """Return a copy with another value at a path."""
    made = json.loads(json.dumps(value))
    owner, parts = made, path.replace("[", ".").replace("]", "").split(".")
    for part in parts[:-1]:
        owner = owner[int(part)] if isinstance(owner, list) else owner[part]
    owner[parts[-1]] = new
    return made


def test_a_workflow_with_every_property_has_no_problem():
    assert problems_of(Document.of(WHOLE)) == ()
    for place, (table, value) in PLACES.items():
        assert table.keys() - {"checksum"} <= value.keys(), place


@pytest.mark.parametrize("path", PROPERTIES)
def test_each_property_is_typed_here_and_there(server, path):
    wrong = 7 if path.rpartition(".")[2] not in ("order", "x", "y", "strokeWidth") else "7"
    value = replaced(WHOLE, path, wrong)
    if path not in TOLD_OTHERWISE:
        assert [one.where for one in problems_of(Document.of(value)) if one.is_error][:1] == [path]
    else:
        assert problems_of(Document.of(value))
    row = server.add(WHOLE)
    status, answer = patch(server, row, **value)
    assert status == 400
    assert path.split(".")[0].split("[")[0] in answer["message"]


@pytest.mark.parametrize("path", [path for path in PROPERTIES if path != "checksum"])
def test_each_property_is_kept_when_it_goes_through_steps(path):
    made, _ = convert(Document.of(json.loads(json.dumps(WHOLE))), "steps")
    back, _ = convert(Document.of(made), "nected", "steps")
    owner, other = back, WHOLE
    for part in path.replace("[", ".").replace("]", "").split("."):
        owner, other = (one[int(part)] if isinstance(one, list) else one[part] for one in (owner, other))
    assert owner == other


def test_properties_that_no_page_names_are_kept(server, tmp_path):
    (tmp_path / "w.json").write_text(json.dumps(WHOLE))
    done = here(
        "push", "w.json", "--to", "nected", "--base-url", server.origin, cwd=tmp_path, NECTED_API_KEY=KEY
    )
    assert done.returncode == 0, done.stderr
    [row] = server.workflows.values()
    assert (row["anythingElse"], row["nodes"][1]["selected"], row["nodes"][1]["data"]["more"]) == ([True], False, {"of": "it"})  # fmt: skip


@pytest.mark.parametrize(
    "name", ["style", "sourceIds", "switcher", "conditions", "output", "executedValue", "input", "settings"]
)
def test_what_may_be_null_may_be_null(server, name):
    path = "nodes[1].style" if name == "style" else f"nodes[1].data.{name}"
    value = replaced(WHOLE, path, None)
    assert problems_of(Document.of(value)) == ()
    assert patch(server, server.add(WHOLE), **value)[0] == 200


@pytest.mark.parametrize(
    ("side", "allowed"), [("sourcePosition", ("bottom", "right")), ("targetPosition", ("top", "left"))]
)
def test_positions_are_one_of_two(server, side, allowed):
    for one in (*allowed, "middle"):
        value = replaced(WHOLE, f"nodes[1].{side}", one)
        assert bool(problems_of(Document.of(value))) == (one == "middle")
        assert patch(server, server.add(WHOLE), **value)[0] == (400 if one == "middle" else 200)


# --- node types, as they run


def outcome(value, tmp_path, *words, bindings=None):
    (tmp_path / "w.json").write_text(json.dumps(value))
    if bindings is not None:
        (tmp_path / "b.json").write_text(json.dumps(bindings))
        words = (*words, "--bindings", "b.json")
    done = here("run", "w.json", "--json", "--capture-bodies", "--trace-out", "t.json", *words, cwd=tmp_path)
    return json.loads(done.stdout) if done.stdout else done.stderr


def single(kind, called="A", **data):
    return workflow(node("2", kind, called, **data), fields=[field("x", "numeric", isOptional=True)])


def test_a_trigger_is_the_entry_and_its_input_the_schema(tmp_path):
    value = workflow(
        node("2", "responseNode", "A", input={"y": field("y", value="{{.Trigger.x}}")}),
        fields=[field("x", "numeric")],
    )
    assert "Input x: a required value is missing" in outcome(value, tmp_path)
    assert "Input x:" in outcome(value, tmp_path, "-i", "x=abc")
    assert outcome(value, tmp_path, "-i", "x=5")["outputs"]["A"] == {"y": 5}


def test_a_trigger_always_has_the_id_1(server):
    value = replaced(WHOLE, "nodes[0].id", "7")
    assert "the trigger's id must be '1', not '7'" in [one.what for one in problems_of(Document.of(value))]
    assert patch(server, server.add(WHOLE), **value)[0] == 400


def test_a_code_node_runs_its_snippet_where_a_binding_says(tmp_path):
    pytest.importorskip("quickjs")
    code = "var q = {{.customInput.x}}; function f() { return q * 2 }; f();"
    value = single("codeNode", settings={"snippet": code})
    bindings = {"A": {"code_path": "data.settings.snippet"}}
    assert outcome(value, tmp_path, "-i", "x=21", bindings=bindings)["outputs"]["A"] == {"output": 42}


def test_an_add_node_is_a_placeholder_that_connects_segments(tmp_path):
    nodes = [node("2", "setVariableNode", "A", input={"x": field("x", value="1")}), node("3", "addNode"), node("4", "responseNode", "B", input={"y": field("y", value="{{.A.x}}")})]  # fmt: skip
    nodes[1]["data"]["nodeType"] = "addNodeMd"
    assert outcome(workflow(*nodes), tmp_path)["outputs"]["B"] == {"y": "1"}


@pytest.mark.parametrize("kind", ["ruleNode", "connectorNode"])
def test_a_rule_or_a_connector_runs_as_a_binding_says(tmp_path, kind):
    with ApiServer(lambda request: Reply(body={"action": {"discount": 5}})) as api:
        bindings = {"A": {"method": "POST", "url": api.origin, "body": {"params": {"x": "{{.Trigger.x}}"}}}}
        result = outcome(single(kind, entityId="r-1"), tmp_path, "-i", "x=5", bindings=bindings)
    assert result["outputs"]["A"] == {"output": {"action": {"discount": 5}}, "statusCode": 200}
    assert api.requests[0].json() == {"params": {"x": 5}}


def test_a_response_node_returns_its_fields_and_a_set_variable_node_sets_them(tmp_path):
    for kind in ("responseNode", "setVariableNode"):
        value = single(kind, input={"y": field("y", "numeric", "5")})
        assert outcome(value, tmp_path)["outputs"]["A"] == {"y": 5}


def test_other_types_are_kept_and_told(tmp_path):
    told = outcome(single("slackNode"), tmp_path)
    assert "node 'A' (slackNode): only its platform can run it" in told
    assert 'bindings.json: "A": {"method": "GET", "url": "…"}' in told


def test_a_node_runs_in_a_loop_over_the_list_of_its_source(tmp_path):
    with ApiServer(lambda request: Reply(body=request.path)) as api:
        made = node(
            "2",
            "connectorNode",
            "A",
            runInLoop={"status": True, "source": "Trigger", "attribute": "ids", "value": None},
        )
        value = workflow(made, fields=[field("ids", "list")])
        result = outcome(
            value,
            tmp_path,
            "-i",
            "ids=[1,2]",
            bindings={"A": {"method": "GET", "url": f"{api.origin}/{{{{item}}}}"}},
        )
    assert result["outputs"]["A"]["output"] == ["/1", "/2"]


# --- edge types


@pytest.mark.parametrize(("status", "taken"), [(200, "Good"), (500, "Bad")])
def test_then_and_else_are_taken_after_success_and_failure(tmp_path, status, taken):
    nodes = [node("2", "connectorNode", "A"), node("3", "mergeNode", "Good"), node("4", "mergeNode", "Bad"), node("5", "mergeNode", "End")]  # fmt: skip
    edges = [edge("1", "2"), edge("2", "3"), edge("2", "4", "else"), edge("3", "5"), edge("4", "5")]
    with ApiServer(lambda request: Reply(status)) as api:
        result = outcome(
            workflow(*nodes, edges=edges), tmp_path, bindings={"A": {"method": "GET", "url": api.origin}}
        )
    statuses = {step["id"]: step["status"] for step in result["steps"]}
    assert (result["status"], statuses[taken], statuses["End"]) == ("succeeded", "succeeded", "succeeded")
    assert [statuses["Good"], statuses["Bad"]].count("skipped") == 1


@pytest.mark.parametrize(("x", "taken"), [(3, "P"), (2, "Q"), (1, "R")])
def test_a_path_of_a_switch_is_taken_by_its_id_and_a_merge_fires_on_any(tmp_path, x, taken):
    nodes = [node("2", "switchNode", "S"), *(node(str(number), "mergeNode", name) for number, name in enumerate("PQR", 3)), node("6", "addNode", "End", isMergeNode=True)]  # fmt: skip
    edges = [edge("1", "2"), edge("2", "3", path="p"), edge("2", "4", path="q"), edge("2", "5", "else"), *(edge(one, "6") for one in "345")]  # fmt: skip
    value = workflow(*nodes, edges=edges, fields=[field("x", "numeric")])
    bindings = {"S": {"paths": {"p": "{{.Trigger.x}} > 2", "q": "{{.Trigger.x}} > 1"}}}
    result = outcome(value, tmp_path, "-i", f"x={x}", bindings=bindings)
    statuses = {step["id"]: step["status"] for step in result["steps"]}
    assert [name for name in "PQR" if statuses[name] == "succeeded"] == [taken]
    assert statuses["End"] == "succeeded"


# --- input flags


def fields_of(tmp_path, *fields, words=()):
    made = node("2", "responseNode", "A", input={one["name"]: one for one in fields})
    return outcome(workflow(made, fields=[field("t", "json", isOptional=True)]), tmp_path, *words)[
        "outputs"
    ].get("A")


def test_is_optional_lets_a_field_be_without_value(tmp_path):
    assert fields_of(tmp_path, field("x", isOptional=True), field("y", value="1")) == {"y": "1"}
    value = workflow(node("2", "mergeNode", "A"), fields=[field("x", isOptional=True)])
    assert outcome(value, tmp_path)["status"] == "succeeded"


def test_is_nullable_lets_a_field_be_null(tmp_path):
    assert fields_of(tmp_path, field("x", isNullable=True)) == {"x": None}
    assert fields_of(tmp_path, field("x", value="{{.Trigger.t}}", isNullable=True)) == {"x": None}


def test_send_null_sends_null_where_there_is_no_value(tmp_path):
    assert fields_of(tmp_path, field("x", sendNull=True, isOptional=True), field("y", value="1", sendNull=True)) == {"x": None, "y": "1"}  # fmt: skip


def test_not_send_leaves_a_field_out(tmp_path):
    assert fields_of(tmp_path, field("x", value="1", notSend=True), field("y", value="2")) == {"y": "2"}


def test_a_field_without_value_that_must_have_one_is_refused(tmp_path):
    told = outcome(workflow(node("2", "responseNode", "A", input={"x": field("x")})), tmp_path)
    assert "nodes[1].data.input.x: the field 'x' has no value" in told


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [("string", "5", "5"), ("numeric", "5", 5), ("boolean", "true", True), ("json", '{"a": 1}', {"a": 1}), ("list", "[1]", [1]), ("date", "2024/07/21", "2024/07/21")],
)  # fmt: skip
def test_the_data_type_says_what_a_static_text_is(tmp_path, kind, text, expected):
    assert fields_of(tmp_path, field("x", kind, text)) == {"x": expected}


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [("string", "5", "5"), ("numeric", "5", 5), ("boolean", "true", True), ("json", '{"a": 1}', {"a": 1}), ("list", "[1]", [1])],
)  # fmt: skip
def test_the_data_type_says_what_an_input_is(tmp_path, kind, given, expected):
    made = node("2", "responseNode", "A", input={"y": field("y", value="{{.Trigger.x}}")})
    value = workflow(made, fields=[field("x", kind)])
    assert outcome(value, tmp_path, "-i", f"x={given}")["outputs"]["A"] == {"y": expected}


def test_source_and_attribute_say_where_a_value_comes_from(tmp_path):
    one = field("x", source="Trigger", attribute="t.a[0]")
    assert fields_of(tmp_path, one, words=("-i", 't={"a": [9]}')) == {"x": 9}


def test_order_is_the_order_of_the_fields(tmp_path):
    assert list(fields_of(tmp_path, field("b", value="1", order=2), field("a", value="1", order=1))) == [
        "a",
        "b",
    ]


def test_an_executed_value_is_a_sample_for_a_replay(tmp_path):
    made = node("2", "responseNode", "A", input={"y": field("y", value="{{.Trigger.x}}")})
    value = workflow(made, fields=[field("x", executedValue="sample")])
    assert outcome(value, tmp_path, "--recorded")["outputs"]["A"] == {"y": "sample"}


@pytest.mark.parametrize("name", ["isCaseSensitive", "keyAttribute", "keySource", "mapping", "schemaId"])
def test_flags_that_say_nothing_about_a_run_change_nothing(tmp_path, name):
    value = "text" if name in ("keyAttribute", "keySource", "schemaId") else True
    assert fields_of(tmp_path, field("x", value="1", **{name: value})) == {"x": "1"}


# --- settings


def test_audit_io_captures_no_bodies(tmp_path):
    with ApiServer(lambda request: Reply(body={"private": "words of mine"})) as api:
        value = {**single("connectorNode"), "settings": {"auditIO": True}}
        (tmp_path / "b.json").write_text(
            json.dumps({"A": {"method": "GET", "url": api.origin, "outputs": {"s": "response.status"}}})
        )
        (tmp_path / "w.json").write_text(json.dumps(value))
        done = here("run", "w.json", "--bindings", "b.json", "--trace-out", "t.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "words of mine" not in (tmp_path / "t.json").read_text()


def test_a_timezone_is_one_of_iana():
    for zone, is_one in (("Asia/Kolkata", True), ("UTC", True), ("India", False), ("GMT+25", False)):
        value = replaced(WHOLE, "settings.timezone", zone)
        assert bool(problems_of(Document.of(value))) == (not is_one)


def test_a_date_format_and_a_comment_are_texts_that_stay(server):
    row = server.add(orders())
    assert patch(server, row)[0] == 200
    assert (row["settings"]["dateFormat"], row["comment"]) == ("in", "a comment")


def test_a_workflow_that_is_not_enabled_runs_with_a_warning(tmp_path):
    (tmp_path / "w.json").write_text(json.dumps({**single("mergeNode"), "isEnabled": False}))
    done = here("run", "w.json", cwd=tmp_path)
    assert (done.returncode, "isEnabled: warning: the flow is not active" in done.stderr) == (0, True)
    done = here("submit", "w.json", "--state", "sqlite:///s.db", cwd=tmp_path)
    assert (done.returncode, "the flow is not active; --inactive runs it all the same" in done.stderr) == (
        2,
        True,
    )
