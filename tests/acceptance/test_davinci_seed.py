"""Every statement of seed 003, Update DaVinci Flow: its own calls and bodies against a server of its page.

The samples are the page's own text; only what stands in {{braces}} is filled in.
"""

import json
import re
import shutil
import socket
import subprocess
import sys
from http.client import HTTPConnection

import pytest

from tests.command import here
from tests.emulators.davinci import CLIENT, ENV, SECRET, TOKEN, Davinci
from tests.graphs import GRAPH

FLOW = "a79d1931573009379f0691befa538d97"
PAGE_BODY = """{
    "name": "DV-Flow_1713556322",
    "description": "Updated Description - modified via PUT Flow request",
    "enabled": true,
    "connectors": [
       { "id": "httpConnector" }
    ]
}"""
BODY = json.loads(PAGE_BODY)
# What the sample of each language puts on the wire.
BODIES = {
    "curl, Java, Swift, HTTP": PAGE_BODY,
    "C#": "{\n"
    '    "name": "DV-Flow_1713556322",\n'
    '    "description": "Updated Description - modified via PUT Flow request",\n'
    '    "enabled": true,\n'
    '    "connectors": [\n'
    '       { "id": "httpConnector" }\n'
    "    ]\n"
    "}",
    "jQuery, NodeJS, Ruby": json.dumps(BODY, separators=(",", ":")),
    "Python": json.dumps(BODY),
}
# In PHP a text in single quotes has no line breaks but backslashes.
PHP_BODY = PAGE_BODY.replace("\n", "\\n")

CURL = """curl --location --globoff --request PUT '{{apiPath}}/v1/environments/{{envID}}/flows/{{davinciFlowID}}' \\
--header 'Content-Type: application/json' \\
--header 'Authorization: Bearer {{accessToken}}' \\
--data '{
    "name": "DV-Flow_1713556322",
    "description": "Updated Description - modified via PUT Flow request",
    "enabled": true,
    "connectors": [
       { "id": "httpConnector" }
    ]
}'
"""
PYTHON = """import requests
import json

url = "{{apiPath}}/v1/environments/{{envID}}/flows/{{davinciFlowID}}"

payload = json.dumps({
  "name": "DV-Flow_1713556322",
  "description": "Updated Description - modified via PUT Flow request",
  "enabled": True,
  "connectors": [
    {
      "id": "httpConnector"
    }
  ]
})
headers = {
  'Content-Type': 'application/json',
  'Authorization': 'Bearer {{accessToken}}'
}

response = requests.request("PUT", url, headers=headers, data=payload)

print(response.text)
"""
NODE = """var request = require('request');
var options = {
  'method': 'PUT',
  'url': '{{apiPath}}/v1/environments/{{envID}}/flows/{{davinciFlowID}}',
  'headers': {
    'Content-Type': 'application/json',
    'Authorization': 'Bearer {{accessToken}}'
  },
  body: JSON.stringify({
    "name": "DV-Flow_1713556322",
    "description": "Updated Description - modified via PUT Flow request",
    "enabled": true,
    "connectors": [
      {
        "id": "httpConnector"
      }
    ]
  })

};
request(options, function (error, response) {
  if (error) throw new Error(error);
  console.log(response.body);
});
"""
# The package of that name that the sample wants is given up; this does what the sample asks of it.
REQUEST = """module.exports = (options, done) => fetch(options.url, options)
  .then(async answer => done(null, {body: await answer.text()})).catch(done);
"""
HTTP = """PUT /v1/environments/{{envID}}/flows/{{davinciFlowID}} HTTP/1.1
Host: {{apiPath}}
Content-Type: application/json
Authorization: Bearer {{accessToken}}

"""


@pytest.fixture
def server():
    with Davinci() as one:
        one.add("Old", FLOW, graphData=GRAPH, currentVersion=2)
        yield one


def filled(text, server):
    values = {"apiPath": server.origin, "envID": ENV, "davinciFlowID": FLOW, "accessToken": TOKEN}
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], text)


def put(server, body, *, flow=FLOW, token=TOKEN, kind="application/json"):
    """Send a body as the samples do; returns the status and what the answer holds."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
    headers = {"Authorization": f"Bearer {token}"} | ({"Content-Type": kind} if kind else {})
    data = body if isinstance(body, str) else json.dumps(body)
    try:
        connection.request("PUT", f"/v1/environments/{ENV}/flows/{flow}", data.encode(), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def is_documented(answer):
    """Whether an answer has what the page's example response has, and nothing else."""
    assert answer.keys() == {
        "_links", "id", "environment", "name", "description", "enabled", "currentVersion", "createdAt", "updatedAt",
    }  # fmt: skip
    assert answer["_links"].keys() == {
        "environment", "connectorInstances", "flow.deploy", "flow.clone", "flow.enabled", "self",
    }  # fmt: skip
    assert (answer["id"], answer["environment"]) == (FLOW, {"id": ENV})
    assert {name: answer[name] for name in ("name", "description", "enabled")} == {
        name: BODY[name] for name in ("name", "description", "enabled")
    }
    assert answer["currentVersion"] == 4
    assert all(
        re.fullmatch(r"2024-04-19T\d\d:\d\d:\d\d\.\d{3}Z", answer[name])
        for name in ("createdAt", "updatedAt")
    )
    return True


