"""React Flow documents and Steps documents, each from the other, and drawings that run (facts/gassapi 4)."""

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.document import Document, parse
from runner.core.plan import build_plan
from runner.errors import FlowError
from runner.platforms import convert, read
from runner.platforms.react_flow import from_steps, recognises, to_steps
from tests.play import Stage, answer

REGISTER = {
    "id": "register",
    "name": "Register",
    "method": "POST",
    "url": "{{env.API_URL}}/auth/register",
    "headers": {"Content-Type": "application/json"},
    "body": {"email": "{{input.email}}"},
    "outputs": {"userId": "response.body.user.id"},
}
VERIFY = {
    "id": "verify",
    "method": "POST",
    "url": "{{env.API_URL}}/verify",
    "body": {"user": "{{register.userId}}"},
}
WELCOME = {"id": "welcome", "method": "POST", "url": "/welcome", "condition": "{{input.mail}} === true"}
CONFIG = {"delay": 0, "retryCount": 1, "parallel": False}


def steps_of(record):
    return to_steps(Document.of(record))[0]


def drawing_of(record):
    return from_steps(Document.of(record))[0]


def data(*steps, edges=(), **more):
    return {"version": "1.0", "steps": list(steps), **({"edges": list(edges)} if edges else {}), **more}


def get(name, /, **keys):
    return {"id": name, "method": "GET", "url": f"http://h.example/{name}", **keys}


def node(name, kind="apiCall", /, **fields):
    if kind == "apiCall":
        fields = {"method": "GET", "url": f"http://h.example/{name}", **fields}
    return {"id": name, "type": kind, "position": {"x": 1, "y": 2}, "data": fields}


def edge(source, target, **more):
    return {"id": f"{source}-{target}", "source": source, "target": target, **more}


def drawing(*nodes, edges=(), **more):
    return {"nodes": list(nodes), "edges": list(edges), **more}


def ends(record):
    return [(one["source"], one["target"]) for one in record["edges"]]


# --- from Steps


def test_steps_become_nodes_in_a_row_with_an_edge_between_neighbours():
    drawn = drawing_of(data(REGISTER, VERIFY, WELCOME, config=CONFIG))
    assert [(one["id"], one["type"], one["position"]) for one in drawn["nodes"]] == [
        ("register", "apiCall", {"x": 0, "y": 100}),
        ("verify", "apiCall", {"x": 250, "y": 100}),
        ("welcome", "apiCall", {"x": 500, "y": 100}),
    ]
    assert drawn["edges"] == [
        {"id": "edge-register-verify", "source": "register", "target": "verify", "type": "smoothstep"},
        {"id": "edge-verify-welcome", "source": "verify", "target": "welcome", "type": "smoothstep"},
    ]
    assert drawn["nodes"][0]["data"] == {name: REGISTER[name] for name in REGISTER if name != "id"}
    assert drawn["nodes"][2]["data"]["condition"] == "{{input.mail}} === true"
    assert drawn["settings"] == {"version": "1.0", "config": CONFIG}


def test_each_kind_of_step_has_its_type_of_node():
    steps = [
        get("a"),
        {"id": "b", "condition": "true"},
        {"id": "c", "delay": 5},
        {"id": "d", "set": {}},
        {"id": "e", "flow": "x"},
    ]
    drawn = drawing_of(data(*steps))
    assert [one["type"] for one in drawn["nodes"]] == ["apiCall", "condition", "delay", "set", "flow"]
    assert drawn["nodes"][2]["data"] == {"duration": 5}


def test_a_branch_is_drawn_with_its_condition_and_its_label():
    check = {
        "id": "check",
        "condition": "{{input.role}} === 'admin'",
        "trueLabel": "Admin",
        "falseLabel": "User",
    }
    links = [{"from": "check", "to": "a", "when": "true"}, {"from": "check", "to": "b", "when": "false"}]
    drawn = drawing_of(data(check, get("a"), get("b"), edges=links))
    assert [(one["label"], one["data"]) for one in drawn["edges"]] == [
        ("Admin", {"condition": "true"}),
        ("User", {"condition": "false"}),
    ]
    assert [one["position"] for one in drawn["nodes"]] == [
        {"x": 0, "y": 100},
        {"x": 250, "y": 100},
        {"x": 250, "y": 250},
    ]


