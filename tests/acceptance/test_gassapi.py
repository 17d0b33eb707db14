"""`runner push` and `runner pull` against GASSAPI on loopback, in both of its faces."""

import json

import httpx
import pytest

from tests.command import command, here
from tests.emulators.gassapi import (
    FACES,
    FOLDER,
    OTHER_FOLDER,
    OTHER_PROJECT,
    PROJECT,
    STRANGER,
    TOKEN,
    Documented,
    Observed,
)

STEPS = [
    {"id": "login", "method": "POST", "url": "{{env.API}}/login", "body": {"user": "{{input.user}}"}, "headers": {}},
    {"id": "greet", "method": "GET", "url": "{{env.API}}/greet", "condition": "{{input.greet}} === true", "timeout": 500},
]  # fmt: skip
FLOW = {
    "name": "Login",
    "description": "signs in",
    "flow_inputs": [
        {"name": "user", "type": "string", "validation": {}},
        {"name": "greet", "type": "boolean"},
    ],
    "flow_data": {"version": "1.0", "steps": STEPS, "config": {"delay": 10}},
    "is_active": True,
}
PLAIN = {"version": "1.0", "steps": [{"id": "a", "name": "A", "method": "GET", "url": "/a"}]}


@pytest.fixture(params=FACES)
def server(request):
    """A server of either face."""
    with FACES[request.param]() as one:
        yield one


@pytest.fixture
def documented():
    with Documented() as one:
        yield one


@pytest.fixture
def observed():
    with Observed() as one:
        yield one


def write(folder, record, name="flow.json"):
    (folder / name).write_text(json.dumps(record), encoding="utf-8")
    return name


def gassapi(server, cwd, *words, run=here, **env):
    return run(*words, "--base-url", server.api, cwd=cwd, **{"GASSAPI_TOKEN": TOKEN, **env})


def push(server, cwd, *words, **more):
    return gassapi(server, cwd, "push", *words, "--to", "gassapi", **more)


def pull(server, cwd, *words, **more):
    return gassapi(server, cwd, "pull", "--from", "gassapi", *words, **more)


def changing(server):
    """Return what was sent that may have changed something: method and body."""
    return [(one.method, one.json() if one.body else None) for one in server.requests if one.method != "GET"]


def kept(server, flow):
    row = server.flows[flow]
    return {
        name: row[name]
        for name in ("name", "description", "folder_id", "flow_inputs", "flow_data", "is_active")
    }


# --- push


@pytest.mark.parametrize("form", [(), ("--paths",)])
def test_a_document_replaces_what_differs_and_nothing_else(documented, tmp_path, form):
    flow = documented.add("Old", folder_id=FOLDER)
    done = push(documented, tmp_path, write(tmp_path, FLOW), "--id", flow, *form, run=command)
    assert (done.returncode, done.stdout) == (
        0,
        f"{flow}: updated (name, description, flow_inputs, flow_data)\n",
    )
    assert 'name: "Old" -> "Login"' in done.stderr
    assert kept(documented, flow) == {**FLOW, "folder_id": FOLDER, "is_active": 1}
    assert [body.keys() for _, body in changing(documented)] == [
        {"name", "description", "flow_inputs", "flow_data"}
    ]
    paths = {request.path for request in documented.requests}
    assert paths == ({f"/gassapi2/backend/flow/{flow}"} if form else {"/gassapi2/backend/"})


def test_an_incremental_update_sends_only_what_the_document_has(server, tmp_path):
    flow = server.add("Old", description="kept")
    done = push(server, tmp_path, write(tmp_path, {"name": "New name only"}), "--id", flow)
    assert (done.returncode, done.stdout) == (0, f"{flow}: updated (name)\n")
    assert changing(server) == [("PUT", {"name": "New name only"})]
    assert server.flows[flow]["description"] == "kept"


