"""Rules for hosts and addresses, as the flags and the library give them (SEMANTICS, Command line)."""

import json
import shutil
import subprocess
import sys

import pytest

import runner
from runner.runtime.http import HttpSettings, Transport
from runner.runtime.policy import ProxyRules
from tests.command import COMMAND, environment, flow_file, get, here
from tests.servers import ApiServer, Reply, TlsServer, authority, echo

__all__ = ["authority"]


@pytest.fixture
def other():
    with ApiServer(echo) as server:
        yield server


def run(flow, *words, **env):
    return here("run", flow.name, "--trace-out", "trace.json", *words, cwd=flow.parent, **env)


def attempts(flow):
    spans = json.loads((flow.parent / "trace.json").read_bytes())["spans"]
    return [span for span in spans if span["attributes"].get("span.kind") == "client"]


# --map


def test_a_mapped_request_goes_elsewhere_and_says_what_the_url_says(tmp_path, api):
    flow = flow_file(tmp_path, {"id": "a", "method": "GET", "url": "http://api.example.com/x?y=1"})
    done = run(flow, "--map", f"api.example.com=127.0.0.1:{api.port}")
    assert done.returncode == 0, done.stdout
    [request] = api.requests
    assert (request.header("host"), request.target) == ("api.example.com", "/x?y=1")
    [span] = attempts(flow)
    assert (
        span["attributes"]
        | {
            "url.full": "http://api.example.com/x?y=1",
            "server.address": "api.example.com",
            "server.port": 80,
            "network.peer.address": "127.0.0.1",
            "network.peer.port": api.port,
        }
        == span["attributes"]
    )


def test_a_mapped_request_is_still_asked_for_the_certificate_of_the_url(tmp_path, authority):
    flow = flow_file(tmp_path, {"id": "a", "method": "GET", "url": "https://api.example.com/"})
    with TlsServer(authority, echo, names=("api.example.com",)) as server:
        words = ("--map", f"*=localhost:{server.port}", "--cacert", authority.ca_file)
        assert run(flow, *words).returncode == 0
        assert server.server_names == ["api.example.com"]
        flow_file(tmp_path, {"id": "a", "method": "GET", "url": "https://other.example/"})
        done = run(flow, *words)
    assert (done.returncode, "http.tls" in done.stdout) == (1, True)


def test_a_mapped_host_that_does_not_answer_is_named_as_what_was_connected_to(tmp_path):
    flow = flow_file(tmp_path, {"id": "a", "method": "GET", "url": "http://api.example.com/"})
    done = run(flow, "--map", "api.example.com=127.0.0.1:1")
    assert "no connection to 127.0.0.1:1: connection refused" in done.stdout


# --allow-host


def test_a_host_that_is_not_allowed_fails_the_step_and_nothing_is_sent(tmp_path, api):
    flow = flow_file(tmp_path, get("a", retryCount=3))
    done = run(flow, "-e", f"API={api.origin}", "--allow-host", "*.example.com")
    assert done.returncode == 1
    told = f"127.0.0.1:{api.port} is none of the hosts that --allow-host names"
    assert f"step a: {told}" in done.stdout
    assert "(http.refused)" in done.stdout
    assert api.connections == 0
    [span] = attempts(flow)
    assert span["status"] == {"code": 1}
    assert span["attributes"]["error.type"] == "http.refused"
    assert span["attributes"]["error.message"] == told


def test_a_redirect_to_a_host_that_is_not_allowed_is_not_followed(tmp_path, api, other):
    api.on("/a", Reply(302, headers=[("Location", other.url("/b"))]))
    flow = flow_file(tmp_path, get("a"))
    words = ("-e", f"API={api.origin}", "--allow-host", f"127.0.0.1:{api.port}")
    done = run(flow, *words)
    assert (done.returncode, "(http.refused)" in done.stdout) == (1, True)
    assert (len(api.requests), other.connections) == (1, 0)
    first, second = attempts(flow)
    assert first["attributes"]["http.response.status_code"] == 302
    assert second["attributes"]["error.type"] == "http.refused"
    assert run(flow, *words, "--allow-host", f"*:{other.port}").returncode == 0
    assert [request.path for request in other.requests] == ["/b"]


def test_a_token_is_not_asked_for_from_a_host_that_is_not_allowed(tmp_path, api, other):
    auth = {
        "type": "oauth2",
        "tokenUrl": other.url("/token"),
        "clientId": "me",
        "clientSecret": "s3cret-s3cret",
    }
    flow = flow_file(tmp_path, get("a", auth=auth, retryCount=2))
    done = run(flow, "-e", f"API={api.origin}", "--allow-host", f"127.0.0.1:{api.port}")
    assert f"no token: 127.0.0.1:{other.port} is none of the hosts" in done.stdout
    assert "(http.refused)" in done.stdout
    assert (api.connections, other.connections) == (0, 0)


def test_a_flow_in_a_flow_goes_by_the_same_rules(tmp_path, api):
    flow_file(tmp_path, {"id": "in", "method": "GET", "url": api.url("/in")}, name="inner.json")
    flow = flow_file(tmp_path, {"id": "a", "flow": "inner.json"})
    done = run(flow, "--allow-host", "x.example")
    assert (done.returncode, api.connections) == (1, 0)