def test_what_runs_in_parallel_is_drawn_by_its_references():
    steps = [
        get("a"),
        get("b"),
        get("c", url="http://h.example/{{ a.x | default(b.y) }}"),
        get("d", dependsOn="c"),
    ]
    drawn = drawing_of(data(*steps, config={"parallel": True}))
    assert ends(drawn) == [("a", "c"), ("b", "c"), ("c", "d")]
    assert steps_of(drawn) == data(*steps, config={"parallel": True})


def test_an_order_that_edges_do_not_tell_is_kept():
    steps = data(get("b"), get("a"), edges=[{"from": "a", "to": "b"}])
    assert drawing_of(steps)["order"] == ["b", "a"]
    assert steps_of(drawing_of(steps)) == steps


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ({"name": "only"}, ["steps: there is no list of steps, so there is nothing to draw"]),
        ({"steps": "x"}, ["steps: there is no list of steps, so there is nothing to draw"]),
        (
            data({"name": "x"}, "y", get("a"), get("a"), edges=[{"from": "a", "to": "aa"}, "x"]),
            [
                "steps[0]: Step missing required field 'id'",
                "steps[1]: must be an object, not a text",
                "steps[3].id: the id 'a' is taken by steps[2]; ids must be unique",
                "edges[0].to: no step 'aa'; did you mean 'a'?",
                "edges[1].from: no step None",
                "edges[1].to: no step None",
            ],
        ),
        (
            data(get("a", dependsOn=["b"]), get("b", dependsOn=["a"]), config={"parallel": True}),
            ["steps[0]: the steps a -> b -> a wait for each other; remove an edge"],
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_all_its_problems(record, told):
    with pytest.raises(FlowError) as caught:
        drawing_of(record)
    assert [str(problem) for problem in caught.value.problems] == told


# --- from React Flow


def test_a_drawing_becomes_steps_in_a_stable_topological_order():
    drawn = drawing(
        node("d"),
        node("c"),
        node("b"),
        node("a"),
        edges=[edge("a", "d"), edge("a", "b"), edge("b", "c"), edge("c", "d")],
    )
    made = steps_of(drawn)
    assert [step["id"] for step in made["steps"]] == ["a", "b", "c", "d"]
    assert [step["id"] for step in steps_of(drawing(node("b"), node("a")))["steps"]] == ["b", "a"]


def test_a_chain_needs_no_edges_in_steps():
    made = steps_of(drawing(node("a"), node("b"), edges=[edge("a", "b")]))
    assert "edges" not in made


def test_a_fork_is_listed_with_edges_like_those_of_list_order():
    made = steps_of(drawing(node("a"), node("b"), node("c"), edges=[edge("a", "b"), edge("a", "c")]))
    assert made["edges"] == [
        {"from": "a", "to": "b", "when": "next"},
        {"from": "a", "to": "c", "when": "next"},
    ]


CHECK = node(
    "check", "condition", condition="{{input.role}} === 'admin'", trueLabel="Admin Path", falseLabel="Rest"
)


@pytest.mark.parametrize(
    ("said", "when"),
    [
        ({"data": {"condition": "true"}}, "true"),
        ({"data": {"condition": "False"}}, "false"),
        ({"data": {"condition": True}}, "true"),
        ({"data": {"condition": ""}}, "next"),
        ({"data": {"when": "failure"}}, "failure"),
        ({"sourceHandle": "false"}, "false"),
        ({"sourceHandle": "bottom"}, "next"),
        ({"label": "Admin Path"}, "true"),
        ({"label": "Rest", "sourceHandle": None}, "false"),
        ({"label": "TRUE"}, "true"),
        ({"type": "true"}, "true"),
        ({"type": "success"}, "success"),
        ({"type": "error"}, "failure"),
        ({"type": "always"}, "done"),
        ({"type": "smoothstep", "data": []}, "next"),
    ],
)
def test_an_edge_says_in_many_ways_when_it_is_taken(said, when):
    drawn = drawing(CHECK, node("a"), node("b"), edges=[edge("check", "a", **said), edge("check", "b")])
    assert steps_of(drawn)["edges"][0] == {"from": "check", "to": "a", "when": when}


def test_a_label_branches_only_from_a_condition():
    drawn = drawing(node("a"), node("b"), node("c"), edges=[edge("a", "b", label="true"), edge("b", "c")])
    assert "edges" not in steps_of(drawn)


def test_a_condition_on_an_edge_becomes_a_condition_step():
    on_edge = edge("a", "b", id="e 1", data={"condition": "{{a.role}} === 'admin'"})
    again = edge("a", "c", data={"condition": "{{a.role}} === 'user'"}, id=None)
    drawn = drawing(node("a"), node("b"), node("c"), node("e_1"), edges=[on_edge, again])
    made = steps_of(drawn)
    assert [step["id"] for step in made["steps"]] == ["a", "e_1_2", "b", "a_to_c", "c", "e_1"]
    assert made["steps"][1] == {"id": "e_1_2", "condition": "{{a.role}} === 'admin'"}
    assert made["edges"][:2] == [
        {"from": "a", "to": "e_1_2", "when": "next"},
        {"from": "e_1_2", "to": "b", "when": "true"},
    ]
    assert drawing_of(made) == drawn


def test_old_node_types_are_read():
    old = node("a", "http_request", method="GET", url="/x", headers='{"A": "b"}', timeout=5)
    odd = node("b", "http_request", method="GET", url="/x", headers="A: b")
    made = steps_of(drawing(old, odd, node("c", "variable_set", variable="x", value=1)))
    assert made["steps"] == [
        {"id": "a", "method": "GET", "url": "/x", "headers": {"A": "b"}, "timeout": 5},
        {"id": "b", "method": "GET", "url": "/x", "headers": "A: b"},
        {"id": "c", "set": {"x": 1}},
    ]


def test_a_node_of_an_unknown_type_is_kept_and_told():
    drawn = drawing(node("a"), node("r", "response", status=200), edges=[edge("a", "r")])
    made, problems = to_steps(Document.of({"flow_data": drawn}))
    [problem] = problems
    assert str(problem).startswith(
        "flow_data.nodes[1].type: Unsupported node type 'response': it is kept and"
    )
    assert made["flow_data"]["steps"][1] == {"id": "r", "status": 200}
    assert drawing_of(made) == {"flow_data": drawn}


LOOSE = drawing(
    node("a"), node("a"), node("b"), {"type": "apiCall"}, 5, node(7), {"id": "n", "data": "x"},
    edges=[
        edge("a", "missing"), edge("bb", "a"), {"source": "a"}, "x", edge("a", "b"), edge("b", "n"), edge("n", "b"), edge("n", "n"),
    ],
)  # fmt: skip
TOLD_OF_LOOSE = [
    ("nodes[1].id", "the id 'a' is taken by nodes[0]; ids must be unique"),
    ("nodes[3]", "Node missing required field 'id'"),
    ("nodes[4]", "must be an object, not a number"),
    ("nodes[5].id", "must be a text, not a number"),
    ("nodes[6].data", "must be an object, not a text"),
    ("edges[0].target", "no node 'missing'"),
    ("edges[1].source", "no node 'bb'; did you mean 'b'?"),
    ("edges[2]", "the key 'target' is missing"),
    ("edges[3]", "must be an object, not a text"),
    ("nodes[6]", "the nodes n -> n wait for each other; remove an edge"),
]


def test_duplicate_ids_dangling_edges_and_cycles_are_refused_all_at_once():
    with pytest.raises(FlowError) as caught:
        steps_of(LOOSE)
    assert [(problem.where, problem.what) for problem in caught.value.problems] == TOLD_OF_LOOSE
    with pytest.raises(FlowError, match=r"flow_data.nodes\[1\]\.id"):
        steps_of({"flow_data": LOOSE})


def test_a_cycle_is_told_from_its_first_node():
    drawn = drawing(
        node("x"),
        node("c"),
        node("b"),
        node("a"),
        edges=[edge("a", "b"), edge("b", "c"), edge("c", "a"), edge("x", "a")],
    )
    with pytest.raises(FlowError) as caught:
        steps_of(drawn)
    assert [str(problem) for problem in caught.value.problems] == [
        "nodes[1]: the nodes c -> a -> b -> c wait for each other; remove an edge"
    ]


def test_a_loop_that_is_declared_is_no_cycle():
    steps = [get("a", join="each", maxVisits=3), {"id": "again", "condition": "true"}]
    links = [{"from": "a", "to": "again", "when": "success"}, {"from": "again", "to": "a", "when": "true"}]
    made = data(*steps, edges=links)
    assert steps_of(drawing_of(made)) == made
    by_edge = [links[0], {**links[1], "join": "each"}]
    assert steps_of(drawing_of(data(get("a"), steps[1], edges=by_edge))) == data(
        get("a"), steps[1], edges=by_edge
    )


@pytest.mark.parametrize("nodes", [None, {}, "x"])
def test_nodes_and_edges_must_be_lists(nodes):
    record = {"nodes": nodes or 5, "edges": nodes or 5}
    with pytest.raises(FlowError, match=r"nodes: must be a list, not .*\nedges: must be a list"):
        steps_of(record)


@pytest.mark.parametrize(
    ("record", "recognised"),
    [
        (drawing(), True),
        ({"flow_data": drawing()}, True),
        ({"flow_data": json.dumps(drawing())}, True),
        ({"flow_data": "no json"}, False),
        ({"flow_data": json.dumps(data())}, False),
        (data(), False),
        ({"nodes": []}, False),
        ({"nodes": [], "edges": [], "startNode": "1", "trigger": {}}, False),
        ({"nodes": [], "edges": [], "steps": []}, False),
    ],
)
def test_a_drawing_is_recognised(record, recognised):
    assert recognises(Document.of(record)) is recognised


# --- there and back


SHAPES = [
    data(),
    data(REGISTER, VERIFY, WELCOME, config=CONFIG),
    {"steps": [get("a")]},
    {"version": 1, "steps": [], "edges": [], "config": []},
    {"version": "9.9", "steps": [get("a")], "config": "abc", "viewport": {"x": 1}, "nodes": None, "order": ["z"], "colour": "red"},
    {"name": "n", "flow_inputs": [], "version": "1.0", "steps": [get("a"), get("b")], "config": CONFIG},
    {"name": "n", "folder_id": None, "is_active": 1, "flow_inputs": {"x": {}}, "flow_data": data(get("a"))},
    {"id": "flow_1", "flow_data": data(get("a")), "ui_data": None, "flow_inputs": None},
    {"flow_data": data(get("a")), "ui_data": json.dumps(drawing(node("a")))},
    {"flow_data": data(get("a")), "ui_data": "no json"},
    {"flow_data": data(get("a")), "ui_data": drawing(node("old"), viewport={"zoom": 2})},
    {"flow_data": data(get("a")), "ui_data": drawing(node("a"), edges=[edge("a", "gone")])},
    data({"id": "a", "delay": 5}, {"id": "b", "duration": 6}, {"id": "c", "delay": 1, "duration": 2, "name": "wait"}),
    data({"id": "a", "delay": None, "duration": None, "body": None, "headers": [], "tests": ["pm.test('x')"]}),
    data({"id": "a", "condition": "true", "trueLabel": "false", "falseLabel": "true"}, get("b"), edges=[{"from": "a", "to": "b", "when": "true"}]),
    data({"id": "a", "step": {"id": "z"}}, {"id": "b", "data": {}, "edge": {}, "type": "x", "position": 5}),
    data({"id": "a", "step": {}}, {"id": "b", "endpointId": 7, "expectedStatus": 404, "timeout": 5, "unknown": [1, {"a": None}]}),
    data(get("a"), get("b"), edges=[{"from": "a", "to": "b"}, {"from": "a", "to": "b", "when": "next"}, {"from": "a", "to": "b", "when": "next"}]),
    data(get("a"), get("b"), edges=[{"from": "a", "to": "b", "when": "true", "condition": "true"}, {"from": "a", "to": "b", "edge": {"x": 1}}]),
    data(get("a"), get("b"), get("c"), edges=[{"from": "a", "to": "c", "when": "sometimes", "join": "all", "label": "x"}]),
    {**data(get("a"), get("b")), "edges": "none"},
    data(get("a b"), get("5"), get("input")),
    data({"id": "set", "set": {"a": "{{input.x}}"}}, {"id": "flow", "flow": "other.json", "inputs": {}}, {"id": "each", "forEach": [1], "url": "/"}),
]  # fmt: skip


@pytest.mark.parametrize("record", SHAPES, ids=range(len(SHAPES)))
def test_steps_come_back_from_a_drawing_as_they_were(record):
    before = copy.deepcopy(record)
    drawn = drawing_of(record)
    assert recognises(Document.of(drawn))
    assert steps_of(drawn) == before
    assert record == before


DRAWINGS = [
    drawing(),
    drawing(node("a"), node("b")),
    drawing(node("a"), node("b"), edges=[edge("a", "b", animated=True, markerEnd={"type": "arrow"})], viewport={"x": 0, "y": 0, "zoom": 1}),
    drawing(node("a"), node("b"), edges=[edge("a", "b"), edge("a", "b", id="twice")]),
    drawing(node("b"), node("a"), edges=[edge("a", "b")], order=["b", "a"]),
    drawing(node("b"), node("a"), edges=[edge("a", "b")], order=["b", "gone"]),
    drawing(node("a"), edges=[], settings={"version": "2", "config": CONFIG, "edges": "x"}),
    drawing(node("a"), edges=[], settings=5, name="n", ui_data={"nodes": 1}),
    {"name": "n", "description": None, "flow_inputs": [], "flow_data": drawing(CHECK, node("a"), edges=[edge("check", "a", label="Rest")])},
    {"flow_data": drawing(node("a")), "ui_data": drawing(node("a"))},
    {"flow_data": drawing({"id": "a", "data": []}, {"id": "b"}, {"id": "c", "type": None, "data": {"id": "x", "label": "C"}})},
    drawing(node("w", "delay", duration=5, name="Wait"), node("v", "delay", delay=5), node("h", "delay", method="GET", url="/")),
    drawing(node("x", "custom_node", anything={"a": [1]}), node("y", "apiCall", method=None)),
    drawing(node("a"), node("b"), node("c"), edges=[edge("a", "b", data={"condition": "{{a.x}} > 5", "note": 1}), edge("a", "c")]),
]  # fmt: skip


@pytest.mark.parametrize("record", DRAWINGS, ids=range(len(DRAWINGS)))
def test_a_drawing_comes_back_from_steps_as_it_was(record):
    before = copy.deepcopy(record)
    made = steps_of(record)
    assert not recognises(Document.of(made))
    assert drawing_of(made) == before
    assert record == before


def test_a_drawing_against_its_own_references_comes_back_and_is_refused_by_check():
    steps = [node("a", url="/{{b.x}}"), node("b", outputs={"x": "response.body"})]
    drawn = drawing(*steps, edges=[edge("a", "b")], settings={"version": "1.0", "config": {"parallel": True}})
    assert drawing_of(steps_of(drawn)) == drawn
    assert "graph.cycle" in {problem.code for problem in build_plan(read(Document.of(drawn))).errors}


def test_texts_of_a_row_are_read_on_the_way():
    row = {"name": "n", "flow_data": json.dumps(data(get("a"))), "ui_data": json.dumps(drawing(node("a")))}
    drawn = drawing_of(row)
    assert drawn["flow_data"] == {**drawing(node("a"))}
    assert steps_of(drawn) == {**row, "flow_data": data(get("a"))}
    assert steps_of({"flow_data": json.dumps(drawing(node("a")))})["flow_data"]["steps"] == [get("a")]


def test_what_is_of_the_form_already_stays_as_it_is():
    steps, drawn = Document.of(data(get("a"))), Document.of(drawing(node("a")))
    assert convert(steps, "steps") == (steps.value, ())
    assert convert(drawn, "react-flow") == (drawn.value, ())
    assert convert(drawn, "steps")[0] == steps_of(drawn.value)
    assert convert(steps, "react-flow")[0] == drawing_of(steps.value)


def drawn_unless_circular(record):
    """Return the drawing, or None when what refers to what is a circle."""
    try:
        return drawing_of(record)
    except FlowError as error:
        codes = {problem.code for problem in error.problems}
    assert codes == {"graph.cycle"}
    return None


NAMES = ["a", "b", "c", "d", "e"]
SCALAR = st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=4)
ANY = st.recursive(
    SCALAR,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)
