"""Every statement of seed 002, Update Flow: its own calls and bodies against a server of its documents.

The server is the emulator with the documents' face; what the server that was seen does with the same
calls stands beside it, so that the difference is on record.
"""

import json
import shutil
import subprocess
from http.client import HTTPConnection

import pytest

from tests.command import here
from tests.emulators.gassapi import BASE, FACES, FOLDER, OTHER_FOLDER, STRANGER, TOKEN, Documented, Observed
from tests.servers import ApiServer, Reply

INPUTS = [
    {
        "name": "username",
        "type": "string",
        "required": True,
        "validation": {"min_length": 3, "max_length": 50},
        "description": "Username untuk registrasi",
    },
    {"name": "email", "type": "email", "required": True, "description": "Email address user"},
    {
        "name": "password",
        "type": "password",
        "required": True,
        "validation": {"min_length": 8},
        "description": "Password user",
    },
    {
        "name": "sendWelcomeEmail",
        "type": "boolean",
        "required": False,
        "default": True,
        "description": "Send welcome email after registration",
    },
]
STEPS = [
    {
        "id": "register",
        "name": "Register User",
        "method": "POST",
        "url": "{{env.API_URL}}/auth/register",
        "headers": {"Content-Type": "application/json"},
        "body": {
            "username": "{{input.username}}",
            "email": "{{input.email}}",
            "password": "{{input.password}}",
        },
        "outputs": {
            "userId": "response.body.user.id",
            "activationToken": "response.body.activation_token",
            "userRole": "response.body.user.role",
        },
    },
    {
        "id": "verify_email",
        "name": "Verify Email",
        "method": "POST",
        "url": "{{env.API_URL}}/auth/verify-email",
        "body": {"token": "{{register.activationToken}}"},
        "outputs": {"verificationStatus": "response.body.status"},
    },
    {
        "id": "send_welcome",
        "name": "Send Welcome Email",
        "method": "POST",
        "url": "{{env.API_URL}}/notifications/welcome",
        "condition": "{{input.sendWelcomeEmail}} === true",
        "body": {"userId": "{{register.userId}}", "userRole": "{{register.userRole}}"},
        "outputs": {"emailId": "response.body.email_id"},
    },
]
CONFIG = {"delay": 0, "retryCount": 1, "parallel": False}
BODY = {
    "name": "Updated User Registration Flow",
    "description": "Updated description with additional verification step",
    "folder_id": FOLDER,
    "flow_inputs": INPUTS,
    "flow_data": {"version": "1.0", "steps": STEPS, "config": CONFIG},
    "is_active": True,
}


@pytest.fixture
def server():
    with Documented() as documented:
        yield documented


@pytest.fixture
def seen():
    with Observed(debug=False) as observed:
        yield observed


