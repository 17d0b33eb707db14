"""`runner push` and `runner pull` against PingOne DaVinci on loopback."""

import copy
import json

import pytest

from tests.command import command, here
from tests.emulators.davinci import CLIENT, ENV, OTHER_ENV, READER, SECRET, TOKEN, Davinci
from tests.graphs import CONNECTION, GRAPH
from tests.servers import Drop, Reply

FULL = {
    "color": "#AFD5FF",
    "description": "signs in",
    "connectors": [{"id": "httpConnector"}],
    "graphData": GRAPH,
    "inputSchema": [{"propertyName": "user", "preferredDataType": "string", "required": True}],
    "outputSchema": {"output": {"type": "object", "properties": {"ok": {"type": "boolean"}}}},
    "settings": {"flowTimeoutInSeconds": 300, "csp": "worker-src 'self'"},
    "trigger": {"type": "AUTHENTICATION"},
}
EXPORT = {
    "companyId": OTHER_ENV,
    "flowId": "f" * 32,
    "name": "Exported",
    "flowStatus": "enabled",
    "flowColor": "#FFC8C1",
    "connectorIds": ["httpConnector"],
    "currentVersion": 7,
    "savedDate": 1713556322666,
    "graphData": GRAPH,
    "inputSchema": [],
    "settings": {"logLevel": 2},
    "variables": [],
}


@pytest.fixture(params=["kept", "cleared"])
def server(request):
    """A server that keeps what a PUT leaves out, and one that clears it: nobody knows which is the real one."""
    with Davinci(request.param) as one:
        yield one


@pytest.fixture
def kind():
    """A server of the first kind, where that makes no difference."""
    with Davinci() as one:
        yield one


def davinci(server, cwd, *words, run=here, **env):
    given = {"DAVINCI_TOKEN": TOKEN, "DAVINCI_ENV_ID": ENV, "DAVINCI_URL": server.origin}
    return run(*words, cwd=cwd, **{**given, **env})


def push(server, cwd, *words, **more):
    return davinci(server, cwd, "push", *words, "--to", "davinci", **more)


def pull(server, cwd, *words, **more):
    return davinci(server, cwd, "pull", "--from", "davinci", *words, **more)


def write(folder, document, name="flow.json"):
    (folder / name).write_text(json.dumps(document), encoding="utf-8")
    return name


def pulled(server, folder, flow, **changes):
    """Fetch a flow into flow.json and change it there; returns the document."""
    assert pull(server, folder, "--id", flow, "-o", "flow.json").returncode == 0
    document = json.loads((folder / "flow.json").read_text(encoding="utf-8")) | changes
    write(folder, document)
    return document


def changing(server):
    """Return what was sent that may have changed something: method, last part of the path, body."""
    return [
        (one.method, one.path.rpartition("/")[2], one.json() if one.body else None)
        for one in server.requests
        if one.method != "GET" and not one.path.endswith("/as/token")
    ]


def content(server, flow):
    names = ("name", "enabled", *FULL)
    return {name: server.flows[flow][name] for name in names if name in server.flows[flow]}


# --- a flow that came from there


def test_a_flow_that_is_pushed_as_it_was_fetched_changes_nothing(server, tmp_path):
    flow = server.add("Login", **FULL)
    pulled(server, tmp_path, flow)
    done = push(server, tmp_path, "flow.json", run=command)
    assert (done.returncode, done.stdout) == (0, f"{flow}: unchanged (it is so already)\n"), done.stderr
    assert changing(server) == []


def test_a_changed_title_changes_that_field_only(server, tmp_path):
    flow = server.add("Login", **FULL)
    before = copy.deepcopy(content(server, flow))
    document = pulled(server, tmp_path, flow)
    document["graphData"]["elements"]["nodes"][0]["data"]["properties"]["nodeTitle"]["value"] = "Ask again"
    write(tmp_path, document)
    done = push(server, tmp_path, "flow.json")
    assert (done.returncode, done.stdout) == (0, f"{flow}: updated (version 1 -> 2)\n"), done.stderr
    place = "graphData.elements.nodes[0].data.properties.nodeTitle.value"
    assert done.stderr.splitlines()[0] == f'{place}: "Ask" -> "Ask again"'
    before["graphData"]["elements"]["nodes"][0]["data"]["properties"]["nodeTitle"]["value"] = "Ask again"
    assert content(server, flow) == before


def test_what_nobody_knows_of_a_node_is_sent_back_as_it_was(server, tmp_path):
    graph = copy.deepcopy(GRAPH)
    graph["elements"]["nodes"][0]["data"]["of tomorrow"] = {"deep": [None, 1e50, "ü"]}
    graph["of tomorrow"] = [1]
    flow = server.add("Login", **{**FULL, "graphData": graph}, newKey={"a": 1})
    pulled(server, tmp_path, flow, name="Sign in")
    assert push(server, tmp_path, "flow.json").returncode == 0
    [(_, _, sent)] = changing(server)
    assert (sent["graphData"], sent["newKey"]) == (graph, {"a": 1})
    assert server.flows[flow]["graphData"] == graph


def test_what_only_the_server_says_is_not_sent(kind, tmp_path):
    flow = kind.add("Login", **FULL, deployedAt="2024-01-01T00:00:00.000Z")
    pulled(kind, tmp_path, flow, name="Sign in", dvlinterErrorCount=3)
    assert push(kind, tmp_path, "flow.json").returncode == 0
    [(_, _, sent)] = changing(kind)
    assert sent.keys() == {"name", "enabled", "currentVersion", *FULL}


def test_what_the_linter_of_the_server_found_is_no_change(kind, tmp_path):
    flow = kind.add("Login", **FULL)
    document = pulled(kind, tmp_path, flow)
    document["graphData"]["allLinterErrors"] = [{"code": "dv-er-001"}]
    document["graphData"]["elements"]["nodes"][0]["data"]["linterError"] = [{"code": "dv-er-001"}]
    done = push(kind, tmp_path, write(tmp_path, document))
    assert done.stdout == f"{flow}: unchanged (it is so already)\n"


def test_what_the_document_lacks_is_sent_as_it_is_there_and_that_is_told(server, tmp_path):
    flow = server.add("Login", **FULL)
    done = push(server, tmp_path, write(tmp_path, {"name": "Sign in", "color": None}), "--id", flow)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [
        (
            "the document has no color, connectors, description, enabled, graphData, inputSchema, outputSchema,"
            " settings, trigger: sent as it is there"
        ),
        'name: "Login" -> "Sign in"',
        "the document does not say which version it was made from; version 1 is overwritten",
    ]
    assert content(server, flow) == {**FULL, "name": "Sign in", "enabled": True}