# --- the example requests


def run(words, folder, stdin=None):
    done = subprocess.run(
        words, cwd=folder, input=stdin, capture_output=True, text=True, timeout=25, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_curl_sample_gets_the_example_response(server, tmp_path):
    if shutil.which("curl") is None:
        pytest.skip("there is no curl here")
    assert is_documented(run(["bash", "-c", filled(CURL, server)], tmp_path))


def test_the_python_sample_gets_the_example_response(server, tmp_path):
    assert is_documented(run([sys.executable, "-"], tmp_path, filled(PYTHON, server)))


def test_the_node_sample_gets_the_example_response(server, tmp_path):
    if shutil.which("node") is None:
        pytest.skip("there is no node here")
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "request.js").write_text(REQUEST)
    assert is_documented(run(["node", "-"], tmp_path, filled(NODE, server)))


@pytest.mark.parametrize("language", BODIES)
def test_the_body_of_every_sample_gets_the_example_response(server, language):
    status, answer = put(server, BODIES[language])
    assert status == 200
    assert is_documented(answer)


def test_the_body_of_the_php_sample_is_no_json(server):
    status, answer = put(server, PHP_BODY)
    assert (status, answer["code"]) == (400, "INVALID_REQUEST")
    assert answer["message"].endswith("the body is no JSON.")


def test_the_http_sample_works_once_its_length_is_told(server):
    text = filled(HTTP, server).replace(f"Host: {server.origin}", f"Host: 127.0.0.1:{server.port}")

    def sent(head):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
            raw.sendall((head + PAGE_BODY).replace("\n\n", "\r\n\r\n", 1).encode())
            raw.shutdown(socket.SHUT_WR)
            return raw.makefile("rb").read().split(b"\r\n")

    lines = text.strip().splitlines()
    as_it_is = "\r\n".join(lines) + "\n\n"
    assert sent(as_it_is)[0] == b"HTTP/1.1 415 Fine"  # no body has come, so it has no media type
    whole = "\r\n".join([*lines, f"Content-Length: {len(PAGE_BODY)}"]) + "\n\n"
    answer = sent(whole)
    assert answer[0] == b"HTTP/1.1 200 Fine"
    assert is_documented(json.loads(answer[-1]))


# --- what the page says of the call


def test_the_flow_that_the_url_names_is_updated_and_no_other(server):
    other = server.add("Other")
    assert put(server, BODY)[0] == 200
    assert (server.flows[FLOW]["name"], server.flows[other]["name"]) == (BODY["name"], "Other")
    assert server.flows[FLOW]["connectors"] == [{"id": "httpConnector"}]


def test_the_authorization_header_carries_the_access_token(server):
    status, answer = put(server, BODY, token="another")
    assert (status, answer["code"], answer["details"][0]["code"]) == (401, "ACCESS_FAILED", "INVALID_TOKEN")


@pytest.mark.parametrize("kind", ["text/plain", "application/vnd.pingidentity.flow.deploy+json", None])
def test_the_content_type_is_json_and_nothing_else(server, kind):
    status, answer = put(server, BODY, kind=kind)
    assert (status, answer["code"]) == (415, "INVALID_REQUEST")


def test_the_name_is_required_and_all_else_is_optional(server):
    assert put(server, {"name": "alone"})[0] == 200
    status, answer = put(server, {"description": "x"})
    assert (status, answer["code"]) == (400, "INVALID_DATA")
    assert [(one["code"], one["target"]) for one in answer["details"]] == [("REQUIRED_VALUE", "name")]