KEYS = ["name", "method", "url", "condition", "trueLabel", "falseLabel", "delay", "duration", "set", "flow", "body", "headers", "outputs", "tests", "step", "edge", "data", "type", "x"]  # fmt: skip
FIELDS = st.dictionaries(st.sampled_from(KEYS), ANY, max_size=5)
WHEN = st.sampled_from(["done", "next", "success", "failure", "true", "false", "case:1"])


PAIRS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=5)
SAID_BY_LINK = st.dictionaries(st.sampled_from(["join", "condition", "edge", "label", "x"]), ANY, max_size=2)
SETTINGS = ANY | st.just({"parallel": True}) | st.just(CONFIG)
LOOKS = st.dictionaries(st.sampled_from(["position", "width", "selected", "parentNode"]), ANY, max_size=2)
TYPES = st.sampled_from(
    ["apiCall", "condition", "delay", "set", "flow", "custom", "http_request", "variable_set", None]
)
MAYBE_FIELDS = st.none() | FIELDS
EDGE_DATA = st.dictionaries(
    st.sampled_from(["condition", "when", "join", "edge", "x"]),
    ANY | st.sampled_from(["true", "{{a.x}} > 1"]),
    max_size=2,
)
SAID_BY_EDGE = st.dictionaries(
    st.sampled_from(["id", "label", "type", "sourceHandle", "animated", "data"]),
    SCALAR | st.sampled_from(["true", "false", "success"]) | EDGE_DATA,
    max_size=3,
)
AROUND = st.dictionaries(
    st.sampled_from(["viewport", "settings", "order", "x"]),
    ANY | st.just({"config": {"parallel": True}}),
    max_size=2,
)
SOME_NAMES = st.lists(st.sampled_from(NAMES), unique=True, max_size=5)