def test_with_as_is_nothing_is_added_and_what_was_cleared_is_seen(server, tmp_path):
    flow = server.add("Login", **FULL)
    done = push(
        server, tmp_path, write(tmp_path, {"name": "Sign in", "color": "#000000"}), "--id", flow, "--as-is"
    )
    assert done.returncode == 0, done.stderr
    assert changing(server) == [("PUT", flow, {"name": "Sign in", "color": "#000000"})]
    assert "graphData: not sent, and may be cleared" in done.stderr
    assert ("graphData" in server.flows[flow]) is (server.omitted == "kept")


def test_with_as_is_a_name_is_needed(kind, tmp_path):
    done = push(kind, tmp_path, write(tmp_path, {"color": "#000000"}), "--id", "f", "--as-is")
    assert (done.returncode, kind.requests) == (2, [])
    assert "flow.json:1:1 name: is missing; the platform takes no flow without one" in done.stderr


def test_name_and_description_may_be_given(kind, tmp_path):
    flow = kind.add("Login", **FULL)
    pulled(kind, tmp_path, flow)
    done = push(kind, tmp_path, "flow.json", "--name", "N", "--description", "D")
    assert (done.returncode, kind.flows[flow]["name"], kind.flows[flow]["description"]) == (0, "N", "D")


# --- what the file learns of a save


def test_a_file_that_was_pushed_can_be_changed_and_pushed_again(kind, tmp_path):
    flow = kind.add("Login", **FULL)
    text = json.dumps(pulled(kind, tmp_path, flow), indent=4)
    for number, name in enumerate(("Two", "Three"), 2):
        text = text.replace(json.loads(text)["name"], name)
        (tmp_path / "flow.json").write_text(text)
        done = push(kind, tmp_path, "flow.json", "--deploy", "--disable")
        assert done.returncode == 0, done.stderr
        before, text = text, (tmp_path / "flow.json").read_text()
        there = kind.flows[flow]
        known = json.loads(before) | {"currentVersion": number, "updatedAt": there["updatedAt"]}
        assert (json.loads(text), there["name"]) == (known, name)
        changed = [line for line in text.splitlines() if line not in before.splitlines()]
        assert [line.split(":")[0].strip(' "') for line in changed] == ["currentVersion", "updatedAt"]
        text = text.replace('  "enabled": true', '  "enabled": false')


def test_a_new_flow_gets_its_id_into_its_file(kind, tmp_path):
    (tmp_path / "flow.yaml").write_text("# mine\nname: New  # so called\ncolor: '#fff'\n")
    assert push(kind, tmp_path, "flow.yaml").returncode == 0
    [flow] = kind.flows
    assert (
        tmp_path / "flow.yaml"
    ).read_text() == f"# mine\nid: \"{flow}\"\nname: New  # so called\ncolor: '#fff'\n"
    again = push(kind, tmp_path, "flow.yaml", "--name", "Newer")
    assert (again.stdout, list(kind.flows)) == (f"{flow}: updated (version 1 -> 2)\n", [flow])


@pytest.mark.parametrize("words", [("--no-write-back",), ()])
def test_a_file_stays_as_it_is_where_it_is_not_the_flow(kind, tmp_path, words):
    document = {"name": "New", "currentVersion": 1} | ({} if words else {"environment": {"id": OTHER_ENV}})
    before = (tmp_path / write(tmp_path, document)).read_text()
    assert push(kind, tmp_path, "flow.json", *words).returncode == 0
    assert (tmp_path / "flow.json").read_text() == before


def test_a_bundle_learns_of_the_flow_that_was_sent(kind, tmp_path):
    other = {**EXPORT, "flowId": "e" * 32, "name": "Other", "companyId": ENV}
    bundle = {"companyId": ENV, "flows": [{**EXPORT, "companyId": ENV}, other]}
    assert push(kind, tmp_path, write(tmp_path, bundle), "--new", "--id", "e" * 32).returncode == 0
    [flow] = kind.flows
    other |= {"flowId": flow, "currentVersion": 1}
    assert json.loads((tmp_path / "flow.json").read_text())["flows"][1] == other


def test_a_file_that_cannot_be_written_is_told_and_the_flow_is_saved(kind, tmp_path):
    flow = kind.add("Login", **FULL)
    pulled(kind, tmp_path, flow, name="Mine")
    path = f"/v1/environments/{ENV}/flows/{flow}"

    def put(request):
        (tmp_path / "flow.json").write_text("[]")
        return kind.handle(request)

    kind.on(path, put, method="PUT")
    done = push(kind, tmp_path, "flow.json")
    assert (done.returncode, kind.flows[flow]["name"]) == (3, "Mine")
    assert "the flow was stored, its currentVersion is 2, its updatedAt is " in done.stderr


def test_a_step_that_others_overtake_leaves_the_file_at_the_save(kind, tmp_path):
    flow = kind.add("Login", **FULL)
    pulled(kind, tmp_path, flow, name="Mine")
    path = f"/v1/environments/{ENV}/flows/{flow}"

    def deploy(request):
        answer = kind.handle(request)
        kind.save(flow)
        return answer

    kind.on(path, deploy, method="POST")
    assert push(kind, tmp_path, "flow.json", "--deploy").returncode == 0
    assert json.loads((tmp_path / "flow.json").read_text())["currentVersion"] == 2
    assert "somebody else has changed the flow" in push(kind, tmp_path, "flow.json").stderr


# --- dry run


def test_a_dry_run_shows_the_exact_change_and_sends_nothing(kind, tmp_path):
    flow = kind.add("Login", **FULL)
    document = pulled(kind, tmp_path, flow, name="Sign in")
    done = push(kind, tmp_path, "flow.json", "--dry-run", "--deploy", "--disable", "--alias", "One")
    assert done.returncode == 0
    head, _, body = done.stdout.partition("\n\n")
    url = f"{kind.origin}/v1/environments/{ENV}/flows/{flow}"
    assert head.splitlines() == [
        f"PUT {url}",
        "Authorization: Bearer [masked]",
        "Accept: application/json",
        "Content-Type: application/json",
    ]
    read_only = ("_links", "id", "environment", "createdAt", "updatedAt")
    assert json.loads(body) == {name: document[name] for name in document if name not in read_only}
    assert done.stderr.splitlines() == [
        'name: "Login" -> "Sign in"',
        (
            "version 1 is what the document was made from; there is no lock: a save by somebody else at this moment"
            " would be overwritten, and told"
        ),
        f'then PUT {url}/versions/1/alias {{"alias": "One"}}',
        f"then POST {url} {{}}",
        f'then PUT {url}/enabled {{"enabled": false}}',
        "nothing was sent",
    ]
    assert changing(kind) == []