def call(server, method, path, body=None, token=TOKEN):
    """Send a request as the samples do; returns the status and what the answer holds."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    data = body if isinstance(body, str | None) else json.dumps(body)
    try:
        connection.request(method, BASE + path, data, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def put(server, flow_id, body, *, by_path=True, token=TOKEN):
    path = f"/flow/{flow_id}" if by_path else f"/?act=flow_update&id={flow_id}"
    return call(server, "PUT", path, body, token)


# --- the request body, the fields, the answer


@pytest.mark.parametrize("by_path", [True, False])
def test_the_sample_body_is_stored_whole(server, by_path):
    flow = server.add()
    status, answer = put(server, flow, BODY, by_path=by_path)
    assert status == 200
    assert (answer["success"], answer["status_code"], answer["message"]) == (True, 200, "Flow updated")
    assert answer.keys() == {"success", "status_code", "message", "timestamp", "request_id", "data"}
    row = answer["data"]
    assert {name: row[name] for name in ("id", "name", "description", "folder_id")} == {
        "id": flow,
        "name": BODY["name"],
        "description": BODY["description"],
        "folder_id": FOLDER,
    }
    assert row["is_active"] == 1


def test_parts_of_the_answer_are_json_texts(server):
    row = put(server, server.add(), BODY)[1]["data"]
    assert json.loads(row["flow_inputs"]) == INPUTS
    assert json.loads(row["flow_data"]) == BODY["flow_data"]
    assert json.loads(row["ui_data"]).keys() >= {"nodes", "edges"}


def test_all_fields_are_optional(server):
    flow = server.add("Old", BODY["flow_data"], description="old", flow_inputs=INPUTS)
    before = call(server, "GET", f"/flow/{flow}")[1]["data"]
    for name in BODY:
        assert put(server, flow, {name: BODY[name]})[0] == 200
    assert put(server, flow, {})[0] == 200
    after = call(server, "GET", f"/flow/{flow}")[1]["data"]
    assert {name for name in after if after[name] != before[name]} == {
        "name",
        "description",
        "folder_id",
        "folder_name",
        "ui_data",
        "updated_at",
    }


def test_an_incremental_update_changes_only_what_it_sends(server, seen):
    for one in (server, seen):
        flow = one.add("Old", BODY["flow_data"], description="kept", is_active=0)
        status, answer = put(one, flow, {"name": "New name only"}, by_path=False)
        assert (status, answer["data"]["name"]) == (200, "New name only")
        assert (answer["data"]["description"], answer["data"]["is_active"]) == ("kept", 0)
        assert json.loads(answer["data"]["flow_data"])["steps"] == STEPS


def test_a_complete_replacement_leaves_nothing_of_the_old_flow(server):
    flow = server.add("Old", BODY["flow_data"])
    new = {"version": "1.0", "steps": [{"id": "one", "method": "GET", "url": "/one"}], "config": {"delay": 5}}
    row = put(server, flow, {"flow_data": new})[1]["data"]
    assert json.loads(row["flow_data"]) == new
    assert [node["id"] for node in json.loads(row["ui_data"])["nodes"]] == ["one"]


def test_a_folder_must_be_of_the_same_project(server, seen):
    for one in (server, seen):
        for folder in (OTHER_FOLDER, "fld_none"):
            status, answer = put(one, one.add(), {"folder_id": folder}, by_path=False)
            assert status == 400
            assert answer["message"].endswith("Folder does not belong to this project")


# --- automatic conversion


def test_steps_are_converted_to_a_drawing_for_the_editor(server):
    row = put(server, server.add(), BODY)[1]["data"]
    drawing = json.loads(row["ui_data"])
    assert [(node["id"], node["position"]["x"]) for node in drawing["nodes"]] == [
        ("register", 0),
        ("verify_email", 250),
        ("send_welcome", 500),
    ]
    assert [(edge["source"], edge["target"]) for edge in drawing["edges"]] == [
        ("register", "verify_email"),
        ("verify_email", "send_welcome"),
    ]
    assert drawing["nodes"][2]["data"]["condition"] == "{{input.sendWelcomeEmail}} === true"


def test_a_drawing_goes_to_an_endpoint_of_its_own(server):
    flow = server.add()
    drawing = {
        "nodes": [{"id": "a", "type": "apiCall", "position": {"x": 9, "y": 9}, "data": {"name": "A", "method": "GET", "url": "/a"}}],
        "edges": [],
    }  # fmt: skip
    for path in (f"/flow/{flow}/ui", f"/?act=flow_update_ui&id={flow}"):
        status, answer = call(server, "PUT", path, {"flow_data": drawing})
        assert status == 200
        assert json.loads(answer["data"]["ui_data"]) == drawing
        assert json.loads(answer["data"]["flow_data"])["steps"] == [
            {"id": "a", "name": "A", "method": "GET", "url": "/a"}
        ]
    assert call(server, "GET", f"/flow/{flow}/ui")[1]["data"]["flow_data"] == drawing


# --- what is refused


def test_a_broken_rule_of_an_input_is_refused(server):
    short = [{**INPUTS[0], "required": False, "default": "al"}]
    assert put(server, server.add(), {"flow_inputs": short}) == (
        400,
        {"status": "error", "message": "Invalid flow inputs: Input username: minimum length is 3"},
    )


def test_a_step_without_its_id_is_refused(server):
    body = {"flow_data": {"version": "1.0", "steps": [{"method": "GET", "url": "/x"}]}}
    assert put(server, server.add(), body) == (
        400,
        {"status": "error", "message": "Invalid flow format: Step missing required field 'id'"},
    )


def test_a_reference_with_an_invalid_field_is_refused(server, seen):
    step = {"id": "step", "method": "GET", "url": "/{{step.invalid-field}}"}
    text = "Invalid variable references: Step 0: Invalid field name 'invalid-field' in reference 'step.invalid-field'"
    body = {"flow_data": {"version": "1.0", "steps": [step]}}
    assert put(server, server.add(), body) == (400, {"status": "error", "message": text})
    status, answer = put(seen, seen.add(), body, by_path=False)
    assert (status, answer["message"]) == (400, f"Invalid request: {text}")


def test_a_flow_that_does_not_exist_is_not_found(server, seen):
    assert put(server, "flow_none", {"name": "x"}) == (404, {"status": "error", "message": "Flow not found"})
    status, answer = put(seen, "flow_none", {"name": "x"}, by_path=False)
    assert (status, answer["message"]) == (404, "Not found: Flow not found")


def test_somebody_who_is_no_member_is_forbidden(server, seen):
    assert put(server, server.add(), {"name": "x"}, token=STRANGER) == (
        403,
        {"status": "error", "message": "Forbidden"},
    )
    status, answer = put(seen, seen.add(), {"name": "x"}, by_path=False, token=STRANGER)
    assert (status, answer["message"]) == (403, "Forbidden")


def test_nobody_gets_in_without_a_token(server, seen):
    for one in (server, seen):
        status, answer = put(one, one.add(), {"name": "x"}, by_path=False, token=None)
        assert status == 401
        assert answer["message"].endswith("Authentication required")


# --- the use cases


def test_the_script_update_with_its_dots_is_no_json_and_filled_in_is_fine(server):
    flow = server.add()
    sample = (
        '{"flow_data": {"version": "1.0", "steps": [{"id": "step1", "method": "POST", ...},'
        ' {"id": "new_step", "method": "GET", "url": "{{step1.output}}"}]}}'
    )
    assert put(server, flow, sample, by_path=False) == (
        400,
        {"status": "error", "message": "Invalid JSON format"},
    )
    filled = sample.replace("...", '"url": "/a"')
    status, answer = put(server, flow, filled, by_path=False)
    assert status == 200
    assert [step["id"] for step in json.loads(answer["data"]["flow_data"])["steps"]] == ["step1", "new_step"]


NODE = """
const token = process.argv[2], origin = process.argv[3];
const updateFlowConfig = async (flowId, newConfig) => {
  const response = await fetch(`${origin}/gassapi2/backend/?act=flow_update&id=${flowId}`, {
    method: 'PUT',
    headers: {'Content-Type': 'application/json', 'Authorization': `Bearer ${token}`},
    body: JSON.stringify({flow_data: {version: "1.0", steps: newConfig.steps, config: newConfig.config}})
  });
  return response.json();
};
updateFlowConfig(process.argv[4], JSON.parse(process.argv[5])).then(x => console.log(JSON.stringify(x)));
"""


def test_the_pipeline_update_of_the_documents_works_in_node(server):
    if shutil.which("node") is None:
        pytest.skip("there is no node here")
    words = [TOKEN, server.origin, server.add(), json.dumps({"steps": STEPS, "config": CONFIG})]
    done = subprocess.run(
        ["node", "-", *words], input=NODE, capture_output=True, text=True, timeout=25, check=True
    )
    answer = json.loads(done.stdout)
    assert (answer["success"], json.loads(answer["data"]["flow_data"])) == (True, BODY["flow_data"])


def test_the_sample_with_a_dynamic_host_lacks_fields_of_its_step(server):
    body = {
        "flow_inputs": [
            {
                "name": "environment",
                "type": "string",
                "required": True,
                "validation": {"allowed_values": ["dev", "staging", "prod"]},
            }
        ],
        "flow_data": {"steps": [{"url": "https://{{input.environment}}.api.example.com/endpoint"}]},
    }
    flow = server.add()
    missing = "Step missing required field 'id', Step missing required field 'method'"
    assert put(server, flow, body) == (400, {"status": "error", "message": f"Invalid flow format: {missing}"})
    body["flow_data"]["steps"][0] |= {"id": "call", "method": "GET"}
    status, answer = put(server, flow, body)
    assert (status, json.loads(answer["data"]["flow_inputs"])) == (200, body["flow_inputs"])


def test_conditional_steps_are_stored(server, seen):
    check = {
        "id": "check_condition",
        "condition": "{{input.role}} === 'admin'",
        "trueLabel": "Admin Path",
        "falseLabel": "User Path",
    }
    status, answer = put(server, server.add(), {"flow_data": {"steps": [check]}})
    assert (status, json.loads(answer["data"]["flow_data"])["steps"]) == (200, [check])
    status, answer = put(seen, seen.add(), {"flow_data": {"steps": [check]}}, by_path=False)
    assert (status, answer["message"]) == (
        400,
        "Invalid request: Invalid flow format: Step 0 missing method, Step 0 missing URL, Missing version",
    )


def test_the_replacement_with_its_comments_is_no_json(server):
    sample = '{"flow_data": {"version": "1.0", "steps": [/* new steps */], "config": { /* new config */ }}}'
    assert put(server, server.add(), sample)[0] == 400


def test_the_last_example_stores_steps_and_makes_the_picture(server):
    steps = [
        {"id": "register", "name": "Register User", "method": "POST", "url": "{{env.API_URL}}/auth/register"}
    ]
    body = {"name": "Updated User Registration Flow", "flow_data": {"version": "1.0", "steps": steps}}
    row = put(server, server.add(), body, by_path=False)[1]["data"]
    assert json.loads(row["flow_data"]) == body["flow_data"]
    assert [node["id"] for node in json.loads(row["ui_data"])["nodes"]] == ["register"]


# --- what the runner makes of the same documents


DYNAMIC = {
    "flow_inputs": [
        {
            "name": "environment",
            "type": "string",
            "required": True,
            "validation": {"allowed_values": ["dev", "staging", "prod"]},
        }
    ],
    "flow_data": {
        "version": "1.0",
        "steps": [
            {"id": "call", "method": "GET", "url": "http://{{input.environment}}.api.example.com/endpoint"}
        ],
    },
}


def test_an_input_chooses_the_host_that_is_called(tmp_path):
    (tmp_path / "flow.json").write_text(json.dumps(DYNAMIC))
    with ApiServer(lambda request: Reply(body={})) as api:
        words = ("--map", f"*.api.example.com=127.0.0.1:{api.port}", "-i")
        done = here("run", "flow.json", *words, "environment=staging", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert [request.header("host") for request in api.requests] == ["staging.api.example.com"]
        refused = here("run", "flow.json", *words, "environment=evil.example/", cwd=tmp_path)
        assert len(api.requests) == 1
    assert refused.returncode == 2
    assert "Input environment: must be one of: dev, staging, prod" in refused.stderr


@pytest.mark.parametrize(("role", "label"), [("admin", "Admin Path"), ("user", "User Path")])
def test_a_conditional_step_tells_its_label(tmp_path, role, label):
    check = {
        "id": "check",
        "condition": "{{input.role}} === 'admin'",
        "trueLabel": "Admin Path",
        "falseLabel": "User Path",
    }
    inputs = [{"name": "role", "type": "string"}]
    (tmp_path / "flow.json").write_text(
        json.dumps({"flow_inputs": inputs, "flow_data": {"version": "1.0", "steps": [check]}})
    )
    done = here("run", "flow.json", "-i", f"role={role}", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["outputs"]["check"] == {"result": role == "admin", "label": label}


def test_what_the_server_made_of_the_steps_runs_like_them(server, tmp_path):
    flow = server.add()
    put(server, flow, {**BODY, "flow_data": {**BODY["flow_data"], "config": {**CONFIG, "retryCount": 0}}})
    drawn = call(server, "GET", f"/flow/{flow}/ui")[1]["data"]
    (tmp_path / "drawing.json").write_text(json.dumps(drawn))
    answers = {
        "/auth/register": Reply(201, {"user": {"id": 7, "role": "member"}, "activation_token": "t"}),
        "/auth/verify-email": Reply(200, {"status": "verified"}),
        "/notifications/welcome": Reply(202, {"email_id": "m"}),
    }
    words = ("-i", "username=ada", "-i", "email=ada@example.com", "-i", "password=long enough", "--quiet")
    with ApiServer(lambda request: answers[request.path]) as api:
        for more, paths in (((), list(answers)), (("-i", "sendWelcomeEmail=false"), list(answers)[:2])):
            api.requests.clear()
            done = here("run", "drawing.json", *words, *more, "-e", f"API_URL={api.origin}", cwd=tmp_path)
            assert done.returncode == 0, done.stderr
            assert [request.path for request in api.requests] == paths


def test_a_flow_that_is_switched_off_is_run_with_a_warning(tmp_path):
    record = {
        "is_active": 0,
        "flow_inputs": [],
        "flow_data": {"version": "1.0", "steps": [{"id": "a", "delay": 1}]},
    }
    (tmp_path / "flow.json").write_text(json.dumps(record))
    done = here("run", "flow.json", cwd=tmp_path)
    assert done.returncode == 0
    assert "is_active: warning: the flow is not active" in done.stderr


# --- what was seen instead


def test_the_server_that_was_seen_fails_with_the_sample_body(seen):
    flow = seen.add()
    status, answer = put(seen, flow, BODY, by_path=False)
    assert (status, answer["message"]) == (500, "Failed to update flow")
    assert answer["request_id"].startswith("req_")
    assert seen.flows[flow]["name"] == "A flow"


def test_the_server_that_was_seen_drops_inputs_without_a_word(seen):
    flow = seen.add()
    assert put(seen, flow, {"flow_inputs": [{"nonsense": 1}]}, by_path=False)[0] == 200
    assert seen.flows[flow]["flow_inputs"] == []


def test_the_server_that_was_seen_has_no_paths(seen):
    flow = seen.add()
    assert call(seen, "GET", f"/flow/{flow}")[1]["message"] == "GASS API"
    assert call(seen, "PUT", f"/flow/{flow}", {"name": "x"})[0] == 404
    assert call(seen, "PUT", f"/?act=flow_update_ui&id={flow}", {})[0] == 404
    assert (
        call(seen, "PUT", f"/?act=nonsense&id={flow}", {})[1]["message"] == "Invalid request: Invalid action"
    )


def test_the_picture_of_the_server_that_was_seen_loses_conditions_and_settings(seen):
    flow = seen.add("Old", BODY["flow_data"])
    drawn = call(seen, "GET", f"/?act=flow_detail_ui&id={flow}")[1]["data"]["flow_data"]
    assert "condition" not in drawn["nodes"][2]["data"]
    status, answer = call(seen, "PUT", f"/?act=flow_detail_ui&id={flow}", {"flow_data": drawn})
    kept = json.loads(answer["data"]["flow_data"])
    assert (status, kept["config"], [step["id"] for step in kept["steps"]]) == (
        200,
        CONFIG,
        ["register", "verify_email", "send_welcome"],
    )
    assert all("condition" not in step for step in kept["steps"])
    assert kept["steps"][1]["headers"] == []


@pytest.mark.parametrize("face", FACES)
def test_a_body_above_a_mebibyte_is_too_large(face):
    with FACES[face]() as server:
        status, answer = put(server, server.add(), {"name": "x" * 2**20}, by_path=False)
    assert (status, answer["message"]) == (413, "Input too large")