def test_a_document_that_changes_nothing_is_not_sent(server, tmp_path):
    flow = server.add(
        FLOW["name"], FLOW["flow_data"], description="signs in", flow_inputs=FLOW["flow_inputs"]
    )
    done = push(server, tmp_path, write(tmp_path, FLOW), "--id", flow)
    assert (done.returncode, done.stdout) == (0, f"{flow}: unchanged (it is so already)\n")
    assert changing(server) == []


def test_only_sends_exactly_the_fields_that_it_names(server, tmp_path):
    flow = server.add(FLOW["name"], description="old")
    done = push(server, tmp_path, write(tmp_path, FLOW), "--id", flow, "--only", "name, is_active")
    assert done.returncode == 0, done.stderr
    assert changing(server) == [("PUT", {"name": "Login", "is_active": True})]
    assert server.flows[flow]["description"] == "old"


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ("nonsense", "--only: there is no field 'nonsense'; there are name, description, folder_id"),
        ("name,folder_id", "--only: the document has no 'folder_id'"),
    ],
)
def test_fields_that_cannot_be_sent_are_told_before(server, tmp_path, fields, told):
    done = push(server, tmp_path, write(tmp_path, FLOW), "--id", "flow_1", "--only", fields)
    assert (done.returncode, server.requests) == (2, [])
    assert told in done.stderr


def test_a_dry_run_shows_the_exact_change_and_sends_nothing(server, tmp_path):
    flow = server.add("Old", PLAIN)
    new = {"name": "New", "flow_data": {**PLAIN, "steps": [{**PLAIN["steps"][0], "url": "/b"}]}}
    done = push(server, tmp_path, write(tmp_path, new), "--id", flow, "--dry-run")
    assert done.returncode == 0
    head, _, body = done.stdout.partition("\n\n")
    assert head.splitlines() == [
        f"PUT {server.api}/?act=flow_update&id={flow}",
        "Authorization: Bearer [masked]",
        "Accept: application/json",
        "Content-Type: application/json",
    ]
    assert json.loads(body) == new
    assert done.stderr.splitlines() == [
        'name: "Old" -> "New"',
        'flow_data.steps[0].url: "/a" -> "/b"',
        "nothing was sent",
    ]
    assert changing(server) == []


def test_a_dry_run_of_nothing_says_so(server, tmp_path):
    flow = server.add("Old")
    done = push(server, tmp_path, write(tmp_path, {"name": "Old"}), "--id", flow, "--dry-run")
    assert (done.returncode, done.stdout) == (0, f"{flow}: unchanged (it is so already)\n")
    missing = push(server, tmp_path, "flow.json", "--id", "flow_none", "--dry-run")
    assert (missing.returncode, "404" in missing.stderr) == (3, True)


def test_a_dry_run_of_a_drawing_goes_to_its_own_place(documented, tmp_path):
    flow = documented.add("Old", PLAIN)
    done = push(
        documented, tmp_path, write(tmp_path, {"flow_data": STEPS_DRAWN}), "--ui", "--id", flow, "--dry-run"
    )
    assert done.stdout.startswith(f"PUT {documented.api}/?act=flow_detail_ui&id={flow}\n")


STEPS_DRAWN = {
    "nodes": [
        {
            "id": "a",
            "type": "apiCall",
            "position": {"x": 7, "y": 8},
            "data": {"name": "A", "method": "GET", "url": "/a"},
        },
        {
            "id": "c",
            "type": "apiCall",
            "position": {"x": 9, "y": 8},
            "data": {"name": "C", "method": "GET", "url": "/c", "condition": "false"},
        },
    ],
    "edges": [{"id": "e", "source": "a", "target": "c", "type": "step"}],
    "viewport": {"x": 1, "y": 2, "zoom": 3},
}


# --- steps on the server that was seen


LOSS = [
    "  flow_data.steps[1].condition was not kept",
    "  flow_data.steps[1].timeout was not kept",
    "  flow_data.config.delay was 10 and is 0",
]