def test_a_dry_run_of_nothing_says_so(kind, tmp_path):
    flow = kind.add("Login", **FULL)
    pulled(kind, tmp_path, flow)
    done = push(kind, tmp_path, "flow.json", "--dry-run")
    assert (done.returncode, done.stdout) == (0, f"{flow}: unchanged (it is so already)\n")
    missing = push(kind, tmp_path, "flow.json", "--id", "none", "--dry-run")
    assert (missing.returncode, "404" in missing.stderr) == (3, True)


def test_a_new_flow_is_shown_by_a_dry_run(kind, tmp_path):
    done = push(kind, tmp_path, write(tmp_path, {"name": "N"}), "--dry-run", "--deploy")
    assert done.stdout.startswith(f"POST {kind.origin}/v1/environments/{ENV}/flows\n")
    assert done.stderr.splitlines()[0] == f"then POST {kind.origin}/v1/environments/{ENV}/flows/ID {{}}"
    assert kind.requests == []


@pytest.mark.parametrize(
    ("words", "call", "told"),
    [
        (("--delete",), "DELETE {flow}", []),
        (("--delete", "--flow-version", "1"), "DELETE {flow}/versions/1", []),
        (("--duplicate",), "POST {flow}", []),
        (("--validate",), "POST {flow}", []),
        (("--enable", "--deploy"), "PUT {flow}/enabled", ["first POST {flow} {{}}"]),
        (("--revert", "3"), "POST {flow}/versions/3", []),
    ],
)
def test_a_dry_run_shows_what_else_would_be_called(kind, tmp_path, words, call, told):
    flow = kind.add("Login", **FULL)
    done = push(kind, tmp_path, *words, "--id", flow, "--dry-run")
    place = f"{kind.origin}/v1/environments/{ENV}/flows/{flow}"
    assert done.stdout.splitlines()[0] == call.format(flow=place)
    assert done.stderr.splitlines() == [*(line.format(flow=place) for line in told), "nothing was sent"]
    assert changing(kind) == []


# --- others who write


def test_a_change_by_others_since_the_document_was_made_is_a_conflict(server, tmp_path):
    flow = server.add("Login", **FULL)
    pulled(server, tmp_path, flow, name="Mine")
    server.save(flow, description="theirs")
    done = push(server, tmp_path, "flow.json")
    assert (done.returncode, done.stdout, changing(server)) == (3, "", [])
    now = server.flows[flow]["updatedAt"]
    before = json.loads((tmp_path / "flow.json").read_text())["updatedAt"]
    assert done.stderr.splitlines() == [
        "somebody else has changed the flow since this document was made from it",
        "  currentVersion: is 1 in the document and 2 there",
        f'  updatedAt: is "{before}" in the document and "{now}" there',
        "  fetch it again and change that, or overwrite theirs with --yes; nothing was changed",
    ]
    told = json.loads(push(server, tmp_path, "flow.json", "--json").stdout)
    assert (told["code"], [one["field"] for one in told["fields"]]) == (
        "davinci.conflict",
        ["currentVersion", "updatedAt"],
    )


def test_a_time_that_is_spelled_otherwise_is_no_conflict(kind, tmp_path):
    flow = kind.add("Login", **FULL)
    document = pulled(kind, tmp_path, flow, name="Mine")
    write(tmp_path, {**document, "updatedAt": document["updatedAt"].replace("Z", "000+00:00")})
    assert push(kind, tmp_path, "flow.json").returncode == 0


def test_with_yes_a_change_by_others_is_overwritten(server, tmp_path):
    flow = server.add("Login", **FULL)
    pulled(server, tmp_path, flow, name="Mine")
    server.save(flow, description="theirs")
    done = push(server, tmp_path, "flow.json", "--yes")
    assert (done.returncode, done.stdout) == (0, f"{flow}: updated (version 2 -> 3)\n")
    assert "version 2 is not what the document was made from; it is overwritten" in done.stderr
    assert content(server, flow) == {**FULL, "name": "Mine", "enabled": True}


def test_a_third_writer_between_the_look_and_the_save_is_told(server, tmp_path):
    flow = server.add("Login", **FULL)
    pulled(server, tmp_path, flow, name="Mine")
    server.between = lambda one: server.save(one, description="theirs")
    done = push(server, tmp_path, "flow.json", "--deploy")
    assert (done.returncode, done.stdout) == (3, f"{flow}: updated (version 1 -> 3)\n")
    assert done.stderr.splitlines()[-3:] == [
        "version 2 was saved by somebody else at the same time; version 3 replaces it",
        f"  runner pull --from davinci --id {flow} --flow-version 2 --export shows it",
        "so this was not done: deploy",
    ]
    assert "publishedVersion" not in server.flows[flow]
    theirs = pull(server, tmp_path, "--id", flow, "--flow-version", "2", "--export")
    assert json.loads(theirs.stdout)["description"] == "theirs"


def test_several_writers_between_are_told(kind, tmp_path):
    flow = kind.add("Login", **FULL)
    pulled(kind, tmp_path, flow, name="Mine")
    kind.between = lambda one: [kind.save(one) for _ in range(3)]
    done = push(kind, tmp_path, "flow.json", "--json")
    assert json.loads(done.stdout)["losses"][0] == (
        "version 2 to 4 was saved by somebody else at the same time; version 5 replaces it"
    )


def test_a_save_that_was_made_twice_is_no_writer_between(kind, tmp_path):
    flow = kind.add("Login", **FULL)
    pulled(kind, tmp_path, flow, name="Mine")

    def broken(request):
        kind.handle(request)
        return Reply(502, "the gateway gave up")

    kind.on(f"/v1/environments/{ENV}/flows/{flow}", broken, kind.handle, method="PUT")
    done = push(kind, tmp_path, "flow.json", "--deploy")
    deploys = [request for request in kind.requests if request.method == "POST"]
    assert (done.returncode, done.stdout) == (0, f"{flow}: updated (version 1 -> 3, deployed version 3)\n")
    assert "version 2 is the same: an attempt of this save whose answer was lost" in done.stderr
    assert len(deploys) == 1