def joined(names, pairs):
    """Return the pairs that lead from a name to a later one."""
    return [
        (names[min(pair)], names[max(pair)])
        for pair in pairs
        if max(pair) < len(names) and pair[0] != pair[1]
    ]


@st.composite
def step_data(draw):
    names = draw(SOME_NAMES)
    steps = [{**draw(FIELDS), "id": name} for name in names]
    for number, step in enumerate(steps):
        if number and draw(st.booleans()):
            step["url"] = f"/{{{{ {draw(st.sampled_from(names[:number]))}.x }}}}"
    made = {"steps": steps}
    if draw(st.booleans()):
        made["version"] = draw(SCALAR)
    if draw(st.booleans()):
        made["config"] = draw(SETTINGS)
    links = [{"from": one, "to": other, **draw(SAID_BY_LINK)} for one, other in joined(names, draw(PAIRS))]
    if links:
        made["edges"] = [{**link, "when": draw(WHEN)} if draw(st.booleans()) else link for link in links]
        made["steps"] = draw(st.permutations(steps)) if draw(st.booleans()) else steps
    return made


@given(
    step_data(),
    st.dictionaries(st.sampled_from(["viewport", "order", "settings", "x"]), ANY, max_size=2),
    st.booleans(),
)
def test_any_steps_come_back_from_a_drawing(made, more, wrapped):
    record = {"name": "n", "flow_data": {**made, **more}} if wrapped else {**made, **more}
    drawn = drawn_unless_circular(record)
    if drawn is None:
        return
    assert steps_of(drawn) == record