def test_steps_that_only_a_drawing_can_carry_need_a_yes_and_the_loss_is_told_first(observed, tmp_path):
    flow = observed.add("Old")
    done = push(observed, tmp_path, write(tmp_path, FLOW), "--id", flow)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.splitlines()[-5:] == [
        "this server stores steps only as a drawing, and would not keep all of it",
        *LOSS,
        "  --yes sends it all the same; nothing was changed",
    ]
    assert observed.flows[flow]["name"] == "Old"


def test_with_a_yes_steps_go_as_a_drawing_and_what_was_lost_is_what_was_told(observed, tmp_path):
    flow = observed.add("Old")
    done = push(observed, tmp_path, write(tmp_path, FLOW), "--id", flow, "--yes")
    assert done.returncode == 3
    lines = done.stderr.splitlines()
    assert lines[-8:] == [
        "this server stores steps only as a drawing; it will not keep:",
        *LOSS,
        f"{flow}: the platform did not keep everything that was sent:",
        *LOSS,
    ]
    row = observed.flows[flow]
    assert (row["name"], row["flow_inputs"]) == ("Login", FLOW["flow_inputs"])
    assert row["ui_data"]["nodes"][1]["data"]["condition"] == "{{input.greet}} === true"
    assert [request.query["act"] for request in observed.requests if request.method == "PUT"] == [
        ["flow_update"],
        ["flow_detail_ui"],
    ]


def test_steps_that_a_drawing_keeps_need_no_yes(observed, tmp_path):
    flow = observed.add("Old")
    done = push(observed, tmp_path, write(tmp_path, {"flow_data": PLAIN}), "--id", flow)
    assert (done.returncode, done.stdout) == (0, f"{flow}: updated (flow_data)\n")
    assert "this server stores steps only as a drawing; it keeps all of these" in done.stderr


def test_a_failure_of_the_server_is_not_tried_again(observed, tmp_path):
    observed.add("Taken")
    flow = observed.add("Old")
    done = push(observed, tmp_path, write(tmp_path, {"name": "taken"}), "--id", flow)
    assert (done.returncode, len(changing(observed))) == (3, 1)
    assert "the platform answered 500: Failed to update flow (request req_" in done.stderr


def test_inputs_that_were_dropped_without_a_word_are_told(observed, tmp_path):
    flow = observed.add("Old")
    done = push(
        observed, tmp_path, write(tmp_path, {"flow_inputs": [{"name": "x", "type": "string"}]}), "--id", flow
    )
    assert (done.returncode, done.stdout) == (3, f"{flow}: updated (flow_inputs)\n")
    assert done.stderr.splitlines()[-2:] == [
        f"{flow}: the platform did not keep everything that was sent:",
        "  flow_inputs[0] was not kept",
    ]  # fmt: skip


def test_a_field_that_cannot_be_cleared_is_told(observed, tmp_path):
    flow = observed.add("Old", description="stays")
    done = push(observed, tmp_path, write(tmp_path, {"description": None}), "--id", flow)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (3, '  description was nothing and is "stays"')


def test_text_that_the_server_changes_is_told(observed, tmp_path):
    flow = observed.add("Old")
    done = push(observed, tmp_path, write(tmp_path, {"name": "A & B"}), "--id", flow)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (3, '  name was "A & B" and is "A &amp; B"')


def test_what_came_from_the_server_and_stays_is_never_sent_back(observed, tmp_path):
    flow = observed.add("A &amp; B", PLAIN, description="x &lt; y")
    assert pull(observed, tmp_path, "--id", flow, "-o", "flow.json").returncode == 0
    record = json.loads((tmp_path / "flow.json").read_text())
    record["is_active"] = False
    done = push(observed, tmp_path, write(tmp_path, record))
    assert (done.returncode, changing(observed)) == (0, [("PUT", {"is_active": False})])
    assert (observed.flows[flow]["name"], observed.flows[flow]["description"]) == ("A &amp; B", "x &lt; y")


# --- drawings