def test_a_writer_right_after_the_save_is_told(kind, tmp_path):
    flow = kind.add("Login", **FULL)
    pulled(kind, tmp_path, flow, name="Mine")
    path = f"/v1/environments/{ENV}/flows/{flow}"

    def put(request):
        answer = kind.handle(request)
        kind.save(flow, name="Theirs")
        return answer

    kind.on(path, put, method="PUT")
    done = push(kind, tmp_path, "flow.json", "--enable")
    assert done.returncode == 3
    assert done.stderr.splitlines()[-4:] == [
        "version 3 was saved by somebody else right after version 2",
        "so this was not done: enabled",
        f"{flow}: the platform did not keep everything that was sent:",
        '  name was "Mine" and is "Theirs"',
    ]


# --- what the platform did not do


def test_what_the_platform_did_not_keep_is_told_and_not_deployed(kind, tmp_path):
    flow = kind.add("Login", **FULL)
    document = pulled(kind, tmp_path, flow, name="Mine")
    document["graphData"]["elements"]["nodes"][1]["data"]["properties"]["x"] = {"value": "always"}
    write(tmp_path, document)
    # As a client did that was made before nodes had outcomes.
    kind.lose = lambda sent: sent["graphData"]["elements"]["nodes"][0]["data"].pop("outcomes")
    done = push(kind, tmp_path, "flow.json", "--deploy")
    assert done.returncode == 3
    assert done.stderr.splitlines()[-3:] == [
        "so this was not done: deploy",
        f"{flow}: the platform did not keep everything that was sent:",
        "  graphData.elements.nodes[0].data.outcomes was not kept",
    ]
    kind.lose = lambda sent: sent.update(name="Other")
    assert (
        push(kind, tmp_path, "flow.json", "--yes").stderr.splitlines()[-1]
        == '  name was "Mine" and is "Other"'
    )


@pytest.mark.parametrize(
    ("answer", "acted", "told"),
    [
        (Drop(), False, "nothing was saved: version 1 is still there"),
        (Drop(), True, "version 2 is there now, as it was sent"),
        (Reply(501, "no"), True, "version 2 is there now, as it was sent"),
    ],
)
def test_a_save_whose_answer_is_lost_is_looked_after(kind, tmp_path, answer, acted, told):
    flow = kind.add("Login", **FULL)
    pulled(kind, tmp_path, flow, name="Mine")

    def put(request):
        if acted and kind.flows[flow]["currentVersion"] == 1:
            kind.handle(request)
        return answer

    kind.on(f"/v1/environments/{ENV}/flows/{flow}", put, method="PUT")
    done = push(kind, tmp_path, "flow.json", "--deploy")
    assert (done.returncode, done.stdout) == (3, "")
    assert f"  {told}" in done.stderr.splitlines()


# --- new flows, and flows of elsewhere


@pytest.mark.parametrize(
    "document",
    [
        {"name": "Ours", "flow_data": {"version": "1.0", "steps": []}},
        {"name": "Drawn", "nodes": [], "edges": []},
        {"name": "Nected", "startNode": "2", "trigger": {"apiNode": "1"}, "nodes": [], "edges": []},
        {"name": "A trace", "spans": []},
    ],
)
def test_a_document_of_another_program_is_not_sent(kind, tmp_path, document):
    flow = kind.add("There")
    refused = push(kind, tmp_path, write(tmp_path, document), "--id", flow)
    assert refused.returncode == 2
    assert "no flow of DaVinci; keys found: 'name'" in refused.stderr
    assert kind.requests == []
    assert kind.flows[flow]["name"] == "There"


def test_a_document_without_an_id_becomes_a_new_flow(kind, tmp_path):
    done = push(kind, tmp_path, write(tmp_path, {"name": "New", **FULL}), "--deploy", "--disable")
    [flow] = kind.flows
    assert done.stdout == f"{flow}: created (New, deployed version 1, disabled)\n", done.stderr
    assert content(kind, flow) == {**FULL, "name": "New", "enabled": False}


def test_a_new_flow_needs_a_name(kind, tmp_path):
    done = push(kind, tmp_path, write(tmp_path, FULL))
    assert (done.returncode, kind.requests) == (2, [])
    assert "name: is missing" in done.stderr


def test_an_environment_that_is_full_says_so(kind, tmp_path):
    for _ in range(100):
        kind.add()
    done = push(kind, tmp_path, write(tmp_path, {"name": "One too many"}))
    assert done.returncode == 3
    assert "  100 flows (CONSTRAINT_VIOLATION; quotaLimit 100)" in done.stderr


def test_the_oldest_of_more_than_a_hundred_versions_goes(kind, tmp_path):
    flow = kind.add("Login")
    for _ in range(100):
        kind.save(flow)
    done = pull(kind, tmp_path, "--id", flow, "--versions", "--json")
    numbers = [one["version"] for one in json.loads(done.stdout)["_embedded"]["versions"]]
    assert numbers == [*range(2, 102)]


def test_a_flow_that_is_not_there_is_made_only_with_new(kind, tmp_path):
    write(tmp_path, {"id": "0" * 32, "name": "Elsewhere"})
    done = push(kind, tmp_path, "flow.json")
    assert (done.returncode, kind.flows) == (3, {})
    assert "--new makes a flow of the document" in done.stderr
    assert push(kind, tmp_path, "flow.json", "--new").returncode == 0
    assert [flow["name"] for flow in kind.flows.values()] == ["Elsewhere"]


def test_an_export_of_the_console_is_pushed_as_the_api_has_it(kind, tmp_path):
    done = push(kind, tmp_path, write(tmp_path, EXPORT), "--new")
    [flow] = kind.flows
    assert done.stdout == f"{flow}: created (Exported)\n", done.stderr
    made = content(kind, flow)
    assert (made["color"], made["connectors"], made["enabled"]) == (
        "#FFC8C1",
        [{"id": "httpConnector"}],
        True,
    )
    assert made["graphData"] == GRAPH
    assert "flowId" not in changing(kind)[0][2]


def test_an_export_replaces_the_flow_that_it_came_from(kind, tmp_path):
    flow = kind.add("Exported", EXPORT["flowId"], **{**FULL, "graphData": GRAPH}, currentVersion=6)
    done = push(kind, tmp_path, write(tmp_path, {**EXPORT, "companyId": ENV}))
    assert (done.returncode, done.stdout) == (0, f"{flow}: updated (version 7 -> 8)\n"), done.stderr
    assert kind.flows[flow]["settings"] == {"logLevel": 2}
    assert json.loads((tmp_path / "flow.json").read_text()) == {
        **EXPORT,
        "companyId": ENV,
        "currentVersion": 8,
    }
    kind.save(flow)
    again = push(kind, tmp_path, "flow.json")
    assert "currentVersion: is 8 in the document and 9 there" in again.stderr