@st.composite
def drawings(draw):
    names = draw(SOME_NAMES)
    nodes = []
    for name in names:
        node, fields = {"id": name, **draw(LOOKS)}, draw(MAYBE_FIELDS)
        node |= {"type": draw(TYPES)} if draw(st.booleans()) else {}
        nodes.append(node if fields is None else {**node, "data": fields})
    edges = [
        {**draw(SAID_BY_EDGE), "source": one, "target": other} for one, other in joined(names, draw(PAIRS))
    ]
    return {"nodes": draw(st.permutations(nodes)), "edges": edges, **draw(AROUND)}


@given(drawings(), st.booleans())
def test_any_drawing_comes_back_from_steps(drawn, wrapped):
    record = {"name": "n", "flow_data": drawn} if wrapped else drawn
    made = steps_of(record)
    assert drawing_of(made) == record
    place = {step["id"]: at for at, step in enumerate((made["flow_data"] if wrapped else made)["steps"])}
    if "order" not in drawn:
        assert all(place[source] < place[target] for source, target in ends(drawn))


@given(drawings(), FIELDS)
def test_a_changed_step_changes_only_its_node(drawn, fields):
    made = steps_of(drawn)
    if not made["steps"] or "ui_data" not in made or made["steps"][0]["id"] not in NAMES:
        return
    made["steps"][0] = {**fields, "id": made["steps"][0]["id"]}
    again = drawn_unless_circular(made)
    if again is None:
        return
    back = steps_of(again)
    assert {name: back[name] for name in back if name != "ui_data"} == {
        name: made[name] for name in made if name != "ui_data"
    }


