"""`runner run --dry-run` as a person or a program sees it; what it knows is in tests/runtime/test_dry_run.py."""

import json

import pytest

from tests.command import flow_file, get, here
from tests.servers import ApiServer, echo

API = "http://api.example:81"


def dry(flow, *words, **env):
    return here("run", flow.name, "--dry-run", "-e", f"API={API}", *words, cwd=flow.parent, **env)


@pytest.fixture
def flow(tmp_path):
    return flow_file(
        tmp_path,
        get("a", method="POST", body={"pw": "{{input.pw}}", "n": 1}, outputs={"id": "response.body.id"}),
        get("b", condition="{{a.id}} > 1", query={"id": "{{a.id}}"}),
        get("c", condition="1 === 2"),
        {"id": "d", "set": {"text": "no. {{a.id}}"}},
        flow_inputs=[{"name": "pw", "type": "password"}],
    )


def test_the_requests_are_printed_as_they_would_be_sent_and_nothing_is(flow):
    done = dry(flow, "-i", "pw=hunter22-x", "--map", "api.example=127.0.0.1:1")
    assert (done.returncode, done.stderr) == (0, "")
    head = [
        "  > Host: api.example:81",
        "  > User-Agent: flowspan-runner/0.1.0",
        "  > Accept: */*",
        "  > Accept-Encoding: gzip, deflate",
        "  > traceparent: 00-{trace id}-{span id}-01",
    ]
    assert done.stdout.splitlines() == [
        "http-a",
        "  > POST http://api.example:81/a  (connects to 127.0.0.1:1)",
        *head,
        "  > Content-Type: application/json",
        "  > Content-Length: 25",
        "  >",
        '  > {"pw":"[masked]","n":1}',
        "http-b only if {{a.id}} > 1",
        "  > GET http://api.example:81/b?id={a.id}  (connects to 127.0.0.1:1)",
        *head,
        "http-c skipped, condition: 1 === 2 is false",
        "set-d",
        '  text = "no. {a.id}"',
        "nothing was sent; shown: 2 requests of 4 steps, 1 of them only if an answer says so",
    ]


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_a_secret_that_a_condition_spells_out_is_masked(tmp_path, words):
    flow = flow_file(
        tmp_path,
        get("a", outputs={"id": "response.body.id"}),
        get("b", condition="{{a.id}} === 'x' && {{input.pw}} === 'hunter22-x'"),
        get("c", condition="{{input.pw}} !== 'hunter22-x'"),
        get("d", until={"condition": "response.body.s === 'hunter22-x'"}),
        flow_inputs=[{"name": "pw", "type": "password"}],
    )
    done = dry(flow, "-i", "pw=hunter22-x", *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert "hunter22-x" not in done.stdout
    assert done.stdout.count("'[masked]'") == 3


def test_a_program_reads_it_as_json(flow):
    done = dry(flow, "-i", "pw=hunter22-x", "--json", "--run-id", "r1")
    result = json.loads(done.stdout)
    assert (done.returncode, result["runId"], result["flow"], result["sent"]) == (0, "r1", "flow", False)
    first, second, third, fourth = result["steps"]
    assert (first["path"], first["decision"], second["decision"]) == ("a", "runs", "depends")
    assert (second["reasons"], third["decision"]) == (["{{a.id}} > 1"], "skipped")
    assert fourth["outputs"] == {"text": "no. {a.id}"}
    [request] = first["requests"]
    assert request | {"headers": None} == {
        "method": "POST",
        "url": f"{API}/a",
        "headers": None,
        "body": '{"pw":"[masked]","n":1}',
        "bodySize": 25,
        "for": None,
        "connectTo": None,
        "refused": None,
    }
    assert ["Content-Length", "25"] in request["headers"]


def test_a_step_that_would_fail_is_told_with_its_place(tmp_path):
    flow = flow_file(
        tmp_path, get("a", method="PUT", bodyFile="gone.txt"), get("b", url="http://other.example/")
    )
    done = dry(flow, "--allow-host", "api.example")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    missing = (
        "there is no file 'gone.txt' in the flow's folder (file.missing) at flow.json:11:17 steps[0].bodyFile"
    )
    assert lines[:2] == ["http-a", f"  would fail: {missing}"]
    refused = "other.example:80 is none of the hosts that --allow-host names"
    assert f"  would fail: {refused} (http.refused)" in lines
    assert lines[-1] == "nothing was sent; shown: 1 request of 2 steps; 2 steps would fail"
    error = json.loads(dry(flow, "--json").stdout)["steps"][0]["error"]
    assert (error["code"], error["place"]) == ("file.missing", "steps[0].bodyFile")


def test_what_is_wrong_is_told_as_by_a_run(flow):
    done = here("run", flow.name, "--dry-run", "-i", "x=1", cwd=flow.parent)
    assert (done.returncode, done.stdout) == (2, "")
    assert [line.rpartition(": ")[0] for line in done.stderr.splitlines()] != []


def test_nothing_is_written_kept_or_delivered(flow):
    words = ("--trace-out", "t.json", "--state", "sqlite:///x.db", "--otlp-endpoint", "http://127.0.0.1:1")
    done = dry(flow, "-i", "pw=hunter22-x", *words)
    assert (
        done.stderr == "a dry run makes no trace and keeps nothing; --trace-out, --otlp, --state: not done\n"
    )
    assert [path.name for path in flow.parent.iterdir()] == ["flow.json"]
    quiet = dry(flow, "-i", "pw=hunter22-x", *words, "--quiet")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")


def test_bytes_and_long_texts_are_told_by_their_size(tmp_path):
    (tmp_path / "file.bin").write_bytes(b"\xff\x00")
    flow = flow_file(
        tmp_path,
        get("a", method="PUT", bodyFile="file.bin"),
        get("b", method="PUT", body="x" * 16_390 + "\nend"),
        get("c", auth={"type": "oauth2", "tokenUrl": f"{API}/t", "clientId": "me", "clientSecret": "s3cret-s3cret"}),
        get("d", forEach=[1, 2]),
    )  # fmt: skip
    lines = dry(flow).stdout.splitlines()
    assert "  > (2 bytes that are not text)" in lines
    assert "  > … (10 characters more; --json has them)" in lines
    assert f"  > POST {API}/t  (for the token)" in lines
    assert lines.count("  2 items") == 1


def test_a_dry_run_connects_to_nobody(tmp_path):
    with ApiServer(echo) as api:
        flow = flow_file(tmp_path, {"id": "a", "method": "GET", "url": api.url("/a")})
        assert dry(flow).returncode == 0
        assert api.connections == 0


def test_resuming_is_never_dry(tmp_path):
    done = here("resume", "nobody", "--state", "sqlite:///x.db", cwd=tmp_path)
    assert done.returncode in (2, 3)
    assert "a fault of the runner" not in done.stderr


@pytest.mark.parametrize(("condition", "code"), [("{{a.id}} > 1", 0), ("1 === 1", 1)])
def test_only_what_is_bound_to_fail_fails_a_dry_run(tmp_path, condition, code):
    away = {"id": "b", "method": "GET", "url": "http://other.example/b", "condition": condition}
    flow = flow_file(tmp_path, get("a", outputs={"id": "response.body.id"}), away)
    done = dry(flow, "--allow-host", "api.example")
    assert done.returncode == code
    assert "1 step would fail" in done.stdout
