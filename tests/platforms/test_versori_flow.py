"""The picture of a flow for the Versori platform (facts/versori 3)."""

from pathlib import Path

import pytest

from runner.core.document import parse
from runner.core.plan import build_plan
from runner.platforms import WRITERS, read, write
from runner.platforms.versori_flow import trigger_id
from tests.play import edge, flow_of, http

EXAMPLES = Path(__file__).parents[2] / "examples"


def drawn(flow):
    plan = build_plan(flow)
    assert not plan.errors
    return write(flow, plan, "versori-flow")


def joined(picture):
    return [(one["source"], one["target"]) for one in picture["edges"]]


def steps_of(picture):
    return {node["id"]: node["data"]["steps"] for node in picture["nodes"]}


def test_a_picture_has_the_shape_of_those_that_the_platform_exports():
    data = (EXAMPLES / "register_user/flow.json").read_bytes()
    picture = drawn(read(parse(data, name="flow.json")))
    assert picture.keys() == {"nodes", "edges"}
    for node in picture["nodes"]:
        assert node.keys() == {"id", "type", "position", "data"}
        assert node["type"] == "baseNode"
        assert node["data"].keys() == {
            "id", "label", "description", "nodeKind", "files", "position", "steps",
        }  # fmt: skip
        assert node["data"]["id"] == node["id"]
        assert node["data"]["position"] == node["position"]
        assert all(isinstance(sentence, str) for sentence in node["data"]["steps"])
    for one in picture["edges"]:
        assert one == {
            "id": f"{one['source']}-to-{one['target']}",
            "source": one["source"],
            "target": one["target"],
        }
    assert [node["position"] for node in picture["nodes"]] == [
        {"x": 300, "y": 0}, {"x": 300, "y": 100}, {"x": 300, "y": 200}, {"x": 300, "y": 300},
    ]  # fmt: skip


def test_the_nodes_are_the_trigger_and_the_steps_with_their_ids():
    data = (EXAMPLES / "register_user/flow.json").read_bytes()
    picture = drawn(read(parse(data, name="flow.json")))
    assert [(node["id"], node["data"]["nodeKind"], node["data"]["label"]) for node in picture["nodes"]] == [
        ("Updated-User-Registration-Flow", "webhook", "Updated User Registration Flow"),
        ("register", "request", "Register User"),
        ("verify_email", "request", "Verify Email"),
        ("send_welcome", "request", "Send Welcome Email"),
    ]
    assert joined(picture) == [
        ("Updated-User-Registration-Flow", "register"),
        ("register", "verify_email"),
        ("verify_email", "send_welcome"),
    ]


def test_branches_and_joins_are_edges_and_what_they_wait_for_is_told():
    data = (EXAMPLES / "yaml_flow/flow.yaml").read_bytes()
    picture = drawn(read(parse(data, name="flow.yaml")))
    assert joined(picture) == [
        ("Pay-an-invoice", "is_large"),
        ("is_large", "review"),
        ("is_large", "waive"),
        ("review", "pay"),
        ("waive", "pay"),
        ("pay", "undo"),
    ]
    told = steps_of(picture)
    assert told["review"][0] == "After is_large: true."
    assert told["pay"][:2] == ["After review: success.", "After waive: success."]
    assert told["undo"][0] == "After pay: failure."
    assert told["Pay-an-invoice"] == ["Takes amount, currency."]


def test_two_edges_between_the_same_steps_are_one_line():
    edges = [edge("a", "b", when) for when in ("success", "failure", "next")]
    flow = flow_of(http("a"), http("b"), edges=edges)
    picture = drawn(flow)
    assert joined(picture) == [("flow", "a"), ("a", "b")]
    assert steps_of(picture)["b"][:2] == ["After a: success.", "After a: failure."]


def test_parallel_steps_hang_on_the_trigger_and_on_what_they_use():
    flow = flow_of(
        http("a", outputs={"x": "response.body.x"}),
        http("b"),
        http("c", body={"x": "{{a.x}}"}),
        parallel=True,
    )
    assert joined(drawn(flow)) == [("flow", "a"), ("flow", "b"), ("a", "c")]


@pytest.mark.parametrize(
    ("step", "kind", "sentences"),
    [
        (
            http("s", method="post", condition="{{env.X}} === 'y'", outputs={"a": "response.body.a"}),
            "request",
            ["Runs only if {{env.X}} === 'y'.", "Sends POST http://h.example/s.", "Keeps a."],
        ),
        (
            http("s", url="http://me:secret@h.example/s?token=abcdef", forEach=[1, 2]),
            "request",
            [
                "Runs once per item of [1, 2].",
                "Sends GET http://REDACTED:REDACTED@h.example/s?token=REDACTED.",
            ],
        ),
        (
            http("s", until={"condition": "response.body.ready"}),
            "request",
            ["Sends GET http://h.example/s.", "Asks again until response.body.ready."],
        ),
        ({"id": "s", "set": {"a": 1, "b": 2}}, "action", ["Sets a, b."]),
        ({"id": "s", "delay": 5}, "action", ["Waits 5 ms."]),
        ({"id": "s", "condition": "1 < 2"}, "action", ["Decides whether 1 < 2."]),
    ],
)
def test_a_node_says_what_its_step_does(step, kind, sentences):
    node = drawn(flow_of(step))["nodes"][1]
    assert (node["data"]["nodeKind"], node["data"]["steps"]) == (kind, sentences)
    assert node["data"]["description"] in sentences


def test_a_step_that_describes_itself_is_described_so():
    assert drawn(flow_of(http("s", description="Asks.")))["nodes"][1]["data"]["description"] == "Asks."


def test_a_flow_that_is_run_as_a_step_is_named(tmp_path):
    from runner.runtime.loading import load, plan_of

    flow = load(EXAMPLES / "sub_flow/flow.json")
    picture = write(flow, plan_of(flow), "versori-flow")
    told = [sentence for one in steps_of(picture).values() for sentence in one]
    assert "Runs the flow shared/login.json." in told
    assert {tuple(node["data"]["files"]) for node in picture["nodes"]} == {("flow.json",)}


def test_the_trigger_of_a_flow_that_is_called_like_a_step_gets_an_id_of_its_own():
    flow = flow_of(http("flow"))
    assert joined(drawn(flow)) == [("webhook-flow", "flow")]


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("Pay an invoice!", "Pay-an-invoice"),
        ("a/b", "a-b"),
        ("..", "flow"),
        ("x_1.y-z", "x_1.y-z"),
        ("支払", "flow"),
    ],
)
def test_the_id_of_a_trigger_fits_into_a_url(label, expected):
    assert trigger_id(label) == expected


def test_the_command_line_knows_every_dialect():
    from runner.cli.options import FROM, TO
    from runner.platforms import DIALECTS

    assert (set(FROM), set(TO)) == (set(DIALECTS), {*DIALECTS, *WRITERS})


def test_the_command_line_knows_every_platform_and_what_it_can_be_told():
    from runner.cli import options_remote, remote
    from runner.cli.options import make_parser
    from runner.platforms.versori import SCHEMES, SERVERS

    assert set(options_remote.PLATFORMS) == set(remote.PLATFORMS)
    base = ["push", "x", "--to", "versori"]
    for flag, values in (("--scheme", SCHEMES), ("--server", SERVERS)):
        for value in values:
            assert getattr(make_parser().parse_args([*base, flag, value]), flag.strip("-")) == value