JUNK = st.recursive(
    SCALAR,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["id", "data", "nodes", "edges", "source", "target", "type", "flow_data", "settings", "steps", "join", "order", "a"]), inner, max_size=5),
    max_leaves=20,
)  # fmt: skip


@given(JUNK, JUNK, st.booleans())
def test_any_document_with_nodes_and_edges_gives_a_flow_or_problems(nodes, edges, wrapped):
    value = {"nodes": nodes, "edges": edges}
    document = Document.of({"flow_data": value} if wrapped else value)
    if recognises(document):
        refused = {problem.code for problem in build_plan(read(document)).errors}
        try:
            made, _ = to_steps(document)
        except FlowError as error:
            made, told = None, {problem.code for problem in error.problems}
        assert told <= refused if made is None else drawing_of(made) == document.value


# --- keeping the picture


def test_the_patch_rule_keeps_what_was_drawn_around_a_changed_step():
    drawn = drawing(
        {**node("a"), "width": 7, "selected": True}, node("b"),
        edges=[edge("a", "b", animated=True)], viewport={"zoom": 2}, extra={"kept": 1},
    )  # fmt: skip
    made = steps_of(drawn)
    made["steps"][1] = {**made["steps"][1], "url": "/new"}
    made["steps"].append(get("c"))
    again = drawing_of(made)
    assert again["nodes"][0] == drawn["nodes"][0]
    assert again["nodes"][1] == {**node("b"), "data": {"method": "GET", "url": "/new"}}
    assert again["nodes"][2]["position"] == {"x": 500, "y": 100}
    assert again["edges"][0] == drawn["edges"][0]
    assert ends(again) == [("a", "b"), ("b", "c")]
    assert (again["viewport"], again["extra"]) == ({"zoom": 2}, {"kept": 1})
    assert "settings" not in again


