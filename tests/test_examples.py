"""Every example is run as its page says, in a shell, and asked what came of it and what its server saw."""

import http.client
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

import runner
from examples import loopback
from tests.command import here
from tests.emulators.versori import ORG, PROJECT, TOKEN, Versori

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
PAGE = (EXAMPLES / "README.md").read_text(encoding="utf-8")
COMMANDS = dict(re.findall(r"^\| \[([\w.]+)\]\(.*\| `([^`]+)` \|$", PAGE, re.MULTILINE))
FLOWS = sorted(path for path in EXAMPLES.rglob("*") if path.name in ("flow.json", "flow.yaml", "login.json"))


def shell(command: str, **env: str) -> subprocess.CompletedProcess:
    """Run a command in the root of the project, with this Python's programs first."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        ["bash", "-c", command],
        cwd=ROOT,
        env={**os.environ, "PATH": path, **env},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


class Seen:
    """What came of an example: its result, everything it printed, and the requests its server got."""

    def __init__(self, done: subprocess.CompletedProcess, log: Path):
        self.code = done.returncode
        self.printed = done.stdout + done.stderr
        self.result = json.loads(done.stdout) if done.stdout.startswith("{") else {}
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        self.requests = [json.loads(line) for line in lines]

    @property
    def paths(self) -> list[str]:
        return [request["path"] for request in self.requests]

    def bodies(self, path: str) -> list:
        return [request["body"] for request in self.requests if request["path"] == path]

    def headers(self, path: str, name: str) -> list:
        return [request["headers"].get(name) for request in self.requests if request["path"] == path]

    def step(self, path: str) -> dict:
        return next(step for step in self.result["steps"] if step["path"] == path)


@pytest.fixture
def play(tmp_path):
    """Run an example as its page says, with more options for its server and for the run."""

    def run(example: str, more: str = "", *, server: str = "") -> Seen:
        log, trace = tmp_path / "requests", tmp_path / "trace.json"
        options = f"examples/loopback.py {server} --log {log} "
        command = COMMANDS[example].replace("examples/loopback.py ", options)
        done = shell(f"{command} {more} --json --trace-out {trace}")
        seen = Seen(done, log)
        seen.printed += trace.read_text(encoding="utf-8") if trace.exists() else ""
        return seen

    return run


def test_the_page_has_every_example():
    there = {path.name for path in EXAMPLES.iterdir() if path.is_dir() and not path.name.startswith("_")}
    there |= {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".sh")} - {"loopback.py"}
    assert set(COMMANDS) == there


@pytest.mark.parametrize("path", FLOWS, ids=lambda path: path.relative_to(EXAMPLES).as_posix())
def test_no_flow_has_a_problem(path):
    assert runner.check(runner.load(path)) == ()


def test_a_user_is_registered(play):
    seen = play("register_user")
    assert seen.code == 0, seen.printed
    assert seen.result["status"] == "succeeded"
    assert seen.paths == ["/auth/register", "/auth/verify-email", "/notifications/welcome"]
    assert seen.bodies("/auth/verify-email") == [{"token": "activate-1001"}]
    assert seen.bodies("/notifications/welcome") == [{"userId": 1001, "userRole": "member"}]
    assert "correct horse" not in seen.printed


def test_a_busy_server_is_asked_again(play):
    seen = play("register_user", server="--busy /auth/verify-email")
    assert seen.code == 0, seen.printed
    assert [request["status"] for request in seen.requests] == [201, 503, 200, 202]
    assert seen.step("verify_email")["attempts"] == 2


def test_no_welcome_is_sent_when_none_is_wanted(play):
    seen = play("register_user", "-i sendWelcomeEmail=false")
    assert seen.code == 0, seen.printed
    assert seen.paths == ["/auth/register", "/auth/verify-email"]
    assert (seen.step("send_welcome")["status"], seen.step("send_welcome")["reason"]) == (
        "skipped",
        "condition",
    )


def test_wrong_inputs_are_told_at_once_and_nothing_is_sent(play):
    seen = play("register_user", "-i username=al -i email=nowhere")
    assert (seen.code, seen.paths) == (2, [])
    assert "Input username: minimum length is 3" in seen.printed
    assert "Input email: invalid email format" in seen.printed


def test_lookups_and_quotes_overlap_and_the_order_waits_for_all(play):
    seen = play("orders_parallel")
    assert seen.code == 0, seen.printed
    assert {*seen.paths[:2]} == {"/customers/c-7", "/carts"}
    assert {*seen.paths[2:4]} == {"/prices", "/shipping"}
    assert seen.paths[4:] == ["/orders", "/mails"]
    [order] = seen.bodies("/orders")
    assert (order["customer"], order["amount"]) == ("c-7", 50)
    assert len(seen.headers("/orders", "idempotency-key")[0]) == 32
    assert seen.bodies("/mails")[0]["text"] == "Your order /orders/o-1 is on its way."


def test_each_export_is_polled_until_it_is_ready(play):
    seen = play("poll_jobs")
    assert seen.code == 0, seen.printed
    assert [body["region"] for body in seen.bodies("/exports")] == ["north", "south", "west"]
    assert [body["position"] for body in seen.bodies("/exports")] == [0, 1, 2]
    assert [seen.paths.count(f"/exports/job-{region}") for region in ("north", "south", "west")] == [3, 3, 3]
    assert seen.result["outputs"]["summary"] == {
        "files": "job-north.csv, job-south.csv, job-west.csv",
        "largest": 900,
        "message": "3 regions exported, starting with north",
    }


def test_a_flow_hands_its_secret_to_the_flow_around_it(play):
    seen = play("sub_flow")
    assert seen.code == 0, seen.printed
    assert seen.bodies("/login") == ["user=editor&password=correct+horse+battery"]
    assert seen.headers("/articles", "authorization") == ["Bearer letter-box-9172"]
    assert "A flow that is useful twice" in seen.bodies("/articles")[0]
    assert "letter-box-9172" not in seen.printed
    assert seen.step("session/login")["outputs"] == {"token": "[masked]"}


@pytest.mark.parametrize(
    ("inputs", "paths", "reviewer"),
    [
        ("-i amount=2500", ["/reviews", "/payments"], "grace"),
        ("-i amount=20", ["/payments"], "nobody"),
        ("-i amount=2500 -i currency=NOK", ["/payments"], "nobody"),
    ],
)
def test_two_branches_join_in_one_payment(play, inputs, paths, reviewer):
    seen = play("yaml_flow", inputs)
    assert seen.code == 0, seen.printed
    assert seen.paths == paths
    assert seen.bodies("/payments")[0]["reviewer"] == reviewer


def test_a_payment_that_fails_is_handled_by_its_edge(play):
    seen = play("yaml_flow", "-i currency=USD")
    assert (seen.code, seen.result["status"]) == (0, "succeeded"), seen.printed
    assert seen.paths == ["/reviews", "/payments", "/alarms"]
    assert seen.bodies("/alarms") == ["amount 2500 was not paid"]
    assert (seen.step("pay")["status"], seen.step("pay")["handled"]) == ("failed", True)


def test_one_token_serves_two_steps_and_a_dead_one_is_replaced_once(play):
    seen = play("auth")
    assert seen.code == 0, seen.printed
    assert seen.paths.count("/oauth/token") == 2
    assert [request["status"] for request in seen.requests if request["path"].startswith("/accounts")] == [
        401,
        200,
        200,
    ]
    assert seen.bodies("/audit") == [{"owner": "Ada", "title": "All is well"}]
    for secret in (
        "wobbly-bicycle",
        "quiet-lantern",
        "correct horse",
        "access-1-of-example",
        "access-2-of-example",
    ):
        assert secret not in seen.printed


def test_a_flow_of_davinci_runs_with_a_person_and_a_service_by_files(play):
    pytest.importorskip("quickjs", reason="no JavaScript engine: the extra js is not installed")
    seen = play("davinci")
    assert seen.code == 0, seen.printed
    assert seen.paths == ["/oauth/token", "/customers", "/scores"]
    claims = seen.result["outputs"]["open000001"]["additionalProperties"]
    assert claims == {"limit": 7200, "mail": "mail-1"}
    assert "wobbly-bicycle" not in seen.printed


def test_a_flow_of_davinci_ends_with_the_error_of_its_subflow(play):
    pytest.importorskip("quickjs", reason="no JavaScript engine: the extra js is not installed")
    seen = play("davinci", "-e clientSecret=wrong-one")
    assert (seen.code, seen.paths) == (1, ["/oauth/token"])
    assert seen.step("failed0001")["error"]["code"] == "customer.401"


def test_a_flow_runs_from_a_few_lines_of_python():
    done = shell(COMMANDS["library_use.py"])
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line.split()[:2] for line in lines[:3]] == [
        ["register", "succeeded"],
        ["verify_email", "succeeded"],
        ["send_welcome", "succeeded"],
    ]
    assert re.fullmatch(r"7 spans in trace [0-9a-f]{32}", lines[3])


def test_a_pipeline_passes():
    done = shell(COMMANDS["pipeline.sh"])
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "passed"


def test_a_pipeline_tells_that_a_flow_failed():
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    done = shell(f"{COMMANDS['pipeline.sh']} http://127.0.0.1:{port}")
    assert done.returncode == 1, done.stderr
    assert "the flow failed" in done.stdout


def test_the_demo_runs_and_what_it_suggests_works():
    done = shell("python examples/register_user/demo.py")
    assert done.returncode == 0, done.stderr
    assert "The trace of a run is a file: .demo/trace.json" in done.stdout
    assert "✓ ok 200, 2 attempts" in done.stdout
    trace = json.loads((ROOT / ".demo/trace.json").read_bytes())
    assert trace["name"] == "Updated User Registration Flow"
    assert [span["name"] for span in trace["spans"]].count("POST /auth/verify-email") == 2
    suggested = re.findall(r"^  (\S.*(?:(?<=\\)\n.*)?)$", done.stdout.partition("Try next:")[2], re.MULTILINE)
    assert len(suggested) == 3
    for command in suggested:
        tried = shell(command)
        assert tried.returncode == 0, f"{command}\n{tried.stderr}"


def test_the_demo_leaves_with_the_code_of_the_run():
    done = shell("python examples/register_user/demo.py -i username=al")
    assert done.returncode == 2
    assert "minimum length is 3" in done.stderr


def test_a_run_is_uploaded_to_the_bundled_platform():
    done = shell(f"{COMMANDS['upload']} --name report --description Today")
    assert done.returncode == 0, done.stderr
    assert "report: created (6 spans)" in done.stdout
    refused = shell(COMMANDS["upload"], VERSORI_TOKEN="wrong-token")
    assert (refused.returncode, "the platform answered 401" in refused.stderr) == (3, True)


def test_the_bundled_platform_keeps_flows_as_the_real_one_says_it_does(tmp_path):
    (tmp_path / "trace.json").write_text('{"name": "x", "description": "A trace", "spans": []}')
    told = []
    with loopback.Server(loopback.find_api("upload")) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        target = ("--base-url", f"{server.url}/api/v2", "--org", ORG, "--project", PROJECT)
        for line in (
            "push trace.json --to versori",
            "push trace.json --to versori",
            "pull --from versori",
            "pull --from versori --name x -o back.json",
            "push --to versori --delete --name x",
            "pull --from versori --name x",
        ):
            done = here(*line.split(), *target, cwd=tmp_path, VERSORI_TOKEN="quiet-lantern")
            told.append(done.stdout or done.stderr)
        server.shutdown()
    assert told == [
        "x: created (0 spans)\n",
        "x: replaced (0 spans -> 0)\n",
        "x  0 spans  A trace\n",
        "",
        "x: deleted\n",
        "the platform answered 404: flow not found (404000)\n",
    ]
    assert json.loads((tmp_path / "back.json").read_bytes())["name"] == "x"


def test_a_pipeline_checks_runs_and_pushes(tmp_path):
    piped = shell("examples/upload/pipeline.sh", TRACE=str(tmp_path / "trace.json"))
    assert piped.returncode == 0, piped.stderr
    assert piped.stdout.endswith("\ndaily-report: created (6 spans)\n")
    assert "<testsuite" in (tmp_path / "trace.xml").read_text(encoding="utf-8")


def test_a_pipeline_ends_as_its_flow_does(tmp_path):
    env = {"TRACE": str(tmp_path / "trace.json"), "VERSORI_TOKEN": TOKEN}
    with Versori() as platform:
        target = f"--base-url {platform.api} --org {ORG} --project {PROJECT}"
        failed = shell(f"examples/upload/pipeline.sh {target}", API_URL=platform.origin, **env)
        assert (failed.returncode, platform.flows["daily-report"]["spans"][0]["status"]) == (1, {"code": 1})


@pytest.mark.timeout(120)  # seven programs, one after the other
def test_orders_are_put_into_a_queue_and_worked_off():
    done = shell(COMMANDS["worker"])
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:2] == ["order-tea", "order-rice"]
    assert "there is a run 'order-tea' already" in done.stderr
    assert {line.split()[0]: line.split()[1] for line in lines[-3:]} == {
        "order-salt": "succeeded", "order-rice": "succeeded", "order-tea": "succeeded",
    }  # fmt: skip
    assert "http-send" in done.stdout


def test_a_worker_is_a_part_of_a_program():
    done = shell("python examples/loopback.py worker python examples/worker/library.py")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "order-tea is in the queue",
        "order-rice is in the queue",
        "order-salt is in the queue",
        "order-tea was there already",
        *(
            f"order-{item} succeeded reserve=succeeded pay=succeeded send=succeeded"
            for item in ("tea", "rice", "salt")
        ),
    ]


def test_the_loopback_server_leaves_with_the_code_of_the_command():
    assert shell("python examples/loopback.py auth bash -c 'exit 7'").returncode == 7
    assert shell("python examples/loopback.py auth bash -c 'kill -9 $$'").returncode == 137
    assert shell("python examples/loopback.py auth no-such-command").returncode == 127
    assert "no example 'none'" in shell("python examples/loopback.py none true").stderr


def test_the_loopback_server_keeps_a_connection():
    api = loopback.find_api("register_user")
    with loopback.Server(api) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        with closing(http.client.HTTPConnection("127.0.0.1", server.server_address[1])) as connection:
            statuses = []
            for body in ('{"username": "ada"}', "no json", ""):
                connection.request("POST", "/auth/register", body, {"Content-Type": "application/json"})
                used = connection.sock
                answer = connection.getresponse()
                answer.read()
                statuses.append(answer.status)
                assert connection.sock is used
        server.shutdown()
    assert statuses == [422, 400, 400]


@pytest.mark.timeout(120)  # six programs, one after the other
def test_a_flow_is_put_on_the_bundled_gassapi_and_run_from_there():
    done = shell(f"{COMMANDS['gassapi']} --quiet --json")
    assert done.returncode == 0, done.stderr
    *lines, result = done.stdout.splitlines()
    assert lines == ["examples/gassapi/flow.json: ok for gassapi", "flow_1: updated (name)"]
    assert json.loads(result)["flow"] == "Sign up again"


def test_the_bundled_gassapi_does_what_its_documents_say():
    project = "--project proj_1761375000_0a1b2c3d"
    with loopback.Server(loopback.find_api("gassapi")) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

        def runner(words: str, token: str = "quiet-lantern") -> tuple[int, str]:
            target = ("--base-url", f"{server.url}/gassapi2/backend")
            done = here(*words.split(), *target, cwd=ROOT, GASSAPI_TOKEN=token)
            return done.returncode, done.stdout + done.stderr

        pushed = runner(f"push examples/gassapi/flow.json --to gassapi {project}")
        assert pushed == (0, "flow_1: created (Sign up)\n")
        assert runner(f"pull --from gassapi {project}") == (0, "flow_1  active  Sign up\n")
        assert runner("push --to gassapi --id flow_1 --toggle") == (0, "flow_1: updated (inactive)\n")
        assert runner("push --to gassapi --id flow_1 --delete") == (0, "flow_1: deleted\n")
        missing = runner("pull --from gassapi --id flow_1")
        assert missing == (3, "the platform answered 404: Flow not found\n")
        code, said = runner(f"pull --from gassapi {project}", token="wrong-token")
        assert (code, "the platform answered 401: Authentication required" in said) == (3, True)
        server.shutdown()


@pytest.mark.timeout(120)  # five programs, one after the other
def test_a_workflow_is_run_and_put_on_the_bundled_nected():
    done = shell(f"{COMMANDS['nected']} --quiet --json")
    assert done.returncode == 0, done.stderr
    checked, bound, recorded, *pushed = done.stdout.splitlines()
    assert checked.endswith("workflow.json: ok, 7 steps; needs -e API_URL")
    answers = [json.loads(one)["outputs"]["Answer"]["text"] for one in (bound, recorded)]
    assert answers == ["Order o-7 of Grace is taken.", "Order o-1 of Grace is taken."]
    assert pushed == [
        "w-1: created (Approve an order)",
        "w-1: updated (Approve orders, tested, published as v1)",
    ]


def test_the_bundled_nected_does_what_its_pages_say(tmp_path):
    shutil.copy(EXAMPLES / "nected/workflow.json", tmp_path / "one.json")
    with loopback.Server(loopback.find_api("nected")) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

        def runner(words: str, key: str = "quiet-lantern") -> tuple[int, str]:
            done = here(*words.split(), "--base-url", server.url, cwd=tmp_path, NECTED_API_KEY=key)
            return done.returncode, done.stdout + done.stderr

        assert runner("push one.json --to nected") == (0, "w-1: created (Approve an order)\n")
        shutil.copy(tmp_path / "one.json", tmp_path / "two.json")
        assert runner("push one.json --to nected --name One")[0] == 0
        code, said = runner("push two.json --to nected --name Two")
        assert (code, "the workflow was changed since" in said) == (3, True)
        code, said = runner("push --to nected --id w-1 --publish")
        assert (code, "only what was tested" in said) == (3, True)
        assert runner("pull --from nected") == (0, "w-1  active  draft  One\n")
        assert runner("pull --from nected --id w-2")[0] == 3
        assert runner("pull --from nected", key="wrong-key")[0] == 3
        server.shutdown()


def test_every_command_of_the_page_is_a_plain_command():
    assert all(shlex.split(command) for command in COMMANDS.values())