VALUES = {
    "color": "#AFD5FF",
    "connectors": [{"id": "httpConnector"}, {"id": "functionsConnector"}],
    "currentVersion": 3,
    "description": "what it does",
    "enabled": False,
    "graphData": GRAPH,
    "inputSchema": [{"propertyName": "user", "preferredDataType": "string", "required": True}],
    "name": "DV-Flow_1713556322",
    "outputSchema": {"output": {"type": "object", "properties": {"ok": {"type": "boolean"}}}},
    "publishedVersion": 1,
    "settings": {"flowTimeoutInSeconds": 300, "of their own": {"deep": [1, None]}},
    "trigger": {"type": "AUTHENTICATION"},
}
WRONG = [
    ("color", 5, "color: must be a text, not a whole number"),
    ("connectors", {"id": "x"}, "connectors: must be a list, not an object"),
    ("connectors", ["httpConnector"], "connectors[0]: must be an object, not a text"),
    ("connectors", [{"id": 7}], "connectors[0].id: must be a text, not a whole number"),
    ("currentVersion", "4", "currentVersion: must be a whole number, not a text"),
    ("currentVersion", 4.5, "currentVersion: must be a whole number, not a number"),
    ("currentVersion", True, "currentVersion: must be a whole number, not true or false"),
    ("description", ["x"], "description: must be a text, not a list"),
    ("enabled", "true", "enabled: must be true or false, not a text"),
    ("enabled", 1, "enabled: must be true or false, not a whole number"),
    ("graphData", "{}", "graphData: must be an object, not a text"),
    ("inputSchema", {}, "inputSchema: must be a list, not an object"),
    ("inputSchema", [5], "inputSchema[0]: must be an object, not a whole number"),
    ("name", 5, "name: must be a text, not a whole number"),
    ("outputSchema", [], "outputSchema: must be an object, not a list"),
    ("publishedVersion", {}, "publishedVersion: must be a whole number, not an object"),
    ("settings", "x", "settings: must be an object, not a text"),
    ("trigger", "AUTHENTICATION", "trigger: must be an object, not a text"),
    ("trigger", {"type": 1}, "trigger.type: must be a text, not a whole number"),
]


def davinci(server, cwd, *words, **env):
    return here(
        *words, "--env-id", ENV, "--base-url", server.origin, cwd=cwd, **{"DAVINCI_TOKEN": TOKEN, **env}
    )


def push(server, folder, document, *words, **env):
    (folder / "flow.json").write_text(document if isinstance(document, str) else json.dumps(document))
    return davinci(server, folder, "push", "flow.json", "--to", "davinci", "--id", FLOW, *words, **env)


@pytest.mark.parametrize("name", VALUES)
def test_every_property_of_the_request_model_is_sent_and_kept(server, tmp_path, name):
    done = push(server, tmp_path, {"name": "N", name: VALUES[name]})
    assert done.returncode == 0, done.stderr
    [sent] = [request.json() for request in server.requests if request.method == "PUT"]
    assert sent[name] == VALUES[name]
    if name not in ("currentVersion", "publishedVersion"):  # which the server counts itself
        assert server.flows[FLOW][name] == VALUES[name]


@pytest.mark.parametrize(("name", "value", "told"), WRONG)
def test_a_property_of_a_wrong_type_is_refused_with_its_place_before_anything_is_sent(
    server, tmp_path, name, value, told
):
    done = push(server, tmp_path, {"name": "N", name: value})
    assert (done.returncode, done.stdout, server.requests) == (2, "", [])
    assert re.fullmatch(rf"flow\.json:1:\d+ {re.escape(told)}\n", done.stderr)
    status, answer = put(server, {"name": "N", name: value})
    assert status == 400
    assert answer["details"][0]["target"] == told.partition(":")[0]


def test_all_wrong_properties_are_told_at_once(server, tmp_path):
    done = push(server, tmp_path, {name: value for name, value, _ in WRONG})
    assert len(done.stderr.splitlines()) == len({name for name, _, _ in WRONG})


def test_the_body_of_the_page_is_pushed_and_what_it_lacks_stays(server, tmp_path):
    done = push(server, tmp_path, PAGE_BODY)
    assert (done.returncode, done.stdout) == (0, f"{FLOW}: updated (version 3 -> 4)\n")
    assert "the document has no graphData: sent as it is there" in done.stderr
    [sent] = [request.json() for request in server.requests if request.method == "PUT"]
    assert sent == {**BODY, "graphData": GRAPH}


def test_with_as_is_the_body_of_the_page_is_sent_as_it_stands(server, tmp_path):
    done = push(server, tmp_path, PAGE_BODY, "--as-is")
    [sent] = [request for request in server.requests if request.method == "PUT"]
    assert (done.returncode, sent.json()) == (0, BODY)
    assert "graphData: not sent, and may be cleared" in done.stderr


def test_a_token_can_be_had_with_the_credentials_of_an_application(server, tmp_path):
    env = {
        "DAVINCI_TOKEN": "", "DAVINCI_CLIENT_ID": CLIENT, "DAVINCI_CLIENT_SECRET": SECRET,
        "DAVINCI_TOKEN_URL": f"{server.origin}/{ENV}/as/token",
    }  # fmt: skip
    assert push(server, tmp_path, PAGE_BODY, **env).returncode == 0
    assert [request.method for request in server.requests] == ["POST", "GET", "PUT", "GET"]