def test_a_step_of_another_kind_gets_another_type_and_keeps_its_place():
    made = steps_of(drawing(node("a"), node("b", "custom", method="GET", url="/b"), viewport={}))
    made["steps"] = [{"id": "a", "delay": 5}, {**made["steps"][1], "url": "/c"}]
    again = drawing_of(made)
    assert [(one["type"], one["position"]) for one in again["nodes"]] == [
        ("delay", {"x": 1, "y": 2}),
        ("custom", {"x": 1, "y": 2}),
    ]


def test_changed_settings_stand_in_the_drawing():
    made = steps_of(drawing(node("a"), viewport={}))
    made["config"] = {"parallel": True}
    assert drawing_of(made)["settings"] == {"version": "1.0", "config": {"parallel": True}}


def test_a_second_edge_between_two_nodes_has_an_id_of_its_own():
    check = {"id": "a", "condition": "true"}
    links = [{"from": "a", "to": "b", "when": "true"}, {"from": "a", "to": "b", "when": "false"}]
    drawn = drawing_of(data(check, get("b"), edges=links))
    assert [one["id"] for one in drawn["edges"]] == ["edge-a-b", "edge-a-b-2"]


# --- running


def stage(drawn, **more):
    return Stage(read(Document.of(drawn)), **more).run()


@pytest.mark.parametrize(("role", "ran", "not_reached"), [("admin", "a", "b"), ("user", "b", "a")])
def test_branch_edges_carry_true_and_false_at_run_time(role, ran, not_reached):
    drawn = drawing(
        CHECK, node("a"), node("b"), node("end"),
        edges=[
            edge("check", "a", data={"condition": "true"}), edge("check", "b", data={"condition": "false"}),
            edge("a", "end"), edge("b", "end"),
        ],
    )  # fmt: skip
    done = stage(drawn, inputs={"role": role})
    assert done.statuses == {
        "check": "succeeded", ran: "succeeded", not_reached: "skipped:unreached", "end": "succeeded",
    }  # fmt: skip
    assert done.outcome.status == "succeeded"


@pytest.mark.parametrize(("role", "status"), [("admin", "succeeded"), ("user", "skipped:unreached")])
def test_a_condition_on_an_edge_decides_at_run_time(role, status):
    first = node("a", outputs={"role": "response.body.role"})
    drawn = drawing(
        first, node("b"), edges=[edge("a", "b", id="e", data={"condition": "{{a.role}} === 'admin'"})]
    )
    done = stage(drawn, answers={"a": answer(json.dumps({"role": role}))})
    assert done.statuses == {"a": "succeeded", "e": "succeeded", "b": status}


def test_a_failure_before_a_plain_edge_stops_the_flow_as_in_a_list():
    drawn = drawing(node("a"), node("b"), node("c"), edges=[edge("a", "b"), edge("a", "c")])
    done = stage(drawn, answers={"a": answer(status=500)})
    assert done.outcome.status == "failed"
    assert done.statuses == {"a": "failed", "b": "skipped:unreached", "c": "skipped:unreached"}