def test_what_is_wrong_with_an_export_is_told_in_its_own_words(kind, tmp_path):
    bundle = {"companyId": ENV, "flows": [{**EXPORT, "connectorIds": [5], "flowColor": 1}]}
    done = push(kind, tmp_path, write(tmp_path, bundle))
    assert (done.returncode, kind.requests) == (2, [])
    lines = [line.split(" ", 1)[1] for line in done.stderr.splitlines()]
    assert lines == [
        "flows[0].flowColor: must be a text, not a whole number",
        "flows[0].connectorIds[0].id: must be a text, not a whole number",
    ]


def test_what_of_an_export_the_api_has_nothing_for_is_told(kind, tmp_path):
    variable = {"name": "tries##SK##company", "fields": {"type": "number", "mutable": True}, "value": 3}
    document = {**EXPORT, "variables": [variable], "isOutputSchemaSaved": True, "parentFlowId": None}
    done = push(kind, tmp_path, write(tmp_path, document), "--new")
    assert done.returncode == 0
    assert done.stderr == (
        "flow.json:1:1 warning: sent is what the API takes, and not variables, isOutputSchemaSaved;"
        " --variables sends the variables\n"
    )
    assert push(kind, tmp_path, "flow.json", "--variables").stdout == "variables: updated (tries new)\n"
    [made] = kind.variables.values()
    assert {name: made[name] for name in ("name", "context", "dataType", "value")} == {
        "name": "tries",
        "context": "company",
        "dataType": "number",
        "value": 3,
    }


def test_a_version_that_was_exported_is_pushed_as_the_flow_again(kind, tmp_path):
    flow = kind.add("One", **FULL)
    assert pull(kind, tmp_path, "--id", flow, "--export", "-o", "flow.json").returncode == 0
    same = push(kind, tmp_path, "flow.json")
    assert same.stdout == f"{flow}: unchanged (it is so already)\n", same.stderr
    kind.save(flow, name="Two")
    late = push(kind, tmp_path, "flow.json")
    assert (late.returncode, "currentVersion: is 1 in the document and 2 there" in late.stderr) == (3, True)
    assert push(kind, tmp_path, "flow.json", "--yes").stdout == f"{flow}: updated (version 2 -> 3)\n"
    assert content(kind, flow) == {**FULL, "name": "One", "enabled": True}


def test_of_several_flows_the_one_with_the_id_is_sent(kind, tmp_path):
    other = {**EXPORT, "flowId": "e" * 32, "name": "Other"}
    write(tmp_path, {"companyId": ENV, "flows": [EXPORT, other]})
    done = push(kind, tmp_path, "flow.json", "--new")
    assert (done.returncode, kind.requests) == (2, [])
    known = f"{'f' * 32} (Exported), {'e' * 32} (Other)"
    assert f"flows: --id says which of 2 flows is sent: {known}" in done.stderr
    assert "is missing" not in done.stderr
    assert push(kind, tmp_path, "flow.json", "--new", "--id", "e" * 32).returncode == 0
    assert [flow["name"] for flow in kind.flows.values()] == ["Other"]


@pytest.mark.parametrize("flags", [(), ("--variables",)])
def test_a_list_with_entries_that_are_no_flows_is_not_sent(kind, tmp_path, flags):
    write(tmp_path, {"companyId": ENV, "flows": [1, {"name": "a"}, None]})
    done = push(kind, tmp_path, "flow.json", *(flags or ("--id", "e" * 32)))
    assert (done.returncode, kind.requests) == (2, [])
    assert "flows[0]: must be an object" in done.stderr
    assert "flows[2]: must be an object" in done.stderr


def test_the_old_form_of_an_export_is_known(kind, tmp_path):
    assert push(kind, tmp_path, write(tmp_path, {"flowInfo": EXPORT}), "--new").returncode == 0
    assert [flow["name"] for flow in kind.flows.values()] == ["Exported"]


@pytest.mark.parametrize("document", [{"clonedNodes": [], "clonedEdges": []}, {"steps": []}, {"flows": []}])
def test_what_is_no_flow_of_davinci_is_refused_with_its_keys(kind, tmp_path, document):
    done = push(kind, tmp_path, write(tmp_path, document))
    assert (done.returncode, kind.requests) == (2, [])
    assert next(iter(document)) in done.stderr


def test_connections_that_the_other_environment_lacks_are_told(kind, tmp_path):
    document = {"name": "N", "environment": {"id": OTHER_ENV}, "graphData": GRAPH}
    assert push(kind, tmp_path, write(tmp_path, document)).returncode == 0
    kind.instances.clear()
    done = push(kind, tmp_path, "flow.json")
    assert (done.returncode, len(kind.flows)) == (3, 1)
    assert done.stderr.splitlines() == [
        "the document is of another environment, and this one does not have all of its connections",
        f"  node 0h0kie4kxi: httpConnector 'Http', connection {CONNECTION}",
        f"  node 2b7rk8wq4n: httpConnector 'Http', connection {CONNECTION}",
        "  put the ids of this environment's connections there, or send it as it is with --yes",
    ]
    told = json.loads(push(kind, tmp_path, "flow.json", "--json").stdout)
    assert told["code"] == "davinci.connection_unmapped"
    anyway = push(kind, tmp_path, "flow.json", "--yes")
    assert (anyway.returncode, len(kind.flows)) == (0, 2)
    assert "this one does not have all of its connections" in anyway.stderr


# --- steps


def test_a_flow_is_deployed_switched_called_and_taken_back(kind, tmp_path):
    flow = kind.add("One")
    kind.save(flow, name="Two")
    said = [
        push(kind, tmp_path, "--id", flow, *words).stdout
        for words in (
            ("--deploy",),
            ("--disable",),
            ("--enable",),
            ("--alias", "Good", "--flow-version", "1"),
            ("--revert", "1", "--alias", "Old one", "--deploy"),
        )
    ]
    assert said == [
        f"{flow}: updated (deployed version 2)\n",
        f"{flow}: updated (disabled)\n",
        f"{flow}: updated (enabled)\n",
        f"{flow}: updated (called Good)\n",
        f"{flow}: updated (version 1 is back as version 3, called Old one, deployed version 3)\n",
    ]
    assert (kind.flows[flow]["name"], kind.flows[flow]["publishedVersion"]) == ("One", 3)
    assert [one.get("alias") for one in kind.versions[flow].values()] == ["Good", None, "Old one"]