# --deny-private


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:7f00:1]", "127.1", "0"])
def test_private_addresses_are_denied_in_every_spelling(tmp_path, api, host):
    flow = flow_file(tmp_path, {"id": "a", "method": "GET", "url": f"http://{host}:{api.port}/"})
    done = run(flow, "--deny-private")
    assert (done.returncode, "is not public; --deny-private refuses it" in done.stdout) == (1, True)
    assert api.connections == 0


def test_a_proxy_and_denied_addresses_exclude_each_other(tmp_path, api):
    flow = flow_file(tmp_path, get("a"))
    words = ("-e", f"API={api.origin}", "--deny-private")
    done = run(flow, *words, HTTPS_PROXY="http://proxy.example:3128")
    assert done.returncode == 2
    assert done.stderr == (
        "--deny-private: a proxy would look the hosts up; unset HTTP_PROXY and its like, or set NO_PROXY='*'\n"
    )
    assert run(flow, *words, HTTPS_PROXY="http://proxy.example:3128", NO_PROXY="*").returncode == 1


# what is wrong with them


def test_rules_that_make_no_sense_are_told_with_everything_else(tmp_path):
    flow = flow_file(tmp_path, get("a", url="{{b.x}}"))
    done = run(flow, "--map", "a", "--allow-host", "http://a", "--timeout", "1")
    assert done.returncode == 2
    assert [line.partition(": ")[0] for line in done.stderr.splitlines()] == [
        "--map", "--allow-host", "flow.json:10:12 steps[0].url",
    ]  # fmt: skip


# the library


def test_the_library_takes_the_same_rules(api):
    document = {
        "version": "1.0",
        "flow_inputs": [],
        "steps": [{"id": "a", "method": "GET", "url": "http://a.example/"}],
    }
    rules = {"map_hosts": [f"a.example=127.0.0.1:{api.port}"], "allow_hosts": ["*.example"]}
    assert runner.run_sync(document, settings=runner.RunSettings(**rules)).ok
    denied = runner.run_sync(document, settings=runner.RunSettings(**rules, deny_private=True))
    assert denied.step("a").error.code == "http.refused"
    assert len(api.requests) == 1


def test_the_library_tells_rules_that_make_no_sense_with_everything_else():
    document = {"version": "1.0", "flow_inputs": [], "steps": [get("a")]}
    proxies = HttpSettings(proxies=ProxyRules(http="http://proxy.example:1"))
    settings = runner.RunSettings(map_hosts=["a"], allow_hosts=["/"], deny_private=True, http=proxies)
    with pytest.raises(runner.FlowError) as caught:
        runner.run_sync(document, settings=settings)
    assert {problem.code for problem in caught.value.problems} == {
        "env.missing", "usage.map", "usage.allow_host", "usage.deny_private",
    }  # fmt: skip


@pytest.mark.anyio
async def test_rules_hold_for_a_run_that_shares_its_connections(api):
    document = {"version": "1.0", "flow_inputs": [], "steps": [get("a")]}
    async with Transport() as transport:

        async def go(**rules):
            settings = runner.RunSettings(transport=transport, **rules)
            return await runner.run(document, env={"API": api.origin}, settings=settings)

        assert (await go()).ok
        assert (await go(deny_private=True)).step("a").error.code == "http.refused"
        assert (await go(allow_hosts=["x.example"])).step("a").error.code == "http.refused"
    async with Transport(HttpSettings(proxies=ProxyRules(http="http://proxy.example:1"))) as transport:
        with pytest.raises(runner.FlowError, match="a proxy would look the hosts up"):
            await go(deny_private=True)


# a network of its own, in which there is a public address


IN_A_NETWORK = """
set -e
ip link set lo up
ip addr add 93.184.216.34/32 dev lo
mount --bind hosts /etc/hosts
"$@"
"""
SERVER = """
import http.server, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(302 if self.path == "/inwards" else 204)
        self.send_header("Location", "http://inside.example:8080/")
        self.end_headers()

    def log_message(self, *_):
        pass

server = http.server.ThreadingHTTPServer(("0.0.0.0", 8080), Handler)
import threading, subprocess
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.exit(subprocess.run(sys.argv[1:]).returncode)
"""


def isolated():
    return ["unshare", "--user", "--map-root-user", "--net", "--mount", "--"]


def can_isolate():
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return False
    return subprocess.run([*isolated(), "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.live
@pytest.mark.skipif(not can_isolate(), reason="no network namespaces here (unshare, ip)")
@pytest.mark.parametrize(
    ("path", "code", "told"),
    [
        ("http://outside.example:8080/", 0, "1 ok"),
        ("http://inside.example:8080/", 1, "the address 127.0.0.1 of inside.example is not public"),
        ("http://outside.example:8080/inwards", 1, "the address 127.0.0.1 of inside.example is not public"),
    ],
)
def test_in_a_real_network_only_public_addresses_are_reached(tmp_path, path, code, told):
    (tmp_path / "hosts").write_text("93.184.216.34 outside.example\n127.0.0.1 inside.example\n")
    flow = flow_file(tmp_path, {"id": "a", "method": "GET", "url": path})
    runs = [sys.executable, "-c", SERVER, *COMMAND, "run", flow.name, "--deny-private"]
    done = subprocess.run(
        [*isolated(), "sh", "-c", IN_A_NETWORK, "sh", *runs],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (done.returncode, told in done.stdout) == (code, True), done.stdout + done.stderr
