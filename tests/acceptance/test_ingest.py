"""`runner ingest` in front of real brokers (tests/brokers.py), with processes that are killed."""

import json
import signal
import time

import pytest

from runner.runtime.store import Store
from tests.command import PATIENCE, flow_file, get, here, start
from tests.workers import until

pytestmark = pytest.mark.timeout(120)  # programs that are large, one after the other


@pytest.fixture
def store(tmp_path):
    opened = Store(f"sqlite:///{tmp_path / 'state.db'}", {})
    yield opened
    opened.close()


def order(folder, **keys):
    inputs = [{"name": "n", "type": "number", "required": True}]
    return flow_file(folder, get("a", url="{{env.API}}/a?n={{input.n}}", **keys), flow_inputs=inputs)


class Ingests:
    """Processes that take messages, each started as a user does."""

    def __init__(self, folder, broker):
        self.folder, self.broker, self.all = folder, broker, []

    def words(self, *more):
        state = f"sqlite:///{self.folder / 'state.db'}"
        return ("ingest", self.broker.url, self.broker.name, "--state", state, "--ack-wait", "2", *more)

    def start(self, *more, **env):
        process = start(*self.words(*more), cwd=self.folder, **env)
        self.all.append(process)
        line = process.stderr.readline()
        assert line.startswith("taking messages of "), line + process.stderr.read()
        return process

    def stop(self, process):
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, err
        return out, err


@pytest.fixture
def ingests(tmp_path, broker):
    started = Ingests(tmp_path, broker)
    yield started
    for process in started.all:
        process.kill()
        process.communicate()


def total(store):
    return sum(store.counts().values())


def killed_halfway(store, broker, ingests, flow, count):
    """Take messages in with a process that is killed halfway, and one after it; returns what that says."""
    broker.fill(count)
    first = ingests.start("--flow", flow, "-e", "API=http://127.0.0.1:1")
    until(lambda: total(store) >= count // 3)
    first.kill()
    first.communicate()
    assert total(store) < count
    second = ingests.start("--flow", flow, "-e", "API=http://127.0.0.1:1")
    until(lambda: total(store) >= count, 240)
    broker.until_settled()
    ended = ingests.stop(second)
    seen = [store.given(row.id)["inputs"]["n"] for row in store.runs(limit=2 * count)]
    assert sorted(seen) == list(range(count))
    return ended


def test_a_killed_process_loses_no_message_and_repeats_none(tmp_path, store, broker, ingests):
    out, _ = killed_halfway(store, broker, ingests, order(tmp_path), 300)
    assert "0 messages buried" in out


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_killed_process_loses_none_of_two_thousand(tmp_path, store, broker, ingests):
    began = time.monotonic()
    out, _ = killed_halfway(store, broker, ingests, order(tmp_path), 2_000)
    print(f"{broker.kind}: {time.monotonic() - began:.1f} s, then {out.strip()}")


def test_a_message_becomes_a_run_with_its_headers_and_its_trace(tmp_path, store, broker, ingests):
    flow = order(tmp_path, headers={"X-Tenant": "{{headers.Tenant}}"})
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"Tenant": "acme", "run-id": "order-7", "traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    broker.do(broker.publish, [(b'{"n": 7}', headers, "m-1"), (b'{"n": 8}', headers, "m-2")])
    process = ingests.start("--flow", flow, "-e", "API=http://127.0.0.1:1")
    broker.until_settled()
    out, err = ingests.stop(process)
    assert (out, err) == (
        "1 runs taken, 1 known already, 0 messages buried\n",
        "stopping; once more to leave at once\n",
    )
    assert [(row.id, row.trace) for row in store.runs()] == [("order-7", trace)]
    given = store.given("order-7")
    assert (given["headers"]["Tenant"], given["traceparent"]) == ("acme", headers["traceparent"])
    assert given["inputs"]["n"] in (7, 8)


def test_what_can_be_no_run_is_buried_with_its_reason(tmp_path, store, broker, ingests):
    (tmp_path / "flows" / "deep").mkdir(parents=True)
    order(tmp_path / "flows" / "deep")
    flow_file(tmp_path / "flows", get("a", url="{{x.y}}"), name="wrong.json")
    flow_file(tmp_path, get("a"), name="outside.json")
    bad = {
        b"\xff": "not UTF-8",
        b"[]": "no JSON object",
        b"{": "JSON syntax error",
        b'{"inputs": {}}': "names no flow",
        b'{"flow": "../outside.json"}': "there is no flow '../outside.json' below --flows",
        b'{"flow": "deep"}': "there is no flow 'deep'",
        b'{"flow": "wrong.json"}': "no step 'x'",
        b'{"flow": "deep/flow.json", "inputs": []}': "no JSON object",
        b'{"flow": "deep/flow.json", "inputs": {}}': "Input n: a required value is missing",
        b'{"flow": "deep/flow.json", "input": {}}': "keys besides flow and inputs: input",
    }
    bad[json.dumps({"flow": str(tmp_path / "outside.json")}).encode()] = "below --flows"
    good = b'{"flow": "deep/flow.json", "inputs": {"n": 1}}'
    messages = [(body, {"Kind": "k"}, f"m-{number}") for number, body in enumerate([*bad, good])]
    messages.append((good, {"run-id": "no id!"}, "m-x"))
    broker.do(broker.publish, messages)
    process = ingests.start("--flows", "flows", "-e", "API=http://127.0.0.1:1")
    until(lambda: broker.do(broker.burials) == len(bad) + 1 and len(store.runs()) == 1)
    broker.until_settled()
    out, _ = ingests.stop(process)
    assert out == f"1 runs taken, 0 known already, {len(bad) + 1} messages buried\n"
    buried = broker.do(broker.buried)
    reasons = {body: headers["flowspan-reason"] for body, headers in buried if headers.get("Kind") == "k"}
    assert reasons.keys() == bad.keys()
    wrong = {body: (reason, bad[body]) for body, reason in reasons.items() if bad[body] not in reason}
    assert wrong == {}
    assert [headers["flowspan-reason"] for body, headers in buried if body == good] != []
    assert str(tmp_path) not in str([reasons[body] for body in bad if b"outside" not in body])


def test_messages_wait_while_too_many_runs_do(tmp_path, store, broker, ingests):
    broker.fill(9)
    words = ("--max-queued", "4", "--in-flight", "3", "--flow", order(tmp_path))
    process = ingests.start(*words, "-e", "API=http://127.0.0.1:1")
    assert "4 runs wait already (--max-queued 4)" in process.stderr.readline()
    assert store.counts() == {"queued": 4}
    for row in store.runs():
        store.cancel(row.id)
    until(lambda: store.counts() == {"cancelled": 4, "queued": 4})
    for row in store.runs():
        store.cancel(row.id)
    until(lambda: store.counts() == {"cancelled": 8, "queued": 1})
    broker.until_settled()
    out, err = ingests.stop(process)
    assert out.startswith("9 runs taken")
    assert "messages are taken in again" in err


def test_a_process_that_waits_stops_and_its_messages_come_again(tmp_path, store, broker, ingests):
    broker.fill(5)
    common = ("--flow", order(tmp_path), "-e", "API=http://127.0.0.1:1")
    process = ingests.start("--max-queued", "2", *common)
    assert "2 runs wait already" in process.stderr.readline()
    assert ingests.stop(process)[0].startswith("2 runs taken")
    other = ingests.start(*common)
    until(lambda: total(store) == 5)
    broker.until_settled()
    assert ingests.stop(other)[0].startswith("3 runs taken")


def test_a_place_that_is_taken_away_is_told_or_waited_for(tmp_path, store, broker, ingests):
    broker.fill(1)
    process = ingests.start("--flow", order(tmp_path), "-e", "API=http://127.0.0.1:1")
    until(lambda: total(store) == 1)
    broker.do(broker.clean)
    if broker.kind == "amqp":  # its client waits for a queue that is made anew
        broker.do(broker.make)
        broker.fill(2, start=1)
        until(lambda: total(store) == 3)
        ingests.stop(process)
    else:
        _, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, "is gone, or the broker" in err) == (3, True), err