def test_steps_are_done_for_a_flow_that_needs_no_save(kind, tmp_path):
    flow = kind.add("Login", **FULL)
    pulled(kind, tmp_path, flow)
    done = push(kind, tmp_path, "flow.json", "--deploy")
    assert done.stdout == f"{flow}: updated (it is so already, deployed version 1)\n"


def test_a_step_that_fails_does_not_hide_what_was_done_before(kind, tmp_path):
    flow = kind.add("Login", **FULL)
    pulled(kind, tmp_path, flow, name="Mine")
    kind.on(
        f"/v1/environments/{ENV}/flows/{flow}/enabled",
        Reply(400, {"code": "REQUEST_FAILED", "message": "No."}),
    )
    done = push(kind, tmp_path, "flow.json", "--deploy", "--enable")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.splitlines()[-3:] == [
        "the platform answered 400: No. (REQUEST_FAILED)",
        "  before that: deployed version 2",
        f"  before that: {flow} updated (version 1 -> 2)",
    ]


def test_a_flow_is_copied_and_the_copy_compared(kind, tmp_path):
    flow = kind.add("Login", **FULL)
    done = push(kind, tmp_path, "--duplicate", "--id", flow)
    copied = list(kind.flows)[1]
    assert done.stdout == f"{copied}: created (Login - clone, a copy of {flow})\n"
    assert kind.flows[copied]["graphData"] == GRAPH
    named = push(kind, tmp_path, "--duplicate", "--id", flow, "--name", "x")
    assert (named.returncode, "--name: the platform names a copy itself" in named.stderr) == (2, True)


def test_a_flow_and_a_version_are_deleted_once(kind, tmp_path):
    flow = kind.add("Login")
    kind.save(flow)
    one = push(kind, tmp_path, "--delete", "--id", flow, "--flow-version", "1")
    assert (one.stdout, list(kind.versions[flow])) == (f"version 1 of {flow}: deleted\n", [2])
    refused = push(kind, tmp_path, "--delete", "--id", flow, "--flow-version", "2")
    assert "The current version cannot be deleted. (REQUEST_FAILED" in refused.stderr
    assert push(kind, tmp_path, "--delete", "--id", flow).stdout == f"{flow}: deleted\n"
    again = push(kind, tmp_path, "--delete", "--id", flow)
    assert (again.returncode, "NOT_FOUND" in again.stderr) == (3, True)


def test_a_flow_is_looked_at_without_being_changed(kind, tmp_path):
    flow = kind.add("Login", **FULL)
    done = push(kind, tmp_path, "--validate", "--id", flow)
    assert (done.returncode, done.stdout) == (0, f"{flow}: valid (no errors, 0 warnings)\n")
    graph = copy.deepcopy(GRAPH)
    del graph["elements"]["edges"][1]
    warned = push(kind, tmp_path, write(tmp_path, {"graphData": graph}), "--validate", "--id", flow)
    assert (warned.returncode, warned.stdout) == (0, f"{flow}: valid (no errors, 1 warning)\n")
    assert warned.stderr == "1x9qj2pz5m: The node leads nowhere. Look at it. (dv-bp-001)\n"
    del graph["elements"]["nodes"][0]["data"]["connectionId"]
    refused = push(kind, tmp_path, write(tmp_path, {"graphData": graph}), "--validate", "--id", flow)
    assert (refused.returncode, refused.stderr.splitlines()[1:]) == (
        3,
        [
            "the platform finds 1 error in the flow",
            "  0h0kie4kxi: The connection is not configured. Look at it. (dv-er-001)",
        ],
    )
    assert kind.flows[flow]["currentVersion"] == 1


# --- pull


def test_the_flows_of_an_environment_are_listed_page_by_page(kind, tmp_path):
    kind.page = 2
    flows = [kind.add(f"Flow {number}", enabled=number != 1) for number in range(5)]
    push(kind, tmp_path, "--id", flows[0], "--deploy")
    done = pull(kind, tmp_path)
    assert done.stdout.splitlines() == [
        f"{flows[0]}  enabled   version 1, deployed 1  Flow 0",
        f"{flows[1]}  disabled  version 1              Flow 1",
        *(f"{flows[number]}  enabled   version 1              Flow {number}" for number in (2, 3, 4)),
    ]
    listed = json.loads(pull(kind, tmp_path, "--json").stdout)
    assert (listed["count"], [one["id"] for one in listed["_embedded"]["flows"]]) == (5, flows)


def test_a_version_is_fetched_with_what_it_has(kind, tmp_path):
    flow = kind.add("Login", **FULL)
    one = json.loads(pull(kind, tmp_path, "--id", flow, "--flow-version", "1").stdout)
    assert (one["version"], "graphData" in one) == (1, False)
    details = json.loads(
        pull(kind, tmp_path, "--id", flow, "--flow-version", "1", "--details", "flow").stdout
    )
    assert details["graphData"] == GRAPH
    for what in ("steps", "variables"):
        words = ("--id", flow, "--flow-version", "1", "--details", what)
        assert what in json.loads(pull(kind, tmp_path, *words).stdout)


def test_the_current_version_is_exported_unless_another_is_named(kind, tmp_path):
    flow = kind.add("One")
    kind.save(flow, name="Two")
    for words, version in ((("--export",), 2), (("--export", "--flow-version", "1"), 1)):
        done = pull(kind, tmp_path, "--id", flow, *words)
        assert json.loads(done.stdout)["version"] == version
    [asked, _] = [request for request in kind.requests if request.method == "POST"]
    assert asked.json() == {"includeSubFlows": True, "includeVariableValues": False, "includeForms": True}
    assert asked.header("content-type") == "application/vnd.pingidentity.flowversion.export+json"


def test_the_versions_of_a_flow_are_listed(kind, tmp_path):
    flow = kind.add("One")
    kind.save(flow)
    push(kind, tmp_path, "--id", flow, "--deploy", "--alias", "Live")
    lines = pull(kind, tmp_path, "--id", flow, "--versions").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["1", "2"]
    assert "deployed 2024-" in lines[1]
    assert lines[1].endswith("Live")


# --- variables

COUNTER = {"name": "counter", "context": "company", "dataType": "number", "mutable": True, "value": 1}