def test_a_drawing_is_pushed_with_ui_and_kept_whole(documented, tmp_path):
    flow = documented.add("Old")
    done = push(
        documented, tmp_path, write(tmp_path, {"name": "New", "flow_data": STEPS_DRAWN}), "--ui", "--id", flow
    )
    assert (done.returncode, done.stdout) == (0, f"{flow}: updated (name, flow_data)\n"), done.stderr
    assert documented.flows[flow]["ui_data"] == STEPS_DRAWN
    acts = [request.query["act"][0] for request in documented.requests if request.method == "PUT"]
    assert acts == ["flow_detail_ui", "flow_update_ui"]  # as seen, then as documented
    again = push(documented, tmp_path, "flow.json", "--ui", "--id", flow, "--paths")
    assert again.stdout == f"{flow}: unchanged (it is so already)\n"


def test_what_the_server_does_not_make_of_a_drawing_is_told(observed, tmp_path):
    flow = observed.add("Old")
    done = push(observed, tmp_path, write(tmp_path, {"flow_data": STEPS_DRAWN}), "--ui", "--id", flow)
    assert (done.returncode, observed.flows[flow]["ui_data"]) == (3, STEPS_DRAWN)
    assert done.stderr.splitlines()[-1] == "  flow_data.steps[1].condition was not kept"


def test_steps_are_drawn_for_ui(documented, tmp_path):
    flow = documented.add("Old")
    done = push(documented, tmp_path, write(tmp_path, {"flow_data": PLAIN}), "--ui", "--id", flow)
    assert done.returncode == 0, done.stderr
    assert [node["id"] for node in documented.flows[flow]["ui_data"]["nodes"]] == ["a"]


def test_a_part_without_a_flow_goes_the_usual_way_with_ui_too(server, tmp_path):
    flow = server.add("Old")
    done = push(server, tmp_path, write(tmp_path, {"name": "New"}), "--ui", "--id", flow)
    assert (done.returncode, changing(server)) == (0, [("PUT", {"name": "New"})])


def test_a_changed_name_of_a_drawing_takes_the_drawing_along(server, tmp_path):
    plain = {"nodes": STEPS_DRAWN["nodes"][:1], "edges": []}
    made = {**PLAIN, "config": {"delay": 0, "retryCount": 1, "parallel": False}}
    flow = server.add("Old", made if isinstance(server, Observed) else PLAIN, ui_data=plain)
    done = push(server, tmp_path, write(tmp_path, {"name": "New", "flow_data": plain}), "--ui", "--id", flow)
    assert changing(server)[-1] == ("PUT", {"name": "New", "flow_data": plain})
    assert done.stdout == f"{flow}: updated (name, flow_data)\n"


def test_a_document_of_another_program_is_not_sent(server, tmp_path):
    theirs = {"flowId": "f", "name": "n", "graphData": {"elements": {"nodes": [], "edges": []}}}
    done = push(server, tmp_path, write(tmp_path, theirs), "--id", "flow_1")
    assert (done.returncode, server.requests) == (2, [])
    assert "flow.json:1:1 this is a document of davinci, not of gassapi" in done.stderr


def test_a_drawing_without_ui_is_refused_with_the_remedy(server, tmp_path):
    done = push(server, tmp_path, write(tmp_path, {"flow_data": STEPS_DRAWN}), "--id", "flow_1")
    assert (done.returncode, server.requests) == (2, [])
    assert (
        "flow.json:1:1 this is a drawing; send it with --ui, or turn it to steps with 'runner convert'"
        in done.stderr
    )


# --- create, copy, switch, delete


def test_a_document_without_an_id_becomes_a_new_flow(server, tmp_path):
    done = push(server, tmp_path, write(tmp_path, FLOW), "--project", PROJECT)
    [flow] = server.flows
    assert (done.returncode, done.stdout) == (0, f"{flow}: created (Login)\n"), done.stderr
    assert kept(server, flow) == {**FLOW, "folder_id": None, "is_active": 1}


def test_a_new_flow_is_shown_by_a_dry_run(server, tmp_path):
    done = push(
        server, tmp_path, write(tmp_path, {"name": "N"}), "--project", PROJECT, "--dry-run", "--paths"
    )
    assert done.stdout.startswith(f"POST {server.api}/project/{PROJECT}/flows\n")
    assert server.requests == []