def test_what_is_wrong_is_told_before_anything_is_taken(tmp_path):
    flow = order(tmp_path)
    words = ("http://ada:hush@x", "a b", "--flow", flow.name, "-e", "NOTHING")
    done = here("ingest", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert [line.partition(": ")[0] for line in done.stderr.splitlines()] == ["-e NOTHING", "URL", "SOURCE"]
    assert "hush" not in done.stderr
    missing = here("ingest", "redis://127.0.0.1:1", "a", "--flow", flow.name, cwd=tmp_path)
    assert (missing.returncode, "no env value 'API'; give it with -e API=…" in missing.stderr) == (2, True)
    wild = here("ingest", "nats://127.0.0.1:1", "orders.>", "--flow", flow.name, "-e", "API=x", cwd=tmp_path)
    assert (wild.returncode, "'orders.>.dead' is what messages come from" in wild.stderr) == (2, True)
    for more, told in (
        (("--flows", "nowhere"), "there is no folder 'nowhere'"),
        (("--flow", flow.name, "--dead", "a"), "'a' is what messages come from"),
        ((), "one of the arguments --flow --flows is required"),
        (("--flow", "none.json"), "none.json"),
    ):
        done = here("ingest", "redis://127.0.0.1:1", "a", *more, cwd=tmp_path)
        assert (done.returncode, told in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / ".runner").exists()


def test_a_broker_that_is_not_there_is_told(tmp_path):
    words = ("ingest", "redis://ada@127.0.0.1:1/0", "a", "--flow", order(tmp_path).name, "-e", "API=x")
    done = here(*words, cwd=tmp_path, RUNNER_INGEST_PASSWORD="hush-hush")
    assert (done.returncode, done.stderr.startswith("the broker at redis://127.0.0.1:1: ")) == (3, True)
    assert "hush" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("broker", ["rabbit"], indirect=True)
@pytest.mark.parametrize(
    ("password", "code", "told"), [("guest", 3, "no queue"), ("wrong", 3, "ACCESS_REFUSED")]
)
def test_the_password_may_come_from_the_environment(tmp_path, broker, password, code, told):
    url = broker.url.replace("//", "//guest@")
    words = ("ingest", url, f"{broker.name}-else", "--flow", order(tmp_path).name, "-e", "API=x")
    done = here(*words, cwd=tmp_path, RUNNER_INGEST_PASSWORD=password)
    assert (done.returncode, told in done.stderr) == (code, True), done.stderr