def test_variables_are_fetched_changed_and_pushed_back(kind, tmp_path):
    kind.add_variable(**COUNTER)
    kind.add_variable(
        name="key", context="flow", dataType="secret", mutable=False, flow={"id": "f"}, value="s3cret!"
    )
    listed = pull(kind, tmp_path, "--variables")
    assert listed.stdout.splitlines() == [
        "company    number  counter  1",
        "flow of f  secret  key      [masked]",
    ]
    assert pull(kind, tmp_path, "--variables", "-o", "v.json").returncode == 0
    same = push(kind, tmp_path, "v.json", "--variables")
    assert (same.returncode, same.stdout) == (0, "variables: unchanged (they are so already)\n"), same.stderr
    document = json.loads((tmp_path / "v.json").read_text())
    document["_embedded"]["variables"][0]["value"] = 2
    document["_embedded"]["variables"].append({**COUNTER, "name": "new"})
    write(tmp_path, document, "v.json")
    shown = push(kind, tmp_path, "v.json", "--variables", "--dry-run")
    assert (shown.stdout, len(kind.variables)) == ("variables: updated (counter replaced, new new)\n", 2)
    done = push(kind, tmp_path, "v.json", "--variables")
    assert (done.returncode, done.stdout) == (0, "variables: updated (counter replaced, new new)\n")
    assert "counter: replaced: value: 1 -> 2" in done.stderr
    assert [one["value"] for one in kind.variables.values()] == [2, "s3cret!", 1]


def test_a_secret_is_sent_and_never_shown(kind, tmp_path):
    secret = {
        "name": "key",
        "context": "company",
        "dataType": "secret",
        "mutable": True,
        "value": "hush-hush-1",
    }
    done = push(kind, tmp_path, write(tmp_path, {"variables": [secret]}), "--variables")
    assert (done.returncode, [one["value"] for one in kind.variables.values()]) == (0, ["hush-hush-1"])
    assert "hush-hush-1" not in done.stdout + done.stderr
    assert "value: [masked]" in done.stderr


def test_what_is_wrong_with_variables_is_told_before(kind, tmp_path):
    bad = [{"name": "x", "context": "world", "dataType": "text", "mutable": 1, "min": "a"}, 5, {}]
    done = push(kind, tmp_path, write(tmp_path, {"variables": bad}), "--variables")
    assert (done.returncode, kind.requests) == (2, [])
    told = [line.split(" ", 1)[1] for line in done.stderr.splitlines()]
    assert told == [
        "variables[0].context: must be one of company, flow, flowInstance, user, not 'world'",
        "variables[0].dataType: must be one of boolean, number, object, secret, string, not 'text'",
        "variables[0].mutable: must be true or false, not a whole number",
        "variables[0].min: must be a whole number, not a text",
        "variables[1]: must be an object, not a whole number",
        *(f"variables[2].{name}: is missing" for name in ("name", "context", "dataType", "mutable")),
    ]
    none = push(kind, tmp_path, write(tmp_path, {"_embedded": {"variables": "x"}}), "--variables")
    assert "_embedded.variables: must be an object, not a text" in none.stderr


def test_one_variable_alone_is_a_document_too(kind, tmp_path):
    assert push(kind, tmp_path, write(tmp_path, COUNTER), "--variables").returncode == 0
    assert [one["name"] for one in kind.variables.values()] == ["counter"]


def test_a_variable_that_is_refused_is_told_with_what_was_done_before(kind, tmp_path):
    odd = {**COUNTER, "name": "odd<"}
    done = push(
        kind,
        tmp_path,
        write(tmp_path, {"variables": [COUNTER, {**COUNTER, "displayName": "d" * 257}]}),
        "--variables",
    )
    assert (done.returncode, "has 257 characters" in done.stderr) == (2, True)
    kind.on(
        f"/v1/environments/{ENV}/variables",
        kind.handle,
        Reply(400, {"code": "INVALID_DATA", "message": "No."}),
        method="POST",
    )
    done = push(
        kind, tmp_path, write(tmp_path, {"variables": [COUNTER, {**odd, "name": "odd"}]}), "--variables"
    )
    assert done.returncode == 3
    assert done.stderr.splitlines()[-2:] == [
        "odd: the platform answered 400: No. (INVALID_DATA)",
        "  before that: counter new",
    ]


# --- who calls


def asked(server, **more):
    """Return the environment variables of an application that asks for its tokens."""
    url = f"{server.origin}/{ENV}/as/token"
    return {
        "DAVINCI_TOKEN": "",
        "DAVINCI_CLIENT_ID": CLIENT,
        "DAVINCI_CLIENT_SECRET": SECRET,
        "DAVINCI_TOKEN_URL": url,
        **more,
    }


def test_one_token_does_for_all_calls_and_is_shown_nowhere(kind, tmp_path):
    flow = kind.add("Login", **FULL)
    pulled(kind, tmp_path, flow, name="Mine")
    kind.requests.clear()
    done = push(kind, tmp_path, "flow.json", "--deploy", **asked(kind))
    assert done.returncode == 0, done.stderr
    assert [request.path for request in kind.requests].count(f"/{ENV}/as/token") == 1
    [token] = kind.tokens - {TOKEN, READER}
    assert token not in done.stdout + done.stderr
    assert SECRET not in done.stdout + done.stderr


def test_a_token_that_expires_is_replaced(kind, tmp_path):
    flow = kind.add("Login", **FULL)
    pulled(kind, tmp_path, flow, name="Mine")

    def expired(request):
        kind.tokens.intersection_update({TOKEN, READER})
        return kind.handle(request)

    kind.on(f"/v1/environments/{ENV}/flows/{flow}", expired, kind.handle, method="PUT")
    kind.requests.clear()
    done = push(kind, tmp_path, "flow.json", **asked(kind))
    assert done.returncode == 0, done.stderr
    assert [request.method for request in kind.requests] == ["POST", "GET", "PUT", "POST", "PUT", "GET"]


def test_credentials_that_are_refused_are_told(kind, tmp_path):
    done = pull(kind, tmp_path, **asked(kind, DAVINCI_CLIENT_SECRET="wrong-secret"))
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.splitlines() == [
        "the token server answered 401 'invalid_client' and gave no access_token",
        f"  asked for at {kind.origin}/{ENV}/as/token",
    ]