def test_a_copy_is_compared_with_its_flow(server, tmp_path):
    flow = server.add(
        "Login", FLOW["flow_data"], description="d", flow_inputs=FLOW["flow_inputs"], ui_data=STEPS_DRAWN
    )
    done = push(server, tmp_path, "--duplicate", "--id", flow, "--name", "Second")
    copy = list(server.flows)[1]
    assert done.stdout == f"{copy}: created (a copy of {flow})\n"
    assert (server.flows[copy]["name"], server.flows[copy]["is_active"]) == ("Second", 0)
    lost = ["  flow_inputs was not kept"] if isinstance(server, Observed) else []
    assert (done.returncode, done.stderr.splitlines()[1:]) == (3 if lost else 0, lost)


def test_copies_without_a_name_get_one(server, tmp_path):
    flow = server.add("Login", PLAIN)
    first = push(server, tmp_path, "--duplicate", "--id", flow)
    assert first.returncode == 0, first.stderr
    assert [row["name"] for row in server.flows.values()] == ["Login", "Login (Copy)"]
    second = push(server, tmp_path, "--duplicate", "--id", flow)
    if isinstance(server, Observed):
        assert "the platform answered 500: Failed to duplicate flow" in second.stderr
    else:
        assert list(server.flows.values())[2]["name"] == "Login (Copy 2)"


@pytest.mark.parametrize("verb", ["toggle", "delete", "duplicate"])
def test_a_dry_run_shows_what_else_would_be_called(server, tmp_path, verb):
    flow = server.add("Login")
    done = push(server, tmp_path, f"--{verb}", "--id", flow, "--dry-run")
    method, act = {"toggle": ("PUT", "flow_toggle_active"), "delete": ("DELETE", "flow_delete"), "duplicate": ("POST", "flow_duplicate")}[verb]  # fmt: skip
    assert done.stdout.startswith(f"{method} {server.api}/?act={act}&id={flow}\n")
    assert (done.stderr, server.requests) == ("nothing was sent\n", [])


@pytest.mark.parametrize("form", [(), ("--paths",)])
def test_a_flow_is_switched_off_and_on(documented, observed, tmp_path, form):
    for server in (documented, *(() if form else (observed,))):
        flow = server.add("Login")
        words = [push(server, tmp_path, "--toggle", "--id", flow, *form).stdout for _ in range(2)]
        assert words == [f"{flow}: updated (inactive)\n", f"{flow}: updated (active)\n"]


@pytest.mark.parametrize("form", [(), ("--paths",)])
def test_a_flow_is_deleted_once(documented, observed, tmp_path, form):
    for server in (documented, *(() if form else (observed,))):
        flow = server.add("Login")
        done = push(server, tmp_path, "--delete", "--id", flow, *form)
        assert (done.returncode, done.stdout, server.flows) == (0, f"{flow}: deleted\n", {})
        again = push(server, tmp_path, "--delete", "--id", flow, *form)
        assert again.returncode == 3
        assert "Flow not found" in again.stderr


def test_a_flow_that_runs_is_neither_deleted_nor_switched(documented, tmp_path):
    flow = documented.add("Login")
    documented.running.add(flow)
    for verb in ("delete", "toggle"):
        done = push(documented, tmp_path, f"--{verb}", "--id", flow)
        assert done.returncode == 3
        assert "the platform answered 409: Cannot" in done.stderr


# --- pull


@pytest.mark.parametrize("form", [(), ("--paths",)])
def test_a_flow_is_fetched_as_a_document_that_can_be_checked(documented, observed, tmp_path, form):
    for server in (documented, *(() if form else (observed,))):
        flow = server.add("Login", FLOW["flow_data"], flow_inputs=FLOW["flow_inputs"])
        done = pull(server, tmp_path, "--id", flow, "-o", "pulled.json", *form)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        record = json.loads((tmp_path / "pulled.json").read_text())
        assert (record["id"], record["name"], record["is_active"]) == (flow, "Login", True)
        assert [step["id"] for step in record["flow_data"]["steps"]] == ["login", "greet"]
        assert here("check", "pulled.json", cwd=tmp_path).returncode == 0