def test_a_failure_before_a_plain_edge_stays_unhandled_when_the_flow_goes_on():
    drawn = drawing(
        node("a"), node("b"), node("c"), edges=[edge("a", "b"), edge("a", "c")],
        settings={"version": "1.0", "config": {"stopOnError": False}},
    )  # fmt: skip
    done = stage(drawn, answers={"a": answer(status=500)})
    assert done.outcome.status == "failed"
    assert done.statuses == {"a": "failed", "b": "succeeded", "c": "succeeded"}


def test_a_step_skipped_by_its_own_condition_lets_the_next_node_run():
    drawn = drawing(
        node("a", condition="false"), node("b"), node("c"), edges=[edge("a", "b"), edge("a", "c")]
    )
    assert stage(drawn).statuses == {"a": "skipped:condition", "b": "succeeded", "c": "succeeded"}


def test_a_delay_node_waits():
    drawn = drawing(node("a"), node("w", "delay", duration=250), edges=[edge("a", "w")])
    assert stage(drawn).waits == [0.25]


# --- problems of what a drawing says, in its own words


def told(record):
    text = json.dumps(record, indent=1)
    plan = build_plan(read(parse(text.encode(), name="flow.json")))
    lines = text.splitlines()
    return [(one.where, one.what, lines[one.place.line - 1].strip()) for one in plan.problems if one.is_error]


def test_what_is_wrong_inside_a_node_is_told_where_the_drawing_has_it():
    drawn = drawing(
        node("b", url="/{{a.x}}"), node("a", timeout=0), node("w", "delay", duration=-1), node("x", "odd"),
        node("a b"), node("y", []),
        edges=[
            edge("a", "b"), edge("a", "w", data={"condition": "{{nobody.x}} &&"}),
            edge("a", "x", data={"condition": "true", "join": "some"}),
        ],
        settings={"version": "1.0", "config": {"delay": -1}},
    )  # fmt: skip
    found = told({"flow_inputs": [], "flow_data": drawn})
    assert {(where, line) for where, _, line in found} == {
        ("flow_data.nodes[3].type", '"type": "odd",'),
        ("flow_data.nodes[5].type", '"type": [],'),
        ("flow_data.nodes[5]", "{"),
        ("flow_data.nodes[1].data.timeout", '"timeout": 0'),
        ("flow_data.nodes[2].data.duration", '"duration": -1'),
        ("flow_data.nodes[2]", "{"),
        ("flow_data.nodes[3]", "{"),
        ("flow_data.nodes[4].id", '"id": "a b",'),
        ("flow_data.nodes[0].data.url", '"url": "/{{a.x}}"'),
        ("flow_data.edges[1].data.condition", '"condition": "{{nobody.x}} &&"'),
        ("flow_data.edges[2].data.condition", '"condition": "true",'),
        ("flow_data.edges[2].data.join", '"join": "some"'),
        ("flow_data.settings.config.delay", '"delay": -1'),
    }


def test_a_loose_graph_is_told_together_with_what_is_wrong_inside():
    found = told({**LOOSE, "nodes": [*LOOSE["nodes"], node("z", url="/{{nobody.x}}")], "flow_inputs": []})
    every = {(where, what) for where, what, _ in found}
    assert {*TOLD_OF_LOOSE[:-1], ("nodes[7].data.url", "no step 'nobody'")} <= every
    assert [what for _, what, _ in found if "wait for each other" in what] == [
        "the steps n -> n wait for each other; a loop needs join 'each' and maxVisits on its first step"
    ]
    assert ("edges[0].target", '"target": "missing"') in [(where, line) for where, _, line in found]


def test_inputs_of_a_drawing_are_told_where_they_stand():
    found = told({"flow_inputs": [{"name": "1x"}], "flow_data": drawing(node("a"))})
    assert [where for where, _, _ in found] == ["flow_inputs[0].name"]


@pytest.mark.soak
@pytest.mark.parametrize(
    "check",
    [
        test_any_steps_come_back_from_a_drawing,
        test_any_drawing_comes_back_from_steps,
        test_a_changed_step_changes_only_its_node,
        test_any_document_with_nodes_and_edges_gives_a_flow_or_problems,
    ],
    ids=lambda check: check.__name__,
)
def test_ten_thousand_documents_change_nothing_of_that(check):
    check()