def test_a_token_may_stand_in_a_file_or_a_profile(kind, tmp_path):
    kind.add("Login")
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    lines = [f"{name}={value}" for name, value in asked(kind).items()]
    (tmp_path / "profile").write_text("\n".join(lines))
    for words in (("--token-file", "token"), ("--profile", "profile")):
        done = pull(kind, tmp_path, *words, DAVINCI_TOKEN="")
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("token", "flow", "told"),
    [
        ("nobody", "f", ["401", "INVALID_TOKEN", "DAVINCI_CLIENT_ID"]),
        (READER, "f", ["403", "INSUFFICIENT_PERMISSIONS", "davinci:update:dvFlows"]),
        (TOKEN, "none", ["404", "NOT_FOUND", "--env-id"]),
    ],
)
def test_401_403_and_404_are_told_with_a_remedy(kind, tmp_path, token, flow, told):
    kind.add("Login", "f")
    done = push(kind, tmp_path, write(tmp_path, {"name": "N"}), "--id", flow, DAVINCI_TOKEN=token)
    assert (done.returncode, done.stdout) == (3, "")
    assert [text for text in told if text not in done.stderr] == []


def test_a_limit_is_waited_for_as_the_answer_says(kind, tmp_path):
    kind.add("Login")
    kind.limited_until = "2024-04-19T22:32:51.353Z"  # long ago: it may go on at once
    done = pull(kind, tmp_path)
    assert (done.returncode, done.stderr) == (0, "it answered 429; trying again in 0.0 s\n")
    kind.limited_until = "2999-01-01T00:00:00.000Z"
    later = pull(kind, tmp_path)
    assert later.returncode == 3
    assert later.stderr.startswith(
        "the platform answered 429: The request was limited. (REQUEST_LIMITED, error "
    )
    assert "it asks to wait " in later.stderr
    assert '(LIMIT_EXCEEDED; retryAfter "2999-01-01T00:00:00.000Z")' in later.stderr


def test_what_the_platform_refuses_is_told_with_its_places(kind, tmp_path):
    flow = kind.add("Login")
    graph = {"pan": {"x": 1}, "elements": {"nodes": [{"data": {"id": "a", "nodeType": "EVAL", "label": 5}}]}}
    done = push(kind, tmp_path, write(tmp_path, {"name": "N", "graphData": graph}), "--id", flow)
    assert done.returncode == 3
    assert done.stderr.splitlines()[-3:] == [
        done.stderr.splitlines()[-3],
        "  graphData.elements.nodes[0].data.label: must be a string (INVALID_VALUE)",
        "  graphData.pan.y: must not be missing (REQUIRED_VALUE)",
    ]
    assert "(INVALID_DATA, error " in done.stderr


def test_more_than_the_platform_takes_is_not_sent(kind, tmp_path):
    flow = kind.add("Login")
    done = push(
        kind, tmp_path, write(tmp_path, {"name": "N", "settings": {"css": "x" * 10_000_000}}), "--id", flow
    )
    assert (done.returncode, changing(kind)) == (3, [])
    assert "this is 10 MB, and the platform takes 10 MB at most" in done.stderr


@pytest.mark.parametrize(
    ("words", "env", "told"),
    [
        (("pull", "--from", "davinci"), {}, ["--env-id: is missing", "set DAVINCI_CLIENT_ID and DAVINCI_CLIENT_SECRET"]),
        (("pull", "--from", "davinci", "--env-id", "x"), {"DAVINCI_TOKEN": "tök"}, ["--env-id: 'x' is no UUID", "characters that no header can carry"]),
        (("pull", "--from", "davinci", "--env-id", ENV, "--region", "eu", "--base-url", "https://h.example"), {"DAVINCI_TOKEN": "t"}, ["--region: there is a url already: https://h.example"]),
        (("pull", "--from", "davinci", "--env-id", ENV, "--base-url", "https://h.example"), {"DAVINCI_CLIENT_ID": "i", "DAVINCI_CLIENT_SECRET": "s"}, ["--token-url: is missing; who gives tokens for https://h.example is not known"]),
        (("pull", "--from", "davinci", "--env-id", ENV, "--token-url", "nonsense"), {"DAVINCI_CLIENT_ID": "i", "DAVINCI_CLIENT_SECRET": "s"}, ["--token-url"]),
        (("pull", "--from", "davinci", "--env-id", ENV, "--versions"), {"DAVINCI_TOKEN": "t"}, ["--id: is missing: the flow that is meant"]),
        (("pull", "--from", "davinci", "--env-id", ENV, "--id", "f", "--details", "steps"), {"DAVINCI_TOKEN": "t"}, ["--flow-version: is missing"]),
        (("push", "part.json", "--validate", "--to", "davinci", "--env-id", ENV), {"DAVINCI_TOKEN": "t"}, ["--id: is missing: the flow that is meant"]),
        (("push", "none.json", "--to", "davinci", "--env-id", ENV), {"DAVINCI_TOKEN": "t"}, ["there is no file 'none.json'"]),
        (("push", "--deploy", "--to", "davinci", "--env-id", ENV), {"DAVINCI_TOKEN": "t"}, ["--id: is missing: the flow that is meant"]),
        (("push", "--deploy", "--delete", "--to", "davinci", "--id", "f"), {}, ["push --delete goes alone, without --deploy"]),
        (("push", "--enable", "--disable", "--to", "davinci", "--id", "f"), {}, ["not allowed with argument"]),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_flags_is_told_before_anything_is_sent(tmp_path, words, env, told):
    write(tmp_path, {"graphData": GRAPH}, "part.json")
    done = here(*words, cwd=tmp_path, **env)
    assert (done.returncode, done.stdout) == (2, "")
    assert [text for text in told if text not in done.stderr] == []


@pytest.mark.parametrize(("region", "host"), [((), "com"), (("--region", "com.au"), "com.au")])
def test_the_region_says_where_the_api_and_the_tokens_are(tmp_path, region, host):
    given = {"DAVINCI_TOKEN": "t", "DAVINCI_ENV_ID": ENV, "HTTPS_PROXY": "http://127.0.0.1:9"}
    done = here(
        "push", "--delete", "--id", "f", "--to", "davinci", *region, "--dry-run", cwd=tmp_path, **given
    )
    assert done.stdout.splitlines()[0] == f"DELETE https://api.pingone.{host}/v1/environments/{ENV}/flows/f"
    client = {
        **given,
        "DAVINCI_TOKEN": "",
        "DAVINCI_CLIENT_ID": "i",
        "DAVINCI_CLIENT_SECRET": "s3cret-of-mine",
    }
    refused = here("pull", "--from", "davinci", "--id", "f", *region, cwd=tmp_path, **client)
    assert refused.returncode == 3
    assert refused.stderr.splitlines()[-1] == f"  asked for at https://auth.pingone.{host}/{ENV}/as/token"