def test_what_was_fetched_and_is_pushed_again_changes_nothing(server, tmp_path):
    flow = server.add("Login", FLOW["flow_data"], flow_inputs=FLOW["flow_inputs"], folder_id=FOLDER)
    for ui in ((), ("--ui",)):
        assert pull(server, tmp_path, "--id", flow, "-o", "pulled.json", *ui).returncode == 0
        done = push(server, tmp_path, "pulled.json", *ui)
        assert (done.returncode, done.stdout) == (0, f"{flow}: unchanged (it is so already)\n")
    assert changing(server) == []


def test_a_drawing_is_fetched_with_ui(server, tmp_path):
    flow = server.add("Login", PLAIN, ui_data=STEPS_DRAWN)
    done = pull(server, tmp_path, "--ui", "--id", flow)
    assert json.loads(done.stdout)["flow_data"] == STEPS_DRAWN


def test_the_flows_of_a_project_are_listed(server, tmp_path):
    flows = [server.add(f"Flow {number}", is_active=number % 2) for number in range(3)]
    done = pull(server, tmp_path, "--project", PROJECT)
    assert done.stdout.splitlines() == [
        f"{flows[2]}  inactive  Flow 2",
        f"{flows[1]}  active    Flow 1",
        f"{flows[0]}  inactive  Flow 0",
    ]
    assert [
        one["name"] for one in json.loads(pull(server, tmp_path, "--project", PROJECT, "--json").stdout)
    ] == [
        "Flow 2",
        "Flow 1",
        "Flow 0",
    ]


def test_every_page_of_a_list_is_fetched(documented, tmp_path):
    flows = [documented.add(f"Flow {number}") for number in range(45)]
    for form in ((), ("--paths",)):
        done = pull(documented, tmp_path, "--project", PROJECT, *form)
        assert [line.split()[0] for line in done.stdout.splitlines()] == flows[::-1]


def test_a_list_that_may_be_cut_off_says_so(observed, tmp_path):
    for number in range(101):
        observed.add(f"Flow {number}")
    done = pull(observed, tmp_path, "--project", PROJECT)
    assert len(done.stdout.splitlines()) == 100
    assert done.stderr == "there may be more: a server without pages lists 100 flows\n"


# --- what is refused


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ({"name": 5, "flow_data": {"version": "1.0", "steps": [{"id": "a"}]}}, "flow.json:1:10 name: must be a text"),
        ({"description": ["x"]}, "description: must be a text"),
        ({"flow_inputs": 5}, "flow_inputs: must be an array"),
        ({"flow_data": 5}, "flow_data: must be an object"),
        ({"flow_data": {"steps": {"a": 1}}}, "flow_data.steps: must be an array"),
        ({"steps": [5]}, "steps[0]: must be an object"),
    ],
)  # fmt: skip
def test_a_value_of_a_wrong_type_is_never_sent(server, tmp_path, record, told):
    done = push(server, tmp_path, write(tmp_path, record), "--id", server.add("Old"))
    assert done.returncode == 2
    assert told in done.stderr
    assert not server.requests


def test_what_takes_a_folder_away_is_not_of_a_wrong_type(documented, tmp_path):
    flow = documented.add("Old", folder_id=FOLDER)
    assert push(documented, tmp_path, write(tmp_path, {"folder_id": None}), "--id", flow).returncode == 0
    assert documented.flows[flow]["folder_id"] is None


@pytest.mark.parametrize(("name", "status"), [(5, 200), (["x"], 500)])
def test_the_observed_server_answers_whatever_a_name_is(observed, name, status):
    url = f"{observed.api}/?act=flow&id={observed.add('Old')}"
    answer = httpx.put(url, json={"name": name}, headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == status


def test_pull_has_no_document_that_could_have_an_id(tmp_path):
    assert "the id in the document" not in " ".join(here("pull", "--help", cwd=tmp_path).stdout.split())


def test_what_the_server_refuses_is_told_in_its_words(server, tmp_path):
    flow = server.add("Old")
    bad = {"flow_data": {"version": "1.0", "steps": [{"id": "a", "method": "GET", "url": "{{x}}"}]}}
    done = push(server, tmp_path, write(tmp_path, bad), "--id", flow)
    assert done.returncode == 3
    assert "Invalid variable references: Step 0: Invalid variable reference format 'x'." in done.stderr
    assert server.flows[flow]["flow_data"]["steps"] == []


def test_a_folder_of_another_project_is_refused(server, tmp_path):
    flow = server.add("Old")
    done = push(server, tmp_path, write(tmp_path, {"folder_id": OTHER_FOLDER}), "--id", flow)
    assert done.returncode == 3
    assert "Folder does not belong to this project" in done.stderr
    assert push(server, tmp_path, write(tmp_path, {"folder_id": FOLDER}), "--id", flow).returncode == 0


@pytest.mark.parametrize(
    ("token", "status", "told"), [("nobody", 401, "--token-file"), (STRANGER, 403, "Forbidden"), (TOKEN, 404, "not found")]
)  # fmt: skip
def test_401_403_and_404_are_told(server, tmp_path, token, status, told):
    flow = "flow_none" if status == 404 else server.add("Old")
    for words in (("push", write(tmp_path, {"name": "x"}), "--to", "gassapi"), ("pull", "--from", "gassapi")):
        done = gassapi(server, tmp_path, *words, "--id", flow, GASSAPI_TOKEN=token)
        assert (done.returncode, done.stdout) == (3, "")
        assert done.stderr.startswith(f"the platform answered {status}: ")
        assert told in done.stderr


def test_a_project_of_others_is_forbidden(server, tmp_path):
    for words in (("pull", "--from", "gassapi"), ("push", write(tmp_path, FLOW), "--to", "gassapi")):
        done = gassapi(server, tmp_path, *words, "--project", OTHER_PROJECT)
        assert (done.returncode, "403: Forbidden" in done.stderr) == (3, True)


def test_a_server_without_paths_is_told_from_an_empty_answer(observed, tmp_path):
    flow = observed.add("Old")
    done = push(observed, tmp_path, write(tmp_path, {"name": "New"}), "--id", flow, "--paths")
    assert (done.returncode, observed.flows[flow]["name"]) == (3, "Old")
    assert done.stderr.splitlines() == [
        "the platform says that it succeeded to read the flow, but sends no flow",
        "  GASS API",
        "  a server that does not know paths answers with its help: leave out --paths",
    ]
    listed = pull(observed, tmp_path, "--project", PROJECT, "--paths")
    assert "sends no list of flows" in listed.stderr


def test_warnings_before_an_answer_are_passed_over(observed, tmp_path):
    text_body = {"version": "1.0", "steps": [{"id": "a", "method": "POST", "url": "/a", "body": "a text"}]}
    done = push(
        observed, tmp_path, write(tmp_path, {"name": "N", "flow_data": text_body}), "--project", PROJECT
    )
    assert (done.returncode, done.stderr, len(observed.flows)) == (0, "", 1)


def test_a_200_with_an_error_behind_warnings_is_an_error(observed, tmp_path):
    text_body = {"version": "1.0", "steps": [{"id": "a", "method": "POST", "url": "{{a}}", "body": "a text"}]}
    done = push(
        observed, tmp_path, write(tmp_path, {"name": "N", "flow_data": text_body}), "--project", PROJECT
    )
    assert (done.returncode, done.stdout, observed.flows) == (3, "", {})
    assert done.stderr.startswith(
        "the platform answered 200, but did not succeed: Invalid request: Invalid variable"
    )


def test_null_says_nothing_but_where_it_takes_something_away(documented, tmp_path):
    flow = documented.add("Old", description="d", folder_id=FOLDER)
    nulls = {
        "name": "New",
        "description": None,
        "folder_id": None,
        "flow_inputs": None,
        "flow_data": None,
        "is_active": None,
    }
    done = push(documented, tmp_path, write(tmp_path, nulls), "--ui", "--id", flow)
    assert done.returncode == 0, done.stderr
    assert changing(documented) == [("PUT", {"name": "New", "description": None, "folder_id": None})]
    assert (documented.flows[flow]["description"], documented.flows[flow]["folder_id"]) == (None, None)


# --- credentials and usage


def test_a_token_may_stand_in_a_file_or_a_profile_and_is_never_shown(server, tmp_path):
    flow = server.add("Old")
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    (tmp_path / "profile").write_text(f"GASSAPI_TOKEN={TOKEN}\nGASSAPI_URL={server.api}\n")
    for words in (("--token-file", "token", "--base-url", server.api), ("--profile", "profile")):
        done = here("pull", "--from", "gassapi", "--id", flow, *words, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert TOKEN not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("words", "env", "told"),
    [
        (("pull", "--from", "gassapi", "--id", "x"), {}, ["--base-url: is missing; give the url before /?act=", "set GASSAPI_TOKEN"]),
        (("pull", "--from", "gassapi", "--base-url", "http://h.example"), {"GASSAPI_TOKEN": "tök"}, ["--project: is missing: or --id of one flow", "characters that no header can carry"]),
        (("push", "part.json", "--to", "gassapi", "--base-url", "http://h.example"), {"GASSAPI_TOKEN": "t"}, ["--project: is missing: or --id of the flow that is to be changed", "--name: a new flow needs a name"]),
        (("push", "--delete", "--to", "gassapi", "--name", "x", "--base-url", "http://h.example"), {"GASSAPI_TOKEN": "t"}, ["--id: is missing: the flow that is meant"]),
        (("push", "--toggle", "--to", "gassapi"), {}, ["push --toggle takes no FILE, and --name or --id of what is meant"]),
        (("push", "none.json", "--to", "gassapi", "--base-url", "http://h.example"), {"GASSAPI_TOKEN": "t"}, ["there is no file 'none.json'"]),
        (("push", "other.json", "--to", "gassapi", "--base-url", "http://h.example"), {"GASSAPI_TOKEN": "t"}, ["no flow of a known dialect"]),
        (("push", "twice.json", "--to", "gassapi", "--ui", "--base-url", "http://h.example"), {"GASSAPI_TOKEN": "t"}, ["the id 'a' is taken by steps[0]"]),
        (("push", "--toggle", "--to", "versori", "--name", "x"), {}, ["runner: --toggle is for gassapi; not for versori"]),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_flags_is_told_before_anything_is_sent(tmp_path, words, env, told):
    write(tmp_path, {"description": "x"}, "part.json")
    write(tmp_path, {"spans": []}, "other.json")
    write(tmp_path, {"steps": [{"id": "a"}, {"id": "a"}]}, "twice.json")
    done = here(*words, cwd=tmp_path, **{"HOME": str(tmp_path), **env})
    assert (done.returncode, done.stdout) == (2, "")
    assert [text for text in told if text not in done.stderr] == []


def test_a_key_that_stands_twice_is_told_beside(server, tmp_path):
    flow = server.add("Old")
    (tmp_path / "flow.json").write_text('{"name": "A", "name": "B"}')
    done = push(server, tmp_path, "flow.json", "--id", flow, "--description", "told")
    assert done.returncode == 0
    assert "the key 'name' stands twice" in done.stderr
    assert changing(server) == [("PUT", {"name": "B", "description": "told"})]


def test_what_was_done_is_printed_as_json(server, tmp_path):
    flow = server.add("Old")
    done = push(server, tmp_path, write(tmp_path, {"name": "New"}), "--id", flow, "--json")
    assert json.loads(done.stdout) == {"outcome": "updated", "name": flow, "detail": "name", "losses": []}
